"""Pooling over one to three spatial dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.nn import functional as F
from flambeau.nn.modules.conv import ntuple
from flambeau.nn.modules.module import Module

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau import Tensor


class _MaxPool(Module):
    """The largest value in each window.

    Args:
        kernel_size: size of the window, a number or one a dimension (as for the three that follow).
        stride: step of the window; ``kernel_size`` when left out.
        padding: minus infinity added on both sides, at most half the window.
        dilation: distance between the elements of the window.
        return_indices: also return where the largest values are, as flat indices into the spatial dimensions.
        ceil_mode: round the output's size up instead of down.

    Shape: ``(N, C, *)`` or ``(C, *)``.
    """

    _function: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        return self._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
            f"ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    __doc__ = _MaxPool.__doc__
    _function = staticmethod(F.max_pool3d)


class AvgPool1d(Module):
    """The mean of each window of an input ``(N, C, L)`` or ``(C, L)``.

    Args:
        kernel_size: size of the window.
        stride: step of the window; ``kernel_size`` when left out.
        padding: zeros added on both sides.
        ceil_mode: round the output's size up instead of down.
        count_include_pad: whether the zeros count in the mean.
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = ntuple(kernel_size, 1)
        self.stride = ntuple(stride if stride is not None else kernel_size, 1)
        self.padding = ntuple(padding, 1)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    """The mean of each window.

    Args:
        kernel_size: size of the window, a number or one a dimension (as for the two that follow).
        stride: step of the window; ``kernel_size`` when left out.
        padding: zeros added on both sides.
        ceil_mode: round the output's size up instead of down.
        count_include_pad: whether the zeros count in the mean.
        divisor_override: divide by this number instead of the window's size.

    Shape: ``(N, C, *)`` or ``(C, *)``.
    """

    _function: Callable[..., Any]

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return self._function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    __doc__ = _AvgPool.__doc__
    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    __doc__ = _AvgPool.__doc__
    _function = staticmethod(F.avg_pool3d)


class _AdaptiveAvgPool(Module):
    """The means of as many windows as give an output of the size asked for.

    Args:
        output_size: the output's size, a number or one a dimension; None keeps the input's.

    Shape: ``(N, C, *)`` or ``(C, *)`` -> the same with ``output_size`` in the place of ``*``.
    """

    _function: Callable[..., Any]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    __doc__ = _AdaptiveAvgPool.__doc__
    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    __doc__ = _AdaptiveAvgPool.__doc__
    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    __doc__ = _AdaptiveAvgPool.__doc__
    _function = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMaxPool(Module):
    """The largest values of as many windows as give an output of the size asked for.

    Args:
        output_size: the output's size, a number or one a dimension; None keeps the input's.
        return_indices: also return where the largest values are, as flat indices into the spatial dimensions.

    Shape: ``(N, C, *)`` or ``(C, *)`` -> the same with ``output_size`` in the place of ``*``.
    """

    _function: Callable[..., Any]

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return self._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    __doc__ = _AdaptiveMaxPool.__doc__
    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    __doc__ = _AdaptiveMaxPool.__doc__
    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    __doc__ = _AdaptiveMaxPool.__doc__
    _function = staticmethod(F.adaptive_max_pool3d)


class _LPPool(Module):
    """``(sum of x^p over each window) ** (1 / p)``.

    Args:
        norm_type: p.
        kernel_size: size of the window, a number or one a dimension (as for the next).
        stride: step of the window; ``kernel_size`` when left out.
        ceil_mode: round the output's size up instead of down.

    Shape: ``(N, C, *)`` or ``(C, *)``.
    """

    _function: Callable[..., Any]

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return self._function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    __doc__ = _LPPool.__doc__
    _function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    __doc__ = _LPPool.__doc__
    _function = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    __doc__ = _LPPool.__doc__
    _function = staticmethod(F.lp_pool3d)


class _MaxUnpool(Module):
    """Put values where :class:`MaxPool` found the largest ones, and zeros elsewhere.

    Args:
        kernel_size, stride, padding: of the pooling.

    Shape: values and indices ``(N, C, *)`` or ``(C, *)``; ``output_size`` chooses among the sizes that the pooling
    takes to this one.
    """

    _dims: int
    _function: Callable[..., Any]

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = ntuple(kernel_size, self._dims)
        self.stride = ntuple(stride if stride is not None else kernel_size, self._dims)
        self.padding = ntuple(padding, self._dims)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        return self._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    _dims = 1
    _function = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    _dims = 2
    _function = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    __doc__ = _MaxUnpool.__doc__
    _dims = 3
    _function = staticmethod(F.max_unpool3d)
