"""Padding of one to three spatial dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.nn import functional as F
from flambeau.nn.modules.conv import ntuple
from flambeau.nn.modules.module import Module

if TYPE_CHECKING:
    from flambeau import Tensor


class _Pad(Module):
    """Pad the spatial dimensions.

    Args:
        padding: a number for all sides, or before and after for each dimension, beginning with the last:
            ``(left, right, top, bottom, front, back)``.

    Shape: ``(N, C, *)`` or ``(C, *)``.
    """

    _dims: int
    _mode: str

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = ntuple(padding, 2 * self._dims)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """Pad the spatial dimensions with a constant.

    Args:
        padding: a number for all sides, or before and after for each dimension, beginning with the last:
            ``(left, right, top, bottom, front, back)``.
        value: the constant.

    Shape: ``(N, C, *)`` or ``(C, *)``.
    """

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    __doc__ = _ConstantPad.__doc__
    _dims = 1


class ConstantPad2d(_ConstantPad):
    __doc__ = _ConstantPad.__doc__
    _dims = 2


class ConstantPad3d(_ConstantPad):
    __doc__ = _ConstantPad.__doc__
    _dims = 3


class ZeroPad1d(ConstantPad1d):
    """Pad the last dimension with zeros: ``(left, right)`` or a number for both."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Pad the last two dimensions with zeros: ``(left, right, top, bottom)`` or a number for all."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Pad the last three dimensions with zeros: ``(left, right, top, bottom, front, back)`` or a number for all."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ReflectionPad1d(_Pad):
    __doc__ = "Mirror the input at its edges, without repeating the edge.\n" + str(_Pad.__doc__)
    _dims = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    __doc__ = ReflectionPad1d.__doc__
    _dims = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    __doc__ = ReflectionPad1d.__doc__
    _dims = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    __doc__ = "Repeat the edges of the input.\n" + str(_Pad.__doc__)
    _dims = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    __doc__ = ReplicationPad1d.__doc__
    _dims = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    __doc__ = ReplicationPad1d.__doc__
    _dims = 3
    _mode = "replicate"


class _CircularPad(_Pad):
    """Continue the input with its other end.

    Args:
        padding: a number for all sides, or before and after for each dimension, beginning with the last:
            ``(left, right, top, bottom, front, back)``; at most the size of the dimension.

    Shape: ``(N, C, *)`` or ``(C, *)``.
    """

    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (self._dims + 1, self._dims + 2):
            raise ValueError(f"expected {self._dims + 1}D or {self._dims + 2}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPad):
    __doc__ = _CircularPad.__doc__
    _dims = 1


class CircularPad2d(_CircularPad):
    __doc__ = _CircularPad.__doc__
    _dims = 2


class CircularPad3d(_CircularPad):
    __doc__ = _CircularPad.__doc__
    _dims = 3
