"""Convolution over any number of spatial dimensions, with its gradients.

On CPUs float32 and float64 go to :mod:`flambeau_opencl.windows`, which makes no columns. What follows is for GPUs,
whose products take plain matrices, and for integers and complex numbers.

As in the NumPy backend all is made of three products of matrices over *columns*, the windows of the input that the
kernel meets, laid out side by side (Chellapilla et al., 2006):

* forward: ``weight (O, depth) @ columns (depth, positions)``
* gradient of the weight: ``columns (depth, positions) @ cotangent^T (positions, O)``, summed over the samples
* gradient of the input: ``weight^T @ cotangent`` gives the gradient of the columns; each element of the input adds up
  those of the windows that it was in.

A transposed convolution is the gradient of a convolution with respect to its input, and the other way around.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

from flambeau.dtypes import float32, float64
from flambeau_opencl import windows
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import assign, clone, contiguous, filled, to_dtype
from flambeau_opencl.elements import ACCUMULATED, ELEMENTS
from flambeau_opencl.elementwise import KERNELS as ELEMENTWISE
from flambeau_opencl.maps import Number, run
from flambeau_opencl.matmul import multiply
from flambeau_opencl.reduction import sum as sum_
from flambeau_opencl.shape import basic_index, permute, slice_

Size = tuple[int, ...]
Gradients = tuple[Array | None, Array | None, Array | None]

#: Bytes of columns made at a time.
CHUNK = 1 << 26

#: Positions of a sample from which on its columns fill the kernels for products alone. The columns of smaller samples
#: lie side by side, so that the weight is read once for all samples instead of once for each.
_POSITIONS = 128


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

    Shapes are checked by ``conv1d`` ... ``conv_transpose3d``.
    """
    kind = input.dtype
    wide = ACCUMULATED.get(kind, kind)
    input, weight = to_dtype(input, wide), to_dtype(weight, wide)
    bias = None if bias is None else to_dtype(bias, wide)
    kernel = weight.shape[2:]
    geometry = zip(input.shape[2:], kernel, stride, padding, dilation, output_padding, strict=True)
    if transposed:
        size = tuple([(n - 1) * s - 2 * p + d * (k - 1) + extra + 1 for n, k, s, p, d, extra in geometry])
        out = _scatter(input, weight, bias, size, stride, padding, dilation, groups)
    else:
        size = tuple([(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d, _ in geometry])
        out = _correlate(input, weight, bias, size, stride, padding, dilation, groups)
    return to_dtype(out, kind)


def _column(bias: Array, dims: int) -> Array:
    return bias.window((bias.shape[0], *[1] * dims), (bias.strides[0], *[0] * dims), bias.offset)


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
    kind = input.dtype
    wide = ACCUMULATED.get(kind, kind)
    g, input, weight = to_dtype(g, wide), to_dtype(input, wide), to_dtype(weight, wide)
    if kind.is_complex:
        input, weight = ELEMENTWISE["conj"](input), ELEMENTWISE["conj"](weight)
    gi = gw = gb = None
    settings = stride, padding, dilation, groups
    if needs[0]:
        size = input.shape[2:]
        gi = _correlate(g, weight, None, size, *settings) if transposed else _scatter(g, weight, None, size, *settings)
    if needs[1]:
        x, cotangent = (g, input) if transposed else (input, g)
        gw = _products(x, cotangent, weight.shape[2:], *settings)
    if needs[2]:
        gb = sum_(g, (0, *range(2, len(g.shape))))
    gradients = [None if array is None else to_dtype(array, kind) for array in (gi, gw, gb)]
    return gradients[0], gradients[1], gradients[2]


# -- columns -------------------------------------------------------------------------------------------------------


def _numbers(*sizes: Sequence[int]) -> list[Number]:
    return [("int", n) for group in sizes for n in group]


def _columns(
    x: Array, kernel: Size, size: Size, stride: Size, padding: Size, dilation: Size, abreast: bool = False
) -> Array:
    """The windows of (N, C, ...), padded with zeros: shape (N, C, taps, positions).

    Args:
        abreast: in memory as (C, taps, N, positions).
    """
    samples, channels = x.shape[:2]
    if any(padding):
        reach = [(n - 1) * s + d * (k - 1) + 1 for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)]
        room = [max(p + n, r) for p, n, r in zip(padding, x.shape[2:], reach, strict=True)]
        padded = filled(x.runtime, (samples, channels, *room), 0, x.dtype)
        inside = [slice(p, p + n) for p, n in zip(padding, x.shape[2:], strict=True)]
        assign(basic_index(padded, (slice(None), slice(None), *inside)), x)
        x = padded
    taps = [d * step for d, step in zip(dilation, x.strides[2:], strict=True)]
    steps = [s * step for s, step in zip(stride, x.strides[2:], strict=True)]
    if abreast:
        window = x.window((channels, *kernel, samples, *size), (x.strides[1], *taps, x.strides[0], *steps), x.offset)
        return permute(clone(window).reshaped(channels, prod(kernel), samples, prod(size)), (2, 0, 1, 3))
    window = x.window((samples, channels, *kernel, *size), (*x.strides[:2], *taps, *steps), x.offset)
    return clone(window).reshaped(samples, channels, prod(kernel), prod(size))


