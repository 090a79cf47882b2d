"""Samples of recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import Maker, Sample, case, sample

SIZES = (3, 3, 2, 1)  # rows of each time, of sequences of the lengths 4, 3 and 2
ROWS, INPUT, HIDDEN = sum(SIZES), 4, 2


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def run(x: Any, state: list[Any], sizes: Any, reverse: bool, step: Callable[..., list[Any]]) -> list[Any]:
    """Each state of each step, packed as the input is; ``step(rows, state)`` gives the next state."""
    starts = np.cumsum([0, *sizes])
    results = [np.zeros((len(x), part.shape[1])) for part in state]
    state = [part.copy() for part in state]
    for time in reversed(range(len(sizes))) if reverse else range(len(sizes)):
        count, rows = sizes[time], slice(starts[time], starts[time + 1])
        moved = step(x[rows], [part[:count] for part in state])
        for result, part, new in zip(results, state, moved, strict=True):
            part[:count] = result[rows] = new
    return results


def _gates(x: Any, h: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> tuple[Any, Any]:
    own, past = x @ w_ih.T, h @ w_hh.T
    return (own, past) if b_ih is None else (own + b_ih, past + b_hh)


def _rnn(
    x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, sizes: Any, reverse: bool, nonlinearity: str
) -> Any:
    function = np.tanh if nonlinearity == "tanh" else lambda a: np.maximum(a, 0)
    return run(x, [h0], sizes, reverse, lambda r, s: [function(sum(_gates(r, s[0], w_ih, w_hh, b_ih, b_hh)))])[0]


def _gru(x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, sizes: Any, reverse: bool) -> Any:
    def step(rows: Any, state: list[Any]) -> list[Any]:
        own, past = _gates(rows, state[0], w_ih, w_hh, b_ih, b_hh)
        (a_r, a_z, a_n), (b_r, b_z, b_n) = np.split(own, 3, 1), np.split(past, 3, 1)
        r, z = _sigmoid(a_r + b_r), _sigmoid(a_z + b_z)
        return [(1 - z) * np.tanh(a_n + r * b_n) + z * state[0]]

    return run(x, [h0], sizes, reverse, step)[0]


def _lstm(
    x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, sizes: Any, reverse: bool
) -> Any:
    def step(rows: Any, state: list[Any]) -> list[Any]:
        i, f, g, o = np.split(sum(_gates(rows, state[0], w_ih, w_hh, b_ih, b_hh)), 4, 1)
        gates = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        c = gates[1] * state[1] + gates[0] * gates[2]
        h = gates[3] * np.tanh(c)
        return [h if w_hr is None else h @ w_hr.T, c, np.concatenate(gates, 1)]

    return tuple(run(x, [h0, c0, np.zeros((len(c0), len(w_hh)))], sizes, reverse, step))


def _weights(make: Maker, gates: int, hidden: int, out: int, bias: bool) -> list[Any]:
    biases = [make(gates * hidden), make(gates * hidden)] if bias else [None, None]
    return [make(gates * hidden, INPUT), make(gates * hidden, out), *biases]


@case("rnn_layer", _rnn)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(ROWS, INPUT), make(3, HIDDEN), *_weights(make, 1, HIDDEN, HIDDEN, True), SIZES, False, "tanh")
    yield sample(make(ROWS, INPUT), make(3, HIDDEN), *_weights(make, 1, HIDDEN, HIDDEN, False), SIZES, True, "tanh")
    yield sample(make(6, INPUT), make(3, HIDDEN), *_weights(make, 1, HIDDEN, HIDDEN, True), (3, 3), False, "relu")


@case("gru_layer", _gru)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(ROWS, INPUT), make(3, HIDDEN), *_weights(make, 3, HIDDEN, HIDDEN, True), SIZES, False)
    yield sample(make(6, INPUT), make(3, HIDDEN), *_weights(make, 3, HIDDEN, HIDDEN, False), (3, 3), True)


@case("lstm_layer", _lstm)
def _(make: Maker) -> Iterator[Sample]:
    for sizes, reverse, bias in ((SIZES, False, True), ((3, 3), True, False)):
        state = make(3, HIDDEN), make(3, HIDDEN)
        yield sample(make(sum(sizes), INPUT), *state, *_weights(make, 4, HIDDEN, HIDDEN, bias), None, sizes, reverse)
    state, projection = (make(3, 1), make(3, HIDDEN)), make(1, HIDDEN)
    yield sample(make(ROWS, INPUT), *state, *_weights(make, 4, HIDDEN, 1, True), projection, SIZES, False)


# The cotangents are checked with the gradients of the layers; these compare kernels with their decompositions.


@case("gru_layer_backward", None, gradients=False)
def _(make: Maker) -> Iterator[Sample]:
    for sizes, reverse, bias in ((SIZES, False, True), ((3, 3), True, False)):
        rows = sum(sizes)
        tensors = make(rows, INPUT), make(3, HIDDEN), *_weights(make, 3, HIDDEN, HIDDEN, bias), make(rows, HIDDEN)
        yield sample(make(rows, HIDDEN), *tensors, sizes, reverse, (True,) * 4 + (bias, bias))


@case("lstm_layer_backward", None, gradients=False)
def _(make: Maker) -> Iterator[Sample]:
    for sizes, reverse, given in (
        (SIZES, False, (True, True, False)), (SIZES, True, (True, False, True)), ((3, 3), True, (False, True, False)),
    ):  # fmt: skip
        for out, projection in ((HIDDEN, None), (1, make(1, HIDDEN))):
            rows = sum(sizes)
            results = make(rows, out), make(rows, HIDDEN), make(rows, 4 * HIDDEN, low=0.1, high=0.9)
            widths = out, HIDDEN, 4 * HIDDEN
            cotangents = [make(rows, width) if g else None for g, width in zip(given, widths, strict=True)]
            layer = make(rows, INPUT), make(3, out), make(3, HIDDEN), *_weights(make, 4, HIDDEN, out, False)[:2]
            needs = (True,) * 7 + (projection is not None,)
            yield sample(*cotangents, *layer, projection, *results, sizes, reverse, needs)
