"""Chains of elementwise ops on OpenCL: one kernel, with the bits of the kernels of the ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("pyopencl")

import flambeau
from flambeau import nn
from flambeau.dispatch import Chain, Link, Step, own_kernel
from flambeau.nn import functional as F
from flambeau_opencl import chains
from flambeau_opencl.backend import OpenCLBackend

pytestmark = pytest.mark.skipif(not OpenCLBackend().is_available(), reason="there is no OpenCL device here")

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "floats": lambda x, y: ((x * y + 1.5).tanh() * x - y.abs()).relu() / (y.square() + 2),
    "several results": lambda x, y: (x + y, (x + y).exp(), (x + y) * 2 - x),
    "choices": lambda x, y: flambeau.where((x > y) & (x < 1), x.neg(), y.log1p()) * (x != y),
    "a row": lambda x, y: (x + y[0]).sigmoid() * x - y[0],
    "a column": lambda x, y: ((x - y[:, :1]) * 3).floor() + y[:, :1],
    "integers": lambda x, y: ((x * 9).int() * 3 - 7).bitwise_and(12) + (y * 9).int(),
    "halves": lambda x, y: (x.half() * y.half() + x.half()).float(),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(5, 7), (64, 128), (1, 3)])
def test_functions(name: str, shape: tuple[int, int]) -> None:
    x, y = flambeau.randn(2, *shape, device="opencl")
    compiled = flambeau.compile(FUNCTIONS[name], fullgraph=True)
    for _ in range(2):
        found, expected = compiled(x, y), FUNCTIONS[name](x, y)
        pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
        for one, other in pairs:
            assert one.dtype is other.dtype and one.device == other.device
            assert one.cpu().numpy().tobytes() == other.cpu().numpy().tobytes()


def test_what_has_no_expression() -> None:
    backend = flambeau.zeros(1, device="opencl")._backend
    steps = [Step(name, own_kernel(backend, name), (Link(True, 0),), flambeau.float32) for name in ("exp", "gelu")]  # type: ignore[arg-type]
    inputs = (((4,), flambeau.float32),)
    assert chains.compiled(Chain((4,), inputs, (steps[0],), (0,))) is not None
    assert chains.compiled(Chain((4,), inputs, tuple(steps), (1,))) is None
    half = (((4,), flambeau.float16),)
    assert chains.compiled(Chain((4,), half, (steps[0],), (0,))) is None


def test_indices_are_looked_at_in_each_replay() -> None:
    compiled = flambeau.compile(lambda x, index: x.index_select(0, index), fullgraph=True)
    x = flambeau.randn(4, 3, device="opencl")
    good, bad = (flambeau.tensor(index, device="opencl") for index in ([0, 3], [0, 7]))
    for _ in range(3):
        assert flambeau.equal(compiled(x, good), x[[0, 3]])
    with pytest.raises(IndexError, match="index_select: index 7 is out of bounds"):
        compiled(x, bad).sum().item()
    assert flambeau.equal(compiled(x, good), x[[0, 3]])


def test_a_training_step() -> None:
    def trained(compile: bool) -> tuple[list[float], list[Any]]:
        flambeau.manual_seed(0)
        module = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.LayerNorm(16), nn.Linear(16, 3))
        module.to("opencl")
        optimizer = flambeau.optim.AdamW(module.parameters())

        def step(x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(module(x), y)
            loss.backward()
            optimizer.step()
            return loss

        called = flambeau.compile(step, fullgraph=True) if compile else step
        x, y = flambeau.randn(4, 8, device="opencl"), flambeau.tensor([0, 1, 2, 1], device="opencl")
        return [called(x, y).item() for _ in range(5)], [p.tolist() for p in module.parameters()]

    assert trained(True) == trained(False)
