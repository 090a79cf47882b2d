"""RAdam."""

from __future__ import annotations

from typing import Any, ClassVar

from flambeau import Tensor
from flambeau.optim.elementwise import ElementwiseOptimizer, check_betas, check_options
from flambeau.optim.optimizer import scalar


class RAdam(ElementwiseOptimizer):
    """Adam with a rectified rate, which needs no warmup (Liu et al., 2019; ``torch.optim.RAdam``).

    With ``g``, ``t``, ``m`` and ``v`` as for :class:`~flambeau.optim.Adam`, ``R = 2 / (1 - beta2) - 1`` and
    ``r = R - 2 t beta2^t / (1 - beta2^t)``, the length of the average that ``v`` is::

        param = param - lr / (1 - beta1^t) * m * rectification

    where the rectification is ``sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)) * sqrt(1 - beta2^t) / (sqrt(v) + eps)``
    when ``r > 5``, and 1 in the first steps.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: ``(beta1, beta2)``.
        eps: see above.
        weight_decay: times the parameters is added to the gradient.
        decoupled_weight_decay: multiply the parameters with ``1 - lr * weight_decay`` instead, as AdamW does.
        maximize: go up instead of down.
        foreach, capturable: accepted for PyTorch's sake; a step is always one op a device.
        differentiable: not supported.

    Raises:
        ValueError: for options out of range.
    """

    _op = "radam_step"
    _later_options: ClassVar[dict[str, Any]] = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
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
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "decoupled_weight_decay": decoupled_weight_decay,
                "differentiable": differentiable,
            },
        )

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return "exp_avg", "exp_avg_sq"

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> tuple[float, ...]:
        return (state["step"],)

    def _options(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (
            scalar(group["lr"]),
            *group["betas"],
            group["eps"],
            group["weight_decay"],
            group["decoupled_weight_decay"],
            group["maximize"],
        )
