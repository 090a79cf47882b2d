"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any, ClassVar

from flambeau import Tensor
from flambeau.optim.elementwise import ElementwiseOptimizer, check_options
from flambeau.optim.optimizer import scalar


class ASGD(ElementwiseOptimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky, 1992; ``torch.optim.ASGD``).

    With ``g`` the gradient plus ``weight_decay * param``, and ``t`` the number of the step::

        param = param * (1 - lambd * eta) - eta * g
        ax = ax + mu * (param - ax)
        eta = lr / (1 + lambd * lr * t)^alpha             (for the next step; lr in the first)
        mu = 1 / max(1, t - t0)                           (for the next step; 1 in the first)

    The average ``ax`` is in ``state[param]["ax"]``; the parameters themselves are not averages.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        lambd, alpha, weight_decay: see above.
        t0: the step at which averaging begins.
        maximize: go up instead of down.
        foreach, capturable: accepted for PyTorch's sake; a step is always one op a device.
        differentiable: not supported.

    Raises:
        ValueError: for options out of range.
    """

    _op = "asgd_step"
    _float_state = ("step", "eta", "mu")
    _later_options: ClassVar[dict[str, Any]] = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_options(lr, weight_decay=weight_decay)
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return ("ax",)

    def _new_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"eta": float(scalar(group["lr"])), "mu": 1.0, **super()._new_state(param, group)}

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> tuple[float, ...]:
        now = state["eta"], state["mu"]
        lr = scalar(group["lr"])
        state["eta"] = lr / (1 + group["lambd"] * lr * state["step"]) ** group["alpha"]
        state["mu"] = 1 / max(1, state["step"] - group["t0"])
        return now

    def _options(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return group["lambd"], group["weight_decay"], group["maximize"]
