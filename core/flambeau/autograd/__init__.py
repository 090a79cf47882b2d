"""Automatic differentiation (``torch.autograd``): the backward pass, modes, functions of one's own, checks.

Names are looked up when they are first used: what records operations must be importable before what runs them back.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "backward": "engine", "grad": "engine",
    "no_grad": "grad_mode", "enable_grad": "grad_mode", "set_grad_enabled": "grad_mode",
    "inference_mode": "grad_mode", "is_grad_enabled": "grad_mode", "is_inference_mode_enabled": "grad_mode",
    "Function": "function", "once_differentiable": "function",
    "gradcheck": "finite_differences", "gradgradcheck": "finite_differences",
    "Variable": "function",
    "set_detect_anomaly": "anomaly_mode", "detect_anomaly": "anomaly_mode", "is_anomaly_enabled": "anomaly_mode",
}  # fmt: skip

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in ("forward_ad", "functional", "profiler"):
        return import_module(f"{__name__}.{name}")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found
