"""Tensors with another dtype or on another device: ``Tensor.to`` and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau import dispatch, dtypes
from flambeau.devices import device
from flambeau.dispatch import load
from flambeau.dtypes import dtype
from flambeau.layouts import formatted, memory_format
from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from flambeau.device_runtime import DeviceRuntime


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor on another device or with another dtype; itself where nothing changes.

    ``to(dtype)``, ``to(device)``, ``to(device, dtype)`` or ``to(other)``, then ``non_blocking`` and ``copy``.
    ``copy=True`` copies in any case; ``memory_format`` lays the elements out as :meth:`contiguous` does.

    With ``non_blocking=True`` a copy to a device from pinned memory (:meth:`pin_memory`) is ordered on the device's
    current stream and returns at once; one to the host does so too, into pinned memory, whose values are right when the
    stream has been waited for.
    """
    kind = kwargs.get("dtype")
    where = kwargs.get("device")
    if isinstance(kind, dtype) is False and kind is not None:
        raise TypeError(f"to: argument 'dtype' must be flambeau.dtype, not {kind.__class__.__name__}")
    format = kwargs.get("memory_format")
    switches = [argument for argument in args if argument is True or argument is False]
    non_blocking = kwargs.get("non_blocking") or switches[:1] == [True]
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

            result = transfer(result, where, self._device, non_blocking)
    if result is self and (kwargs.get("copy") or switches[1:] == [True]):
        result = self.clone()
    return result if format is None else formatted("to", result, format, self)


def cpu(self: Tensor) -> Tensor:
    """The tensor on the CPU."""
    return self.to("cpu")


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """The tensor on a CUDA device, the current one unless told otherwise; ``non_blocking`` as in :meth:`to`.

    Raises:
        RuntimeError: that says what is missing, where there is no CUDA device.
    """
    return self.to("cuda" if device is None else device, non_blocking=non_blocking)


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """The tensor in memory that a device reads by itself, so that copies need not wait; itself where it is already.

    Args:
        device: the device that will read it; the accelerator's when None.

    Raises:
        RuntimeError: when the tensor is not on the CPU, and where no device reads the host's memory.
    """
    if self._device.type != "cpu":
        raise RuntimeError(f"pin_memory: only tensors on the CPU can be pinned, and this one is on {self._device}")
    runtime = pinning_runtime(device)
    if runtime is None:
        raise RuntimeError(
            "pin_memory: no device here reads pinned memory; available are: " + ", ".join(dispatch.available())
        )
    host = self._backend.to_numpy(self._array)
    if runtime.is_pinned(host):
        return self
    from flambeau.conversion import from_numpy

    return from_numpy(runtime.pin(host))


def is_pinned(self: Tensor, device: Any = None) -> bool:
    """Whether the memory is pinned (:meth:`pin_memory`)."""
    runtime = pinning_runtime(device) if self._device.type == "cpu" else None
    return runtime is not None and runtime.is_pinned(self._backend.to_numpy(self._array))


def pinning_runtime(wanted: Any = None) -> DeviceRuntime | None:
    """What pins memory for a device, the accelerator unless given; None where there is no such thing."""
    from flambeau import accelerator

    found = accelerator.current_accelerator() if wanted is None else device(wanted)
    if found is None or (wanted is not None and found.type not in dispatch.available()):
        return None
    runtime = load(found).backend.runtime  # type: ignore[union-attr]
    return runtime if runtime is not None and runtime.pins else None


def record_stream(self: Tensor, stream: Any) -> None:
    """Say that a stream other than the one it was made on uses the tensor.

    When nobody holds it any more, its memory is not used again before what the stream has been given so far is done.
    Does nothing for tensors of devices without streams.
    """
    runtime = self._backend.runtime
    if runtime is not None:
        runtime.keep_for(self._array, stream._raw)


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
