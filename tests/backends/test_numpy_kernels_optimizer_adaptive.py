"""The steps of RMSprop and its kin on the CPU backend against the ops' decompositions, on arrays of every layout."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import flambeau
from flambeau.ops.declare import OPS
from flambeau_numpy.optimizer_adaptive import KERNELS

SHAPES = ((3, 4), (), (0,), (200, 150), (40000,))


def arrays(seed: int, dtype: str, layout: str, positive: bool = False) -> list[numpy.ndarray]:
    random = numpy.random.default_rng(seed)
    made = []
    for shape in SHAPES:
        values = random.uniform(0.5, 1.5, shape) if positive else random.uniform(-1, 1, shape)
        array = numpy.asarray(values, dtype)
        if layout == "transposed":
            array = numpy.array(array, order="F")
        elif layout == "strided" and array.ndim:
            array = numpy.repeat(array, 2, -1)[..., ::2]
        made.append(array)
    return made


PLAIN = ((0, False), (0.1, True))
STEPS = [1.0, 2.0, 5.0, 9.0, 30.0]
# name: how many lists of state there are, which of them are positive, and the numbers that follow.
CALLS: dict[str, list[tuple[int, tuple[int, ...], tuple[Any, ...]]]] = {
    "average_step": [(0, (), (0.3,))],
    "rmsprop_step": [(3, (0,), (0.05, 0.9, 1e-3, decay, 0.8, maximize)) for decay, maximize in PLAIN],
    "adagrad_step": [(1, (0,), (STEPS, 0.05, 0.1, 1e-3, decay, maximize)) for decay, maximize in PLAIN],
    "adadelta_step": [(2, (0, 1), (0.5, 0.8, 1e-3, decay, maximize)) for decay, maximize in PLAIN],
    "adamax_step": [
        (2, (1,), (STEPS, 0.05, 0.8, 0.9, 1e-3, decay, maximize)) for decay, maximize in PLAIN
    ],
    "nadam_step": [
        (2, (1,), (STEPS, [0.5, 0.4, 0.3, 0.2, 0.1], 0.05, 0.8, 0.9, 1e-3, decay, 4e-3, decoupled, maximize))
        for decay, decoupled, maximize in ((0, False, False), (0.1, False, True), (0.1, True, True))
    ],
    "radam_step": [
        (2, (1,), (STEPS, 0.05, 0.8, 0.9, 1e-3, decay, decoupled, maximize))
        for decay, decoupled, maximize in ((0, False, False), (0.1, False, True), (0.1, True, True))
    ],
}  # fmt: skip
CASES = [(name, i) for name, calls in CALLS.items() for i in range(len(calls))]


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "strided"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("name", "i"), CASES)
def test_kernel(name: str, i: int, dtype: str, layout: str) -> None:
    count, positive, numbers = CALLS[name][i]
    lists = [arrays(k, dtype, layout, k - 2 in positive) for k in range(2 + count)]
    if name == "rmsprop_step":
        lists[4] = [numpy.multiply(a, 0.1, out=a) for a in lists[4]] if i else []  # below the root of the squares
    expected = [[a.astype("float64") for a in own] for own in lists]
    grads = [a.copy() for a in lists[1]]
    KERNELS[name](*lists, *numbers)
    OPS[name].body(flambeau.ones(1).device.xp, *expected, *numbers)
    tolerance = {"float16": 5e-3, "float32": 1e-5, "float64": 1e-12}[dtype]
    for own, other in zip(lists, expected, strict=True):
        for a, b in zip(own, other, strict=True):
            assert a.dtype == dtype
            numpy.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    for a, b in zip(lists[1], grads, strict=True):
        numpy.testing.assert_array_equal(a, b)


def test_rmsprop_without_momentum() -> None:
    lists = [arrays(k, "float32", "contiguous", k == 2) for k in range(3)]
    expected = [[a.astype("float64") for a in own] for own in lists]
    KERNELS["rmsprop_step"](*lists, [], [], 0.05, 0.9, 1e-3, 0.0, 0.0, False)
    OPS["rmsprop_step"].body(flambeau.ones(1).device.xp, *expected, [], [], 0.05, 0.9, 1e-3, 0.0, 0.0, False)
    for own, other in zip(lists, expected, strict=True):
        for a, b in zip(own, other, strict=True):
            numpy.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
