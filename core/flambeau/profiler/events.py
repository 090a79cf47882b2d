"""What a profile has recorded: events, their averages, the table, traces."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any


class Event:
    """One call of an op, one node of a backward pass, or one range; or the sum of several under one name.

    Attributes:
        name: the op, the node (``MulBackward0``) or the range.
        kind: ``"op"``, ``"backward"`` or ``"range"``.
        device_type: where it ran.
        thread: the thread that asked for it.
        start, duration, self_time: nanoseconds; ``self_time`` is without what ran inside it.
        memory, self_memory: bytes of the arrays that were made in it, and by itself. Memory that was freed again is
            not taken off, and what a kernel needs for itself is not seen.
        shapes: of the arguments, ``[]`` for one that is no array.
        flops: floating-point operations of matrix products and convolutions.
        stack: where in the program it was asked for.
        count: how many calls this stands for.
        parent: the event inside which it ran.
    """

    __slots__ = (
        "count", "device_type", "duration", "flops", "kind", "memory", "name", "note", "parent", "self_memory",
        "self_time", "shapes", "stack", "start", "thread",
    )  # fmt: skip

    def __init__(self, name: str, kind: str, device_type: str, thread: int) -> None:
        self.name = name
        self.kind = kind
        self.device_type = device_type
        self.thread = thread
        self.start = self.duration = self.self_time = 0
        self.memory = self.self_memory = self.flops = 0
        self.shapes: list[Any] = []
        self.stack: list[str] = []
        self.note: str | None = None
        self.parent: Event | None = None
        self.count = 1

    def add(self, other: Event) -> None:
        """Add the figures of another event to these."""
        self.count += other.count
        if not other._is_recursive():
            self.duration += other.duration
            self.memory += other.memory
        self.self_time += other.self_time
        self.self_memory += other.self_memory
        self.flops += other.flops

    def _is_recursive(self) -> bool:
        """Whether it ran inside another one of its name, whose total has it already."""
        outer = self.parent
        while outer is not None:
            if outer.name == self.name:
                return True
            outer = outer.parent
        return False

    # -- PyTorch's names, times in microseconds ------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """The name."""
        return self.name

    @property
    def input_shapes(self) -> list[Any]:
        """The shapes of the arguments."""
        return self.shapes

    @property
    def cpu_time_total(self) -> float:
        """How long it took, with what ran inside it; the device has been waited for."""
        return self.duration / 1000

    @property
    def self_cpu_time_total(self) -> float:
        """How long it took by itself."""
        return self.self_time / 1000

    @property
    def cpu_time(self) -> float:
        """How long a call took on average."""
        return self.cpu_time_total / max(self.count, 1)

    @property
    def device_time_total(self) -> float:
        """:attr:`cpu_time_total` of what ran on another device than the CPU, else 0."""
        return 0.0 if self.device_type == "cpu" else self.cpu_time_total

    @property
    def self_device_time_total(self) -> float:
        """:attr:`self_cpu_time_total` of what ran on another device than the CPU, else 0."""
        return 0.0 if self.device_type == "cpu" else self.self_cpu_time_total

    @property
    def device_time(self) -> float:
        """:attr:`cpu_time` of what ran on another device than the CPU, else 0."""
        return self.device_time_total / max(self.count, 1)

    cuda_time_total, self_cuda_time_total, cuda_time = device_time_total, self_device_time_total, device_time

    @property
    def cpu_memory_usage(self) -> int:
        """:attr:`memory` of what ran on the CPU, else 0."""
        return self.memory if self.device_type == "cpu" else 0

    @property
    def self_cpu_memory_usage(self) -> int:
        """:attr:`self_memory` of what ran on the CPU, else 0."""
        return self.self_memory if self.device_type == "cpu" else 0

    @property
    def device_memory_usage(self) -> int:
        """:attr:`memory` of what ran on another device, else 0."""
        return 0 if self.device_type == "cpu" else self.memory

    @property
    def self_device_memory_usage(self) -> int:
        """:attr:`self_memory` of what ran on another device, else 0."""
        return 0 if self.device_type == "cpu" else self.self_memory

    cuda_memory_usage, self_cuda_memory_usage = device_memory_usage, self_device_memory_usage

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}: {self.count} x {self.cpu_time:.1f} us, self {self.self_cpu_time_total:.1f}>"


class EventList(list[Event]):
    """Events in the order in which they ended, or averages."""

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """The events summed by name; on request by the shapes of their arguments and by where they were asked for."""
        sums: dict[Any, Event] = {}
        for event in self:
            key: Any = (event.name, event.kind, event.device_type)
            key += (repr(event.shapes) if group_by_input_shape else None, tuple(event.stack[:group_by_stack_n]))
            total = sums.get(key)
            if total is None:
                total = sums[key] = Event(event.name, event.kind, event.device_type, event.thread)
                total.count = 0
                total.shapes = event.shapes if group_by_input_shape else []
                total.stack = event.stack[:group_by_stack_n]
            total.add(event)
        return EventList(sums.values())

    def total_average(self) -> Event:
        """One event that is the sum of all."""
        total = Event("Total", "range", "cpu", 0)
        total.count = 0
        for event in self:
            total.add(event)
        return total

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all events, each without what ran inside it, in microseconds."""
        return sum(event.self_cpu_time_total for event in self)

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
    ) -> str:
        """The events as text, one a line.

        Args:
            sort_by: the largest first, by ``cpu_time_total``, ``self_cpu_time_total``, ``cpu_memory_usage``,
                ``self_cpu_memory_usage``, ``count``, ``flops``; with ``device`` or ``cuda`` for ``cpu`` too.
            row_limit: at most so many lines; -1 for all.
            top_level_events_only: only what ran inside nothing else.

        Raises:
            AttributeError: when there is nothing of the name to sort by.
        """
        rows = [event for event in self if not (top_level_events_only and event.parent is not None)]
        if sort_by is not None:
            rows.sort(key=lambda event: getattr(event, sort_by), reverse=True)
        rows = rows if row_limit < 0 else rows[:row_limit]
        columns = _columns(self, self.self_cpu_time_total)
        cells = [[_shortened(event.name, max_name_column_width), *[show(event) for _, show in columns]]
                 for event in rows]  # fmt: skip
        if any(event.shapes for event in self):
            columns.append(("Input Shapes", lambda event: _shortened(str(event.shapes), max_shapes_column_width)))
            for line, event in zip(cells, rows, strict=True):
                line.append(columns[-1][1](event))
        if any(event.stack for event in self):
            columns.append(("Source Location", lambda event: _shortened("; ".join(event.stack), max_src_column_width)))
            for line, event in zip(cells, rows, strict=True):
                line.append(columns[-1][1](event))
        lines = _aligned(["Name", *[title for title, _ in columns]], cells)
        if header:
            lines.insert(0, header)
        return "\n".join([*lines, f"Self CPU time total: {_time(self.self_cpu_time_total)}"]) + "\n"

    # -- files -------------------------------------------------------------------------------------------------------

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write a trace that ``chrome://tracing`` and https://ui.perfetto.dev show; ``.gz`` is compressed."""
        process = os.getpid()
        trace = [
            {
                "ph": "X", "cat": _CATEGORIES[event.kind], "name": event.name, "pid": process, "tid": event.thread,
                "ts": event.start / 1000, "dur": event.duration / 1000, "args": _details(event),
            }
            for event in self
        ]  # fmt: skip
        _write(path, json.dumps({"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": trace}))

    def export_stacks(self, path: str | os.PathLike[str], metric: str = "self_cpu_time_total") -> None:
        """Write the time by the place that asked for it, one line a stack, as flame graph programs read it.

        Raises:
            ValueError: when the profile was made without ``with_stack``.
        """
        if not any(event.stack for event in self):
            raise ValueError("export_stacks: there are no stacks; make the profile with with_stack=True")
        sums: dict[str, int] = {}
        for event in self:
            if event.stack:
                line = ";".join(frame.replace(";", ",") for frame in [*reversed(event.stack), event.name])
                sums[line] = sums.get(line, 0) + round(getattr(event, metric))
        _write(path, "".join(f"{line} {value}\n" for line, value in sums.items() if value > 0))


