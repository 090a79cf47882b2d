"""Averages of weights: stochastic weight averaging (SWA), exponential ones (EMA) (``torch.optim.swa_utils``)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import Module
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.optim.lr_scheduler import LRScheduler
from flambeau.optim.lr_scheduler._base import one_a_group
from flambeau.optim.optimizer import Optimizer, scalar

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def _average(averages: Sequence[Tensor], values: Sequence[Tensor], weight: float) -> None:
    """One call of an op for the floating-point tensors of a device; counts and the like go one by one."""
    lists: dict[Any, tuple[list[Any], list[Any]]] = {}
    for average, value in zip(averages, values, strict=True):
        if average.is_floating_point() and value.dtype is average.dtype and value.device is average.device:
            own, new = lists.setdefault(average._device, ([], []))
            own.append(average._array)
            new.append(value._array)
            average._bump_version()
        else:
            average.copy_(average + (value - average) * weight)
    for device, (own, new) in lists.items():
        device.xp.average_step(own, new, weight)


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]:
    """Return a function of lists of tensors that keeps exponential moving averages, in place.

    ``average = decay * average + (1 - decay) * value``

    Raises:
        ValueError: when ``decay`` is not in [0, 1].
    """
    _check_decay(decay)

    @flambeau.no_grad()
    def ema_update(ema_param_list: Sequence[Tensor], current_param_list: Sequence[Tensor], _: Any) -> None:
        _average(ema_param_list, current_param_list, 1 - decay)

    return ema_update


def get_swa_multi_avg_fn() -> Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]:
    """Return a function of lists of tensors that keeps the mean of all values so far, in place."""

    @flambeau.no_grad()
    def swa_update(
        averaged_param_list: Sequence[Tensor], current_param_list: Sequence[Tensor], num_averaged: Tensor | int
    ) -> None:
        _average(averaged_param_list, current_param_list, 1 / (scalar(num_averaged) + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """Return a function of a tensor and its average that gives the next exponential moving average.

    Raises:
        ValueError: when ``decay`` is not in [0, 1].
    """
    _check_decay(decay)

    @flambeau.no_grad()
    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Any], Tensor]:
    """Return a function of a tensor, its average and how many it is of, that gives the next average."""

    @flambeau.no_grad()
    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Tensor | int) -> Tensor:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's (``torch.optim.swa_utils.AveragedModel``).

    Call :meth:`update_parameters` after steps of the optimizer, and :func:`update_bn` at the end if the model has batch
    normalization.

    Args:
        model: copied.
        device: where the averages live; where the model is unless given.
        avg_fn: ``(average, value, num_averaged) -> new average`` for one parameter.
        multi_avg_fn: ``(averages, values, num_averaged)`` for lists of parameters, in place. The mean of all values
            unless one of the two is given.
        use_buffers: whether to average buffers too; otherwise they are copied.

    Raises:
        AssertionError: when both functions are given.
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
        multi_avg_fn: Callable[[Sequence[Tensor], Sequence[Tensor], Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", flambeau.tensor(0, dtype=flambeau.int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the averaged model."""
        return self.module(*args, **kwargs)

    @flambeau.no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the model's parameters into the averages; the first time, copy them."""
        averages = [tensor.detach() for tensor in self._averaged(self.module)]
        values = [
            value.detach().to(average.device) for average, value in zip(averages, self._averaged(model), strict=True)
        ]
        if self.n_averaged == 0:
            for average, value in zip(averages, values, strict=True):
                average.copy_(value)
        elif self.avg_fn is not None:
            for average, value in zip(averages, values, strict=True):
                average.copy_(self.avg_fn(average, value, self.n_averaged.to(average.device)))
        else:
            # One call a device and dtype, as in PyTorch: the function may look at the first of a list.
            lists: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
            for average, value in zip(averages, values, strict=True):
                own, new = lists.setdefault((average.device, average.dtype), ([], []))
                own.append(average)
                new.append(value)
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            for (device, _), (own, new) in lists.items():
                update(own, new, self.n_averaged.to(device))
        if not self.use_buffers:
            for average, value in zip(self.module.buffers(), model.buffers(), strict=True):
                average.detach().copy_(value.detach().to(average.device))
        self.n_averaged += 1

    def _averaged(self, model: Module) -> Iterable[Tensor]:
        return itertools.chain(model.parameters(), model.buffers()) if self.use_buffers else model.parameters()


@flambeau.no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of a model's batch normalizations anew, in one pass over the data.

    Args:
        loader: yields inputs, or tuples and lists that begin with one.
        device: where inputs are moved before they go into the model.
    """
    momenta = {module: module.momentum for module in model.modules() if isinstance(module, _BatchNorm)}
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.reset_running_stats()
        module.momentum = None  # the mean over all batches
    for batch in loader:
        inputs = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(inputs if device is None else inputs.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Go from the learning rate that there is to ``swa_lr``, then stay there (``torch.optim.swa_utils.SWALR``).

    Args:
        optimizer: whose groups are changed.
        swa_lr: the rate to go to, or a list with one for each group.
        anneal_epochs: in how many steps.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        last_epoch: the number of the last step that was done; -1 to begin.

    Raises:
        ValueError: for options out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for rate, group in zip(one_a_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _progress(self, step: int) -> float:
        """How much of the way is done after ``step`` steps."""
        done = max(0, min(1, step / max(1, self.anneal_epochs)))
        return (1 - math.cos(math.pi * done)) / 2 if self._anneal_strategy == "cos" else done

    def get_lr(self) -> list[Any]:
        """The next rates, from those that there are."""
        self._check_within_step()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._progress(step - 1), self._progress(step)
        rates = []
        for group in self.optimizer.param_groups:
            goal = group["swa_lr"]
            start = goal if before == 1 else (group["lr"] - before * goal) / (1 - before)
            rates.append(goal * now + start * (1 - now))
        return rates
