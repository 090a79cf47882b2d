"""The optimizers beside SGD and Adam, and the averages of weights, against PyTorch's over ten steps."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn, optim
from flambeau.optim import swa_utils

torch = pytest.importorskip("torch")

SHAPES = ((4, 3), (5,), (), (2, 3, 4))
START = [np.random.default_rng(0).normal(size=shape) for shape in SHAPES]
GRADS = [[np.random.default_rng(step).normal(size=shape) for shape in SHAPES] for step in range(1, 11)]


def ours(values: Any, dtype: str = "float32") -> Any:
    return flambeau.from_numpy(np.array(values, dtype))


def theirs(values: Any, dtype: str = "float32") -> Any:
    return torch.from_numpy(np.array(values, dtype))


SIDES = ((flambeau, nn, optim, ours), (torch, torch.nn, torch.optim, theirs))


def steps(optimizer: Any, params: list[Any], convert: Any, grads: Any, dtype: str) -> None:
    for step in grads:
        for param, grad in zip(params, step, strict=True):
            param.grad = convert(grad, dtype)
        optimizer.step()


def assert_close(one: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=rtol, atol=atol)


OPTIONS = [
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.9}),
    ("RMSprop", {"lr": 0.1, "centered": True, "maximize": True}),
    ("RMSprop", {"lr": 0.1, "centered": True, "momentum": 0.5, "weight_decay": 0.1, "foreach": False}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.3}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.1, "eps": 1e-2, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.5, "eps": 1e-2, "weight_decay": 0.1}),
    ("Adadelta", {"maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-2, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "betas": (0.7, 0.9), "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "decoupled_weight_decay": True, "weight_decay": 0.1, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.7), "step_sizes": (0.02, 0.4), "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 4, "weight_decay": 0.1}),
    ("ASGD", {"lr": 0.1, "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.5, "beta2_decay": -0.5, "eps": (1e-3, 0.1), "weight_decay": 0.1}),
    ("Adafactor", {"lr": 0.5, "d": 1.5, "maximize": True}),
]


def trained(side: Any, name: str, options: dict[str, Any], dtype: str, **keywords: Any) -> tuple[list[Any], Any]:
    _, modules, optimizers, convert = side
    params = [modules.Parameter(convert(values, dtype)) for values in START]
    optimizer = getattr(optimizers, name)(params, **options)
    steps(optimizer, params, convert, GRADS, dtype)
    return params, optimizer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_ten_steps_and_state(name: str, options: dict[str, Any], dtype: str) -> None:
    our_params, our_optimizer = trained(SIDES[0], name, options, dtype)
    their_params, their_optimizer = trained(SIDES[1], name, options, dtype)
    # NAdam's and ASGD's factors are float32 in PyTorch whatever the parameters are; Adafactor squares norms.
    exact = dtype == "float64" and name not in ("NAdam", "ASGD")
    close = {"rtol": 1e-11, "atol": 1e-12} if exact else {"rtol": 2e-5, "atol": 2e-6}
    for one, other in zip(our_params, their_params, strict=True):
        assert_close(one, other, **close)
    our_state, their_state = our_optimizer.state_dict(), their_optimizer.state_dict()
    assert our_state["param_groups"] == their_state["param_groups"]
    assert list(our_state["state"]) == list(their_state["state"])
    for number, state in their_state["state"].items():
        assert set(our_state["state"][number]) == set(state)
        for key, value in state.items():
            assert str(our_state["state"][number][key].dtype).replace("flambeau", "torch") == str(value.dtype)
            assert our_state["state"][number][key].shape == tuple(value.shape)
            assert_close(our_state["state"][number][key], value, **close)
    assert repr(our_optimizer) == repr(their_optimizer)


@pytest.mark.parametrize("name", sorted({name for name, _ in OPTIONS} - {"Adafactor"}))
def test_complex_parameters(name: str) -> None:
    start = START[0] + 1j * START[0][::-1]
    found = []
    for _, modules, optimizers, convert in SIDES:
        param = modules.Parameter(convert(start, "complex64"))
        optimizer = getattr(optimizers, name)([param], lr=0.1)
        for grads in GRADS:
            param.grad = convert(grads[0] - 0.5j * grads[0][::-1], "complex64")
            optimizer.step()
        found.append(param)
    assert_close(*found, rtol=2e-5, atol=2e-6)


def converted(value: Any, convert: Any) -> Any:
    """A state dict with the other side's tensors."""
    if hasattr(value, "detach"):
        return convert(value.detach().numpy(), value.detach().numpy().dtype)
    if isinstance(value, dict):
        return {key: converted(item, convert) for key, item in value.items()}
    if isinstance(value, list):
        return [converted(item, convert) for item in value]
    return value


