"""Kernels that order elements. NaN counts as the largest number, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy

from flambeau_array import sorting
from flambeau_cupy.maps import run

Array = Any

_sort = sorting.sorter(cupy)


def sort(input: Array, dim: int = -1, descending: bool = False, stable: bool = False) -> tuple[Array, Array]:
    """The elements along ``dim`` in order, and where each came from (int64); always stable."""
    # Thrust has no order of bfloat16, and CuPy's none of bools.
    wide = {"E": numpy.float32, "?": numpy.uint8}.get(input.dtype.char)
    if wide is None:
        return _sort(input, dim, descending, True)
    values, order = _sort(input.astype(wide), dim, descending, True)
    return values.astype(input.dtype), order


def topk(input: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Array, Array]:
    """The ``k`` largest (or smallest) elements along ``dim``, in order, and where they are (int64)."""
    if not input.shape:
        return input.copy(), cupy.zeros((), numpy.int64)
    values, order = sort(input, dim, largest)
    first = (slice(None),) * (dim % len(input.shape)) + (slice(k),)
    return values[first].copy(), order[first].copy()


# NaN is larger than every number; n0 is the length of a sequence, n1 its stride.
_SEARCH = """
long long low = 0, high = n0;
while (low < high) {{
    long long middle = (low + high) / 2;
    auto own = load(p0, x0 + middle * n1);
    bool before = {before};
    if (before) low = middle + 1; else high = middle;
}}
r0 = low;
"""
_BEFORE = {
    False: "a1 == a1 ? own < a1 : own == own",
    True: "!(a1 == a1 ? own > a1 || own != own : false)",
}


def searchsorted(sorted_sequence: Array, input: Array, right: bool = False) -> Array:
    """Where to insert the elements of ``input`` so that the last dimension of ``sorted_sequence`` stays sorted.

    Args:
        sorted_sequence: one sequence for all of ``input``, or one for each of its rows (equal leading dimensions).
        right: insert after equal elements instead of before them.
    """
    length = sorted_sequence.shape[-1]
    result = cupy.zeros(input.shape, numpy.int64)
    if length and result.size:
        starts = sorted_sequence[..., :1] if sorted_sequence.ndim > 1 else sorted_sequence[0]
        step = sorted_sequence.strides[-1] // sorted_sequence.itemsize
        body = _SEARCH.format(before=_BEFORE[right])
        run("searchsorted", body, [result], [starts, input], [("long long", length), ("long long", step)], "a0")
    return result


KERNELS: dict[str, Callable[..., Any]] = {"sort": sort, "topk": topk, "searchsorted": searchsorted}
