"""Kernels that order elements. NaN counts as the largest number, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.dtypes import dtype, int64
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import clone, contiguous, filled
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.maps import run
from flambeau_opencl.shape import permute, slice_

# One pass of a merge sort: runs of length n1 are sorted, and become sorted runs of twice the length. The place of an
# element is the number of those before it in its own run plus, by binary search, in the neighbouring one.
_MERGE = """
long row = i / n0 * n0, column = i - row;
long own = column / n1 * n1, other = column / n1 % 2 ? own - n1 : own + n1;
long low = min(other, n0), high = min(other + n1, n0);
bool later = other < own;
while (low < high) {
    long middle = (low + high) / 2;
    long at = p_offset0 + row + middle;
    if (later ? !before(a0, IN0(at)) : before(IN0(at), a0)) low = middle + 1;
    else high = middle;
}
long place = row + min(own, other) + (column - own) + (low - min(other, n0));
OUT0(q_offset0 + place, a0);
OUT1(q_offset1 + place, a1);
"""


def _before(kind: dtype, descending: bool) -> str:
    own = ELEMENTS[kind].compute
    less = "x < y || (y != y && x == x)" if kind.is_floating_point else "x < y"
    order = f"{own} y, {own} x" if descending else f"{own} x, {own} y"
    return f"bool before({order}) {{ return {less}; }}"


def sort(input: Array, dim: int = -1, descending: bool = False, stable: bool = False) -> tuple[Array, Array]:
    """The elements along ``dim`` in order, and where each came from (int64). Always stable."""
    if input.shape == ():
        return clone(input), filled(input.runtime, (), 0, int64)
    dim %= len(input.shape)
    order = [d for d in range(len(input.shape)) if d != dim] + [dim]
    values = contiguous(permute(input, tuple(order)))
    length = values.shape[-1]
    positions = empty(input.runtime, values.shape, int64)
    run("positions", "r0 = i % n0;", [positions], [], [("long", max(length, 1))])
    if length < 2:
        values = clone(values)
    width = 1
    functions = _before(input.dtype, descending)
    while width < length:
        sorted_values, places = (empty(input.runtime, a.shape, a.dtype) for a in (values, positions))
        numbers = [("long", length), ("long", width)]
        run("sort", _MERGE, [sorted_values, places], [values, positions], numbers, "r0 r1", functions)
        values, positions = sorted_values, places
        width *= 2
    if dim == len(input.shape) - 1:
        return values, positions
    back = tuple([order.index(d) for d in range(len(order))])
    return clone(permute(values, back)), clone(permute(positions, back))


def topk(input: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Array, Array]:
    """The ``k`` largest (or smallest) elements along ``dim``, in order, and where they are (int64)."""
    values, order = sort(input, dim, largest)
    if not input.shape:
        return values, order
    dim %= len(input.shape)
    return clone(slice_(values, dim, 0, k)), clone(slice_(order, dim, 0, k))


_SEARCH = """
long low = 0, high = n0;
while (low < high) {
    long middle = (low + high) / 2;
    if (%s) low = middle + 1; else high = middle;
}
r0 = low;
"""


def searchsorted(sorted_sequence: Array, input: Array, right: bool = False) -> Array:
    """Where to insert the elements of ``input`` so that the last dimension of ``sorted_sequence`` stays sorted.

    Args:
        sorted_sequence: one sequence for all of ``input``, or one for each of its rows (equal leading dimensions).
        right: insert after equal elements instead of before them.
    """
    shape = input.shape
    if len(sorted_sequence.shape) == 1:
        window = sorted_sequence.window((1,) * len(shape), (0,) * len(shape), sorted_sequence.offset)
    else:
        window = sorted_sequence.window((*shape[:-1], 1), (*sorted_sequence.strides[:-1], 0), sorted_sequence.offset)
    result = empty(input.runtime, shape, int64)
    at = "IN1(x1 + middle * n1)"
    body = _SEARCH % (f"!before(a0, {at})" if right else f"before({at}, a0)")
    numbers = [("long", sorted_sequence.shape[-1]), ("long", sorted_sequence.strides[-1])]
    run("searchsorted", body, [result], [input, window], numbers, "a1", _before(input.dtype, False))
    return result


KERNELS: dict[str, Callable[..., Any]] = {"sort": sort, "topk": topk, "searchsorted": searchsorted}
