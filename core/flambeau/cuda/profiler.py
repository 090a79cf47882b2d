"""When NVIDIA's profilers record (``torch.cuda.profiler``). For the time of each op see :mod:`flambeau.profiler`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flambeau.cuda._devices import CUDA
from flambeau.devices import device as Device
from flambeau.streams import runtime_of

__all__ = ["profile", "start", "stop"]


def start() -> None:
    """Have the profiler that this program was started under record from here on."""
    runtime_of(Device(CUDA), "profiler").start_profiler()


def stop() -> None:
    """Have it record no more."""
    runtime_of(Device(CUDA), "profiler").stop_profiler()


@contextmanager
def profile() -> Iterator[None]:
    """Have it record inside a ``with`` block."""
    start()
    try:
        yield
    finally:
        stop()
