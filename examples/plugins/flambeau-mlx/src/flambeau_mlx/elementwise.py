"""Kernels that work element by element.

Most are a function of MLX's under Flambeau's name. The rest says where the two differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy
from flambeau.dtypes import FLOATING, INTEGER, cast_number, dtype, result_dtype
from flambeau.ops.spec import broadcast_shapes

from flambeau_mlx.array import Array, fresh, native
from flambeau_mlx.evaluation import evaluate

Kernel = Callable[..., Any]


def number(value: Any, kind: dtype) -> Any:
    """A Python number as MLX takes it beside an array of a dtype; integers wrap around, as in a cast."""
    value = cast_number(value, kind)
    # MLX takes numbers of up to 63 bits.
    return value if kind.category != INTEGER or value < 1 << 63 else mx.array(numpy.uint64(value))


def values_of(*operands: Any) -> list[Any]:
    """The operands, of one dtype, as MLX takes them."""
    kind = next((x.dtype for x in operands if isinstance(x, Array)), None) or result_dtype(operands)
    return [x.value if isinstance(x, Array) else number(x, kind) for x in operands]


def unary(function: Callable[..., Any]) -> Kernel:
    """A kernel of one operand from a function over MLX arrays."""

    def kernel(input: Array) -> Array:
        return fresh(function(input.value))

    return kernel


def binary(name: str, function: Callable[..., Any]) -> Kernel:
    """A kernel of two operands from a function over MLX arrays and numbers.

    Raises:
        RuntimeError: when the shapes do not broadcast.
    """

    def kernel(input: Any, other: Any) -> Array:
        try:
            return fresh(function(*values_of(input, other)))
        except ValueError:
            broadcast_shapes(name, *[x.shape for x in (input, other) if isinstance(x, Array)])
            raise

    return kernel


def of_integers(name: str, function: Callable[..., Any]) -> Kernel:
    """A kernel for integers and bools.

    Raises:
        NotImplementedError: for other dtypes.
    """

    def kernel(*operands: Any) -> Array:
        for x in operands:
            if isinstance(x, Array) and x.dtype.category > INTEGER:
                raise NotImplementedError(f"{name} is not implemented for {x.dtype.name}")
        return fresh(function(*values_of(*operands)))

    return kernel


# -- where MLX differs -------------------------------------------------------------------------------------------------


def expm1(x: Any) -> Any:
    """``exp(x) - 1``; of complex numbers by their parts, without loss near 0."""
    if x.dtype != mx.complex64:
        return mx.expm1(x)
    a, b = mx.real(x), mx.imag(x)
    return paired(mx.expm1(a) * mx.cos(b) - 2 * mx.square(mx.sin(b / 2)), mx.exp(a) * mx.sin(b))


def paired(real: Any, imag: Any) -> Any:
    """The complex MLX array with these parts, which may be infinite: arithmetic would make NaN of those."""
    real, imag = mx.broadcast_arrays(real.astype(mx.float32), imag.astype(mx.float32))
    return mx.view(mx.stack([real, imag], -1), mx.complex64).reshape(real.shape)


def sign(x: Any) -> Any:
    """-1, 0 or 1; bools are their own sign."""
    return x if x.dtype == mx.bool_ else mx.sign(x)


def rounded(input: Array, decimals: int = 0) -> Array:
    """Round half to even, to ``decimals`` places after the point (before it, where negative)."""
    x = input.value
    if input.dtype.category > INTEGER:
        return fresh(mx.round(x, decimals))
    if decimals >= 0:
        return fresh(x)
    # By quotients: MLX rounds integers in single precision.
    unit = number(10**-decimals, input.dtype)
    low = mx.floor_divide(x, unit)
    rest = mx.subtract(x, mx.multiply(low, unit))
    odd = mx.remainder(low, 2).astype(mx.bool_)
    up = mx.logical_or(mx.greater(rest, unit // 2), mx.logical_and(mx.equal(rest, unit // 2), odd))
    return fresh(mx.multiply(mx.add(low, up.astype(x.dtype)), unit))


def _refuse_zero(name: str, divisor: Any) -> None:
    if isinstance(divisor, Array):
        if not divisor.size:
            return
        zero = mx.any(mx.equal(divisor.value, 0))
        evaluate(zero)
        found = bool(zero.item())
    else:
        found = divisor == 0
    if found:
        raise RuntimeError(f"ZeroDivisionError: {name}: integer division by zero")


def _whole_division(name: str, integers: Callable[..., Any], floats: Callable[..., Any]) -> Kernel:
    """A kernel that refuses to divide integers by zero."""

    def kernel(input: Any, other: Any) -> Array:
        kind = (input if isinstance(input, Array) else other).dtype
        if kind.category <= INTEGER:
            _refuse_zero(name, other)
            return fresh(integers(*values_of(input, other)))
        return fresh(floats(*values_of(input, other)))

    return kernel


def _floor_divide(a: Any, b: Any) -> Any:
    """The quotient rounded down; of something by infinity 0 or -1, of infinity NaN."""
    plain = mx.divide(a, b)
    quotient = mx.round(mx.divide(mx.subtract(a, mx.remainder(a, b)), b))
    below = mx.logical_and(mx.not_equal(a, 0), mx.not_equal(mx.less(a, 0), mx.less(b, 0)))
    beyond = mx.where(mx.isinf(b), mx.where(below, -1.0, 0.0), float("nan"))
    special = mx.where(mx.equal(b, 0), plain, mx.where(mx.isfinite(a), beyond, float("nan")))
    return mx.where(mx.isfinite(quotient), quotient, special).astype(plain.dtype)


def _fmod(a: Any, b: Any) -> Any:
    """The remainder with the sign of ``a``."""
    rest = mx.remainder(mx.abs(a), mx.abs(b))
    return mx.where(mx.less(a, 0), mx.negative(rest), rest)


def _fmod_integers(a: Any, b: Any) -> Any:
    rest = mx.remainder(a, b)  # with the sign of b
    turned = mx.logical_and(mx.not_equal(rest, 0), mx.not_equal(mx.less(a, 0), mx.less(rest, 0)))
    return mx.where(turned, mx.subtract(rest, b), rest)


def power(input: Any, exponent: Any) -> Array:
    """``input ** exponent``, in the dtype of the operands; small whole exponents multiply.

    Raises:
        RuntimeError: for a negative whole exponent as a Python number with an integer base.
    """
    if isinstance(input, Array) and isinstance(exponent, (int, float)):
        category = input.dtype.category
        if exponent < 0 and category == INTEGER:
            raise RuntimeError(
                f"pow: Integers to negative integer powers are not allowed, got the exponent {exponent}; "
                "make the base floating-point first"
            )
        if category >= FLOATING:
            x = input.value
            if exponent == 2:
                return fresh(mx.square(x))
            if exponent == 3:
                return fresh(mx.multiply(mx.square(x), x))
            if exponent == 0.5:
                return fresh(mx.sqrt(x))
            if exponent == -1:
                return fresh(mx.reciprocal(x))
    kind = (input if isinstance(input, Array) else exponent).dtype
    a, b = values_of(input, exponent)
    if kind.category == INTEGER and kind.is_signed and isinstance(exponent, Array):
        return fresh(_signed_power(mx.array(a, native(kind)), b))
    return fresh(mx.power(a, b))


def _signed_power(a: Any, b: Any) -> Any:
    """Powers of integers: with a negative exponent 1 or -1 for the bases 1 and -1, else 0."""
    positive = mx.power(a, mx.maximum(b, 0))
    odd = mx.bitwise_and(b, 1)
    inverse = mx.where(mx.equal(a, 1), 1, mx.where(mx.equal(a, -1), 1 - 2 * odd, 0)).astype(a.dtype)
    return mx.where(mx.less(b, 0), inverse, positive)


def _shifted(left: bool) -> Callable[..., Any]:
    """A shift that has moved everything out once it is as wide as the type; C leaves that open."""

    def shift(a: Any, b: Any) -> Any:
        array = a if isinstance(a, mx.array) else b
        a, b = (x if isinstance(x, mx.array) else mx.array(x, array.dtype) for x in (a, b))
        bits = 8 * array.itemsize
        beyond = mx.logical_or(mx.less(b, 0), mx.greater_equal(b, bits))
        moved = (mx.left_shift if left else mx.right_shift)(a, mx.where(beyond, 0, b).astype(a.dtype))
        gone = mx.zeros_like(a) if left else mx.where(mx.less(a, 0), mx.array(-1).astype(a.dtype), mx.zeros_like(a))
        return mx.where(beyond, gone, moved)

    return shift


def where(condition: Array, input: Any, other: Any) -> Array:
    """``input`` where ``condition`` is true, else ``other``; all three broadcast."""
    kind = next((x.dtype for x in (input, other) if isinstance(x, Array)), None) or result_dtype((input, other))
    a, b = (x.value if isinstance(x, Array) else mx.array(number(x, kind), native(kind)) for x in (input, other))
    return fresh(mx.where(condition.value.astype(mx.bool_), a, b))


def clamp(input: Array, min: Any = None, max: Any = None) -> Array:
    """The elements limited to [``min``, ``max``]; NaN stays, and ``max`` wins where ``min`` is larger."""
    x = input.value
    if min is not None:
        x = mx.maximum(x, values_of(input, min)[1])
    return fresh(x if max is None else mx.minimum(x, values_of(input, max)[1]))


UNARY: dict[str, Callable[..., Any]] = {
    "neg": mx.negative,
    "conj": mx.conjugate,
    "abs": mx.abs,
    "sign": sign,
    "floor": mx.floor,
    "ceil": mx.ceil,
    "trunc": mx.trunc,
    "square": mx.square,
    "reciprocal": mx.reciprocal,
    "rsqrt": mx.rsqrt,
    "exp": mx.exp,
    "expm1": expm1,
    "log": mx.log,
    "log1p": mx.log1p,
    "log2": mx.log2,
    "log10": mx.log10,
    "sqrt": mx.sqrt,
    "sin": mx.sin,
    "cos": mx.cos,
    "tan": mx.tan,
    "asin": mx.arcsin,
    "acos": mx.arccos,
    "atan": mx.arctan,
    "sinh": mx.sinh,
    "cosh": mx.cosh,
    "tanh": mx.tanh,
    "asinh": mx.arcsinh,
    "acosh": mx.arccosh,
    "atanh": mx.arctanh,
    "erf": mx.erf,
    "isfinite": mx.isfinite,
    "isinf": mx.isinf,
    "isnan": mx.isnan,
    "logical_not": mx.logical_not,
}

BINARY: dict[str, Callable[..., Any]] = {
    "add": mx.add,
    "sub": mx.subtract,
    "mul": mx.multiply,
    "div": mx.divide,
    "maximum": mx.maximum,
    "minimum": mx.minimum,
    "atan2": mx.arctan2,
    "eq": mx.equal,
    "ne": mx.not_equal,
    "lt": mx.less,
    "le": mx.less_equal,
    "gt": mx.greater,
    "ge": mx.greater_equal,
    "logical_and": mx.logical_and,
    "logical_or": mx.logical_or,
    "logical_xor": mx.logical_xor,
}

INTEGERS: dict[str, Callable[..., Any]] = {
    "bitwise_not": mx.bitwise_invert,
    "bitwise_and": mx.bitwise_and,
    "bitwise_or": mx.bitwise_or,
    "bitwise_xor": mx.bitwise_xor,
    "bitwise_left_shift": _shifted(left=True),
    "bitwise_right_shift": _shifted(left=False),
}

KERNELS: dict[str, Kernel] = {
    **{name: unary(function) for name, function in UNARY.items()},
    **{name: binary(name, function) for name, function in BINARY.items()},
    **{name: of_integers(name, function) for name, function in INTEGERS.items()},
    "round": rounded,
    "pow": power,
    "floor_divide": _whole_division("floor_divide", mx.floor_divide, _floor_divide),
    "remainder": _whole_division("remainder", mx.remainder, mx.remainder),
    "fmod": _whole_division("fmod", _fmod_integers, _fmod),
    "where": where,
    "clamp": clamp,
}
