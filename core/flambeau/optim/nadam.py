"""NAdam."""

from __future__ import annotations

from typing import Any, ClassVar

from flambeau import Tensor
from flambeau.ops.optimizer import nadam_momentum
from flambeau.optim.elementwise import ElementwiseOptimizer, check_betas, check_options
from flambeau.optim.optimizer import scalar


class NAdam(ElementwiseOptimizer):
    """Adam with Nesterov's momentum (Dozat, 2016; ``torch.optim.NAdam``).

    With ``g`` the gradient plus ``weight_decay * param``, ``t`` the number of the step, ``m`` and ``v`` as for
    :class:`~flambeau.optim.Adam`, and ``mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2)``::

        param = param - lr * ((1 - mu(t)) / (1 - mu(1) ... mu(t)) * g
                              + mu(t + 1) / (1 - mu(1) ... mu(t + 1)) * m) / (sqrt(v / (1 - beta2^t)) + eps)

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: ``(beta1, beta2)``.
        eps, weight_decay, momentum_decay: see above.
        decoupled_weight_decay: multiply the parameters with ``1 - lr * weight_decay`` instead, as AdamW does.
        maximize: go up instead of down.
        foreach, capturable: accepted for PyTorch's sake; a step is always one op a device.
        differentiable: not supported.

    Raises:
        ValueError: for options out of range.
    """

    _op = "nadam_step"
    _float_state = ("step", "mu_product")
    _later_options: ClassVar[dict[str, Any]] = {
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_options(lr, epsilon=eps, weight_decay=weight_decay, momentum_decay=momentum_decay)
        check_betas(betas)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
            },
        )

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq"

    def _new_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"mu_product": 1.0, **super()._new_state(param, group)}

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> tuple[float, ...]:
        state["mu_product"] *= nadam_momentum(group["betas"][0], group["momentum_decay"], state["step"])
        return state["step"], state["mu_product"]

    def _options(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (
            scalar(group["lr"]),
            *group["betas"],
            group["eps"],
            group["weight_decay"],
            group["momentum_decay"],
            group["decoupled_weight_decay"],
            group["maximize"],
        )
