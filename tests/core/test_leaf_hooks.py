"""Hooks of leaves run as soon as their gradient is complete, in the middle of the backward pass."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import flambeau
from flambeau import nn


def chain(*factors: flambeau.Tensor, log: list[Any]) -> flambeau.Tensor:
    """The product of the factors; each intermediate one notes when its gradient passes."""
    product = factors[0]
    for i, factor in enumerate(factors[1:]):
        product = product * factor
        product.register_hook(lambda g, i=i: log.append(f"product {i}"))
    return product.sum()


def test_a_leaf_is_handed_over_before_the_pass_goes_on() -> None:
    log: list[Any] = []
    a, b, c = (flambeau.tensor([2.0, 3.0], requires_grad=True) for _ in range(3))
    for name, leaf in (("a", a), ("b", b), ("c", c)):
        leaf.register_hook(lambda g, name=name: log.append(f"{name} gradient"))
        leaf.register_post_accumulate_grad_hook(lambda p, name=name: log.append((name, p.grad.tolist())))
    chain(a, b, c, log=log).backward()
    squares = [4.0, 9.0]
    assert log == [
        "product 1", "c gradient", ("c", squares), "product 0", "a gradient", ("a", squares), "b gradient",
        ("b", squares),
    ]  # fmt: skip


def test_a_leaf_that_is_used_twice_waits_for_both() -> None:
    log: list[Any] = []
    a, b = (flambeau.tensor([2.0], requires_grad=True) for _ in range(2))
    b.register_post_accumulate_grad_hook(lambda p: log.append(p.grad.item()))
    chain(a, b, a, b, log=log).backward()
    assert log == ["product 2", "product 1", "product 0", 16.0]
    assert a.grad.item() == 16.0


def test_a_gradient_replaced_by_a_hook_is_what_is_accumulated() -> None:
    a, b = (flambeau.tensor([2.0], requires_grad=True) for _ in range(2))
    b.register_hook(lambda g: g * 10)
    chain(a, b, log=[]).backward()
    assert (a.grad.item(), b.grad.item()) == (2.0, 20.0)
    (by_grad,) = flambeau.autograd.grad(chain(a, b, log=[]), [b])
    assert by_grad.item() == 20.0
    assert b.grad.item() == 20.0


def test_grad_runs_no_post_accumulate_hooks_and_inputs_choose() -> None:
    log: list[str] = []
    a, b = (flambeau.tensor([2.0], requires_grad=True) for _ in range(2))
    for name, leaf in (("a", a), ("b", b)):
        leaf.register_post_accumulate_grad_hook(lambda p, name=name: log.append(name))
    flambeau.autograd.grad(chain(a, b, log=[]), [a, b])
    assert log == []
    chain(a, b, log=[]).backward(inputs=[b])
    assert log == ["b"]
    assert a.grad is None


def test_an_optimizer_step_inside_the_backward_pass() -> None:
    """Each parameter is stepped and its gradient freed as soon as it is there; the result is that of a plain step."""

    def weights(inside: bool) -> list[Any]:
        flambeau.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        x, alive = flambeau.randn(5, 3), []
        optimizers = {p: flambeau.optim.SGD([p], lr=0.1) for p in net.parameters()}

        def step(parameter: Any) -> None:
            alive.append(sum(p.grad is not None for p in net.parameters()))
            optimizers[parameter].step()
            optimizers[parameter].zero_grad()

        if inside:
            for p in net.parameters():
                p.register_post_accumulate_grad_hook(step)
        net(x).square().mean().backward()
        if inside:
            assert alive == [1] * 4
        else:
            for optimizer in optimizers.values():
                optimizer.step()
        return [p.detach().numpy() for p in net.parameters()]

    for inside, plain in zip(weights(True), weights(False), strict=True):
        numpy.testing.assert_array_equal(inside, plain)


def test_hooks_run_with_the_tape_only_where_the_pass_is_recorded() -> None:
    seen: list[bool] = []
    a = flambeau.tensor([2.0], requires_grad=True)
    a.register_post_accumulate_grad_hook(lambda p: seen.append(flambeau.is_grad_enabled()))
    (a * a).sum().backward()
    (a * a).sum().backward(create_graph=True)
    assert seen == [False, True]


def test_an_error_in_a_hook_ends_the_pass() -> None:
    a, b = (flambeau.tensor([2.0], requires_grad=True) for _ in range(2))

    def fail(p: flambeau.Tensor) -> None:
        raise LookupError("stop here")

    b.register_post_accumulate_grad_hook(fail)
    c = a * a
    with pytest.raises(LookupError, match="stop here"):
        (c * b).sum().backward()
    assert a.grad is None
    assert flambeau.is_grad_enabled()


def test_the_gradient_is_not_shared_with_another_leaf() -> None:
    a, b = (flambeau.tensor([1.0], requires_grad=True) for _ in range(2))
    for leaf in (a, b):
        leaf.register_post_accumulate_grad_hook(lambda p: None)
    (a + b).sum().backward()
    a.grad.add_(5)
    assert b.grad.item() == 1.0
