"""Learning-rate schedulers: rates by their formulas, saving and loading, refusals."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest

import flambeau
from flambeau import nn, optim
from flambeau.optim import lr_scheduler as schedulers


def sgd(*lrs: float, **options: Any) -> Any:
    return optim.SGD([{"params": [nn.Parameter(flambeau.zeros(1))], "lr": lr} for lr in lrs or (1.0,)], **options)


def rates(optimizer: Any, scheduler: Any, count: int) -> list[float]:
    """The first group's learning rate of each of ``count`` steps."""
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def up_and_down(step: int) -> float:
    cycle, place = divmod(step, 7)
    return 0.1 + 0.9 * (place / 3 if place <= 3 else (7 - place) / 4) / 2**cycle


@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (lambda o: schedulers.LambdaLR(o, lambda t: 1 / (t + 1)), lambda t: 1 / (t + 1)),
        (lambda o: schedulers.MultiplicativeLR(o, lambda t: 1 / t), lambda t: 1 / math.factorial(t)),
        (lambda o: schedulers.StepLR(o, 3, 0.5), lambda t: 0.5 ** (t // 3)),
        (lambda o: schedulers.MultiStepLR(o, [2, 4, 4], 0.5), lambda t: 0.5 ** ((t >= 2) + 2 * (t >= 4))),
        (lambda o: schedulers.ConstantLR(o, 0.25, 4), lambda t: 0.25 if t < 4 else 1),
        (lambda o: schedulers.LinearLR(o, 0.2, 0.8, 6), lambda t: 0.2 + 0.6 * min(t, 6) / 6),
        (lambda o: schedulers.ExponentialLR(o, 0.9), lambda t: 0.9**t),
        (lambda o: schedulers.PolynomialLR(o, 6, 2), lambda t: (1 - min(t, 6) / 6) ** 2),
        (lambda o: schedulers.CosineAnnealingLR(o, 4, 0.1), lambda t: 0.55 + 0.45 * math.cos(math.pi * t / 4)),
        (
            lambda o: schedulers.CosineAnnealingWarmRestarts(o, 2, 2),
            # Restarts at 2, 6 and 14.
            lambda t: 0.5 + 0.5 * math.cos(math.pi * (t / 2 if t < 2 else (t - 2) / 4 if t < 6 else (t - 6) / 8)),
        ),
        (lambda o: schedulers.CyclicLR(o, 0.1, 1.0, 3, 4, "triangular2", cycle_momentum=False), up_and_down),
        (
            lambda o: schedulers.OneCycleLR(
                o, 1.0, 11, pct_start=6 / 11, anneal_strategy="linear", cycle_momentum=False, div_factor=2.0
            ),
            lambda t: 0.5 + 0.1 * t if t <= 5 else 1 - (1 - 0.5e-4) * (t - 5) / 5,
        ),
        (
            lambda o: schedulers.SequentialLR(
                o, [schedulers.LinearLR(o, 0.5, 1, 4), schedulers.ExponentialLR(o, 0.5)], [4]
            ),
            lambda t: 0.5 + t / 8 if t < 4 else 0.5 ** (t - 4),
        ),
        (
            lambda o: schedulers.ChainedScheduler([schedulers.ExponentialLR(o, 0.9), schedulers.StepLR(o, 3, 0.5)]),
            lambda t: 0.9**t * 0.5 ** (t // 3),
        ),
    ],
)
def test_rates_follow_the_formula(make: Any, formula: Any) -> None:
    optimizer = sgd(1.0)
    assert rates(optimizer, make(optimizer), 11) == pytest.approx([formula(t) for t in range(11)], abs=1e-12)


def test_each_group_has_its_own_rate() -> None:
    optimizer = sgd(1.0, 0.1)
    scheduler = schedulers.LambdaLR(optimizer, [lambda t: 0.5**t, lambda t: 3])
    optimizer.step()
    scheduler.step()
    assert scheduler.get_last_lr() == [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.3])
    assert scheduler.base_lrs == [1.0, 0.1]


