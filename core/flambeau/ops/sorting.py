"""Ops that order, rank, look up and count elements.

NaN counts as the largest value: it comes last in ascending order and first in descending order.
"""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import FLOATING, bool_, float32, float64, int32, int64
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


# -- distinct values -------------------------------------------------------------------------------------------------


def _unique_sorted(xp: Any, changes: Any, order: Any, inverse_shape: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """From which sorted elements differ from their predecessors: where the runs start, the inverse, the counts."""
    size = order.shape[0]
    starts = xp.reshape(xp.nonzero(changes), (-1,))
    run = xp.sub(xp.cumsum(xp.to_dtype(changes, int64), 0), 1)
    inverse = xp.reshape(xp.scatter(order, 0, order, run), inverse_shape)
    ends = xp.cat([xp.slice(starts, 0, min(1, starts.shape[0]), starts.shape[0], 1), xp.new_full(order, (1,), size)], 0)
    counts = xp.sub(ends, starts) if starts.shape[0] else starts
    return starts, inverse, counts


def _differs(xp: Any, ordered: Any) -> Any:
    """For each row of (n, ...) whether it differs from the row before; the first one does."""
    size = ordered.shape[0]
    if size == 0:
        return xp.new_full(ordered, (0,), False, bool_)
    differs = xp.ne(xp.slice(ordered, 0, 1, size, 1), xp.slice(ordered, 0, 0, size - 1, 1))
    if len(ordered.shape) > 1:
        differs = xp.any(xp.reshape(differs, (size - 1, -1)), (1,), False)
    return xp.cat([xp.new_full(ordered, (1,), True, bool_), differs], 0)


def _chosen(values: Any, inverse: Any, counts: Any, return_inverse: bool, return_counts: bool) -> Any:
    results = [values] + [inverse] * return_inverse + [counts] * return_counts
    return tuple(results) if len(results) > 1 else values


@composite(inline=True, differentiable=False)
def unique(
    xp: Any,
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the distinct elements, ascending, or the distinct slices along ``dim`` in lexicographic order.

    Args:
        sorted: accepted; the result is sorted anyway.
        return_inverse: return also, for each element (or slice), where it is in the result.
        return_counts: return also how often each occurs.

    Returns:
        The values, or a tuple of them with the inverse and the counts where asked for.
    """
    if dim is None:
        values, order = xp.sort(xp.reshape(input, (-1,)), 0, False, True)
        inverse_shape = tuple(input.shape)
    else:
        dim = wrap_dim("unique", dim, len(input.shape))
        values, order = _lexicographic(xp, xp.movedim(input, (dim,), (0,)) if dim else input)
        inverse_shape = (input.shape[dim],)
    starts, inverse, counts = _unique_sorted(xp, _differs(xp, values), order, inverse_shape)
    found = xp.index(values, [starts])
    return _chosen(xp.movedim(found, (0,), (dim,)) if dim else found, inverse, counts, return_inverse, return_counts)


def _lexicographic(xp: Any, slices: Any) -> tuple[Any, Any]:
    """Slices (n, ...) in lexicographic order, and the order: stable sorts by one column after the other."""
    size = slices.shape[0]
    rows = xp.reshape(slices, (size, numel(slices.shape[1:])))
    order = xp.new_arange(rows, 0, size)
    for column in range(rows.shape[1] - 1, -1, -1):
        keys = xp.index(xp.reshape(xp.slice(rows, 1, column, column + 1, 1), (size,)), [order])
        order = xp.index(order, [xp.sort(keys, 0, False, True)[1]])
    return xp.index(slices, [order]), order


@composite(inline=True, differentiable=False)
def unique_consecutive(
    xp: Any, input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Return the elements (or slices along ``dim``) without those equal to their predecessor.

    Args:
        return_inverse, return_counts, dim: as for :func:`unique`.
    """
    if dim is None:
        values = xp.reshape(input, (-1,))
        inverse_shape = tuple(input.shape)
    else:
        dim = wrap_dim("unique_consecutive", dim, len(input.shape))
        values = xp.movedim(input, (dim,), (0,)) if dim else input
        inverse_shape = (values.shape[0],)
    order = xp.new_arange(values, 0, values.shape[0])
    starts, inverse, counts = _unique_sorted(xp, _differs(xp, values), order, inverse_shape)
    found = xp.index(values, [starts])
    return _chosen(xp.movedim(found, (0,), (dim,)) if dim else found, inverse, counts, return_inverse, return_counts)


# -- looking up ------------------------------------------------------------------------------------------------------


@primitive(dtype="promote", differentiable=False, public=())
def searchsorted(sorted_sequence: Tensor, input: Tensor, right: bool = False) -> Tensor:
    """Return int64 indices at which elements go into a sequence that is ascending along its last dimension.

    Index i is the number of elements of the sequence that are smaller than the value, with ``right`` that are smaller
    or equal.

    Args:
        sorted_sequence: shape (n,), or (..., n) with the leading dimensions of ``input``.
        input: any shape, or (..., m).
    """
    return Spec(input.shape, int64)


@searchsorted.check
def _check_searchsorted(sorted_sequence: Any, input: Any, right: bool) -> None:
    sequence, values = sorted_sequence.shape, input.shape
    if len(sequence) != 1 and (len(sequence) != len(values) or sequence[:-1] != values[:-1]):
        raise RuntimeError(
            "searchsorted: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            "tensor and "
            f"input value tensor must match, but we got boundaries tensor {list(sequence)} and input value tensor "
            f"{list(values)}"
        )


@composite(inline=True, differentiable=False, public=("function",))
def bucketize(xp: Any, input: Tensor, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Return the number of the bucket between ascending ``boundaries`` in which each element lies.

    Bucket i holds ``boundaries[i-1] < x <= boundaries[i]``, with ``right`` ``boundaries[i-1] <= x < boundaries[i]``.
    """
    if len(boundaries.shape) != 1:
        raise RuntimeError(f"bucketize: boundaries tensor must be 1 dimension, but got {list(boundaries.shape)}")
    found = xp.searchsorted(boundaries, input, right)
    return xp.to_dtype(found, int32) if out_int32 else found


@composite(inline=True, differentiable=False, public=("function",))
def isin(
    xp: Any, elements: Tensor, test_elements: Tensor, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Return for each element whether it is among ``test_elements`` (with ``invert``, whether it is not)."""
    size = numel(test_elements.shape)
    if size == 0:
        return xp.new_full(elements, tuple(elements.shape), invert, bool_)
    known = xp.sort(xp.reshape(test_elements, (-1,)), 0)[0]
    place = xp.clamp(xp.searchsorted(known, elements, False), None, size - 1)
    found = xp.eq(xp.index(known, [place]), elements)
    return xp.logical_not(found) if invert else found


@composite(inline=True, differentiable=False)
def argwhere(xp: Any, input: Tensor) -> Tensor:
    """Return the indices of the elements that are not zero, a row each: (n, ndim), int64."""
    return xp.nonzero(input)


# -- counting --------------------------------------------------------------------------------------------------------


@composite(inline=True, differentiable=False)
def bincount(xp: Any, input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Return how often each of 0, 1, 2, ... occurs in a 1-dim integer tensor, or the sum of its weights.

    Args:
        weights: of ``input``'s shape; the result is then float64 (float32 for float32 weights).
        minlength: the least length of the result.

    Raises:
        RuntimeError: for negative values or another shape.
    """
    if len(input.shape) != 1 or xp.dtype_of(input).category >= FLOATING:
        raise RuntimeError(
            "bincount: only supports 1-d non-negative integral inputs, got the shape "
            f"{list(input.shape)} and {xp.dtype_of(input)}"
        )
    if minlength < 0:
        raise RuntimeError(f"bincount: minlength should be >= 0, got {minlength}")
    if weights is not None and tuple(weights.shape) != tuple(input.shape):
        raise RuntimeError(
            f"bincount: weights should have the shape of input {list(input.shape)}, got {list(weights.shape)}"
        )
    length = minlength
    index = xp.to_dtype(input, int64)
    if input.shape[0]:
        if int(xp.amin(index, (0,), False)) < 0:
            raise RuntimeError("bincount: only supports 1-d non-negative integral inputs, got a negative value")
        length = max(minlength, int(xp.amax(index, (0,), False)) + 1)
    if weights is None:
        return xp.scatter_add(xp.new_full(index, (length,), 0), 0, index, xp.full_like(index, 1))
    if xp.dtype_of(weights) is not float32:
        weights = xp.to_dtype(weights, float64)
    return xp.scatter_add(xp.new_full(weights, (length,), 0), 0, index, weights)


@composite(differentiable=False)
def histc(xp: Any, input: Tensor, bins: int = 100, min: Number = 0, max: Number = 0) -> Tensor:
    """Return the histogram of a floating-point tensor: counts in ``bins`` equal bins from ``min`` to ``max``.

    With ``min == max`` the bins reach from the smallest to the largest element. Elements outside, and NaN, do not
    count; the last bin includes its upper edge.
    """
    if bins <= 0:
        raise RuntimeError(f"histc: bins must be > 0, got {bins}")
    if max < min:
        raise RuntimeError(f"histc: max must be larger than min, got min={min} and max={max}")
    kind = xp.dtype_of(input)
    values = xp.reshape(input, (numel(input.shape),))
    counts = xp.new_full(values, (bins,), 0)
    if not values.shape[0]:
        return counts
    if min == max:
        low, high = xp.amin(values, (0,), False), xp.amax(values, (0,), False)
    else:
        low, high = xp.full_like(counts, min), xp.full_like(counts, max)
        low, high = xp.slice(low, 0, 0, 1, 1), xp.slice(high, 0, 0, 1, 1)
    single = xp.eq(low, high)
    low, high = xp.where(single, xp.sub(low, 1), low), xp.where(single, xp.add(high, 1), high)
    inside = xp.logical_and(xp.ge(values, low), xp.le(values, high))
    place = xp.mul(xp.div(xp.sub(values, low), xp.sub(high, low)), bins)
    place = xp.to_dtype(xp.where(inside, place, 0), int64)
    return xp.scatter_add(counts, 0, xp.clamp(place, None, bins - 1), xp.to_dtype(inside, kind))
