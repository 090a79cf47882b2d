"""The gradient of a convolution with respect to an input of few channels, and such a transposed convolution.

oneDNN has no fast way for it, and takes two to five times as long as need be. What lies ``stride`` apart in the result
is an ordinary convolution of the cotangent with every so-manieth weight; all of these together are one convolution with
``prod(stride)`` times the channels, whose result only has to be interleaved (Shi et al., 2016).
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any

import numpy

Array = Any
Size = tuple[int, ...]


@cache
def taps(kernel: int, stride: int, padding: int) -> tuple[int, Array]:
    """Along one dimension: the offset of the first place of the cotangent that is read, and which weights meet it and
    the following ones, a row for each place in the stride: indices into the kernel, ``kernel`` where there is none.
    """
    places = [[((r + padding) // stride - m, (r + padding) % stride + m * stride) for m in range(kernel)]
              for r in range(stride)]  # fmt: skip
    offsets = [offset for row in places for offset, k in row if k < kernel]
    first = min(offsets)
    indices = numpy.full((stride, max(offsets) - first + 1), kernel)
    for r, row in enumerate(places):
        for offset, k in row:
            if k < kernel:
                indices[r, offset - first] = k
    return first, indices


def windows(size: Size, weight: Array, stride: Size, padding: Size, given: Size) -> tuple[Size, Size] | None:
    """The padding before, and the size of the result, of the convolution in place of the gradient; None where it would
    need to leave places out.

    Args:
        size, given: the spatial sizes of the gradient and of the cotangent.
    """
    before, counts = [], []
    for n, k, s, p, m in zip(size, weight.shape[2:], stride, padding, given, strict=True):
        first, indices = taps(k, s, p)
        count = -(-n // s)
        if first > 0 or count + indices.shape[1] - 1 + first < m:
            return None
        before.append(-first)
        counts.append(count)
    return tuple(before), tuple(counts)


def filters(weight: Array, stride: Size, padding: Size) -> Array:
    """The weight (O, C, *kernel) as (C * prod(stride), O, *taps), to convolve the cotangent with."""
    outputs, channels = weight.shape[:2]
    spread: Array = numpy.zeros((outputs, channels, *[k + 1 for k in weight.shape[2:]]), weight.dtype)
    spread[(..., *[slice(k) for k in weight.shape[2:]])] = weight
    lengths = []
    for d, (k, s, p) in enumerate(zip(weight.shape[2:], stride, padding, strict=True), 2):
        indices = taps(k, s, p)[1]
        spread = spread.take(indices.reshape(-1), d)
        lengths += indices.shape
    spread = spread.reshape(outputs, channels, *lengths)
    rank = len(stride)
    order = 1, *range(2, 2 + 2 * rank, 2), 0, *range(3, 3 + 2 * rank, 2)
    return numpy.ascontiguousarray(spread.transpose(order)).reshape(channels * prod(stride), outputs, *lengths[1::2])


def interleaved(array: Array, channels: int, stride: Size, size: Size) -> Array:
    """(N, C * prod(stride), *counts) as (N, C, *size), with the strides' places side by side."""
    samples, counts = array.shape[0], array.shape[2:]
    out: Array = numpy.empty((samples, channels, *[n * s for n, s in zip(counts, stride, strict=True)]), array.dtype)
    parts = array.reshape(samples, channels, *stride, *counts)
    for place in numpy.ndindex(*stride):
        along: Any = [slice(r, None, s) for r, s in zip(place, stride, strict=True)]
        out[(..., *along)] = parts[(slice(None), slice(None), *place)]
    return numpy.ascontiguousarray(out[(..., *[slice(n) for n in size])])