@pytest.mark.parametrize("adam", [False, True])
def test_cycles_move_the_momentum_the_other_way(adam: bool) -> None:
    optimizer = optim.Adam([nn.Parameter(flambeau.zeros(1))]) if adam else sgd(momentum=0.5)
    scheduler = schedulers.CyclicLR(optimizer, 0.1, 1.0, 2, base_momentum=0.8, max_momentum=0.9)
    group = optimizer.param_groups[0]
    found = []
    for _ in range(5):
        found.append(group["betas"][0] if adam else group["momentum"])
        optimizer.step()
        scheduler.step()
    assert found == pytest.approx([0.9, 0.85, 0.8, 0.85, 0.9])
    if adam:
        assert group["betas"][1] == 0.999


# -- plateaus ----------------------------------------------------------------------------------------------------------


def test_reduce_on_plateau_waits_for_its_patience() -> None:
    optimizer = sgd(1.0)
    scheduler = schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, cooldown=1, min_lr=0.2)
    found = []
    for metric in (5, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 3):
        scheduler.step(flambeau.tensor(float(metric)))
        found.append(optimizer.param_groups[0]["lr"])
    # Best at the second; three without progress; one to cool down; three without progress; and so on.
    assert found == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25]
    assert scheduler.get_last_lr() == [0.25]
    assert not scheduler.in_cooldown


@pytest.mark.parametrize(
    ("mode", "threshold_mode", "better", "not_better"),
    [("min", "rel", 8.9, 9.1), ("min", "abs", 9.8, 9.95), ("max", "rel", 11.1, 10.9), ("max", "abs", 10.2, 10.05)],
)
def test_what_counts_as_progress(mode: str, threshold_mode: str, better: float, not_better: float) -> None:
    for metric, expected in ((better, 0), (not_better, 1)):
        scheduler = schedulers.ReduceLROnPlateau(sgd(), mode, threshold=0.1, threshold_mode=threshold_mode)
        scheduler.step(10.0)
        scheduler.step(metric)
        assert scheduler.num_bad_epochs == expected


# -- saving and loading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda o: schedulers.StepLR(o, 3),
        lambda o: schedulers.MultiStepLR(o, [2, 7]),
        lambda o: schedulers.CosineAnnealingLR(o, 5),
        lambda o: schedulers.CosineAnnealingWarmRestarts(o, 2, 2),
        lambda o: schedulers.OneCycleLR(o, 0.5, 20),
        lambda o: schedulers.CyclicLR(o, 0.1, 0.5, 3, mode="exp_range", gamma=0.9),
        lambda o: schedulers.LambdaLR(o, lambda t: 0.9**t),
        lambda o: schedulers.SequentialLR(o, [schedulers.ConstantLR(o), schedulers.ExponentialLR(o, 0.9)], [6]),
        lambda o: schedulers.ChainedScheduler([schedulers.ConstantLR(o), schedulers.ExponentialLR(o, 0.9)]),
    ],
)
def test_schedules_go_on_from_a_state_dict(make: Any) -> None:
    first = sgd(0.3, momentum=0.9)
    scheduler = make(first)
    rates(first, scheduler, 5)
    second = sgd(0.7, momentum=0.9)
    resumed = make(second)
    state = (first.state_dict(), scheduler.state_dict())
    optimizer_state, scheduler_state = pickle.loads(pickle.dumps(state))
    second.load_state_dict(optimizer_state)
    resumed.load_state_dict(copy.deepcopy(scheduler_state))
    assert resumed.last_epoch == scheduler.last_epoch if hasattr(scheduler, "last_epoch") else True
    assert rates(second, resumed, 8) == rates(first, scheduler, 8)


