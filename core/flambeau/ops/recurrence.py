"""The rows of packed sequences, step by step, and what gradients through them are made of.

For the decompositions of :mod:`flambeau.ops.recurrent`, which says in which order the rows are, and for kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Xp = Any

# -- rows and steps --------------------------------------------------------------------------------------------------


def steps(batch_sizes: Sequence[int], reverse: bool) -> list[tuple[int, int]]:
    """``(first row, last row + 1)`` of each time, in the order in which a layer sees them."""
    bounds = []
    start = 0
    for size in batch_sizes:
        bounds.append((start, start + size))
        start += size
    return bounds[::-1] if reverse else bounds


def rows(xp: Xp, x: Any, start: int, end: int) -> Any:
    return x if start == 0 and end == x.shape[0] else xp.slice(x, 0, start, end, 1)


def columns(xp: Xp, x: Any, start: int, end: int) -> Any:
    return xp.slice(x, 1, start, end, 1)


def resized(xp: Xp, state: Any, initial: Any, size: int) -> Any:
    """The running state with ``size`` rows: without the sequences that have ended, with those that now begin."""
    have = state.shape[0]
    if have == size:
        return state
    if have > size:
        return rows(xp, state, 0, size)
    return xp.cat([state, rows(xp, initial, have, size)], 0)


def joined(xp: Xp, parts: list[Any], reverse: bool) -> Any:
    """What the steps gave as rows in the order of time."""
    if reverse:
        parts = parts[::-1]
    return parts[0] if len(parts) == 1 else xp.cat(parts, 0)


def previous(xp: Xp, states: Any, initial: Any, batch_sizes: Sequence[int], reverse: bool) -> Any:
    """For each row of ``states`` the state that its step began with."""
    total, first = states.shape[0], initial.shape[0]
    if total == first:
        return initial
    if batch_sizes[0] == batch_sizes[-1]:
        if reverse:
            return xp.cat([xp.slice(states, 0, first, total, 1), initial], 0)
        return xp.cat([initial, xp.slice(states, 0, 0, total - first, 1)], 0)
    parts = []
    state = rows(xp, initial, 0, batch_sizes[-1] if reverse else first)
    for start, end in steps(batch_sizes, reverse):
        parts.append(resized(xp, state, initial, end - start))
        state = rows(xp, states, start, end)
    return joined(xp, parts, reverse)


class Cotangent:
    """The cotangent of a running state on its way back through the steps."""

    def __init__(self, xp: Xp) -> None:
        self.xp = xp
        self.value: Any = None
        self.begun: list[Any] = []  # of sequences that began at a later time, in the direction of the layer

    def resize(self, size: int) -> None:
        """Bring it to the rows of the step before."""
        if self.value is None:
            return
        xp, have = self.xp, self.value.shape[0]
        if have > size:  # the rows beyond came straight from the initial state
            self.begun.append(rows(xp, self.value, size, have))
            self.value = rows(xp, self.value, 0, size)
        elif have < size:  # the rows beyond have ended there
            zeros = xp.new_full(self.value, (size - have, self.value.shape[1]), 0)
            self.value = xp.cat([self.value, zeros], 0)

    def add_to(self, other: Any) -> Any:
        if self.value is None:
            return other
        return self.value if other is None else self.xp.add(other, self.value)

    def of_initial(self) -> Any:
        return self.xp.cat([self.value, *reversed(self.begun)], 0) if self.begun else self.value


def backwards(batch_sizes: Sequence[int], reverse: bool, *cotangents: Cotangent) -> Iterator[tuple[int, int]]:
    """The steps from the last to the first, the cotangents brought to the size of each."""
    for start, end in steps(batch_sizes, not reverse):
        for cotangent in cotangents:
            cotangent.resize(end - start)
        yield start, end


def transposed(xp: Xp, x: Any) -> Any:
    return xp.permute(x, (1, 0))


def both(xp: Xp, b_ih: Any, b_hh: Any) -> Any:
    return None if b_ih is None else xp.add(b_ih, b_hh)


def complement(xp: Xp, x: Any) -> Any:
    return xp.sub(1.0, x)


def sigmoid_slope(xp: Xp, s: Any) -> Any:
    return xp.mul(s, complement(xp, s))


def tanh_slope(xp: Xp, t: Any) -> Any:
    return complement(xp, xp.mul(t, t))


def weight_gradient(xp: Xp, needed: bool, of_output: Any, input: Any) -> Any:
    return xp.matmul(transposed(xp, of_output), input) if needed else None


def bias_gradient(xp: Xp, needed: bool, of_output: Any) -> Any:
    return xp.sum(of_output, (0,), False) if needed else None


def weight_cotangents(
    xp: Xp, needs: Sequence[bool], by_input: Any, by_hidden: Any, input: Any, before: Any
) -> tuple[Any, ...]:
    """The cotangents of a layer's w_ih, w_hh, b_ih and b_hh, each None where ``needs`` says so.

    Args:
        by_input, by_hidden: the cotangents of what the products with ``input`` and ``before`` gave.
        before: the hidden states that the steps began with.
    """
    return (
        weight_gradient(xp, needs[0], by_input, input),
        weight_gradient(xp, needs[1], by_hidden, before),
        bias_gradient(xp, needs[2], by_input),
        bias_gradient(xp, needs[3], by_hidden),
    )
