"""Reductions of the CPU backend against NumPy in double precision, and orderings."""

from __future__ import annotations

import math
from typing import Any

import numpy
import pytest

from flambeau import dtypes
from flambeau_numpy.backend import NumpyBackend

K = NumpyBackend().kernels()
RNG = numpy.random.default_rng(0)
SHAPES_AND_DIMS = [
    ((), ()),
    ((5,), (0,)),
    ((4, 6), (0,)),
    ((4, 6), (1,)),
    ((4, 6), (0, 1)),
    ((4, 6), (1, 0)),
    ((2, 3, 4, 5), (0, 2, 3)),
    ((2, 3, 4, 5), (2, 3)),
    ((2, 3, 4, 5), (0, 1)),
    ((2, 3, 4, 5), (1,)),
    ((2, 3, 4, 5), (1, 3)),
    ((2, 9000), (1,)),
    ((9000, 2), (0,)),
    ((600, 500), (0,)),
    ((600, 500), (1,)),
    ((700, 501), (0, 1)),
    ((0, 3), (0,)),
    ((3, 0), (0,)),
]


@pytest.mark.parametrize(("shape", "dim"), SHAPES_AND_DIMS)
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "bool"])
def test_sum(shape: tuple[int, ...], dim: tuple[int, ...], keepdim: bool, dtype: str) -> None:
    x = (RNG.standard_normal(shape) * 2).astype(dtype)
    expected = numpy.asarray(x.astype("float64").sum(dim, keepdims=keepdim))
    found = numpy.asarray(K["sum"](x, dim, keepdim))
    assert found.shape == expected.shape
    assert found.dtype == (dtype if dtype.startswith("float") else "int64")
    scale = max(1.0, float(numpy.abs(x.astype("float64")).sum()))
    numpy.testing.assert_allclose(found, expected, rtol=1e-3 if dtype == "float16" else 0, atol=2e-7 * scale)


def test_sum_of_views() -> None:
    x = RNG.standard_normal((6, 4, 10)).astype("float32")
    for view in (x.T, x[::2], x[:, :, ::3], numpy.broadcast_to(x[:, :1], (6, 4, 10))):
        for dim in ((0,), (2,), (0, 2), (0, 1, 2)):
            numpy.testing.assert_allclose(K["sum"](view, dim), view.astype("float64").sum(dim), rtol=1e-5, atol=1e-5)


def test_sums_of_small_integers_do_not_overflow() -> None:
    assert K["sum"](numpy.full(1000, 200, "uint8"), (0,)) == 200_000
    assert K["prod"](numpy.full(9, 100, "int8"), (0,)) == 100**9
    assert K["cumsum"](numpy.full(10, 100, "int8"), 0).dtype == numpy.int64


def test_sums_of_halves_accumulate_in_single_precision() -> None:
    # In float16 the sum would stick at 2048, from where on 1 is lost to rounding.
    ones = numpy.ones((4096, 3), "float16")
    assert (K["sum"](ones, (0,)) == 4096).all()
    assert K["mean"](ones, (0, 1)) == 1
    assert K["cumsum"](ones, 0)[-1, 0] == 4096


def test_sum_propagates_infinity_and_nan() -> None:
    x = numpy.array([[1.0, math.inf], [math.nan, 1.0]], "float32")
    numpy.testing.assert_array_equal(K["sum"](x, (1,)), [math.inf, math.nan])
    numpy.testing.assert_array_equal(K["sum"](x, (0,)), [math.nan, math.inf])


def test_sum_in_another_dtype() -> None:
    x = numpy.array([1.7, 2.7])
    assert K["sum"](x, (0,), False, dtypes.float32).dtype == numpy.float32
    assert K["sum"](numpy.array([True, True]), (0,), False, dtypes.float32) == 2.0


def test_mean() -> None:
    x = RNG.standard_normal((3, 4, 5)).astype("float32")
    for dim in ((0,), (1, 2), (0, 1, 2), (0, 2)):
        numpy.testing.assert_allclose(K["mean"](x, dim, True), x.astype("float64").mean(dim, keepdims=True), atol=1e-6)
    assert numpy.isnan(K["mean"](numpy.empty(0), (0,)))
    assert K["mean"](numpy.array([1, 2]), (0,), False, dtypes.float32) == 1.5
    with pytest.raises(RuntimeError, match=r"^mean\(\): could not infer output dtype.* Got: int64$"):
        K["mean"](numpy.array([1, 2]), (0,))


