"""Convolution over one to three spatial dimensions.

:func:`convolution` is the op; :mod:`flambeau.ops.convolution_forms` has the public forms of it. It decomposes
into one matrix product for each element of the window. Input, weight and output's cotangent enter a trilinear form, so
that every gradient of any order is again a convolution, or the gradient of one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from flambeau.ops.declare import composite

Tensor = Any
Size = Any
Xp = Any
Ints = tuple[int, ...]


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """How many windows there are along a dimension of ``size``."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def transposed_output_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int, output_padding: int
) -> int:
    """The size of which ``size`` is the number of windows."""
    return (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding


def pads(before: Sequence[int], after: Sequence[int]) -> Ints:
    """Sizes for ``constant_pad_nd``, which begins with the last dimension."""
    return tuple(itertools.chain.from_iterable(reversed(list(zip(before, after, strict=True)))))


def padded(xp: Xp, x: Any, before: Sequence[int], after: Sequence[int]) -> Any:
    """``x`` with zeros before and after its last dimensions (negative: cut off)."""
    return xp.constant_pad_nd(x, pads(before, after), 0) if any(before) or any(after) else x


def spread(xp: Xp, x: Any, stride: Sequence[int]) -> Any:
    """``x`` with ``stride - 1`` zeros between neighbours along its last dimensions."""
    first = len(x.shape) - len(stride)
    for i, step in enumerate(stride):
        shape = tuple(x.shape)
        dim = first + i
        if step == 1 or shape[dim] == 0:
            continue
        lead, size, rest = shape[:dim], shape[dim], shape[dim + 1 :]
        column = xp.reshape(x, (*lead, size, 1, *rest))
        zeros = xp.new_full(x, (*lead, size, step - 1, *rest), 0)
        x = xp.reshape(xp.cat([column, zeros], dim + 1), (*lead, size * step, *rest))
        x = xp.slice(x, dim, 0, (size - 1) * step + 1, 1)
    return x


def patch(
    xp: Xp, x: Any, offset: Sequence[int], count: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Any:
    """For each window along the last dimensions the element at ``offset`` in it; ``count`` windows."""
    first = len(x.shape) - len(count)
    for i, n in enumerate(count):
        start = offset[i] * dilation[i]
        end = start + (n - 1) * stride[i] + 1 if n else start
        if (start, end) != (0, x.shape[first + i]) or stride[i] != 1:
            x = xp.slice(x, first + i, start, end, stride[i])
    return x


def offsets(kernel_size: Sequence[int]) -> itertools.product[tuple[int, ...]]:
    """The places in a window, the last dimension running fastest."""
    return itertools.product(*[range(n) for n in kernel_size])


def _correlate(xp: Xp, x: Any, weight: Any, stride: Ints, dilation: Ints, groups: int) -> Any:
    """The convolution of an input that is padded already: (N, C, *) and (O, C / groups, *) -> (N, O, *)."""
    batch, channels = x.shape[0], x.shape[1]
    out, inner, *kernel = weight.shape
    size = [output_size(n, k, s, 0, d) for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
    count = math.prod(size)
    # (K, groups, O / groups, C / groups), the place in the window first.
    matrices = xp.reshape(weight, (groups, out // groups, inner, math.prod(kernel)))
    matrices = xp.permute(matrices, (3, 0, 1, 2))
    total = None
    for place, offset in enumerate(offsets(kernel)):
        window = xp.reshape(patch(xp, x, offset, size, stride, dilation), (batch, groups, channels // groups, count))
        matrix = xp.reshape(xp.slice(matrices, 0, place, place + 1, 1), (groups, out // groups, inner))
        product = xp.matmul(matrix, window)
        total = product if total is None else xp.add(total, product)
    if total is None:
        return xp.new_full(x, (batch, out, *size), 0)
    return xp.reshape(total, (batch, out, *size))


def _weight_gradient(
    xp: Xp, input: Any, g: Any, kernel: Sequence[int], stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Any:
    """The cotangent of a convolution's weight: (N, C, *) and (N, O, *) -> (O, C / groups, *kernel)."""
    x = padded(xp, input, padding, padding)
    batch, channels, out = x.shape[0], x.shape[1], g.shape[1]
    size = tuple(g.shape[2:])
    count = math.prod(size)
    rows = xp.reshape(g, (batch, groups, out // groups, count))
    rows = xp.reshape(xp.permute(rows, (1, 2, 0, 3)), (groups, out // groups, batch * count))
    parts = []
    for offset in offsets(kernel):
        window = xp.reshape(patch(xp, x, offset, size, stride, dilation), (batch, groups, channels // groups, count))
        columns = xp.reshape(xp.permute(window, (1, 0, 3, 2)), (groups, batch * count, channels // groups))
        parts.append(xp.reshape(xp.matmul(rows, columns), (out, channels // groups, 1)))
    if not parts:
        return xp.new_full(x, (out, channels // groups, *kernel), 0)
    return xp.reshape(xp.cat(parts, 2), (out, channels // groups, *kernel))


@composite(public=())
def convolution(
    xp: Xp,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: Size,
    dilation: Size,
    transposed: bool,
    output_padding: Size,
    groups: int,
) -> Tensor:
    """Return the convolution (cross-correlation) of ``input`` with ``weight``, or its transpose, plus ``bias``.

    Shape: input (N, C, *); weight (O, C / groups, *kernel), transposed (C, O / groups, *kernel); bias (O,); one number
    a spatial dimension for ``stride`` ... ``output_padding`` -> (N, O, *).
    """
    if transposed:
        channels, inner, *kernel = weight.shape
        spatial = len(kernel)
        before = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
        after = [n + extra for n, extra in zip(before, output_padding, strict=True)]
        wide = padded(xp, spread(xp, input, stride), before, after)
        flipped = xp.flip(weight, tuple(range(2, 2 + spatial)))
        grouped = xp.reshape(flipped, (groups, channels // groups, inner, *kernel))
        exchanged = xp.permute(grouped, (0, 2, 1, *range(3, 3 + spatial)))
        matrix = xp.reshape(exchanged, (groups * inner, channels // groups, *kernel))
        result = _correlate(xp, wide, matrix, (1,) * spatial, dilation, groups)
    else:
        result = _correlate(xp, padded(xp, input, padding, padding), weight, stride, dilation, groups)
    if bias is None:
        return result
    return xp.add(result, xp.reshape(bias, (1, bias.shape[0]) + (1,) * (len(result.shape) - 2)))


@convolution.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    input: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> tuple[Any, Any, Any]:
    gi, gw, gb = xp.convolution_backward(
        g, input, weight, stride, padding, dilation, transposed, output_padding, groups, needs
    )
    return gi, gw, gb


@composite(public=())
def convolution_backward(
    xp: Xp,
    g: Tensor,
    input: Tensor,
    weight: Tensor,
    stride: Size,
    padding: Size,
    dilation: Size,
    transposed: bool,
    output_padding: Size,
    groups: int,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the cotangents of :func:`convolution`'s input, weight and bias, each None where it is not needed."""
    kernel = tuple(weight.shape[2:])
    gi = gw = gb = None
    if needs[0]:
        if transposed:
            gi = xp.convolution(g, weight, None, stride, padding, dilation, False, (0,) * len(kernel), groups)
        else:
            # Of the sizes with this number of windows, the input's.
            lost = tuple(
                n - transposed_output_size(m, k, s, p, d, 0)
                for n, m, k, s, p, d in zip(
                    input.shape[2:], g.shape[2:], kernel, stride, padding, dilation, strict=True
                )
            )
            gi = xp.convolution(g, weight, None, stride, padding, dilation, True, lost, groups)
        for i, n in enumerate(input.shape[2:]):
            if gi.shape[2 + i] != n:  # an output padding of a stride or more
                gi = xp.slice(gi, 2 + i, 0, n, 1)
    if needs[1]:
        one, other = (g, input) if transposed else (input, g)
        gw = _weight_gradient(xp, one, other, kernel, stride, padding, dilation, groups)
    if needs[2]:
        gb = xp.sum(g, (0, *range(2, len(g.shape))), False)
    return gi, gw, gb


@convolution_backward.joint_vjp
def _(
    xp: Xp,
    cotangents: Any,
    needs: tuple[bool, ...],
    g: Any,
    input: Any,
    weight: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> tuple[Any, Any, Any]:
    geometry = (stride, padding, dilation, transposed, output_padding, groups)
    of_gi, of_gw, of_gb = cotangents
    for_g = for_input = for_weight = None
    if needs[0]:
        terms = []
        if of_gi is not None:
            terms.append(xp.convolution(of_gi, weight, None, *geometry))
        if of_gw is not None:
            terms.append(xp.convolution(input, of_gw, None, *geometry))
        if of_gb is not None:
            column = xp.reshape(of_gb, (1, g.shape[1]) + (1,) * (len(g.shape) - 2))
            terms.append(xp.expand(column, tuple(g.shape)))
        for term in terms:
            for_g = term if for_g is None else xp.add(for_g, term)
    if needs[1] and of_gw is not None:
        for_input = xp.convolution_backward(g, input, of_gw, *geometry, (True, False, False))[0]
    if needs[2] and of_gi is not None:
        for_weight = xp.convolution_backward(g, of_gi, weight, *geometry, (False, True, False))[1]
    return for_g, for_input, for_weight
