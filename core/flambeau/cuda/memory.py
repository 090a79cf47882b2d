"""The memory of CUDA devices (``torch.cuda.memory``).

Arrays get theirs from a pool, which keeps what is freed for the next ones: ``allocated`` is what arrays hold,
``reserved`` what the pool holds of the device.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from flambeau import device_memory, streams
from flambeau.cuda._devices import CUDA
from flambeau.devices import OutOfMemoryError

__all__ = [
    "OutOfMemoryError", "empty_cache", "get_allocator_backend", "get_per_process_memory_fraction",
    "max_memory_allocated", "max_memory_cached", "max_memory_reserved", "mem_get_info", "memory_allocated",
    "memory_cached", "memory_reserved", "memory_stats", "memory_stats_as_nested_dict", "memory_summary",
    "reset_accumulated_memory_stats", "reset_max_memory_allocated", "reset_max_memory_cached",
    "reset_peak_memory_stats", "set_per_process_memory_fraction",
]  # fmt: skip


def memory_stats(device: Any = None) -> OrderedDict[str, Any]:
    """The counts of a device's memory, ``{}`` before it is used.

    The names are PyTorch's: ``allocation``, ``allocated_bytes``, ``requested_bytes``, ``active``, ``active_bytes``,
    ``segment``, ``reserved_bytes``, then ``.all`` (there is one pool for arrays of all sizes), then ``.current``,
    ``.peak``, ``.allocated`` or ``.freed``; and ``num_ooms``, ``num_alloc_retries``, ``num_device_alloc``,
    ``num_device_free``.
    """
    return device_memory.flat(CUDA, device, "memory_stats")


def memory_stats_as_nested_dict(device: Any = None) -> dict[str, Any]:
    """What :func:`memory_stats` gives, as dicts in dicts."""
    return device_memory.nested(CUDA, device, "memory_stats_as_nested_dict")


def memory_allocated(device: Any = None) -> int:
    """The bytes that tensors hold on a device; 0 before it is used."""
    return device_memory.figure(CUDA, device, "memory_allocated", "allocated_bytes.all.current")


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors held on a device since the start, or :func:`reset_peak_memory_stats`."""
    return device_memory.figure(CUDA, device, "max_memory_allocated", "allocated_bytes.all.peak")


def memory_reserved(device: Any = None) -> int:
    """The bytes of a device that are held, by tensors or for reuse; 0 before it is used."""
    return device_memory.figure(CUDA, device, "memory_reserved", "reserved_bytes.all.current")


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes of a device that were held, by tensors or for reuse."""
    return device_memory.figure(CUDA, device, "max_memory_reserved", "reserved_bytes.all.peak")


memory_cached = memory_reserved
max_memory_cached = max_memory_reserved


def reset_peak_memory_stats(device: Any = None) -> None:
    """Begin to look for the most memory anew."""
    device_memory.reset_peaks(CUDA, device, "reset_peak_memory_stats")


reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats


def reset_accumulated_memory_stats(device: Any = None) -> None:
    """Begin to sum up what comes and goes anew."""
    device_memory.reset_totals(CUDA, device, "reset_accumulated_memory_stats")


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """The bytes of a device that are free, whoever uses the others, and those that there are."""
    return device_memory.info(CUDA, device, "mem_get_info")


def empty_cache() -> None:
    """Give memory that is kept for reuse back to the devices; nothing where none is used."""
    device_memory.release(CUDA)


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Allow tensors a part of a device's memory.

    Args:
        fraction: between 0 and 1. More than that is an :class:`OutOfMemoryError`.

    Raises:
        TypeError: when it is no number.
        ValueError: when it is not between 0 and 1.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)):
        raise TypeError(f"set_per_process_memory_fraction: expected a number, got {type(fraction).__name__}")
    if not 0 <= fraction <= 1:
        raise ValueError(f"set_per_process_memory_fraction: expected a fraction between 0 and 1, got {fraction}")
    where = streams.ready(device, CUDA, "set_per_process_memory_fraction")
    streams.runtime_of(where, "set_per_process_memory_fraction").limit_memory(where.index or 0, float(fraction))


def get_per_process_memory_fraction(device: Any = None) -> float:
    """The part of a device's memory that tensors may take."""
    where = streams.ready(device, CUDA, "get_per_process_memory_fraction")
    return streams.runtime_of(where, "get_per_process_memory_fraction").memory_limit(where.index or 0)


def get_allocator_backend() -> str:
    """Who gives out memory: ``"native"``, a pool of this process."""
    return "native"


_ROWS = (
    ("allocated_bytes", "Allocated memory"), ("requested_bytes", "Requested memory"),
    ("reserved_bytes", "GPU reserved memory"), ("allocation", "Allocations"), ("segment", "GPU reserved segments"),
)  # fmt: skip
_COLUMNS = (("current", "Cur Usage"), ("peak", "Peak Usage"), ("allocated", "Tot Alloc"), ("freed", "Tot Freed"))
_WIDTH = 75


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """A table of :func:`memory_stats`, for people.

    Args:
        abbreviated: leave out the counts of allocations and segments.
    """
    where = streams.ready(device, CUDA, "memory_summary")
    stats = memory_stats(where)
    rule = "|" + "-" * _WIDTH + "|"
    lines = [
        "|" + "=" * _WIDTH + "|",
        f"|{f'Flambeau CUDA memory summary, device {where}':^{_WIDTH}}|",
        f"|{'out of memory: {num_ooms} times | retried: {num_alloc_retries} times'.format(**stats):^{_WIDTH}}|",
        rule,
        f"| {'Metric':<21} | " + " | ".join(f"{title:<10}" for _, title in _COLUMNS) + " |",
        rule,
    ]
    for name, title in _ROWS:
        size = name.endswith("_bytes")
        if size or not abbreviated:
            figures = [_shown(stats[f"{name}.all.{column}"], size) for column, _ in _COLUMNS]
            lines.append(f"| {title:<21} | " + " | ".join(f"{figure:>10}" for figure in figures) + " |")
    lines.append("|" + "=" * _WIDTH + "|")
    return "\n".join(lines) + "\n"


def _shown(number: int, is_size: bool) -> str:
    """A number of bytes or of pieces in few digits."""
    step, units = (1024, ("B", "KiB", "MiB", "GiB", "TiB")) if is_size else (1000, ("", "K", "M"))
    unit = 0
    while number >= 750 * step and unit < len(units) - 1:
        number //= step
        unit += 1
    return f"{number} {units[unit]}".rstrip()
