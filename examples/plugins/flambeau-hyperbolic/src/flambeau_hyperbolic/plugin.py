"""The hooks. Flambeau calls them when a device is first used, so what is heavy is imported inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flambeau.hookspec import hookimpl

FLAMBEAU_PLUGIN_API = 1


@hookimpl
def flambeau_ops() -> None:
    """Declare the ops, which importing their module does."""
    import flambeau_hyperbolic.ops  # noqa: F401


@hookimpl
def flambeau_kernels(device_type: str) -> list[tuple[int, Mapping[str, Callable[..., Any]]]]:
    """A faster distance for the CPU; other devices compute what the op's declaration says."""
    if device_type != "cpu":
        return []
    from flambeau.dispatch import over

    from flambeau_hyperbolic.kernels import poincare_distance

    return [(10, {"poincare_distance": over(poincare_distance)})]
