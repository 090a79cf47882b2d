"""The older names of mixed precision on CUDA (``torch.cuda.amp``); each warns as PyTorch's does."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from flambeau import amp
from flambeau.dtypes import dtype as DType
from flambeau.dtypes import float16

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"`flambeau.cuda.amp.{old}` is deprecated. Please use `flambeau.amp.{new}` instead.",
        FutureWarning,
        stacklevel=3,
    )


class autocast(amp.autocast):
    """:class:`flambeau.autocast` for the device type ``cuda`` (``torch.cuda.amp.autocast``)."""

    def __init__(self, enabled: bool = True, dtype: DType = float16, cache_enabled: bool = True) -> None:
        _warn("autocast(args...)", "autocast('cuda', args...)")
        super().__init__("cuda", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)


class GradScaler(amp.GradScaler):
    """:class:`flambeau.amp.GradScaler` for the device type ``cuda`` (``torch.cuda.amp.GradScaler``)."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        _warn("GradScaler(args...)", "GradScaler('cuda', args...)")
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


def custom_fwd(fwd: Callable[..., Any] | None = None, *, cast_inputs: DType | None = None) -> Callable[..., Any]:
    """:func:`flambeau.amp.custom_fwd` for the device type ``cuda`` (``torch.cuda.amp.custom_fwd``)."""
    _warn("custom_fwd(args...)", "custom_fwd(args..., device_type='cuda')")
    return amp.custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


def custom_bwd(bwd: Callable[..., Any]) -> Callable[..., Any]:
    """:func:`flambeau.amp.custom_bwd` for the device type ``cuda`` (``torch.cuda.amp.custom_bwd``)."""
    _warn("custom_bwd(args...)", "custom_bwd(args..., device_type='cuda')")
    return amp.custom_bwd(bwd, device_type="cuda")
