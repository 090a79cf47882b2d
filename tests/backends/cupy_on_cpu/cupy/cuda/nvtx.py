"""``cupy.cuda.nvtx``."""

from __future__ import annotations

ranges: list[str] = []


def RangePush(message: str, id_color: int = -1) -> None:
    ranges.append(message)


def RangePop() -> None:
    ranges.append("pop")


def Mark(message: str, id_color: int = -1) -> None:
    ranges.append(message)
