"""Recurrent layers over whole batches of sequences, in place in memory that is laid out once.

The decompositions (:mod:`flambeau.ops.recurrent`) make a dozen small arrays a step; here a step writes into its rows of
the results. The sigmoids of a step are taken together with its tanh, by ``s(x) = tanh(x / 2) / 2 + 1 / 2``: inputs and
weights are halved beforehand, so that one call serves all gates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from flambeau.devices import device
from flambeau.ops.declare import OPS
from flambeau.ops.recurrence import Cotangent, backwards, previous, resized, steps
from flambeau_numpy.blocks import over_rows

Array = Any
Needs = Sequence[bool]


def _is_served(input: Array, *others: Array | None) -> bool:
    """Whether all are float32 or all float64, and there is a row; the decomposition does the rest."""
    dtype = input.dtype
    return dtype.char in "fd" and len(input) > 0 and all(other is None or other.dtype == dtype for other in others)


def _factors(like: Array, size: int, gates: str) -> tuple[Array, Array]:
    """What a row of ``gates``, s for sigmoid and t for tanh, is multiplied by on both sides of the tanh, and the rest.

    s(x) = 0.5 tanh(0.5 x) + 0.5, and tanh itself is 1 tanh(1 x) + 0.
    """
    factor = numpy.repeat(numpy.array([0.5 if gate == "s" else 1.0 for gate in gates], like.dtype), size)
    return factor, numpy.subtract(1, factor)


def _for_steps(xp: Any, weight: Array, factor: Array, batch_sizes: Sequence[int]) -> Array:
    """A weight (gates, size), each gate times its factor, as the (size, gates) that every step multiplies by."""
    return xp.for_products(numpy.multiply(weight, factor[:, None]).T, batch_sizes[0])


def _weight_gradient(xp: Any, needed: bool, of_output: Array, input: Array) -> Array | None:
    return xp.matmul(of_output.T, input) if needed else None


def _bias_gradients(xp: Any, needs: Needs, of_output: Array) -> list[Array | None]:
    """The sum over the rows, an array of its own for each that is needed."""
    total = xp.sum(of_output, (0,), False) if any(needs) else None
    return [total.copy() if needed else None for needed in needs]


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
    xp = device("cpu").xp
    if not _is_served(input, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr):
        return OPS["lstm_layer"].body(xp, input, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, batch_sizes, reverse)
    matmul, add, multiply, tanh = xp.matmul, numpy.add, numpy.multiply, numpy.tanh
    size = c0.shape[1]
    factor, rest = _factors(input, size, "ssts")
    weight = _for_steps(xp, w_hh, factor, batch_sizes)
    # Of the size of a step's block: twice as fast as rows that NumPy spreads.
    factors, rests = numpy.tile(factor, (batch_sizes[0], 1)), numpy.tile(rest, (batch_sizes[0], 1))
    projection = None if w_hr is None else w_hr.T
    bias = None if b_ih is None else multiply(add(b_ih, b_hh), factor)
    gates = xp.linear(input, multiply(w_ih, factor[:, None]), bias)
    outputs, cells = numpy.empty((len(gates), h0.shape[1]), gates.dtype), numpy.empty((len(gates), size), gates.dtype)
    first = batch_sizes[-1] if reverse else batch_sizes[0]
    hidden, cell = h0[:first], c0[:first]
    for start, end in steps(batch_sizes, reverse):
        hidden, cell = resized(xp, hidden, h0, end - start), resized(xp, cell, c0, end - start)
        block = gates[start:end]
        add(block, matmul(hidden, weight), block)
        tanh(block, block)
        multiply(block, factors[: end - start], block)
        add(block, rests[: end - start], block)
        cell = multiply(block[:, size : 2 * size], cell, cells[start:end])
        new = multiply(block[:, :size], block[:, 2 * size : 3 * size])
        add(cell, new, cell)
        tanh(cell, new)
        if projection is None:
            hidden = multiply(block[:, 3 * size :], new, outputs[start:end])
        else:
            hidden = outputs[start:end]
            hidden[...] = matmul(multiply(block[:, 3 * size :], new, new), projection)
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
    """The cotangents; those of the gates come from second derivatives only and are left to the decomposition."""
    xp = device("cpu").xp
    tensors = input, h0, c0, w_ih, w_hh, w_hr, outputs, cells, gates
    if g_gates is not None or not _is_served(*tensors, g_outputs, g_cells):
        own = OPS["lstm_layer_backward"].body(xp, g_outputs, g_cells, g_gates, *tensors, batch_sizes, reverse, needs)
        return tuple(own)
    matmul, add, multiply = xp.matmul, numpy.add, numpy.multiply
    total, size = cells.shape
    sums, by_output, squashed = _lstm_slopes(xp, c0, cells, gates, batch_sizes, reverse)
    of_projected = numpy.empty_like(outputs) if needs[7] else None
    forget = gates[:, size : 2 * size]
    # The cotangents of the gates' sums, (rows, gate, H), are written over their slopes step by step.
    flat = sums.reshape(total, 4 * size)
    weight = xp.for_products(w_hh, batch_sizes[0])
    by_slope = numpy.empty((batch_sizes[0], 4 * size), flat.dtype)
    of_hidden, of_cell = Cotangent(xp), Cotangent(xp)
    for start, end in backwards(batch_sizes, reverse, of_hidden, of_cell):
        hidden = of_hidden.add_to(None if g_outputs is None else g_outputs[start:end])
        if hidden is None:
            hidden = numpy.zeros((end - start, outputs.shape[1]), outputs.dtype)
        if of_projected is not None:
            of_projected[start:end] = hidden
        unprojected = hidden if w_hr is None else matmul(hidden, w_hr)
        cell = multiply(unprojected, by_output[start:end])
        for carried in (of_cell.value, None if g_cells is None else g_cells[start:end]):
            if carried is not None:
                add(cell, carried, cell)
        block = flat[start:end]
        # One contiguous product, at half of the cost of two with what NumPy spreads.
        multiply(block, numpy.concatenate((cell, cell, cell, unprojected), 1, by_slope[: end - start]), block)
        of_hidden.value = matmul(block, weight)
        of_cell.value = multiply(cell, forget[start:end], cell)
    of_projection = None
    if of_projected is not None:
        of_projection = matmul(of_projected.T, multiply(gates[:, 3 * size :], squashed))
    return (
        matmul(flat, w_ih) if needs[0] else None,
        of_hidden.of_initial() if needs[1] else None,
        of_cell.of_initial() if needs[2] else None,
        _weight_gradient(xp, needs[3], flat, input),
        _weight_gradient(xp, needs[4], flat, previous(xp, outputs, h0, batch_sizes, reverse)),
        *_bias_gradients(xp, needs[5:7], flat),
        of_projection,
    )


def _lstm_slopes(
    xp: Any, c0: Array, cells: Array, gates: Array, batch_sizes: Sequence[int], reverse: bool
) -> tuple[Array, Array, Array]:
    """What the cotangents of a step are multiplied by, for all steps at once.

    Returns:
        (rows, 4, H), from the cell's cotangent to the sums' of i, f, g and from the output's to that of o; (rows, H),
        from the output's to the cell's; (rows, H), ``tanh(cells)``.
    """
    subtract, multiply = numpy.subtract, numpy.multiply
    total, size = cells.shape
    gates_of = gates.reshape(total, 4, size)
    before = previous(xp, cells, c0, batch_sizes, reverse)
    slopes, by_output = numpy.empty(gates_of.shape, gates.dtype), numpy.empty(cells.shape, cells.dtype)
    squashed = numpy.empty(cells.shape, cells.dtype)

    def work(part: slice) -> None:
        by_gate, result, tanh = gates_of[part], slopes[part], numpy.tanh(cells[part], squashed[part])
        multiply(by_gate, by_gate, result)
        of_new = result[:, 2]
        subtract(1, of_new, of_new)
        multiply(of_new, by_gate[:, 0], of_new)
        for k, others in ((0, by_gate[:, 2]), (1, before[part]), (3, tanh)):
            slope = result[:, k]
            subtract(by_gate[:, k], slope, slope)  # s (1 - s)
            multiply(slope, others, slope)
        output = multiply(tanh, tanh, by_output[part])
        subtract(1, output, output)
        multiply(output, by_gate[:, 3], output)

    over_rows(work, total, 4 * size)
    return slopes, by_output, squashed


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
    xp = device("cpu").xp
    if not _is_served(input, h0, w_ih, w_hh, b_ih, b_hh):
        return OPS["gru_layer"].body(xp, input, h0, w_ih, w_hh, b_ih, b_hh, batch_sizes, reverse)
    matmul, add, subtract, multiply, tanh = xp.matmul, numpy.add, numpy.subtract, numpy.multiply, numpy.tanh
    size = h0.shape[1]
    factor, _ = _factors(input, size, "sst")
    weight = _for_steps(xp, w_hh, factor, batch_sizes)
    bias = None if b_ih is None else multiply(_input_bias(b_ih, b_hh, size), factor)
    sums = xp.linear(input, multiply(w_ih, factor[:, None]), bias)
    last = None if b_hh is None else b_hh[2 * size :]
    outputs = numpy.empty((len(sums), size), sums.dtype)
    hidden = h0[: batch_sizes[-1]] if reverse else h0
    half = numpy.full((), 0.5, sums.dtype)
    for start, end in steps(batch_sizes, reverse):
        hidden = resized(xp, hidden, h0, end - start)
        block = sums[start:end]
        by_hidden = matmul(hidden, weight)
        both = block[:, : 2 * size]
        add(both, by_hidden[:, : 2 * size], both)
        tanh(both, both)
        multiply(both, half, both)
        add(both, half, both)
        part = by_hidden[:, 2 * size :]
        if last is not None:
            add(part, last, part)
        multiply(part, both[:, :size], part)
        new = add(part, block[:, 2 * size :], part)
        tanh(new, new)
        target = subtract(hidden, new, outputs[start:end])
        multiply(target, both[:, size:], target)
        hidden = add(target, new, target)
    return outputs


def _input_bias(b_ih: Array, b_hh: Array, size: int) -> Array:
    """Both biases in one, apart from what of ``b_hh`` is multiplied by the reset gate."""
    bias = b_ih.copy()
    numpy.add(bias[: 2 * size], b_hh[: 2 * size], bias[: 2 * size])
    return bias


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
    """The cotangents; the gates are computed again, for all steps at once."""
    xp = device("cpu").xp
    tensors = input, h0, w_ih, w_hh, b_ih, b_hh, result
    if not _is_served(*tensors, g):
        return tuple(OPS["gru_layer_backward"].body(xp, g, *tensors, batch_sizes, reverse, needs))
    matmul, add, subtract, multiply = xp.matmul, numpy.add, numpy.subtract, numpy.multiply
    total, size = result.shape
    before = previous(xp, result, h0, batch_sizes, reverse)
    both, n, part = _gru_gates(xp.linear(input, w_ih, b_ih), xp.linear(before, w_hh, b_hh), size)
    r, z = both[:, :size], both[:, size:]
    # From the cotangent of a step's hidden state to those of what goes into n, and of r's, z's and n's hidden sums.
    to_new = multiply(n, n)
    subtract(1, to_new, to_new)
    sums = numpy.empty((total, 3, size), result.dtype)
    of_reset, of_update, of_part = sums[:, 0], sums[:, 1], sums[:, 2]
    subtract(before, n, of_update)
    multiply(of_update, z, of_update)
    keep = subtract(1, z)
    multiply(of_update, keep, of_update)
    multiply(to_new, keep, to_new)
    multiply(to_new, r, of_part)
    multiply(of_part, part, of_reset)
    multiply(of_reset, subtract(1, r, keep), of_reset)
    flat = sums.reshape(total, 3 * size)
    weight = xp.for_products(w_hh, batch_sizes[0])
    of_hidden = Cotangent(xp)
    for start, end in backwards(batch_sizes, reverse, of_hidden):
        hidden = of_hidden.add_to(g[start:end])
        block = sums[start:end]
        multiply(block, hidden[:, None], block)
        multiply(to_new[start:end], hidden, to_new[start:end])
        through = matmul(flat[start:end], weight)
        of_hidden.value = add(through, multiply(hidden, z[start:end]), through)
    of_initial = of_hidden.of_initial()
    of_past = _weight_gradient(xp, needs[3], flat, before)
    of_past_bias = _bias_gradients(xp, needs[5:], flat)
    of_part[...] = to_new  # from here on the sums' cotangents from the side of the input
    return (
        matmul(flat, w_ih) if needs[0] else None,
        of_initial if needs[1] else None,
        _weight_gradient(xp, needs[2], flat, input),
        of_past,
        *_bias_gradients(xp, needs[4:5], flat),
        *of_past_bias,
    )


def _gru_gates(by_input: Array, by_hidden: Array, size: int) -> tuple[Array, Array, Array]:
    """The gates r and z side by side, the new state n, and what of n comes from the hidden state before r."""
    both, n, part = by_input[:, : 2 * size], by_input[:, 2 * size :], by_hidden[:, 2 * size :]
    numpy.add(both, by_hidden[:, : 2 * size], both)
    numpy.multiply(both, 0.5, both)
    numpy.tanh(both, both)
    numpy.multiply(both, 0.5, both)
    numpy.add(both, 0.5, both)
    numpy.add(n, numpy.multiply(both[:, :size], part), n)
    return both, numpy.tanh(n, n), part


KERNELS: dict[str, Callable[..., Any]] = {
    "lstm_layer": lstm_layer,
    "lstm_layer_backward": lstm_layer_backward,
    "gru_layer": gru_layer,
    "gru_layer_backward": gru_layer_backward,
}
