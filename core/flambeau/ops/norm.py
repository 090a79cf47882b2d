"""Norms of vectors and matrices, and distances between rows. :mod:`flambeau.linalg` is the public face."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import float32
from flambeau.ops.declare import composite
from flambeau.ops.linalg import swap
from flambeau.ops.spec import wrap_dim

Tensor = Any
Number = Any
Dims = Any
DType = Any


def unit(xp: Any, x: Any) -> Any:
    """x / |x|, 0 for 0: the sign, for complex numbers too."""
    if not xp.dtype_of(x).is_complex:
        return xp.sign(x)
    size = xp.abs(x)
    return xp.div(x, xp.to_dtype(xp.where(xp.eq(size, 0), xp.full_like(size, 1), size), xp.dtype_of(x)))


def scale(xp: Any, x: Any, factor: Any) -> Any:
    """x times a real array."""
    return xp.mul(x, xp.to_dtype(factor, xp.dtype_of(x)) if xp.dtype_of(x).is_complex else factor)


# -- norms -----------------------------------------------------------------------------------------------------------


@composite(public=())
def linalg_vector_norm(xp: Any, input: Tensor, ord: Number = 2, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Return the norm ``(sum |x|^ord)^(1/ord)`` over dimensions, or over all.

    Args:
        ord: any number; ``inf`` gives the largest, ``-inf`` the smallest modulus, 0 the number of non-zero elements.
    """
    kind = xp.dtype_of(input).to_real()
    if ord == 0:
        return xp.sum(xp.to_dtype(xp.ne(input, 0), kind), dim, keepdim)
    if ord < 0 or ord == math.inf:
        _check_not_empty(input, ord, dim)
    size = xp.abs(input)
    if ord in (math.inf, -math.inf):
        return (xp.amax if ord > 0 else xp.amin)(size, dim, keepdim)
    if ord == 1:
        return xp.sum(size, dim, keepdim)
    if kind.itemsize < 4:
        size = xp.to_dtype(size, float32)  # powers of large 16-bit numbers overflow, and sums of many lose digits
    if ord == 2:
        return xp.to_dtype(xp.sqrt(xp.sum(xp.mul(size, size), dim, keepdim)), kind)
    return xp.to_dtype(xp.pow(xp.sum(xp.pow(size, ord), dim, keepdim), 1.0 / ord), kind)


def _check_not_empty(input: Any, ord: Any, dim: tuple[int, ...]) -> None:
    empty = [d for d in dim if input.shape[d] == 0]
    if empty:
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {ord} norm on the dimension {empty[0]} because this dimension is "
            "empty and the operation does not have an identity"
        )


@linalg_vector_norm.joint_vjp
def _vector_norm_vjp(
    xp: Any, g: Any, needs: tuple[bool, ...], input: Any, ord: float, dim: tuple[int, ...], keepdim: bool, result: Any
) -> tuple[Any, ...]:
    if not keepdim:
        shape = tuple(1 if d in dim else n for d, n in enumerate(input.shape))
        g, result = xp.reshape(g, shape), xp.reshape(result, shape)
    if ord == 0:
        return (scale(xp, xp.full_like(input, 0), g),)
    if ord == 1:
        return (scale(xp, unit(xp, input), g),)
    size = xp.abs(input)
    if ord in (math.inf, -math.inf):
        # Those that share the extreme value share the gradient.
        ties = xp.to_dtype(xp.eq(size, result), xp.dtype_of(size))
        return (scale(xp, unit(xp, input), xp.mul(ties, xp.div(g, xp.sum(ties, dim, True)))),)
    # The norm is 0 where all elements are; there 0 is a subgradient.
    safe = xp.where(xp.eq(result, 0), xp.full_like(result, 1), result)
    if ord == 2:
        return (scale(xp, input, xp.div(g, safe)),)
    zero = xp.eq(size, 0)
    ratio = xp.div(xp.where(zero, xp.full_like(size, 1), size), safe)
    slope = xp.where(zero, xp.full_like(size, 0), xp.pow(ratio, ord - 1))
    return (scale(xp, unit(xp, input), xp.mul(slope, g)),)


