"""Convolutions and transposed convolutions over one to three spatial dimensions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import flambeau
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.linear import init_bias_
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def ntuple(value: Any, n: int) -> tuple[Any, ...]:
    """``value`` itself as a tuple where it is iterable, otherwise ``n`` times ``value``."""
    return tuple(value) if hasattr(value, "__iter__") else (value,) * n


class _ConvNd(Module):
    """What all convolutions have in common: arguments, their checks, parameters and repr."""

    in_channels: int
    out_channels: int
    weight: Parameter
    bias: Parameter | None
    _dims: int
    _function: Callable[..., Tensor]
    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups != 0:
            raise ValueError("out_channels must be divisible by groups")
        dims = self._dims
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = ntuple(kernel_size, dims)
        self.stride = ntuple(stride, dims)
        self.padding = padding if isinstance(padding, str) else ntuple(padding, dims)
        self.dilation = ntuple(dilation, dims)
        self.transposed = self._transposed
        self.output_padding = ntuple(output_padding, dims)
        self.groups = groups
        self.padding_mode = padding_mode
        self._check_padding()
        # What `F.pad` takes: the last dimension first, before and after.
        self._reversed_padding_repeated_twice = self._pads()
        channels = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        size = (channels[0], channels[1] // groups, *self.kernel_size)
        self.weight = Parameter(flambeau.empty(size, device=device, dtype=dtype))
        self.register_parameter(
            "bias", Parameter(flambeau.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def _check_padding(self) -> None:
        if isinstance(self.padding, str):
            if self.padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {self.padding!r}, should be one of 'same', 'valid'")
            if self.padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if self.padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {', '.join(map(repr, _PADDING_MODES))}, "
                f"but got padding_mode='{self.padding_mode}'"
            )

    def _pads(self) -> list[int]:
        pads = []
        for i in reversed(range(self._dims)):
            if self.padding == "same":
                total = self.dilation[i] * (self.kernel_size[i] - 1)
                pads += [total // 2, total - total // 2]
            else:
                pads += [0, 0] if self.padding == "valid" else [self.padding[i]] * 2
        return pads

    def reset_parameters(self) -> None:
        """Draw weight and bias anew from U(-k, k), ``k = 1 / sqrt(fan in)``."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        init_bias_(self.weight, self.bias)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.padding != (0,) * len(self.padding):
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * self._dims:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * self._dims:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Conv(_ConvNd):
    """A convolution (as in all of deep learning, a cross-correlation).

    Args:
        in_channels, out_channels: numbers of channels.
        kernel_size: size of the window, a number or one a dimension (as for the three that follow).
        stride: step of the window.
        padding: added on both sides; or ``"valid"`` for none, ``"same"`` for an output of the input's size.
        dilation: distance between the elements of the window.
        groups: number of blocks of channels that are convolved by themselves.
        bias: whether a bias is added.
        padding_mode: what is put there: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Shape: ``(N, in_channels, *)`` or ``(in_channels, *)`` -> the same with ``out_channels`` and
    ``floor((size + 2 padding - dilation (kernel_size - 1) - 1) / stride + 1)`` a dimension.

    Attributes:
        weight: ``(out_channels, in_channels / groups, *kernel_size)``.
        bias: ``(out_channels,)``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            0,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * self._dims
        return self._function(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Conv):
    __doc__ = _Conv.__doc__
    _dims = 1
    _function = staticmethod(F.conv1d)


class Conv2d(_Conv):
    __doc__ = _Conv.__doc__
    _dims = 2
    _function = staticmethod(F.conv2d)


class Conv3d(_Conv):
    __doc__ = _Conv.__doc__
    _dims = 3
    _function = staticmethod(F.conv3d)


class _ConvTranspose(_ConvNd):
    """A transposed convolution: the gradient of a convolution with respect to its input.

    Args:
        in_channels, out_channels: numbers of channels.
        kernel_size, stride, padding, dilation: of the convolution whose gradient this is.
        output_padding: added to one side of the output's size, to choose among the sizes that are possible.
        groups: number of blocks of channels that are treated by themselves.
        bias: whether a bias is added.
        padding_mode: only ``"zeros"``.

    Shape: ``(N, in_channels, *)`` or ``(in_channels, *)`` -> the same with ``out_channels`` and
    ``(size - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1`` a dimension.

    Attributes:
        weight: ``(in_channels, out_channels / groups, *kernel_size)``.
        bias: ``(out_channels,)``.
    """

    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        padding = ntuple(padding, self._dims)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        output_padding = self.output_padding if output_size is None else self._padding_for(input, list(output_size))
        return self._function(
            input, self.weight, self.bias, self.stride, self.padding, output_padding, self.groups, self.dilation
        )

    def _padding_for(self, input: Tensor, output_size: list[int]) -> tuple[int, ...]:
        """The output padding that gives ``output_size``."""
        dims = self._dims
        leading = input.dim() - dims
        if len(output_size) == leading + dims:
            output_size = output_size[leading:]
        if len(output_size) != dims:
            raise ValueError(
                f"ConvTranspose{dims}D: for {input.dim()}D input, output_size must have {dims} or {leading + dims} "
                f"elements (got {len(output_size)})"
            )
        least = [
            (input.shape[leading + d] - 1) * self.stride[d]
            - 2 * self.padding[d]
            + self.dilation[d] * (self.kernel_size[d] - 1)
            + 1
            for d in range(dims)
        ]
        most = [size + self.stride[d] - 1 for d, size in enumerate(least)]
        if any(not low <= size <= high for low, size, high in zip(least, output_size, most, strict=True)):
            raise ValueError(
                f"requested an output size of {output_size}, but valid sizes range from {least} to {most} "
                f"(for an input of {input.shape[2:]})"
            )
        return tuple(size - low for size, low in zip(output_size, least, strict=True))


class ConvTranspose1d(_ConvTranspose):
    __doc__ = _ConvTranspose.__doc__
    _dims = 1
    _function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    __doc__ = _ConvTranspose.__doc__
    _dims = 2
    _function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    __doc__ = _ConvTranspose.__doc__
    _dims = 3
    _function = staticmethod(F.conv_transpose3d)
