"""Recording: what stands around kernels and nodes while a profile is active, and ranges that a program names."""

from __future__ import annotations

import functools
import math
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from flambeau.autograd.engine import watch_nodes
from flambeau.autograd.node import Node
from flambeau.dispatch import Backend, Kernel, memory_of, stand_around, step_aside
from flambeau.profiler.events import Event
from flambeau.utils.flop_counter import flops_of

_now = time.perf_counter_ns
_STACK_DEPTH = 8


class _Open:
    """A call that has begun: its event, and the arrays that calls inside it have handed back."""

    __slots__ = ("event", "inner", "returned")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.inner = 0  # nanoseconds that calls inside took
        self.returned: set[int] = set()


class _Thread(threading.local):
    def __init__(self) -> None:
        self.open: list[_Open] = []


class Recorder:
    """Takes down what runs between :meth:`start` and :meth:`stop`, in all threads.

    Args:
        shapes, memory, stack, flops: what to take down beside names and times.
    """

    def __init__(self, *, shapes: bool = False, memory: bool = False, stack: bool = False, flops: bool = False) -> None:
        self.shapes, self.memory, self.stack, self.flops = shapes, memory, stack, flops
        self.events: list[Event] = []
        self._thread = _Thread()

    def start(self) -> None:
        """Begin; there is one recorder at a time.

        Raises:
            RuntimeError: when another one records.
        """
        global _recording
        with _lock:
            if _recording is not None:
                raise RuntimeError("profiler: a profile is active already; profiles cannot be nested")
            _recording = self
            stand_around(self._wrap)
            watch_nodes(self._node)

    def stop(self) -> None:
        """End. What is running in other threads is left out."""
        global _recording
        with _lock:
            watch_nodes(None)
            step_aside(self._wrap)
            _recording = None

    # -- one call ------------------------------------------------------------------------------------------------------

    def begin(self, name: str, kind: str, device_type: str = "cpu") -> _Open:
        event = Event(name, kind, device_type, threading.get_ident())
        opened = self._thread.open
        event.parent = opened[-1].event if opened else None
        if self.stack:
            event.stack = _program_stack()
        call = _Open(event)
        opened.append(call)
        event.start = _now()
        return call

    def end(self, call: _Open) -> None:
        event = call.event
        event.duration = _now() - event.start
        event.self_time = event.duration - call.inner
        opened = self._thread.open
        while opened and opened.pop() is not call:  # a range that was left open inside ends with this one
            pass
        if opened:
            outer = opened[-1]
            outer.inner += event.duration
        self.events.append(event)

    def _wrap(self, backend: Backend, name: str, kernel: Kernel) -> Kernel:
        device_type = backend.name
        on_host = device_type in ("cpu", "meta")

        def recorded(*args: Any, **kwargs: Any) -> Any:
            call = self.begin(name, "op", device_type)
            try:
                result = kernel(*args, **kwargs)
                if not on_host:
                    _wait(backend, result)
            finally:
                self.end(call)
            if self.shapes:
                call.event.shapes = [_shape(argument) for argument in args]
            if self.flops:
                call.event.flops = flops_of(name, args, result) or 0
            if self.memory:
                self._allocated(call, backend, args, result)
            return result

        return recorded

    def _allocated(self, call: _Open, backend: Backend, args: tuple[Any, ...], result: Any) -> None:
        """Count the memory of new arrays where they were made: with the innermost call that hands them back."""
        known = {
            id(memory_of(argument)) for argument in args if isinstance(argument, backend.array_type)
        } | call.returned
        arrays: tuple[Any, ...] = tuple(result) if isinstance(result, (tuple, list)) else (result,)
        new = [a for a in arrays if isinstance(a, backend.array_type) and id(memory_of(a)) not in known]
        call.returned.update(map(id, map(memory_of, new)))
        size = sum(_size(backend, array) for array in new)
        event = call.event
        event.self_memory = size
        opened = self._thread.open
        if opened and opened[-1].event.kind == "op":
            opened[-1].returned |= call.returned
        outer: Event | None = event
        while outer is not None:
            outer.memory += size
            outer = outer.parent

    def _node(self, node: Node, run: Callable[[], None]) -> None:
        call = self.begin(node.name(), "backward", node.device.type)
        try:
            run()
        finally:
            self.end(call)


def _wait(backend: Backend, result: Any) -> None:
    """Let the device finish, so that its work counts where it was asked for."""
    for array in result if isinstance(result, (tuple, list)) else (result,):
        if isinstance(array, backend.array_type):
            backend.synchronize(backend.device_of(array))
            return


def _size(backend: Backend, array: Any) -> int:
    return math.prod(array.shape) * backend.dtype_of(array).itemsize


def _shape(argument: Any) -> Any:
    if isinstance(argument, (list, tuple)) and argument and hasattr(argument[0], "shape"):
        return [_shape(item) for item in argument]
    return list(argument.shape) if hasattr(argument, "shape") else []


def _program_stack() -> list[str]:
    """Where in the program this is, the innermost frame first; frames of Flambeau are left out."""
    frame: Any = sys._getframe(2)
    found: list[str] = []
    while frame is not None and len(found) < _STACK_DEPTH:
        if not frame.f_globals.get("__name__", "").startswith("flambeau"):
            code = frame.f_code
            found.append(f"{code.co_filename}({frame.f_lineno}): {code.co_name}")
        frame = frame.f_back
    return found


_lock = threading.RLock()
_recording: Recorder | None = None


class record_function:
    """Name what runs inside, as a range of its own in the profile (``torch.profiler.record_function``).

    A context manager and a decorator; ranges may be nested. Without an active profile it does nothing.

    Args:
        name: the name.
        args: shown beside it in a trace.
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self.args = args
        self._open: tuple[Recorder, _Open] | None = None

    def __enter__(self) -> record_function:
        recorder = _recording
        if recorder is not None:
            self._open = recorder, recorder.begin(self.name, "range")
            self._open[1].event.note = self.args
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        if self._open is not None:
            recorder, call = self._open
            self._open = None
            if recorder is _recording:
                recorder.end(call)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def named(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return named
