"""``cupy.cuda.runtime``."""

from __future__ import annotations

import os
from typing import Any

from .. import _state

CUDA_R_32F, CUDA_R_64F, CUDA_R_16F, CUDA_C_32F, CUDA_C_64F, CUDA_R_16BF = 0, 1, 2, 4, 5, 14


class CUDARuntimeError(RuntimeError):
    """What CUDA's functions raise."""


def getDeviceCount() -> int:
    error = os.environ.get("CUPY_ON_CPU_ERROR")
    if error:
        raise CUDARuntimeError(error)
    return _state.count


def getDevice() -> int:
    return _state.device


def getDeviceProperties(device: int) -> dict[str, Any]:
    from .memory import total

    return {"name": b"CuPy on a CPU", "major": 9, "minor": 0, "totalGlobalMem": total, "multiProcessorCount": 1,
            "warpSize": 32}  # fmt: skip


def deviceCanAccessPeer(device: int, peerDevice: int) -> int:
    return int(device != peerDevice)


def memGetInfo() -> tuple[int, int]:
    from .memory import taken, total

    return total - taken[_state.device], total


def profilerStart() -> None:
    pass


def profilerStop() -> None:
    pass
