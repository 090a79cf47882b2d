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


def check_k(k: int, input: Array, dim: int) -> int:
    """The size of ``input`` along ``dim``; RuntimeError where it has no ``k`` elements (for ``topk``)."""
    n: int = input.shape[dim] if input.shape else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"topk: selected index k out of range: k is {k}, dimension {dim} has size {n}")
    return n


def check_boundaries(sorted_sequence: Array, input: Array) -> None:
    """RuntimeError unless ``searchsorted`` has one sequence for each row of ``input``."""
    if input.shape[:-1] != sorted_sequence.shape[:-1]:
        raise RuntimeError(
            "searchsorted: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor "
            f"and input value tensor must match, but we got boundaries tensor {list(sorted_sequence.shape)} and input "
            f"value tensor {list(input.shape)}"
        )
