"""Running a part of the model again in the backward pass: the same gradients, under the same conditions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

import flambeau
from flambeau import autograd, nn
from flambeau.utils.checkpoint import (
    CheckpointError,
    checkpoint,
    checkpoint_sequential,
    set_checkpoint_debug_enabled,
    set_checkpoint_early_stop,
)


def leaf(*values: float) -> flambeau.Tensor:
    return flambeau.tensor(values, dtype=flambeau.float64, requires_grad=True)


def gradient(function: Any, *values: float) -> Any:
    x = leaf(*values)
    function(x).sum().backward()
    return x.grad.numpy()


def test_checkpoints_in_checkpoints() -> None:
    calls = []

    def inner(t: flambeau.Tensor) -> flambeau.Tensor:
        calls.append("inner")
        return (t.sin() * t).exp()

    def outer(t: flambeau.Tensor) -> flambeau.Tensor:
        calls.append("outer")
        return checkpoint(inner, t.cos() * 2) * checkpoint(inner, t)

    x = numpy.array([0.3, 0.7])
    found = gradient(lambda t: checkpoint(outer, t) * t, *x)

    def plain(t: flambeau.Tensor) -> flambeau.Tensor:
        one, two = t.cos() * 2, t
        return (one.sin() * one).exp() * (two.sin() * two).exp() * t

    numpy.testing.assert_allclose(found, gradient(plain, *x), rtol=1e-14)
    assert calls.count("outer") == 2
    assert calls.count("inner") == 6


def test_functions_of_the_user_s_own() -> None:
    class Cube(autograd.Function):
        @staticmethod
        def forward(ctx: Any, t: Any) -> Any:
            ctx.save_for_backward(t)
            return t**3

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            (t,) = ctx.saved_tensors
            return g * 3 * t * t

    numpy.testing.assert_allclose(gradient(lambda t: checkpoint(Cube.apply, t), 2.0, 3.0), [12.0, 27.0])


@pytest.mark.parametrize("cache_enabled", [True, False])
def test_autocast_is_the_first_run_s(cache_enabled: bool) -> None:
    pytest.importorskip("ml_dtypes")
    flambeau.manual_seed(0)
    layer, x = nn.Linear(4, 4), flambeau.randn(3, 4, requires_grad=True)
    seen: list[tuple[bool, Any]] = []

    def block(t: flambeau.Tensor) -> flambeau.Tensor:
        seen.append((flambeau.is_autocast_enabled("cpu"), layer(t).dtype))
        return layer(layer(t)).float().tanh()

    def gradients(run: Any) -> list[Any]:
        layer.zero_grad()
        x.grad = None
        with flambeau.autocast("cpu", dtype=flambeau.bfloat16, cache_enabled=cache_enabled):
            before = layer(x)  # the parameters are in autocast's cache now
            loss = (run(before) + run(x)).sum()
        loss.backward()
        return [x.grad.numpy(), *[p.grad.numpy() for p in layer.parameters()]]

    plain = gradients(block)
    seen.clear()
    again = gradients(lambda t: checkpoint(block, t))
    assert seen == [(True, flambeau.bfloat16)] * 4
    for found, expected in zip(again, plain, strict=True):
        numpy.testing.assert_allclose(found, expected, rtol=2e-2, atol=1e-2)
    assert not flambeau.is_autocast_enabled("cpu")


def test_autocast_around_the_backward_pass_does_not_reach_the_second_run() -> None:
    pytest.importorskip("ml_dtypes")
    layer, x = nn.Linear(4, 4), flambeau.randn(3, 4)
    seen: list[Any] = []

    def block(t: flambeau.Tensor) -> flambeau.Tensor:
        result: flambeau.Tensor = layer(t)
        seen.append(result.dtype)
        return result.sin()

    loss = checkpoint(block, x).sum()
    with flambeau.autocast("cpu", dtype=flambeau.bfloat16):
        loss.backward()
        assert flambeau.is_autocast_enabled("cpu")
    assert seen == [flambeau.float32] * 2


def test_dropout_is_the_same_and_the_generator_goes_on_as_without() -> None:
    drop, x = nn.Dropout(0.5), flambeau.ones(1000)

    def run(wrapped: bool) -> tuple[Any, Any, float]:
        flambeau.manual_seed(3)
        w = flambeau.ones(1000, requires_grad=True)
        out = checkpoint(lambda t: drop(t * w).square(), x) if wrapped else drop(x * w).square()
        flambeau.rand(7)
        out.sum().backward()
        return out.detach().numpy(), w.grad.numpy(), flambeau.rand(()).item()

    for found, expected in zip(run(True), run(False), strict=True):
        numpy.testing.assert_array_equal(found, expected)


def test_keyword_arguments_containers_and_no_grad() -> None:
    def block(a: Any, *, b: Any) -> dict[str, Any]:
        return {"product": a * b, "parts": [a.exp(), (b.sin(),)]}

    a, b = leaf(0.5), leaf(0.25)
    out = checkpoint(block, a, b=b, use_reentrant=False)
    (out["product"] + out["parts"][0] * out["parts"][1][0]).sum().backward()
    numpy.testing.assert_allclose(a.grad.item(), 0.25 + numpy.exp(0.5) * numpy.sin(0.25))
    numpy.testing.assert_allclose(b.grad.item(), 0.5 + numpy.exp(0.5) * numpy.cos(0.25))
    with flambeau.no_grad():
        assert checkpoint(lambda t: t * 2, a).grad_fn is None


def test_context_fn_gives_a_context_to_each_run() -> None:
    log: list[str] = []

    @contextlib.contextmanager
    def noting(name: str) -> Iterator[None]:
        log.append(f"{name} begins")
        yield
        log.append(f"{name} ends")

    def block(t: Any) -> Any:
        log.append("run")
        return t.sin()

    y = checkpoint(block, leaf(1.0), use_reentrant=False, context_fn=lambda: (noting("first"), noting("second")))
    y.sum().backward()
    assert log == ["first begins", "run", "first ends", "second begins", "run", "second ends"]


def changing(first: Any, second: Any) -> Any:
    runs = iter((first, second))
    return lambda t: next(runs)(t)


def test_another_second_run_is_an_error() -> None:
    with pytest.raises(CheckpointError, match=r"recorded other operations.*1 the first time, 2 the second.*debug=True"):
        gradient(lambda t: checkpoint(changing(lambda u: u.sin(), lambda u: u.sin().cos()), t), 1.0)
    with (
        set_checkpoint_debug_enabled(True),
        pytest.raises(CheckpointError, match="The first time: SinBackward0\nThe second time: SinBackward0, CosB"),
    ):
        gradient(lambda t: checkpoint(changing(lambda u: u.sin(), lambda u: u.sin().cos()), t), 1.0)
    shapes = changing(lambda u: (u[:1] * u[:1]).sum(), lambda u: (u[:2] * u[:2]).sum())
    with pytest.raises(CheckpointError, match="different metadata than during the forward pass: what MulBackward0"):
        gradient(lambda t: checkpoint(shapes, t), 1.0, 2.0)


def test_a_changed_argument_is_an_error() -> None:
    x = leaf(1.0) * 1
    y = checkpoint(lambda t: t.exp().sin(), x)
    x.add_(1)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation.*given at version 0 and is at version 1"):
        y.sum().backward()


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"determinism_check should be one of \['default', 'none'\], but got 'all'"):
        checkpoint(lambda t: t, leaf(1.0), determinism_check="all")
    with pytest.raises(ValueError, match="segments must be between 1 and 2, got 3"):
        checkpoint_sequential(nn.Sequential(nn.ReLU(), nn.Tanh()), 3, leaf(1.0))


@pytest.mark.parametrize("segments", [1, 2, 3, 5])
def test_checkpoint_sequential(segments: int) -> None:
    flambeau.manual_seed(0)
    chain = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 8), nn.Dropout(0.3), nn.Linear(8, 2))
    x = flambeau.randn(4, 3)

    def gradients(run: Any) -> list[Any]:
        chain.zero_grad()
        flambeau.manual_seed(1)
        run(x).square().sum().backward()
        return [p.grad.numpy().copy() for p in chain.parameters()]

    with set_checkpoint_early_stop(False):
        found = gradients(lambda t: checkpoint_sequential(chain, segments, t, use_reentrant=False))
    for one, other in zip(found, gradients(chain), strict=True):
        numpy.testing.assert_array_equal(one, other)
