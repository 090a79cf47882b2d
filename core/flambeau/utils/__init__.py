"""What surrounds training (``torch.utils``). Its modules are imported when they are first asked for."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("checkpoint", "data"):
        import importlib

        return importlib.import_module(f"flambeau.utils.{name}")
    raise AttributeError(f"module 'flambeau.utils' has no attribute {name!r}")
