"""Kernels that work element by element: those that CuPy lacks or does in another way than NumPy, each one kernel.

The others are CuPy's ufuncs, see :mod:`flambeau_array.elementwise`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy

from flambeau_array import elementwise
from flambeau_cupy.elements import compute, own_dtype
from flambeau_cupy.layout import empty_like
from flambeau_cupy.maps import Number, run

Array = Any
Kernel = Callable[..., Any]


def pointwise(
    name: str, expression: str, operands: tuple[Any, ...], result: Any = None, functions: str = "",
    complains: str | None = None,
) -> Array:  # fmt: skip
    """A new array with the C++ ``expression`` of the operands, arrays or Python numbers, ``{0}``, ``{1}`` ...

    Args:
        expression: ``{T}`` in it stands for the type that the operands' common dtype is computed with.
        result: the NumPy dtype of the result, by default that common dtype.
        functions: C++ functions that it calls.
        complains: what to call the op where it may complain.
    """
    arrays = [operand for operand in operands if isinstance(operand, cupy.ndarray)]
    kind = common_dtype(operands)
    own = compute(own_dtype(numpy.empty((), kind)))
    names: list[str] = []
    numbers: list[Number] = []
    seen = 0
    for operand in operands:
        if isinstance(operand, cupy.ndarray):
            names.append(f"(({own})a{seen})")
            seen += 1
        else:
            names.append(f"(({own})n{len(numbers)})")
            numbers.append((_number_type(kind, operand), operand))
    shape = arrays[0].shape if len(arrays) == 1 else numpy.broadcast_shapes(*[a.shape for a in arrays])
    out = empty_like(shape, kind if result is None else result, arrays)
    body = f"r0 = {expression.format(*names, T=own)};"
    run(name, body, [out], arrays, numbers, "", functions, complains, contracts=False)
    return out


def has_expression(expression: str | dict[str, str]) -> Callable[[Kernel], Kernel]:
    """Note of a kernel that it is :func:`pointwise` with an expression of its operands, for chains of kernels.

    Args:
        expression: by the last argument where that is a word.
    """

    def note(kernel: Kernel) -> Kernel:
        kernel.expression = expression  # type: ignore[attr-defined]
        return kernel

    return note


def common_dtype(operands: tuple[Any, ...]) -> Any:
    """The NumPy dtype of a result: that of the arrays, as far as numbers do not widen it."""
    kinds = {operand.dtype for operand in operands if isinstance(operand, cupy.ndarray)}
    numbers = [operand for operand in operands if not isinstance(operand, cupy.ndarray)]
    (kind, *others) = kinds
    if not others and kind.kind in "fV" and not any(isinstance(number, complex) for number in numbers):
        return kind  # of bfloat16 and a number NumPy would make float64
    return numpy.result_type(*kinds, *numbers)


def _number_type(kind: Any, value: Any) -> str:
    """The C++ type in which a number goes to a kernel that computes in ``kind``."""
    if kind.char == "d":
        return "double"
    if kind.kind == "u" and value >= 1 << 63:
        return "unsigned long long"
    return "long long" if kind.kind in "biu" else "float"


# -- signs, choices, limits ------------------------------------------------------------------------------------------


def sign(input: Array) -> Array:
    """-1, 0 or 1; 0 for NaN, and bools are their own sign."""
    if input.dtype.kind == "c":
        return cupy.sign(input)
    if input.dtype.kind == "b":
        return input.copy()
    return pointwise("sign", "({0} > 0) - ({0} < 0)", (input,))


def where(condition: Array, input: Array, other: Array) -> Array:
    """``input`` where ``condition`` is true, else ``other``; all three broadcast.

    Raises:
        RuntimeError: when the shapes do not broadcast.
    """
    chosen = [value for value in (input, other) if isinstance(value, cupy.ndarray)]
    if not chosen:
        kind = numpy.result_type(input, other)
        input, chosen = cupy.asarray(input, kind), [input]
    try:
        shape = numpy.broadcast_shapes(*[a.shape for a in (condition, input, other) if isinstance(a, cupy.ndarray)])
    except ValueError:
        shapes = ", ".join(str(list(numpy.shape(operand))) for operand in (condition, input, other))
        raise RuntimeError(f"where: the shapes of condition, input and other do not broadcast: {shapes}") from None
    kind = common_dtype((input, other))
    own = compute(own_dtype(numpy.empty((), kind)))
    arrays = [condition]
    numbers: list[Number] = []
    names = []
    for value in (input, other):
        if isinstance(value, cupy.ndarray):
            names.append(f"({own})a{len(arrays)}")
            arrays.append(value)
        elif isinstance(value, complex):
            part = "double" if kind.char == "D" else "float"
            names.append(f"{own}(n{len(numbers)}, n{len(numbers) + 1})")
            numbers += [(part, value.real), (part, value.imag)]
        else:
            names.append(f"({own})n{len(numbers)}")
            numbers.append((_number_type(kind if kind.kind != "c" else kind.type().real.dtype, value), value))
    out = empty_like(shape, kind, arrays[1:])
    run("where", f"r0 = a0 != 0 ? {names[0]} : {names[1]};", [out], arrays, numbers)
    return out


def clamp(input: Array, min: Array = None, max: Array = None) -> Array:
    """The elements limited to [``min``, ``max``]; NaN stays, and ``max`` wins where ``min`` is larger."""
    if max is None:
        return pointwise("clamp", "larger({0}, {1})", (input, min))
    if min is None:
        return pointwise("clamp", "smaller({0}, {1})", (input, max))
    return pointwise("clamp", "smaller(larger({0}, {1}), {2})", (input, min, max))


# -- divisions -------------------------------------------------------------------------------------------------------

# Of floats as Python divides them; of integers rounded down, with an error for zero.
_FLOATS = {
    "fmod": "fmod({0}, {1})",
    "remainder": "float_remainder({0}, {1})",
    "floor_divide": "float_quotient({0}, {1})",
}
_INTEGERS = {
    "fmod": "{1} == 0 ? none(words, who, {1}) : {1} == ({T})-1 ? 0 : {0} % {1}",
    "remainder": "{1} == 0 ? none(words, who, {1}) : whole_remainder({0}, {1})",
    "floor_divide": "{1} == 0 ? none(words, who, {1}) : whole_quotient({0}, {1})",
}
_FLOAT_DIVISIONS = """
template <class T> static __device__ T float_remainder(T a, T b) {
    T m = fmod(a, b);
    if (m == 0) return copysign((T)0, b);
    return (b < 0) != (m < 0) ? m + b : m;
}
template <class T> static __device__ T float_quotient(T a, T b) {
    if (b == 0) return a / b;
    T m = fmod(a, b), quotient = (a - m) / b;
    if (m != 0 && (b < 0) != (m < 0)) quotient -= 1;
    if (quotient == 0) return copysign((T)0, a / b);
    T whole = floor(quotient);
    return quotient - whole > (T)0.5 ? whole + 1 : whole;
}
"""
# The smallest number divided by -1 overflows; it is its own negative.
_WHOLE_DIVISIONS = """
template <class T> static __device__ T none(long long *words, long long who, T zero) {
    complain(words, 2, who, 0, 0);
    return zero;
}
template <class T> static __device__ T whole_remainder(T a, T b) {
    if (b == (T)-1) return 0;
    T m = a % b;
    return m != 0 && (m < 0) != (b < 0) ? m + b : m;
}
template <class T> static __device__ T whole_quotient(T a, T b) {
    if (b == (T)-1 && b < 0) return (T)(0ull - (unsigned long long)a);
    T q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}