@composite(inline=True, public=())
def linalg_matrix_norm(xp: Any, input: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False) -> Tensor:
    """Return the norm of matrices.

    Args:
        ord: ``"fro"`` (Frobenius), ``"nuc"`` (sum of the singular values), ``inf``, ``-inf`` (largest, smallest sum of
            moduli in a row), 1, -1 (in a column), 2, -2 (largest, smallest singular value).
        dim: the two dimensions of the matrices.
    """
    ndim = len(input.shape)
    if not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple, got {dim}")
    rows, columns = (wrap_dim("linalg.matrix_norm", d, ndim) for d in dim)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different, got {tuple(dim)}")
    if ord == "fro":
        return xp.linalg_vector_norm(input, 2, (rows, columns), keepdim)
    if ord in (1, 2, math.inf) and 0 in (input.shape[rows], input.shape[columns]):
        result = xp.sum(xp.abs(input), (rows, columns), True)  # of nothing: 0
    elif ord in (1, -1, math.inf, -math.inf):
        summed, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = xp.sum(xp.abs(input), (summed,), True)
        result = (xp.amax if ord > 0 else xp.amin)(sums, (kept,), True)
    elif ord in ("nuc", 2, -2):
        rest = tuple(d for d in range(ndim) if d not in (rows, columns))
        values = xp.linalg_svd(xp.permute(input, (*rest, rows, columns)), False)[1]
        last = (len(rest),)
        if ord == "nuc":
            result = xp.sum(values, last, False)
        else:
            result = (xp.amax if ord == 2 else xp.amin)(values, last, False)
        result = xp.reshape(result, tuple(1 if d in (rows, columns) else n for d, n in enumerate(input.shape)))
    else:
        raise RuntimeError(f"linalg.matrix_norm: order {ord!r} is not supported; use fro, nuc, inf, -inf, 1, -1, 2, -2")
    if keepdim:
        return result
    return xp.reshape(result, tuple(n for d, n in enumerate(input.shape) if d not in (rows, columns)))


