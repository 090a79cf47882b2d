"""Chains of elementwise ops on the CPU: the same bits as op by op, whatever the shapes and however they are cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest

import flambeau
from flambeau.dispatch import Chain, Link, Step, own_kernel
from flambeau.dtypes import bool_, dtype, float32, float64
from flambeau_numpy import chains

SHAPES = [(300,), (40, 30), (7, 5, 11), (1, 64), (64, 1), (3, 1, 5)]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains for small arrays too, in many parts, the last one shorter."""
    monkeypatch.setattr(chains, "SMALLEST", 1)
    monkeypatch.setattr(chains, "PARALLEL", 1)
    monkeypatch.setattr(chains, "BLOCK", 64)


def step(name: str, *operands: Any, kind: dtype = float32) -> Step:
    kernel = own_kernel(flambeau.zeros(1)._backend, name)
    assert kernel is not None
    return Step(name, kernel, operands, kind)


def computed(chain: Chain, arrays: list[Any]) -> list[Any]:
    """What the ops give one by one."""
    results: list[Any] = []
    for own in chain.steps:
        operands = [
            (arrays if operand.is_input else results)[operand.number] if isinstance(operand, Link) else operand
            for operand in own.operands
        ]
        results.append(own.kernel(*operands))
    return [results[number] for number in chain.outputs]


def check(chain: Chain, arrays: list[Any]) -> None:
    kernel = chains.compiled(chain)
    assert kernel is not None
    for _ in range(2):
        found = kernel(*arrays)
        found = found if isinstance(found, tuple) else (found,)
        for one, other in zip(found, computed(chain, arrays), strict=True):
            assert one.dtype == other.dtype and one.shape == other.shape
            assert one.tobytes() == other.tobytes()


I0, I1, I2 = (Link(True, i) for i in range(3))
S0, S1, S2, S3, S4 = (Link(False, i) for i in range(5))


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("second", ["whole", "row", "column", "number"])
def test_shapes(shape: tuple[int, ...], second: str) -> None:
    rng = numpy.random.default_rng(0)
    other = {"whole": shape, "row": shape[-1:], "column": (*shape[:-1], 1), "number": ()}[second]
    arrays = [rng.standard_normal(s).astype(numpy.float32) for s in (shape, other)]
    steps = (
        step("mul", I0, I1),
        step("tanh", S0),
        step("add", S1, 2.0),
        step("sub", I1, S2),
        step("relu", S3),
        step("mul", S4, S0),
    )
    described = tuple([(array.shape, float32) for array in arrays])
    check(Chain(shape, described, steps, (5,)), arrays)
    check(Chain(shape, described, steps, (1, 3, 5)), arrays)


@pytest.mark.usefixtures("small_parts")
def test_dtypes_that_change() -> None:
    """Comparisons give bools, which choose between numbers of another dtype."""
    rng = numpy.random.default_rng(0)
    arrays = [rng.standard_normal((50, 20)) for _ in range(2)]
    steps = (
        step("gt", I0, I1, kind=bool_),
        step("where", S0, I0, 0.5, kind=float64),
        step("logical_not", S0, kind=bool_),
        step("where", S2, S1, I1, kind=float64),
        step("maximum", S3, S1, kind=float64),
    )
    check(Chain((50, 20), (((50, 20), float64),) * 2, steps, (0, 4)), arrays)


def test_where_it_does_not_pay() -> None:
    steps = (step("mul", I0, 2.0), step("tanh", S0))
    assert chains.compiled(Chain((10,), (((10,), float32),), steps, (1,))) is None
    # A middle dimension that is repeated fits neither rows nor columns.
    shape = (200, 100, 200)
    steps = (step("mul", I0, I1), step("tanh", S0))
    assert chains.compiled(Chain(shape, ((shape, float32), ((200, 1, 200), float32)), steps, (1,))) is None


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "two results": lambda x, y: ((x * y + 1).tanh() * x, (x - y).relu()),
    "a reduction between": lambda x, y: (x * y + 1).abs() / (x * y).sum() * y,
    "written to": lambda x, y: (x * 2 + 1).add_(y).sigmoid() * 2,
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_in_compiled_functions(name: str) -> None:
    x, y = flambeau.randn(2, 1100, 1000)
    compiled = flambeau.compile(FUNCTIONS[name], fullgraph=True)
    for _ in range(2):
        found, expected = compiled(x, y), FUNCTIONS[name](x, y)
        pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
        assert all(flambeau.equal(one, other) for one, other in pairs)


def test_arguments_that_are_written_to_between() -> None:
    """A chain reads what it reads before somebody writes over it."""

    def function(x: flambeau.Tensor, y: flambeau.Tensor) -> flambeau.Tensor:
        first = x * y + 1
        x.add_(1)
        return (first * x).tanh()

    compiled = flambeau.compile(function, fullgraph=True)
    for _ in range(3):
        x, y = flambeau.randn(2, 1100, 1000)
        assert flambeau.equal(compiled(x.clone(), y), function(x.clone(), y))
