"""RMSprop, Adagrad, Adadelta, Adamax, NAdam, RAdam, Rprop, ASGD and Adafactor against their formulas in NumPy."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn, optim

SHAPES = ((4, 3), (5,), (), (2, 3, 4))
START = [np.random.default_rng(0).normal(size=shape) for shape in SHAPES]
GRADS = [[np.random.default_rng(step).normal(size=shape) for shape in SHAPES] for step in range(1, 11)]


# -- the formulas, of one parameter: (param, grad, step, memory) -> param --------------------------------------------


def rmsprop(p: Any, g: Any, t: int, s: dict[str, Any]) -> Any:
    s["v"] = 0.9 * s.get("v", 0) + 0.1 * g**2
    s["a"] = 0.9 * s.get("a", 0) + 0.1 * g
    s["b"] = 0.8 * s.get("b", 0) + g / (np.sqrt(s["v"] - s["a"] ** 2) + 1e-3)
    return p - 0.05 * s["b"]


def adagrad(p: Any, g: Any, t: int, s: dict[str, Any]) -> Any:
    s["s"] = s.get("s", 0.2) + g**2
    return p - 0.05 / (1 + (t - 1) * 0.1) * g / (np.sqrt(s["s"]) + 1e-3)


def adadelta(p: Any, g: Any, t: int, s: dict[str, Any]) -> Any:
    s["v"] = 0.7 * s.get("v", 0) + 0.3 * g**2
    delta = np.sqrt(s.get("u", 0) + 1e-3) / np.sqrt(s["v"] + 1e-3) * g
    s["u"] = 0.7 * s.get("u", 0) + 0.3 * delta**2
    return p - 0.5 * delta


def adamax(p: Any, g: Any, t: int, s: dict[str, Any]) -> Any:
    s["m"] = 0.8 * s.get("m", 0) + 0.2 * g
    s["u"] = np.maximum(0.9 * s.get("u", 0), np.abs(g) + 1e-3)
    return p - 0.05 / (1 - 0.8**t) * s["m"] / s["u"]


def moments(g: Any, s: dict[str, Any]) -> tuple[Any, Any]:
    s["m"] = 0.8 * s.get("m", 0) + 0.2 * g
    s["v"] = 0.9 * s.get("v", 0) + 0.1 * g**2
    return s["m"], s["v"]


def nadam(p: Any, g: Any, t: int, s: dict[str, Any]) -> Any:
    m, v = moments(g, s)
    mu = [0.8 * (1 - 0.5 * 0.96 ** (i * 0.1)) for i in range(1, t + 2)]
    step = (1 - mu[-2]) / (1 - math.prod(mu[:-1])) * g + mu[-1] / (1 - math.prod(mu)) * m
    return p - 0.05 * step / (np.sqrt(v / (1 - 0.9**t)) + 1e-3)


def radam(p: Any, g: Any, t: int, s: dict[str, Any]) -> Any:
    m, v = moments(g, s)
    m = m / (1 - 0.8**t)
    longest = 2 / (1 - 0.9) - 1
    length = longest - 2 * t * 0.9**t / (1 - 0.9**t)
    if length <= 5:
        return p - 0.05 * m
    r = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
    return p - 0.05 * m * r * math.sqrt(1 - 0.9**t) / (np.sqrt(v) + 1e-3)


def rprop(p: Any, g: Any, t: int, s: dict[str, Any]) -> Any:
    agreement = np.sign(g * s.get("g", 0 * g))
    size = s.get("size", np.full_like(g, 0.05)) * np.where(agreement > 0, 1.5, np.where(agreement < 0, 0.4, 1.0))
    s["size"] = np.clip(size, 0.03, 0.1)
    s["g"] = np.where(agreement < 0, 0.0, g)
    return p - np.sign(s["g"]) * s["size"]


def asgd(p: Any, g: Any, t: int, s: dict[str, Any]) -> Any:
    eta = 0.05 / (1 + 0.2 * 0.05 * (t - 1)) ** 0.6 if t > 1 else 0.05
    p = p * (1 - 0.2 * eta) - eta * g
    mu = 1 / max(1, t - 1 - 3)
    s["ax"] = s.get("ax", 0) + mu * (p - s.get("ax", 0))
    return p


def adafactor(p: Any, g: Any, t: int, s: dict[str, Any]) -> Any:
    new = t**-0.7
    if g.ndim > 1:
        s["r"] = s.get("r", 0) + new * ((g**2).mean(-1, keepdims=True) - s.get("r", 0))
        s["c"] = s.get("c", 0) + new * ((g**2).mean(-2, keepdims=True) - s.get("c", 0))
        v = s["r"] * s["c"] / s["r"].mean(-2, keepdims=True)
    else:
        v = s["v"] = s.get("v", 0) + new * (g**2 - s.get("v", 0))
    u = g / np.sqrt(v)
    rate = max(1e-3, np.sqrt((p**2).mean())) * min(0.05, 1 / math.sqrt(t))
    return p - rate / max(1, np.sqrt((u**2).mean()) / 1.2) * u


BETAS = {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-3}
RULES: list[tuple[Callable[..., Any], str, dict[str, Any]]] = [
    (rmsprop, "RMSprop", {"lr": 0.05, "alpha": 0.9, "eps": 1e-3, "momentum": 0.8, "centered": True}),
    (adagrad, "Adagrad", {"lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 1e-3}),
    (adadelta, "Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-3}),
    (adamax, "Adamax", BETAS),
    (nadam, "NAdam", {**BETAS, "momentum_decay": 0.1}),
    (radam, "RAdam", BETAS),
    (rprop, "Rprop", {"lr": 0.05, "etas": (0.4, 1.5), "step_sizes": (0.03, 0.1)}),
    (asgd, "ASGD", {"lr": 0.05, "lambd": 0.2, "alpha": 0.6, "t0": 3}),
    (adafactor, "Adafactor", {"lr": 0.05, "beta2_decay": -0.7, "d": 1.2}),
]
NAMES = [name for _, name, _ in RULES]


def parameters(dtype: str = "float64") -> list[Any]:
    return [nn.Parameter(flambeau.from_numpy(values.astype(dtype))) for values in START]


def train(optimizer: Any, params: list[Any], sign: float = 1.0, dtype: str = "float64") -> None:
    for step in GRADS:
        for param, grad in zip(params, step, strict=True):
            param.grad = flambeau.from_numpy(np.asarray(sign * grad, dtype))
        optimizer.step()


@pytest.mark.parametrize(("rule", "name", "options"), RULES, ids=NAMES)
def test_formula(rule: Any, name: str, options: dict[str, Any]) -> None:
    params = parameters()
    train(getattr(optim, name)(params, **options), params)
    for i, param in enumerate(params):
        expected, memory = START[i], {}
        for t, step in enumerate(GRADS, 1):
            expected = rule(expected, step[i], t, memory)
        np.testing.assert_allclose(param.detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("rule", "name", "options"), RULES, ids=NAMES)
def test_maximize_goes_the_other_way(rule: Any, name: str, options: dict[str, Any]) -> None:
    up, down = parameters(), parameters()
    train(getattr(optim, name)(up, maximize=True, **options), up)
    train(getattr(optim, name)(down, **options), down, sign=-1.0)
    for one, other in zip(up, down, strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"Rprop", "Adafactor"}))
def test_weight_decay_is_added_to_the_gradient(name: str) -> None:
    plain, decayed = nn.Parameter(flambeau.tensor([2.0, -1.0])), nn.Parameter(flambeau.tensor([2.0, -1.0]))
    optimizers = [getattr(optim, name)([plain]), getattr(optim, name)([decayed], weight_decay=0.5)]
    for _ in range(3):
        plain.grad = flambeau.ones(2) + 0.5 * plain.detach()
        decayed.grad = flambeau.ones(2)
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_allclose(plain.detach().numpy(), decayed.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", ["NAdam", "RAdam"])
def test_decoupled_weight_decay_shrinks_the_weights(name: str) -> None:
    param = nn.Parameter(flambeau.tensor([2.0, -1.0]))
    optimizer = getattr(optim, name)([param], lr=0.1, weight_decay=0.5, decoupled_weight_decay=True)
    param.grad = flambeau.zeros(2)
    optimizer.step()
    np.testing.assert_allclose(param.detach().numpy(), [1.9, -0.95], rtol=1e-6)


@pytest.mark.parametrize(("rule", "name", "options"), RULES, ids=NAMES)
def test_training_goes_on_from_a_state_dict(rule: Any, name: str, options: dict[str, Any]) -> None:
    params = parameters("float32")
    optimizer = getattr(optim, name)(params, **options)
    train(optimizer, params, dtype="float32")
    resumed = [nn.Parameter(param.detach().clone()) for param in params]
    again = getattr(optim, name)(resumed)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert again.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]
    train(optimizer, params, dtype="float32")
    train(again, resumed, dtype="float32")
    for one, other in zip(params, resumed, strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize("name", [*NAMES, "Muon"])
def test_groups_closures_and_missing_gradients(name: str) -> None:
    kind = getattr(optim, name)
    first, second, third = (nn.Parameter(flambeau.ones(2, 2)) for _ in range(3))
    optimizer = kind([{"params": [first, third]}, {"params": [second], "lr": 0.0}], lr=0.1, foreach=True) \
        if name != "Muon" else kind([{"params": [first, third]}, {"params": [second], "lr": 0.0}], lr=0.1)  # fmt: skip

    def closure() -> Any:
        assert flambeau.is_grad_enabled()
        optimizer.zero_grad()
        loss = (first * first).sum() + second.sum()
        loss.backward()
        return loss

    version = first._version
    with flambeau.no_grad():
        loss = optimizer.step(closure)
    assert loss.item() == 8.0
    assert (first.detach() < 1).all()
    assert third.detach().eq(1).all()
    if name not in ("Rprop", "ASGD"):  # lr=0 does not keep Rprop's step sizes from their lower bound
        assert second.detach().eq(1).all()
    assert first._version != version
    assert len(optimizer.state_dict()["state"]) == (3 if name == "Adagrad" else 2)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"Adafactor"}))
def test_complex_parameters_are_pairs_of_real_ones(name: str) -> None:
    values = START[0] + 1j * START[0][::-1]
    whole = nn.Parameter(flambeau.from_numpy(values))
    parts = [nn.Parameter(flambeau.from_numpy(part.copy())) for part in (values.real, values.imag)]
    optimizers = [getattr(optim, name)([whole], lr=0.1), getattr(optim, name)(parts, lr=0.1)]
    for grads in GRADS[:4]:
        grad = grads[0] - 2j * grads[0][::-1]
        whole.grad = flambeau.from_numpy(grad)
        for param, part in zip(parts, (grad.real, grad.imag), strict=True):
            param.grad = flambeau.from_numpy(part.copy())
        for optimizer in optimizers:
            optimizer.step()
    np.testing.assert_array_equal(whole.detach().numpy().real, parts[0].detach().numpy())
    np.testing.assert_array_equal(whole.detach().numpy().imag, parts[1].detach().numpy())


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_complex_parameters_are_refused(name: str) -> None:
    param = nn.Parameter(flambeau.ones(2, 2, dtype=flambeau.complex64))
    param.grad = flambeau.ones(2, 2, dtype=flambeau.complex64)
    with pytest.raises(RuntimeError, match=f"^{name} does not support complex parameters$"):
        getattr(optim, name)([param]).step()


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"Adafactor"}))
def test_differentiable_is_refused(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"^{name}: differentiable=True is not supported"):
        getattr(optim, name)([nn.Parameter(flambeau.ones(2))], differentiable=True)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision(name: str) -> None:
    half, single = (nn.Parameter(flambeau.tensor([1.0, -0.5], dtype=dtype)) for dtype in (flambeau.float16, None))
    for param in (half, single):
        optimizer = getattr(optim, name)([param], lr=0.01, **({"eps": 1e-3} if name.startswith("Ada") and name != "Adafactor" else {}))  # fmt: skip  # noqa: E501
        for _ in range(3):
            param.grad = flambeau.tensor([0.5, -0.25], dtype=param.dtype)
            optimizer.step()
    assert half.dtype is flambeau.float16
    np.testing.assert_allclose(half.detach().numpy(), single.detach().numpy(), rtol=0.02)


# -- Muon --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
@pytest.mark.parametrize("adjust", [None, "match_rms_adamw"])
def test_muon_steps_are_nearly_orthogonal(shape: tuple[int, int], adjust: str | None) -> None:
    grad = np.random.default_rng(0).normal(size=shape)
    param = nn.Parameter(flambeau.zeros(*shape, dtype=flambeau.float64))
    param.grad = flambeau.from_numpy(grad)
    optim.Muon([param], lr=1.0, nesterov=False, adjust_lr_fn=adjust).step()
    rows, columns = shape
    scale = 0.2 * math.sqrt(max(shape)) if adjust else math.sqrt(max(1, rows / columns))
    u, s, vh = np.linalg.svd(-param.detach().numpy() / scale, full_matrices=False)
    assert ((s > 0.6) & (s < 1.3)).all()
    # The singular vectors are those of the gradient: the nearest orthogonal matrix is the same.
    own, _, own_h = np.linalg.svd(grad, full_matrices=False)
    np.testing.assert_allclose(u @ vh, own @ own_h, atol=1e-8)


def test_muon_takes_matrices_only() -> None:
    with pytest.raises(ValueError, match=r"Muon only supports 2D parameters .* with size: \[3\]"):
        optim.Muon([nn.Parameter(flambeau.ones(3))])
    param = nn.Parameter(flambeau.ones(2, 2))
    param.grad = flambeau.ones(2, 2)
    with pytest.raises(ValueError, match="Number of steps must be less than 100"):
        optim.Muon([param], ns_steps=100).step()
    with pytest.raises(ValueError, match="exactly 3"):
        optim.Muon([param], ns_coefficients=(1.0, 2.0)).step()
