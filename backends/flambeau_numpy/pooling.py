"""Pooling over any number of spatial dimensions, and its gradients.

Instead of visiting windows the kernels visit the elements that a window has: element t of all windows together is a
strided view of the padded input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy

from flambeau_numpy.elementwise import is_half
from flambeau_numpy.indexing import add_at
from flambeau_numpy.reduction import float_sum

Array = Any
Size = tuple[int, ...]


def _counts(shape: Size, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool) -> Size:
    """How many windows there are in each dimension; one that begins in the padding at the end is left out."""
    counts = []
    for n, k, s, p, d in zip(shape, kernel, stride, padding, dilation, strict=True):
        span = n + 2 * p - d * (k - 1) - 1
        count = (-(-span // s) if ceil_mode else span // s) + 1
        if ceil_mode and (count - 1) * s >= n + p:
            count -= 1
        counts.append(count)
    return tuple(counts)


def _window(offset: int, count: int, stride: int) -> slice:
    """Where the windows have their element ``offset``, along one dimension."""
    return slice(offset, offset + (count - 1) * stride + 1, stride)


def _padded(x: Array, padding: Size, reach: Sequence[int], value: float) -> Array:
    """``x`` with ``padding`` before, and after it what is missing to ``reach``, in the spatial dimensions."""
    shape = x.shape[2:]
    room = [max(p + n, r) for p, n, r in zip(padding, shape, reach, strict=True)]
    if tuple(room) == shape:
        return x
    result = numpy.full((*x.shape[:2], *room), value, x.dtype)
    result[(..., *[slice(p, p + n) for p, n in zip(padding, shape, strict=True)])] = x
    return result


# -- maximum -------------------------------------------------------------------------------------------------------


def max_pool(
    input: Array, kernel_size: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> tuple[Array, Array]:
    """The largest element (NaN before all) of each window of (N, C, *sizes), and its flat index into the sizes."""
    shape = input.shape[2:]
    counts = _counts(shape, kernel_size, stride, padding, dilation, ceil_mode)
    reach = [(c - 1) * s + d * (k - 1) + 1 for c, s, d, k in zip(counts, stride, dilation, kernel_size, strict=True)]
    lowest = numpy.iinfo(input.dtype).min if input.dtype.kind in "iu" else -numpy.inf
    x = _padded(input, padding, reach, lowest)
    best, which = None, numpy.zeros((), numpy.uint8)
    small = numpy.uint8 if prod(kernel_size) <= 256 else numpy.int64
    for number, element in enumerate(_elements(x, kernel_size, counts, stride, dilation)):
        if best is None:
            best = element.copy()
            first = _first_inside(kernel_size, counts, stride, padding, dilation)
            which = numpy.empty(best.shape, small)
            which[...] = first
            continue
        # Later elements win only when larger, so the last winner has the largest number.
        better = numpy.greater(element, best).view(numpy.uint8)
        numpy.maximum(best, element, out=best)
        numpy.maximum(which, numpy.multiply(better, number, dtype=small), out=which)
    if input.dtype.kind not in "iu" and numpy.isnan(best.sum()):
        for number, element in enumerate(_elements(x, kernel_size, counts, stride, dilation)):
            which[numpy.isnan(element)] = number
    return best, _flat_indices(which, shape, kernel_size, counts, stride, padding, dilation)


def _elements(x: Array, kernel: Size, counts: Size, stride: Size, dilation: Size) -> Iterator[Array]:
    """The elements of all windows, one place in the window after the other, in row-major order."""
    for place in product(*[range(k) for k in kernel]):
        yield x[(..., *[_window(t * d, c, s) for t, d, c, s in zip(place, dilation, counts, stride, strict=True)])]


def _in_planes(values: Sequence[Array]) -> Array:
    """The sums of all combinations of 1-D arrays, one a dimension, as an array of as many dimensions."""
    total = numpy.zeros((), numpy.int64)
    for value in values:
        total = numpy.add(total[..., None], value)
    return total


def _first_inside(kernel: Size, counts: Size, stride: Size, padding: Size, dilation: Size) -> Array:
    """The number of the first element of each window that is not padding: what wins when nothing is larger."""
    firsts = []
    for i, (c, s, p, d) in enumerate(zip(counts, stride, padding, dilation, strict=True)):
        missing = numpy.maximum(p - numpy.arange(c) * s, 0)
        firsts.append(-(-missing // d) * prod(kernel[i + 1 :]))
    return _in_planes(firsts)


def _flat_indices(
    which: Array, shape: Size, kernel: Size, counts: Size, stride: Size, padding: Size, dilation: Size
) -> Array:
    """Flat indices into the plane from the numbers of the elements in their windows."""
    steps = [prod(shape[i + 1 :]) for i in range(len(shape))]
    places = [numpy.arange(k) * (d * step) for k, d, step in zip(kernel, dilation, steps, strict=True)]
    origins = [(numpy.arange(c) * s - p) * step for c, s, p, step in zip(counts, stride, padding, steps, strict=True)]
    indices = _in_planes(places).reshape(-1).take(which)
    return numpy.add(indices, _in_planes(origins), indices)


def max_pool_backward(g: Array, indices: Array, size: Size) -> Array:
    """The sum of ``g`` (N, C, ...) at the flat ``indices`` of planes of the spatial ``size``."""
    lead = g.shape[:2]
    plane = prod(size)
    result = numpy.zeros((*lead, *size), g.dtype)
    origins = numpy.arange(0, prod(lead) * plane, max(plane, 1)).reshape(-1, 1)
    add_at(result.reshape(-1), indices.reshape(prod(lead), -1) + origins, g)
    return result


# -- mean ----------------------------------------------------------------------------------------------------------


def _divisor(
    shape: Size,
    counts: Size,
    kernel: Size,
    stride: Size,
    padding: Size,
    count_include_pad: bool,
    divisor_override: int | None,
    dtype: Any,
) -> Any:
    """What the sums are divided by: a number, or an array where windows hold different numbers of elements."""
    if divisor_override is not None:
        return divisor_override
    numbers = []
    for n, c, k, s, p in zip(shape, counts, kernel, stride, padding, strict=True):
        start = numpy.arange(c) * s - p
        end = numpy.minimum(start + k, n + p)
        if not count_include_pad:
            start, end = numpy.maximum(start, 0), numpy.minimum(end, n)
        numbers.append(end - start)
    if all(number.min() == number.max() for number in numbers):
        return prod([int(number[0]) for number in numbers])
    total = numpy.ones((), dtype)
    for number in numbers:
        total = total[..., None] * number.astype(dtype)
    return total


def avg_pool(
    input: Array,
    kernel_size: Size,
    stride: Size,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """The mean of each window of (N, C, *sizes); the sums are made one dimension after the other."""
    if is_half(input):
        arguments = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        return avg_pool(input.astype(numpy.float32), *arguments).astype(input.dtype)
    shape = input.shape[2:]
    counts = _counts(shape, kernel_size, stride, padding, (1,) * len(shape), ceil_mode)
    divisor = _divisor(shape, counts, kernel_size, stride, padding, count_include_pad, divisor_override, input.dtype)
    if kernel_size == shape and not any(padding) and input.dtype.char in "fd":
        sums = float_sum(input, tuple(range(2, input.ndim)), True)
    else:
        reach = [(c - 1) * s + k for c, s, k in zip(counts, stride, kernel_size, strict=True)]
        sums = _padded(input, padding, reach, 0)
        for d, (k, c, s) in enumerate(zip(kernel_size, counts, stride, strict=True)):
            behind = (slice(None),) * (len(shape) - d - 1)
            parts = [sums[(..., _window(t, c, s), *behind)] for t in range(k)]
            sums = parts[0].copy() if k == 1 else numpy.add(parts[0], parts[1])
            for part in parts[2:]:
                numpy.add(sums, part, sums)
    if input.dtype.kind in "iu":  # as C divides integers, towards 0
        return numpy.sign(sums) * (numpy.abs(sums) // numpy.abs(divisor)) * numpy.sign(divisor)
    return numpy.divide(sums, divisor, sums)


def avg_pool_backward(
    g: Array,
    input_size: Size,
    kernel_size: Size,
    stride: Size,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """The cotangent of :func:`avg_pool`'s input: the share of each window, added up where the window was."""
    if is_half(g):
        arguments = kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
        return avg_pool_backward(g.astype(numpy.float32), input_size, *arguments).astype(g.dtype)
    counts = g.shape[2:]
    divisor = _divisor(input_size, counts, kernel_size, stride, padding, count_include_pad, divisor_override, g.dtype)
    shares = numpy.divide(g, divisor)
    for d, (n, k, c, s, p) in enumerate(zip(input_size, kernel_size, counts, stride, padding, strict=True)):
        behind = (slice(None),) * (len(counts) - d - 1)
        room = max(n + p, (c - 1) * s + k)
        spread = numpy.zeros((*shares.shape[: 2 + d], room, *shares.shape[3 + d :]), g.dtype)
        for t in range(k):
            target = spread[(..., _window(t, c, s), *behind)]
            if s >= k:  # windows do not meet
                target[...] = shares
            else:
                numpy.add(target, shares, target)
        shares = spread[(..., slice(p, p + n), *behind)]
    return numpy.ascontiguousarray(shares)


KERNELS: dict[str, Callable[..., Any]] = {
    "max_pool": max_pool,
    "max_pool_backward": max_pool_backward,
    "avg_pool": avg_pool,
    "avg_pool_backward": avg_pool_backward,
}
