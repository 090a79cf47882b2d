"""Optimizers and schedulers against PyTorch's: parameters after several steps, state dicts, learning rates."""

from __future__ import annotations

import inspect
import random
import warnings
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn, optim

torch = pytest.importorskip("torch")

START = [np.random.default_rng(0).normal(size=shape).astype(np.float32) for shape in ((4, 3), (5,), ())]
GRADS = [[np.random.default_rng(step).normal(size=p.shape).astype(np.float32) for p in START] for step in range(1, 7)]


def ours(values: np.ndarray) -> Any:
    return flambeau.from_numpy(np.array(values))


def theirs(values: np.ndarray) -> Any:
    return torch.from_numpy(np.array(values))


SIDES = ((nn, optim, ours), (torch.nn, torch.optim, theirs))


def steps(optimizer: Any, params: list[Any], convert: Any, grads: Any = GRADS) -> None:
    for step in grads:
        for param, grad in zip(params, step, strict=True):
            param.grad = convert(grad)
        optimizer.step()


def assert_close(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-5, atol=1e-6)


OPTIONS = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "maximize": True}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-3}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.1, "maximize": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
    ("AdamW", {"lr": 0.1, "maximize": True, "betas": (0.5, 0.5)}),
]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_steps_and_state(name: str, options: dict[str, Any]) -> None:
    found = []
    for modules, optimizers, convert in SIDES:
        params = [modules.Parameter(convert(values)) for values in START]
        optimizer = getattr(optimizers, name)(params, **options)
        steps(optimizer, params, convert)
        found.append((params, optimizer))
    (our_params, our_optimizer), (their_params, their_optimizer) = found
    for one, other in zip(our_params, their_params, strict=True):
        assert_close(one, other)
    our_state, their_state = our_optimizer.state_dict(), their_optimizer.state_dict()
    assert our_state["param_groups"] == their_state["param_groups"]
    assert list(our_state["state"]) == list(their_state["state"])
    for number, state in their_state["state"].items():
        assert set(our_state["state"][number]) == set(state)
        for key, value in state.items():
            assert str(our_state["state"][number][key].dtype).replace("flambeau", "torch") == str(value.dtype)
            assert_close(our_state["state"][number][key], value)
    assert repr(our_optimizer) == repr(their_optimizer)


@pytest.mark.parametrize(("name", "options"), [OPTIONS[1], OPTIONS[9], OPTIONS[13]])
def test_training_goes_on_from_a_checkpoint_of_pytorch(name: str, options: dict[str, Any]) -> None:
    params = [torch.nn.Parameter(theirs(values)) for values in START]
    source = getattr(torch.optim, name)(params, **options)
    steps(source, params, theirs, GRADS[:3])
    resumed = [nn.Parameter(ours(param.detach().numpy())) for param in params]
    target = getattr(optim, name)(resumed)
    state = source.state_dict()
    target.load_state_dict(
        {
            "param_groups": state["param_groups"],
            "state": {
                number: {key: ours(value.numpy()) for key, value in entries.items()}
                for number, entries in state["state"].items()
            },
        }
    )
    steps(source, params, theirs, GRADS[3:])
    steps(target, resumed, ours, GRADS[3:])
    for one, other in zip(resumed, params, strict=True):
        assert_close(one, other)


def test_groups_and_missing_gradients() -> None:
    found = []
    for modules, optimizers, convert in SIDES:
        params = [modules.Parameter(convert(values)) for values in START]
        optimizer = optimizers.SGD([{"params": params[:1], "lr": 0.5}, {"params": params[1:]}], lr=0.1, momentum=0.9)
        for step, grads in enumerate(GRADS):
            for place, (param, grad) in enumerate(zip(params, grads, strict=True)):
                param.grad = None if (step + place) % 3 == 0 else convert(grad)
            optimizer.step()
        found.append(params)
    for one, other in zip(*found, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda m, p: m.SGD([], lr=0.1), ValueError),
        (lambda m, p: m.SGD([p], lr=-0.1), ValueError),
        (lambda m, p: m.SGD([p], momentum=-0.1), ValueError),
        (lambda m, p: m.SGD([p], weight_decay=-0.1), ValueError),
        (lambda m, p: m.SGD([p], nesterov=True), ValueError),
        (lambda m, p: m.Adam([p], lr=-1), ValueError),
        (lambda m, p: m.Adam([p], eps=-1), ValueError),
        (lambda m, p: m.Adam([p], betas=(1.0, 0.9)), ValueError),
        (lambda m, p: m.Adam([p], betas=(0.9, -0.1)), ValueError),
        (lambda m, p: m.AdamW([p], weight_decay=-1), ValueError),
        (lambda m, p: m.SGD([p * 2]), ValueError),
        (lambda m, p: m.SGD([{"params": {p}}]), TypeError),
        (lambda m, p: m.SGD([{"params": [p]}, {"params": [p]}]), ValueError),
        (lambda m, p: m.SGD([3]), TypeError),
        (lambda m, p: m.SGD([("a", p), p]), ValueError),
        (lambda m, p: m.SGD([p]).load_state_dict({"state": {}, "param_groups": []}), ValueError),
        (lambda m, p: m.SGD([p]).load_state_dict({"state": {}, "param_groups": [{"params": [0, 1]}]}), ValueError),
    ],
)
def test_wrong_use_raises_the_same(make: Any, kind: type[Exception]) -> None:
    messages = []
    for modules, optimizers, convert in SIDES:
        with pytest.raises(kind) as caught:
            make(optimizers, modules.Parameter(convert(START[0])))
        messages.append(str(caught.value).replace("flambeau", "torch"))
    assert messages[0] == messages[1]


