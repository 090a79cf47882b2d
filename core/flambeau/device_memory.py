"""The memory of a device, in PyTorch's terms: what :mod:`flambeau.cuda` and :mod:`flambeau.accelerator` share.

The figures are the backend's counts (:class:`flambeau.device_runtime.MemoryCounts`). Before a device type is used there
is nothing to count, and nothing is asked of it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from flambeau import dispatch
from flambeau.device_runtime import MemoryCounts
from flambeau.devices import device as Device
from flambeau.streams import ready, runtime_of


def counts(device_type: str, device: Any, op: str) -> MemoryCounts | None:
    """The counts of a device; None before one of its type is used."""
    if not dispatch.is_loaded(device_type):
        return None
    where = ready(device, device_type, op)
    return runtime_of(where, op).memory(where.index or 0)


def nested(device_type: str, device: Any, op: str) -> dict[str, Any]:
    """The counts of a device as nested dicts, ``{}`` before one of its type is used."""
    found = counts(device_type, device, op)
    return {} if found is None else found.as_dict()


def flat(device_type: str, device: Any, op: str) -> OrderedDict[str, Any]:
    """The counts of a device by dotted names, ``"allocated_bytes.all.peak"`` say."""
    return OrderedDict(sorted(_flattened("", nested(device_type, device, op))))


def _flattened(prefix: str, value: Any) -> list[tuple[str, int]]:
    if not isinstance(value, dict):
        return [(prefix, value)]
    return [pair for name, inner in value.items() for pair in _flattened(f"{prefix}.{name}" if prefix else name, inner)]


def figure(device_type: str, device: Any, op: str, name: str) -> int:
    """One of the counts, 0 before a device of the type is used."""
    found: int = flat(device_type, device, op).get(name, 0)
    return found


def reset_peaks(device_type: str, device: Any, op: str) -> None:
    """Count what is most from here on."""
    found = counts(device_type, device, op)
    if found is not None:
        found.reset_peaks()


def reset_totals(device_type: str, device: Any, op: str) -> None:
    """Count what comes and goes from here on."""
    found = counts(device_type, device, op)
    if found is not None:
        found.reset_totals()


def info(device_type: str, device: Any, op: str) -> tuple[int, int]:
    """The bytes of a device that are free and those that there are."""
    where = ready(device, device_type, op)
    return runtime_of(where, op).memory_info(where.index or 0)


def release(device_type: str, host: bool = False) -> None:
    """Give memory that is kept for reuse back: the devices', or the host's pinned memory."""
    if not dispatch.is_loaded(device_type):
        return
    runtime = Device(device_type, 0).backend.runtime  # type: ignore[union-attr]
    if runtime is not None:
        if host:
            runtime.empty_host_cache()
        else:
            runtime.empty_cache()
