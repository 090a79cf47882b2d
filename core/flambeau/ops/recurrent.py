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

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flambeau.ops.declare import composite

Tensor = Any
Xp = Any


# -- rows and steps --------------------------------------------------------------------------------------------------


def _steps(batch_sizes: Sequence[int], reverse: bool) -> list[tuple[int, int]]:
    """``(first row, last row + 1)`` of each time, in the order in which a layer sees them."""
    steps = []
    start = 0
    for size in batch_sizes:
        steps.append((start, start + size))
        start += size
    return steps[::-1] if reverse else steps


def _rows(xp: Xp, x: Any, start: int, end: int) -> Any:
    return x if start == 0 and end == x.shape[0] else xp.slice(x, 0, start, end, 1)


def _columns(xp: Xp, x: Any, start: int, end: int) -> Any:
    return xp.slice(x, 1, start, end, 1)


def _resized(xp: Xp, state: Any, initial: Any, size: int) -> Any:
    """The running state with ``size`` rows: without the sequences that have ended, with those that now begin."""
    have = state.shape[0]
    if have == size:
        return state
    if have > size:
        return _rows(xp, state, 0, size)
    return xp.cat([state, _rows(xp, initial, have, size)], 0)


def _joined(xp: Xp, parts: list[Any], reverse: bool) -> Any:
    """What the steps gave as rows in the order of time."""
    if reverse:
        parts = parts[::-1]
    return parts[0] if len(parts) == 1 else xp.cat(parts, 0)


def _previous(xp: Xp, states: Any, initial: Any, batch_sizes: Sequence[int], reverse: bool) -> Any:
    """For each row of ``states`` the state that its step began with."""
    total, first = states.shape[0], initial.shape[0]
    if total == first:
        return initial
    if batch_sizes[0] == batch_sizes[-1]:
        if reverse:
            return xp.cat([xp.slice(states, 0, first, total, 1), initial], 0)
        return xp.cat([initial, xp.slice(states, 0, 0, total - first, 1)], 0)
    parts = []
    state = _rows(xp, initial, 0, batch_sizes[-1] if reverse else first)
    for start, end in _steps(batch_sizes, reverse):
        parts.append(_resized(xp, state, initial, end - start))
        state = _rows(xp, states, start, end)
    return _joined(xp, parts, reverse)


class _Cotangent:
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
            self.begun.append(_rows(xp, self.value, size, have))
            self.value = _rows(xp, self.value, 0, size)
        elif have < size:  # the rows beyond have ended there
            zeros = xp.new_full(self.value, (size - have, self.value.shape[1]), 0)
            self.value = xp.cat([self.value, zeros], 0)

    def add_to(self, other: Any) -> Any:
        if self.value is None:
            return other
        return self.value if other is None else self.xp.add(other, self.value)

    def of_initial(self) -> Any:
        return self.xp.cat([self.value, *reversed(self.begun)], 0) if self.begun else self.value


def _backwards(batch_sizes: Sequence[int], reverse: bool, *cotangents: _Cotangent) -> Iterator[tuple[int, int]]:
    """The steps from the last to the first, the cotangents brought to the size of each."""
    for start, end in _steps(batch_sizes, not reverse):
        for cotangent in cotangents:
            cotangent.resize(end - start)
        yield start, end


def _transposed(xp: Xp, x: Any) -> Any:
    return xp.permute(x, (1, 0))


def _both(xp: Xp, b_ih: Any, b_hh: Any) -> Any:
    return None if b_ih is None else xp.add(b_ih, b_hh)


def _complement(xp: Xp, x: Any) -> Any:
    return xp.sub(1.0, x)


def _sigmoid_slope(xp: Xp, s: Any) -> Any:
    return xp.mul(s, _complement(xp, s))


def _tanh_slope(xp: Xp, t: Any) -> Any:
    return _complement(xp, xp.mul(t, t))


def _weight_gradient(xp: Xp, needed: bool, of_output: Any, input: Any) -> Any:
    return xp.matmul(_transposed(xp, of_output), input) if needed else None