def test_names_of_parameters() -> None:
    states = []
    for modules, optimizers, _ in SIDES:
        model = modules.Linear(2, 2)
        states.append(optimizers.SGD(model.named_parameters(), lr=0.1).state_dict()["param_groups"])
    assert states[0] == states[1]
    assert states[0][0]["param_names"] == ["weight", "bias"]


# -- schedulers --------------------------------------------------------------------------------------------------------


def optimizers(adam: bool) -> list[Any]:
    made = []
    for modules, side, convert in SIDES:
        first, second = (modules.Parameter(convert(values)) for values in START[:2])
        groups = [{"params": [first]}, {"params": [second], "lr": 0.01}]
        made.append(side.Adam(groups, lr=0.1) if adam else side.SGD(groups, lr=0.1, momentum=0.9))
    return made


SCHEDULERS = [
    ("LambdaLR", (lambda epoch: 0.95**epoch,), {}),
    ("LambdaLR", ([lambda epoch: 0.95**epoch, lambda epoch: 1 / (epoch + 1)],), {}),
    ("MultiplicativeLR", (lambda epoch: 0.95,), {}),
    ("StepLR", (3,), {"gamma": 0.5}),
    ("MultiStepLR", ([2, 5, 5, 9],), {"gamma": 0.3}),
    ("ConstantLR", (), {}),
    ("ConstantLR", (0.5, 4), {}),
    ("LinearLR", (), {}),
    ("LinearLR", (0.2, 0.7, 8), {}),
    ("ExponentialLR", (0.9,), {}),
    ("PolynomialLR", (), {}),
    ("PolynomialLR", (7, 2.0), {}),
    ("CosineAnnealingLR", (5,), {}),
    ("CosineAnnealingLR", (4, 0.001), {}),
    ("CosineAnnealingWarmRestarts", (3,), {}),
    ("CosineAnnealingWarmRestarts", (2, 2, 0.001), {}),
    ("OneCycleLR", (0.5, 30), {}),
    (
        "OneCycleLR",
        ([0.5, 0.3],),
        {"epochs": 3, "steps_per_epoch": 10, "anneal_strategy": "linear", "three_phase": True},
    ),
    ("OneCycleLR", (0.5, 30), {"cycle_momentum": False, "pct_start": 0.5}),
    ("CyclicLR", (0.01, 0.2), {"step_size_up": 3}),
    ("CyclicLR", ([0.01, 0.02], 0.2), {"step_size_up": 3, "step_size_down": 5, "mode": "triangular2"}),
    ("CyclicLR", (0.01, 0.2), {"step_size_up": 4, "mode": "exp_range", "gamma": 0.9}),
    ("CyclicLR", (0.01, 0.2), {"step_size_up": 4, "scale_fn": lambda x: 0.5**x, "scale_mode": "iterations"}),
]


def options_of(optimizer: Any) -> list[dict[str, Any]]:
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def assert_in_step(pair: list[Any], schedulers: list[Any], count: int = 25) -> None:
    """To the last bit: a rate, once chained, would drift otherwise."""
    for _ in range(count):
        assert options_of(pair[0]) == options_of(pair[1])
        assert schedulers[0].get_last_lr() == schedulers[1].get_last_lr()
        assert set(schedulers[0].state_dict()) == set(schedulers[1].state_dict())
        for optimizer, scheduler in zip(pair, schedulers, strict=True):
            optimizer.step()
            scheduler.step()


