"""Reductions where they are difficult: nothing to reduce, zeros, ties, infinities, forms of dim, the meta device."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import tensor
from flambeau.autograd import gradcheck, gradgradcheck

INF, NAN = math.inf, math.nan
FORMS = [0, -1, 1, (0,), (0, 1), (-1, 0), [2], None, (0, 1, 2)]
NUMPY = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min, "all": np.all, "any": np.any,
         "nansum": np.nansum, "nanmean": np.nanmean}  # fmt: skip


def values(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("keepdim", [False, True])
def test_forms_of_dim(name: str, keepdim: bool) -> None:
    data = values(2, 3, 4)
    for dim in FORMS:
        axis = tuple(dim) if isinstance(dim, list) else dim
        expected = NUMPY[name](data, axis=axis, keepdims=keepdim)
        for call in (
            lambda x, dim=dim: getattr(x, name)(dim, keepdim),
            lambda x, dim=dim: getattr(flambeau, name)(x, dim=dim, keepdim=keepdim),
            lambda x, dim=dim: getattr(x, name)(axis=dim, keepdims=keepdim),
        ):
            result = call(tensor(data))
            assert result.shape == expected.shape
            np.testing.assert_allclose(result.numpy(), expected)


OF_NOTHING = {"sum": 0, "prod": 1, "mean": NAN, "all": True, "any": False, "logsumexp": -INF, "var": NAN, "std": NAN}


@pytest.mark.parametrize("name, expected", [*OF_NOTHING.items(), ("count_nonzero", 0)])
def test_of_nothing(name: str, expected: Any) -> None:
    result = getattr(flambeau, name)(flambeau.zeros(2, 0), 1)
    np.testing.assert_array_equal(result.numpy(), np.full(2, expected))
    for extreme in ("amax", "amin", "argmax", "argmin", "max", "min"):
        with pytest.raises(IndexError, match=f"{extreme}.*: Expected reduction dim 1 to have non-zero size"):
            getattr(flambeau, extreme)(flambeau.zeros(2, 0), 1)
        found = getattr(flambeau, extreme)(flambeau.zeros(2, 0, 3), 2)
        assert (found if isinstance(found, flambeau.Tensor) else found.values).shape == (2, 0)


def test_an_empty_dim_means_all_for_sums_and_nothing_for_truth() -> None:
    x = flambeau.ones(2, 3)
    assert x.sum(()).shape == x.amax(()).shape == ()
    assert x.all(()).shape == x.any(()).shape == (2, 3)


def test_truth_of_bytes_is_a_byte() -> None:
    x = tensor([[0, 2], [3, 1]], dtype=flambeau.uint8)
    for name, expected in (("all", [0, 1]), ("any", [1, 1])):
        result = getattr(x, name)(0)
        assert (result.dtype, result.tolist()) == (flambeau.uint8, expected)


@pytest.mark.parametrize("correction", [0, 1, 0.5])
@pytest.mark.parametrize("dim", [0, 1, (0, 2), None])
def test_variance(correction: float, dim: Any) -> None:
    data = values(3, 4, 5)
    x = tensor(data, requires_grad=True)
    expected = data.var(axis=dim, ddof=correction)
    np.testing.assert_allclose(x.var(dim, correction=correction).detach().numpy(), expected)
    np.testing.assert_allclose(x.std(dim, correction=correction).detach().numpy(), expected**0.5)
    spread, middle = flambeau.std_mean(x, dim, correction=correction, keepdim=True)
    assert spread.shape == middle.shape == data.mean(axis=dim, keepdims=True).shape
    for call in (flambeau.var, flambeau.std):
        assert gradcheck(lambda x, call=call: call(x, dim, correction=correction), (x,))
        assert gradgradcheck(lambda x, call=call: call(x, dim, correction=correction), (x,))


def test_older_forms_of_variance() -> None:
    data = values(3, 4)
    x = tensor(data)
    np.testing.assert_allclose(x.var(False).numpy(), data.var())
    np.testing.assert_allclose(x.var(1).numpy(), data.var(1, ddof=1))
    np.testing.assert_allclose(x.var(1, False).numpy(), data.var(1))
    np.testing.assert_allclose(x.std(1, unbiased=False, keepdim=True).numpy(), data.std(1, keepdims=True))


def test_the_deviation_of_equal_numbers_has_the_gradient_zero() -> None:
    x = flambeau.full((2, 3), 1.5, requires_grad=True)
    x.std(1).sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("call", [lambda x: x.prod(), lambda x: x.prod(1), lambda x: x.prod((0, 2), keepdim=True),
                                  lambda x: x.cumprod(1), lambda x: x.cumprod(0), lambda x: x.prod(-1)])  # fmt: skip
@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_products_with_zeros(call: Any, zeros: int) -> None:
    data = values(2, 3, 2)
    data.reshape(-1)[[1, 4, 9][:zeros]] = 0
    x = tensor(data, requires_grad=True)
    assert gradcheck(call, (x,))
    assert gradgradcheck(call, (x,))
    z = tensor(data * (1 + 0.5j), requires_grad=True)
    assert gradcheck(lambda z: flambeau.real(call(z)), (z,))


@pytest.mark.parametrize("name", ["amax", "amin"])
def test_ties_share_the_gradient(name: str) -> None:
    x = tensor([[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]], requires_grad=True)
    getattr(x, name)(1).sum().backward()
    first = [0.5, 0.5, 0] if name == "amax" else [0, 0, 1]
    np.testing.assert_allclose(x.grad.numpy(), [first, [1 / 3] * 3], rtol=1e-6)
    distinct = tensor(values(2, 3, 4), requires_grad=True)
    for dim, keepdim in ((1, False), (1, True), ((0, 2), False), ((), False)):
        assert gradcheck(lambda x, dim=dim, keepdim=keepdim: getattr(x, name)(dim, keepdim), (distinct,))
        assert gradgradcheck(lambda x, dim=dim, keepdim=keepdim: getattr(x, name)(dim, keepdim), (distinct,))


def test_extremes_along_a_dimension_are_taken_where_the_index_says() -> None:
    data = values(3, 4, 2)
    found = tensor(data).max(1)
    assert type(found).__name__ == "max"
    np.testing.assert_array_equal(found.values.numpy(), data.max(1))
    np.testing.assert_array_equal(found.indices.numpy(), data.argmax(1))
    np.testing.assert_array_equal(
        flambeau.min(tensor(data), dim=0, keepdim=True)[0].numpy(), data.min(0, keepdims=True)
    )
    low, high = flambeau.aminmax(tensor(data), dim=2)
    np.testing.assert_array_equal(low.numpy(), data.min(2))
    np.testing.assert_array_equal(high.numpy(), data.max(2))
    with pytest.raises(RuntimeError, match="Expected reduction dim to be specified"):
        flambeau.zeros(0).max()


def test_logsumexp() -> None:
    data = np.array([[1000.0, 1000.0], [-INF, -INF], [INF, 0.0], [-INF, 3.0]])
    expected = [1000 + math.log(2), -INF, INF, 3]
    x = tensor(data, requires_grad=True)
    np.testing.assert_allclose(x.logsumexp(1).detach().numpy(), expected)
    rows = x[[0, 1, 3]]
    (g,) = flambeau.autograd.grad(rows.logsumexp(1).sum(), rows)
    np.testing.assert_allclose(g.numpy(), [[0.5, 0.5], [0, 0], [0, 1]])
    whole = flambeau.logsumexp(tensor([1, 2]), 0)
    assert whole.dtype is flambeau.float32
    np.testing.assert_allclose(whole.item(), math.log(math.e + math.e**2), rtol=1e-6)


RUNNING = {"cumsum": np.cumsum, "cumprod": np.cumprod, "cummax": np.maximum.accumulate, "cummin": np.minimum.accumulate,
           "logcumsumexp": np.logaddexp.accumulate}  # fmt: skip


@pytest.mark.parametrize("name", RUNNING)
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 5, 3), (1,), (0, 2), (2, 0)])
def test_running_operations(name: str, shape: tuple[int, ...]) -> None:
    data = values(*shape)
    for dim in range(len(shape)):
        x = tensor(data, requires_grad=True)
        result = getattr(x, name)(dim)
        several = not isinstance(result, flambeau.Tensor)
        result = result.values if several else result
        expected = RUNNING[name](data, axis=dim) if data.size else data
        np.testing.assert_allclose(result.detach().numpy(), expected)
        if data.size:

            def call(x: Any, dim: int = dim, several: bool = several) -> Any:
                result = getattr(x, name)(dim)
                return result[0] if several else result

            assert gradcheck(call, (x,))
            assert gradgradcheck(call, (x,))


def test_running_extremes_say_where() -> None:
    found = flambeau.cummax(tensor([1.0, 3.0, 3.0, 2.0, NAN, 5.0]), 0)
    np.testing.assert_array_equal(found.values.numpy(), [1, 3, 3, 3, NAN, NAN])
    assert found.indices.tolist() == [0, 1, 2, 2, 4, 4]
    assert flambeau.cummin(tensor([[2, 1], [1, 1]]), 1).indices.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "cumsum"])
def test_dtypes(name: str) -> None:
    x = tensor([[True, False], [True, True]])
    if name != "mean":
        assert getattr(x, name)(0).dtype is flambeau.int64
        assert getattr(x.int(), name)(0, dtype=flambeau.uint8).dtype is flambeau.uint8
    else:
        for wrong in (lambda: x.mean(), lambda: x.float().mean(dtype=flambeau.int64)):
            with pytest.raises(RuntimeError, match="mean.*could not infer output dtype"):
                wrong()
    wide = getattr(x.half(), name)(0, dtype=flambeau.float64)
    assert wide.dtype is flambeau.float64
    np.testing.assert_allclose(wide.numpy(), getattr(np, name)(np.array([[1.0, 0], [1, 1]]), axis=0))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: x.sum(5), IndexError, "sum: Dimension out of range"),
        (lambda x: x.var((0, 0)), RuntimeError, "a dim appears more than once"),
        (lambda x: x.sum("rows"), TypeError, "'dim' must be int, not str"),
        (lambda x: x.long().var(), RuntimeError, "var.*floating point or complex dtype"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(flambeau.ones(2, 3))


@pytest.mark.parametrize("name", [*NUMPY, "var", "std", "logsumexp", "argmax", "max", "min", "aminmax", "count_nonzero",
                                  "cumsum", "cummax", "logcumsumexp", "std_mean"])  # fmt: skip
def test_meta_tells_shape_and_dtype(name: str) -> None:
    for dtype in (flambeau.float32, flambeau.float64):
        options = {"dim": 1}
        expected = getattr(flambeau, name)(flambeau.ones(2, 3, 4, dtype=dtype), **options)
        found = getattr(flambeau, name)(flambeau.ones(2, 3, 4, dtype=dtype, device="meta"), **options)
        several = zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]
        for own, theirs in several:
            assert (own.device.type, own.shape, own.dtype) == ("meta", theirs.shape, theirs.dtype)


@pytest.mark.parametrize("name", ["var", "std", "var_mean", "std_mean"])
def test_statistics_of_bfloat16_are_bfloat16(name):
    pytest.importorskip("ml_dtypes")
    x = flambeau.tensor([1.0, 2.0, 4.0]).bfloat16()
    found = getattr(flambeau, name)(x)
    for part in found if isinstance(found, tuple) else (found,):
        assert part.dtype is flambeau.bfloat16


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_left_shift", "remainder", "pow", "xlogy"])
def test_two_numbers_are_no_tensor(name):
    with pytest.raises(TypeError, match=f"{name}.*must be Tensor"):
        getattr(flambeau, name)(2, 3)
