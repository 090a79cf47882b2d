"""Adam and AdamW."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flambeau
from flambeau import Tensor
from flambeau.ops.declare import OPS
from flambeau.optim.optimizer import Optimizer, evaluate, refuse_differentiable, scalar

if TYPE_CHECKING:
    from collections.abc import Callable


class Adam(Optimizer):
    """Adam: A Method for Stochastic Optimization (Kingma and Ba, 2014; ``torch.optim.Adam``).

    With ``g`` the gradient plus ``weight_decay * param``, and ``t`` the number of the step::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        param = param - lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: ``(beta1, beta2)``.
        eps, weight_decay: see above.
        amsgrad: use the largest ``v`` so far in its place (Reddi et al., 2018).
        maximize: go up instead of down.
        decoupled_weight_decay: decay the weights as :class:`AdamW` does.
        foreach, fused: accepted for PyTorch's sake; a step is always one op a device.
        capturable: count the steps on the device, where it has streams, so that :func:`flambeau.cuda.graph` may capture
            them; slower than a plain step outside of a graph.
        differentiable: not supported.

    Raises:
        ValueError: for options out of range.
    """

    _float_state = ("step",)

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        _check_tensor_options(lr, betas, bool(foreach) and not capturable)
        if not weight_decay >= 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        refuse_differentiable(type(self).__name__, differentiable)
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": tuple([scalar(beta) for beta in betas]),
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "foreach": foreach,
                "capturable": capturable,
                "differentiable": differentiable,
                "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("amsgrad", False)
            group.setdefault("maximize", False)
            group.setdefault("foreach", None)
            group.setdefault("capturable", False)
            group.setdefault("differentiable", False)
            group.setdefault("decoupled_weight_decay", False)
            group.setdefault("fused", None)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient; return what ``closure`` returned."""
        loss = evaluate(closure)
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        amsgrad = group["amsgrad"]
        all_state = self.state
        # One call a device.
        calls: dict[Any, tuple[list[Any], ...]] = {}
        for param in group["params"]:
            grad = param._grad
            if grad is None:
                continue
            state = all_state[param]
            if not state:
                self._init_state(state, param, amsgrad)
            if group["capturable"] and param._device.backend.runtime is not None:
                step = _counted_there(state, param)
            else:
                step = state["step"] = state["step"] + 1.0
            lists = calls.get(param._device)
            if lists is None:
                lists = calls[param._device] = ([], [], [], [], [], [])
            arrays: tuple[Any, ...] = (
                param._array, grad._array, state["exp_avg"]._array, state["exp_avg_sq"]._array,
            )  # fmt: skip
            if amsgrad:
                arrays += (state["max_exp_avg_sq"]._array,)
            if param._dtype.is_complex:  # two real parameters: the parts are views
                for part in (param._device.xp.real, param._device.xp.imag):
                    for collected, array in zip(lists, arrays, strict=False):
                        collected.append(part(array))
                    lists[5].append(step)
            else:
                for collected, array in zip(lists, arrays, strict=False):
                    collected.append(array)
                lists[5].append(step)
            param._bump_version()
        if not calls:
            return
        beta1, beta2 = group["betas"]
        options = (
            scalar(group["lr"]),
            scalar(beta1),
            scalar(beta2),
            group["eps"],
            group["weight_decay"],
            amsgrad,
            group["maximize"],
            group["decoupled_weight_decay"],
        )
        for device, lists in calls.items():
            if hasattr(lists[5][0], "shape"):
                OPS["adam_step"].body(device.xp, *lists, *options)
            else:
                device.xp.adam_step(*lists, *options)

    def _init_state(self, state: dict[str, Any], param: Tensor, amsgrad: bool) -> None:
        state["step"] = 0.0
        with flambeau.no_grad():
            state["exp_avg"] = flambeau.zeros_like(param)
            state["exp_avg_sq"] = flambeau.zeros_like(param)
            if amsgrad:
                state["max_exp_avg_sq"] = flambeau.zeros_like(param)


def _counted_there(state: dict[str, Any], param: Tensor) -> Any:
    """The number of the step as a raw array on the parameter's device, after one more has been counted."""
    step = state["step"]
    if not isinstance(step, Tensor):  # the first step, or the first after loading
        step = state["step"] = flambeau.full((), step, dtype=flambeau.float32, device=param._device)
    return param._device.xp.add_(step._array, 1.0)


def _check_tensor_options(lr: float | Tensor, betas: tuple[float | Tensor, ...], foreach: bool) -> None:
    """Refuse the tensors as options that PyTorch refuses. ``foreach``: asked for, without ``capturable``."""
    if len({isinstance(beta, Tensor) for beta in betas}) > 1:
        raise ValueError("betas must be either both floats or both Tensors")
    named = {"lr": lr} | {f"betas[{i}]": beta for i, beta in enumerate(betas)}
    for name, value in named.items():
        if isinstance(value, Tensor) and foreach:
            raise ValueError(f"{name} as a Tensor is not supported for capturable=False and foreach=True")
        if isinstance(value, Tensor) and value.numel() != 1:
            raise ValueError(f"Tensor {name} must be 1-element")


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2017; ``torch.optim.AdamW``).

    The parameters are multiplied with ``1 - lr * weight_decay``; the gradient is left as it is. Arguments as for
    :class:`Adam`.
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True
