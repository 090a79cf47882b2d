"""Recurrent layers: one op for one layer in one direction over a whole batch of sequences.

The steps of all sequences are rows of one matrix, time by time, as :class:`~flambeau.nn.utils.rnn.PackedSequence` has
them: first the ``batch_sizes[0]`` rows of time 0, then the ``batch_sizes[1]`` rows of time 1, and so on, the sizes not
increasing. A padded batch is the case of equal sizes.

What does not depend on the step before is computed for all steps at once: the product with the inputs, in the gradient
the products that give the weights' gradients too. Only the product with the hidden state and a few elementwise ops
remain in the loop over time. The gates are results of their own, kept for the gradient: to compute them again would
cost as much as the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.ops.declare import composite
from flambeau.ops.recurrence import (
    Cotangent,
    backwards,
    both,
    columns,
    complement,
    joined,
    previous,
    resized,
    rows,
    sigmoid_slope,
    steps,
    tanh_slope,
    transposed,
    weight_cotangents,
    weight_gradient,
)

Tensor = Any
Xp = Any


# -- simple recurrent layer ------------------------------------------------------------------------------------------


@composite(public=())
def rnn_layer(
    xp: Xp,
    input: Tensor,
    h0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    batch_sizes: Any,
    reverse: bool,
    nonlinearity: str,
) -> Tensor:
    """Return ``h_t = f(w_ih x_t + b_ih + w_hh h_(t-1) + b_hh)`` for all steps (Elman, 1990).

    Args:
        input: (rows, I), see the module for the order of the rows.
        h0: (batch_sizes[0], H).
        w_ih, w_hh: (H, I) and (H, H). b_ih, b_hh: (H,), both or none.
        batch_sizes: the number of rows of each time.
        reverse: from the last time to the first.
        nonlinearity: f, ``"tanh"`` or ``"relu"``.

    Returns:
        (rows, H), the hidden state of each step.
    """
    function: Callable[[Any], Any] = xp.tanh if nonlinearity == "tanh" else xp.relu
    by_input = xp.linear(input, w_ih, both(xp, b_ih, b_hh))
    w_hh = transposed(xp, w_hh)
    hidden = rows(xp, h0, 0, batch_sizes[-1]) if reverse else h0
    outputs = []
    for start, end in steps(batch_sizes, reverse):
        hidden = resized(xp, hidden, h0, end - start)
        hidden = function(xp.add(rows(xp, by_input, start, end), xp.matmul(hidden, w_hh)))
        outputs.append(hidden)
    return joined(xp, outputs, reverse)


@rnn_layer.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    input: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    batch_sizes: Any,
    reverse: bool,
    nonlinearity: str,
    result: Any,
) -> tuple[Any, ...]:
    if nonlinearity == "tanh":
        slope = tanh_slope(xp, result)
    else:
        slope = xp.to_dtype(xp.gt(result, 0), xp.dtype_of(result))
    of_hidden = Cotangent(xp)
    parts = []
    for start, end in backwards(batch_sizes, reverse, of_hidden):
        part = xp.mul(of_hidden.add_to(rows(xp, g, start, end)), rows(xp, slope, start, end))
        parts.append(part)
        of_hidden.value = xp.matmul(part, w_hh)
    of_sum = joined(xp, parts, not reverse)
    return (
        xp.matmul(of_sum, w_ih) if needs[0] else None,
        of_hidden.of_initial() if needs[1] else None,
        *weight_cotangents(xp, needs[2:6], of_sum, of_sum, input, previous(xp, result, h0, batch_sizes, reverse)),
    )


# -- long short-term memory ------------------------------------------------------------------------------------------


@composite(public=())
def lstm_layer(
    xp: Xp,
    input: Tensor,
    h0: Tensor,
    c0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    w_hr: Tensor | None,
    batch_sizes: Any,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the hidden states, cell states and gates of a long short-term memory (Hochreiter, Schmidhuber, 1997).

    ``i, f, g, o = s(a_i), s(a_f), tanh(a_g), s(a_o)`` with ``a = w_ih x_t + b_ih + w_hh h_(t-1) + b_hh`` and the
    sigmoid s; ``c_t = f c_(t-1) + i g``; ``h_t = o tanh(c_t)``, multiplied by ``w_hr`` where there is one (Sak et al.,
    2014).

    Args:
        input: (rows, I), see the module for the order of the rows.
        h0, c0: (batch_sizes[0], P) and (batch_sizes[0], H).
        w_ih, w_hh: (4 H, I) and (4 H, P). b_ih, b_hh: (4 H,), both or none.
        w_hr: (P, H), or None where P is H.
        batch_sizes: the number of rows of each time.
        reverse: from the last time to the first.

    Returns:
        (rows, P), (rows, H) and (rows, 4 H), the gates in the order i, f, g, o.
    """
    size = c0.shape[1]
    by_input = xp.linear(input, w_ih, both(xp, b_ih, b_hh))
    first = batch_sizes[-1] if reverse else batch_sizes[0]
    hidden, cell = rows(xp, h0, 0, first), rows(xp, c0, 0, first)
    outputs, cells, kept = [], [], []
    for start, end in steps(batch_sizes, reverse):
        hidden = resized(xp, hidden, h0, end - start)
        cell = resized(xp, cell, c0, end - start)
        gates = _lstm_gates(xp, xp.add(rows(xp, by_input, start, end), xp.linear(hidden, w_hh, None)), size)
        i, f, g, o = _four(xp, gates, size)
        cell = xp.add(xp.mul(f, cell), xp.mul(i, g))
        hidden = xp.mul(o, xp.tanh(cell))
        if w_hr is not None:
            hidden = xp.linear(hidden, w_hr, None)
        outputs.append(hidden)
        cells.append(cell)
        kept.append(gates)
    return joined(xp, outputs, reverse), joined(xp, cells, reverse), joined(xp, kept, reverse)


