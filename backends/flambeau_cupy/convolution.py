"""Convolution over any number of spatial dimensions, with its gradients.

As in the NumPy backend all is made of three products of matrices over *columns*, the windows of the input that the
kernel meets, laid out side by side (Chellapilla et al., 2006), by cuBLAS:

* forward: ``weight (O, depth) @ columns (depth, positions)``
* gradient of the weight: ``cotangent (O, N * positions) @ columns^T (N * positions, depth)``
* gradient of the input: ``weight^T @ cotangent`` gives the gradient of the columns; each element of the input adds up
  those of the windows that it was in.

With few channels a group, as in depthwise convolutions, the products would be thin: kernels of our own then compute the
sums as they stand (``grouped.py``). Where cuDNN is there and takes the operands, its kernels come before the products
(``cudnn/convolution.py``), which need memory for columns. A transposed
convolution is the gradient of a convolution with respect to its input, and the other way around.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import cupy

from flambeau.ops.convolution import output_size, transposed_output_size
from flambeau_array.convolution import check_operands, check_size
from flambeau_cupy import grouped
from flambeau_cupy.cudnn import convolution as cudnn
from flambeau_cupy.elements import accumulated
from flambeau_cupy.matmul import multiply
from flambeau_cupy.reduction import reduced
from flambeau_cupy.windows import added_up, columns

Array = Any
Size = tuple[int, ...]
Gradients = tuple[Array | None, Array | None, Array | None]

#: Bytes of columns made at a time.
CHUNK = 1 << 28


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
    entries = list(zip(input.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True))
    if transposed:
        extras = zip(entries, output_padding, strict=True)
        size = tuple([transposed_output_size(*entry, extra) for entry, extra in extras])
    else:
        size = tuple([output_size(*entry) for entry in entries])
    check_size(size, input, weight)
    compute = _scatter if transposed else _correlate
    out = compute(input, weight, size, stride, padding, dilation, groups)
    return out if bias is None else cupy.add(out, bias.reshape(-1, *[1] * len(size)), out=out)


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
    if input.dtype.kind == "c":
        input, weight = input.conj(), weight.conj()
    gi = gw = gb = None
    settings = stride, padding, dilation, groups
    if needs[0]:
        compute = _correlate if transposed else _scatter
        gi = compute(g, weight, input.shape[2:], *settings)
    if needs[1]:
        x, cotangent = (g, input) if transposed else (input, g)
        gw = _products(x, cotangent, weight, *settings)
    if needs[2]:
        gb = reduced("sum", "a0", [g], (0, *range(2, len(g.shape))), False, accumulated(g), g.dtype)
    return gi, gw, gb


def _pointwise(kernel: Size, stride: Size, padding: Size) -> bool:
    """Whether the windows are the elements themselves, so that they are columns as they lie."""
    return prod(kernel) == 1 and max(stride) == 1 and max(padding) == 0


def _chunks(batch: int, depth: int, count: int, itemsize: int) -> Iterator[slice]:
    """Parts of the batch whose columns fit into :data:`CHUNK`."""
    step = max(1, CHUNK // max(depth * count * itemsize, 1))
    for start in range(0, batch, step):
        yield slice(start, min(start + step, batch))


def _correlate(x: Array, weight: Array, size: Size, stride: Size, padding: Size, dilation: Size, groups: int) -> Array:
    """(N, C, *) and (O, C / groups, *kernel) -> (N, O, *size)."""
    if grouped.is_better(weight, groups):
        return grouped.correlate(x, weight, size, stride, padding, dilation, groups)
    found = cudnn.correlate(x, weight, size, stride, padding, dilation)
    if found is not None:
        return found
    batch, (outputs, inner, *kernel), count = x.shape[0], weight.shape, prod(size)
    depth = inner * prod(kernel)
    out = cupy.empty((batch, outputs, *size), x.dtype)
    if not out.size or not depth:
        out.fill(0)
        return out
    matrices = weight.reshape(groups, outputs // groups, depth)
    rows = out.reshape(batch, groups, outputs // groups, count)
    for part in _chunks(batch, groups * depth, count, x.itemsize):
        if _pointwise(tuple(kernel), stride, padding):
            found = x[part].reshape(-1, groups, depth, count)
        else:
            found = columns(x[part], tuple(kernel), size, stride, padding, dilation).reshape(-1, groups, depth, count)
        for group in range(groups):
            matrix = cupy.broadcast_to(matrices[group], (len(found), *matrices.shape[1:]))
            multiply(matrix, found[:, group], rows[part, group])
    return out


def _scatter(g: Array, weight: Array, size: Size, stride: Size, padding: Size, dilation: Size, groups: int) -> Array:
    """The gradient of :func:`_correlate` for its input: (N, O, *) and (O, C / groups, *kernel) -> (N, C, *size)."""
    if grouped.is_better(weight, groups):
        return grouped.scatter(g, weight, size, stride, padding, dilation, groups)
    found = cudnn.scatter(g, weight, size, stride, padding, dilation, groups)
    if found is not None:
        return found
    batch, (outputs, inner, *kernel), count = g.shape[0], weight.shape, prod(g.shape[2:])
    depth = inner * prod(kernel)
    out = cupy.empty((batch, groups * inner, *size), g.dtype)
    if not out.size or not g.size or not weight.size:
        out.fill(0)
        return out
    matrices = weight.reshape(groups, outputs // groups, depth).swapaxes(1, 2)
    for part in _chunks(batch, groups * depth, count, g.itemsize):
        rows = g[part].reshape(-1, groups, outputs // groups, count)
        found = cupy.empty((len(rows), groups, depth, count), g.dtype)
        for group in range(groups):
            matrix = cupy.broadcast_to(matrices[group], (len(rows), *matrices.shape[1:]))
            multiply(matrix, rows[:, group], found[:, group])
        if _pointwise(tuple(kernel), stride, padding):
            out[part] = found.reshape(-1, *out.shape[1:])
        else:
            shape = (len(rows), *out.shape[1:])
            out[part] = added_up(found, shape, tuple(kernel), tuple(g.shape[2:]), stride, padding, dilation)
    return out


def _products(x: Array, g: Array, weight: Array, stride: Size, padding: Size, dilation: Size, groups: int) -> Array:
    """The gradient of :func:`_correlate` for its weight: (N, C, *) and (N, O, *) -> (O, C / groups, *kernel)."""
    if grouped.is_better(weight, groups):
        return grouped.products(x, g, weight, stride, padding, dilation, groups)
    computed = cudnn.products(x, g, weight.shape, stride, padding, dilation)
    if computed is not None:
        return computed
    batch, (outputs, inner, *kernel), size = x.shape[0], weight.shape, tuple(g.shape[2:])
    depth, count = inner * prod(kernel), prod(size)
    total = cupy.zeros((groups, outputs // groups, depth), x.dtype)
    if not total.size or not g.size:
        return total.reshape(weight.shape)
    for part in _chunks(batch, groups * depth, count, x.itemsize):
        found = columns(x[part], tuple(kernel), size, stride, padding, dilation, abreast=True)
        rows = g[part].reshape(-1, outputs, count).swapaxes(0, 1).reshape(groups, outputs // groups, -1)
        product = total if part.stop == batch == part.stop - part.start else cupy.empty_like(total)
        multiply(rows, found.reshape(groups, depth, -1).swapaxes(1, 2), product)
        if product is not total:
            cupy.add(total, product, out=total)
    return total.reshape(weight.shape)


KERNELS: dict[str, Callable[..., Any]] = {"convolution": convolution, "convolution_backward": convolution_backward}
