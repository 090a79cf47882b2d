"""Bits: neighbouring floats, mantissas and exponents, memory seen as another dtype."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau

VALUES = [0.0, -0.0, 1.0, -1.0, 0.1, 6e4, 1e-7, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_nextafter_is_numpys(name: str) -> None:
    kind = getattr(np, name)
    a, b = np.meshgrid(np.array(VALUES, kind), np.array(VALUES, kind))
    found = flambeau.nextafter(flambeau.from_numpy(a.copy()), flambeau.from_numpy(b.copy()))
    np.testing.assert_array_equal(found.numpy(), np.nextafter(a, b))


def test_nextafter_of_bfloat16_moves_by_one_unit_in_the_last_place() -> None:
    one, two = flambeau.ones((), dtype=flambeau.bfloat16), flambeau.full((), 2.0, dtype=flambeau.bfloat16)
    assert flambeau.nextafter(one, two).item() == 1 + 2**-7
    assert flambeau.nextafter(one, -two).item() == 1 - 2**-8


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_frexp_is_numpys(name: str) -> None:
    limits = np.finfo(name)
    values = np.array([*VALUES[:-3], limits.max, limits.tiny, limits.smallest_subnormal, -3.5], name)
    mantissa, exponent = flambeau.frexp(flambeau.from_numpy(values))
    assert exponent.dtype is flambeau.int32
    expected = np.frexp(values)
    np.testing.assert_array_equal(mantissa.numpy(), expected[0])
    np.testing.assert_array_equal(exponent.numpy(), expected[1])


def test_frexp_of_what_is_not_finite_is_itself() -> None:
    mantissa, exponent = flambeau.frexp(flambeau.tensor([math.inf, -math.inf, math.nan]))
    np.testing.assert_array_equal(mantissa.numpy(), [math.inf, -math.inf, math.nan])
    assert exponent.tolist() == [0, 0, 0]


def test_gradient_of_the_mantissa_is_the_power() -> None:
    x = flambeau.tensor([3.0, 0.25, -10.0], requires_grad=True)
    flambeau.frexp(x).mantissa.sum().backward()
    assert x.grad.tolist() == [0.25, 2.0, 1 / 16]


def test_view_as_another_dtype_shares_memory() -> None:
    x = flambeau.tensor([1.0, 2.0])
    bits = x.view(flambeau.int32)
    assert bits.tolist() == [0x3F800000, 0x40000000]
    bits[0] = 0x40400000
    assert x.tolist() == [3.0, 2.0]


def test_view_with_elements_of_another_size_resizes_the_last_dimension() -> None:
    x = flambeau.arange(8, dtype=flambeau.uint8).reshape(2, 4)
    assert x.view(flambeau.int16).shape == (2, 2)
    assert x.view(dtype=flambeau.int32).tolist() == [[0x03020100], [0x07060504]]
    assert flambeau.zeros(3, dtype=flambeau.complex64).view(flambeau.float32).shape == (6,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: flambeau.ones(3).view(flambeau.float64), r"self.size\(-1\) must be divisible by 2"),
        (lambda: flambeau.ones(()).view(flambeau.int16), r"self.dim\(\) cannot be 0"),
        (lambda: flambeau.ones(2, 2).t().view(flambeau.int16), r"self.stride\(-1\) must be 1"),
    ],
)
def test_views_that_do_not_fit_are_refused(make: object, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        make()  # type: ignore[operator]
