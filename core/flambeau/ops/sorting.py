"""Ops that order and rank elements.

NaN counts as the largest value: it comes last in ascending order and first in descending order.
"""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import FLOATING, float32, float64, int64
from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import Spec, numel, wrap_dim

Tensor = Any
Number = Any
Dim = int

VALUES_INDICES = ("values", "indices")


@primitive()
def sort(input: Tensor, dim: Dim = -1, descending: bool = False, stable: bool = False) -> tuple[Tensor, Tensor]:
    """Sort along a dimension.

    Args:
        dim: the dimension, the last unless given.
        descending: the largest value first.
        stable: keep the order of equal elements.

    Returns:
        ``(values, indices)``, both of ``input``'s shape: the sorted values and (int64) where each came from.
    """
    return input, Spec(input.shape, int64)


sort.fields = VALUES_INDICES


@sort.joint_vjp
def _sort_vjp(xp: Any, g: Any, needs: tuple[bool, ...], dim: int, result_1: Any) -> tuple[Any, ...]:
    # The indices are a permutation: every element of the target is written.
    return (None if g[0] is None else xp.scatter(g[0], dim, result_1, g[0]),)


@composite(inline=True)
def msort(xp: Any, input: Tensor) -> Tensor:
    """Sort along the first dimension, ascending."""
    return xp.sort(input, 0)[0]


