"""Samples of the ops that work element by element."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.dtypes import DTYPES
from flambeau.ops.declare import OPS
from flambeau.testing.database import (
    ALL,
    COMPLEXES,
    FLOATS,
    HALF,
    INTEGERS,
    NUMBERS,
    REAL,
    Maker,
    Sample,
    case,
    sample,
)  # fmt: skip

NAN, INF = math.nan, math.inf
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, INF, -INF, NAN]
SHAPES = [(), (5,), (2, 3), (0,), (2, 0, 3)]
BROADCAST = [((), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((0, 1), (1, 4)), ((2, 3, 4), (3, 1)), ((1,), ())]


# -- one operand ---------------------------------------------------------------------------------------------------


def unary(
    name: str, reference: Any, low: float = -2.0, high: float = 2.0, special: bool = True, **options: Any
) -> None:
    """Samples in [low, high), where the function is smooth, and special values."""

    @case(name, reference, **options)
    def _(make: Maker) -> Iterator[Sample]:
        for shape in SHAPES:
            yield sample(make(*shape, low=low, high=high))
        if make.is_floating and special:
            yield sample(make.values(SPECIAL), smooth=False)


def _error_function(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def _away_from_integers(name: str, reference: Any, **options: Any) -> None:
    @case(name, reference, **options)
    def _(make: Maker) -> Iterator[Sample]:
        for shape in SHAPES:
            yield sample(make.distinct(*shape))
        if make.is_floating:
            yield sample(make.values([*SPECIAL, 1.5, 2.5, -0.5, -1.5, 1e10]), smooth=False)


FLOAT_RULE = {"dtypes": (*FLOATS, *HALF, "int64", "uint8", "bool", *COMPLEXES)}
REAL_FLOAT_RULE = {"dtypes": (*FLOATS, *HALF, "int64", "uint8", "bool")}

unary("neg", np.negative, dtypes=(*NUMBERS, *HALF))
unary("conj", np.conj, dtypes=NUMBERS)
unary("square", np.square, dtypes=NUMBERS)
unary("abs", np.abs, 0.3, 2.0, dtypes=(*NUMBERS, *HALF))


def _sign(x: Any) -> Any:
    return np.where(np.isnan(x), 0, np.sign(x))


unary("sign", _sign, 0.3, 2.0, dtypes=(*REAL, *HALF))
unary(
    "sgn", lambda x: np.where(x == 0, 0, x / np.abs(x)) if x.dtype.kind == "c" else _sign(x), 0.3, 2.0, dtypes=NUMBERS
)
unary("reciprocal", lambda x: 1 / x, 0.5, 3.0, **FLOAT_RULE)
for _name, _reference in (("floor", np.floor), ("ceil", np.ceil), ("trunc", np.trunc)):
    _away_from_integers(_name, _reference, dtypes=(*REAL, *HALF))
_away_from_integers("frac", lambda x: x - np.trunc(x))

for _name, _reference, _low, _high in (
    ("exp", np.exp, -2, 2), ("expm1", np.expm1, -2, 2), ("log", np.log, 0.3, 3), ("log1p", np.log1p, -0.5, 2),
    ("log2", np.log2, 0.3, 3), ("log10", np.log10, 0.3, 3), ("sqrt", np.sqrt, 0.3, 3), ("sin", np.sin, -3, 3),
    ("cos", np.cos, -3, 3), ("tan", np.tan, -1, 1), ("asin", np.arcsin, -0.8, 0.8), ("acos", np.arccos, -0.8, 0.8),
    ("atan", np.arctan, -2, 2), ("sinh", np.sinh, -2, 2), ("cosh", np.cosh, -2, 2), ("tanh", np.tanh, -2, 2),
    ("asinh", np.arcsinh, -2, 2), ("acosh", np.arccosh, 1.2, 3), ("atanh", np.arctanh, -0.8, 0.8),
):  # fmt: skip
    unary(_name, _reference, _low, _high, **(REAL_FLOAT_RULE if _name in ("exp2", "expm1", "log1p") else FLOAT_RULE))
unary("erf", _error_function, **REAL_FLOAT_RULE)
unary("rsqrt", lambda x: 1 / np.sqrt(x), 0.3, 3, **REAL_FLOAT_RULE)
unary("exp2", np.exp2, **REAL_FLOAT_RULE)
unary("deg2rad", np.deg2rad, **REAL_FLOAT_RULE)
unary("rad2deg", np.rad2deg, **REAL_FLOAT_RULE)
unary("sinc", np.sinc, 0.2, 2.0, special=False, **REAL_FLOAT_RULE)
for _name, _reference in (("isfinite", np.isfinite), ("isinf", np.isinf), ("isnan", np.isnan)):
    unary(_name, _reference, dtypes=ALL)
unary("isposinf", np.isposinf, dtypes=REAL)
unary("isneginf", np.isneginf, dtypes=REAL)
unary("logical_not", np.logical_not, dtypes=ALL)
unary("bitwise_not", np.invert, dtypes=(*INTEGERS, "bool"))
unary("clone", np.array, dtypes=ALL)


@case("round", lambda x, decimals=0: np.round(x, decimals), dtypes=(*REAL, *HALF))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4))
    if make.is_floating:
        yield sample(make.values([0.5, 1.5, 2.5, -0.5, -1.5, INF, NAN]), smooth=False)
        yield sample(make.values([1.2345, -2.7182, 13.0]), decimals=2, smooth=False)
        yield sample(make.values([123.4, -178.2]), decimals=-1, smooth=False)


def _logit(x: Any, eps: float | None = None) -> Any:
    x = x if eps is None else np.clip(x, eps, 1 - eps)
    return np.log(x / (1 - x))


@case("logit", _logit)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4, low=0.1, high=0.9))
    yield sample(make(3, 4, low=0.3, high=0.6), 0.2)
    yield sample(make.values([0.01, 0.5, 0.99]), 0.2)


@case(
    "nan_to_num",
    lambda x, nan=None, posinf=None, neginf=None: np.nan_to_num(x, nan=nan or 0.0, posinf=posinf, neginf=neginf),
    dtypes=(*FLOATS, "int64"),
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3))
    if make.is_floating:
        yield sample(make.values(SPECIAL), 3.0, 10.0, -10.0, smooth=False)


# -- two operands --------------------------------------------------------------------------------------------------


def binary(
    name: str, reference: Any, low: float = -2.0, high: float = 2.0, numbers: bool = True, special: bool = True,
    apart: bool = False, **options: Any,
) -> None:  # fmt: skip
    """Samples of equal shapes, with broadcasting, with numbers, and special values.

    Args:
        numbers: whether an operand may be a Python number.
        apart: the function has a corner where the operands are equal.
    """

    @case(name, reference, **options)
    def _(make: Maker) -> Iterator[Sample]:
        for left, right in (*zip(SHAPES, SHAPES, strict=True), *BROADCAST):
            if apart:
                yield sample(make.distinct(*left), make.distinct(*right, shift=0.125))
            else:
                yield sample(make(*left, low=low, high=high), make(*right, low=low, high=high))
        if numbers and make.dtype.name != "bool":
            yield sample(make(2, 3, low=low, high=high), 2)
            if OPS[name].parameters[0].annotation != "Tensor":
                yield sample(2, make(2, 3, low=low, high=high))
        if make.is_floating and special:
            yield sample(make.values(SPECIAL), make.values([NAN, 1.0, -0.0, 0.0, 2.0, INF, 1.0, NAN]), smooth=False)
            yield sample(make.values(SPECIAL), make.values([1.0, INF, INF, -INF, NAN, -1.0, 3.0, 0.0]), smooth=False)


def _power(x: Any, y: Any) -> Any:
    if isinstance(x, int) and getattr(y, "dtype", None) is not None and y.dtype.kind in "iu":
        x = np.array(x, y.dtype)
    return np.power(x, y)


ARITHMETIC = (*NUMBERS, *HALF)
binary("add", np.add, dtypes=(*ARITHMETIC, "bool"))
binary("sub", np.subtract, dtypes=ARITHMETIC)
binary("mul", np.multiply, dtypes=(*ARITHMETIC, "bool"))
binary("div", np.divide, 0.5, 3.0, dtypes=(*FLOATS, *HALF, "int64", "uint8", *COMPLEXES))
binary("floor_divide", np.floor_divide, 1.1, 7.3, special=False, dtypes=REAL, gradients=False)
binary("trunc_divide", lambda x, y: np.trunc(np.divide(x, y)), 1.1, 7.3, special=False, dtypes=REAL, gradients=False)
binary("remainder", np.remainder, 1.1, 7.3, special=False, dtypes=REAL, gradients=False)
binary("fmod", np.fmod, 1.1, 7.3, special=False, dtypes=REAL, gradients=False)
binary("pow", _power, 0.5, 3.0, dtypes=(*FLOATS, "int64", "uint8", *COMPLEXES))
binary("maximum", np.maximum, numbers=False, apart=True, dtypes=REAL)
binary("minimum", np.minimum, numbers=False, apart=True, dtypes=REAL)
binary("fmax", np.fmax, numbers=False, apart=True, dtypes=REAL)
binary("fmin", np.fmin, numbers=False, apart=True, dtypes=REAL)
binary("atan2", np.arctan2, 0.3, 2.0, numbers=False, dtypes=(*FLOATS, "int64"))
binary("hypot", np.hypot, 0.3, 2.0, numbers=False)
binary("copysign", np.copysign, 0.3, 2.0, numbers=False, special=False, dtypes=FLOATS, gradients=False)
binary("heaviside", np.heaviside, 0.3, 2.0, numbers=False, special=False, dtypes=FLOATS, gradients=False)
binary("logaddexp", np.logaddexp, numbers=False, special=False)
binary("logaddexp2", np.logaddexp2, numbers=False, special=False)
binary("xlogy", lambda x, y: np.where(x == 0, np.where(np.isnan(y), np.nan, 0), x * np.log(y)), 0.3, 3.0, dtypes=FLOATS)
for _name, _reference in (
    ("eq", np.equal), ("ne", np.not_equal), ("lt", np.less), ("le", np.less_equal), ("gt", np.greater),
    ("ge", np.greater_equal),
):  # fmt: skip
    binary(_name, _reference, dtypes=(*REAL, *HALF, "bool", *(COMPLEXES if _name in ("eq", "ne") else ())))
for _name, _reference in (
    ("logical_and", np.logical_and),
    ("logical_or", np.logical_or),
    ("logical_xor", np.logical_xor),
):
    binary(_name, _reference, numbers=False, dtypes=ALL)
for _name, _reference in (
    ("bitwise_and", np.bitwise_and),
    ("bitwise_or", np.bitwise_or),
    ("bitwise_xor", np.bitwise_xor),
):
    binary(_name, _reference, 0, 100, dtypes=(*INTEGERS, "bool"))
for _name, _reference in (("bitwise_left_shift", np.left_shift), ("bitwise_right_shift", np.right_shift)):
    binary(_name, _reference, 0, 3, dtypes=INTEGERS)


@case(
    "isclose", lambda x, y, rtol=1e-5, atol=1e-8, equal_nan=False: np.isclose(x, y, rtol, atol, equal_nan), dtypes=REAL
)
def _(make: Maker) -> Iterator[Sample]:
    x = make(2, 3)
    yield sample(x, x)
    yield sample(x, make(3))
    if make.is_floating:
        yield sample(make.values(SPECIAL), make.values(SPECIAL))
        yield sample(make.values(SPECIAL), make.values(SPECIAL), equal_nan=True)
        yield sample(make.values([1.0, 1.0]), make.values([1.05, 1.2]), 0.1, 0.0)


# -- three operands ------------------------------------------------------------------------------------------------


@case("where", lambda c, x, y: np.where(c, x, y), dtypes=(*ALL, *HALF))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.mask(2, 3), make(2, 3), make(2, 3))
    yield sample(make.mask(3), make(2, 1), make(1))
    yield sample(make.mask(2, 1), make(3), make())
    yield sample(make.mask(0, 3), make(3), make(0, 1))
    if make.dtype.name != "bool":
        yield sample(make.mask(2, 3), make(2, 3), 1)
        yield sample(make.mask(2, 3), 0, make(2, 3))


@case("masked_fill", lambda x, mask, value: np.where(mask, value, x), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make.mask(2, 3), 1)
    yield sample(make(2, 3), make.mask(3), make())
    yield sample(make(2, 3), make.mask(2, 1), 0)


@case("lerp", lambda x, end, weight: x + weight * (end - x))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make(2, 3), 0.3)
    yield sample(make(2, 3), make(3), make(2, 1))


@case("addcmul", lambda x, a, b, value=1: x + value * a * b, dtypes=(*FLOATS, "int64", *COMPLEXES))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make(2, 3), make(2, 3))
    yield sample(make(2, 3), make(3), make(2, 1), value=2)


@case("addcdiv", lambda x, a, b, value=1: x + value * a / b, dtypes=(*FLOATS, *COMPLEXES))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make(2, 3), make(2, 3, low=0.5))
    yield sample(make(2, 3), make(3), make(2, 1, low=0.5), value=0.5)


def _clamp(x: Any, low: Any = None, high: Any = None) -> Any:
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


@case("clamp", _clamp, dtypes=REAL)
def _(make: Maker) -> Iterator[Sample]:
    low = 0 if not make.dtype.is_signed else -1
    yield sample(make(3, 4), low, 1)
    yield sample(make(3, 4), low)
    yield sample(make(3, 4), None, 1)
    yield sample(make(3, 4), make(4, low=-2, high=0), make(3, 1, low=0, high=2))
    yield sample(make(3, 4), None, make(4))
    yield sample(make(0, 4), low, 1)
    if make.is_floating:
        yield sample(make.values(SPECIAL), -0.75, 0.75, smooth=False)


@case("clamp_min", lambda x, low: np.maximum(x, low), dtypes=REAL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 1)


@case("clamp_max", lambda x, high: np.minimum(x, high), dtypes=REAL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 1)


# -- casts and copies ----------------------------------------------------------------------------------------------


@case(
    "to_dtype",
    lambda x, kind: (x.real if x.dtype.kind == "c" and kind.kind != "c" else x).astype(kind),
    dtypes=(*ALL, *HALF),
)
def _(make: Maker) -> Iterator[Sample]:
    held = make.device.backend.dtypes
    for name in ("float32", "float64", "int64", "int32", "uint8", "bool", "complex64"):
        if name in held:
            same = DTYPES[name] is make.dtype  # gradients are checked where no digits are lost
            yield sample(make(2, 3, low=0, high=2), DTYPES[name], smooth=same)
    yield sample(make(), DTYPES["int64"])


@case("copy", lambda x, source, non_blocking=False: np.broadcast_to(source, x.shape).astype(x.dtype), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make(2, 3))
    yield sample(make(2, 3), make(3))
    if make.dtype.name != "bool":
        yield sample(make(2, 3), make.of("int64")(2, 1))


@case("fill", lambda x, value: np.full_like(x, value), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), 1)
    yield sample(make(2, 3), make())
    yield sample(make(0, 3), 1)


# -- of other kinds --------------------------------------------------------------------------------------------------

unary("isreal", np.isreal, dtypes=(*FLOATS, *COMPLEXES, "int64"))
unary("signbit", np.signbit, dtypes=REAL)
binary("gcd", np.gcd, 0, 60, numbers=False, dtypes=INTEGERS)
binary("lcm", np.lcm, 1, 11, numbers=False, dtypes=INTEGERS)


@case("angle", np.angle, dtypes=(*FLOATS, *COMPLEXES))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4, low=0.3, high=2))
    yield sample(make(3, 4, low=-2, high=-0.3))
    yield sample(make())


@case("float_power", np.float_power, dtypes=("float64", "int64", "complex128"), in_double=("int64",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, low=0.5, high=3), make(3, low=0.5, high=3))
    yield sample(make(2, 3, low=0.5, high=3), 2)


@case("ldexp", lambda x, exponent: x * 2.0**exponent, constant=("other",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make.indices([-2, 0, 3]))


@case("rsub", lambda x, y, alpha=1: y - alpha * x, dtypes=(*FLOATS, "int64"))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make(3))
    yield sample(make(2, 3), 5, alpha=2)