@pytest.mark.parametrize("name", sorted({name for name, _ in OPTIONS}))
@pytest.mark.parametrize("direction", [0, 1])
def test_training_goes_on_from_the_others_checkpoint(name: str, direction: int) -> None:
    source_side, target_side = SIDES[direction], SIDES[1 - direction]
    params, source = trained(source_side, name, {"lr": 0.05}, "float32")
    resumed = [target_side[1].Parameter(target_side[3](param.detach().numpy())) for param in params]
    target = getattr(target_side[2], name)(resumed)
    target.load_state_dict(converted(source.state_dict(), target_side[3]))
    steps(source, params, source_side[3], GRADS[::-1], "float32")
    steps(target, resumed, target_side[3], GRADS[::-1], "float32")
    for one, other in zip(resumed, params, strict=True):
        assert_close(one, other, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("RMSprop", {"alpha": -1}),
        ("RMSprop", {"momentum": -1}),
        ("RMSprop", {"lr": -1}),
        ("Adagrad", {"lr_decay": -1}),
        ("Adagrad", {"initial_accumulator_value": -1}),
        ("Adagrad", {"eps": -1}),
        ("Adagrad", {"fused": True, "foreach": True}),
        ("Adadelta", {"rho": 1.5}),
        ("Adadelta", {"weight_decay": -1}),
        ("Adamax", {"betas": (0.5, 1.0)}),
        ("Adamax", {"eps": -1}),
        ("NAdam", {"momentum_decay": -1}),
        ("NAdam", {"betas": (-0.1, 0.5)}),
        ("RAdam", {"betas": (1.0, 0.5)}),
        ("RAdam", {"weight_decay": -0.5}),
        ("Rprop", {"etas": (1.5, 2.0)}),
        ("Rprop", {"lr": -1}),
        ("ASGD", {"lr": -0.5}),
        ("ASGD", {"weight_decay": -0.5}),
        ("Adafactor", {"lr": -1}),
        ("Adafactor", {"beta2_decay": 0.5}),
        ("Adafactor", {"eps": (-1, 0.1)}),
        ("Adafactor", {"eps": (None, -1)}),
        ("Adafactor", {"d": 0.5}),
        ("Adafactor", {"weight_decay": -1}),
        ("Muon", {"lr": -1}),
        ("Muon", {"momentum": -1}),
        ("Muon", {"weight_decay": -1}),
        ("Muon", {"adjust_lr_fn": "other"}),
        ("LBFGS", {"lr": -1}),
    ],
)
def test_errors(name: str, options: dict[str, Any]) -> None:
    raised = []
    for library, modules, optimizers, _ in SIDES:
        with pytest.raises((ValueError, RuntimeError)) as error:
            getattr(optimizers, name)([modules.Parameter(library.ones(2, 2))], **options)
        raised.append((error.type, str(error.value)))
    assert raised[0] == raised[1]


@pytest.mark.parametrize("name", sorted({name for name, _ in OPTIONS} | {"Muon", "LBFGS"}))
def test_signatures(name: str) -> None:
    import inspect

    one = inspect.signature(getattr(optim, name).__init__).parameters
    other = inspect.signature(getattr(torch.optim, name).__init__).parameters
    assert [(p.name, p.kind, p.default) for p in one.values()] == [(p.name, p.kind, p.default) for p in other.values()]


