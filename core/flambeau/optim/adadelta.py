"""Adadelta."""

from __future__ import annotations

from typing import Any, ClassVar

from flambeau import Tensor
from flambeau.optim.elementwise import ElementwiseOptimizer, check_options
from flambeau.optim.optimizer import scalar


class Adadelta(ElementwiseOptimizer):
    """Adadelta: an adaptive learning rate method (Zeiler, 2012; ``torch.optim.Adadelta``).

    With ``g`` the gradient plus ``weight_decay * param``::

        v = rho * v + (1 - rho) * g^2
        delta = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * delta^2
        param = param - lr * delta

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        rho, eps, weight_decay: see above.
        maximize: go up instead of down.
        foreach, capturable: accepted for PyTorch's sake; a step is always one op a device.
        differentiable: not supported.

    Raises:
        ValueError: for options out of range.
    """

    _op = "adadelta_step"
    _later_options: ClassVar[dict[str, Any]] = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_options(lr, epsilon=eps, weight_decay=weight_decay)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "capturable": capturable,
                "foreach": foreach,
                "differentiable": differentiable,
            },
        )

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return "square_avg", "acc_delta"

    def _options(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return scalar(group["lr"]), group["rho"], group["eps"], group["weight_decay"], group["maximize"]
