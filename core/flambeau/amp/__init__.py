"""Automatic mixed precision (``torch.amp``): :class:`autocast` chooses dtypes, :class:`GradScaler` scales the loss.

::

    scaler = flambeau.amp.GradScaler("cpu")
    for input, target in data:
        optimizer.zero_grad()
        with flambeau.autocast("cpu", dtype=flambeau.float16):
            loss = loss_fn(model(input), target)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

With bfloat16, whose range is that of float32, no scaler is needed.
"""

from flambeau.amp.autocast_mode import (
    autocast,
    clear_autocast_cache,
    custom_bwd,
    custom_fwd,
    get_autocast_dtype,
    is_autocast_available,
    is_autocast_cache_enabled,
    is_autocast_enabled,
    set_autocast_cache_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
)
from flambeau.amp.grad_scaler import GradScaler

__all__ = [
    "GradScaler",
    "autocast",
    "clear_autocast_cache",
    "custom_bwd",
    "custom_fwd",
    "get_autocast_dtype",
    "is_autocast_available",
    "is_autocast_cache_enabled",
    "is_autocast_enabled",
    "set_autocast_cache_enabled",
    "set_autocast_dtype",
    "set_autocast_enabled",
]