@composite(inline=True, differentiable=False)
def argsort(xp: Any, input: Tensor, dim: Dim = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Return the int64 indices that sort a dimension."""
    return xp.sort(input, dim, descending, stable)[1]


@composite()
def topk(
    xp: Any, input: Tensor, k: int, dim: Dim = -1, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the ``k`` largest (or smallest) elements along a dimension and their indices.

    Args:
        k: at most the size of the dimension.
        sorted: whether the result has to be in order; it is anyway.

    Returns:
        ``(values, indices)``.

    Raises:
        RuntimeError: when ``k`` is out of range.
    """
    if not len(input.shape):
        return xp.clone(input), xp.new_full(input, (), 0, int64)
    values, indices = xp.sort(input, dim, largest, True)
    return xp.clone(xp.slice(values, dim, 0, k, 1)), xp.clone(xp.slice(indices, dim, 0, k, 1))


topk.fields = VALUES_INDICES


@topk.check
def _check_topk(input: Any, k: int, dim: int, largest: bool, sorted: bool) -> None:
    size = _size_along(input, dim)
    if not 0 <= k <= size:
        raise RuntimeError(f"topk: selected index k out of range: k={k} and the size of dimension {dim} is {size}")


@topk.joint_vjp
def _topk_vjp(xp: Any, g: Any, needs: tuple[bool, ...], dim: int, result_1: Any, input_spec: Spec) -> tuple[Any, ...]:
    if g[0] is None:
        return (None,)
    return (xp.scatter(xp.new_full(g[0], input_spec.shape, 0), dim, result_1, g[0]),)


def _size_along(x: Any, dim: int) -> int:
    """The size of a dimension; a 0-dim array has one of size 1."""
    return x.shape[dim] if len(x.shape) else 1


def _pick(xp: Any, values: Any, indices: Any, position: int, dim: int, keepdim: bool) -> tuple[Any, Any]:
    """The elements at ``position`` along ``dim`` of what :func:`sort` returned."""
    if not len(values.shape):
        return values, indices
    values = xp.slice(values, dim, position, position + 1, 1)
    indices = xp.slice(indices, dim, position, position + 1, 1)
    return (values, indices) if keepdim else (xp.squeeze(values, (dim,)), xp.squeeze(indices, (dim,)))


@composite(inline=True)
def kthvalue(xp: Any, input: Tensor, k: int, dim: Dim = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """Return the ``k``-th smallest element (counted from 1) along a dimension and its index: ``(values, indices)``.

    Raises:
        RuntimeError: when ``k`` is out of range.
    """
    size = _size_along(input, dim)
    if not 1 <= k <= size:
        raise RuntimeError(f"kthvalue: selected number k out of range for dimension {dim}: k={k}, size {size}")
    values, indices = xp.sort(input, dim, False, True)
    return _pick(xp, values, indices, k - 1, dim, keepdim)


kthvalue.fields = VALUES_INDICES


@composite(inline=True)
def median(xp: Any, input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the median, the lower of the two middle elements where their number is even; NaN where there is a NaN.

    Returns:
        The median of all elements, or with ``dim`` the pair ``(values, indices)`` along it.
    """
    if dim is None:
        return _median_of_all(xp, input, False)
    return xp.median_along(input, wrap_dim("median", dim, len(input.shape)), keepdim, False)


@composite(inline=True)
def nanmedian(xp: Any, input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return :func:`median` of the elements that are not NaN."""
    if dim is None:
        return _median_of_all(xp, input, True)
    return xp.median_along(input, wrap_dim("nanmedian", dim, len(input.shape)), keepdim, True)


def _median_of_all(xp: Any, input: Any, ignore_nan: bool) -> Any:
    if not numel(input.shape):
        return xp.new_full(input, (), float("nan"))
    return xp.median_along(xp.reshape(input, (-1,)), 0, False, ignore_nan)[0]


@composite(inline=True, public=())
def median_along(
    xp: Any, input: Tensor, dim: Dim, keepdim: bool = False, ignore_nan: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the medians along a dimension and their indices.

    Raises:
        IndexError: when the dimension is empty.
    """
    if not len(input.shape):
        return xp.clone(input), xp.new_full(input, (), 0, int64)
    size = input.shape[dim]
    if not size:
        raise IndexError(f"median: expected reduction dim {dim} to have non-zero size, got {list(input.shape)}")
    values, indices = xp.sort(input, dim, False, True)
    if xp.dtype_of(input).category < FLOATING:
        return _pick(xp, values, indices, (size - 1) // 2, dim, keepdim)
    missing = xp.sum(xp.to_dtype(xp.isnan(input), int64), (dim,), True)
    if ignore_nan:
        present = xp.sub(size - 1, missing)
        position = xp.clamp(xp.bitwise_right_shift(present, 1), 0, None)
    else:
        position = xp.where(xp.gt(missing, 0), xp.sub(size, missing), (size - 1) // 2)
    values, indices = xp.gather(values, dim, position), xp.gather(indices, dim, position)
    return (values, indices) if keepdim else (xp.squeeze(values, (dim,)), xp.squeeze(indices, (dim,)))


median_along.fields = VALUES_INDICES


@composite(inline=True)
def mode(xp: Any, input: Tensor, dim: Dim = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """Return the most frequent value along a dimension, the smallest of several, and the index of its last place."""
    if not len(input.shape):
        return xp.clone(input), xp.new_full(input, (), 0, int64)
    size = input.shape[dim]
    if not size:
        raise IndexError(f"mode: expected reduction dim {dim} to have non-zero size, got {list(input.shape)}")
    values, indices = xp.sort(input, dim, False, True)
    # Runs of equal elements are numbered; the longest run's last element is the answer.
    first = xp.full_like(xp.slice(indices, dim, 0, 1, 1), 0)
    later = xp.ne(xp.slice(values, dim, 1, size, 1), xp.slice(values, dim, 0, size - 1, 1))
    run = xp.cumsum(xp.cat([first, xp.to_dtype(later, int64)], dim), dim)
    lengths = xp.scatter_add(xp.full_like(run, 0), dim, run, xp.full_like(run, 1))
    longest = xp.argmax(lengths, dim, True)
    position = xp.sub(xp.gather(xp.cumsum(lengths, dim), dim, longest), 1)
    values, indices = xp.gather(values, dim, position), xp.gather(indices, dim, position)
    return (values, indices) if keepdim else (xp.squeeze(values, (dim,)), xp.squeeze(indices, (dim,)))


mode.fields = VALUES_INDICES


# -- quantiles -----------------------------------------------------------------------------------------------------


@composite(inline=True)
def quantile(
    xp: Any,
    input: Tensor,
    q: Tensor | Number,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """Return the ``q``-th quantiles along a dimension, or of all elements.

    The quantile lies at rank ``q * (n - 1)`` of the sorted elements; between two elements ``interpolation`` decides:
    ``"linear"``, ``"lower"``, ``"higher"``, ``"nearest"`` or ``"midpoint"``. NaN where there is a NaN.

    Args:
        input: float32 or float64.
        q: a number or a 1-dim tensor within [0, 1]; with a tensor the result has a first dimension for it.
    """
    return _quantile(xp, "quantile", input, q, dim, keepdim, interpolation, ignore_nan=False)


@composite(inline=True)
def nanquantile(
    xp: Any,
    input: Tensor,
    q: Tensor | Number,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """Return :func:`quantile` of the elements that are not NaN."""
    return _quantile(xp, "nanquantile", input, q, dim, keepdim, interpolation, ignore_nan=True)


_INTERPOLATIONS = ("linear", "lower", "higher", "nearest", "midpoint")


def _check_quantile(xp: Any, op: str, input: Any, q: Any, interpolation: str) -> None:
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(f"{op}: interpolation must be one of {', '.join(_INTERPOLATIONS)}, but got {interpolation}")
    if xp.dtype_of(input) not in (float32, float64):
        raise RuntimeError(f"{op}: input tensor must be either float or double dtype, got {xp.dtype_of(input)}")
    if hasattr(q, "shape"):
        if len(q.shape) > 1:
            raise RuntimeError(f"{op}: q must be a scalar or 1D tensor, got the shape {list(q.shape)}")
        if xp.dtype_of(q) is not xp.dtype_of(input):
            raise RuntimeError(f"{op}: q tensor must be {xp.dtype_of(input)} as the input, got {xp.dtype_of(q)}")
    elif not 0 <= q <= 1:
        raise RuntimeError(f"{op}: q must be in the range [0, 1] but got {q}")
    if not numel(input.shape):
        raise RuntimeError(f"{op}: input tensor must be non-empty, got the shape {list(input.shape)}")


def _quantile(
    xp: Any, op: str, input: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, ignore_nan: bool
) -> Any:
    _check_quantile(xp, op, input, q, interpolation)
    kind = xp.dtype_of(input)
    ndim = len(input.shape)
    if dim is None:
        rows = xp.reshape(input, (1, -1))
        kept: tuple[int, ...] = (1,) * ndim if keepdim else ()
    else:
        dim = wrap_dim(op, dim, ndim)
        shape = tuple(input.shape)
        moved = xp.permute(input, (*range(dim), *range(dim + 1, ndim), dim)) if ndim else input
        rows = xp.reshape(moved, (-1, shape[dim] if ndim else 1))
        kept = (*shape[:dim], *((1,) if keepdim and ndim else ()), *shape[dim + 1 :])
    size = rows.shape[1]
    values = xp.sort(rows, 1)[0]
    is_tensor = hasattr(q, "shape")
    wanted = xp.reshape(q, (1, -1)) if is_tensor else xp.full_like(xp.slice(rows, 1, 0, 1, 1), q)
    missing = xp.sum(xp.to_dtype(xp.isnan(values), int64), (1,), True)
    if ignore_nan:
        last = xp.clamp(xp.sub(size - 1, missing), 0, None)
    else:
        # A row with a NaN is asked for its last element, which is one.
        last = xp.full_like(missing, size - 1)
        wanted = xp.where(xp.gt(missing, 0), xp.full_like(wanted, 1), wanted)
    rank = xp.mul(wanted, xp.to_dtype(last, kind))
    if interpolation == "lower":
        rank = xp.floor(rank)
    elif interpolation == "higher":
        rank = xp.ceil(rank)
    elif interpolation == "nearest":
        rank = xp.round(rank)
    below = xp.floor(rank)
    low = xp.gather(values, 1, xp.to_dtype(below, int64))
    if interpolation in ("linear", "midpoint"):
        high = xp.gather(values, 1, xp.to_dtype(xp.ceil(rank), int64))
        between = xp.sub(rank, below)
        if interpolation == "midpoint":
            between = xp.where(xp.gt(between, 0), xp.full_like(between, 0.5), between)
        low = xp.add(low, xp.mul(xp.sub(high, low), between))
    result = xp.permute(low, (1, 0))
    lead = tuple(q.shape) if is_tensor else ()
    return xp.reshape(result, (*lead, *kept))
