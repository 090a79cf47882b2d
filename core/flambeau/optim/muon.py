"""Muon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flambeau
from flambeau import Tensor
from flambeau.optim.optimizer import Optimizer, evaluate, scalar

if TYPE_CHECKING:
    from collections.abc import Callable


class Muon(Optimizer):
    """Muon: momentum, made orthogonal; for the matrices of hidden layers (Jordan et al., 2024; ``torch.optim.Muon``).

    With ``b`` the momentum, an average of the gradients ``g``, and ``orthogonal`` a few steps of a Newton-Schulz
    iteration that take the singular values of a matrix near 1::

        b = momentum * b + (1 - momentum) * g
        u = orthogonal(momentum * b + (1 - momentum) * g  if nesterov  else b)
        param = param * (1 - lr * weight_decay) - lr * scale * u

    The iteration runs in the parameters' dtype (in float32 for 16-bit ones); PyTorch's runs in bfloat16.

    Args:
        params: matrices or groups of them. Use another optimizer for biases, embeddings and the last layer.
        lr, weight_decay, momentum, nesterov: see above.
        ns_coefficients: ``(a, b, c)`` of the iteration ``X = a X + (b X X^T + c (X X^T)^2) X``.
        eps: the least norm that a matrix is divided by before the iteration.
        ns_steps: how many iterations.
        adjust_lr_fn: the scale: ``"original"`` (the default) for ``sqrt(max(1, rows / columns))``,
            ``"match_rms_adamw"`` for ``0.2 * sqrt(max(rows, columns))``, which suits learning rates found for AdamW.

    Raises:
        ValueError: for options out of range and parameters that are no matrices.
        RuntimeError: in a step, for complex parameters.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not momentum >= 0.0:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(
            params,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "nesterov": nesterov,
                "ns_coefficients": ns_coefficients,
                "eps": eps,
                "ns_steps": ns_steps,
                "adjust_lr_fn": adjust_lr_fn,
            },
        )
        for group in self.param_groups:
            for param in group["params"]:
                if param.ndim != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with size: "
                        f"{list(param.shape)}; give the others to an optimizer of their own"
                    )

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient; return what ``closure`` returned."""
        loss = evaluate(closure)
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        if group["ns_steps"] >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")
        calls: dict[Any, tuple[list[Any], list[Any], list[Any]]] = {}
        for param in group["params"]:
            grad = param._grad
            if grad is None:
                continue
            if param.is_complex():
                raise RuntimeError("Muon does not support complex parameters")
            state = self.state[param]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = flambeau.zeros_like(grad)
            lists = calls.setdefault(param._device, ([], [], []))
            lists[0].append(param._array)
            lists[1].append(grad._array)
            lists[2].append(state["momentum_buffer"]._array)
            param._bump_version()
        for device, lists in calls.items():
            device.xp.muon_step(
                *lists,
                scalar(group["lr"]),
                group["weight_decay"],
                group["momentum"],
                group["nesterov"],
                group["ns_coefficients"],
                group["ns_steps"],
                group["eps"],
                group["adjust_lr_fn"] == "match_rms_adamw",
            )
