"""Recurrent layers over whole sequences (RNN, LSTM, GRU); :mod:`~flambeau.nn.modules.rnn_cells` has single steps."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import init
from flambeau.nn.functional._recurrent import LAYERS, stacked
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.rnn_cells import GRUCell, LSTMCell, RNNCell, RNNCellBase
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.rnn import PackedSequence
from flambeau.ops.call import TENSORS

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class RNNBase(Module):
    """What RNN, LSTM and GRU have in common: arguments, parameters, the way through layers and directions.

    The parameters of layer k have the names ``weight_ih_l{k}``, ``weight_hh_l{k}``, ``bias_ih_l{k}``, ``bias_hh_l{k}``
    and, with projections, ``weight_hr_l{k}``; those of the backward direction end in ``_reverse``.
    """

    _flat_weights_names: list[str]
    _all_weights: list[list[str]]

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_arguments(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        if mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}; it is one of {', '.join(_GATES)}")
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights = []
        directions = 2 if bidirectional else 1
        rows = _GATES[mode] * hidden_size
        output_size = proj_size or hidden_size
        for layer in range(num_layers):
            columns = input_size if layer == 0 else output_size * directions
            sizes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, columns), "weight_hh": (rows, output_size)}
            if bias:
                sizes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if proj_size:
                sizes["weight_hr"] = (proj_size, hidden_size)
            for suffix in ("", "_reverse")[:directions]:
                names = [f"{name}_l{layer}{suffix}" for name in sizes]
                for name, size in zip(names, sizes.values(), strict=True):
                    setattr(self, name, Parameter(flambeau.empty(size, device=device, dtype=dtype)))
                self._all_weights.append(names)
        self._flat_weights_names = [name for names in self._all_weights for name in names]
        self.reset_parameters()

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._flat_weights_names]

    def flatten_parameters(self) -> None:
        """Do nothing: PyTorch arranges the memory of weights for cuDNN here."""

    def reset_parameters(self) -> None:
        """Draw all parameters anew from U(-k, k), ``k = 1 / sqrt(hidden_size)``."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    # -- checks --------------------------------------------------------------------------------------------------

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raise for an input whose dtype, number of dimensions or features do not fit."""
        weight = getattr(self, self._flat_weights_names[0])
        if input.dtype != weight.dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        expected = 2 if batch_sizes is not None else 3
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if self.input_size != input.size(-1):
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.size(-1)}"
            )

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape that the initial hidden states must have."""
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        else:
            batch = input.size(0) if self.batch_first else input.size(1)
        return self.num_layers * (2 if self.bidirectional else 1), batch, self.proj_size or self.hidden_size

    def check_hidden_size(
        self, hx: Tensor, expected_hidden_size: tuple[int, int, int], msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """Raise where a state has another shape than the expected one."""
        if tuple(hx.shape) != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raise for an input or initial state that do not fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def _check_rank(self, input: Tensor, states: tuple[Tensor, ...]) -> None:
        """Raise where the numbers of dimensions of input and states do not go together."""
        name = "RNN" if self.mode.startswith("RNN") else self.mode
        if input.dim() not in (2, 3):
            raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.dim()}D tensor instead")
        kind = "batched 3-D" if input.dim() == 3 else "unbatched 2-D"
        for state in states:
            if state.dim() != input.dim():
                seen = "-D, ".join(str(state.dim()) for state in states)
                names = "hx" if len(states) == 1 else "hx and cx"
                raise RuntimeError(
                    f"For {kind} input, {names} should also be {input.dim()}-D but got {seen}-D "
                    f"tensor{'s' if len(states) > 1 else ''}"
                )

    # -- forward -------------------------------------------------------------------------------------------------

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Run all sequences through all layers.

        Args:
            input: (T, B, input_size), (B, T, input_size) with ``batch_first``, (T, input_size) for one sequence, or a
                PackedSequence.
            hx: initial states, (layers * directions, B, size) or without the B; zeros when left out. For an LSTM a
                tuple of hidden and cell states.

        Returns:
            tuple: the hidden states of the last layer in the form of the input, (T, B, directions * size), and the last
                states of all layers in the form of ``hx``.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        states = self._states_of(hx)
        self._check_rank(input, states)
        batched = input.dim() == 3
        if not batched:
            input = input.unsqueeze(0 if self.batch_first else 1)
            states = tuple([state.unsqueeze(1) for state in states])
        states = self._checked(input, states, None)
        if self.batch_first:
            input = TENSORS.transpose(input, 0, 1)
        steps, batch, features = input.shape
        if not steps:
            raise RuntimeError(f"{self.mode}: Expected sequence length to be larger than 0 in RNN")
        rows, last = self._layers(TENSORS.reshape(input, (steps * batch, features)), states, (batch,) * steps)
        output = rows.reshape(steps, batch, rows.shape[1])
        if self.batch_first:
            output = output.transpose(0, 1)
        if not batched:
            output = output.squeeze(0 if self.batch_first else 1)
            last = tuple([state.squeeze(1) for state in last])
        return output, self._as_hx(last)

    def _forward_packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        data, batch_sizes, order, back = input
        states = self._states_of(hx)
        if order is not None:
            states = tuple([state.index_select(1, order) for state in states])
        states = self._checked(data, states, batch_sizes)
        rows, last = self._layers(data, states, tuple(batch_sizes.tolist()))
        if back is not None:
            last = tuple([state.index_select(1, back) for state in last])
        return PackedSequence(rows, batch_sizes, order, back), self._as_hx(last)

    def _states_of(self, hx: Any) -> tuple[Tensor, ...]:
        return () if hx is None else (hx,)

    def _as_hx(self, states: tuple[Tensor, ...]) -> Any:
        return states[0]

    def _checked(self, input: Tensor, states: tuple[Tensor, ...], batch_sizes: Tensor | None) -> tuple[Tensor, ...]:
        """The initial states, zeros where none were given; raise where input or states do not fit."""
        if states:
            self.check_forward_args(input, self._as_hx(states), batch_sizes)
            return states
        self.check_input(input, batch_sizes)
        return self._zeros(input, self.get_expected_hidden_size(input, batch_sizes))

    def _zeros(self, input: Tensor, size: tuple[int, int, int]) -> tuple[Tensor, ...]:
        return (flambeau.zeros(size, dtype=input.dtype, device=input.device),)

    def _layers(
        self, rows: Tensor, states: tuple[Tensor, ...], batch_sizes: tuple[int, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """All layers over the rows of a packed batch: the last layer's hidden states, the last states of all."""
        weights = [self._weights(place) for place in range(len(self._all_weights))]
        directions = 2 if self.bidirectional else 1
        return stacked(LAYERS[self.mode], rows, states, weights, batch_sizes, directions, self.dropout, self.training)

    def _weights(self, place: int) -> list[Tensor | None]:
        """``w_ih, w_hh, b_ih, b_hh, w_hr`` of one layer and direction, None for what there is not."""
        own: list[Tensor | None] = [getattr(self, name) for name in self._all_weights[place]]
        if not self.bias:
            own[2:2] = [None, None]
        return own if self.proj_size else [*own, None]

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        if self.proj_size:
            parts.append(f"proj_size={self.proj_size}")
        if self.num_layers != 1:
            parts.append(f"num_layers={self.num_layers}")
        if self.bias is not True:
            parts.append(f"bias={self.bias}")
        if self.batch_first is not False:
            parts.append(f"batch_first={self.batch_first}")
        if self.dropout:
            parts.append(f"dropout={self.dropout}")
        if self.bidirectional is not False:
            parts.append(f"bidirectional={self.bidirectional}")
        return ", ".join(parts)


def _check_arguments(
    input_size: Any, hidden_size: Any, num_layers: int, bias: Any, batch_first: Any, dropout: Any, proj_size: int
) -> None:
    for name, flag in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(flag, bool):
            raise TypeError(f"{name} should be of type bool, got: {type(flag).__name__}")
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(size, int):
            raise TypeError(f"{name} should be of type int, got: {type(size).__name__}")
        if size <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool) or not 0 <= dropout <= 1:  # type: ignore[operator]
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        )
    if dropout > 0 and num_layers == 1:  # type: ignore[operator]
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,
        )
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