"""


def _division(name: str) -> Kernel:
    def divide(input: Array, other: Array) -> Array:
        kind = common_dtype((input, other))
        if kind.kind in "fV":
            return pointwise(name, _FLOATS[name], (input, other), functions=_FLOAT_DIVISIONS)
        if kind.kind == "b":
            input = input.astype(numpy.int8) if isinstance(input, cupy.ndarray) else int(input)
            other = other.astype(numpy.int8) if isinstance(other, cupy.ndarray) else int(other)
        return pointwise(name, _INTEGERS[name], (input, other), functions=_WHOLE_DIVISIONS, complains=name)

    divide.__name__ = name
    divide.__doc__ = (
        f"``{name}`` as NumPy defines it; a RuntimeError, when the device is waited for, for integers by zero."
    )
    return divide


# -- truth ---------------------------------------------------------------------------------------------------------


def logical_not(input: Array) -> Array:
    """Whether elements are zero."""
    out = cupy.empty(input.shape, bool)
    run("logical_not", "r0 = !(a0 != 0);", [out], [input])
    return out


def _logical(name: str, expression: str) -> Kernel:
    def logical(input: Array, other: Array) -> Array:
        arrays = [value for value in (input, other) if isinstance(value, cupy.ndarray)]
        names = iter([f"(a{i} != 0)" for i in range(len(arrays))])
        left, right = [
            next(names) if isinstance(value, cupy.ndarray) else ("true" if value else "false")
            for value in (input, other)
        ]
        out = cupy.empty(numpy.broadcast_shapes(*[a.shape for a in arrays]), bool)
        run(name, f"r0 = {left} {expression} {right};", [out], arrays)
        return out

    logical.__name__ = name
    logical.__doc__ = f"``{name}`` of whether the elements are not zero."
    return logical


# -- functions -------------------------------------------------------------------------------------------------------


@has_expression("erf({0})")
def erf(input: Array) -> Array:
    """The error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t^2)`` from 0 to each element."""
    return pointwise("erf", "erf({0})", (input,))


KERNELS: dict[str, Kernel] = {
    **elementwise.kernels(cupy),
    "sign": sign,
    "where": where,
    "clamp": clamp,
    "fmod": _division("fmod"),
    "remainder": _division("remainder"),
    "floor_divide": _division("floor_divide"),
    "logical_not": logical_not,
    "logical_and": _logical("logical_and", "&&"),
    "logical_or": _logical("logical_or", "||"),
    "logical_xor": _logical("logical_xor", "!="),
    "erf": erf,
}
