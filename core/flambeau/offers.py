"""What plugins offer to the tables, looked at before it is used: the malformed, the doubly given, the useless."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from flambeau.ops.declare import OPS


def warn_of_unknown(chosen: Mapping[str, tuple[str, Any]]) -> None:
    unknown = sorted(name for name in chosen if name not in OPS and name.removesuffix("_") not in OPS)
    if unknown:
        plugin = chosen[unknown[0]][0]
        warnings.warn(
            f"the plugin {plugin!r} gives kernels for ops that do not exist: {', '.join(unknown)}",
            RuntimeWarning,
            stacklevel=2,
        )


_ties_told: set[tuple[str, ...]] = set()


def warn_of_ties(ties: Mapping[tuple[str, str, int], list[str]], device_type: str) -> None:
    """Say, once, which of two kernels of the same priority runs."""
    for (first, last, priority), names in ties.items():
        told = (device_type, first, last, *sorted(names))
        if told in _ties_told:
            continue
        _ties_told.add(told)
        who = f"the plugin {last!r} gives two kernels" if first == last else f"the plugins {first!r} and {last!r} both"
        verb = "" if first == last else " give kernels"
        winner = "the last one runs" if first == last else f"those of {last!r}, registered last, run"
        cure = "take one out" if first == last else f"give one another priority, or set FLAMBEAU_DISABLE_PLUGINS={last}"
        warnings.warn(
            f"{who}{verb} for {', '.join(sorted(names))} on {device_type!r} with priority {priority}; {winner}: {cure}",
            RuntimeWarning,
            stacklevel=2,
        )


def check_offer(offer: Any) -> None:
    """Raise TypeError for what is no ``(priority, {op name: kernel})``."""
    if not (isinstance(offer, tuple) and len(offer) == 2 and isinstance(offer[1], Mapping)):
        raise TypeError(f"flambeau_kernels has to return (priority, {{op name: kernel}}) pairs, not {offer!r}")
    from flambeau.dispatch import Overlay

    priority, kernels = offer
    if not isinstance(priority, int):
        raise TypeError(f"flambeau_kernels: a priority is an int, not {priority!r}")
    for name, kernel in kernels.items():
        if not callable(kernel) and not isinstance(kernel, Overlay):
            raise TypeError(f"flambeau_kernels: the kernel for {name!r} is {kernel!r}, which cannot be called")


def check_backend(backend: Any) -> None:
    """Raise TypeError for what is no usable :class:`Backend`."""
    from flambeau.dispatch import Backend

    if not isinstance(backend, Backend):
        raise TypeError(f"flambeau_backends has to return instances of flambeau.dispatch.Backend, not {backend!r}")
    # `array_type` is not looked at: asking for it may import a heavy library.
    if not isinstance(getattr(backend, "name", None), str):
        raise TypeError(f"the backend {type(backend).__name__} has no name, a str")
