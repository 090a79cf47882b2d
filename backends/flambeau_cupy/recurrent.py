"""LSTM and GRU layers: two launches a step, a product with the hidden state and one kernel for the rest of the cell.

What the decompositions (:mod:`flambeau.ops.recurrent`) do step by step in a dozen small arrays is written into rows of
the results, which are laid out once. What they do for all steps at once is left to their functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cupy

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
from flambeau_cupy.decomposition import decomposed, namespace
from flambeau_cupy.elements import compute, own_dtype
from flambeau_cupy.maps import run
from flambeau_cupy.matmul import linear, multiply

Array = Any
Needs = Sequence[bool]

# In the bodies n0 is H, and the gates of an element lie H apart.
_SIGMOID = "template <class T> static __device__ T sigmoid(T v) { return 1 / (1 + exp(-v)); }\n"

_LSTM = """
{T} in = sigmoid(load(p1, x1)), keep = sigmoid(load(p1, x1 + n0)), cell = tanh(load(p1, x1 + 2 * n0));
{T} out = sigmoid(load(p1, x1 + 3 * n0));
r0 = keep * a0 + in * cell;
r1 = out * tanh(r0);
store(q2, y2, in); store(q2, y2 + n0, keep); store(q2, y2 + 2 * n0, cell); store(q2, y2 + 3 * n0, out);
"""
_LSTM_BACKWARD = """
{T} in = load(p0, x0), keep = load(p0, x0 + n0), cell = load(p0, x0 + 2 * n0), out = load(p0, x0 + 3 * n0);
{T} t = tanh(a1), h = {hidden}, c = h * out * (1 - t * t){carried};
r0 = c * keep;
store(q1, y1, c * cell * in * (1 - in)); store(q1, y1 + n0, c * a2 * keep * (1 - keep));
store(q1, y1 + 2 * n0, c * in * (1 - cell * cell)); store(q1, y1 + 3 * n0, h * t * out * (1 - out));
"""
_GRU = """
{T} r = sigmoid(load(p1, x1) + load(p2, x2){b0}), z = sigmoid(load(p1, x1 + n0) + load(p2, x2 + n0){b1});
{T} n = tanh(load(p1, x1 + 2 * n0) + r * (load(p2, x2 + 2 * n0){b2}));
r0 = n + z * (a0 - n);
"""
# What the cotangent of a step's hidden state is multiplied with: for the sums r, z and n of the hidden state, n of the
# input, and for the hidden state before.
_GRU_SLOPES = """
{T} part = load(p2, x2 + 2 * n0), r = sigmoid(load(p1, x1) + load(p2, x2));
{T} z = sigmoid(load(p1, x1 + n0) + load(p2, x2 + n0)), n = tanh(load(p1, x1 + 2 * n0) + r * part);
{T} slope = (1 - z) * (1 - n * n);
store(q0, y0, slope * part * r * (1 - r)); store(q0, y0 + n0, (a0 - n) * z * (1 - z));
store(q0, y0 + 2 * n0, slope * r);
r1 = slope;
r2 = z;
"""
_GRU_BACKWARD = """
{T} h = {hidden};
store(q1, y1, load(p0, x0) * h); store(q1, y1 + n0, load(p0, x0 + n0) * h);
store(q1, y1 + 2 * n0, load(p0, x0 + 2 * n0) * h);
r2 = a2 * h;
r0 = h * a1;
"""


def _is_served(input: Array, *others: Array | None) -> bool:
    """Whether all are float32 or all float64, and there is a row; the decomposition does the rest."""
    kind = input.dtype
    return kind.char in "fd" and input.size > 0 and all(other is None or other.dtype == kind for other in others)


def _step(name: str, body: str, outputs: list[Array], inputs: list[Array], size: int, raw: str, **parts: str) -> None:
    body = body.format(T=compute(own_dtype(outputs[0])), **parts)
    run(name, body, outputs, inputs, [("long long", size)], raw, _SIGMOID)


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
    tensors = input, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr
    if not _is_served(*tensors):
        found: tuple[Array, Array, Array] = decomposed("lstm_layer", *tensors, batch_sizes, reverse)
        return found
    xp, size, total = namespace(), c0.shape[1], input.shape[0]
    gates = linear(input, w_ih, both(xp, b_ih, b_hh))
    cells, outputs = cupy.empty((total, size), input.dtype), cupy.empty((total, h0.shape[1]), input.dtype)
    first = batch_sizes[-1] if reverse else batch_sizes[0]
    hidden, cell = h0[:first], c0[:first]
    for start, end in steps(batch_sizes, reverse):
        hidden, before = resized(xp, hidden, h0, end - start), resized(xp, cell, c0, end - start)
        multiply(hidden, w_hh.T, gates[start:end], add=True)
        block, cell, hidden = gates[start:end, :size], cells[start:end], outputs[start:end]
        new = hidden if w_hr is None else cupy.empty(cell.shape, input.dtype)
        _step("lstm_cell", _LSTM, [cell, new, block], [before, block], size, "r2 a1")
        if w_hr is not None:
            multiply(new, w_hr.T, hidden)
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
    tensors = input, h0, c0, w_ih, w_hh, w_hr, outputs, cells, gates
    if g_gates is not None or w_hr is not None or not _is_served(*tensors, g_outputs, g_cells):
        return tuple(
            decomposed("lstm_layer_backward", g_outputs, g_cells, g_gates, *tensors, batch_sizes, reverse, needs)
        )
    xp, (total, size) = namespace(), cells.shape
    gates = gates if gates.flags.c_contiguous else gates.copy()
    before = previous(xp, outputs, h0, batch_sizes, reverse)
    cells_before = previous(xp, cells, c0, batch_sizes, reverse)
    of_sums = cupy.empty((total, 4 * size), input.dtype)
    of_hidden, of_cell = Cotangent(xp), Cotangent(xp)
    for start, end in backwards(batch_sizes, reverse, of_hidden, of_cell):
        inputs = [gates[start:end, :size], cells[start:end], cells_before[start:end]]
        terms = []
        for given, carried in ((g_outputs, of_hidden.value), (g_cells, of_cell.value)):
            found = [] if given is None else [given[start:end]]
            found += [] if carried is None else [carried]
            terms.append([f"a{len(inputs) + k}" for k in range(len(found))])
            inputs += found
        cell, part = cupy.empty((end - start, size), input.dtype), of_sums[start:end, :size]
        _step("lstm_cell_backward", _LSTM_BACKWARD, [cell, part], inputs, size, "r1 a0",
              hidden=" + ".join(terms[0]) or "0", carried="".join(f" + {term}" for term in terms[1]))  # fmt: skip
        of_hidden.value = cupy.empty((end - start, w_hh.shape[1]), input.dtype)
        multiply(of_sums[start:end], w_hh, of_hidden.value)
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
    tensors = input, h0, w_ih, w_hh, b_ih, b_hh
    if not _is_served(*tensors):
        return decomposed("gru_layer", *tensors, batch_sizes, reverse)
    xp, size = namespace(), h0.shape[1]
    by_input = linear(input, w_ih, b_ih)
    bias = [] if b_hh is None else [(b_hh if b_hh.flags.c_contiguous else b_hh.copy())[None, :size]]
    parts = {f"b{k}": f" + load(p3, x3 + {k} * n0)" if bias else "" for k in range(3)}
    outputs = cupy.empty((input.shape[0], size), input.dtype)
    hidden = h0[: batch_sizes[-1] if reverse else batch_sizes[0]]
    for start, end in steps(batch_sizes, reverse):
        before = resized(xp, hidden, h0, end - start)
        sums = cupy.empty((end - start, 3 * size), input.dtype)
        multiply(before, w_hh.T, sums)
        hidden = outputs[start:end]
        inputs = [before, by_input[start:end, :size], sums[:, :size], *bias]
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
    tensors = input, h0, w_ih, w_hh, b_ih, b_hh, result
    if not _is_served(g, *tensors):
        return tuple(decomposed("gru_layer_backward", g, *tensors, batch_sizes, reverse, needs))
    xp, (total, size) = namespace(), result.shape
    before = previous(xp, result, h0, batch_sizes, reverse)
    slopes, by_hidden = (cupy.empty((total, 3 * size), input.dtype) for _ in range(2))
    to_new, update, of_new = (cupy.empty((total, size), input.dtype) for _ in range(3))
    sums = [a[:, :size] for a in (linear(input, w_ih, b_ih), linear(before, w_hh, b_hh))]
    _step("gru_slopes", _GRU_SLOPES, [slopes[:, :size], to_new, update], [before, *sums], size, "r0 a1 a2")
    of_hidden = Cotangent(xp)
    for start, end in backwards(batch_sizes, reverse, of_hidden):
        carried = [] if of_hidden.value is None else [of_hidden.value]
        inputs = [slopes[start:end, :size], *[a[start:end] for a in (update, to_new, g)], *carried]
        through = cupy.empty((end - start, size), input.dtype)
        outputs = [through, by_hidden[start:end, :size], of_new[start:end]]
        _step("gru_cell_backward", _GRU_BACKWARD, outputs, inputs, size, "r1 a0",
              hidden="a3 + a4" if carried else "a3")  # fmt: skip
        multiply(by_hidden[start:end], w_hh, through, add=True)
        of_hidden.value = through
    by_input = xp.cat([columns(xp, by_hidden, 0, 2 * size), of_new], 1)
    return (
        xp.matmul(by_input, w_ih) if needs[0] else None,
        of_hidden.of_initial() if needs[1] else None,
        *weight_cotangents(xp, needs[2:6], by_input, by_hidden, input, before),
    )


KERNELS: dict[str, Callable[..., Any]] = {
    "lstm_layer": lstm_layer,
    "lstm_layer_backward": lstm_layer_backward,
    "gru_layer": gru_layer,
    "gru_layer_backward": gru_layer_backward,
}
