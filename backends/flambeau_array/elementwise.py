"""Kernels that work element by element: the library's ufuncs, and what is made of a few of them.

Where the library has a ufunc with the right semantics the ufunc itself is the kernel: a Python frame around it would
cost as much as a tenth of a small op.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Array = Any
Module = Any
Kernel = Callable[..., Any]

#: The op's name and the ufunc's; the result has the dtype of the operands.
UFUNCS = {
    "neg": "negative",
    "floor": "floor",
    "ceil": "ceil",
    "trunc": "trunc",
    "conj": "conjugate",
    "square": "square",
    "reciprocal": "reciprocal",
    "exp": "exp",
    "exp2": "exp2",
    "expm1": "expm1",
    "log": "log",
    "log1p": "log1p",
    "log2": "log2",
    "log10": "log10",
    "sqrt": "sqrt",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "sinh": "sinh",
    "cosh": "cosh",
    "tanh": "tanh",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "div": "true_divide",
    "maximum": "maximum",
    "minimum": "minimum",
    "fmax": "fmax",
    "fmin": "fmin",
    "atan2": "arctan2",
    "bitwise_not": "invert",
    "bitwise_and": "bitwise_and",
    "bitwise_or": "bitwise_or",
    "bitwise_xor": "bitwise_xor",
    "bitwise_left_shift": "left_shift",
    "bitwise_right_shift": "right_shift",
}

#: Those whose result is a bool.
TO_BOOL = {
    "isfinite": "isfinite",
    "isinf": "isinf",
    "isnan": "isnan",
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
    "logical_not": "logical_not",
    "logical_and": "logical_and",
    "logical_or": "logical_or",
    "logical_xor": "logical_xor",
}


def ufuncs(xp: Module) -> dict[str, Any]:
    """The ufuncs of the library ``xp`` that are kernels as they are."""
    return {name: getattr(xp, theirs) for name, theirs in {**UFUNCS, **TO_BOOL}.items()}


def kernels(xp: Module) -> dict[str, Kernel]:
    """The kernels of this module over the library ``xp``."""
    return {
        **ufuncs(xp),
        **{name + "_": in_place(getattr(xp, theirs)) for name, theirs in UFUNCS.items()},
        "abs": absolute(xp),
        "round": rounding(xp),
        "pow": power(xp),
        "rsqrt": reciprocal_root(xp),
        "logaddexp": log_of_sum(xp),
    }


def in_place(ufunc: Any) -> Kernel:
    """The kernel that writes the result of ``ufunc`` into its first operand, in that operand's dtype."""
    if ufunc.nin == 1:

        def in_place_unary(target: Array) -> Array:
            return ufunc(target, target)

        return in_place_unary

    def in_place_binary(target: Array, other: Array) -> Array:
        return ufunc(target, other, out=target)

    return in_place_binary


def absolute(xp: Module) -> Kernel:
    """Make the kernel ``abs``."""

    def abs(input: Array) -> Array:
        """The absolute value; the modulus, which is real, of complex numbers."""
        return xp.absolute(input)

    return abs


def rounding(xp: Module) -> Kernel:
    """Make the kernel ``round``."""

    def round(input: Array, decimals: int = 0) -> Array:
        """Round half to even, to ``decimals`` places after the point (before it, where negative)."""
        if input.dtype.kind in "iub":
            return input.copy() if decimals >= 0 else xp.round(input, decimals)
        return xp.rint(input) if decimals == 0 else xp.round(input, decimals)

    return round


def power(xp: Module) -> Kernel:
    """Make the kernel ``pow``."""

    def pow(input: Array, exponent: Array) -> Array:
        """``input ** exponent``, in the dtype of the operands.

        Small whole exponents multiply: ``numpy.power`` takes 60 ns an element for what is 0.2 ns of work.

        Raises:
            RuntimeError: for a negative whole exponent as a Python number with an integer base.
        """
        if exponent.__class__ is float or exponent.__class__ is int:
            kind = input.dtype.kind
            if exponent == 2:
                return xp.square(input)
            if exponent == 3:
                return xp.multiply(xp.square(input), input)
            if exponent == 1:
                return xp.positive(input) if kind != "b" else input.copy()
            if exponent == 0.5 and kind == "f":
                return xp.sqrt(input)
            if exponent < 0 and kind in "iu":
                raise RuntimeError(
                    f"pow: Integers to negative integer powers are not allowed, got the exponent {exponent}; "
                    "make the base floating-point first"
                )
            if exponent == -1:
                return xp.reciprocal(input)
            if exponent == -2:
                return xp.reciprocal(xp.square(input))
        try:
            result = xp.power(input, exponent)
        except ValueError as error:
            if "negative integer power" not in str(error):
                raise
            return _integer_power(xp, input, exponent)
        return result.astype(bool) if _is_bool(input) and _is_bool(exponent) else result

    return pow


def _is_bool(operand: Array) -> bool:
    return isinstance(operand, bool) or (hasattr(operand, "dtype") and operand.dtype.kind == "b")


def _integer_power(xp: Module, input: Array, exponent: Array) -> Array:
    """Powers of integers where some exponents are negative: those are 1 or -1 for the bases 1 and -1, else 0."""
    positive = xp.power(input, xp.maximum(exponent, 0))
    odd = xp.bitwise_and(exponent, 1)
    inverse = xp.where(xp.equal(input, 1), 1, xp.where(xp.equal(input, -1), 1 - 2 * odd, 0))
    return xp.where(xp.less(exponent, 0), inverse, positive).astype(positive.dtype, copy=False)


def reciprocal_root(xp: Module) -> Kernel:
    """Make the kernel ``rsqrt``."""

    def rsqrt(input: Array) -> Array:
        """``1 / sqrt(input)``."""
        return xp.reciprocal(xp.sqrt(input))

    return rsqrt


def log_of_sum(xp: Module) -> Kernel:
    """Make the kernel ``logaddexp``."""

    def logaddexp(input: Array, other: Array) -> Array:
        """``log(exp(input) + exp(other))`` without overflow."""
        if input.dtype.kind != "c":
            return xp.logaddexp(input, other)
        larger = input.real >= other.real
        high, low = xp.where(larger, input, other), xp.where(larger, other, input)
        return xp.add(high, xp.log1p(xp.exp(xp.subtract(low, high))))

    return logaddexp
