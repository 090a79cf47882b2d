"""Calls of the framework that a recording takes as something else than the kernels in them.

Optimizers count and read options, which a replay has to do as well: their numbers are live while they step. Schedulers
are pure Python: a replay calls them. Numbers that a program spells out (``flambeau.tensor([1.0, 2.0])``) are
constants. Looks at values that only serve to refuse wrong ones are repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from flambeau.autograd.engine import _Pass
from flambeau.autograd.node import Leaf
from flambeau.compiler._joint import has_hooks
from flambeau.compiler._live import Expression, Live
from flambeau.conversion import make_array
from flambeau.optim import lr_scheduler
from flambeau.optim.lbfgs import LBFGS
from flambeau.optim.optimizer import Optimizer
from flambeau.optim.sgd import SGD
from flambeau.tensor import Tensor, examined

Ended = Callable[[Any], None]


def specials() -> dict[CodeType, Callable[[Any, FrameType], Ended | None]]:
    """By the code of a function what to do when a frame of it begins; that may give what to do when it ends."""
    found: dict[CodeType, Callable[[Any, FrameType], Ended | None]] = {
        SGD.step.__code__: _optimizer_step,  # the frame around the step of every class
        Optimizer.zero_grad.__code__: _zero_grad,
        make_array.__code__: _made,
        examined.__code__: _examined,
        _Pass.run.__code__: _backward,
    }
    for cls in vars(lr_scheduler).values():
        step = getattr(cls, "step", None)
        if isinstance(cls, type) and step is not None:
            found[step.__code__] = _scheduler_step
    return found


# -- optimizers --------------------------------------------------------------------------------------------------------


def _zero_grad(witness: Any, frame: FrameType) -> None:
    if not witness.recorder.depth and witness.recorder.reason is None:
        _structure(witness, frame.f_locals["self"])


def _structure(witness: Any, optimizer: Optimizer) -> None:
    """Enter which groups and parameters there are."""
    own = optimizer.__dict__
    witness.enter("item", own, "param_groups", optimizer.param_groups, follow=False)
    witness.enter("sequence", optimizer.param_groups, None, tuple(optimizer.param_groups), follow=False)
    for group in optimizer.param_groups:
        witness.enter("item", group, "params", group["params"])


def _optimizer_step(witness: Any, frame: FrameType) -> Ended | None:
    recorder = witness.recorder
    optimizer, step = frame.f_locals["self"], frame.f_locals["step"]
    if recorder.depth or recorder.reason is not None or not step.__module__.startswith("flambeau.optim"):
        return None
    if isinstance(optimizer, LBFGS):  # which hands numbers of its own to ops, and looks at values in any case
        recorder.stop_for("LBFGS looks at the values of losses and gradients")
        return None
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        recorder.stop_for("an optimizer has hooks around its step")
        return None
    _structure(witness, optimizer)
    exchanged: list[tuple[dict[Any, Any], Any, Any, Live]] = []
    for group in optimizer.param_groups:
        _enliven(witness, group, exchanged)
    recorder.numbers += [(group, key) for group, key, _, _ in exchanged]
    state = optimizer.state
    witness.enter("item", optimizer.__dict__, "state", state, follow=False)
    witness.enter("mapping", state, None, (tuple(state), tuple(state.values())), follow=False)
    states = list(state.values())
    sizes = [len(own) for own in states]
    for own in states:
        _enliven(witness, own, exchanged)

    def ended(result: Any) -> None:
        for container, key, before, live in exchanged:
            now = container[key]
            if now is live:
                container[key] = before
            elif now.__class__ is Live:
                container[key] = now.value
                recorder.assign(container, key, now.expression)
            elif now is not before:
                recorder.assign(container, key, now)
        if len(state) != len(states) or sizes != [len(own) for own in states]:
            witness.unsettled = True  # the state is made in the first step; the next ones find it
            for own in state.values():
                own.update({key: value.value for key, value in own.items() if value.__class__ is Live})

    return ended


def _enliven(witness: Any, container: dict[Any, Any], exchanged: list[Any]) -> None:
    """Exchange the numbers of a group or of a parameter's state for live ones; enter what else there is."""
    recorder = witness.recorder
    for key, value in container.items():
        if type(value) is int or type(value) is float:
            live = Live(value, Expression(None, (container, key)), recorder.require)
            exchanged.append((container, key, value, live))
        elif key != "params":
            witness.enter("item", container, key, value)
    for own, key, _, live in exchanged:
        if own is container:
            own[key] = live


# -- backward passes ---------------------------------------------------------------------------------------------------


def _backward(witness: Any, frame: FrameType) -> None:
    """A pass inside of what is recorded is a part of it, as long as it stays inside."""
    recorder = witness.recorder
    if recorder.depth or recorder.reason is not None:
        return
    recorder.has_backward = True
    for one in recorder.held.values():
        if one.node is not None and type(one.node) is not Leaf:
            recorder.stop_for("a backward pass may go on beyond a tensor from outside, which has a history of its own")
        elif one.node is not None and has_hooks(one.node):
            recorder.stop_for("a hook is registered on the gradient of a tensor from outside")


# -- schedulers --------------------------------------------------------------------------------------------------------


def _scheduler_step(witness: Any, frame: FrameType) -> Ended | None:
    recorder = witness.recorder
    if recorder.depth or recorder.reason is not None:
        return None
    code = frame.f_code
    scheduler, *arguments = [frame.f_locals[name] for name in code.co_varnames[: code.co_argcount]]
    if any(isinstance(argument, Tensor) for argument in arguments):
        recorder.stop_for(f"{type(scheduler).__name__}.step() is given a tensor")
        return None
    recorder.depth += 1

    def ended(result: Any) -> None:
        recorder.depth -= 1
        if recorder.reason is None:
            recorder.run_again(scheduler.step, *arguments)

    return ended


# -- numbers and looks -------------------------------------------------------------------------------------------------


def _made(witness: Any, frame: FrameType) -> Ended | None:
    data, where = frame.f_locals["data"], frame.f_locals["where"]
    if not _spelled_out(data):
        return None

    def ended(array: Any) -> None:
        if array is not None:
            witness.recorder.constant(array, where.backend)

    return ended


def _spelled_out(data: Any) -> bool:
    if isinstance(data, (list, tuple)):
        return all(map(_spelled_out, data))
    return isinstance(data, (bool, int, float, complex))


def _examined(witness: Any, frame: FrameType) -> Ended | None:
    recorder = witness.recorder
    if recorder.depth or recorder.reason is not None:
        return None
    tensor, look, args = [frame.f_locals[name] for name in ("tensor", "look", "args")]
    recorder.depth += 1

    def ended(outcome: Any) -> None:
        recorder.depth -= 1
        recorder.look(look, tensor, args, outcome)

    return ended
