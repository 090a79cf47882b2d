"""Streams and events, of any device type whose backend has them (``torch.Stream``, ``torch.Event``).

A stream is a queue: a device does what it is given there one after the other, beside what it is given on other streams,
while Python goes on. An event is a place in such a queue, for others to wait for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from flambeau import devices, dispatch
from flambeau.device_runtime import DeviceRuntime
from flambeau.devices import device as Device


def ready(device: Any, device_type: str, op: str) -> Device:
    """The device of a type that an argument means: a device, its name, its index, None for the current one.

    Raises:
        ValueError: when it is of another type.
        RuntimeError: when there is no such device.
    """
    if device is None or isinstance(device, int):
        target = Device(device_type, device)
    else:
        target = Device(device)
    if target.type != device_type:
        raise ValueError(f"{op}: expected a device of the type {device_type!r}, got {str(target)!r}")
    return dispatch.load(target)


def runtime_of(target: Device, op: str) -> DeviceRuntime:
    """What the backend of a device has beside kernels.

    Raises:
        NotImplementedError: when it has nothing.
    """
    backend: Any = dispatch.load(target).backend
    if backend.runtime is None:
        raise NotImplementedError(f"{op}: the backend for {target.type!r} has nothing of the kind, kernels only")
    runtime: DeviceRuntime = backend.runtime
    return runtime


def use_device(target: Device) -> None:
    """Make a device, which has an index, the current one of its type in this thread."""
    target = dispatch.load(target)
    devices.set_current_index(target.type, target.index or 0)
    if target.backend.runtime is not None:  # type: ignore[union-attr]
        target.backend.runtime.use_device(target.index or 0)  # type: ignore[union-attr]


@contextlib.contextmanager
def device_in_use(target: Device) -> Iterator[None]:
    """A device as the current one of its type, inside a ``with`` block."""
    before = Device(target.type, devices.current_index(target.type))
    use_device(target)
    try:
        yield
    finally:
        use_device(before)


def accelerator_type(op: str) -> str:
    """The device type of the accelerator.

    Raises:
        RuntimeError: when there is none.
    """
    from flambeau import accelerator

    found = accelerator.current_accelerator()
    if found is None:
        raise RuntimeError(f"{op}: there is no accelerator here; available are: {', '.join(dispatch.available())}")
    return found.type


class Stream:
    """A queue of work for a device (``torch.Stream``). In a ``with`` block, what is done goes there.

    Args:
        device: where; the accelerator's current device when None.
        priority: streams of lower numbers go first.

    Raises:
        NotImplementedError: when the device type has no streams.
    """

    # Two objects may stand for one stream, so that equality is that of the queues.
    __slots__ = ("__weakref__", "_before", "_raw", "_runtime", "device")

    _type: str | None = None
    device: Device
    _runtime: DeviceRuntime
    _raw: Any
    _before: list[Any]

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        name = type(self).__name__
        where = ready(device, self._type or _type_of(device, name), name)
        runtime = runtime_of(where, name)
        self._take(where, runtime, runtime.new_stream(where.index or 0, priority))

    @classmethod
    def _of(cls, where: Device, raw: Any, op: str) -> Any:
        """The stream that a backend's object is."""
        made = object.__new__(cls)
        made._take(where, runtime_of(where, op), raw)
        return made

    def _take(self, where: Device, runtime: DeviceRuntime, raw: Any) -> None:
        self.device = where
        self._runtime = runtime
        self._raw = raw
        self._before = []

    @property
    def stream_id(self) -> int:
        """The number of the stream: its address."""
        return self._runtime.stream_pointer(self._raw)

    native_handle = stream_id

    @property
    def device_index(self) -> int:
        """The index of the device."""
        return self.device.index or 0

    @property
    def priority(self) -> int:
        """The priority."""
        return self._runtime.stream_priority(self._raw)

    def query(self) -> bool:
        """Whether all of its work is done."""
        return self._runtime.stream_done(self._raw)

    def synchronize(self) -> None:
        """Wait until all of its work is done."""
        self._runtime.wait_for_stream(self._raw)

    def record_event(self, event: Any = None) -> Any:
        """An event that stands for the work so far; a new one unless given."""
        if event is None:
            event = self._new_event()
        event.record(self)
        return event

    def _new_event(self) -> Any:
        return Event(self.device)

    def wait_event(self, event: Any) -> None:
        """Have the work from here on wait for an event; the host goes on. One never recorded holds nothing up."""
        if event._raw is not None:
            self._runtime.stream_waits(self._raw, event._raw)

    def wait_stream(self, stream: Any) -> None:
        """Have the work from here on wait for what another stream has been given so far; the host goes on."""
        self.wait_event(stream.record_event())

    def is_capturing(self) -> bool:
        """Whether its work is noted for a graph."""
        return self._runtime.is_capturing(self._raw)

    def __enter__(self) -> Any:
        where = self.device
        current = devices.current_index(where.type)
        self._before.append((current, self._runtime.current_stream(where.index or 0)))
        make_current(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        index, raw = self._before.pop()
        self._runtime.use_stream(self.device.index or 0, raw)
        use_device(Device(self.device.type, index))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self.device, self.stream_id) == (other.device, other.stream_id)

    def __hash__(self) -> int:
        return hash((self.device, self.stream_id))

    def __repr__(self) -> str:
        return f"<{_title(self)} device={self.device} stream_id={self.stream_id:#x}>"