_CATEGORIES = {"op": "cpu_op", "backward": "cpu_op", "range": "user_annotation"}


def _details(event: Event) -> dict[str, Any]:
    found = {
        "Device": event.device_type, "Input Dims": event.shapes, "Bytes": event.memory, "FLOPs": event.flops,
        "Call stack": event.stack, "Note": event.note,
    }  # fmt: skip
    return {title: value for title, value in found.items() if value}


def _write(path: str | os.PathLike[str], text: str) -> None:
    from flambeau.serialization._files import whole_file

    name = os.fspath(path)
    content = text.encode()
    if name.endswith(".gz"):
        import gzip

        content = gzip.compress(content)
    with whole_file(name) as temporary, open(temporary, "wb") as file:
        file.write(content)


# -- the table ---------------------------------------------------------------------------------------------------------


def _columns(events: Iterable[Event], total: float) -> list[tuple[str, Callable[[Event], str]]]:
    """The columns that have something to show."""
    events = list(events)
    columns: list[tuple[str, Callable[[Event], str]]] = [
        ("Self CPU %", lambda event: f"{100 * event.self_cpu_time_total / total:.2f}%" if total else "0.00%"),
        ("Self CPU", lambda event: _time(event.self_cpu_time_total)),
        ("CPU total", lambda event: _time(event.cpu_time_total)),
        ("CPU time avg", lambda event: _time(event.cpu_time)),
    ]
    if any(event.memory for event in events):
        columns += [("Mem", lambda event: _bytes(event.memory)), ("Self Mem", lambda event: _bytes(event.self_memory))]
    columns.append(("# of Calls", lambda event: str(event.count)))
    if any(event.flops for event in events):
        columns.append(("Total FLOPs", lambda event: str(event.flops) if event.flops else "--"))
    if any(event.device_type != "cpu" for event in events):
        columns.append(("Device", lambda event: event.device_type))
    return columns


def _aligned(titles: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    rule = "  ".join("-" * width for width in widths)

    def line(cells: list[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *[cell.rjust(width) for cell, width in others]])

    return [rule, line(titles), rule, *map(line, rows), rule]


def _shortened(text: str, width: int) -> str:
    return text if width is None or len(text) <= width else text[: width - 3] + "..."


def _time(microseconds: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3f}{unit}"
    return f"{microseconds:.3f}us"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if abs(count) >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"
