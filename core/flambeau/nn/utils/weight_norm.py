"""Weight norm by a hook, as PyTorch had it before parametrizations."""

from __future__ import annotations

from typing import Any

from flambeau import Tensor
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.parametrizations import norm_except_dim


class WeightNorm:
    """The hook that computes ``weight`` from ``weight_g`` and ``weight_v`` before each forward pass."""

    def __init__(self, name: str, dim: int) -> None:
        self.name = name
        self.dim = dim

    def compute_weight(self, module: Module) -> Tensor:
        """``g * v / norm(v)``."""
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        result: Tensor = v * (g / norm_except_dim(v, self.dim))
        return result

    def remove(self, module: Module) -> None:
        """Make the weight an ordinary parameter with its present value."""
        weight = self.compute_weight(module)
        delattr(module, self.name)
        del module._parameters[self.name + "_g"]
        del module._parameters[self.name + "_v"]
        setattr(module, self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Replace a weight by its lengths ``NAME_g`` and directions ``NAME_v`` (Salimans and Kingma, 2016).

    :func:`flambeau.nn.utils.parametrizations.weight_norm` does the same by a parametrization.

    Args:
        module: the module.
        name: name of the weight.
        dim: the dimension along which each slice has a length of its own; None for one length in all.

    Returns:
        Module: ``module``.

    Raises:
        RuntimeError: when the weight has a weight norm already.
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm) and hook.name == name:
            raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    hook = WeightNorm(name, -1 if dim is None else dim)
    weight = getattr(module, name)
    lengths = norm_except_dim(weight, hook.dim).detach()
    del module._parameters[name]
    module.register_parameter(name + "_g", Parameter(lengths))
    module.register_parameter(name + "_v", Parameter(weight.detach()))
    setattr(module, name, hook.compute_weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Undo :func:`weight_norm`, keeping the weight's value.

    Raises:
        ValueError: when there is no weight norm on it.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"weight_norm of '{name}' not found in {module}")
