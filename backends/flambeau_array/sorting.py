"""Kernels that order elements. NaN counts as the largest number, as in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Array = Any
Module = Any
Kernel = Callable[..., Any]


def sorter(xp: Module) -> Kernel:
    """Make the kernel ``sort``."""

    def sort(input: Array, dim: int = -1, descending: bool = False, stable: bool = False) -> tuple[Array, Array]:
        """The elements along ``dim`` in order, and where each came from (int64)."""
        if input.shape == ():
            return input.copy(), xp.zeros((), xp.int64)
        order = _order(xp, input, dim, descending, stable)
        return xp.take_along_axis(input, order, dim), order

    return sort


def _order(xp: Module, input: Array, dim: int, descending: bool, stable: bool) -> Array:
    kind = "stable" if stable else None
    if not descending:
        return input.argsort(dim, kind)
    # The last of equals in the reversed array is the first in the array: turned around, the order is stable again.
    back = tuple([slice(None, None, -1) if d == dim % len(input.shape) else slice(None) for d in range(input.ndim)])
    order = input[back].argsort(dim, kind)[back]
    return xp.subtract(input.shape[dim] - 1, order)