_SHARED = """

    Args:
        input_size: number of features of a step.
        hidden_size: number of features of a hidden state.
        num_layers: how many layers are stacked, each reading the hidden states of the one before.{nonlinearity}
        bias: whether there are ``b_ih`` and ``b_hh``.
        batch_first: the batch is the first dimension of input and output, not the second.
        dropout: probability with which outputs of all layers but the last are set to 0 in training.
        bidirectional: a second set of layers reads the sequence from its end; the outputs are put side by side.{more}

    Shape: see :meth:`forward`.

    Attributes:
        weight_ih_l{{k}}: ``({gates}hidden_size, size of the layer's input)``.
        weight_hh_l{{k}}: ``({gates}hidden_size, {hidden})``.
        bias_ih_l{{k}}, bias_hh_l{{k}}: ``({gates}hidden_size,)``.
    """


class RNN(RNNBase):
    __doc__ = "``h_t = tanh(w_ih x_t + b_ih + w_hh h_(t-1) + b_hh)`` over sequences (Elman, 1990)." + _SHARED.format(
        nonlinearity='\n        nonlinearity: ``"tanh"`` or ``"relu"``.', gates="", hidden="hidden_size", more=""
    )

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **unsupported: Any,
    ) -> None:
        _reject_projections("RNN", unsupported)
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )
        self.nonlinearity = nonlinearity


