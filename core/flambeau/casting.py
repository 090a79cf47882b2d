"""Tensors with another dtype or on another device: ``Tensor.to`` and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.devices import device
from flambeau.dispatch import load
from flambeau.dtypes import dtype
from flambeau.layouts import formatted, memory_format
from flambeau.tensor import Tensor


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor on another device or with another dtype; itself where nothing changes.

    ``to(dtype)``, ``to(device)``, ``to(device, dtype)`` or ``to(other)``; ``copy=True`` copies in any case.
    ``memory_format`` lays the elements out as :meth:`contiguous` does, ``non_blocking`` is accepted.
    """
    kind = kwargs.get("dtype")
    where = kwargs.get("device")
    if isinstance(kind, dtype) is False and kind is not None:
        raise TypeError(f"to: argument 'dtype' must be flambeau.dtype, not {kind.__class__.__name__}")
    format = kwargs.get("memory_format")
    for argument in args:
        if isinstance(argument, dtype):
            kind = argument
        elif isinstance(argument, (str, device)):
            where = argument
        elif isinstance(argument, Tensor):
            kind, where = argument._dtype, argument._device
        elif isinstance(argument, int) and not isinstance(argument, bool):
            where = argument
        elif isinstance(argument, memory_format):
            format = argument
        elif argument is not None and not isinstance(argument, bool):
            raise TypeError(f"to: expected a dtype, a device or a Tensor, not {argument.__class__.__name__}")
    result = self
    if kind is not None and kind is not self._dtype:
        result = result.to_dtype(kind)
    if where is not None:
        where = load(device(where))
        if where is not self._device:
            from flambeau.conversion import transfer

            result = transfer(result, where, self._device)
    if result is self and (kwargs.get("copy") or any(a is True for a in args[2:])):
        result = self.clone()
    return result if format is None else formatted("to", result, format, self)


def cpu(self: Tensor) -> Tensor:
    """The tensor on the CPU."""
    return self.to("cpu")


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """The tensor on a CUDA device (the first, unless told otherwise)."""
    return self.to("cuda" if device is None else device)


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """The tensor itself: no backend keeps pinned memory."""
    return self


def type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The name of the tensor's type, or the tensor cast to ``dtype``."""
    if dtype is None:
        return f"flambeau.{TYPE_NAMES[self._dtype.name]}Tensor"
    if isinstance(dtype, str):
        wanted = dtype.rpartition(".")[2].removesuffix("Tensor")
        dtype = next((dtypes.DTYPES[name] for name, found in TYPE_NAMES.items() if found == wanted), None)
        if dtype is None:
            raise ValueError(f"type: invalid type: {wanted + 'Tensor'!r}")
    return self.to(getattr(dtype, "dtype", dtype))


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor with the dtype and on the device of ``other``."""
    return self.to(other)


TYPE_NAMES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "float16": "Half", "bfloat16": "BFloat16", "float32": "Float", "float64": "Double",
    "complex64": "ComplexFloat", "complex128": "ComplexDouble",
    "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64", "float8_e4m3fn": "Float8_e4m3fn",
    "float8_e4m3fnuz": "Float8_e4m3fnuz", "float8_e5m2": "Float8_e5m2", "float8_e5m2fnuz": "Float8_e5m2fnuz",
}  # fmt: skip


def _cast_method(name: str, target: dtype) -> Callable[[Tensor], Tensor]:
    def cast(self: Tensor, memory_format: Any = None) -> Tensor:
        result = self if self._dtype is target else self.to_dtype(target)
        return result if memory_format is None else formatted(name, result, memory_format, self)

    cast.__name__ = cast.__qualname__ = name
    cast.__doc__ = f"The tensor cast to {target.name}."
    return cast


CASTS = {
    name: _cast_method(name, target)
    for name, target in {
    "bool": dtypes.bool_, "byte": dtypes.uint8, "char": dtypes.int8, "short": dtypes.int16, "int": dtypes.int32,
    "long": dtypes.int64, "half": dtypes.float16, "bfloat16": dtypes.bfloat16, "float": dtypes.float32,
    "double": dtypes.float64, "cfloat": dtypes.complex64, "cdouble": dtypes.complex128,
}.items()
}  # fmt: skip
