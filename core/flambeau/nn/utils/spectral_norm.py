"""Spectral norm by a hook, as PyTorch had it before parametrizations."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.parametrizations import default_dim, matrix_along, power_iterate


class SpectralNorm:
    """The hook that computes ``weight`` from ``weight_orig`` before each forward pass.

    ``weight_u`` and ``weight_v`` are buffers with the singular vectors as far as they are known.
    """

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        """The weight as a matrix whose rows are its slices along ``dim``."""
        return matrix_along(weight, self.dim)

    def compute_weight(self, module: Module, do_power_iteration: bool) -> Tensor:
        """The weight divided by its largest singular value, after some power iteration where asked for."""
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = matrix_along(weight, self.dim)
        if do_power_iteration:
            with flambeau.no_grad():
                power_iterate(matrix.detach(), u, v, self.n_power_iterations, self.eps)
            # Copies: the buffers change in place at the next call, before this one's gradient is computed.
            u, v = u.clone(), v.clone()
        result: Tensor = weight / flambeau.dot(u, flambeau.mv(matrix, v))
        return result

    def remove(self, module: Module) -> None:
        """Make the weight an ordinary parameter with its present value."""
        with flambeau.no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        delattr(module, self.name)
        for suffix in ("_u", "_v", "_orig"):
            delattr(module, self.name + suffix)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, do_power_iteration=module.training))


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide a weight by its largest singular value (Miyato et al., 2018); the parameter becomes ``NAME_orig``.

    :func:`flambeau.nn.utils.parametrizations.spectral_norm` does the same by a parametrization.

    Args:
        module: the module.
        name: name of the weight.
        n_power_iterations: how many steps of power iteration each forward pass in training mode makes.
        eps: keeps a division finite.
        dim: the dimension that gives the rows of the matrix; that of the output channels when left out.

    Returns:
        Module: ``module``.

    Raises:
        RuntimeError: when the weight has a spectral norm already.
        ValueError: when it is None.
    """
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    hook = SpectralNorm(name, n_power_iterations, default_dim(module) if dim is None else dim, eps)
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    with flambeau.no_grad():
        rows, columns = matrix_along(weight, hook.dim).shape
        u = F.normalize(weight.new_empty(rows).normal_(), dim=0, eps=eps)
        v = F.normalize(weight.new_empty(columns).normal_(), dim=0, eps=eps)
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    setattr(module, name, weight.detach())
    module.register_buffer(name + "_u", u)
    module.register_buffer(name + "_v", v)
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Undo :func:`spectral_norm`, keeping the weight's value.

    Raises:
        ValueError: when there is no spectral norm on it.
    """
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, SpectralNorm) and hook.name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"spectral_norm of '{name}' not found in {module}")
