"""Devices: where a tensor lives and which backend computes on it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from flambeau.dispatch import Backend, Namespace

_interned: dict[tuple[str, int | None], device] = {}

#: The device types that have one device only.
SINGLE = frozenset({"cpu", "meta"})


class device:
    """A device: ``device("cpu")``, ``device("cuda:1")``, ``device("opencl", 0)`` (``torch.device``).

    There is one object a device, so that two devices are compared by identity. As a context manager (and as a
    decorator through ``set_default_device``) it is the default device of what is created inside.

    ``device("cuda")``, with no index, stands for the current device of its type whenever it is used
    (:func:`current_index`); a tensor is always on one with an index.

    Attributes:
        type: ``"cpu"``, ``"cuda"``, ``"opencl"``, ``"meta"`` or a plugin's name.
        index: the ordinal; None for the current device, and for the device types that have one device only (``cpu``,
            ``meta``).

    Raises:
        RuntimeError: when the string is not ``TYPE`` or ``TYPE:INDEX``.
    """

    __slots__ = ("_name", "backend", "bare", "index", "table", "type", "xp")

    #: How many calls of ``vmap`` it stands for (see :mod:`flambeau.levels`).
    depth = 0

    _name: str
    type: str
    index: int | None
    # The backend and its frozen kernels, filled in by `flambeau.dispatch` when the device is first used.
    backend: Backend | None
    xp: Namespace
    table: list[Any]
    bare: list[Any]

    def __new__(cls, type: str | int | device, index: int | None = None) -> device:
        if isinstance(type, device):
            return type
        if isinstance(type, int):
            index, type = type, "cuda"
        if not isinstance(type, str):
            raise TypeError(f"device: expected a string such as 'cpu' or 'cuda:0', got {type!r}")
        if index is None and ":" in type:
            type, _, ordinal = type.partition(":")
            if not ordinal.isdecimal():
                raise RuntimeError(f"device: invalid device string '{type}:{ordinal}'; expected TYPE or TYPE:INDEX")
            index = int(ordinal)
        if not type.isidentifier():
            raise RuntimeError(f"device: invalid device string '{type}'; expected TYPE or TYPE:INDEX")
        if type in SINGLE:
            index = None
        found = _interned.get((type, index))
        if found is None:
            found = object.__new__(cls)
            found.type = type
            found.index = index
            found._name = type if index is None else f"{type}:{index}"
            found.backend = None
            found.table = found.bare = []
            found = _interned.setdefault((type, index), found)
        return found

    def __repr__(self) -> str:
        if self.index is None:
            return f"device(type='{self.type}')"
        return f"device(type='{self.type}', index={self.index})"

    def __str__(self) -> str:
        return self._name

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (self.type, self.index)

    def __enter__(self) -> device:
        _defaults.stack = (*_defaults.stack, self)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        _defaults.stack = _defaults.stack[:-1]


class _Current(threading.local):
    """The index of the current device of each type, of this thread; 0 where none has been chosen."""

    def __init__(self) -> None:
        self.indices: dict[str, int] = {}


_current = _Current()


def current_index(type: str) -> int:
    """The index of the device that a device type's name alone stands for, in this thread."""
    return _current.indices.get(type, 0)


def set_current_index(type: str, index: int) -> None:
    """Have a device type's name stand for another of its devices, in this thread.

    :func:`flambeau.cuda.set_device` and :func:`flambeau.accelerator.set_device_index` check the index and tell the
    backend; this only keeps it.
    """
    _current.indices[type] = index


class _Defaults(threading.local):
    stack: tuple[device, ...] = ()


class _Levels(threading.local):
    """The levels of the calls of ``vmap`` that this thread is in, the innermost last."""

    stack: tuple[Any, ...] = ()


levels = _Levels()


_defaults = _Defaults()
_process_default: device | None = None


def set_default_device(device_: str | device | None) -> None:
    """Create tensors on this device unless told otherwise; None goes back to ``cpu`` (``torch.set_default_device``)."""
    global _process_default
    _process_default = None if device_ is None else device(device_)


def get_default_device() -> device:
    """The device of factory functions: the innermost ``with device:``, else ``set_default_device``'s, else
    ``FLAMBEAU_DEVICE``, else ``cpu``."""
    global _process_default
    if _defaults.stack:
        return _defaults.stack[-1]
    if _process_default is None:
        _process_default = device(os.environ.get("FLAMBEAU_DEVICE") or "cpu")
    return _process_default


def interned() -> list[device]:
    """Every device object made so far."""
    return list(_interned.values())


class OutOfMemoryError(RuntimeError):
    """A device has no memory left for an array (``torch.OutOfMemoryError``). What is held already stays as it is."""