# -- Muon ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.1, "nesterov": False, "momentum": 0.5, "adjust_lr_fn": "original"},
        {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.5, "ns_steps": 3},
    ],
)
@pytest.mark.parametrize("shape", [(6, 4), (4, 9), (5, 5)])
def test_muon(options: dict[str, Any], shape: tuple[int, int]) -> None:
    random = np.random.default_rng(3)
    start, grads = random.normal(size=shape), random.normal(size=(4, *shape))
    found = []
    for _, modules, optimizers, convert in SIDES:
        param = modules.Parameter(convert(start))
        optimizer = optimizers.Muon([param], **options)
        for grad in grads:
            param.grad = convert(grad)
            optimizer.step()
        found.append((param, optimizer))
    (ours_, our_optimizer), (theirs_, their_optimizer) = found
    # PyTorch iterates in bfloat16: two or three digits of each update.
    moved = np.abs(start - theirs_.detach().numpy()).max()
    assert_close(ours_, theirs_, rtol=0, atol=0.03 * moved)
    state, expected = our_optimizer.state_dict(), their_optimizer.state_dict()
    assert state["param_groups"] == expected["param_groups"]
    assert_close(state["state"][0]["momentum_buffer"], expected["state"][0]["momentum_buffer"])


# -- L-BFGS ----------------------------------------------------------------------------------------------------------


def rosenbrock(xp: Any, x: Any, y: Any) -> Any:
    return ((1 - x) ** 2).sum() + 100 * ((y - x**2) ** 2).sum()


def quartic(xp: Any, x: Any, y: Any) -> Any:
    return (x**4).sum() + (x * y).sum() + xp.exp(y).sum()


@pytest.mark.parametrize("objective", [rosenbrock, quartic])
@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.002},
        {"line_search_fn": "strong_wolfe"},
        {"lr": 0.5, "line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 4},
        {"line_search_fn": "strong_wolfe", "max_eval": 6},
        {"lr": 0.01, "history_size": 2, "max_iter": 7},
    ],
)
def test_lbfgs(objective: Any, options: dict[str, Any]) -> None:
    found = []
    for library, modules, optimizers, convert in SIDES:
        x = modules.Parameter(convert([-1.2, 0.7, 0.3], "float64"))
        y = modules.Parameter(convert([[1.0, -0.4, 0.2]], "float64"))
        optimizer = optimizers.LBFGS([x, y], **options)

        def closure(library: Any = library, optimizer: Any = optimizer, x: Any = x, y: Any = y) -> Any:
            optimizer.zero_grad()
            loss = objective(library, x, y)
            loss.backward()
            return loss

        losses = [float(optimizer.step(closure).detach()) for _ in range(5)]
        found.append((losses, x, y, optimizer.state_dict()))
    (losses, x, y, state), (expected, their_x, their_y, their_state) = found
    # A hundred iterations in the valley make 1e-3 of a rounding error.
    np.testing.assert_allclose(losses, expected, rtol=2e-3, atol=1e-10)
    assert_close(x, their_x, rtol=1e-4, atol=1e-6)
    assert_close(y, their_y, rtol=1e-4, atol=1e-6)
    assert state["param_groups"] == their_state["param_groups"]
    own, other = state["state"][0], their_state["state"][0]
    assert (own["func_evals"], own["n_iter"]) == (other["func_evals"], other["n_iter"])
    assert set(other) - set(own) <= {"al"}  # scratch of PyTorch's, not read back
    assert len(own["old_dirs"]) == len(other["old_dirs"])


@pytest.mark.parametrize("direction", [0, 1])
def test_lbfgs_goes_on_from_the_others_checkpoint(direction: int) -> None:
    source_side, target_side = SIDES[direction], SIDES[1 - direction]

    def run(side: Any, start: Any, state: Any = None) -> tuple[Any, Any]:
        library, modules, optimizers, convert = side
        x = modules.Parameter(convert(start, "float64"))
        optimizer = optimizers.LBFGS([x], lr=0.1, max_iter=3, line_search_fn="strong_wolfe")
        if state is not None:
            optimizer.load_state_dict(converted(state, convert))

        def closure() -> Any:
            optimizer.zero_grad()
            loss = quartic(library, x, x)
            loss.backward()
            return loss

        optimizer.step(closure)
        return x.detach().numpy().copy(), optimizer.state_dict()

    middle, state = run(source_side, [0.9, -0.5, 2.0])
    np.testing.assert_allclose(run(target_side, middle, state)[0], run(source_side, middle, state)[0], rtol=1e-9)


