"""The windows of a convolution as columns of a matrix, and columns added up where their windows were.

Sizes go to the kernels as numbers, a group after the other, each with one number a spatial dimension: positions,
kernel, input, stride, padding, dilation (``n0`` ...).
"""

from __future__ import annotations

from math import prod
from typing import Any

import cupy

from flambeau_cupy.elements import compute, own_dtype
from flambeau_cupy.layout import element_strides
from flambeau_cupy.maps import Number, run
from flambeau_cupy.pooling import digits, plane

Array = Any
Size = tuple[int, ...]

#: The groups of numbers; the strides of the input come last, where they are given.
POSITIONS, KERNEL, INPUT, STRIDE, PADDING, DILATION, STEPS = range(7)


def numbers(*groups: Size) -> list[Number]:
    """Sizes as a kernel takes them."""
    return [("int", n) for group in groups for n in group]


def n(group: int, d: int, dims: int) -> str:
    """The number of a group for dimension ``d``."""
    return f"n{group * dims + d}"


def visited(dims: int) -> str:
    """C++ that finds ``v0`` ..., the place in the input that the window at ``o0`` ... has at ``t0`` ..., and
    ``inside``, whether there is such a place."""
    lines = ["bool inside = true;"]
    for d in range(dims):
        lines += [
            f"int v{d} = o{d} * {n(STRIDE, d, dims)} - {n(PADDING, d, dims)} + t{d} * {n(DILATION, d, dims)};",
            f"inside = inside && v{d} >= 0 && v{d} < {n(INPUT, d, dims)};",
        ]
    return " ".join(lines)


def visitors(dims: int) -> str:
    """C++ that finds ``o0`` ..., the window that has its place ``t0`` ... at ``v0`` ..., and ``inside``, whether
    there is such a window."""
    lines = ["bool inside = true;"]
    for d in range(dims):
        stride = n(STRIDE, d, dims)
        lines.append(
            f"int o{d} = v{d} + {n(PADDING, d, dims)} - t{d} * {n(DILATION, d, dims)}; "
            f"inside = inside && o{d} >= 0 && o{d} % {stride} == 0; o{d} /= {stride}; "
            f"inside = inside && o{d} < {n(POSITIONS, d, dims)};"
        )
    return " ".join(lines)


def over_kernel(dims: int) -> str:
    """C++ that begins the loops over ``t0`` ..., to be closed by as many braces."""
    return " ".join(f"for (int t{d} = 0; t{d} < {n(KERNEL, d, dims)}; ++t{d}) {{" for d in range(dims))


def flat(name: str, group: int, dims: int) -> str:
    """The C++ expression of the place of ``name0`` ... in row-major order."""
    place = "0LL"
    for d in range(dims):
        place = f"({place} * {n(group, d, dims)} + {name}{d})"
    return place


def columns(
    x: Array, kernel: Size, size: Size, stride: Size, padding: Size, dilation: Size, abreast: bool = False
) -> Array:
    """The windows of (N, C, ...), padded with zeros: shape (N, C * taps, positions).

    Args:
        abreast: lay the samples side by side: (C * taps, N * positions).
    """
    batch, channels = x.shape[:2]
    dims, taps, count = len(kernel), prod(kernel), prod(size)
    if abreast:
        made = cupy.empty((channels * taps, batch * count), x.dtype)
        split = made.reshape(channels, *kernel, batch, *size)
        seen = split.transpose(1 + dims, *range(1 + dims), *range(2 + dims, 2 + 2 * dims))
    else:
        made = cupy.empty((batch, channels * taps, count), x.dtype)
        seen = made.reshape(batch, channels, *kernel, *size)
    at = "x0" + "".join(f" + v{d} * (long long){n(STEPS, d, dims)}" for d in range(dims))
    lines = ["auto rest = i;", digits("o", dims, 0), digits("t", dims, dims), visited(dims)]
    lines.append(f"if (inside) r0 = load(p0, {at}); else r0 = 0;")
    sizes = numbers(size, kernel, x.shape[2:], stride, padding, dilation, element_strides(x)[2:])
    run("columns", " ".join(lines), [seen], [plane(x, 2 * dims)], sizes, "a0")
    return made


def added_up(made: Array, shape: Size, kernel: Size, size: Size, stride: Size, padding: Size, dilation: Size) -> Array:
    """The (N, C, *) array of which each element is the sum of those of the columns that it would be copied to."""
    batch, channels = shape[:2]
    dims, taps, count = len(kernel), prod(kernel), prod(size)
    result = cupy.empty(shape, made.dtype)
    own = compute(own_dtype(made))
    lines = ["auto rest = i;", digits("v", dims, INPUT * dims), f"{own} total = 0;", over_kernel(dims), visitors(dims)]
    place = f"{flat('t', KERNEL, dims)} * {count}LL + {flat('o', POSITIONS, dims)}"
    lines.append(f"if (inside) total += load(p0, x0 + {place}); {'}' * dims} r0 = total;")
    first = plane(made.reshape(batch, channels, taps * count), dims)
    sizes = numbers(size, kernel, shape[2:], stride, padding, dilation)
    run("columns_added_up", " ".join(lines), [result], [first], sizes, "a0")
    return result
