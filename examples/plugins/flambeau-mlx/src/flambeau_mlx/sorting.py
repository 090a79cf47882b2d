"""Kernels that order elements. NaN counts as the largest number, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from flambeau_mlx.array import Array, fresh


def sort(input: Array, dim: int = -1, descending: bool = False, stable: bool = False) -> tuple[Array, Array]:
    """The elements along ``dim`` in order, and where each came from (int64); equal ones keep their order."""
    x = input.value
    if not input.shape or not input.size:
        return fresh(x), fresh(mx.zeros(input.shape, mx.int64))
    if descending:
        # The last of equals in the reversed array is the first in the array: turned around, the order is stable again.
        order = input.shape[dim] - 1 - _turned(mx.argsort(_turned(x, dim), dim), dim).astype(mx.int64)
    else:
        order = mx.argsort(x, dim).astype(mx.int64)
    return fresh(mx.take_along_axis(x, order, dim)), fresh(order)


def _turned(x: Any, dim: int) -> Any:
    return x[(slice(None),) * (dim % x.ndim) + (slice(None, None, -1),)]


def searchsorted(sorted_sequence: Array, input: Array, right: bool = False) -> Array:
    """Where to insert the elements of ``input`` so that the last dimension of ``sorted_sequence`` stays sorted.

    Args:
        sorted_sequence: one sequence for all of ``input``, or one for each of its rows (equal leading dimensions).
        right: insert after equal elements instead of before them.
    """
    sequence, x = sorted_sequence.value, input.value
    if not input.size or not sorted_sequence.size:
        return fresh(mx.zeros(input.shape, mx.int64))
    rows = x if sequence.ndim > 1 else x.reshape(-1)
    return fresh(_searched(sequence, rows, right).reshape(input.shape).astype(mx.int64))


def _searched(sequence: Any, x: Any, right: bool) -> Any:
    """By halving, in all rows at once, which MLX's own search does not do."""
    length = sequence.shape[-1]
    low, high = mx.zeros(x.shape, mx.int32), mx.full(x.shape, length, mx.int32)
    for _ in range(length.bit_length()):
        middle = (low + high) // 2
        seen = mx.take_along_axis(sequence, mx.minimum(middle, length - 1), -1)
        if right:
            before = mx.logical_or(mx.less_equal(seen, x), mx.isnan(x))
        else:
            before = mx.logical_or(mx.less(seen, x), mx.logical_and(mx.isnan(x), mx.logical_not(mx.isnan(seen))))
        before = mx.logical_and(before, mx.less(low, high))
        low, high = mx.where(before, middle + 1, low), mx.where(before, high, middle)
    return low


KERNELS: dict[str, Callable[..., Any]] = {"sort": sort, "searchsorted": searchsorted}
