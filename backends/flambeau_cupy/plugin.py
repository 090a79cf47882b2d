"""The plugin that registers the CUDA backend (entry point ``flambeau`` of the base distribution)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flambeau.hookspec import hookimpl

if TYPE_CHECKING:
    from flambeau.dispatch import Backend


@hookimpl
def flambeau_backends() -> Iterable[Backend]:
    """The device type ``cuda``. CuPy is imported when a device of it is asked for."""
    from flambeau_cupy.backend import CupyBackend

    return [CupyBackend()]
