"""The hooks. Flambeau calls them when a device is first used, so what is heavy is imported inside."""

from __future__ import annotations

from typing import Any

from flambeau.hookspec import hookimpl

FLAMBEAU_PLUGIN_API = 1


@hookimpl
def flambeau_backends() -> list[Any]:
    """The device type ``mlx``."""
    from flambeau_mlx.backend import MLXBackend

    return [MLXBackend()]