class Warmup:
    """A function with a state."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, t: float) -> float:
        return min(1.0, (t + 1) / self.steps)


def test_callable_objects_are_saved_by_their_attributes() -> None:
    source, target = Warmup(7), Warmup(3)
    state = schedulers.LambdaLR(sgd(), source).state_dict()
    assert state["lr_lambdas"] == [{"steps": 7}]
    schedulers.LambdaLR(sgd(), target).load_state_dict(state)
    assert target.steps == 7
    cyclic = schedulers.CyclicLR(sgd(momentum=0.9), 0.1, 0.2, scale_fn=source).state_dict()
    assert cyclic["_scale_fn_custom"] == {"steps": 7}
    target = Warmup(3)
    schedulers.CyclicLR(sgd(momentum=0.9), 0.1, 0.2, scale_fn=target).load_state_dict(cyclic)
    assert target.steps == 7
    assert schedulers.LambdaLR(sgd(), lambda t: t).state_dict()["lr_lambdas"] == [None]


def test_resuming_by_the_number_of_the_last_step() -> None:
    optimizer = sgd(1.0)
    rates(optimizer, schedulers.ExponentialLR(optimizer, 0.5), 3)
    scheduler = schedulers.StepLR(optimizer, 5, 0.5, last_epoch=3)
    assert scheduler.last_epoch == 4
    assert scheduler.base_lrs == [1.0]
    with pytest.raises(KeyError, match=r"param 'initial_lr' is not specified in param_groups\[0\] when resuming"):
        schedulers.StepLR(sgd(), 5, last_epoch=3)


# -- warnings and refusals ---------------------------------------------------------------------------------------------


def test_stepping_before_the_optimizer_warns() -> None:
    scheduler = schedulers.StepLR(sgd(), 1)
    with pytest.warns(UserWarning, match=r"Detected call of `lr_scheduler.step\(\)` before `optimizer.step\(\)`"):
        scheduler.step()


def test_asking_for_the_next_rate_warns() -> None:
    with pytest.warns(UserWarning, match=r"please use `get_last_lr\(\)`"):
        schedulers.ExponentialLR(sgd(), 0.5).get_lr()


def test_going_to_a_step_by_its_number_is_deprecated() -> None:
    optimizer = sgd(1.0)
    scheduler = schedulers.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    with pytest.warns(UserWarning, match="The epoch parameter in `scheduler.step"):
        scheduler.step(3)
    assert optimizer.param_groups[0]["lr"] == 0.125


def test_warm_restarts_take_fractions() -> None:
    optimizer = sgd(1.0)
    scheduler = schedulers.CosineAnnealingWarmRestarts(optimizer, 4)
    scheduler.step(5.5)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 1.5 / 4))
    with pytest.raises(ValueError, match="Expected non-negative epoch, but got -1"):
        scheduler.step(-1)


def test_one_cycle_ends() -> None:
    optimizer = sgd(momentum=0.9)
    scheduler = schedulers.OneCycleLR(optimizer, 1.0, 3)
    rates(optimizer, scheduler, 3)
    with pytest.raises(ValueError, match="Tried to step 4 times. The specified number of total steps is 3"):
        scheduler.step()


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda o: schedulers.StepLR(3, 1), TypeError, "int is not an Optimizer"),
        (lambda o: schedulers.LambdaLR(o, [len] * 2), ValueError, "Expected 1 lr_lambdas, but got 2"),
        (lambda o: schedulers.LambdaLR(o, 0.5), TypeError, "lr_lambda should be a function, but got float"),
        (lambda o: schedulers.ConstantLR(o, 2), ValueError, "expected to be between 0 and 1"),
        (lambda o: schedulers.LinearLR(o, 0), ValueError, "greater than 0 and less or equal to 1"),
        (lambda o: schedulers.LinearLR(o, 1, 2), ValueError, "Ending multiplicative factor expected to be between"),
        (
            lambda o: schedulers.CosineAnnealingWarmRestarts(o, 0),
            ValueError,
            "Expected positive integer T_0, but got 0",
        ),
        (lambda o: schedulers.CosineAnnealingWarmRestarts(o, 1, 0), ValueError, "Expected integer T_mult >= 1"),
        (lambda o: schedulers.CosineAnnealingWarmRestarts(o, 1, 1, "0"), ValueError, "Expected float or int eta_min"),
        (
            lambda o: schedulers.OneCycleLR(o, 1.0),
            ValueError,
            r"define either total_steps OR \(epochs AND steps_per_epoch",
        ),
        (lambda o: schedulers.OneCycleLR(o, 1.0, 0), ValueError, "Expected positive integer total_steps, but got 0"),
        (lambda o: schedulers.OneCycleLR(o, 1.0, epochs=0, steps_per_epoch=1), ValueError, "positive integer epochs"),
        (lambda o: schedulers.OneCycleLR(o, 1.0, 5, pct_start=2.0), ValueError, "between 0 and 1 pct_start"),
        (
            lambda o: schedulers.OneCycleLR(o, 1.0, 5, anneal_strategy="x"),
            ValueError,
            "must be one of 'cos' or 'linear'",
        ),
        (lambda o: schedulers.OneCycleLR(o, [1.0, 2.0], 5), ValueError, "max_lr has 2 values, param_groups has 1"),
        (lambda o: schedulers.OneCycleLR(Plain(o), 1.0, 5), ValueError, "must support momentum or beta1"),
        (lambda o: schedulers.CyclicLR(o, 0.1, 1.0, mode="x"), ValueError, "mode is invalid and scale_fn is None"),
        (
            lambda o: schedulers.SequentialLR(o, [], []),
            ValueError,
            "expects at least one scheduler, but got no scheduler",
        ),
        (
            lambda o: schedulers.SequentialLR(o, [schedulers.StepLR(o, 1)], [1]),
            ValueError,
            "one more than the number of",
        ),
        (
            lambda o: schedulers.SequentialLR(o, [3], []),
            TypeError,
            "at index 0 should have `optimizer` as its attribute",
        ),
        (
            lambda o: schedulers.SequentialLR(o, [schedulers.StepLR(sgd(), 1)], []),
            ValueError,
            "expects all schedulers to belong to the same optimizer, but got scheduler StepLR at index 0",
        ),
        (
            lambda o: schedulers.ChainedScheduler([schedulers.ReduceLROnPlateau(o)]),
            ValueError,
            "does not support `ReduceLROnPlateau`",
        ),
        (lambda o: schedulers.ChainedScheduler([]), ValueError, "at least one scheduler to be chained"),
        (lambda o: schedulers.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor should be < 1.0."),
        (lambda o: schedulers.ReduceLROnPlateau(o, "best"), ValueError, "mode best is unknown!"),
        (lambda o: schedulers.ReduceLROnPlateau(o, threshold_mode="x"), ValueError, "threshold mode x is unknown!"),
        (lambda o: schedulers.ReduceLROnPlateau(o, min_lr=[1, 2]), ValueError, "expected 1 min_lrs, got 2"),
    ],
)
def test_refusals(make: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make(sgd(momentum=0.9))


class Plain(optim.Optimizer):
    """An optimizer that knows no momentum."""

    def __init__(self, other: Any) -> None:
        super().__init__(other.param_groups[0]["params"], {"lr": 0.1})


def test_a_group_that_comes_later() -> None:
    for min_lr, fails in ((0.0, False), ([0.0], True)):
        optimizer = sgd(1.0)
        scheduler = schedulers.ReduceLROnPlateau(optimizer, patience=0, min_lr=min_lr)
        optimizer.add_param_group({"params": [nn.Parameter(flambeau.zeros(1))], "lr": 0.5})
        scheduler.step(1.0)
        if fails:
            with pytest.raises(RuntimeError, match=r"The number of param groups in the `optimizer` \(2\) differs"):
                scheduler.step(1.0)
        else:
            scheduler.step(1.0)
            assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.05])
