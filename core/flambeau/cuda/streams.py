"""Streams and events of CUDA devices (``torch.cuda.streams``)."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from flambeau import dispatch, streams
from flambeau.cuda._devices import CUDA
from flambeau.devices import device as Device

__all__ = [
    "Event", "ExternalStream", "Stream", "StreamContext", "current_stream", "default_stream",
    "get_stream_from_external", "set_stream", "stream",
]  # fmt: skip


class Stream(streams.Stream):
    """A queue of work for a CUDA device (``torch.cuda.Stream``).

    Args:
        device: where; the current device when None.
        priority: streams of lower numbers go first.
    """

    __slots__ = ()
    _type = CUDA

    @property
    def cuda_stream(self) -> int:
        """The address of the ``cudaStream_t``."""
        return self.stream_id

    @classmethod
    def priority_range(cls) -> tuple[int, int]:
        """The least and the greatest priority, ``(0, -5)`` say."""
        return streams.runtime_of(Device(CUDA), "priority_range").priority_range()

    def _new_event(self) -> Event:
        return Event()

    def __cuda_stream__(self) -> tuple[int, int]:
        """The version of the protocol between libraries, 0, and the address of the stream."""
        return 0, self.stream_id


class ExternalStream(Stream):
    """A stream that another library has made, which has to keep it while it is used.

    Args:
        stream_ptr: the address of its ``cudaStream_t``.
        device: where it is; the current device when None.
    """

    __slots__ = ()

    def __init__(self, stream_ptr: int, device: Any = None) -> None:
        where = streams.ready(device, CUDA, "ExternalStream")
        runtime = streams.runtime_of(where, "ExternalStream")
        self._take(where, runtime, runtime.external_stream(where.index or 0, stream_ptr))


class Event(streams.Event):
    """A place in a stream's queue, to wait for and to take times with (``torch.cuda.Event``).

    Args:
        enable_timing: keep the time, for :meth:`elapsed_time`.
        blocking: who waits sleeps, instead of asking all the time.
        interprocess: other processes may see it.
        external: in a graph, wait for what is outside of it.

    Raises:
        NotImplementedError: for ``external``.
    """

    __slots__ = ()
    _type = CUDA

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False, external: bool = False
    ) -> None:
        if external:
            raise NotImplementedError(
                "Event: graphs do not wait for events outside of them; external=True is not there"
            )
        super().__init__(enable_timing=enable_timing, blocking=blocking, interprocess=interprocess)

    @property
    def cuda_event(self) -> int:
        """The address of the ``cudaEvent_t``, 0 before it is recorded."""
        return self.event_id


class StreamContext:
    """A stream as the current one inside a ``with`` block; None changes nothing."""

    def __init__(self, stream: streams.Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        if self.stream is not None:
            self.stream.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.stream is not None:
            self.stream.__exit__(kind, error, trace)


def stream(stream: streams.Stream | None) -> StreamContext:
    """A context in which a stream, and its device, are the current ones; None changes nothing."""
    return StreamContext(stream)


def set_stream(stream: streams.Stream | None) -> None:
    """Make a stream, and its device, the current one of this thread."""
    if stream is not None:
        streams.make_current(stream)


def current_stream(device: Any = None) -> Stream:
    """The stream that work for a device goes to, in this thread."""
    where = streams.ready(device, CUDA, "current_stream")
    return _of(where, streams.runtime_of(where, "current_stream").current_stream(where.index or 0))


def default_stream(device: Any = None) -> Stream:
    """The stream that is current until another is chosen."""
    where = streams.ready(device, CUDA, "default_stream")
    return _of(where, streams.runtime_of(where, "default_stream").default_stream(where.index or 0))


def get_stream_from_external(data_ptr: int, device: Any = None) -> Stream:
    """The stream at an address that another library gave, see :class:`ExternalStream`."""
    return ExternalStream(data_ptr, device)


def _of(where: Device, raw: Any) -> Stream:
    found: Stream = Stream._of(dispatch.load(where), raw, "Stream")
    return found
