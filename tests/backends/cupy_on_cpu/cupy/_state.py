"""Which device is current, how many there are, and how often somebody waited for one."""

from __future__ import annotations

import os
from typing import Any

#: How many devices this module says there are.
count = int(os.environ.get("CUPY_ON_CPU_DEVICES", "1"))
device = 0
#: How often a value was read back.
waits = 0
#: Whether errors of linear algebra are looked for.
linalg: str | None = None


#: The streams that note what they are given, by number.
capturing: set[int] = set()


def wait() -> None:
    """Somebody reads a value back.

    Raises:
        CUDARuntimeError: while a stream captures.
    """
    global waits
    if capturing:
        from .cuda.runtime import CUDARuntimeError

        raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing")
    waits += 1


class Device:
    """See ``cupy.cuda.Device``."""

    def __init__(self, device: int | None = None) -> None:
        self.id = globals()["device"] if device is None else int(device)
        if not 0 <= self.id < count:
            raise ValueError(f"there is no device {self.id}")
        self._before: list[int] = []

    def __enter__(self) -> Device:
        self._before.append(globals()["device"])
        globals()["device"] = self.id
        return self

    def __exit__(self, *error: Any) -> None:
        globals()["device"] = self._before.pop()

    def use(self) -> None:
        globals()["device"] = self.id

    def synchronize(self) -> None:
        globals()["waits"] += 1

    def __int__(self) -> int:
        return self.id
