"""Stochastic gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flambeau
from flambeau import Tensor
from flambeau.optim.optimizer import Optimizer, evaluate, refuse_differentiable, scalar

if TYPE_CHECKING:
    from collections.abc import Callable


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum or without (``torch.optim.SGD``).

    With ``g`` the gradient plus ``weight_decay * param``::

        buffer = momentum * buffer + (1 - dampening) * g      (g in the first step)
        param = param - lr * (g + momentum * buffer  if nesterov  else buffer)

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        momentum, dampening, weight_decay, nesterov: see above.
        maximize: go up instead of down.
        foreach, fused: accepted for PyTorch's sake; a step is always one op a device.
        differentiable: not supported.

    Raises:
        ValueError: for options out of range.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        refuse_differentiable("SGD", differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                "foreach": foreach,
                "differentiable": differentiable,
                "fused": fused,
            },
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("nesterov", False)
            group.setdefault("maximize", False)
            group.setdefault("foreach", None)
            group.setdefault("differentiable", False)
            group.setdefault("fused", False)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient; return what ``closure`` returned."""
        loss = evaluate(closure)
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        momentum = group["momentum"]
        # One call a device; parameters whose buffer is new need one of their own.
        calls: dict[Any, tuple[list[Any], list[Any], list[Any]]] = {}
        for param in group["params"]:
            grad = param._grad
            if grad is None:
                continue
            first = False
            buffer = None
            if momentum:
                state = self.state[param]
                buffer = state.get("momentum_buffer")
                if buffer is None:
                    first = True
                    buffer = state["momentum_buffer"] = flambeau.empty_like(grad)
            key = (param._device, first)
            lists = calls.get(key)
            if lists is None:
                lists = calls[key] = ([], [], [])
            lists[0].append(param._array)
            lists[1].append(grad._array)
            if buffer is not None:
                lists[2].append(buffer._array)
            param._bump_version()
        if not calls:
            return
        options = (
            scalar(group["lr"]),
            momentum,
            group["dampening"],
            scalar(group["weight_decay"]),
            group["nesterov"],
            group["maximize"],
        )
        for (device, first), lists in calls.items():
            device.xp.sgd_step(*lists, *options, first)