@composite(inline=True, public=())
def linalg_norm(xp: Any, input: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return a vector norm or a matrix norm, as ``ord`` and ``dim`` say.

    Args:
        ord: None for the 2-norm of all elements (in ``dim``); otherwise a vector norm for one dimension and a matrix
            norm for two.
    """
    if isinstance(dim, int):
        dim = (dim,)
    if ord is None or (dim is not None and len(dim) == 1) or (dim is None and len(input.shape) == 1):
        dims = range(len(input.shape)) if dim is None else dim
        wrapped = tuple(wrap_dim("linalg.norm", d, len(input.shape)) for d in dims)
        return xp.linalg_vector_norm(input, 2 if ord is None else ord, wrapped, keepdim)
    if dim is None and len(input.shape) != 2:
        raise RuntimeError(
            f"linalg.norm: if dim is not specified but ord is, the input must be 1-dim or 2-dim, got "
            f"{list(input.shape)}"
        )
    return xp.linalg_matrix_norm(input, ord, (0, 1) if dim is None else dim, keepdim)


@composite(inline=True)
def norm(
    xp: Any, input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: DType | None = None
) -> Tensor:
    """Return the p-norm of the elements over ``dim``, or of all of them.

    Args:
        p: a number; ``"fro"`` or None for 2; ``"nuc"`` for the sum of the singular values of matrices.
    """
    if dtype is not None:
        input = xp.to_dtype(input, dtype)
    if p == "nuc":
        return xp.linalg_matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim)
    dims = tuple(range(len(input.shape))) if dim is None else dim
    dims = (dims,) if isinstance(dims, int) else dims
    wrapped = tuple(wrap_dim("norm", d, len(input.shape)) for d in dims)
    return xp.linalg_vector_norm(input, 2 if p in ("fro", None) else p, wrapped, keepdim)


@composite(inline=True)
def dist(xp: Any, input: Tensor, other: Tensor, p: Number = 2) -> Tensor:
    """Return the p-norm of ``input - other``."""
    difference = xp.sub(input, other)
    return xp.linalg_vector_norm(difference, p, tuple(range(len(difference.shape))), False)


@composite(inline=True, public=("function",))
def frobenius_norm(xp: Any, input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """Return the root of the sum of the squared moduli over one or two dimensions, or over all."""
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) > 2:
        raise RuntimeError(f"frobenius_norm: Expected at most 2 dimensions, but got {len(dims)} dimensions instead")
    wrapped = tuple(wrap_dim("frobenius_norm", d, len(input.shape)) for d in dims or range(len(input.shape)))
    return xp.linalg_vector_norm(input, 2, wrapped, keepdim)


@composite(inline=True, public=("function",))
def nuclear_norm(xp: Any, input: Tensor, dim: Any = (-2, -1), keepdim: bool = False) -> Tensor:
    """Return the sum of the singular values of matrices, which lie in the two dimensions ``dim``."""
    return xp.linalg_matrix_norm(input, "nuc", dim, keepdim)


@composite(inline=True, public=("function",))
def norm_except_dim(xp: Any, v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """Return the ``pow``-norm over all dimensions but ``dim``, which are kept with size 1; over all for ``dim`` -1."""
    kept = None if dim == -1 else wrap_dim("norm_except_dim", dim, len(v.shape))
    others = tuple(d for d in range(len(v.shape)) if d != kept)
    return xp.linalg_vector_norm(v, pow, others, kept is not None) if others else xp.abs(v)


@composite(dtype="same", inplace=True)
def renorm(xp: Any, input: Tensor, p: Number, dim: int, maxnorm: Number) -> Tensor:
    """Return a tensor whose parts along ``dim`` are scaled down where their ``p``-norm is larger than ``maxnorm``.

    Raises:
        RuntimeError: when ``p`` is not positive, ``maxnorm`` negative, or the input has less than two dimensions.
    """
    dim = _check_renorm(input, p, dim, maxnorm)
    others = tuple(d for d in range(len(input.shape)) if d != dim)
    size = xp.linalg_vector_norm(input, p, others, True)
    factor = xp.where(
        xp.gt(size, maxnorm), xp.div(xp.full_like(size, maxnorm), xp.add(size, 1e-7)), xp.full_like(size, 1)
    )
    return scale(xp, input, factor)


def _check_renorm(input: Any, p: Any, dim: int, maxnorm: Any) -> int:
    if isinstance(p, complex) or isinstance(maxnorm, complex):
        raise RuntimeError(f"renorm: p and maxnorm must be real-valued, got {p} and {maxnorm}")
    if p <= 0:
        raise RuntimeError(f"renorm: non-positive norm not supported, got p={p}")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0, got {maxnorm}")
    if len(input.shape) < 2:
        raise RuntimeError(
            f"renorm: input needs at least 2 dimensions, got {len(input.shape)} dimensions: {list(input.shape)}"
        )
    return wrap_dim("renorm", dim, len(input.shape))


# -- distances -------------------------------------------------------------------------------------------------------

_DIRECT = 25  # PyTorch's bound: beyond it a matrix product is worth its loss of precision


@composite(inline=True, public=("function",))
def cdist(
    xp: Any, x1: Tensor, x2: Tensor, p: Number = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary"
) -> Tensor:
    """Return the distances between all pairs of rows: (..., m, d) (..., n, d) -> (..., m, n).

    Args:
        p: the norm of the differences.
        compute_mode: ``"use_mm_for_euclid_dist"`` to take Euclidean distances from a matrix product, faster and less
            precise; ``"donot_use_mm_for_euclid_dist"`` never to; the default does for more than 25 rows.
    """
    modes = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")
    if compute_mode not in modes:
        raise ValueError(f"cdist: {compute_mode} is not a valid value for compute_mode; use one of {', '.join(modes)}")
    if len(x1.shape) < 2 or len(x2.shape) < 2 or x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"cdist: X1 and X2 must be of the shapes (..., m, d) and (..., n, d), got {list(x1.shape)} and "
            f"{list(x2.shape)}"
        )
    if p < 0:
        raise RuntimeError(f"cdist: only supports non-negative p values, got {p}")
    many = x1.shape[-2] > _DIRECT or x2.shape[-2] > _DIRECT
    if p == 2 and (compute_mode == modes[1] or (compute_mode == modes[0] and many)):
        return xp.euclidean_distance(x1, x2)
    difference = xp.sub(
        xp.reshape(x1, (*x1.shape[:-1], 1, x1.shape[-1])),
        xp.reshape(x2, (*x2.shape[:-2], 1, *x2.shape[-2:])),
    )
    return xp.linalg_vector_norm(difference, p, (len(difference.shape) - 1,), False)


@composite(inline=True, public=("function", "functional"))
def pdist(xp: Any, input: Tensor, p: Number = 2.0) -> Tensor:
    """Return the distances between all pairs of different rows: (N, D) -> (N (N - 1) / 2,).

    They are the upper triangle of :func:`cdist` of ``input`` with itself, row by row.

    Args:
        p: the norm of the differences.

    Raises:
        RuntimeError: unless ``input`` is a floating-point matrix, or for a negative ``p``.
    """
    if len(input.shape) != 2:
        raise RuntimeError(f"pdist: only supports 2D tensors, got shape {list(input.shape)}")
    if not xp.dtype_of(input).is_floating_point:
        raise RuntimeError(f"pdist: only supports floating-point dtypes, got {xp.dtype_of(input).name}")
    if p < 0:
        raise RuntimeError(f"pdist: only supports non-negative p values, got {p}")
    n = input.shape[0]
    if n < 2:
        return xp.reshape(xp.slice(input, 0, 0, 0, 1), (0,))
    seconds = [xp.new_arange(input, i + 1, n) for i in range(n - 1)]
    firsts = [xp.full_like(second, i) for i, second in enumerate(seconds)]
    difference = xp.sub(xp.index(input, [xp.cat(firsts, 0)]), xp.index(input, [xp.cat(seconds, 0)]))
    return xp.linalg_vector_norm(difference, p, (1,), False)


@composite(dtype="same", public=())
def euclidean_distance(xp: Any, x1: Tensor, x2: Tensor) -> Tensor:
    """Return the Euclidean distances between all rows, as ``sqrt(|a|^2 + |b|^2 - 2 a.b)``: (..., m, n)."""
    last1, last2 = (len(x1.shape) - 1,), (len(x2.shape) - 1,)
    squares1 = xp.sum(xp.mul(x1, x1), last1, True)
    squares2 = swap(xp, xp.sum(xp.mul(x2, x2), last2, True))
    products = xp.matmul(x1, swap(xp, x2))
    squared = xp.sub(xp.add(squares1, squares2), xp.mul(products, 2))
    return xp.sqrt(xp.clamp(squared, 0, None))


@euclidean_distance.joint_vjp
def _euclidean_vjp(xp: Any, g: Any, needs: tuple[bool, ...], x1: Any, x2: Any, result: Any) -> tuple[Any, ...]:
    zero = xp.eq(result, 0)
    weights = xp.div(xp.where(zero, xp.full_like(g, 0), g), xp.where(zero, xp.full_like(result, 1), result))

    def toward(own: Any, other: Any, weights: Any) -> Any:
        total = xp.sum(weights, (len(weights.shape) - 1,), True)
        return xp.sum_to_size(xp.sub(xp.mul(total, own), xp.matmul(weights, other)), own.shape)

    return (toward(x1, x2, weights) if needs[0] else None, toward(x2, x1, swap(xp, weights)) if needs[1] else None)
