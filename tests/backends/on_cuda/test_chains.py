"""Chains of elementwise ops on CUDA: one kernel, with the bits of the kernels of the ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy
import pytest

import flambeau
from flambeau import nn
from flambeau.backends import cudnn
from flambeau.dispatch import Chain, Link, Step, own_kernel
from flambeau.nn import functional as F
from flambeau_cupy import chains

#: In the stand-in NumPy's functions and g++'s differ in their last bits; arithmetic is exact everywhere.
ON_CPU = "stand-in" in (cupy.__doc__ or "")

EXACT: dict[str, Callable[..., Any]] = {
    "floats": lambda x, y: ((x * y + 1.5) * x - y.abs()).relu() / (y.square() + 2),
    "several results": lambda x, y: (x + y, (x + y).neg(), (x + y) * 2 - x),
    "choices": lambda x, y: flambeau.where((x > y) & (x < 1), x.neg(), y * 0.1) * (x != y),
    "a row": lambda x, y: (x + y[0]).relu() * x - y[0],
    "a column": lambda x, y: ((x - y[:, :1]) * 3).floor() + y[:, :1],
    "integers": lambda x, y: ((x * 9).int() * 3 - 7).bitwise_and(12) + (y * 9).int(),
    "slopes": lambda x, y: F.leaky_relu(x * 0.3, 0.1) + y.trunc(),
}  # fmt: skip
CLOSE: dict[str, Callable[..., Any]] = {
    "functions": lambda x, y: ((x * y).tanh() + y.exp().log1p()).sigmoid(),
    "activations": lambda x, y: F.gelu(x + 1) * F.silu(y) + (x * 0.5).erf(),
}  # fmt: skip


def compare(function: Callable[..., Any], shape: tuple[int, int], dtype: flambeau.dtype, is_exact: bool) -> None:
    x, y = flambeau.randn(2, *shape, device="cuda").to(dtype)
    compiled = flambeau.compile(function, fullgraph=True)
    launched = _chains_launched()
    for _ in range(2):
        found, expected = compiled(x, y), function(x, y)
        pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
        for one, other in pairs:
            assert one.dtype is other.dtype and one.device == other.device
            if is_exact:
                assert one.cpu().numpy().tobytes() == other.cpu().numpy().tobytes()
            else:
                limit = 4 * flambeau.finfo(dtype).eps
                numpy.testing.assert_allclose(one.double().cpu().numpy(), other.double().cpu().numpy(), limit, limit)
    assert launched is None or _chains_launched() > launched


def _chains_launched() -> int | None:
    """How often the stand-in has run a chain's kernel."""
    if not ON_CPU:
        return None
    from cupy._raw import launches

    return sum(count for name, count in launches.items() if name.startswith("chain_"))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.float16, flambeau.bfloat16])
def test_arithmetic(name: str, dtype: flambeau.dtype) -> None:
    compare(EXACT[name], (64, 33), dtype, True)


@pytest.mark.parametrize("name", CLOSE)
@pytest.mark.parametrize("dtype", [flambeau.float32, flambeau.float16])
def test_functions(name: str, dtype: flambeau.dtype) -> None:
    compare(CLOSE[name], (5, 7), dtype, not ON_CPU)


def test_what_has_no_expression() -> None:
    backend: Any = flambeau.zeros(1, device="cuda")._backend

    def made(name: str, *more: Any, kind: flambeau.dtype = flambeau.float32) -> Any:
        step = Step(name, own_kernel(backend, name), (Link(True, 0), *more), kind)
        return chains.compiled(Chain((4,), (((4,), kind),), (step,), (0,)))

    assert made("exp") is not None and made("add", 3) is not None
    assert made("cumsum") is made("exp", kind=flambeau.complex64) is made("exp", kind=flambeau.int32) is None
    assert made("add", 300, kind=flambeau.uint8) is made("add", 1e9, kind=flambeau.float16) is None
    assert made("add", 0.5, kind=flambeau.int32) is made("bitwise_and", 1, kind=flambeau.bool) is None


def test_a_training_step() -> None:
    def trained(compile: bool) -> tuple[list[float], list[Any]]:
        flambeau.manual_seed(0)
        module = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.LayerNorm(16), nn.Linear(16, 3))
        module.to("cuda")
        optimizer = flambeau.optim.SGD(module.parameters(), 0.1)

        def step(x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy((module(x) * 2 + 0.5).relu(), y)
            loss.backward()
            optimizer.step()
            return loss

        called = flambeau.compile(step, fullgraph=True) if compile else step
        x, y = flambeau.randn(4, 8, device="cuda"), flambeau.tensor([0, 1, 2, 1], device="cuda")
        return [called(x, y).item() for _ in range(5)], [p.tolist() for p in module.parameters()]

    with cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        assert trained(True) == trained(False)
