"""Transforms of vectors and matrices, and of their parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import flambeau
from flambeau.distributions import constraints
from flambeau.distributions._transform import Transform, sum_rightmost
from flambeau.distributions.utils import tril_matrix_to_vec, vec_to_tril_matrix
from flambeau.nn import functional
from flambeau.tensor import Tensor


class SoftmaxTransform(Transform):
    """``y = softmax(x)`` along the last dimension: not one to one, as a constant added to x does not show."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SoftmaxTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return flambeau.softmax(x, -1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def forward_shape(self, shape: Any) -> Any:
        return _with_dims(shape, 1)

    def inverse_shape(self, shape: Any) -> Any:
        return _with_dims(shape, 1)


def _with_dims(shape: Any, least: int) -> Any:
    if len(shape) < least:
        raise ValueError("Too few dimensions on input")
    return shape


class StickBreakingTransform(Transform):
    """From R^(k-1) to the simplex with k corners, one to one: each number breaks off a share of the stick that is left.

    The shares are sigmoids, shifted so that zeros give the middle of the simplex.
    """

    bijective = True
    domain = constraints.real_vector
    codomain = constraints.simplex

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StickBreakingTransform)

    __hash__ = object.__hash__

    @staticmethod
    def _shift(x: Tensor) -> Tensor:
        n = x.shape[-1]
        return flambeau.arange(n, 0, -1, dtype=x.dtype, device=x.device).log()

    def _call(self, x: Tensor) -> Tensor:
        share = flambeau.sigmoid(x - self._shift(x))
        left = (1 - share).cumprod(-1)
        return functional.pad(share, [0, 1], value=1) * functional.pad(left, [1, 0], value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        kept = y[..., :-1]
        left = (1 - kept.cumsum(-1)).clamp(min=flambeau.finfo(y.dtype).tiny)
        return kept.log() - left.log() + self._shift(kept)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        x = x - self._shift(x)
        return (-x + functional.logsigmoid(x) + y[..., :-1].log()).sum(-1)

    def forward_shape(self, shape: Any) -> Any:
        shape = _with_dims(shape, 1)
        return flambeau.Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: Any) -> Any:
        shape = _with_dims(shape, 1)
        return flambeau.Size((*shape[:-1], shape[-1] - 1))


class LowerCholeskyTransform(Transform):
    """From matrices to lower triangular ones with a positive diagonal: the exponential of the diagonal."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LowerCholeskyTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return x.tril(-1) + x.diagonal(0, -2, -1).exp().diag_embed()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.tril(-1) + y.diagonal(0, -2, -1).log().diag_embed()


class PositiveDefiniteTransform(Transform):
    """From matrices to positive-definite ones: L L^T, L as of :class:`LowerCholeskyTransform`."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PositiveDefiniteTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        lower = LowerCholeskyTransform()(x)
        return lower @ lower.mT

    def _inverse(self, y: Tensor) -> Tensor:
        return LowerCholeskyTransform().inv(flambeau.linalg.cholesky(y))


