"""Random numbers and optimizer steps of the CPU backend."""

from __future__ import annotations

import math
from typing import Any

import numpy
import pytest

from flambeau import dtypes
from flambeau_numpy import optimizer
from flambeau_numpy.backend import NumpyBackend

K = NumpyBackend().kernels()
RNG = numpy.random.default_rng(0)


# -- random ----------------------------------------------------------------------------------------------------------


def words(seed: int, offset: int, count: int) -> numpy.ndarray:
    return numpy.random.Philox(key=seed, counter=offset).random_raw(count)


@pytest.mark.parametrize(("seed", "offset"), [(0, 0), (1234, 7), (2**63 + 5, 2**40)])
def test_uniforms_are_the_words_of_philox(seed: int, offset: int) -> None:
    raw = words(seed, offset, 101)
    double = K["random_uniform"]((101,), dtypes.float64, seed, offset)
    numpy.testing.assert_array_equal(double, (raw >> numpy.uint64(11)) * 2.0**-53)
    halves = numpy.stack([raw & numpy.uint64(0xFFFFFFFF), raw >> numpy.uint64(32)], 1).reshape(-1)[:201]
    for dtype, bits in ((dtypes.float32, 24), (dtypes.float16, 11)):
        found = K["random_uniform"]((3, 67), dtype, seed, offset)
        assert found.dtype == dtype.numpy
        numpy.testing.assert_array_equal(found.reshape(-1), (halves >> numpy.uint64(32 - bits)) * 2.0**-bits)


def test_the_offset_counts_blocks_of_four_words() -> None:
    whole = K["random_uniform"]((40,), dtypes.float64, 3, 0)
    numpy.testing.assert_array_equal(K["random_uniform"]((36,), dtypes.float64, 3, 1), whole[4:])


def test_bfloat16_uniforms() -> None:
    pytest.importorskip("ml_dtypes")
    found = K["random_uniform"]((1000,), dtypes.bfloat16, 5, 0)
    low = words(5, 0, 500) & numpy.uint64(0xFFFFFFFF)
    numpy.testing.assert_array_equal(found.astype("float64")[::2], (low >> numpy.uint64(24)) * 2.0**-8)


# -- optimizers ------------------------------------------------------------------------------------------------------


def arrays(
    dtype: str, transposed: bool = False, shapes: Any = ((3, 4), (), (200, 150), (40000,))
) -> list[numpy.ndarray]:
    made = [numpy.asarray(RNG.standard_normal(shape)).astype(dtype) for shape in shapes]
    return [numpy.array(a, order="F") for a in made] if transposed else made


def in_double(values: list[numpy.ndarray]) -> list[numpy.ndarray]:
    return [value.astype("float64") for value in values]