@pytest.mark.parametrize("name", ["amax", "amin"])
@pytest.mark.parametrize("shape", [(100, 10), (4, 40), (3, 4, 5)])
def test_extremes(name: str, shape: tuple[int, ...]) -> None:
    x = RNG.standard_normal(shape).astype("float32")
    reference = {"amax": numpy.max, "amin": numpy.min}[name]
    for dim in ((0,), (1,), tuple(range(len(shape)))):
        numpy.testing.assert_array_equal(K[name](x, dim, True), reference(x, dim, keepdims=True))
    x[0, 0] = math.nan
    assert numpy.isnan(K[name](x, (1,)).reshape(-1)[0])


def test_positions_of_extremes() -> None:
    x = numpy.array([[1.0, 3.0, 3.0], [2.0, math.nan, 5.0]])
    numpy.testing.assert_array_equal(K["argmax"](x, 1), [1, 1])
    numpy.testing.assert_array_equal(K["argmin"](x, 0, True), [[0, 1, 0]])
    assert K["argmax"](x) == 4
    assert K["argmax"](x, None, True).shape == (1, 1)
    assert K["argmax"](numpy.array(3.0), 0) == 0
    assert numpy.asarray(K["argmax"](x.astype("float32"), 1)).dtype == numpy.int64


def test_truth() -> None:
    x = numpy.array([[0.0, 1.0], [2.0, math.nan]])
    numpy.testing.assert_array_equal(K["all"](x, (1,)), [False, True])
    numpy.testing.assert_array_equal(K["any"](x, (0,), True), [[True, True]])
    assert K["all"](numpy.empty((0,)), (0,))
    assert not K["any"](numpy.empty((0,)), (0,))


def test_running_sums_and_products() -> None:
    x = RNG.standard_normal((3, 4))
    numpy.testing.assert_allclose(K["cumsum"](x, 1), numpy.cumsum(x, 1))
    numpy.testing.assert_allclose(K["cumprod"](x, 0), numpy.cumprod(x, 0))
    assert K["cumsum"](numpy.array(2.0), 0) == 2.0


# -- orderings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dim", [0, 1])
def test_stable_sort(descending: bool, dim: int) -> None:
    x = RNG.integers(0, 4, (50, 40)).astype("float32")
    values, order = K["sort"](x, dim, descending, True)
    assert order.dtype == numpy.int64
    keys = -x if descending else x
    expected = numpy.argsort(keys, dim, kind="stable")
    numpy.testing.assert_array_equal(order, expected)
    numpy.testing.assert_array_equal(values, numpy.take_along_axis(x, expected, dim))


def test_nan_is_the_largest() -> None:
    x = numpy.array([2.0, math.nan, 1.0, math.inf])
    numpy.testing.assert_array_equal(K["sort"](x, 0, False, True)[1], [2, 0, 3, 1])
    numpy.testing.assert_array_equal(K["sort"](x, 0, True, True)[1], [1, 3, 0, 2])
    numpy.testing.assert_array_equal(K["topk"](x, 2)[1], [1, 3])
    long = numpy.arange(100.0)
    long[7] = math.nan
    numpy.testing.assert_array_equal(K["topk"](long, 3)[1], [7, 99, 98])
    numpy.testing.assert_array_equal(K["topk"](long, 2, 0, False)[1], [0, 1])


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [0, 1, 3, 90, 100])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_topk(largest: bool, k: int, dim: int) -> None:
    x = RNG.permutation(10000).reshape(100, 100).astype("float32")
    values, order = K["topk"](x, k, dim, largest, True)
    ranked = numpy.sort(x, dim)
    ranked = numpy.flip(ranked, dim) if largest else ranked
    numpy.testing.assert_array_equal(values, numpy.take(ranked, range(k), dim))
    numpy.testing.assert_array_equal(numpy.take_along_axis(x, order, dim), values)


@pytest.mark.parametrize("right", [False, True])
def test_searchsorted(right: bool) -> None:
    rows = numpy.sort(RNG.integers(0, 9, (2, 3, 8)), -1)
    values = RNG.integers(-1, 10, (2, 3, 5))
    found: Any = K["searchsorted"](rows, values, right)
    below = rows[..., None, :] <= values[..., None] if right else rows[..., None, :] < values[..., None]
    numpy.testing.assert_array_equal(found, below.sum(-1))
    numpy.testing.assert_array_equal(K["searchsorted"](rows[0, 0], values, right).shape, values.shape)