class CorrCholeskyTransform(Transform):
    """From vectors of d (d - 1) / 2 numbers to the Cholesky factors of d x d correlation matrices, one to one.

    The numbers' hyperbolic tangents are canonical partial correlations, which break the sticks of squared row entries
    (Lewandowski, Kurowicka and Joe, "Generating random correlation matrices based on vines and extended onion method",
    2009).
    """

    bijective = True
    domain = constraints.real_vector
    codomain = constraints.corr_cholesky

    def _call(self, x: Tensor) -> Tensor:
        eps = flambeau.finfo(x.dtype).eps
        partial = vec_to_tril_matrix(x.tanh().clamp(-1 + eps, 1 - eps), -1)
        left = (1 - partial.square()).sqrt().cumprod(-1)
        with_diagonal = partial + flambeau.eye(partial.shape[-1], dtype=x.dtype, device=x.device)
        return with_diagonal * functional.pad(left[..., :-1], [1, 0], value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        left = functional.pad((1 - y.square().cumsum(-1))[..., :-1], [1, 0], value=1)
        partial = tril_matrix_to_vec(y, -1) / tril_matrix_to_vec(left, -1).sqrt()
        # atanh, precise for both signs
        return (partial.log1p() - partial.neg().log1p()) / 2

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        # An entry is its partial correlation times the root of what is left of the row.
        left = 1 - y.square().cumsum(-1)
        stick = 0.5 * tril_matrix_to_vec(left, -2).log().sum(-1)
        slope = -2 * (x + functional.softplus(-2 * x) - math.log(2.0)).sum(-1)
        return stick + slope

    def forward_shape(self, shape: Any) -> Any:
        n = _with_dims(shape, 1)[-1]
        d = round((0.25 + 2 * n) ** 0.5 + 0.5)
        if d * (d - 1) // 2 != n:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return flambeau.Size((*shape[:-1], d, d))

    def inverse_shape(self, shape: Any) -> Any:
        _with_dims(shape, 2)
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        return flambeau.Size((*shape[:-2], shape[-1] * (shape[-1] - 1) // 2))


class _Parts(Transform):
    """Several transforms, each of a part of x."""

    transforms: list[Transform]
    dim: int

    def _apart(self, x: Tensor, name: str) -> list[Tensor]:
        raise NotImplementedError

    def _together(self, parts: list[Tensor]) -> Tensor:
        raise NotImplementedError

    def _call(self, x: Tensor) -> Tensor:
        return self._together([t(p) for t, p in zip(self.transforms, self._apart(x, "x"), strict=True)])

    def _inverse(self, y: Tensor) -> Tensor:
        return self._together([t.inv(p) for t, p in zip(self.transforms, self._apart(y, "y"), strict=True)])

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        return all(t.bijective for t in self.transforms)


class CatTransform(_Parts):
    """Transforms of parts along a dimension, of the lengths ``lengths`` (1 each by default)."""

    def __init__(
        self, tseq: Iterable[Transform], dim: int = 0, lengths: Sequence[int] | None = None, cache_size: int = 0
    ) -> None:
        super().__init__(cache_size=cache_size)
        self.transforms = [t.with_cache(cache_size) for t in tseq]
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise ValueError(f"CatTransform: {len(self.transforms)} transforms need as many lengths, "
                             f"got {len(self.lengths)}")  # fmt: skip
        self.dim = dim

    @property
    def event_dim(self) -> int:
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self) -> int:
        return sum(self.lengths)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def _apart(self, x: Tensor, name: str) -> list[Tensor]:
        if not -x.ndim <= self.dim < x.ndim or x.shape[self.dim] != self.length:
            raise ValueError(
                f"CatTransform: expected {self.length} elements along dimension {self.dim} of {name}, whose shape is "
                f"{tuple(x.shape)}"
            )
        return list(x.split(self.lengths, self.dim))

    def _together(self, parts: list[Tensor]) -> Tensor:
        return flambeau.cat(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        terms = []
        for t, before, after in zip(self.transforms, self._apart(x, "x"), self._apart(y, "y"), strict=True):
            terms.append(sum_rightmost(t.log_abs_det_jacobian(before, after), self.event_dim - t.event_dim))
        dim = self.dim - x.ndim if self.dim >= 0 else self.dim
        dim += self.event_dim
        if dim < 0:
            return flambeau.cat(terms, dim)
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    @property
    def domain(self) -> Any:
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @property
    def codomain(self) -> Any:
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)


class StackTransform(_Parts):
    """Transforms of slices along a dimension."""

    def __init__(self, tseq: Iterable[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size=cache_size)
        self.transforms = [t.with_cache(cache_size) for t in tseq]
        self.dim = dim

    def with_cache(self, cache_size: int = 1) -> Transform:
        return self if self._cache_size == cache_size else StackTransform(self.transforms, self.dim, cache_size)

    def _apart(self, x: Tensor, name: str) -> list[Tensor]:
        if not -x.ndim <= self.dim < x.ndim or x.shape[self.dim] != len(self.transforms):
            raise ValueError(
                f"StackTransform: expected {len(self.transforms)} slices along dimension {self.dim} of {name}, whose "
                f"shape is {tuple(x.shape)}"
            )
        return list(x.unbind(self.dim))

    def _together(self, parts: list[Tensor]) -> Tensor:
        return flambeau.stack(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        pairs = zip(self.transforms, self._apart(x, "x"), self._apart(y, "y"), strict=True)
        return flambeau.stack([t.log_abs_det_jacobian(before, after) for t, before, after in pairs], self.dim)

    @property
    def domain(self) -> Any:
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @property
    def codomain(self) -> Any:
        return constraints.stack([t.codomain for t in self.transforms], self.dim)