def make_current(stream: Stream) -> None:
    """Make a stream, and its device, the current ones of this thread."""
    use_device(stream.device)
    stream._runtime.use_stream(stream.device_index, stream._raw)


class Event:
    """A place in a stream's queue, to wait for and to take times with (``torch.Event``).

    Args:
        device: where; the accelerator's current device when None, and the stream's when it is recorded.
        enable_timing: keep the time, for :meth:`elapsed_time`.
        blocking: who waits sleeps, instead of asking all the time.
        interprocess: other processes may see it.

    Raises:
        NotImplementedError: when the device type has no events.
    """

    __slots__ = ("__weakref__", "_options", "_raw", "_runtime", "device")

    _type: str | None = None

    def __init__(
        self, device: Any = None, *, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        name = type(self).__name__
        self.device: Device = ready(device, self._type or _type_of(device, name), name)
        self._runtime = runtime_of(self.device, name)
        self._options = (enable_timing, blocking, interprocess)
        # Made when it is recorded: until then nobody knows on which device.
        self._raw: Any = None

    @property
    def event_id(self) -> int:
        """The number of the event: its address, 0 before it is recorded."""
        return 0 if self._raw is None else self._runtime.event_pointer(self._raw)

    def record(self, stream: Any = None) -> None:
        """Have it stand for what a stream, the current one unless given, has been given so far.

        Raises:
            RuntimeError: when it has been recorded on another device.
        """
        if stream is None:
            # Of the current device, as PyTorch has it.
            where = self.device if self._raw is not None else dispatch.load(Device(self.device.type))
            raw = self._runtime.current_stream(where.index or 0)
        else:
            where, raw = stream.device, stream._raw
        if self._raw is None:
            self.device = where
            with device_in_use(where):
                self._raw = self._runtime.new_event(where.index or 0, *self._options)
        elif where is not self.device:
            raise RuntimeError(f"record: the event belongs to {self.device}, and the stream to {where}")
        self._runtime.record(self._raw, raw)

    def wait(self, stream: Any = None) -> None:
        """Have what a stream, the current one unless given, is given from here on wait for it; the host goes on."""
        if self._raw is not None:
            raw = (
                self._runtime.current_stream(devices.current_index(self.device.type)) if stream is None else stream._raw
            )
            self._runtime.stream_waits(raw, self._raw)

    def query(self) -> bool:
        """Whether the work that it stands for is done; so it is before it is recorded."""
        return self._raw is None or self._runtime.event_done(self._raw)

    def synchronize(self) -> None:
        """Wait until the work that it stands for is done."""
        if self._raw is not None:
            self._runtime.wait_for_event(self._raw)

    def elapsed_time(self, end_event: Any) -> float:
        """The milliseconds from this event to a later one.

        Raises:
            ValueError: when one of them keeps no time or was not recorded.
        """
        for which, event in (("this event", self), ("end_event", end_event)):
            if not event._options[0]:
                raise ValueError(f"elapsed_time: {which} keeps no time; make it with enable_timing=True")
            if event._raw is None:
                raise ValueError(f"elapsed_time: {which} has not been recorded")
        return self._runtime.elapsed(self._raw, end_event._raw)

    def __repr__(self) -> str:
        return f"<{_title(self)} device={self.device} event_id={self.event_id:#x}>"


def _title(value: Stream | Event) -> str:
    return f"flambeau.{value._type + '.' if value._type else ''}{type(value).__name__}"


def _type_of(device: Any, op: str) -> str:
    """The device type that an argument names; the accelerator's where it names none."""
    return accelerator_type(op) if device is None or isinstance(device, int) else Device(device).type
