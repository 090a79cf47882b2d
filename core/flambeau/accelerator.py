"""The accelerator of this machine, whichever plugin brings it (``torch.accelerator``).

It is the first device type that is available beside ``cpu``: ``cuda`` where there is one, then the others by name.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from flambeau import dispatch
from flambeau.devices import device as device_class

__all__ = [
    "current_accelerator", "current_device_idx", "current_device_index", "device_count", "device_index", "is_available",
    "set_device_idx", "set_device_index", "synchronize",
]  # fmt: skip

_current = 0


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


def set_device_index(device: Any) -> None:
    """Choose the device that this module speaks of from here on.

    Raises:
        RuntimeError: when there is no such device.
    """
    global _current
    index = _index(device)
    if index < 0:
        return
    if index >= device_count():
        raise RuntimeError(f"set_device_index: there is no device {index}; the accelerator has {device_count()}")
    _current = index


def current_device_index() -> int:
    """The index of the device chosen."""
    return _current


def synchronize(device: Any = None) -> None:
    """Wait until the accelerator has finished.

    Raises:
        RuntimeError: when there is none.
    """
    found = _type()
    if found is None:
        raise RuntimeError(f"synchronize: there is no accelerator here; available are: {dispatch.available()}")
    target = dispatch.load(device_class(found, _current if device is None else _index(device)))
    target.backend.synchronize(target)  # type: ignore[union-attr]


set_device_idx = set_device_index
current_device_idx = current_device_index


class device_index:
    """Choose a device inside a ``with`` block; None chooses none."""

    def __init__(self, device: int | None, /) -> None:
        self.index = device
        self._before = 0

    def __enter__(self) -> device_index:
        self._before = _current
        if self.index is not None:
            set_device_index(self.index)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.index is not None:
            set_device_index(self._before)


def _type() -> str | None:
    found = [name for name in dispatch.available() if name not in ("cpu", "meta")]
    return min(found, key=lambda name: (name != "cuda", name), default=None)


def _index(device: Any) -> int:
    return device if isinstance(device, int) else device_class(device).index or 0
