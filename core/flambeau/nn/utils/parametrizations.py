"""Parametrizations that are in common use: weight norm, spectral norm, orthogonal (``torch.nn.utils``)."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from flambeau.nn.modules.module import Module
from flambeau.nn.utils import parametrize

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _tensor_of(module: Module, name: str) -> Tensor:
    tensor = getattr(module, name, None)
    if not isinstance(tensor, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return tensor


# -- weight norm -------------------------------------------------------------------------------------------------------


def norm_except_dim(tensor: Tensor, dim: int) -> Tensor:
    """The 2-norm over all dimensions but ``dim``, which keep size 1; over all of them, 0-dim, for -1."""
    if dim == -1:
        return tensor.norm()
    if not 0 <= dim < tensor.dim():
        raise IndexError(
            f"weight_norm: Dimension out of range (expected to be in range of [-1, {tensor.dim() - 1}], but got {dim})"
        )
    others = tuple([d for d in range(tensor.dim()) if d != dim])
    return flambeau.linalg.vector_norm(tensor, 2, others, True) if others else tensor.abs()


class _WeightNorm(Module):
    """``g * v / norm(v)``."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except_dim(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Parametrize a weight by its length and its direction: ``g * v / norm(v)`` (Salimans and Kingma, 2016).

    Args:
        module: the module.
        name: name of the weight. The lengths become ``parametrizations.NAME.original0``, the directions
            ``parametrizations.NAME.original1``; state dicts with ``NAME_g`` and ``NAME_v`` are understood.
        dim: the dimension along which each slice has a length of its own; None for one length in all.

    Returns:
        Module: ``module``.
    """
    _tensor_of(module, name)
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        old = f"{prefix}{name}_g", f"{prefix}{name}_v"
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
    return module


# -- spectral norm -----------------------------------------------------------------------------------------------------


class _SpectralNorm(Module):
    """The weight divided by its largest singular value, which power iteration follows."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = weight.dim()
        if not -ndim <= dim < ndim:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + ndim
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if ndim > 1:
            matrix = self._matrix(weight.detach())
            rows, columns = matrix.shape
            self.register_buffer("_u", F.normalize(matrix.new_empty(rows).normal_(), dim=0, eps=eps))
            self.register_buffer("_v", F.normalize(matrix.new_empty(columns).normal_(), dim=0, eps=eps))
            self._power_method(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        return matrix_along(weight, self.dim)

    def _power_method(self, matrix: Tensor, iterations: int) -> None:
        with flambeau.no_grad():
            # From v to u and back; `matrix.t()` has the roles the other way round.
            power_iterate(matrix.detach().t(), self._v, self._u, iterations, self.eps)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:  # the matrix of one row: its singular value is its length
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        # Copies: the buffers change in place at the next call, before this one's gradient is computed.
        u, v = self._u.clone(), self._v.clone()
        return weight / flambeau.dot(u, flambeau.mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value  # the norm of a value that was assigned may be what it likes


def matrix_along(weight: Tensor, dim: int) -> Tensor:
    """The weight as a matrix whose rows are its slices along ``dim``."""
    if dim != 0:
        weight = weight.permute(dim, *[d for d in range(weight.dim()) if d != dim])
    return weight.reshape(weight.shape[0], -1)


def power_iterate(matrix: Tensor, u: Tensor, v: Tensor, iterations: int, eps: float) -> None:
    """Bring u and v nearer to the singular vectors of the largest singular value, in place."""
    for _ in range(iterations):
        v.copy_(F.normalize(flambeau.mv(matrix.t(), u), dim=0, eps=eps))
        u.copy_(F.normalize(flambeau.mv(matrix, v), dim=0, eps=eps))


def default_dim(module: Module) -> int:
    """Where the weight of a module has its output channels."""
    return 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Parametrize a weight to have the largest singular value 1 (Miyato et al., 2018).

    Args:
        module: the module.
        name: name of the weight.
        n_power_iterations: how many steps of power iteration each forward pass in training mode makes.
        eps: keeps a division finite.
        dim: the dimension that gives the rows of the matrix; that of the output channels when left out.

    Returns:
        Module: ``module``.
    """
    weight = _tensor_of(module, name)
    dim = default_dim(module) if dim is None else dim
    parametrize.register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module


# -- orthogonal --------------------------------------------------------------------------------------------------------

_MAPS = ("matrix_exp", "cayley", "householder")


class _Orthogonal(Module):
    """A matrix with orthonormal columns (or rows, if these are fewer), by one of three maps onto such matrices."""

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        self.trivialized = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        n, k = X.shape[-2:]
        transposed = n < k
        if transposed:
            X = X.mT
            n, k = k, n
        if self.orthogonal_map == "householder":
            # Reflections below the diagonal; the signs on it.
            A = X.tril(-1)
            tau = 2.0 / (1.0 + (A * A).sum(-2))
            Q = _product_of_reflections(A, tau)
            Q = Q * flambeau.trunc(flambeau.diagonal(X, 0, -2, -1).detach()).unsqueeze(-2)
        else:
            X = X.tril()
            if n != k:
                X = flambeau.cat([X, X.new_zeros((*X.shape[:-2], n, n - k))], -1)
            A = X - X.mH
            if self.orthogonal_map == "matrix_exp":
                Q = _matrix_exp(A)
            else:
                identity = flambeau.eye(n, dtype=A.dtype, device=A.device)
                Q = flambeau.linalg.solve(identity - A * 0.5, identity + A * 0.5)
            if n != k:
                Q = Q[..., :k]
        if self.trivialized and self.base is not None:
            Q = self.base @ Q
        return Q.mT if transposed else Q

    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}."
            )
        given = Q
        n, k = Q.shape[-2:]
        transposed = n < k
        if transposed:
            Q = Q.mT
            n, k = k, n
        if not self.trivialized:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                    "use_trivialization=False."
                )
            A = _reflections_of(Q)
            return A.mT if transposed else A
        if n != k:
            noise = flambeau.randn((*Q.shape[:-2], n, n - k), dtype=Q.dtype, device=Q.device)
            Q = _orthonormal(flambeau.cat([Q, noise], -1))
        else:
            Q = Q.detach().clone() if _is_orthogonal(Q) else _orthonormal(Q)
        self.base = Q
        # The original that all three maps send to the identity (for reflections: two reflections of each axis).
        negative = flambeau.zeros_like(given)
        flambeau.diagonal(negative, 0, -2, -1).fill_(-1.0)
        return negative


def _is_orthogonal(Q: Tensor) -> bool:
    n, k = Q.shape[-2:]
    identity = flambeau.eye(k, dtype=Q.dtype, device=Q.device)
    tolerance = 10.0 * n * flambeau.finfo(Q.dtype).eps
    return bool(flambeau.allclose(Q.mH @ Q, identity.expand_as(Q.mH @ Q), atol=tolerance))


def _orthonormal(A: Tensor) -> Tensor:
    """The Q of A's QR decomposition whose R has a positive diagonal."""
    Q, R = flambeau.linalg.qr(A)
    return Q * flambeau.diagonal(R, 0, -2, -1).sgn().unsqueeze(-2)


def _product_of_reflections(A: Tensor, tau: Tensor) -> Tensor:
    """The first k columns of ``H_1 ... H_k``, ``H_i = 1 - tau_i v_i v_i^T``; v_i is column i of A with a 1 on top."""
    n, k = A.shape[-2:]
    Q = flambeau.eye(n, k, dtype=A.dtype, device=A.device)
    vectors = A + Q
    for i in reversed(range(k)):
        v = vectors[..., i : i + 1]
        Q = Q - tau[..., i : i + 1].unsqueeze(-1) * (v @ (v.mT @ Q))
    return Q


def _reflections_of(Q: Tensor) -> Tensor:
    """What :func:`_product_of_reflections` makes Q of: reflections below the diagonal, signs on it."""
    k = Q.shape[-1]
    R = Q.detach().clone()
    columns = []
    for i in range(k):
        x = R[..., i:, i : i + 1]
        length = flambeau.linalg.vector_norm(x, 2, (-2,), True)
        sign = flambeau.where(x[..., :1, :] < 0, -1.0, 1.0).to(Q.dtype)
        v = x / (x[..., :1, :] + sign * length)  # reflects x onto -sign * length of the first axis
        v[..., :1, :] = 1.0
        tau = 2.0 / (v * v).sum((-2,), True)
        R[..., i:, :] -= tau * (v @ (v.mT @ R[..., i:, :]))
        below = flambeau.cat([flambeau.zeros((*Q.shape[:-2], i, 1), dtype=Q.dtype, device=Q.device), v], -2)
        below[..., i : i + 1, :] = -sign  # the sign of R's diagonal there
        columns.append(below)
    return flambeau.cat(columns, -1)


def _matrix_exp(A: Tensor) -> Tensor:
    """The exponential of a matrix by scaling and squaring: its Taylor series, for a matrix of norm 1/2 or less."""
    norm = float(A.detach().abs().sum(-2).max()) if A.numel() else 0.0
    squarings = max(0, math.ceil(math.log2(norm)) + 1) if norm > 0 and math.isfinite(norm) else 0
    scaled = A * 0.5**squarings
    # 1/2 to the n over n! is below the last digit of float64 from n = 14 on.
    identity = flambeau.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    result = identity + scaled / 15
    for n in range(14, 0, -1):
        result = identity + scaled @ result / n
    for _ in range(squarings):
        result = result @ result
    return result


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Parametrize a matrix, or a batch of matrices, to have orthonormal columns, or rows where these are fewer.

    Args:
        module: the module.
        name: name of the matrix.
        orthogonal_map: ``"matrix_exp"`` (the default for square and for complex matrices), ``"cayley"`` or
            ``"householder"`` (the default otherwise).
        use_trivialization: parametrize around the present value (Lezcano-Casado, 2019); it can be assigned then.

    Returns:
        Module: ``module``.

    Raises:
        ValueError: when there is no such tensor, it has one dimension, or for another map.
    """
    weight = _tensor_of(module, name)
    if weight.dim() < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    orth = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    parametrize.register_parametrization(module, name, orth, unsafe=True)
    return module
