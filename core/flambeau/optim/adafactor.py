"""Adafactor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flambeau
from flambeau import Tensor
from flambeau.optim.optimizer import Optimizer, evaluate, scalar

if TYPE_CHECKING:
    from collections.abc import Callable


class Adafactor(Optimizer):
    """Adafactor: adaptive rates with a memory that grows with the sides of a matrix, not with its area.

    By Shazeer and Stern (2018); ``torch.optim.Adafactor``. With ``g`` the gradient and ``t`` the number of the step,
    the second moments ``v`` are averages of ``g^2`` with the weight ``t^beta2_decay`` for what is new. For parameters
    with two dimensions or more, only the means of their rows and columns are kept::

        u = g / sqrt(max(v, eps1^2))
        param = param * (1 - lr * weight_decay)
                - max(eps2, rms(param)) * min(lr, 1 / sqrt(t)) / max(1, rms(u) / d) * u

    Args:
        params: parameters or groups of them; real ones.
        lr: the largest relative step size.
        beta2_decay: not positive.
        eps: ``(eps1, eps2)``; where ``eps1`` is None it is the dtype's ``eps``.
        d: the largest root mean square of an update; larger ones are scaled down.
        weight_decay: decoupled from the gradient.
        foreach: accepted for PyTorch's sake; a step is always one op for the matrices and one for the vectors.
        maximize: go up instead of down.

    Raises:
        ValueError: for options out of range.
        RuntimeError: in a step, for complex parameters.
    """

    _float_state = ("step",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": eps,
                "d": d,
                "weight_decay": weight_decay,
                "foreach": foreach,
                "maximize": maximize,
            },
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("foreach", None)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient; return what ``closure`` returned."""
        loss = evaluate(closure)
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        # Matrices and vectors need calls of their own, and so do dtypes where eps1 follows from them.
        calls: dict[Any, tuple[list[Any], ...]] = {}
        for param in group["params"]:
            grad = param._grad
            if grad is None:
                continue
            if param.is_complex():
                raise RuntimeError("Adafactor does not support complex parameters")
            state = self.state[param]
            if not state:
                self._init_state(state, grad)
            state["step"] += 1.0
            factored = grad.ndim > 1
            lists = calls.setdefault((param._device, param._dtype, factored), ([], [], [], [], [], []))
            lists[0].append(param._array)
            lists[1].append(grad._array)
            if factored:
                lists[2].append(state["row_var"]._array)
                lists[3].append(state["col_var"]._array)
            else:
                lists[4].append(state["variance"]._array)
            lists[5].append(state["step"])
            param._bump_version()
        eps1, eps2 = group["eps"]
        for (device, dtype, _), lists in calls.items():
            device.xp.adafactor_step(
                *lists,
                scalar(group["lr"]),
                group["beta2_decay"],
                flambeau.finfo(dtype).eps if eps1 is None else eps1,
                eps2,
                group["d"],
                group["weight_decay"],
                group["maximize"],
            )

    def _init_state(self, state: dict[str, Any], grad: Tensor) -> None:
        state["step"] = 0.0
        with flambeau.no_grad():
            if grad.ndim > 1:
                rest, rows, columns = grad.shape[:-2], grad.shape[-2], grad.shape[-1]
                state["row_var"] = grad.new_zeros((*rest, rows, 1))
                state["col_var"] = grad.new_zeros((*rest, 1, columns))
            else:
                state["variance"] = flambeau.zeros_like(grad)