def _lstm_gates(xp: Xp, sums: Any, size: int) -> Any:
    return xp.cat(
        [
            xp.sigmoid(columns(xp, sums, 0, 2 * size)),
            xp.tanh(columns(xp, sums, 2 * size, 3 * size)),
            xp.sigmoid(columns(xp, sums, 3 * size, 4 * size)),
        ],
        1,
    )


def _four(xp: Xp, gates: Any, size: int) -> list[Any]:
    return [columns(xp, gates, k * size, (k + 1) * size) for k in range(4)]


@lstm_layer.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    input: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    w_hr: Any,
    batch_sizes: Any,
    reverse: bool,
    results: Any,
) -> tuple[Any, ...]:
    return xp.lstm_layer_backward(*g, input, h0, c0, w_ih, w_hh, w_hr, *results, batch_sizes, reverse, needs)


@composite(public=())
def lstm_layer_backward(
    xp: Xp,
    g_outputs: Tensor | None,
    g_cells: Tensor | None,
    g_gates: Tensor | None,
    input: Tensor,
    h0: Tensor,
    c0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    w_hr: Tensor | None,
    outputs: Tensor,
    cells: Tensor,
    gates: Tensor,
    batch_sizes: Any,
    reverse: bool,
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Return the cotangents of :func:`lstm_layer`'s tensors, each None where it is not needed.

    Args:
        g_outputs, g_cells, g_gates: those of its results, None for what nothing was computed from.
        needs: for input, h0, c0, w_ih, w_hh, b_ih, b_hh and w_hr.
    """
    size = c0.shape[1]
    before = previous(xp, outputs, h0, batch_sizes, reverse)
    i, f, new, o = _four(xp, gates, size)
    squashed = xp.tanh(cells)
    # The cotangents of a step's gates are these times those of its cell (the first three) and of its output.
    cells_before = previous(xp, cells, c0, batch_sizes, reverse)
    slopes = [sigmoid_slope(xp, i), sigmoid_slope(xp, f), tanh_slope(xp, new), sigmoid_slope(xp, o)]
    by_cell = xp.stack([xp.mul(new, slopes[0]), xp.mul(cells_before, slopes[1]), xp.mul(i, slopes[2])], 1)
    by_output = xp.mul(squashed, slopes[3])
    # The gates themselves have a cotangent where this gradient is differentiated.
    by_gates = None if g_gates is None else xp.mul(g_gates, xp.cat(slopes, 1))
    cell_by_output = xp.mul(o, tanh_slope(xp, squashed))

    of_hidden, of_cell = Cotangent(xp), Cotangent(xp)
    sum_parts, hidden_parts = [], []
    for start, end in backwards(batch_sizes, reverse, of_hidden, of_cell):
        count = end - start
        given = None if g_cells is None else rows(xp, g_cells, start, end)
        carried = of_cell.add_to(given)
        hidden = of_hidden.add_to(None if g_outputs is None else rows(xp, g_outputs, start, end))
        if hidden is None:  # nothing was computed from the outputs so far, nor from the states of later steps
            hidden = xp.new_full(outputs, (count, outputs.shape[1]), 0)
        hidden_parts.append(hidden)
        unprojected = hidden if w_hr is None else xp.matmul(hidden, w_hr)
        cell = xp.mul(unprojected, rows(xp, cell_by_output, start, end))
        if carried is not None:
            cell = xp.add(cell, carried)
        three = xp.mul(rows(xp, by_cell, start, end), xp.reshape(cell, (count, 1, size)))
        last = xp.mul(rows(xp, by_output, start, end), unprojected)
        part = xp.cat([xp.reshape(three, (count, 3 * size)), last], 1)
        if by_gates is not None:
            part = xp.add(part, rows(xp, by_gates, start, end))
        sum_parts.append(part)
        of_hidden.value = xp.matmul(part, w_hh)
        of_cell.value = xp.mul(cell, rows(xp, f, start, end))
    of_sums = joined(xp, sum_parts, not reverse)
    of_projection = None
    if needs[7]:
        of_outputs = joined(xp, hidden_parts, not reverse)
        of_projection = weight_gradient(xp, True, of_outputs, xp.mul(o, squashed))
    return (
        xp.matmul(of_sums, w_ih) if needs[0] else None,
        of_hidden.of_initial() if needs[1] else None,
        of_cell.of_initial() if needs[2] else None,
        *weight_cotangents(xp, needs[3:7], of_sums, of_sums, input, before),
        of_projection,
    )


# -- gated recurrent unit --------------------------------------------------------------------------------------------


@composite(public=())
def gru_layer(
    xp: Xp,
    input: Tensor,
    h0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    batch_sizes: Any,
    reverse: bool,
) -> Tensor:
    """Return the hidden states of all steps of a gated recurrent unit (Cho et al., 2014).

    With ``a = w_ih x_t + b_ih``, ``b = w_hh h_(t-1) + b_hh`` and the sigmoid s: ``r, z = s(a_r + b_r), s(a_z + b_z)``;
    ``n = tanh(a_n + r b_n)``; ``h_t = (1 - z) n + z h_(t-1)``.

    Args:
        input: (rows, I), see the module for the order of the rows.
        h0: (batch_sizes[0], H).
        w_ih, w_hh: (3 H, I) and (3 H, H). b_ih, b_hh: (3 H,), both or none.
        batch_sizes: the number of rows of each time.
        reverse: from the last time to the first.

    Returns:
        (rows, H).
    """
    size = h0.shape[1]
    by_input = xp.linear(input, w_ih, b_ih)
    hidden = rows(xp, h0, 0, batch_sizes[-1]) if reverse else h0
    outputs = []
    for start, end in steps(batch_sizes, reverse):
        hidden = resized(xp, hidden, h0, end - start)
        _, z, n, _ = _gru_gates(xp, rows(xp, by_input, start, end), xp.linear(hidden, w_hh, b_hh), size)
        hidden = xp.add(n, xp.mul(z, xp.sub(hidden, n)))
        outputs.append(hidden)
    return joined(xp, outputs, reverse)


def _gru_gates(xp: Xp, by_input: Any, by_hidden: Any, size: int) -> tuple[Any, Any, Any, Any]:
    """The gates r and z, the new state n, and what of n comes from the hidden state before r."""
    both = xp.sigmoid(xp.add(columns(xp, by_input, 0, 2 * size), columns(xp, by_hidden, 0, 2 * size)))
    r, z = columns(xp, both, 0, size), columns(xp, both, size, 2 * size)
    part = columns(xp, by_hidden, 2 * size, 3 * size)
    n = xp.tanh(xp.add(columns(xp, by_input, 2 * size, 3 * size), xp.mul(r, part)))
    return r, z, n, part


@gru_layer.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    input: Any,
    h0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any,
    b_hh: Any,
    batch_sizes: Any,
    reverse: bool,
    result: Any,
) -> tuple[Any, ...]:
    return xp.gru_layer_backward(g, input, h0, w_ih, w_hh, b_ih, b_hh, result, batch_sizes, reverse, needs)


@composite(public=())
def gru_layer_backward(
    xp: Xp,
    g: Tensor,
    input: Tensor,
    h0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    result: Tensor,
    batch_sizes: Any,
    reverse: bool,
    needs: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Return the cotangents of :func:`gru_layer`'s tensors, each None where it is not needed.

    Args:
        needs: for input, h0, w_ih, w_hh, b_ih and b_hh.
    """
    size = h0.shape[1]
    before = previous(xp, result, h0, batch_sizes, reverse)
    r, z, n, part = _gru_gates(xp, xp.linear(input, w_ih, b_ih), xp.linear(before, w_hh, b_hh), size)
    # The cotangents of what goes into the gates are these times the cotangent of the step's hidden state.
    to_new = xp.mul(complement(xp, z), tanh_slope(xp, n))
    to_update = xp.mul(xp.sub(before, n), sigmoid_slope(xp, z))
    to_reset = xp.mul(xp.mul(to_new, part), sigmoid_slope(xp, r))
    to_hidden = xp.stack([to_reset, to_update, xp.mul(to_new, r)], 1)

    of_hidden = Cotangent(xp)
    parts = []
    for start, end in backwards(batch_sizes, reverse, of_hidden):
        count = end - start
        hidden = of_hidden.add_to(rows(xp, g, start, end))
        parts.append(hidden)
        gates = xp.mul(rows(xp, to_hidden, start, end), xp.reshape(hidden, (count, 1, size)))
        through = xp.matmul(xp.reshape(gates, (count, 3 * size)), w_hh)
        of_hidden.value = xp.add(through, xp.mul(hidden, rows(xp, z, start, end)))
    of_outputs = joined(xp, parts, not reverse)
    total = input.shape[0]
    by_hidden = xp.mul(to_hidden, xp.reshape(of_outputs, (total, 1, size)))
    by_hidden = xp.reshape(by_hidden, (total, 3 * size))
    by_input = xp.cat([columns(xp, by_hidden, 0, 2 * size), xp.mul(to_new, of_outputs)], 1)
    return (
        xp.matmul(by_input, w_ih) if needs[0] else None,
        of_hidden.of_initial() if needs[1] else None,
        *weight_cotangents(xp, needs[2:6], by_input, by_hidden, input, before),
    )
