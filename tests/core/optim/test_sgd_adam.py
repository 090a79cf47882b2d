"""SGD, Adam and AdamW against their formulas, in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn, optim
from flambeau.ops import optimizer as steps

RNG = np.random.default_rng(2)
START = [RNG.normal(size=shape) for shape in ((3, 4), (5,), (), (2, 1, 2))]
GRADS = [[RNG.normal(size=param.shape) for param in START] for _ in range(5)]


def sgd(
    lr: float = 1e-3,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
) -> list[np.ndarray]:
    params = [param.copy() for param in START]
    buffers: list[Any] = [None] * len(params)
    for grads in GRADS:
        for i, grad in enumerate(grads):
            g = (-grad if maximize else grad) + weight_decay * params[i]
            buffers[i] = g if buffers[i] is None else momentum * buffers[i] + (1 - dampening) * g
            params[i] = params[i] - lr * (g + momentum * buffers[i] if nesterov else buffers[i] if momentum else g)
    return params


def adam(
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
) -> list[np.ndarray]:
    params = [param.copy() for param in START]
    m = [np.zeros_like(param) for param in START]
    v = [np.zeros_like(param) for param in START]
    largest = [np.zeros_like(param) for param in START]
    for t, grads in enumerate(GRADS, 1):
        for i, grad in enumerate(grads):
            g = -grad if maximize else grad
            if decoupled_weight_decay:
                params[i] = params[i] * (1 - lr * weight_decay)
            else:
                g = g + weight_decay * params[i]
            m[i] = betas[0] * m[i] + (1 - betas[0]) * g
            v[i] = betas[1] * v[i] + (1 - betas[1]) * g**2
            largest[i] = np.maximum(largest[i], v[i])
            second = (largest if amsgrad else v)[i] / (1 - betas[1] ** t)
            params[i] = params[i] - lr * m[i] / (1 - betas[0] ** t) / (np.sqrt(second) + eps)
    return params


def run(name: str, dtype: Any = np.float64, **options: Any) -> list[Any]:
    params = [nn.Parameter(flambeau.from_numpy(param.astype(dtype))) for param in START]
    optimizer = getattr(optim, name)(params, **options)
    for grads in GRADS:
        for param, grad in zip(params, grads, strict=True):
            param.grad = flambeau.from_numpy(grad.astype(dtype))
        optimizer.step()
    return params


def assert_close(params: list[Any], expected: list[np.ndarray], rtol: float = 1e-12) -> None:
    for param, values in zip(params, expected, strict=True):
        assert tuple(param.shape) == values.shape
        np.testing.assert_allclose(param.detach().numpy(), values, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {"lr": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "maximize": True},
        {"lr": 0.1, "momentum": 0.9},
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.5},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.9, "maximize": True, "weight_decay": 0.1},
    ],
)
def test_sgd(options: dict[str, Any]) -> None:
    assert_close(run("SGD", **options), sgd(**options))
    assert_close(run("SGD", np.float32, **options), sgd(**options), rtol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.1},
        {"lr": 0.1, "weight_decay": 0.1},
        {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True},
        {"lr": 0.1, "amsgrad": True},
        {"lr": 0.1, "maximize": True, "weight_decay": 0.1},
        {"lr": 0.1, "maximize": True, "weight_decay": 0.1, "decoupled_weight_decay": True, "amsgrad": True},
    ],
)
def test_adam(options: dict[str, Any]) -> None:
    assert_close(run("Adam", **options), adam(**options))
    assert_close(run("Adam", np.float32, **options), adam(**options), rtol=1e-4)


def test_adamw() -> None:
    assert_close(run("AdamW", lr=0.1), adam(lr=0.1, weight_decay=0.01, decoupled_weight_decay=True))
    assert optim.AdamW([nn.Parameter(flambeau.zeros(1))]).defaults["weight_decay"] == 0.01


@pytest.mark.parametrize("name", ["sgd_step", "adam_step"])
def test_the_kernel_and_the_decomposition_agree(name: str) -> None:
    """A backend's own kernel does what the op's declaration says."""
    device = flambeau.zeros(1).device
    declared = getattr(steps, name).body

    def arrays(seed: int) -> list[Any]:
        rng = np.random.default_rng(seed)
        return [flambeau.from_numpy(rng.uniform(0.1, 1, shape))._array for shape in ((3, 2), (), (4,))]

    for decay, flag in ((0.0, False), (0.3, True)):
        outcomes = []
        for step in (getattr(device.xp, name), lambda *given: declared(device.xp, *given)):
            params, grads, first, second, third = (arrays(seed) for seed in range(5))
            if name == "sgd_step":
                step(params, grads, first, 0.1, 0.9, 0.2 * (not flag), decay, flag, not flag, False)
            else:
                step(
                    params, grads, first, second, third, [1.0, 2.0, 7.0], 0.1, 0.9, 0.99, 1e-8, decay, flag, flag, flag
                )
            outcomes.append([device.backend.to_numpy(array) for array in params + first + second + third])
        for own, expected in zip(*outcomes, strict=True):
            np.testing.assert_allclose(own, expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_learning_rates_may_be_tensors(name: str) -> None:
    with_tensor, with_number = run(name, lr=flambeau.tensor(0.125)), run(name, lr=0.125)
    assert_close(with_tensor, [param.detach().numpy() for param in with_number])
    with pytest.raises(ValueError, match="Tensor lr must be 1-element"):
        run(name, lr=flambeau.tensor([0.1, 0.2]))


def test_parameters_without_a_gradient_are_left_alone() -> None:
    first, second = nn.Parameter(flambeau.ones(2)), nn.Parameter(flambeau.ones(2))
    optimizer = optim.Adam([first, second], lr=0.1)
    optimizer.step()
    assert not optimizer.state
    first.grad = flambeau.ones(2)
    optimizer.step()
    assert second.tolist() == [1.0, 1.0]
    assert list(optimizer.state) == [first]
    second.grad = flambeau.ones(2)
    optimizer.step()
    assert [optimizer.state[param]["step"] for param in (first, second)] == [2.0, 1.0]


def test_momentum_begins_with_the_first_gradient_of_each_parameter() -> None:
    first, second = nn.Parameter(flambeau.zeros(1)), nn.Parameter(flambeau.zeros(1))
    optimizer = optim.SGD([first, second], lr=1.0, momentum=0.5, dampening=0.5)
    first.grad = flambeau.ones(1)
    optimizer.step()  # buffer 1
    second.grad = flambeau.ones(1)
    optimizer.step()  # buffers 1 * 0.5 + 0.5, and 1
    assert (first.item(), second.item()) == (-2.0, -1.0)
    assert optimizer.state[first]["momentum_buffer"].item() == 1.0


def test_gradients_are_left_as_they_are() -> None:
    for name in ("SGD", "Adam", "AdamW"):
        param = nn.Parameter(flambeau.ones(2))
        param.grad = flambeau.tensor([1.0, -2.0])
        getattr(optim, name)([param], weight_decay=0.5, maximize=True).step()
        assert param.grad.tolist() == [1.0, -2.0]


def test_parameters_keep_their_memory() -> None:
    param = nn.Parameter(flambeau.ones(2))
    view = param.detach()
    param.grad = flambeau.ones(2)
    optim.Adam([param], lr=0.5).step()
    assert view.tolist() == param.tolist() != [1.0, 1.0]


def test_adam_finds_the_minimum_whatever_the_scale() -> None:
    point = nn.Parameter(flambeau.tensor([5.0, -3.0], dtype=flambeau.float64))
    scale = flambeau.tensor([1e-3, 1e3], dtype=flambeau.float64)
    target = flambeau.tensor([1.0, 2.0], dtype=flambeau.float64)
    optimizer = optim.Adam([point], lr=0.2)
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.985)
    for _ in range(500):
        optimizer.zero_grad()
        (scale * (point - target) ** 2).sum().backward()
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(point.detach().numpy(), [1.0, 2.0], atol=1e-2)
