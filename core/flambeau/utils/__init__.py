"""What surrounds training (``torch.utils``). Its modules are imported when they are first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {"checkpoint", "data", "deterministic", "dlpack", "flop_counter", "model_zoo", "pytree", "tensorboard"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
