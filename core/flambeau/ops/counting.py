"""Distinct values, places in ordered sequences, counts and histograms."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import FLOATING, bool_, float32, float64, int32, int64
from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import Spec, numel, wrap_dim

Tensor = Any
Number = Any


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


@composite(inline=True, public=("function",))
def segment_reduce(
    xp: Any,
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: Number | None = None,
) -> Tensor:
    """Return the reductions of the segments that a dimension consists of.

    Args:
        reduce: ``"sum"``, ``"mean"``, ``"max"``, ``"min"`` or ``"prod"``.
        lengths: how long the segments are, (..., s): one row for each entry of the dimensions before ``axis``.
        offsets: where they begin, and where the last one ends, (..., s + 1); in place of ``lengths``.
        axis: the last of the dimensions that ``lengths`` has.
        unsafe: do not check that the lengths add up to the dimension's size.
        initial: what each segment starts with; without it an empty one gives 0 (sum), 1 (prod), NaN (mean) or an
            infinity.

    Raises:
        RuntimeError: for another ``reduce``, or lengths that do not fit.
    """
    names = {"sum": "sum", "mean": "mean", "max": "amax", "min": "amin", "prod": "prod"}
    if reduce not in names:
        raise RuntimeError(f"segment_reduce(): reduce argument must be one of {', '.join(names)}, got {reduce!r}")
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported")
    if (lengths is None) == (offsets is None):
        raise RuntimeError("segment_reduce(): either lengths or offsets must be given")
    if offsets is not None:
        lengths = xp.diff(offsets)
    axis = wrap_dim("segment_reduce", axis, len(data.shape))
    rows = xp.to_dtype(lengths, int64)
    if len(rows.shape) != axis + 1 or tuple(rows.shape[:-1]) != tuple(data.shape[:axis]):
        raise RuntimeError(
            f"segment_reduce(): lengths of shape {list(rows.shape)} do not fit data of shape {list(data.shape)} along "
            f"axis {axis}"
        )
    count, size = rows.shape[-1], data.shape[axis]
    ends = xp.cumsum(rows, axis)
    fits = unsafe or not numel(rows.shape)
    if not (fits or (bool(xp.all(xp.ge(rows, 0))) and bool(xp.all(xp.eq(xp.select(ends, axis, -1), size))))):
        raise RuntimeError("segment_reduce(): lengths must not be negative and add up to data.size(axis)")
    # Which segment each entry lies in: how many have ended before.
    entries = xp.reshape(xp.new_arange(rows, 0, size), (size, 1))
    segment = xp.sum(xp.to_dtype(xp.ge(entries, xp.unsqueeze(ends, axis)), int64), axis + 1)
    places = xp.reshape(segment, (*segment.shape, *[1] * (len(data.shape) - axis - 1)))
    places = xp.expand(places, tuple(data.shape))
    start = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -math.inf, "min": math.inf}[reduce]
    start = start if initial is None else initial
    target = xp.new_full(data, (*data.shape[:axis], count, *data.shape[axis + 1 :]), start)
    if reduce == "mean":
        divisor = xp.to_dtype(rows, xp.dtype_of(data))
        divisor = xp.reshape(divisor, (*rows.shape, *[1] * (len(data.shape) - axis - 1)))
        total = xp.scatter_add(target, axis, places, data)
        mean = xp.div(total, divisor)
        return mean if initial is None else xp.where(xp.eq(divisor, 0), target, mean)
    return xp.scatter_reduce(target, axis, places, data, names[reduce])
