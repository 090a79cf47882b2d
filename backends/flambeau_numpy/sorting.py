"""Kernels that order elements. NaN counts as the largest number, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

Array = Any


def sort(input: Array, dim: int = -1, descending: bool = False, stable: bool = False) -> tuple[Array, Array]:
    """The elements along ``dim`` in order, and where each came from (int64)."""
    if input.shape == ():
        return input.copy(), numpy.zeros((), numpy.int64)
    order = _order(input, dim, descending, stable)
    return numpy.take_along_axis(input, order, dim), order


def _order(input: Array, dim: int, descending: bool, stable: bool) -> Array:
    kind = "stable" if stable else None
    if not descending:
        return input.argsort(dim, kind)
    # The last of equals in the reversed array is the first in the array: turned around, the order is stable again.
    back = tuple([slice(None, None, -1) if d == dim % len(input.shape) else slice(None) for d in range(input.ndim)])
    order = input[back].argsort(dim, kind)[back]
    return numpy.subtract(input.shape[dim] - 1, order)


def topk(input: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Array, Array]:
    """The ``k`` largest (or smallest) elements along ``dim``, in order, and where they are (int64).

    Raises:
        RuntimeError: when there are fewer than ``k``.
    """
    n = input.shape[dim] if input.shape else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"topk: selected index k out of range: k is {k}, dimension {dim} has size {n}")
    if not input.shape:
        return input.copy(), numpy.zeros((), numpy.int64)
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

    Raises:
        RuntimeError: when the leading dimensions differ.
    """
    side = "right" if right else "left"
    if sorted_sequence.ndim == 1:
        return numpy.asarray(numpy.searchsorted(sorted_sequence, input, side))
    if input.shape[:-1] != sorted_sequence.shape[:-1]:
        raise RuntimeError(
            "searchsorted: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor "
            f"and input value tensor must match, but we got boundaries tensor {list(sorted_sequence.shape)} and input "
            f"value tensor {list(input.shape)}"
        )
    result = numpy.empty(input.shape, numpy.int64)
    for row in numpy.ndindex(input.shape[:-1]):
        result[row] = numpy.searchsorted(sorted_sequence[row], input[row], side)
    return result


KERNELS: dict[str, Callable[..., Any]] = {"sort": sort, "topk": topk, "searchsorted": searchsorted}
