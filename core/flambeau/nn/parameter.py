"""Tensors that a module registers by assignment: :class:`Parameter` and :class:`Buffer`."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor


class Parameter(Tensor):
    """A tensor that a module counts among its parameters once it is assigned to one (``torch.nn.Parameter``).

    It shares the memory of ``data`` and is a leaf of the tape.

    Args:
        data: the values; an empty float tensor when left out.
        requires_grad: whether gradients are collected for it; only floating-point and complex tensors can.
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = flambeau.empty(0)
        return Tensor._make_subclass(cls, data, requires_grad)

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        pass  # all is done in __new__

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        done = memo.get(id(self))
        if done is None:
            done = memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return done

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _rebuild_parameter, (type(self), self.detach(), self.requires_grad), self.__dict__ or None

    def __repr__(self, **options: Any) -> str:  # type: ignore[override]  # mypy drops the names of arguments here
        return "Parameter containing:\n" + super().__repr__(**options)


def _rebuild_parameter(cls: type[Parameter], data: Tensor, requires_grad: bool) -> Parameter:
    return cls(data, requires_grad)


class Buffer(Tensor):
    """A tensor that a module counts among its buffers once it is assigned to one (``torch.nn.Buffer``).

    Args:
        data: the values; an empty float tensor when left out.
        persistent: whether it is part of the module's ``state_dict``.
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        if data is None:
            data = flambeau.empty(0)
        buffer: Buffer = Tensor._make_subclass(cls, data, data.requires_grad)
        buffer.persistent = persistent
        return buffer

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        pass  # all is done in __new__

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        done = memo.get(id(self))
        if done is None:
            done = memo[id(self)] = type(self)(self.detach().clone(), persistent=self.persistent)
        return done

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _rebuild_buffer, (type(self), self.detach()), self.__dict__


def _rebuild_buffer(cls: type[Buffer], data: Tensor) -> Buffer:
    return cls(data)
