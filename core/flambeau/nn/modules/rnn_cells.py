"""Single steps of recurrent layers."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.call import TENSORS


class RNNCellBase(Module):
    """What the cells have in common: arguments and parameters.

    Attributes:
        weight_ih, weight_hh: ``(chunks * hidden_size, input_size)`` and ``(chunks * hidden_size, hidden_size)``.
        bias_ih, bias_hh: ``(chunks * hidden_size,)``. All are drawn from U(-k, k), ``k = 1 / sqrt(hidden_size)``.
    """

    bias_ih: Parameter | None
    bias_hh: Parameter | None

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        factory = {"device": device, "dtype": dtype}
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(flambeau.empty((rows, input_size), **factory))
        self.weight_hh = Parameter(flambeau.empty((rows, hidden_size), **factory))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(flambeau.empty(rows, **factory)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        if self.bias is not True:
            parts.append(f"bias={self.bias}")
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            parts.append(f"nonlinearity={self.nonlinearity}")
        return ", ".join(parts)

    def _prepared(self, input: Tensor, states: tuple[Tensor, ...] | None, count: int = 1) -> list[Tensor]:
        """Input and states with a batch dimension; raise where they do not fit."""
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        batched = input if input.dim() == 2 else input.unsqueeze(0)
        if batched.shape[1] != self.input_size:
            raise RuntimeError(
                f"{name}: input has inconsistent input_size: got {batched.shape[1]} expected {self.input_size}"
            )
        if states is None:
            size = (batched.shape[0], self.hidden_size)
            zeros = flambeau.zeros(size, dtype=input.dtype, device=input.device)
            return [batched, *[zeros] * count]
        prepared = [batched]
        for place, state in enumerate(states):
            which = "hidden" if count == 1 else f"hx[{place}]"
            if state.dim() not in (1, 2):
                raise ValueError(f"{name}: Expected {which} to be 1D or 2D, got {state.dim()}D instead")
            state = state if input.dim() == 2 else state.reshape(1, -1)
            if tuple(state.shape) != (batched.shape[0], self.hidden_size):
                raise RuntimeError(
                    f"{name}: expected {which} of shape {[batched.shape[0], self.hidden_size]}, got {list(state.shape)}"
                )
            prepared.append(state)
        return prepared


class RNNCell(RNNCellBase):
    """One step ``h' = tanh(w_ih x + b_ih + w_hh h + b_hh)``.

    Args:
        input_size, hidden_size: numbers of features of x and h.
        bias: whether there are ``b_ih`` and ``b_hh``.
        nonlinearity: ``"tanh"`` or ``"relu"``.

    Shape: ``(N, input_size)`` and ``(N, hidden_size)``, or without the N; h is 0 when left out.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        x, h = self._prepared(input, None if hx is None else (hx,))
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        result = TENSORS.rnn_layer(x, h, *weights, (x.shape[0],), False, self.nonlinearity)
        return result if input.dim() == 2 else result.squeeze(0)


class LSTMCell(RNNCellBase):
    """One step of a long short-term memory.

    ``i, f, g, o = s(a_i), s(a_f), tanh(a_g), s(a_o)`` with ``a = w_ih x + b_ih + w_hh h + b_hh`` and the sigmoid s;
    ``c' = f c + i g``; ``h' = o tanh(c')``. The rows of the weights are in the order i, f, g, o.

    Args:
        input_size, hidden_size: numbers of features of x, and of h and c.
        bias: whether there are ``b_ih`` and ``b_hh``.

    Shape: ``(N, input_size)`` and a tuple of h and c ``(N, hidden_size)``, or all without the N; h and c are 0 when
    left out. The result is the tuple of h' and c'.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        x, h, c = self._prepared(input, hx, 2)
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        hidden, cell, _ = TENSORS.lstm_layer(x, h, c, *weights, None, (x.shape[0],), False)
        return (hidden, cell) if input.dim() == 2 else (hidden.squeeze(0), cell.squeeze(0))


class GRUCell(RNNCellBase):
    """One step of a gated recurrent unit.

    With ``a = w_ih x + b_ih``, ``b = w_hh h + b_hh`` and the sigmoid s: ``r, z = s(a_r + b_r), s(a_z + b_z)``;
    ``n = tanh(a_n + r b_n)``; ``h' = (1 - z) n + z h``. The rows of the weights are in the order r, z, n.

    Args:
        input_size, hidden_size: numbers of features of x and h.
        bias: whether there are ``b_ih`` and ``b_hh``.

    Shape: ``(N, input_size)`` and ``(N, hidden_size)``, or without the N; h is 0 when left out.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        x, h = self._prepared(input, None if hx is None else (hx,))
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        result = TENSORS.gru_layer(x, h, *weights, (x.shape[0],), False)
        return result if input.dim() == 2 else result.squeeze(0)