def close(found: list[numpy.ndarray], expected: list[numpy.ndarray], dtype: str) -> None:
    tolerance = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-12}[dtype]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        numpy.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"maximize": True, "weight_decay": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1, "maximize": True},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ],
    ids=str,
)
def test_sgd(dtype: str, setting: dict[str, Any]) -> None:
    momentum, dampening = setting.get("momentum", 0), setting.get("dampening", 0)
    decay, nesterov, maximize = (setting.get(name, 0) for name in ("weight_decay", "nesterov", "maximize"))
    params = arrays(dtype)
    expected = in_double(params)
    buffers = [numpy.zeros_like(p) for p in params] if momentum else []
    velocities = [numpy.zeros(p.shape) for p in params]
    for step in range(3):
        grads = arrays(dtype, transposed=step == 1)
        before = [g.copy() for g in grads]
        K["sgd_step"](
            params, grads, buffers, 0.01, momentum, dampening, decay, bool(nesterov), bool(maximize), step == 0
        )
        for i, g in enumerate(in_double(grads)):
            g = (-g if maximize else g) + decay * expected[i]
            velocities[i] = g if step == 0 else momentum * velocities[i] + (1 - dampening) * g
            if momentum:
                g = g + momentum * velocities[i] if nesterov else velocities[i]
            expected[i] = expected[i] - 0.01 * g
        for grad, old in zip(grads, before, strict=True):
            numpy.testing.assert_array_equal(grad, old)
    close(params, expected, dtype)
    if momentum:
        close(buffers, velocities, dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize(
    ("weight_decay", "decoupled", "maximize"), [(0.0, False, False), (0.1, False, True), (0.1, True, False)]
)
def test_adam(dtype: str, amsgrad: bool, weight_decay: float, decoupled: bool, maximize: bool) -> None:
    params = arrays(dtype)
    expected = in_double(params)
    averages, squares, largest = ([numpy.zeros_like(p) for p in params] for _ in range(3))
    m, v, top = ([numpy.zeros(p.shape) for p in params] for _ in range(3))
    for step in range(1, 4):
        # The last parameter is a step ahead of the others.
        steps = [step, step, step, step + 1]
        grads = arrays(dtype, transposed=step == 2)
        before = [g.copy() for g in grads]
        K["adam_step"](
            params, grads, averages, squares, largest if amsgrad else [], steps,
            0.01, 0.9, 0.99, 1e-4, weight_decay, amsgrad, maximize, decoupled,
        )  # fmt: skip
        for i, g in enumerate(in_double(grads)):
            g = -g if maximize else g
            if decoupled:
                expected[i] = expected[i] * (1 - 0.01 * weight_decay)
            else:
                g = g + weight_decay * expected[i]
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.99 * v[i] + 0.01 * g**2
            top[i] = numpy.maximum(top[i], v[i])
            second = (top if amsgrad else v)[i] / (1 - 0.99 ** steps[i])
            expected[i] = expected[i] - 0.01 * (m[i] / (1 - 0.9 ** steps[i])) / (numpy.sqrt(second) + 1e-4)
        for grad, old in zip(grads, before, strict=True):
            numpy.testing.assert_array_equal(grad, old)
    close(params, expected, dtype)
    close(averages, m, dtype)
    close(squares, v, dtype)


def test_large_parameters_are_worked_on_in_blocks_that_cover_them() -> None:
    whole = numpy.arange(3 * optimizer.BLOCK + 5, dtype="float32")
    for array in (
        whole,
        whole[: 2 * optimizer.BLOCK].reshape(-1, 64).T,
        whole[::2],
        whole[: optimizer.BLOCK * 2].reshape(2, -1).T,
    ):
        seen = numpy.concatenate([part.ravel() for (part,) in optimizer._in_blocks([array])])
        assert max(part.size for (part,) in optimizer._in_blocks([array])) <= optimizer.BLOCK
        numpy.testing.assert_array_equal(numpy.sort(seen), numpy.sort(array.ravel()))


def test_first_step_of_adam_has_the_size_of_the_rate() -> None:
    param, average, square = numpy.zeros((3, 3), "float32")
    grad = numpy.array([1e-3, -5.0, 100.0], "float32")
    K["adam_step"]([param], [grad], [average], [square], [], [1], 0.1, 0.9, 0.999, 0.0, 0.0, False, False, False)
    numpy.testing.assert_allclose(param, [-0.1, 0.1, -0.1], rtol=1e-5)
    assert math.isfinite(param.sum())


def test_small_parameters_are_updated_together_as_one_by_one() -> None:
    shapes = [(3,), (), (40, 50), (2, 3), (0,), (5000,), (7, 1), *[(1000, 2)] * 40]
    kinds = ["float32"] * 3 + ["float64", "float32", "float32", "float16"] + ["float32"] * 40
    arrays = [[RNG.random(shape).astype(kind) for shape, kind in zip(shapes, kinds, strict=True)] for _ in range(4)]
    arrays[0][3] = RNG.random((3, 2)).T  # not dense
    arrays[0][0] = arrays[0][0][::-1]
    steps = [1.0, 1.0, 2.0] + [2.0] * (len(shapes) - 3)
    alone = [[array.copy() for array in group] for group in arrays]
    settings = (0.1, 0.9, 0.99, 1e-8, 0.01, False, False, False)
    K["adam_step"](*arrays, [], steps, *settings)
    for i, step in enumerate(steps):
        K["adam_step"](*[group[i : i + 1] for group in alone], [], [step], *settings)
    for together, single in zip(arrays, alone, strict=True):
        for found, expected in zip(together, single, strict=True):
            numpy.testing.assert_array_equal(found, expected)
