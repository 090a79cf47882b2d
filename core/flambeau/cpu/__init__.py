"""Questions about the CPU as a device (``torch.cpu``)."""

from __future__ import annotations

from typing import Any

from flambeau.cpu import amp

__all__ = ["amp", "current_device", "device_count", "is_available", "is_initialized", "set_device", "synchronize"]


def is_available() -> bool:
    """Whether tensors can be on the CPU: always."""
    return True


def is_initialized() -> bool:
    """Whether the CPU is ready: always."""
    return True


def device_count() -> int:
    """How many devices of the type ``cpu`` there are: 1, whatever the number of cores."""
    return 1


def current_device() -> str:
    """The device that ``"cpu"`` stands for."""
    return "cpu"


def set_device(device: Any) -> None:
    """Accepted: there is one CPU device."""


def synchronize(device: Any = None) -> None:
    """Return: operations on the CPU are done when they return."""
