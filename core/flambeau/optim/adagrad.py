"""Adagrad."""

from __future__ import annotations

from typing import Any, ClassVar

import flambeau
from flambeau import Tensor
from flambeau.optim.elementwise import ElementwiseOptimizer, check_options
from flambeau.optim.optimizer import scalar


class Adagrad(ElementwiseOptimizer):
    """Adaptive subgradient methods (Duchi, Hazan and Singer, 2011; ``torch.optim.Adagrad``).

    With ``g`` the gradient plus ``weight_decay * param``, and ``t`` the number of the step::

        s = s + g^2
        param = param - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    The state is there from the beginning, not from the first step.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        lr_decay, weight_decay, eps: see above.
        initial_accumulator_value: ``s`` before the first step.
        maximize: go up instead of down.
        foreach, fused: accepted for PyTorch's sake; a step is always one op a device.
        differentiable: not supported.

    Raises:
        ValueError: for options out of range.
        RuntimeError: for ``fused`` together with ``foreach``.
    """

    _op = "adagrad_step"
    _later_options: ClassVar[dict[str, Any]] = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "fused": None,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_options(
            lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            epsilon=eps,
        )
        if fused and foreach:
            raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "eps": eps,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "fused": fused,
            },
        )
        with flambeau.no_grad():
            for group in self.param_groups:
                for param in group["params"]:
                    self.state[param].update(self._new_state(param, group))

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("sum",)

    def _new_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        start: float | complex = self.defaults["initial_accumulator_value"]
        if param.is_complex():
            start = complex(start, start)
        return {"step": 0.0, "sum": flambeau.full_like(param, start)}

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> tuple[float, ...]:
        return (state["step"],)

    def _options(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return scalar(group["lr"]), group["lr_decay"], group["eps"], group["weight_decay"], group["maximize"]
