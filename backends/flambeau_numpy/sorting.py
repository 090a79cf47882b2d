"""Kernels that order elements. NaN counts as the largest number, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from flambeau_array import sorting

Array = Any


sort = sorting.sorter(numpy)


def topk(input: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Array, Array]:
    """The ``k`` largest (or smallest) elements along ``dim``, in order, and where they are (int64)."""
    if not input.shape:
        return input.copy(), numpy.zeros((), numpy.int64)
    n = input.shape[dim]
    if 8 * k > n:  # then partitioning first saves nothing
        values, order = sort(input, dim, largest)
        first = (slice(None),) * (dim % len(input.shape)) + (slice(k),)
        return values[first].copy(), order[first].copy()
    rows = numpy.moveaxis(input, dim, -1)
    if k == 0:
        chosen = numpy.zeros((*rows.shape[:-1], 0), numpy.int64)
    elif largest:
        chosen = numpy.argpartition(rows, n - k, -1)[..., n - k :]
    else:
        chosen = numpy.argpartition(rows, k - 1, -1)[..., :k]
    values = numpy.take_along_axis(rows, chosen, -1)
    if sorted:
        values, order = sort(values, values.ndim - 1, largest)
        chosen = numpy.take_along_axis(chosen, order, -1)
    back = numpy.moveaxis
    return numpy.ascontiguousarray(back(values, -1, dim)), numpy.ascontiguousarray(back(chosen, -1, dim))


def searchsorted(sorted_sequence: Array, input: Array, right: bool = False) -> Array:
    """Where to insert the elements of ``input`` so that the last dimension of ``sorted_sequence`` stays sorted.

    Args:
        sorted_sequence: one sequence for all of ``input``, or one for each of its rows (equal leading dimensions).
        right: insert after equal elements instead of before them.
    """
    side = "right" if right else "left"
    if sorted_sequence.ndim == 1:
        return numpy.asarray(numpy.searchsorted(sorted_sequence, input, side))
    result = numpy.empty(input.shape, numpy.int64)
    for row in numpy.ndindex(input.shape[:-1]):
        result[row] = numpy.searchsorted(sorted_sequence[row], input[row], side)
    return result


KERNELS: dict[str, Callable[..., Any]] = {"sort": sort, "topk": topk, "searchsorted": searchsorted}