# -- averages ----------------------------------------------------------------------------------------------------------


def model(side: Any, seed: int) -> Any:
    _, modules, _, convert = side
    made = modules.Sequential(modules.Linear(3, 4), modules.BatchNorm1d(4), modules.Linear(4, 2))
    random = np.random.default_rng(seed)
    state = {
        name: convert(random.uniform(0.5, 2, tuple(value.shape)), str(value.dtype).partition(".")[2])
        for name, value in sorted(made.state_dict().items())
    }
    made.load_state_dict(state)
    return made


@pytest.mark.parametrize("kind", ["default", "ema", "swa", "multi_ema", "multi_swa"])
@pytest.mark.parametrize("use_buffers", [False, True])
def test_averaged_model(kind: str, use_buffers: bool) -> None:
    if kind == "multi_swa" and use_buffers:
        pytest.skip("PyTorch cannot average the count of batches, an integer")
    found = []
    for side, utils in zip(SIDES, (swa_utils, torch.optim.swa_utils), strict=True):
        options = {
            "default": {},
            "ema": {"avg_fn": utils.get_ema_avg_fn(0.9)},
            "swa": {"avg_fn": utils.get_swa_avg_fn()},
            "multi_ema": {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.7)},
            "multi_swa": {"multi_avg_fn": utils.get_swa_multi_avg_fn()},
        }[kind]
        averaged = utils.AveragedModel(model(side, 0), use_buffers=use_buffers, **options)
        for seed in (1, 2, 3):
            averaged.update_parameters(model(side, seed))
        found.append(averaged.state_dict())
    assert list(found[0]) == list(found[1])
    for name, value in found[0].items():
        assert_close(value, found[1][name])


def test_update_bn() -> None:
    found = []
    batches = [np.random.default_rng(seed).normal(size=(8, 3)) for seed in range(3)]
    for side, utils in zip(SIDES, (swa_utils, torch.optim.swa_utils), strict=True):
        made = model(side, 0).eval()
        utils.update_bn([(side[3](batch), None) for batch in batches], made)
        assert not made.training
        assert made[1].momentum == 0.1
        found.append(made.state_dict())
    for name, value in found[0].items():
        assert_close(value, found[1][name])


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("epochs", [0, 4])
def test_swalr(strategy: str, epochs: int) -> None:
    found = []
    for (library, modules, optimizers, _), utils in zip(SIDES, (swa_utils, torch.optim.swa_utils), strict=True):
        groups = [{"params": [modules.Parameter(library.ones(2))], "lr": lr} for lr in (0.5, 0.1)]
        optimizer = optimizers.SGD(groups)
        decay = optimizers.lr_scheduler.ExponentialLR(optimizer, 0.9)
        swa = utils.SWALR(optimizer, [0.05, 0.2], anneal_epochs=epochs, anneal_strategy=strategy)
        rates = []
        for step in range(9):
            optimizer.step()
            (decay if step < 2 else swa).step()
            rates.append([group["lr"] for group in optimizer.param_groups])
        found.append((rates, swa.state_dict()))
    (rates, state), (expected, their_state) = found
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert set(their_state) == set(state)


def test_averaged_model_can_be_copied_and_pickled() -> None:
    averaged = swa_utils.AveragedModel(nn.Linear(2, 2))
    averaged.update_parameters(nn.Linear(2, 2))
    copied = copy.deepcopy(averaged)
    assert int(copied.n_averaged) == 1
    buffer = io.BytesIO()
    flambeau.save(averaged.state_dict(), buffer)
    buffer.seek(0)
    copied.load_state_dict(flambeau.load(buffer))