def _bias_gradient(xp: Xp, needed: bool, of_output: Any) -> Any:
    return xp.sum(of_output, (0,), False) if needed else None


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
    by_input = xp.linear(input, w_ih, _both(xp, b_ih, b_hh))
    w_hh = _transposed(xp, w_hh)
    hidden = _rows(xp, h0, 0, batch_sizes[-1]) if reverse else h0
    outputs = []
    for start, end in _steps(batch_sizes, reverse):
        hidden = _resized(xp, hidden, h0, end - start)
        hidden = function(xp.add(_rows(xp, by_input, start, end), xp.matmul(hidden, w_hh)))
        outputs.append(hidden)
    return _joined(xp, outputs, reverse)


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
        slope = _tanh_slope(xp, result)
    else:
        slope = xp.to_dtype(xp.gt(result, 0), xp.dtype_of(result))
    of_hidden = _Cotangent(xp)
    parts = []
    for start, end in _backwards(batch_sizes, reverse, of_hidden):
        part = xp.mul(of_hidden.add_to(_rows(xp, g, start, end)), _rows(xp, slope, start, end))
        parts.append(part)
        of_hidden.value = xp.matmul(part, w_hh)
    of_sum = _joined(xp, parts, not reverse)
    return (
        xp.matmul(of_sum, w_ih) if needs[0] else None,
        of_hidden.of_initial() if needs[1] else None,
        _weight_gradient(xp, needs[2], of_sum, input),
        _weight_gradient(xp, needs[3], of_sum, _previous(xp, result, h0, batch_sizes, reverse)),
        _bias_gradient(xp, needs[4], of_sum),
        _bias_gradient(xp, needs[5], of_sum),
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
    by_input = xp.linear(input, w_ih, _both(xp, b_ih, b_hh))
    first = batch_sizes[-1] if reverse else batch_sizes[0]
    hidden, cell = _rows(xp, h0, 0, first), _rows(xp, c0, 0, first)
    outputs, cells, kept = [], [], []
    for start, end in _steps(batch_sizes, reverse):
        hidden = _resized(xp, hidden, h0, end - start)
        cell = _resized(xp, cell, c0, end - start)
        gates = _lstm_gates(xp, xp.add(_rows(xp, by_input, start, end), xp.linear(hidden, w_hh, None)), size)
        i, f, g, o = _four(xp, gates, size)
        cell = xp.add(xp.mul(f, cell), xp.mul(i, g))
        hidden = xp.mul(o, xp.tanh(cell))
        if w_hr is not None:
            hidden = xp.linear(hidden, w_hr, None)
        outputs.append(hidden)
        cells.append(cell)
        kept.append(gates)
    return _joined(xp, outputs, reverse), _joined(xp, cells, reverse), _joined(xp, kept, reverse)


def _lstm_gates(xp: Xp, sums: Any, size: int) -> Any:
    return xp.cat(
        [
            xp.sigmoid(_columns(xp, sums, 0, 2 * size)),
            xp.tanh(_columns(xp, sums, 2 * size, 3 * size)),
            xp.sigmoid(_columns(xp, sums, 3 * size, 4 * size)),
        ],
        1,
    )


def _four(xp: Xp, gates: Any, size: int) -> list[Any]:
    return [_columns(xp, gates, k * size, (k + 1) * size) for k in range(4)]


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
    outputs, cells, gates = results
    size = c0.shape[1]
    before = _previous(xp, outputs, h0, batch_sizes, reverse)
    i, f, new, o = _four(xp, gates, size)
    squashed = xp.tanh(cells)
    # The cotangents of a step's gates are these times those of its cell (the first three) and of its output.
    cells_before = _previous(xp, cells, c0, batch_sizes, reverse)
    slopes = [_sigmoid_slope(xp, i), _sigmoid_slope(xp, f), _tanh_slope(xp, new), _sigmoid_slope(xp, o)]
    by_cell = xp.stack([xp.mul(new, slopes[0]), xp.mul(cells_before, slopes[1]), xp.mul(i, slopes[2])], 1)
    by_output = xp.mul(squashed, slopes[3])
    # The gates themselves have a cotangent where this gradient is differentiated.
    by_gates = None if g[2] is None else xp.mul(g[2], xp.cat(slopes, 1))
    cell_by_output = xp.mul(o, _tanh_slope(xp, squashed))

    of_hidden, of_cell = _Cotangent(xp), _Cotangent(xp)
    sum_parts, hidden_parts = [], []
    for start, end in _backwards(batch_sizes, reverse, of_hidden, of_cell):
        rows = end - start
        given = None if g[1] is None else _rows(xp, g[1], start, end)
        carried = of_cell.add_to(given)
        hidden = of_hidden.add_to(None if g[0] is None else _rows(xp, g[0], start, end))
        if hidden is None:  # nothing was computed from the outputs so far, nor from the states of later steps
            hidden = xp.new_full(outputs, (rows, outputs.shape[1]), 0)
        hidden_parts.append(hidden)
        unprojected = hidden if w_hr is None else xp.matmul(hidden, w_hr)
        cell = xp.mul(unprojected, _rows(xp, cell_by_output, start, end))
        if carried is not None:
            cell = xp.add(cell, carried)
        three = xp.mul(_rows(xp, by_cell, start, end), xp.reshape(cell, (rows, 1, size)))
        last = xp.mul(_rows(xp, by_output, start, end), unprojected)
        part = xp.cat([xp.reshape(three, (rows, 3 * size)), last], 1)
        if by_gates is not None:
            part = xp.add(part, _rows(xp, by_gates, start, end))
        sum_parts.append(part)
        of_hidden.value = xp.matmul(part, w_hh)
        of_cell.value = xp.mul(cell, _rows(xp, f, start, end))
    of_sums = _joined(xp, sum_parts, not reverse)
    of_projection = None
    if needs[7]:
        of_outputs = _joined(xp, hidden_parts, not reverse)
        of_projection = _weight_gradient(xp, True, of_outputs, xp.mul(o, squashed))
    return (
        xp.matmul(of_sums, w_ih) if needs[0] else None,
        of_hidden.of_initial() if needs[1] else None,
        of_cell.of_initial() if needs[2] else None,
        _weight_gradient(xp, needs[3], of_sums, input),
        _weight_gradient(xp, needs[4], of_sums, before),
        _bias_gradient(xp, needs[5], of_sums),
        _bias_gradient(xp, needs[6], of_sums),
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
    hidden = _rows(xp, h0, 0, batch_sizes[-1]) if reverse else h0
    outputs = []
    for start, end in _steps(batch_sizes, reverse):
        hidden = _resized(xp, hidden, h0, end - start)
        _, z, n, _ = _gru_gates(xp, _rows(xp, by_input, start, end), xp.linear(hidden, w_hh, b_hh), size)
        hidden = xp.add(n, xp.mul(z, xp.sub(hidden, n)))
        outputs.append(hidden)
    return _joined(xp, outputs, reverse)


def _gru_gates(xp: Xp, by_input: Any, by_hidden: Any, size: int) -> tuple[Any, Any, Any, Any]:
    """The gates r and z, the new state n, and what of n comes from the hidden state before r."""
    both = xp.sigmoid(xp.add(_columns(xp, by_input, 0, 2 * size), _columns(xp, by_hidden, 0, 2 * size)))
    r, z = _columns(xp, both, 0, size), _columns(xp, both, size, 2 * size)
    part = _columns(xp, by_hidden, 2 * size, 3 * size)
    n = xp.tanh(xp.add(_columns(xp, by_input, 2 * size, 3 * size), xp.mul(r, part)))
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
    size = h0.shape[1]
    before = _previous(xp, result, h0, batch_sizes, reverse)
    r, z, n, part = _gru_gates(xp, xp.linear(input, w_ih, b_ih), xp.linear(before, w_hh, b_hh), size)
    # The cotangents of what goes into the gates are these times the cotangent of the step's hidden state.
    to_new = xp.mul(_complement(xp, z), _tanh_slope(xp, n))
    to_update = xp.mul(xp.sub(before, n), _sigmoid_slope(xp, z))
    to_reset = xp.mul(xp.mul(to_new, part), _sigmoid_slope(xp, r))
    to_hidden = xp.stack([to_reset, to_update, xp.mul(to_new, r)], 1)

    of_hidden = _Cotangent(xp)
    parts = []
    for start, end in _backwards(batch_sizes, reverse, of_hidden):
        rows = end - start
        hidden = of_hidden.add_to(_rows(xp, g, start, end))
        parts.append(hidden)
        gates = xp.mul(_rows(xp, to_hidden, start, end), xp.reshape(hidden, (rows, 1, size)))
        through = xp.matmul(xp.reshape(gates, (rows, 3 * size)), w_hh)
        of_hidden.value = xp.add(through, xp.mul(hidden, _rows(xp, z, start, end)))
    of_outputs = _joined(xp, parts, not reverse)
    rows = input.shape[0]
    by_hidden = xp.mul(to_hidden, xp.reshape(of_outputs, (rows, 1, size)))
    by_hidden = xp.reshape(by_hidden, (rows, 3 * size))
    by_input = xp.cat([_columns(xp, by_hidden, 0, 2 * size), xp.mul(to_new, of_outputs)], 1)
    return (
        xp.matmul(by_input, w_ih) if needs[0] else None,
        of_hidden.of_initial() if needs[1] else None,
        _weight_gradient(xp, needs[2], by_input, input),
        _weight_gradient(xp, needs[3], by_hidden, before),
        _bias_gradient(xp, needs[4], by_input),
        _bias_gradient(xp, needs[5], by_hidden),
    )
