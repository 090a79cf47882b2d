"""Elementwise operations where they are difficult: corners, ties, kinds of operands, in place, on the meta device.

Values at ordinary places are the business of `flambeau.testing`, which tries every op's samples on every device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import tensor
from flambeau.autograd import gradcheck, gradgradcheck

INF, NAN = math.inf, math.nan


def gradient(function: Any, *values: Any) -> Any:
    """The gradients of the sum of ``function`` with respect to its arguments, as lists."""
    inputs = [
        tensor(value, dtype=flambeau.complex128 if np.iscomplexobj(value) else flambeau.float64) for value in values
    ]
    inputs = [t.requires_grad_() for t in inputs]
    result = function(*inputs)
    found = flambeau.autograd.grad(result, inputs, flambeau.ones_like(result))
    lists = [g.tolist() for g in found]  # type: ignore[union-attr]
    return lists[0] if len(lists) == 1 else lists


@pytest.mark.parametrize(
    "function, values, expected",
    [
        (flambeau.abs, [[-2.0, 0.0, 3.0]], [-1, 0, 1]),
        (lambda x: x.clamp(0, 1), [[-1.0, 0.0, 0.5, 1.0, 2.0]], [0, 1, 1, 1, 0]),
        (lambda x: x.clamp(1, 0), [[-1.0, 0.5, 2.0]], [0, 0, 0]),
        (flambeau.maximum, [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]], [[0.5, 0, 1], [0.5, 1, 0]]),
        (flambeau.minimum, [[1.0, NAN], [1.0, 0.0]], [[0.5, 1], [0.5, 1]]),
        (flambeau.fmax, [[1.0, NAN], [1.0, 0.0]], [[1, 0], [0, 1]]),
        (flambeau.atan2, [[0.0], [0.0]], [[0], [0]]),
        (lambda x: x**2.0, [[0.0, 3.0]], [0, 6]),
        (lambda x: x**0, [[0.0, 3.0]], [0, 0]),
        (lambda x: 0.0**x, [[0.0, 2.0]], [0, 0]),
        (flambeau.pow, [[0.0], [3.0]], [[0], [0]]),
        (flambeau.copysign, [[2.0, -2.0, 0.0], [-1.0, -1.0, 1.0]], [[-1, 1, 0], [0, 0, 0]]),
        (flambeau.xlogy, [[0.0, 2.0], [0.0, 1.0]], [[0, 0], [NAN, 2]]),
        (flambeau.logaddexp, [[INF, 0.0], [1.0, 0.0]], [[1, 0.5], [0, 0.5]]),
        (lambda x: flambeau.where(x > 0, x, 0.0), [[-1.0, 1.0]], [0, 1]),
        (flambeau.sinc, [[0.0]], [0]),
        (lambda x: x * 2j, [[3.0]], [0]),
        (lambda x: x * 2j, [[3.0 + 1j]], [-2j]),
        (lambda x: (2j / x).real, [[2j]], [-1j / 2]),
    ],
)
def test_gradients_by_hand(function: Any, values: list[Any], expected: Any) -> None:
    np.testing.assert_allclose(gradient(function, *values), expected, atol=1e-12)


SMOOTH = [
    flambeau.deg2rad, flambeau.sinc, flambeau.sgn, flambeau.logit, flambeau.rsqrt, flambeau.angle, flambeau.square,
    lambda x: flambeau.hypot(x, x.roll(1, 0)), lambda x: flambeau.logaddexp(x, x * x),
    lambda x: flambeau.logaddexp2(x, x.flip(0)),
    lambda x: flambeau.lerp(x, x * x, 0.7), lambda x: flambeau.lerp(x, x.flip(0), x),
    lambda x: flambeau.xlogy(x, x + 1),
    lambda x: flambeau.addcdiv(x, x, x + 1, value=3), lambda x: x.float_power(1.5), lambda x: 0.3**x,
    lambda x: x % 0.07, lambda x: flambeau.fmod(x * 2, x), lambda x: flambeau.copysign(x, -x), lambda x: x.ldexp(x),
]  # fmt: skip


@pytest.mark.parametrize("function", SMOOTH)
def test_gradients_are_the_differences(function: Any) -> None:
    x = tensor([0.31, 0.62, 0.44], dtype=flambeau.float64, requires_grad=True)
    assert gradcheck(function, (x,))
    assert gradgradcheck(function, (x,))


COMPLEX = [
    lambda z: (z * (1 + 2j)).abs(), lambda z: (z / (1 + 2j)).abs(), lambda z: (z ** (0.5 + 1j)).abs(), flambeau.angle,
    lambda z: ((1 + 2j) ** z).abs(), lambda z: flambeau.sgn(z).real, lambda z: (z.conj() * z * z).imag,
    lambda z: z.abs(),
    lambda z: ((-2.0) ** z).real, lambda z: z.real * z.imag, lambda z: flambeau.rsub(z, 1j).abs(),
]  # fmt: skip


@pytest.mark.parametrize("function", COMPLEX)
def test_complex_gradients_are_the_differences(function: Any) -> None:
    z = tensor([0.3 + 0.5j, -0.4 + 1j], dtype=flambeau.complex128, requires_grad=True)
    assert gradcheck(function, (z,))
    assert gradgradcheck(function, (z,))


@pytest.mark.parametrize(
    "result, expected",
    [
        (lambda: flambeau.hypot(tensor([INF, 3e200, 0.0]), tensor([NAN, 4e200, 0.0])), [INF, INF, 0]),
        (lambda: flambeau.hypot(*[tensor([v], dtype=flambeau.float64) for v in (3e200, 4e200)]), [5e200]),
        (
            lambda: flambeau.logaddexp(tensor([-INF, INF, INF, NAN]), tensor([-INF, INF, -INF, 0.0])),
            [-INF, INF, INF, NAN],
        ),
        (lambda: flambeau.xlogy(tensor([0.0, 0.0, 0.0]), tensor([0.0, INF, NAN])), [0, 0, NAN]),
        (lambda: flambeau.lerp(tensor([1.0]), tensor([1e8]), 1.0), [1e8]),
        (lambda: flambeau.angle(tensor([-0.0, -1.0, INF, -INF, NAN])), [0, math.pi, 0, math.pi, NAN]),
        (lambda: flambeau.copysign(tensor([1.0, -2.0, 3.0]), tensor([-0.0, 0.0, NAN])), [-1, 2, 3]),
        (lambda: flambeau.heaviside(tensor([-1.0, 0.0, 2.0]), tensor(0.5)), [0, 0.5, 1]),
        (lambda: tensor([7, -7]) // tensor([2, 2]), [3, -4]),
        (lambda: tensor([7, -7]) % tensor([-3, 3]), [-2, 2]),
        (lambda: flambeau.fmod(tensor([7, -7]), tensor([-3, 3])), [1, -1]),
        (lambda: flambeau.div(tensor([7, -7]), 2, rounding_mode="trunc"), [3, -3]),
        (lambda: tensor([2, -1, 3]) ** tensor([-1, -3, 2]), [0, -1, 9]),
        (lambda: flambeau.gcd(tensor([0, 12, -8, 0]), tensor([0, 18, 12, 5])), [0, 6, 4, 5]),
        (lambda: flambeau.lcm(tensor([0, 4, -6]), tensor([3, 6, 4])), [0, 12, 12]),
        (lambda: flambeau.nan_to_num(tensor([NAN, INF, -INF, 1.0]), posinf=5.0, neginf=-5.0), [0, 5, -5, 1]),
        (lambda: flambeau.isclose(tensor([1, 5, 9]), tensor([2, 5, 4]), rtol=0.0, atol=1.0), [True, True, False]),
        (lambda: flambeau.signbit(tensor([-0.0, 0.0, -1.0])), [True, False, True]),
        (lambda: tensor([1, 2, 3]).masked_fill(tensor([True, False, True]), 7.9), [7, 2, 7]),
        (lambda: flambeau.clamp(tensor([NAN, -1.0, 5.0]), 0, 1), [NAN, 0, 1]),
    ],
)
def test_values_at_corners(result: Any, expected: Any) -> None:
    np.testing.assert_allclose(result().numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "operands, expected",
    [
        ((flambeau.ones(2, dtype=flambeau.int8), 1000), "int8"),
        ((flambeau.ones(2, dtype=flambeau.int8), 1.5), "float32"),
        ((flambeau.ones(2, dtype=flambeau.float16), tensor(1.0, dtype=flambeau.float64)), "float16"),
        ((flambeau.ones(2), tensor(1j, dtype=flambeau.complex128)), "complex64"),
        ((flambeau.ones(2, dtype=flambeau.float64), 1j), "complex128"),
        ((tensor(1), np.float64(2.0)), "float32"),
        ((flambeau.ones(2, dtype=flambeau.bool), True), "bool"),
        ((flambeau.ones(2, dtype=flambeau.uint8), flambeau.ones(2, dtype=flambeau.int8)), "int16"),
    ],
)
def test_result_types(operands: tuple[Any, Any], expected: str) -> None:
    first, second = operands
    assert flambeau.mul(first, second).dtype.name == expected
    assert flambeau.mul(second, first).dtype.name == expected
    assert (first * second).dtype.name == (second * first).dtype.name == expected


def test_squares_of_bools_are_integers() -> None:
    for square in (flambeau.square, lambda x: x**2, flambeau.Tensor.square):
        result = square(tensor([True, False]))
        assert (result.dtype, result.tolist()) == (flambeau.int64, [1, 0])


@pytest.mark.parametrize("name", ["sigmoid", "logit", "sinc", "deg2rad", "nan_to_num", "angle", "square", "frac"])
def test_bfloat16_stays_bfloat16(name: str) -> None:
    pytest.importorskip("ml_dtypes")
    x = tensor([0.25, 0.5]).bfloat16()
    result = getattr(flambeau, name)(x)
    assert result.dtype is flambeau.bfloat16
    assert result.numpy().dtype.name == "bfloat16"
    np.testing.assert_allclose(result.float().numpy(), getattr(flambeau, name)(x.float()).numpy(), rtol=1e-2)


def test_numbers_wrap_around_in_integers() -> None:
    x = tensor([1, 250], dtype=flambeau.uint8)
    assert (x + -3).tolist() == x.clone().add_(-3).tolist() == [254, 247]
    assert x.clone().mul_(300).tolist() == [44, 248]


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: -tensor([True]), RuntimeError, "neg is not implemented for bool"),
        (lambda: ~tensor([1.0]), NotImplementedError, "bitwise_not is not implemented for float32"),
        (
            lambda: tensor([1.0]) & tensor([2.0]),
            NotImplementedError,
            "bitwise_and is not implemented for float32 and float32",
        ),
        (lambda: flambeau.floor(tensor([1j])), NotImplementedError, "floor is not implemented for complex64"),
        (
            lambda: tensor([1, 2, 3]) / tensor([1, 2]),
            RuntimeError,
            r"div: the shapes \[3\] and \[2\] cannot be broadcast",
        ),
        (lambda: flambeau.fmax(flambeau.ones(3), flambeau.ones(2)), RuntimeError, r"fmax: the shapes \[3\] and \[2\]"),
        (lambda: tensor([1]) // 0, RuntimeError, "floor_divide: integer division by zero"),
        (lambda: tensor([2]) ** -1, RuntimeError, "Integers to negative integer powers"),
        (lambda: tensor([1]).div_(2), RuntimeError, "div_: result type float32 can't be cast to .* int64"),
        (lambda: tensor([True]).square_(), RuntimeError, "square_: result type int64 can't be cast to .* bool"),
        (lambda: flambeau.clamp(flambeau.ones(1)), RuntimeError, "At least one of 'min' or 'max'"),
        (
            lambda: tensor([1.0]).masked_fill(tensor([1]), 0),
            RuntimeError,
            "mask has to be of dtype bool, but it is int64",
        ),
        (
            lambda: tensor([1.0]).masked_fill(tensor([True]), 1j),
            RuntimeError,
            "a complex value cannot be converted to float32",
        ),
        (
            lambda: flambeau.gcd(tensor([1.0]), tensor([1])),
            NotImplementedError,
            "integers only, not for float32 and int64",
        ),
        (lambda: flambeau.copysign(tensor([1j]), 1.0), NotImplementedError, "complex"),
        (
            lambda: flambeau.isclose(tensor([1.0]), tensor([1.0]), rtol=-1.0),
            RuntimeError,
            "greater than or equal to zero",
        ),
        (lambda: flambeau.div(tensor([1.0]), 2, rounding_mode="up"), RuntimeError, "one of None, 'trunc', or 'floor'"),
        (lambda: tensor([1.0]) + "x", TypeError, "'other' must be Tensor or a number, not str"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda x, y: x + y, lambda x, y: x * 2.5, lambda x, y: x / y, lambda x, y: x**2,
        lambda x, y: flambeau.hypot(x, x),
        lambda x, y: flambeau.logaddexp(x, x), lambda x, y: flambeau.gcd(y, y), lambda x, y: flambeau.angle(x),
        lambda x, y: x.masked_fill(x > 0, 1), lambda x, y: flambeau.clamp(x, y, None), lambda x, y: x.lerp(x, 0.5),
        lambda x, y: flambeau.where(x > 0, x, y), lambda x, y: flambeau.nan_to_num(x), lambda x, y: x.float_power(y),
        lambda x, y: flambeau.isclose(y, y), lambda x, y: flambeau.signbit(x), lambda x, y: x.copysign(y),
        lambda x, y: y.square(),
        lambda x, y: flambeau.xlogy(y, x), lambda x, y: x.logit(0.1), lambda x, y: y % 3,
        lambda x, y: flambeau.addcmul(x, y, x),
    ],
)  # fmt: skip
def test_meta_tells_shape_and_dtype(call: Any) -> None:
    def operands(device: str) -> tuple[Any, Any]:
        return flambeau.ones(2, 1, 4, device=device), flambeau.ones(3, 1, device=device, dtype=flambeau.int64)

    expected, found = call(*operands("cpu")), call(*operands("meta"))
    assert (found.device.type, found.shape, found.dtype) == ("meta", expected.shape, expected.dtype)


def test_sign_of_nan_is_zero_and_so_is_the_gradient_of_abs_there():
    x = tensor([NAN, -2.0], dtype=flambeau.float64).requires_grad_()
    assert flambeau.sign(x).tolist() == [0, -1]
    x.abs().nansum().backward()
    assert x.grad.tolist() == [0, -1]
    assert flambeau.autograd.grad(x.abs().sum(), x)[0].tolist() == [0, -1]
