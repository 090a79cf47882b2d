"""Ranges and marks that NVIDIA's profilers show (``torch.cuda.nvtx``).

Raises:
    RuntimeError: from all of them, where there is no CUDA device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.cuda._devices import CUDA
from flambeau.devices import device as Device
from flambeau.streams import runtime_of

__all__ = ["mark", "range", "range_pop", "range_push"]


def range_push(msg: str) -> None:
    """Begin a range, inside of the last one."""
    runtime_of(Device(CUDA), "nvtx").push_range(msg)


def range_pop() -> None:
    """End the range that began last."""
    runtime_of(Device(CUDA), "nvtx").pop_range()


def mark(msg: str) -> None:
    """Note a point in time."""
    runtime_of(Device(CUDA), "nvtx").mark(msg)


@contextmanager
def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
    """A range over a ``with`` block, or over the calls of a function that it decorates.

    Args:
        msg: its name; ``msg.format(*args, **kwargs)`` is shown.
    """
    range_push(msg.format(*args, **kwargs))
    try:
        yield
    finally:
        range_pop()
