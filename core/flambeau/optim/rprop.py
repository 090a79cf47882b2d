"""Rprop."""

from __future__ import annotations

from typing import Any, ClassVar

import flambeau
from flambeau import Tensor
from flambeau.optim.elementwise import ElementwiseOptimizer, check_options
from flambeau.optim.optimizer import scalar


class Rprop(ElementwiseOptimizer):
    """Resilient backpropagation (Riedmiller and Braun, 1993; ``torch.optim.Rprop``).

    Only the sign of the gradient counts, so it is for training on all data at once. Each element has a step size of its
    own, which grows while the sign stays; where the sign changes it shrinks, and the element stays where it is.

    Args:
        params: parameters or groups of them.
        lr: the first step size.
        etas: the factors by which step sizes shrink and grow.
        step_sizes: the smallest and the largest step size.
        maximize: go up instead of down.
        capturable, foreach: accepted for PyTorch's sake; a step is always one op a device.
        differentiable: not supported.

    Raises:
        ValueError: for options out of range.
    """

    _op = "rprop_step"
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
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_options(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr,
                "etas": etas,
                "step_sizes": step_sizes,
                "foreach": foreach,
                "maximize": maximize,
                "differentiable": differentiable,
                "capturable": capturable,
            },
        )

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        return "prev", "step_size"

    def _new_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        lr = scalar(group["lr"])
        first = complex(lr, lr) if param.is_complex() else lr
        return {
            "step": 0.0,
            "prev": flambeau.zeros_like(param),
            "step_size": flambeau.full_like(param, first),
        }

    def _options(self, group: dict[str, Any]) -> tuple[Any, ...]:
        return (*group["etas"], *group["step_sizes"], group["maximize"])