@pytest.mark.parametrize("adam", [False, True])
@pytest.mark.parametrize(("name", "args", "kwargs"), SCHEDULERS)
def test_learning_rates(name: str, args: Any, kwargs: Any, adam: bool) -> None:
    pair = optimizers(adam)
    schedulers = [
        getattr(side.lr_scheduler, name)(optimizer, *args, **kwargs)
        for (_, side, _), optimizer in zip(SIDES, pair, strict=True)
    ]
    assert_in_step(pair, schedulers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # going to a step by its number is deprecated
        for epoch in (0, 4, 11):
            for scheduler in schedulers:
                scheduler.step(epoch)
            assert schedulers[0].get_last_lr() == schedulers[1].get_last_lr()


COMPOSED = [
    lambda m, o: m.SequentialLR(o, [m.ConstantLR(o, 0.1, 2), m.ExponentialLR(o, 0.9)], [4]),
    lambda m, o: m.SequentialLR(
        o, [m.LinearLR(o, 0.1, total_iters=3), m.CosineAnnealingLR(o, 5), m.StepLR(o, 2)], [4, 10]
    ),
    lambda m, o: m.SequentialLR(
        o,
        [m.SequentialLR(o, [m.ConstantLR(o, 0.5, 3), m.StepLR(o, 2)], [3]), m.ExponentialLR(o, 0.7)],
        [8],
    ),
    lambda m, o: m.ChainedScheduler([m.ConstantLR(o, 0.1, 2), m.ExponentialLR(o, 0.9)], o),
    lambda m, o: m.ChainedScheduler([m.LinearLR(o), m.StepLR(o, 4)]),
]


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")  # the nested one, in PyTorch as well
@pytest.mark.parametrize("make", COMPOSED)
def test_schedulers_of_schedulers(make: Any) -> None:
    pair = optimizers(adam=False)
    schedulers = [make(side.lr_scheduler, optimizer) for (_, side, _), optimizer in zip(SIDES, pair, strict=True)]
    assert_in_step(pair, schedulers)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max", "patience": 1, "cooldown": 2},
        {"threshold_mode": "abs", "threshold": 0.1, "patience": 0, "min_lr": [0.001, 0.005]},
        {"mode": "max", "threshold_mode": "abs", "patience": 2, "factor": 0.5},
    ],
)
def test_reduce_on_plateau(options: dict[str, Any]) -> None:
    pair = optimizers(adam=False)
    schedulers = [
        side.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        for (_, side, _), optimizer in zip(SIDES, pair, strict=True)
    ]
    metrics = random.Random(1)
    for _ in range(60):
        metric = metrics.random()
        for scheduler in schedulers:
            scheduler.step(metric)
        assert options_of(pair[0]) == options_of(pair[1])
        assert schedulers[0].state_dict() == schedulers[1].state_dict()


def test_tensor_learning_rates_are_changed_in_place() -> None:
    found = []
    for modules, side, convert in SIDES:
        lr = convert(np.array(0.1, dtype=np.float32))
        optimizer = side.SGD([modules.Parameter(convert(START[0]))], lr=lr)
        scheduler = side.lr_scheduler.CosineAnnealingLR(optimizer, 5)
        rates = []
        for _ in range(12):
            optimizer.step()
            scheduler.step()
            assert optimizer.param_groups[0]["lr"] is lr
            rates.append(lr.item())
        found.append(rates)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)


NAMES = [
    *("SGD", "Adam", "AdamW"),
    *[f"lr_scheduler.{name}" for name in optim.lr_scheduler.__all__],
]


@pytest.mark.parametrize("name", NAMES)
def test_arguments_have_the_same_names_order_and_defaults(name: str) -> None:
    found = []
    for side in (optim, torch.optim):
        target: Any = side
        for part in name.split("."):
            target = getattr(target, part)
        parameters = inspect.signature(target.__init__).parameters.values()
        found.append([(p.name, p.kind, p.default) for p in parameters])
    assert found[0] == found[1]


@pytest.mark.parametrize(("name", "args", "kwargs"), SCHEDULERS)
def test_state_dicts_of_schedulers_change_sides(name: str, args: Any, kwargs: Any) -> None:
    """After ten steps, fresh schedulers go on from the other library's state for twenty more."""
    pair = optimizers(adam=False)
    makers = [getattr(side.lr_scheduler, name) for _, side, _ in SIDES]
    schedulers = [make(optimizer, *args, **kwargs) for make, optimizer in zip(makers, pair, strict=True)]
    assert_in_step(pair, schedulers, 10)
    states = [scheduler.state_dict() for scheduler in schedulers]
    rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in pair]
    fresh = optimizers(adam=False)
    resumed = []
    for make, optimizer, state, rate in zip(makers, fresh, reversed(states), rates, strict=True):
        scheduler = make(optimizer, *args, **kwargs)
        scheduler.load_state_dict(state)
        for group, old, lr in zip(optimizer.param_groups, pair[0].param_groups, rate, strict=True):
            group.update({key: value for key, value in old.items() if key != "params"}, lr=lr)
        resumed.append(scheduler)
    assert_in_step(fresh, resumed, 20)
