"""Recurrent layers as functions: several layers and directions over a batch of sequences, and single steps.

``lstm``, ``gru``, ``rnn_tanh`` and ``rnn_relu`` are PyTorch's at the top level; the modules run through the same
:func:`stacked`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.nn.functional._dropout import dropout as drop
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

States = tuple[Tensor, ...]
#: One layer in one direction: rows, initial states, ``w_ih, w_hh, b_ih, b_hh, w_hr``, batch sizes, reverse -> states.
Layer = Callable[[Tensor, Sequence[Tensor], Sequence[Any], tuple[int, ...], bool], States]


def _rnn_layer(nonlinearity: str) -> Layer:
    def layer(rows: Any, initial: Any, weights: Any, batch_sizes: Any, reverse: bool) -> States:
        return (TENSORS.rnn_layer(rows, *initial, *weights[:4], batch_sizes, reverse, nonlinearity),)

    return layer


def _gru_layer(rows: Any, initial: Any, weights: Any, batch_sizes: Any, reverse: bool) -> States:
    return (TENSORS.gru_layer(rows, *initial, *weights[:4], batch_sizes, reverse),)


def _lstm_layer(rows: Any, initial: Any, weights: Any, batch_sizes: Any, reverse: bool) -> States:
    states: States = TENSORS.lstm_layer(rows, *initial, *weights, batch_sizes, reverse)[:2]
    return states


#: The kinds of layers, by the names of the modules' modes.
LAYERS: dict[str, Layer] = {
    "RNN_TANH": _rnn_layer("tanh"), "RNN_RELU": _rnn_layer("relu"), "GRU": _gru_layer, "LSTM": _lstm_layer,
}  # fmt: skip


def stacked(
    layer: Layer,
    rows: Tensor,
    states: States,
    weights: Sequence[Sequence[Any]],
    batch_sizes: tuple[int, ...],
    directions: int,
    dropout: float,
    training: bool,
) -> tuple[Tensor, States]:
    """All layers over the rows of a packed batch (:mod:`flambeau.ops.recurrent`).

    Args:
        states: initial ones, each (layers * directions, batch, size).
        weights: for each layer and direction ``w_ih, w_hh, b_ih, b_hh, w_hr``, None for what there is not.
        dropout: probability with which outputs of all layers but the last are set to 0 in training.

    Returns:
        The last layer's hidden states, (rows, directions * size), and the last states of all, as ``states``.
    """
    last: list[States] = []
    layers = len(weights) // directions
    for depth in range(layers):
        outputs = []
        for direction in range(directions):
            place = depth * directions + direction
            initial = [TENSORS.select(state, 0, place) for state in states]
            of_all_steps = layer(rows, initial, weights[place], batch_sizes, direction == 1)
            outputs.append(of_all_steps[0])
            last.append(tuple([_last_states(state, batch_sizes, direction == 1) for state in of_all_steps]))
        rows = outputs[0] if directions == 1 else TENSORS.cat(outputs, 1)
        if dropout and depth < layers - 1:
            rows = drop(rows, dropout, training)
    return rows, tuple([TENSORS.stack(list(each), 0) for each in zip(*last, strict=True)])


def _last_states(states: Tensor, batch_sizes: tuple[int, ...], reverse: bool) -> Tensor:
    """Of the states of all steps, those of each sequence's last step (in the direction of the layer)."""
    count, total = batch_sizes[0], states.shape[0]
    if reverse:
        return TENSORS.slice(states, 0, 0, count, 1)
    if batch_sizes[-1] == count:
        return TENSORS.slice(states, 0, total - count, total, 1)
    parts = []
    end, following = total, 0
    for size in reversed(batch_sizes):
        if size > following:  # these sequences have no step after this time
            parts.append(TENSORS.slice(states, 0, end - size + following, end, 1))
            following = size
        end -= size
    return TENSORS.cat(parts, 0)


# -- whole sequences -------------------------------------------------------------------------------------------------


def _weights(op: str, params: Sequence[Any], has_biases: bool, projected: bool, count: int) -> list[list[Any]]:
    """The flat list of parameters, one list a layer and direction."""
    each = 2 + 2 * has_biases + projected
    if len(params) != each * count:
        raise RuntimeError(
            f"{op}: expected {each} parameters for each of the {count} layers and directions, {each * count} in all, "
            f"got {len(params)}"
        )
    found = []
    for start in range(0, len(params), each):
        own = list(params[start : start + each])
        if not has_biases:
            own[2:2] = [None, None]
        found.append(own if projected else [*own, None])
    return found


def _run(
    op: str,
    mode: str,
    rows: Tensor,
    batch_sizes: tuple[int, ...],
    states: States,
    params: Sequence[Any],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
) -> tuple[Tensor, States]:
    directions = 2 if bidirectional else 1
    count = num_layers * directions
    batch = batch_sizes[0]
    for state in states:
        if state.ndim != 3 or tuple(state.shape[:2]) != (count, batch):
            raise RuntimeError(f"{op}: Expected hidden size ({count}, {batch}, *), got {list(state.shape)}")
    projected = len(states) == 2 and states[0].shape[2] != states[1].shape[2]
    weights = _weights(op, params, has_biases, projected, count)
    return stacked(LAYERS[mode], rows, states, weights, batch_sizes, directions, dropout, train)


