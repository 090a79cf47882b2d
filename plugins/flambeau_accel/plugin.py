"""The hooks of the accelerator: kernels for ``cpu``, where oneDNN is installed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from flambeau.hookspec import hookimpl

THEMES = ("activation", "batch_normalization", "convolution", "matmul", "normalization", "pooling")

PRIORITY = 50


@hookimpl
def flambeau_kernels(device_type: str) -> list[tuple[int, Mapping[str, Callable[..., Any]]]]:
    """The kernels, each over the one that it takes the place of; none where oneDNN is not installed.

    From then on freed memory is kept (:mod:`flambeau_accel.memory`), and kernels written in Python compute on OpenMP's
    threads (:mod:`flambeau_accel.team`).
    """
    if device_type != "cpu":
        return []
    from flambeau_accel import library, memory, team

    if not library.is_installed():
        return []
    library.load()
    memory.keep()
    team.lend()
    from flambeau.dispatch import over

    kernels: dict[str, Callable[..., Any]] = {}
    for theme in THEMES:
        kernels.update(import_module(f"flambeau_accel.{theme}").KERNELS)
    return [(PRIORITY, {name: over(kernel) for name, kernel in kernels.items()})]