def _abreast(array: Array, groups: int, depth: int) -> Array:
    """Contiguous (C, taps, N, positions), or (C, N, positions), as the matrices (groups, C * taps, N * positions)."""
    return array.reshaped(groups, depth, array.size // (groups * depth))


def _gathered(columns: Array, shape: Size, kernel: Size, count: Size, stride: Size, padding: Size, dilation: Size,
              target: Array) -> None:  # fmt: skip
    """Add up columns (N, C, taps, positions) where their windows were, into ``target`` (N, C, *shape).

    The positions of a tap are neighbours in memory.
    """
    dims = len(kernel)
    real = ELEMENTS[columns.dtype].compute
    lines = [f"{real} total = 0; int rest = i; int place[4];"]
    lines += [f"place[{d}] = rest % n{2 * dims + d}; rest /= n{2 * dims + d};" for d in reversed(range(dims))]
    names = [f"t{d}" for d in range(dims)]
    for d, name in enumerate(names):
        lines.append(
            f"for (int {name} = 0; {name} < n{dims + d}; ++{name}) {{ "
            f"int v{d} = place[{d}] + n{4 * dims + d} - {name} * n{5 * dims + d}; "
            f"if (v{d} < 0 || v{d} % n{3 * dims + d} || (v{d} /= n{3 * dims + d}) >= n{d}) continue;"
        )
    tap = position = "0"
    for d, name in enumerate(names):
        tap = f"({tap} * n{dims + d} + {name})"
        position = f"({position} * n{d} + v{d})"
    lines.append(f"total += IN0(x0 + (long){tap} * n{6 * dims} + {position});" + " }" * dims)
    lines.append("r0 = total;")
    numbers = _numbers(count, kernel, shape, stride, padding, dilation, (columns.strides[2],))
    ones = [1] * dims
    window = columns.window((*columns.shape[:2], *ones), (*columns.strides[:2], *[0] * dims), columns.offset)
    run("add_columns", " ".join(lines), [target], [window], numbers, "a0")


def _parts(samples: int, bytes_each: int) -> Iterator[tuple[int, int]]:
    """Ranges of samples whose columns are made at a time."""
    at_a_time = max(1, CHUNK // max(1, bytes_each))
    for start in range(0, samples, at_a_time):
        yield start, min(start + at_a_time, samples)


def _grouped(array: Array, groups: int, *rest: int) -> Array:
    """A contiguous (N, C, ...) as (N, groups, C / groups ...)."""
    return array.reshaped(array.shape[0], groups, *rest)


# -- the three products --------------------------------------------------------------------------------------------


def _is_identity(kernel: Size, stride: Size, padding: Size) -> bool:
    """Whether the input is its own columns."""
    return prod(kernel) == 1 and max(stride) == 1 and max(padding) == 0


def _correlate(
    x: Array, weight: Array, bias: Array | None, size: Size, stride: Size, padding: Size, dilation: Size, groups: int
) -> Array:
    """The forward convolution, with ``size`` positions: (N, C, ...), (O, C / groups, ...) -> (N, O, *size)."""
    if windows.served(x.runtime, x.dtype):
        return windows.correlate(x, weight, bias, size, stride, padding, dilation, groups)
    kernel = weight.shape[2:]
    samples, channels = x.shape[:2]
    outputs, per_group = weight.shape[:2]
    depth, positions = per_group * prod(kernel), prod(size)
    out = empty(x.runtime, (samples, outputs, *size), x.dtype)
    if not out.size:
        return out
    if bias is not None:
        assign(out, _column(bias, len(size)))
    matrix = contiguous(weight).reshaped(groups, outputs // groups, depth)
    for start, end in _parts(samples, channels * prod(kernel) * positions * x.dtype.itemsize):
        part = slice_(x, 0, start, end)
        target = slice_(out, 0, start, end)
        if positions < _POSITIONS and end - start > 1:
            columns = permute(_columns(part, kernel, size, stride, padding, dilation, True), (1, 2, 0, 3))
            product = multiply(matrix, _abreast(columns, groups, depth)).reshaped(outputs, end - start, *size)
            product = permute(product, (1, 0, *range(2, len(size) + 2)))
            if bias is None:
                assign(target, product)
            else:
                ELEMENTWISE["add_"](target, product)
            continue
        if _is_identity(kernel, stride, padding):
            columns = contiguous(part)
        else:
            columns = _columns(part, kernel, size, stride, padding, dilation)
        target = _grouped(target, groups, outputs // groups, positions)
        _product(matrix, _grouped(columns, groups, depth, positions), target, bias is not None)
    return out


def _product(left: Array, right: Array, target: Array, add: bool) -> None:
    """Write the product into ``target``, or add it, also for the dtypes whose kernel cannot add."""
    if add and left.dtype not in (float32, float64):
        ELEMENTWISE["add_"](target, multiply(left, right))
    else:
        multiply(left, right, target, add)


def _products(x: Array, g: Array, kernel: Size, stride: Size, padding: Size, dilation: Size, groups: int) -> Array:
    """The gradient of the weight: (N, C, ...), (N, O, ...) -> (O, C / groups, *kernel)."""
    if windows.served(x.runtime, x.dtype):
        return windows.products(x, g, kernel, stride, padding, dilation, groups)
    size = g.shape[2:]
    samples, channels = x.shape[:2]
    outputs, positions = g.shape[1], prod(size)
    depth = channels // groups * prod(kernel)
    whole: Array | None = None
    for start, end in _parts(samples, channels * prod(kernel) * positions * x.dtype.itemsize):
        columns = _columns(slice_(x, 0, start, end), kernel, size, stride, padding, dilation, True)
        columns = _abreast(permute(columns, (1, 2, 0, 3)), groups, depth)
        cotangent = contiguous(permute(_flat(slice_(g, 0, start, end)), (1, 0, 2)))
        cotangent = _abreast(cotangent, groups, outputs // groups)
        # Turning what is on the right costs a copy: the smaller one, of the columns or of the cotangent and result.
        if columns.shape[2] < outputs:
            part = multiply(cotangent, permute(columns, (0, 2, 1)))
        else:
            part = contiguous(permute(multiply(columns, permute(cotangent, (0, 2, 1))), (0, 2, 1)))
        whole = part if whole is None else ELEMENTWISE["add_"](whole, part)
    if whole is None:
        return filled(x.runtime, (outputs, channels // groups, *kernel), 0, x.dtype)
    return whole.reshaped(outputs, channels // groups, *kernel)


def _flat(array: Array) -> Array:
    """(N, C, *sizes) as (N, C, positions)."""
    array = contiguous(array)
    return array.reshaped(*array.shape[:2], prod(array.shape[2:]))


def _scatter(
    g: Array, weight: Array, bias: Array | None, size: Size, stride: Size, padding: Size, dilation: Size, groups: int
) -> Array:
    """The gradient of the input, plus a bias (C,): (N, O, ...), (O, C / groups, ...) -> (N, C, *size)."""
    if windows.served(g.runtime, g.dtype):
        return windows.scatter(g, weight, bias, size, stride, padding, dilation, groups)
    outputs, per_group = weight.shape[:2]
    kernel, count = weight.shape[2:], g.shape[2:]
    channels, positions = per_group * groups, prod(count)
    depth = per_group * prod(kernel)
    result = empty(g.runtime, (g.shape[0], channels, *size), g.dtype)
    if not result.size:
        return result
    matrix = permute(contiguous(weight).reshaped(groups, outputs // groups, depth), (0, 2, 1))
    for start, end in _parts(g.shape[0], channels * prod(kernel) * positions * g.dtype.itemsize):
        part = _flat(slice_(g, 0, start, end))
        if positions < _POSITIONS and end - start > 1:
            cotangent = _abreast(contiguous(permute(part, (1, 0, 2))), groups, outputs // groups)
            columns = multiply(matrix, cotangent).reshaped(channels, prod(kernel), end - start, positions)
            columns = permute(columns, (2, 0, 1, 3))
        else:
            part = _grouped(part, groups, outputs // groups, positions)
            columns = multiply(matrix, part).reshaped(end - start, channels, prod(kernel), positions)
        _gathered(columns, size, kernel, count, stride, padding, dilation, slice_(result, 0, start, end))
    if bias is not None:
        ELEMENTWISE["add_"](result, _column(bias, len(size)))
    return result


KERNELS: dict[str, Callable[..., Any]] = {"convolution": convolution, "convolution_backward": convolution_backward}
