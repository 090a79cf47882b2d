"""LSTM and GRU layers: two kernels a step, a product with the hidden state and the rest of the cell.

What the decompositions (:mod:`flambeau.ops.recurrent`) do step by step in a dozen small arrays is written into rows of
the results, which are laid out once. What they do for all steps at once is left to their functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.dtypes import float32, float64
from flambeau.ops.declare import OPS
from flambeau.ops.recurrence import (
    Cotangent,
    backwards,
    both,
    columns,
    previous,
    resized,
    steps,
    weight_cotangents,
)  # fmt: skip
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import contiguous
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.maps import run
from flambeau_opencl.matmul import Factor, linear, multiply

Needs = Sequence[bool]

# In the bodies n0 is H, and the gates of an element lie H apart.
_SIGMOID = "#define SIGMOID(v) (1 / (1 + exp(-(v))))\n"

_LSTM = """
{T} i = SIGMOID(IN1(x1)), f = SIGMOID(IN1(x1 + n0)), g = tanh(IN1(x1 + 2 * n0)), o = SIGMOID(IN1(x1 + 3 * n0));
r0 = f * a0 + i * g;
r1 = o * tanh(r0);
OUT2(y2, i); OUT2(y2 + n0, f); OUT2(y2 + 2 * n0, g); OUT2(y2 + 3 * n0, o);
"""
_LSTM_BACKWARD = """
{T} i = IN0(x0), f = IN0(x0 + n0), g = IN0(x0 + 2 * n0), o = IN0(x0 + 3 * n0), t = tanh(a1), h = {hidden};
{T} c = h * o * (1 - t * t){carried};
r0 = c * f;
OUT1(y1, c * g * i * (1 - i)); OUT1(y1 + n0, c * a2 * f * (1 - f));
OUT1(y1 + 2 * n0, c * i * (1 - g * g)); OUT1(y1 + 3 * n0, h * t * o * (1 - o));
"""
_GRU = """
{T} r = SIGMOID(IN1(x1) + IN2(x2){b0}), z = SIGMOID(IN1(x1 + n0) + IN2(x2 + n0){b1});
{T} n = tanh(IN1(x1 + 2 * n0) + r * (IN2(x2 + 2 * n0){b2}));
r0 = n + z * (a0 - n);
"""
# What the cotangent of a step's hidden state is multiplied with: for the sums r, z and n of the hidden state, n of the
# input, and for the hidden state before.
_GRU_SLOPES = """
{T} part = IN2(x2 + 2 * n0), r = SIGMOID(IN1(x1) + IN2(x2)), z = SIGMOID(IN1(x1 + n0) + IN2(x2 + n0));
{T} n = tanh(IN1(x1 + 2 * n0) + r * part), slope = (1 - z) * (1 - n * n);
OUT0(y0, slope * part * r * (1 - r)); OUT0(y0 + n0, (a0 - n) * z * (1 - z)); OUT0(y0 + 2 * n0, slope * r);
r1 = slope;
r2 = z;
"""
_GRU_BACKWARD = """
{T} h = {hidden};
OUT1(y1, IN0(x0) * h); OUT1(y1 + n0, IN0(x0 + n0) * h); OUT1(y1 + 2 * n0, IN0(x0 + 2 * n0) * h);
OUT2(y2, IN2(x2) * h);
r0 = h * a1;
"""


def _is_served(input: Array, *others: Array | None) -> bool:
    """Whether all are float32 or all float64, and there is a row; the decomposition does the rest."""
    kind = input.dtype
    return kind in (float32, float64) and input.size > 0 and all(o is None or o.dtype is kind for o in others)


def _rows(array: Array, start: int, end: int) -> Array:
    return array.window((end - start, *array.shape[1:]), array.strides, array.offset + start * array.strides[0])


def _gates(array: Array, start: int, end: int, size: int) -> Array:
    """The first gates of rows of (rows, gates * H), as (end - start, H): the bodies find the others."""
    return array.window((end - start, size), array.strides, array.offset + start * array.strides[0])


def _turned(array: Array) -> Array:
    return array.window(array.shape[::-1], array.strides[::-1], array.offset)


def _step(name: str, body: str, outputs: list[Array], inputs: list[Array], size: int, raw: str, **parts: str) -> None:
    body = body.format(T=ELEMENTS[outputs[0].dtype].compute, **parts)
    run(name, body, outputs, inputs, [("long", size)], raw, _SIGMOID)


# -- long short-term memory ------------------------------------------------------------------------------------------


def lstm_layer(
    input: Array,
    h0: Array,
    c0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None,
    b_hh: Array | None,
    w_hr: Array | None,
    batch_sizes: Sequence[int],
    reverse: bool,
) -> tuple[Array, Array, Array]:
    """The hidden states, cell states and gates of all steps; see :func:`flambeau.ops.recurrent.lstm_layer`."""
    xp, runtime = input.runtime.device.xp, input.runtime
    tensors = input, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr
    if not _is_served(*tensors):
        found: tuple[Array, Array, Array] = OPS["lstm_layer"].body(xp, *tensors, batch_sizes, reverse)
        return found
    size = c0.shape[1]
    gates = linear(input, w_ih, both(xp, b_ih, b_hh))
    by_hidden = Factor(_turned(w_hh))
    projection = None if w_hr is None else Factor(_turned(w_hr))
    total = input.shape[0]
    cells, outputs = empty(runtime, (total, size), input.dtype), empty(runtime, (total, h0.shape[1]), input.dtype)
    first = batch_sizes[-1] if reverse else batch_sizes[0]
    hidden, cell = _rows(h0, 0, first), _rows(c0, 0, first)
    for start, end in steps(batch_sizes, reverse):
        hidden, before = resized(xp, hidden, h0, end - start), resized(xp, cell, c0, end - start)
        by_hidden.multiply(hidden, _rows(gates, start, end), add=True)
        block = _gates(gates, start, end, size)
        cell = _rows(cells, start, end)
        hidden = _rows(outputs, start, end)
        new = hidden if projection is None else empty(runtime, cell.shape, input.dtype)
        _step("lstm_cell", _LSTM, [cell, new, block], [before, block], size, "r2 a1")
        if projection is not None:
            projection.multiply(new, hidden)
    return outputs, cells, gates


def lstm_layer_backward(
    g_outputs: Array | None,
    g_cells: Array | None,
    g_gates: Array | None,
    input: Array,
    h0: Array,
    c0: Array,
    w_ih: Array,
    w_hh: Array,
    w_hr: Array | None,
    outputs: Array,
    cells: Array,
    gates: Array,
    batch_sizes: Sequence[int],
    reverse: bool,
    needs: Needs,
) -> tuple[Array | None, ...]:
    """The cotangents; with a projection, and those of the gates (of second derivatives only), by the decomposition."""
    xp, runtime = input.runtime.device.xp, input.runtime
    tensors = input, h0, c0, w_ih, w_hh, w_hr, outputs, cells, gates
    if g_gates is not None or w_hr is not None or not _is_served(*tensors, g_outputs, g_cells):
        own = OPS["lstm_layer_backward"].body(xp, g_outputs, g_cells, g_gates, *tensors, batch_sizes, reverse, needs)
        return tuple(own)
    total, size = cells.shape
    gates = contiguous(gates)
    before = previous(xp, outputs, h0, batch_sizes, reverse)
    cells_before = previous(xp, cells, c0, batch_sizes, reverse)
    of_sums = empty(runtime, (total, 4 * size), input.dtype)
    by_gates = Factor(w_hh)
    of_hidden, of_cell = Cotangent(xp), Cotangent(xp)
    for start, end in backwards(batch_sizes, reverse, of_hidden, of_cell):
        inputs = [_gates(gates, start, end, size), _rows(cells, start, end), _rows(cells_before, start, end)]
        terms = []
        for given, carried in ((g_outputs, of_hidden.value), (g_cells, of_cell.value)):
            found = [] if given is None else [_rows(given, start, end)]
            found += [] if carried is None else [carried]
            terms.append([f"a{len(inputs) + k}" for k in range(len(found))])
            inputs += found
        cell, part = empty(runtime, (end - start, size), input.dtype), _gates(of_sums, start, end, size)
        _step("lstm_cell_backward", _LSTM_BACKWARD, [cell, part], inputs, size, "r1 a0",
              hidden=" + ".join(terms[0]) or "0", carried="".join(f" + {term}" for term in terms[1]))  # fmt: skip
        of_hidden.value = by_gates.multiply(_rows(of_sums, start, end))
        of_cell.value = cell
    return (
        xp.matmul(of_sums, w_ih) if needs[0] else None,
        of_hidden.of_initial() if needs[1] else None,
        of_cell.of_initial() if needs[2] else None,
        *weight_cotangents(xp, needs[3:7], of_sums, of_sums, input, before),
        None,
    )


# -- gated recurrent unit --------------------------------------------------------------------------------------------


def gru_layer(
    input: Array,
    h0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None,
    b_hh: Array | None,
    batch_sizes: Sequence[int],
    reverse: bool,
) -> Array:
    """The hidden states of all steps; see :func:`flambeau.ops.recurrent.gru_layer`."""
    xp, runtime = input.runtime.device.xp, input.runtime
    tensors = input, h0, w_ih, w_hh, b_ih, b_hh
    if not _is_served(*tensors):
        found: Array = OPS["gru_layer"].body(xp, *tensors, batch_sizes, reverse)
        return found
    size = h0.shape[1]
    by_input = linear(input, w_ih, b_ih)
    by_hidden = Factor(_turned(w_hh))
    bias = [] if b_hh is None else [b_hh.window((1, size), (0, b_hh.strides[0]), b_hh.offset)]
    parts = {f"b{k}": f" + IN3(x3 + {k} * n0)" if bias else "" for k in range(3)}
    bias = [array if array.strides[1] == 1 else xp.clone(b_hh).window((1, size), (0, 1), 0) for array in bias]
    outputs = empty(runtime, (input.shape[0], size), input.dtype)
    hidden = _rows(h0, 0, batch_sizes[-1] if reverse else batch_sizes[0])
    for start, end in steps(batch_sizes, reverse):
        before = resized(xp, hidden, h0, end - start)
        sums = by_hidden.multiply(before)
        hidden = _rows(outputs, start, end)
        inputs = [before, _gates(by_input, start, end, size), _gates(sums, 0, end - start, size), *bias]
        _step("gru_cell", _GRU, [hidden], inputs, size, "a1 a2 a3", **parts)
    return outputs


def gru_layer_backward(
    g: Array,
    input: Array,
    h0: Array,
    w_ih: Array,
    w_hh: Array,
    b_ih: Array | None,
    b_hh: Array | None,
    result: Array,
    batch_sizes: Sequence[int],
    reverse: bool,
    needs: Needs,
) -> tuple[Array | None, ...]:
    """The cotangents; the gates are computed again for all steps at once."""
    xp, runtime = input.runtime.device.xp, input.runtime
    tensors = input, h0, w_ih, w_hh, b_ih, b_hh, result
    if not _is_served(g, *tensors):
        return tuple(OPS["gru_layer_backward"].body(xp, g, *tensors, batch_sizes, reverse, needs))
    total, size = result.shape
    before = previous(xp, result, h0, batch_sizes, reverse)
    slopes, by_hidden = (empty(runtime, (total, 3 * size), input.dtype) for _ in range(2))
    to_new, update, of_new = (empty(runtime, (total, size), input.dtype) for _ in range(3))
    sums = [_gates(a, 0, total, size) for a in (linear(input, w_ih, b_ih), linear(before, w_hh, b_hh))]
    outputs = [_gates(slopes, 0, total, size), to_new, update]
    _step("gru_slopes", _GRU_SLOPES, outputs, [before, *sums], size, "r0 a1 a2")
    by_gates = Factor(w_hh)
    of_hidden = Cotangent(xp)
    for start, end in backwards(batch_sizes, reverse, of_hidden):
        carried = [] if of_hidden.value is None else [of_hidden.value]
        inputs = [_gates(slopes, start, end, size), *[_rows(a, start, end) for a in (update, to_new, g)], *carried]
        through = empty(runtime, (end - start, size), input.dtype)
        outputs = [through, _gates(by_hidden, start, end, size), _rows(of_new, start, end)]
        _step("gru_cell_backward", _GRU_BACKWARD, outputs, inputs, size, "r1 r2 a0 a2",
              hidden="a3 + a4" if carried else "a3")  # fmt: skip
        of_hidden.value = by_gates.multiply(_rows(by_hidden, start, end), through, add=True)
    by_input = xp.cat([columns(xp, by_hidden, 0, 2 * size), of_new], 1)
    return (
        multiply(by_input, w_ih) if needs[0] else None,
        of_hidden.of_initial() if needs[1] else None,
        *weight_cotangents(xp, needs[2:6], by_input, by_hidden, input, before),
    )


KERNELS: dict[str, Callable[..., Any]] = {
    "lstm_layer": lstm_layer,
    "lstm_layer_backward": lstm_layer_backward,
    "gru_layer": gru_layer,
    "gru_layer_backward": gru_layer_backward,
}