class GRU(RNNBase):
    __doc__ = "A gated recurrent unit over sequences (Cho et al., 2014), see :class:`GRUCell`." + _SHARED.format(
        nonlinearity="", gates="3 ", hidden="hidden_size", more=""
    )

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **unsupported: Any,
    ) -> None:
        _reject_projections("GRU", unsupported)
        super().__init__(
            "GRU",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )


class LSTM(RNNBase):
    __doc__ = (
        "A long short-term memory over sequences (Hochreiter and Schmidhuber, 1997), see :class:`LSTMCell`."
        + _SHARED.format(
            nonlinearity="",
            gates="4 ",
            hidden="proj_size or hidden_size",
            more="\n        proj_size: hidden states are projected to this size by ``weight_hr_l{k}`` (0: not at all).",
        )
    )

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            "LSTM",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape that the initial cell states must have."""
        return (*self.get_expected_hidden_size(input, batch_sizes)[:2], self.hidden_size)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        self.check_input(input, batch_sizes)
        size, cell_size = (
            self.get_expected_hidden_size(input, batch_sizes),
            self.get_expected_cell_size(input, batch_sizes),
        )
        self.check_hidden_size(hidden[0], size, "Expected hidden[0] size {}, got {}")
        self.check_hidden_size(hidden[1], cell_size, "Expected hidden[1] size {}, got {}")

    def _states_of(self, hx: Any) -> tuple[Tensor, ...]:
        if hx is None:
            return ()
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise RuntimeError(f"LSTM: expected hx to be a tuple (h_0, c_0), got {type(hx).__name__}")
        return tuple(hx)

    def _as_hx(self, states: tuple[Tensor, ...]) -> Any:
        return states

    def _zeros(self, input: Tensor, size: tuple[int, int, int]) -> tuple[Tensor, ...]:
        (hidden,) = super()._zeros(input, size)
        return hidden, super()._zeros(input, (*size[:2], self.hidden_size))[0] if self.proj_size else hidden


def _reject_projections(name: str, unsupported: dict[str, Any]) -> None:
    if "proj_size" in unsupported:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
    if unsupported:
        raise TypeError(f"{name}.__init__() got an unexpected keyword argument '{next(iter(unsupported))}'")
