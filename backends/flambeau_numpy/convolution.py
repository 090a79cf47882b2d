"""Convolution over any number of spatial dimensions, with its gradients.

All is made of three products of matrices over *columns*, the windows of the input that the kernel meets, laid out side
by side (Chellapilla et al., 2006):

* forward: ``weight (O, depth) @ columns (depth, positions)``
* gradient of the weight: ``cotangent (O, positions) @ columns^T``
* gradient of the input: ``weight^T @ cotangent`` gives the gradient of the columns, which is added up where the windows
  were; with stride 1 it is a forward convolution with the kernel turned around.

Columns are made for a few samples at a time, so that they are still in the cache when BLAS reads them. A transposed
convolution is the gradient of a convolution with respect to its input, and the other way around.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy

from flambeau.ops.convolution import output_size, transposed_output_size
from flambeau_array.convolution import check_operands, check_size
from flambeau_numpy.elementwise import is_half
from flambeau_numpy.reduction import float_sum

Array = Any
Size = tuple[int, ...]
Gradients = tuple[Array | None, Array | None, Array | None]

#: Bytes of columns made at a time.
CHUNK = 1 << 20


def convolution(
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Size,
    padding: Size,
    dilation: Size,
    transposed: bool,
    output_padding: Size,
    groups: int,
) -> Array:
    """The convolution of (N, C, *sizes) with (O, C / groups, *kernel); transposed, with (C, O / groups, *kernel).

    Raises:
        RuntimeError: when channels, groups or sizes do not fit.
    """
    check_operands(input, weight, bias, transposed, groups)
    if is_half(input):
        wide = [None if a is None else a.astype(numpy.float32) for a in (input, weight, bias)]
        return convolution(*wide, stride, padding, dilation, transposed, output_padding, groups).astype(input.dtype)
    kernel = weight.shape[2:]
    entries = zip(input.shape[2:], kernel, stride, padding, dilation, strict=True)
    if transposed:
        extras = zip(entries, output_padding, strict=True)
        size = tuple([transposed_output_size(*entry, extra) for entry, extra in extras])
        check_size(size, input, weight)
        out = _scatter(input, weight, size, stride, padding, dilation, groups)
    else:
        size = tuple([output_size(*entry) for entry in entries])
        check_size(size, input, weight)
        out = _correlate(input, weight, size, stride, padding, dilation, groups)
    if bias is not None:
        flat = out.reshape(*out.shape[:2], -1)
        numpy.add(flat, bias[:, None], flat)
    return out


def convolution_backward(
    g: Array,
    input: Array,
    weight: Array,
    stride: Size,
    padding: Size,
    dilation: Size,
    transposed: bool,
    output_padding: Size,
    groups: int,
    needs: tuple[bool, bool, bool],
) -> Gradients:
    """The cotangents of input, weight and bias, each None where it is not needed."""
    dtype = input.dtype
    if is_half(input):
        wide = [a.astype(numpy.float32) for a in (g, input, weight)]
        found = convolution_backward(*wide, stride, padding, dilation, transposed, output_padding, groups, needs)
        gi, gw, gb = [None if a is None else a.astype(dtype) for a in found]
        return gi, gw, gb
    if dtype.kind == "c":
        input, weight = input.conj(), weight.conj()
    gi = gw = gb = None
    settings = stride, padding, dilation, groups
    if needs[0]:
        size = input.shape[2:]
        gi = _correlate(g, weight, size, *settings) if transposed else _scatter(g, weight, size, *settings)
    if needs[1]:
        kernel = weight.shape[2:]
        gw = _products(g, input, kernel, *settings) if transposed else _products(input, g, kernel, *settings)
    if needs[2]:
        dims = (0, *range(2, len(g.shape)))
        gb = float_sum(g, dims) if dtype.char in "fd" else numpy.add.reduce(g, dims, dtype)
    return gi, gw, gb


# -- columns -------------------------------------------------------------------------------------------------------


def _padded(x: Array, before: Sequence[int], size: Sequence[int]) -> Array:
    """``x`` (N, C, ...) placed ``before`` elements after the start of zeros of the spatial ``size``, contiguous.

    What lies outside is cut off (``before`` may be negative).
    """
    own = x.shape[2:]
    if tuple(size) == own and not any(before):
        return numpy.ascontiguousarray(x)
    result = numpy.zeros((*x.shape[:2], *size), x.dtype)
    inside = [slice(None), slice(None)]
    taken = [slice(None), slice(None)]
    for offset, n, total in zip(before, own, size, strict=True):
        start, end = max(offset, 0), min(offset + n, total)
        inside.append(slice(start, max(end, start)))
        taken.append(slice(start - offset, max(end, start) - offset))
    result[tuple(inside)] = x[tuple(taken)]
    return result


def _reach(size: Size, kernel: Size, stride: Size, dilation: Size) -> list[int]:
    """How much of the padded input ``size`` windows cover."""
    return [(n - 1) * s + d * (k - 1) + 1 for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)]


def _samples_at_a_time(samples: int, channels: int, kernel: Size, size: Size, itemsize: int) -> int:
    return min(samples, max(1, CHUNK // max(1, channels * prod(kernel) * prod(size) * itemsize)))


def _columns(
    x: Array, kernel: Size, size: Size, stride: Size, dilation: Size, groups: int
) -> Iterator[tuple[slice, Array]]:
    """Some of the samples and their columns: shape (groups, C / groups * taps, samples * positions)."""
    samples, channels = x.shape[:2]
    at_a_time = _samples_at_a_time(samples, channels, kernel, size, x.itemsize)
    memory = numpy.empty(channels * prod(kernel) * at_a_time * prod(size), x.dtype)
    n_step, c_step, *steps = x.strides
    tap_steps = [d * step for d, step in zip(dilation, steps, strict=True)]
    steps = [s * step for s, step in zip(stride, steps, strict=True)]
    for start in range(0, samples, at_a_time):
        count = min(at_a_time, samples - start)
        shape = (channels, *kernel, count, *size)
        columns = memory[: prod(shape)].reshape(shape)
        columns[...] = numpy.ndarray(shape, x.dtype, x, start * n_step, (c_step, *tap_steps, n_step, *steps))
        yield slice(start, start + count), columns.reshape(groups, -1, count * prod(size))


def _channels_first(g: Array, part: slice, groups: int) -> Array:
    """Some samples of (N, O, ...) as (groups, O / groups, samples * positions)."""
    chosen = g[part]
    channels = chosen.shape[1]
    return numpy.ascontiguousarray(numpy.moveaxis(chosen, 1, 0)).reshape(groups, channels // groups, -1)


# -- the three products --------------------------------------------------------------------------------------------


def _correlate(
    x: Array, weight: Array, size: Size, stride: Size, padding: Sequence[int], dilation: Size, groups: int
) -> Array:
    """The forward convolution, with ``size`` positions: (N, C, ...), (O, C / groups, ...) -> (N, O, *size)."""
    kernel = weight.shape[2:]
    x = _padded(x, padding, _needed(x.shape[2:], padding, _reach(size, kernel, stride, dilation)))
    samples, channels = x.shape[:2]
    outputs = weight.shape[0]
    positions = prod(size)
    matrix = weight.reshape(groups, outputs // groups, -1)
    out = numpy.empty((samples, outputs, *size), x.dtype)
    grouped = out.reshape(samples, groups, -1, positions)
    if matrix.shape[2] * groups == channels and x.shape[2:] == size:
        # A kernel of one tap: the input is its own columns.
        numpy.matmul(matrix, x.reshape(samples, groups, -1, positions), out=grouped)
        return out
    for part, columns in _columns(x, kernel, size, stride, dilation, groups):
        if part.stop - part.start == 1:
            numpy.matmul(matrix, columns, out=grouped[part.start])
        else:
            product_ = numpy.matmul(matrix, columns).reshape(outputs, -1, positions)
            out.reshape(samples, outputs, positions)[part] = product_.transpose(1, 0, 2)
    return out


def _needed(own: Size, padding: Sequence[int], reach: Sequence[int]) -> list[int]:
    """The size to pad the input to: what the windows cover. An input that needs no padding is left alone."""
    return [n if p == 0 and n >= r else r for n, p, r in zip(own, padding, reach, strict=True)]


def _products(x: Array, g: Array, kernel: Size, stride: Size, padding: Size, dilation: Size, groups: int) -> Array:
    """The gradient of the weight: (N, C, ...), (N, O, ...) -> (O, C / groups, *kernel)."""
    size = g.shape[2:]
    outputs = g.shape[1]
    x = _padded(x, padding, _needed(x.shape[2:], padding, _reach(size, kernel, stride, dilation)))
    total = numpy.zeros((groups, outputs // groups, x.shape[1] // groups * prod(kernel)), x.dtype)
    for part, columns in _columns(x, kernel, size, stride, dilation, groups):
        total += numpy.matmul(_channels_first(g, part, groups), columns.transpose(0, 2, 1))
    return total.reshape(outputs, x.shape[1] // groups, *kernel)


def _scatter(g: Array, weight: Array, size: Size, stride: Size, padding: Size, dilation: Size, groups: int) -> Array:
    """The gradient of the input: (N, O, ...), (O, C / groups, ...) -> (N, C, *size)."""
    outputs, per_group = weight.shape[:2]
    kernel = weight.shape[2:]
    channels = per_group * groups
    if max(stride) == 1 and outputs <= 2 * channels:
        turned = weight[(slice(None), slice(None), *[slice(None, None, -1)] * len(kernel))]
        turned = turned.reshape(groups, outputs // groups, *weight.shape[1:]).swapaxes(1, 2)
        turned = turned.reshape(channels, outputs // groups, *kernel)
        before = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
        return _correlate(g, turned, size, stride, before, dilation, groups)
    samples, positions = g.shape[0], g.shape[2:]
    reach = _reach(positions, kernel, stride, dilation)
    room = [max(n + 2 * p, r) for n, p, r in zip(size, padding, reach, strict=True)]
    result = numpy.zeros((samples, channels, *room), g.dtype)
    matrix = weight.reshape(groups, outputs // groups, -1).transpose(0, 2, 1)
    at_a_time = _samples_at_a_time(samples, channels, kernel, positions, g.itemsize)
    for start in range(0, samples, at_a_time):
        part = slice(start, min(start + at_a_time, samples))
        columns = numpy.matmul(matrix, _channels_first(g, part, groups))
        columns = columns.reshape(channels, *kernel, part.stop - part.start, *positions)
        for tap in product(*[range(k) for k in kernel]):
            window = [
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(tap, dilation, positions, stride, strict=True)
            ]
            target = result[(part, slice(None), *window)]
            numpy.add(target, columns[(slice(None), *tap)].swapaxes(0, 1), target)
    inner = [slice(p, p + n) for p, n in zip(padding, size, strict=True)]
    return numpy.ascontiguousarray(result[(slice(None), slice(None), *inner)])


KERNELS: dict[str, Callable[..., Any]] = {"convolution": convolution, "convolution_backward": convolution_backward}
