"""Adamax."""

from __future__ import annotations

from typing import Any, ClassVar

from flambeau import Tensor
from flambeau.optim.elementwise import ElementwiseOptimizer, check_betas, check_options
from flambeau.optim.optimizer import scalar


class Adamax(ElementwiseOptimizer):
    """Adam with the infinity norm (Kingma and Ba, 2014; ``torch.optim.Adamax``).

    With ``g`` the gradient plus ``weight_decay * param``, and ``t`` the number of the step::

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        param = param - lr / (1 - beta1^t) * m / u

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: ``(beta1, beta2)``.
        eps, weight_decay: see above.
        maximize: go up instead of down.
        foreach, capturable: accepted for PyTorch's sake; a step is always one op a device.
        differentiable: not supported.

    Raises:
        ValueError: for options out of range.
    """

    _op = "adamax_step"
    _later_options: ClassVar[dict[str, Any]] = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_options(lr, epsilon=eps, weight_decay=weight_decay)
        check_betas(betas)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return "exp_avg", "exp_inf"

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> tuple[float, ...]:
        return (state["step"],)

    def _options(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (scalar(group["lr"]), *group["betas"], group["eps"], group["weight_decay"], group["maximize"])
