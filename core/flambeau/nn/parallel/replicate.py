"""Copies of a module on several devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.nn.modules._registry import Registry
from flambeau.nn.parallel.scatter_gather import _device


def replicate(network: Any, devices: Sequence[Any], detach: bool = False) -> list[Any]:
    """Return a copy of a module for each device.

    The parameters of a copy are computed from those of ``network``, so that gradients flow back to these; they are no
    parameters of the copy.

    Args:
        detach: copy without that connection.
    """
    return [_replica(network, _device(device), detach, {}) for device in devices]


def _replica(module: Any, device: Any, detach: bool, done: dict[int, Any]) -> Any:
    """A copy of a module and its children; what the module has twice, the copy has twice too."""
    if id(module) in done:
        return done[id(module)]
    own: Any = object.__new__(type(module))
    done[id(module)] = own
    own.__dict__.update(module.__dict__)

    def moved(tensor: Any) -> Any:
        if tensor is None:
            return None
        if id(tensor) not in done:
            done[id(tensor)] = (tensor.detach() if detach else tensor).to(device)
        return done[id(tensor)]

    own.__dict__["_parameters"] = Registry(own)
    own.__dict__.update({name: moved(parameter) for name, parameter in module._parameters.items()})
    for place, copied in (
        ("_buffers", {name: moved(buffer) for name, buffer in module._buffers.items()}),
        ("_modules", {name: c and _replica(c, device, detach, done) for name, c in module._modules.items()}),
    ):
        own.__dict__[place] = Registry(own, copied)
    return own
