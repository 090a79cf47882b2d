"""The base class of optimizers whose step is one op on lists of arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import flambeau
from flambeau import Tensor
from flambeau.optim.optimizer import Optimizer, evaluate, refuse_differentiable

if TYPE_CHECKING:
    from collections.abc import Callable


class ElementwiseOptimizer(Optimizer):
    """An optimizer that treats all elements alike: a group's step is one call of the op :attr:`_op` a device.

    The op takes the parameters, the gradients, a list for each name in :meth:`_state_names`, a list for each number in
    :meth:`_numbers`, and the values of :meth:`_options`. Complex parameters are two real ones to it: their real and
    imaginary parts are views that share their memory.
    """

    _op: str
    _float_state: tuple[str, ...] = ("step",)
    # Options that older checkpoints lack, with their defaults.
    _later_options: ClassVar[dict[str, Any]] = {}

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        refuse_differentiable(type(self).__name__, defaults.get("differentiable", False))
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            for name, value in self._later_options.items():
                group.setdefault(name, value)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient; return what ``closure`` returned."""
        loss = evaluate(closure)
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _state_names(self, group: dict[str, Any]) -> tuple[str | None, ...]:
        """The state's tensors in the order of the op's parameters, None for what this group does without."""
        raise NotImplementedError

    def _new_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """The state of a parameter before its first step."""
        return {
            "step": 0.0,
            **{name: flambeau.zeros_like(param) for name in self._state_names(group) if name is not None},
        }

    def _numbers(self, state: dict[str, Any], group: dict[str, Any]) -> tuple[float, ...]:
        """The numbers that the op takes for each parameter; ``state["step"]`` is that of this step."""
        return ()

    def _options(self, group: dict[str, Any]) -> tuple[Any, ...]:
        """The op's last arguments."""
        raise NotImplementedError

    def _step_group(self, group: dict[str, Any]) -> None:
        names = self._state_names(group)
        calls: dict[Any, list[list[Any]]] = {}
        for param in group["params"]:
            grad = param._grad
            if grad is None:
                continue
            state = self.state[param]
            if not state:
                with flambeau.no_grad():
                    state.update(self._new_state(param, group))
            state["step"] += 1.0
            numbers = self._numbers(state, group)
            arrays = [param._array, grad._array]
            arrays += [None if name is None else state[name]._array for name in names]
            device = param._device
            lists = calls.get(device)
            if lists is None:
                lists = calls[device] = [[] for _ in range(len(arrays) + len(numbers))]
            parts = [arrays]
            if param.is_complex():
                parts = [
                    [None if array is None else part(array) for array in arrays]
                    for part in (device.xp.real, device.xp.imag)
                ]
            for part in parts:
                for collected, value in zip(lists, (*part, *numbers), strict=True):
                    if value is not None:
                        collected.append(value)
            param._bump_version()
        if calls:
            options = self._options(group)
            for device, lists in calls.items():
                getattr(device.xp, self._op)(*lists, *options)


def check_options(lr: float | Tensor, **options: float) -> None:
    """Raise ValueError for a learning rate or an option that is negative or NaN."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")
    for name, value in options.items():
        if not value >= 0.0:
            raise ValueError(f"Invalid {name} value: {value}")


def check_betas(betas: tuple[float, float]) -> None:
    """Raise ValueError unless both are in [0, 1)."""
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
