"""RMSprop."""

from __future__ import annotations

from typing import Any, ClassVar

from flambeau import Tensor
from flambeau.optim.elementwise import ElementwiseOptimizer, check_options
from flambeau.optim.optimizer import scalar


class RMSprop(ElementwiseOptimizer):
    """RMSprop: gradients over the root of a running average of their squares (``torch.optim.RMSprop``).

    By Hinton (lecture notes, 2012); the centered version by Graves (2013). With ``g`` the gradient plus
    ``weight_decay * param``::

        v = alpha * v + (1 - alpha) * g^2
        b = momentum * b + g / (sqrt(v) + eps)       (centered: sqrt(v - a^2), a the average of g as v is that of g^2)
        param = param - lr * b

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        alpha, eps, weight_decay, momentum, centered: see above.
        maximize: go up instead of down.
        capturable, foreach: accepted for PyTorch's sake; a step is always one op a device.
        differentiable: not supported.

    Raises:
        ValueError: for options out of range.
    """

    _op = "rmsprop_step"
    _later_options: ClassVar[dict[str, Any]] = {
        "momentum": 0,
        "centered": False,
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_options(lr, epsilon=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "alpha": alpha,
                "eps": eps,
                "centered": centered,
                "weight_decay": weight_decay,
                "capturable": capturable,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
            },
        )

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return (
            "square_avg",
            "momentum_buffer" if group["momentum"] > 0 else None,
            "grad_avg" if group["centered"] else None,
        )

    def _options(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (
            scalar(group["lr"]),
            group["alpha"],
            group["eps"],
            group["weight_decay"],
            group["momentum"],
            group["maximize"],
        )