def _padded(
    op: str, mode: str, input: Tensor, states: States, params: Sequence[Any], has_biases: bool, num_layers: int,
    dropout: float, train: bool, bidirectional: bool, batch_first: bool,
) -> tuple[Tensor, States]:  # fmt: skip
    if input.ndim != 3:
        raise RuntimeError(f"{op}: input must have 3 dimensions, got {input.ndim}")
    x = TENSORS.transpose(input, 0, 1) if batch_first else input
    steps, batch, features = x.shape
    if not steps:
        raise RuntimeError(f"{op}: Expected sequence length to be larger than 0 in RNN")
    rows, last = _run(
        op, mode, x.reshape(steps * batch, features), (batch,) * steps, states, params, has_biases, num_layers,
        dropout, train, bidirectional,
    )  # fmt: skip
    output = rows.reshape(steps, batch, rows.shape[1])
    return (output.transpose(0, 1) if batch_first else output), last


def _several(name: str, mode: str) -> Any:
    """PyTorch's function of several layers: over a padded batch, or over packed data with its batch sizes."""
    parameters = ("params", "has_biases", "num_layers", "dropout", "train", "bidirectional")

    def layers(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        # Packed data comes with a tensor where padded sequences have the two states of an LSTM, or the parameters.
        place = 0 if mode == "LSTM" else 1
        packed = "batch_sizes" in kwargs or (len(args) > place and isinstance(args[place], Tensor))
        names = ("batch_sizes", "hx", *parameters) if packed else ("hx", *parameters, "batch_first")
        given = _bound(name, names, args, kwargs)
        hx = given.pop("hx")
        if (mode == "LSTM") != isinstance(hx, (list, tuple)) or (mode == "LSTM" and len(hx) != 2):
            raise TypeError(f"{name}: hx must be {'a list of h and c' if mode == 'LSTM' else 'a tensor'}")
        states = tuple(hx) if mode == "LSTM" else (hx,)
        if packed:
            sizes = tuple(given.pop("batch_sizes").tolist())
            output, last = _run(name, mode, input, sizes, states, **given)
        else:
            output, last = _padded(name, mode, input, states, **given)
        return (output, *last)

    layers.__name__ = layers.__qualname__ = name
    layers.__doc__ = f"""{name}(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)

    Run a batch of sequences through layers of the kind of :class:`flambeau.nn.{mode.partition("_")[0]}`.

    In a second form ``{name}(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)``
    takes the fields of a :class:`~flambeau.nn.utils.rnn.PackedSequence`.

    Args:
        input: (T, B, features), or (B, T, features) with ``batch_first``.
        hx: initial states (layers * directions, B, size){"; the list of hidden and cell states" * (mode == "LSTM")}.
        params: for each layer and direction ``w_ih, w_hh``, with ``has_biases`` then ``b_ih, b_hh``, all in one list.
        dropout: probability of a zero between layers, where ``train`` is true.

    Returns:
        tuple: the output, and the last states.

    Raises:
        RuntimeError: when shapes or the number of parameters do not fit.
    """
    return layers


def _bound(op: str, names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    if len(args) > len(names):
        raise TypeError(f"{op}() takes {len(names) + 1} arguments but {len(args) + 1} were given")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    if set(given) != set(names):
        wrong = sorted(set(names) ^ set(given))
        raise TypeError(f"{op}() takes the arguments input, {', '.join(names)}; missing or unknown: {', '.join(wrong)}")
    return given


lstm, gru = _several("lstm", "LSTM"), _several("gru", "GRU")
rnn_tanh, rnn_relu = _several("rnn_tanh", "RNN_TANH"), _several("rnn_relu", "RNN_RELU")


# -- single steps ----------------------------------------------------------------------------------------------------


def _step(op: str, mode: str, input: Tensor, states: States, w_ih: Tensor, *weights: Any) -> States:
    if input.ndim != 2 or input.shape[1] != w_ih.shape[1]:
        raise RuntimeError(
            f"{op}: input has inconsistent input_size: got shape {list(input.shape)}, expected (N, {w_ih.shape[1]})"
        )
    hidden = weights[0].shape[1]
    for state in states:
        if tuple(state.shape) != (input.shape[0], hidden):
            raise RuntimeError(f"{op}: expected hx of shape {[input.shape[0], hidden]}, got {list(state.shape)}")
    return LAYERS[mode](input, states, [w_ih, *weights, None], (input.shape[0],), False)


def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of :class:`flambeau.nn.LSTMCell`: (N, I) and the list of h and c, each (N, H), -> h' and c'."""
    hidden, cell = _step("lstm_cell", "LSTM", input, tuple(hx), w_ih, w_hh, b_ih, b_hh)
    return hidden, cell


def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of :class:`flambeau.nn.GRUCell`: (N, I) and (N, H) -> (N, H)."""
    return _step("gru_cell", "GRU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of :class:`flambeau.nn.RNNCell`: (N, I) and (N, H) -> (N, H)."""
    return _step("rnn_tanh_cell", "RNN_TANH", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of :class:`flambeau.nn.RNNCell` with ``nonlinearity="relu"``: (N, I) and (N, H) -> (N, H)."""
    return _step("rnn_relu_cell", "RNN_RELU", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]
