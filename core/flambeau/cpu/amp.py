"""The older names of mixed precision on the CPU (``torch.cpu.amp``); each warns as PyTorch's does."""

from __future__ import annotations

import warnings

from flambeau import amp
from flambeau.dtypes import bfloat16
from flambeau.dtypes import dtype as DType

__all__ = ["GradScaler", "autocast"]


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"`flambeau.cpu.amp.{old}` is deprecated. Please use `flambeau.amp.{new}` instead.", FutureWarning, stacklevel=3
    )


class autocast(amp.autocast):
    """:class:`flambeau.autocast` for the device type ``cpu`` (``torch.cpu.amp.autocast``)."""

    def __init__(self, enabled: bool = True, dtype: DType = bfloat16, cache_enabled: bool = True) -> None:
        _warn("autocast(args...)", "autocast('cpu', args...)")
        super().__init__("cpu", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)


class GradScaler(amp.GradScaler):
    """:class:`flambeau.amp.GradScaler` for the device type ``cpu`` (``torch.cpu.amp.GradScaler``)."""

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        _warn("GradScaler(args...)", "GradScaler('cpu', args...)")
        super().__init__("cpu", init_scale, growth_factor, backoff_factor, growth_interval, enabled)
