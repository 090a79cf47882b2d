"""Have cuDNN itself build graphs for devices that are not here, from their properties; print what it refuses.

    python check_plans.py LIBCUDA LIBCUDART FILE

Args:
    LIBCUDA, LIBCUDART: ``no_driver.c``, compiled.
    FILE: problems and settings, from ``collect_problems.py``; cuDNN is asked whether it has kernels for them. Problems
        of usual models come in addition, and their plans are built.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

#: By the names that cuDNN's descriptor of a device has for them; the A100's, as CUDA gives them.
AMPERE = {
    "cudaDeviceId": 0, "deviceName": "NVIDIA A100-SXM4-80GB", "deviceVer": 800, "multiProcessorCount": 108,
    "driverVer": 12040, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 166912,
    "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
    "maxThreadsPerSM": 2048, "regsPerBlock": 65536, "warpSize": 32, "pciDeviceId": 0, "isTccDriver": 0,
    "supportCoopLaunch": 1, "smClockRateKHz": 1410000, "memClockRateKHz": 1215000, "memoryBusWidth": 5120,
    "l2CacheSize": 41943040, "totalGlobalMem": 85899345920, "maxGridSize": [2147483647, 65535, 65535],
    "maxBlockSize": [1024, 1024, 64],
}  # fmt: skip
HOPPER = {
    **AMPERE, "deviceName": "NVIDIA H100 80GB HBM3", "deviceVer": 900, "multiProcessorCount": 132,
    "maxSharedMemoryPerBlockOptin": 232448, "l2CacheSize": 52428800,
}  # fmt: skip


def usual() -> list[tuple[Any, Any]]:
    """Convolutions and batch norms of ResNet-50 (batch 32), attention of GPT-2-small (sequence 1024)."""
    from flambeau_cupy.cudnn.attention import Attention
    from flambeau_cupy.cudnn.convolution import Convolution
    from flambeau_cupy.cudnn.library import Settings
    from flambeau_cupy.cudnn.normalization import BatchNorm

    stem = (32, 3, 224, 224), (64, 3, 7, 7), (32, 64, 112, 112), (2, 2), (3, 3), (1, 1)
    inner = (32, 128, 28, 28), (128, 128, 3, 3), (32, 128, 28, 28), (1, 1), (1, 1), (1, 1)
    found: list[tuple[Any, Any]] = [
        (Convolution(way, kind, *sizes, last), Settings(deterministic, tf32))
        for sizes in (stem, inner)
        for way in ("fprop", "dgrad", "wgrad")
        for kind, deterministic, tf32 in (("f", False, True), ("f", True, False), ("E", False, True))
        for last in (False, True)
    ]
    found += [
        (BatchNorm(way, kind, (32, 128, 28, 28)), Settings()) for way in ("training", "backward") for kind in "feE"
    ]
    shape, strides = (8, 12, 1024, 64), (1024 * 768, 64, 768, 1)
    for way, numbers in (
        (("forward"), (1, 2, 3, 4)),
        ("training", (1, 2, 3, 4)),
        ("backward", (1, 2, 3, 4, 6, 11, 12, 13)),
    ):
        tensors = tuple((number, shape, strides) for number in numbers)
        found += [(Attention(way, "E", tensors, 0.125, True, False), Settings())]
    return found


def main(driver: str, runtime: str, collected: str) -> None:
    """Print a line for each refusal, and how many graphs there were."""
    os.environ["CUDNN_FRONTEND_CUDART_LIB_NAME"] = runtime
    ctypes.CDLL(driver, ctypes.RTLD_GLOBAL)
    import cudnn

    from flambeau_cupy.cudnn import library
    from flambeau_cupy.cudnn.attention import Attention
    from flambeau_cupy.cudnn.convolution import Convolution
    from flambeau_cupy.cudnn.normalization import BatchNorm

    names = {kind.__name__: kind for kind in (Attention, Convolution, BatchNorm, library.Settings)}
    small = [eval(line, names) for line in Path(collected).read_text().splitlines()]  # our own reprs
    count = 0
    for device in (AMPERE, HOPPER):
        properties = cudnn.create_device_properties(json.dumps(device))
        options = {"device_property": properties, "sm_version": device["deviceVer"] // 10}
        # With plans to be tried none is built yet.
        asked = [(problem, chosen._replace(tried=1)) for problem, chosen in small] + usual()
        for problem, chosen in asked:
            count += 1
            try:
                library.built(problem, chosen, 1 << 34, **options)
            except Exception as error:
                print(f"{device['deviceName']}: {problem}, {chosen}: {type(error).__name__}: {error}"[:1000])
    print("graphs", count)


if __name__ == "__main__":
    main(*sys.argv[1:])
