"""The accelerator of this machine, whichever plugin brings it (``torch.accelerator``).

It is the first device type that is available beside ``cpu``: ``cuda`` where there is one, then the others by name.
Streams and counts of memory need a backend that has them; for those of CUDA alone see :mod:`flambeau.cuda`.
"""

from __future__ import annotations

from collections import OrderedDict
from types import TracebackType
from typing import Any

from flambeau import device_memory, devices, dispatch, streams
from flambeau.devices import device as device_class
from flambeau.streams import Stream

__all__ = [
    "current_accelerator", "current_device_idx", "current_device_index", "current_stream", "device_count",
    "device_index", "empty_cache", "empty_host_cache", "get_device_capability", "get_memory_info", "is_available",
    "max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved", "memory_stats",
    "reset_accumulated_memory_stats", "reset_peak_memory_stats", "set_device_idx", "set_device_index", "set_stream",
    "synchronize",
]  # fmt: skip


def current_accelerator(check_available: bool = False) -> device_class | None:
    """The accelerator as a device of no particular index, None where there is none.

    Args:
        check_available: accepted; what is not available is no accelerator here in either case.
    """
    found = _type()
    return None if found is None else device_class(found)


def is_available() -> bool:
    """Whether there is an accelerator."""
    return _type() is not None


def device_count() -> int:
    """How many devices of the accelerator's type there are."""
    found = _type()
    return 0 if found is None else dispatch.backends()[found][0].device_count()


# -- the current device ----------------------------------------------------------------------------------------------


def set_device_index(device: Any, /) -> None:
    """Choose the device that the accelerator's name alone stands for, in this thread; None and -1 choose none.

    Raises:
        RuntimeError: when there is no such device.
    """
    index = _index(device)
    if index < 0:
        return
    if index >= device_count():
        raise RuntimeError(f"set_device_index: there is no device {index}; the accelerator has {device_count()}")
    streams.use_device(device_class(streams.accelerator_type("set_device_index"), index))


def current_device_index() -> int:
    """The index of the device chosen, 0 before."""
    found = _type()
    return 0 if found is None else devices.current_index(found)


set_device_idx = set_device_index
current_device_idx = current_device_index


class device_index:
    """Choose a device inside a ``with`` block; None chooses none."""

    def __init__(self, device: int | None, /) -> None:
        self.index = device
        self._before = 0

    def __enter__(self) -> device_index:
        self._before = current_device_index()
        if self.index is not None:
            set_device_index(self.index)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.index is not None:
            set_device_index(self._before)


def synchronize(device: Any = None, /) -> None:
    """Wait until the accelerator has finished.

    Raises:
        RuntimeError: when there is none.
    """
    target = _ready(device, "synchronize")
    target.backend.synchronize(target)  # type: ignore[union-attr]


def get_device_capability(device: Any = None, /) -> dict[str, Any]:
    """What a device can do: ``{"supported_dtypes": {...}}``, the dtypes that it holds."""
    from flambeau.dtypes import DTYPES

    backend: Any = _ready(device, "get_device_capability").backend
    return {"supported_dtypes": {DTYPES[name] for name in backend.dtypes}}


# -- streams ---------------------------------------------------------------------------------------------------------


def current_stream(device: Any = None, /) -> Stream:
    """The stream that work for a device goes to, in this thread.

    Raises:
        NotImplementedError: when the accelerator has no streams.
    """
    where = _ready(device, "current_stream")
    raw = streams.runtime_of(where, "current_stream").current_stream(where.index or 0)
    found: Stream = Stream._of(where, raw, "current_stream")
    return found


def set_stream(stream: Stream) -> None:
    """Make a stream, and its device, the current one of this thread."""
    streams.make_current(stream)


# -- memory ----------------------------------------------------------------------------------------------------------


def memory_stats(device_index: Any = None, /) -> OrderedDict[str, Any]:
    """The counts of a device's memory by PyTorch's names, ``"allocated_bytes.all.peak"`` say.

    Raises:
        NotImplementedError: when the accelerator does not count its memory.
    """
    return device_memory.flat(streams.accelerator_type("memory_stats"), device_index, "memory_stats")


def memory_allocated(device_index: Any = None, /) -> int:
    """The bytes that tensors hold on a device."""
    return _figure("memory_allocated", device_index, "allocated_bytes.all.current")


def max_memory_allocated(device_index: Any = None, /) -> int:
    """The most bytes that tensors held on a device since the start, or :func:`reset_peak_memory_stats`."""
    return _figure("max_memory_allocated", device_index, "allocated_bytes.all.peak")


def memory_reserved(device_index: Any = None, /) -> int:
    """The bytes of a device that are held, by tensors or for reuse."""
    return _figure("memory_reserved", device_index, "reserved_bytes.all.current")


def max_memory_reserved(device_index: Any = None, /) -> int:
    """The most bytes of a device that were held, by tensors or for reuse."""
    return _figure("max_memory_reserved", device_index, "reserved_bytes.all.peak")


def reset_peak_memory_stats(device_index: Any = None, /) -> None:
    """Begin to look for the most memory anew."""
    name = "reset_peak_memory_stats"
    device_memory.reset_peaks(streams.accelerator_type(name), device_index, name)


def reset_accumulated_memory_stats(device_index: Any = None, /) -> None:
    """Begin to sum up what comes and goes anew."""
    name = "reset_accumulated_memory_stats"
    device_memory.reset_totals(streams.accelerator_type(name), device_index, name)


def get_memory_info(device_index: Any = None, /) -> tuple[int, int]:
    """The bytes of a device that are free, whoever uses the others, and those that there are."""
    return device_memory.info(streams.accelerator_type("get_memory_info"), device_index, "get_memory_info")


def empty_cache() -> None:
    """Give memory that is kept for reuse back to the devices."""
    device_memory.release(streams.accelerator_type("empty_cache"))


def empty_host_cache() -> None:
    """Give pinned memory that is kept for reuse back to the system."""
    device_memory.release(streams.accelerator_type("empty_host_cache"), host=True)


def _figure(op: str, device: Any, name: str) -> int:
    return device_memory.figure(streams.accelerator_type(op), device, op, name)


def _type() -> str | None:
    found = [name for name in dispatch.available() if name not in devices.SINGLE]
    return min(found, key=lambda name: (name != "cuda", name), default=None)


def _ready(device: Any, op: str) -> device_class:
    return streams.ready(device, streams.accelerator_type(op), op)


def _index(device: Any) -> int:
    if device is None:
        return -1
    if isinstance(device, int):
        return device
    named = device_class(device)
    return devices.current_index(named.type) if named.index is None else named.index
