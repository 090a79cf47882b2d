"""Where elements are: the C++ that turns an element's number into its place in each array.

Strides are in elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cupy

Shape = tuple[int, ...]
Array = Any

#: Numbers up to which ``int`` does: the threads of the last block have numbers beyond the elements.
SMALL = (1 << 31) - 1024


def element_strides(array: Array) -> Shape:
    """An array's strides in elements."""
    itemsize = array.itemsize
    return tuple([step // itemsize for step in array.strides])


def index_type(shape: Shape, strides: Sequence[Shape]) -> str:
    """``int`` where every place fits into it, which halves the cost of divisions."""
    count = 1
    for size in shape:
        count *= size
    reach = max([count] + [sum(abs(s) * (n - 1) for s, n in zip(own, shape, strict=True)) for own in strides])
    return "long long" if reach >= SMALL else "int"


def place_parameters(prefix: str, rank: int, operands: int) -> list[str]:
    """The kernel parameters that :func:`places` reads: sizes, then each operand's strides."""
    sizes = [f"long long {prefix}size{d}" for d in range(rank)]
    return sizes + [f"long long {prefix}step{i}_{d}" for i in range(operands) for d in range(rank)]


def places(prefix: str, number: str, rank: int, names: Sequence[str], index: str) -> list[str]:
    """C++ lines that add to each name the place of the element ``number`` of a shape of ``rank`` dimensions."""
    if rank == 0:
        return []
    lines = [f"{{ {index} rest = {number}, d;"]
    for dim in reversed(range(rank)):
        if dim:
            lines.append(f"d = rest % ({index}){prefix}size{dim}; rest /= ({index}){prefix}size{dim};")
        else:
            lines.append("d = rest;")
        lines += [f"{name} += (long long)d * {prefix}step{i}_{dim};" for i, name in enumerate(names)]
    return [*lines, "}"]


def empty_like(shape: Shape, kind: Any, arrays: Sequence[Array]) -> Array:
    """A new array of the shape for what is computed element by element from arrays.

    Its dimensions lie in memory in the order of the first one of the shape, where that has no gaps: images with their
    channels innermost stay so.
    """
    for array in arrays:
        if array.shape == shape:
            if not array.flags.c_contiguous:
                order = sorted(range(len(shape)), key=lambda d: (-array.strides[d], d))
                if array.transpose(order).flags.c_contiguous:
                    back = [0] * len(order)
                    for place, d in enumerate(order):
                        back[d] = place
                    return cupy.empty([shape[d] for d in order], kind).transpose(back)
            break
    return cupy.empty(shape, kind)


def window(array: Array, shape: Sequence[int], strides: Sequence[int]) -> Array:
    """What kernels of ours are given to see the memory from an array's first element on in another way, unchecked.

    Args:
        strides: in elements.
    """
    itemsize = array.itemsize
    return cupy.ndarray(tuple(shape), array.dtype, array.data, tuple([step * itemsize for step in strides]))
