"""Kernels that work element by element, generated from an expression in C for each kind of dtype.

In an expression ``a`` and ``b`` are the operands, in the type that the dtype is computed with.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from flambeau.dtypes import BOOL, COMPLEX, FLOATING, INTEGER, bool_, dtype
from flambeau.ops.spec import broadcast_shapes
from flambeau_opencl.array import Array, empty
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.maps import Number, run

Kernel = Callable[..., Any]
Expressions = dict[int, str]

result_shape = lru_cache(maxsize=4096)(broadcast_shapes)


def number(value: Any, kind: dtype) -> tuple[list[Number], str]:
    """A Python number as kernel arguments, and the expression that makes a value of ``kind`` of ``{}``, ``{}`` ..."""
    element = ELEMENTS[kind]
    if kind.category == COMPLEX:
        value = complex(value)
        return [(element.real, value.real), (element.real, value.imag)], f"({element.compute})({{}}, {{}})"
    if kind.category == FLOATING:
        return [(element.real, float(value))], "{}"
    if kind.category == BOOL:
        return [("long", int(bool(value)))], "(uchar){}"
    value = (int(value) + (1 << 63)) % (1 << 64) - (1 << 63)
    return [("long", value)], f"({element.compute}){{}}"


def operand_lines(
    names: str, operands: tuple[Any, ...], kind: dtype | None = None
) -> tuple[list[Array], list[Number], str]:
    """Arrays among the operands, the other operands as numbers, and C lines that name all of them."""
    arrays = [x for x in operands if isinstance(x, Array)]
    own = kind or arrays[0].dtype
    numbers: list[Number] = []
    lines = []
    place = 0
    for name, operand in zip(names, operands, strict=True):
        if isinstance(operand, Array):
            lines.append(f"{ELEMENTS[operand.dtype].compute} {name} = a{place};")
            place += 1
        else:
            given, form = number(operand, own)
            values = form.format(*[f"n{len(numbers) + i}" for i in range(len(given))])
            lines.append(f"{ELEMENTS[own].compute} {name} = {values};")
            numbers += given
    return arrays, numbers, " ".join(lines)


def pointwise(
    name: str,
    expressions: Expressions,
    names: str = "a",
    result: Callable[[dtype], dtype] | None = None,
    functions: Callable[[dtype], str] | None = None,
    complains: Callable[[dtype], bool] = lambda kind: False,
) -> Kernel:
    """A kernel from expressions by category of the dtype; its operands, ``names``, broadcast.

    Args:
        result: the dtype of the result, from that of the operands; by default the same.
        functions: C functions that the expressions use.
        complains: for which dtypes the expression may complain.
    """

    # By the dtypes of the operands, None for numbers: body, dtype of the result, functions and name for complaints.
    known: dict[tuple[dtype | None, ...], tuple[str, dtype, str, str | None]] = {}

    def kernel(*operands: Any) -> Array:
        return apply(operands, None)

    def prepared(operands: tuple[Any, ...]) -> tuple[str, dtype, str, str | None]:
        arrays, _, lines = operand_lines(names, operands)
        own = arrays[0].dtype
        expression = expressions.get(own.category)
        if expression is None:
            raise NotImplementedError(f"{name}: not implemented for {own.name} on the device type 'opencl'")
        body = f"{lines} r0 = {expression.replace('{T}', ELEMENTS[own].compute)};"
        used = functions(own) if functions else ""
        return body, result(own) if result else own, used, name if complains(own) else None

    def apply(operands: tuple[Any, ...], out: Array | None) -> Array:
        key = tuple([x.dtype if x.__class__ is Array else None for x in operands])
        found = known.get(key)
        if found is None:
            found = known[key] = prepared(operands)
        body, kind, used, complainer = found
        arrays, numbers = operands, []
        if None in key:
            arrays = tuple([x for x in operands if x.__class__ is Array])
            for x in operands:
                if x.__class__ is not Array:
                    numbers += number(x, arrays[0].dtype)[0]
        first = arrays[0]
        if out is None:
            shape = first.shape
            for other in arrays[1:]:
                if other.shape != shape:
                    shape = result_shape(name, *[a.shape for a in arrays])
            out = empty(first.storage.runtime, shape, kind)
        run(name, body, (out,), arrays, numbers, "", used, complainer)
        return out

    kernel.__name__ = name
    kernel.__doc__ = f"``{name}`` of each element."
    kernel.into = apply  # type: ignore[attr-defined]
    if functions is None:
        kernel.element = names, expressions, result  # type: ignore[attr-defined]  # see `chains`
    return kernel


def in_place(kernel: Kernel) -> Kernel:
    """The form of a kernel of :func:`pointwise` that writes into its first operand."""
    into = kernel.into  # type: ignore[attr-defined]

    def apply(target: Array, *others: Any) -> Array:
        from flambeau_opencl.creation import assign, unaliased

        if any(isinstance(x, Array) and x.dtype is not target.dtype for x in others):
            return assign(target, kernel(target, *others))
        for other in others:
            if isinstance(other, Array) and other.shape != target.shape:
                broadcast = result_shape(kernel.__name__, target.shape, other.shape)
                if broadcast != target.shape:
                    raise RuntimeError(
                        f"{kernel.__name__}_: the target's shape {list(target.shape)} does not match the broadcast "
                        f"shape {list(broadcast)}"
                    )
        result: Array = into((target, *[unaliased(x, target) if isinstance(x, Array) else x for x in others]), target)
        return result

    apply.__name__ = kernel.__name__ + "_"
    apply.__doc__ = f"``{kernel.__name__}`` in place."
    return apply


def _each(real: str, complex: str | None = None, integer: str | None = None, boolean: str | None = None) -> Expressions:
    """Expressions for floats, complex numbers, integers (as for floats unless given) and bools (as for integers)."""
    found = {FLOATING: real, INTEGER: integer or real, BOOL: boolean or integer or real}
    if complex is not None:
        found[COMPLEX] = complex
    return found


_TRUE_A, _TRUE_B = "(a.x != 0 || a.y != 0)", "(b.x != 0 || b.y != 0)"

_SAME: dict[str, Expressions] = {
    "neg": _each("-a", "-a"),
    "conj": _each("a", "c_conj(a)"),
    "sign": _each("({T})((a > 0) - (a < 0))", "c_sign(a)", "({T})((a > 0) - (a < 0))"),
    "floor": _each("floor(a)", None, "a"),
    "ceil": _each("ceil(a)", None, "a"),
    "trunc": _each("trunc(a)", None, "a"),
    "square": _each("a * a", "c_mul(a, a)"),
    "reciprocal": _each("1 / a", "c_div((({T})(1, 0)), a)"),
    "rsqrt": _each("1 / sqrt(a)", "c_div((({T})(1, 0)), c_sqrt(a))"),
    "exp2": _each("exp2(a)", "c_exp(a * M_LN2_F)"),
    "bitwise_not": {INTEGER: "~a", BOOL: "!a"},
    **{
        name: _each(f"{name}(a)", f"c_{name}(a)")
        for name in (
            "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
            "tanh", "asinh", "acosh", "atanh",
        )
    },
    "log2": _each("log2(a)", "c_log(a) * ({T})(1.4426950408889634)"),
    "log10": _each("log10(a)", "c_log(a) * ({T})(0.4342944819032518)"),
    "erf": _each("erf(a)"),
}  # fmt: skip
# log2 in base e loses nothing for complex numbers, whose parts are rounded anyway; exp2 of them needs all digits.
_SAME["exp2"][COMPLEX] = "c_exp(a * ({T})(0.6931471805599453))"

_TWO: dict[str, Expressions] = {
    "add": _each("a + b", "a + b", "({T})(a + b)", "a | b"),
    "sub": _each("a - b", "a - b", "({T})(a - b)", "a ^ b"),
    "mul": _each("a * b", "c_mul(a, b)", "({T})(a * b)", "a & b"),
    "div": _each("a / b", "c_div(a, b)"),
    "maximum": _each("a > b || a != a ? a : b", None, "a > b ? a : b"),
    "minimum": _each("a < b || a != a ? a : b", None, "a < b ? a : b"),
    "fmax": _each("fmax(a, b)", None, "a > b ? a : b"),
    "fmin": _each("fmin(a, b)", None, "a < b ? a : b"),
    "atan2": _each("atan2(a, b)"),
    "logaddexp": {
        FLOATING: "a == b ? a + ({T})(0.6931471805599453) : fmax(a, b) + log1p(exp(-fabs(a - b)))",
        COMPLEX: "a.x >= b.x ? a + c_log1p(c_exp(b - a)) : b + c_log1p(c_exp(a - b))",
    },
    "bitwise_and": {INTEGER: "a & b", BOOL: "a & b"},
    "bitwise_or": {INTEGER: "a | b", BOOL: "a | b"},
    "bitwise_xor": {INTEGER: "a ^ b", BOOL: "a ^ b"},
    "bitwise_left_shift": {INTEGER: "b >= 0 && b < 8 * (int)sizeof({T}) ? ({T})((long)a << b) : ({T})0"},
    "bitwise_right_shift": {INTEGER: "({T})(b >= 0 && b < 8 * (int)sizeof({T}) ? a >> b : a < 0 ? -1 : 0)"},
}

_TESTS: dict[str, Expressions] = {
    "isfinite": _each("isfinite(a)", "isfinite(a.x) && isfinite(a.y)", "1"),
    "isinf": _each("isinf(a)", "isinf(a.x) || isinf(a.y)", "0"),
    "isnan": _each("isnan(a)", "isnan(a.x) || isnan(a.y)", "0"),
    "logical_not": _each("a == 0", f"!{_TRUE_A}"),
}

_COMPARISONS: dict[str, Expressions] = {
    "eq": _each("a == b", "a.x == b.x && a.y == b.y"),
    "ne": _each("a != b", "a.x != b.x || a.y != b.y"),
    "lt": _each("a < b"),
    "le": _each("a <= b"),
    "gt": _each("a > b"),
    "ge": _each("a >= b"),
    "logical_and": _each("a != 0 && b != 0", f"{_TRUE_A} && {_TRUE_B}"),
    "logical_or": _each("a != 0 || b != 0", f"{_TRUE_A} || {_TRUE_B}"),
    "logical_xor": _each("(a != 0) != (b != 0)", f"{_TRUE_A} != {_TRUE_B}"),
}


def _to_bool(kind: dtype) -> dtype:
    return bool_


def _integer_only(kind: dtype) -> bool:
    return kind.category <= INTEGER


# -- division with a remainder -------------------------------------------------------------------------------------

# On a CPU dividing by zero, and the lowest integer by -1, would end the process.
_INTEGER_DIVISION = """
T quotient(T a, T b) {
    if (b == 0) return 0;
    if (b == (T)-1 && (T)-1 < 0) return (T)-a;
    return a / b;
}
T truncated_remainder(T a, T b) { return b == 0 || (b == (T)-1 && (T)-1 < 0) ? (T)0 : (T)(a % b); }
T floored_remainder(T a, T b) { T m = truncated_remainder(a, b); return m != 0 && (m < 0) != (b < 0) ? (T)(m + b) : m; }
T floored_quotient(T a, T b) {
    T q = quotient(a, b);
    return truncated_remainder(a, b) != 0 && (a < 0) != (b < 0) ? (T)(q - 1) : q;
}
"""

_FLOAT_DIVISION = """
T floored_remainder(T a, T b) {
    T m = fmod(a, b);
    if (m == 0) return copysign((T)0, b);
    return (m < 0) != (b < 0) ? m + b : m;
}
T floored_quotient(T a, T b) {
    if (b == 0) return a / b;
    T m = fmod(a, b), q = (a - m) / b;
    if (m != 0 && (m < 0) != (b < 0)) q -= 1;
    if (q == 0) return copysign((T)0, a / b);
    T whole = floor(q);
    return q - whole > (T)0.5 ? whole + 1 : whole;
}
"""


def _division(kind: dtype) -> str:
    source = _INTEGER_DIVISION if kind.category <= INTEGER else _FLOAT_DIVISION
    return f"#define T {ELEMENTS[kind].compute}\n{source}#undef T\n"


def _whole_division(name: str, function: str, real: str) -> Kernel:
    checked = f"b == 0 ? (complain(words, 2, who, 0, 0), ({{T}})0) : {function}(a, b)"
    return pointwise(
        name,
        {FLOATING: real, INTEGER: checked, BOOL: checked},
        "ab",
        functions=_division,
        complains=_integer_only,
    )


# -- powers --------------------------------------------------------------------------------------------------------

_INTEGER_POWER = """
T integer_power(T a, long n) {
    if (n < 0) return a == 1 ? (T)1 : a == (T)-1 ? (T)(n & 1 ? -1 : 1) : (T)0;
    T result = 1;
    for (; n; n >>= 1) {
        if (n & 1) result *= a;
        a *= a;
    }
    return result;
}
"""


def _power_functions(kind: dtype) -> str:
    if kind.category > INTEGER:
        return ""
    return f"#define T {ELEMENTS[kind].compute}\n{_INTEGER_POWER}#undef T\n"


_power = pointwise(
    "pow", _each("pow(a, b)", "c_pow(a, b)", "integer_power(a, b)", "a | !b"), "ab", functions=_power_functions
)
_cube = pointwise("pow", _each("a * a * a", "c_mul(a, c_mul(a, a))"))


def pow(input: Any, exponent: Any) -> Array:
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
            if exponent == 2:
                return KERNELS["square"](input)
            if exponent == 3:
                return _cube(input)
            if exponent == 0.5:
                return KERNELS["sqrt"](input)
            if exponent == -1:
                return KERNELS["reciprocal"](input)
    return _power(input, exponent)


# -- the rest ------------------------------------------------------------------------------------------------------

abs = pointwise("abs", _each("fabs(a)", "c_abs(a)", "({T})(a < 0 ? -a : a)"), result=lambda kind: kind.to_real())
_rounded = pointwise("round", _each("rint(a)", None, "a"))
_rounded_after = pointwise("round", {FLOATING: "rint(a * b) / b"}, "ab")
_rounded_before = pointwise(
    "round", {FLOATING: "rint(a / b) * b", INTEGER: "({T})((long)rint(a / (double)b) * b)"}, "ab"
)


def round(input: Array, decimals: int = 0) -> Array:
    """Round half to even, to ``decimals`` places after the point (before it, where negative)."""
    if decimals == 0 or (decimals > 0 and input.dtype.category < FLOATING):
        return _rounded(input)
    return _rounded_after(input, 10**decimals) if decimals > 0 else _rounded_before(input, 10**-decimals)


def where(condition: Array, input: Any, other: Any) -> Array:
    """``input`` where ``condition`` is true, else ``other``; all three broadcast.

    Raises:
        RuntimeError: when the shapes do not broadcast.
    """
    kind = next((x.dtype for x in (input, other) if isinstance(x, Array)), None)
    if kind is None:
        from flambeau.dtypes import result_dtype

        kind = result_dtype((input, other))
    arrays, numbers, lines = operand_lines("ab", (input, other), kind)
    shape = result_shape("where", condition.shape, *[a.shape for a in arrays])
    out = empty(condition.runtime, shape, kind)
    test = "(c.x != 0 || c.y != 0)" if condition.dtype.is_complex else "c != 0"
    place = len(arrays)
    body = f"{lines} {ELEMENTS[condition.dtype].compute} c = a{place}; if ({test}) r0 = a; else r0 = b;"
    run("where", body, [out], [*arrays, condition], numbers)
    return out


def clamp(input: Array, min: Any = None, max: Any = None) -> Array:
    """The elements limited to [``min``, ``max``]; NaN stays, and ``max`` wins where ``min`` is larger."""
    result = input if min is None else KERNELS["maximum"](input, min)
    return result if max is None else KERNELS["minimum"](result, max)


KERNELS: dict[str, Kernel] = {
    **{name: pointwise(name, expressions) for name, expressions in _SAME.items()},
    **{name: pointwise(name, expressions, "ab") for name, expressions in _TWO.items()},
    **{name: pointwise(name, expressions, result=_to_bool) for name, expressions in _TESTS.items()},
    **{name: pointwise(name, expressions, "ab", _to_bool) for name, expressions in _COMPARISONS.items()},
    "fmod": _whole_division("fmod", "truncated_remainder", "fmod(a, b)"),
    "remainder": _whole_division("remainder", "floored_remainder", "floored_remainder(a, b)"),
    "floor_divide": _whole_division("floor_divide", "floored_quotient", "floored_quotient(a, b)"),
}
KERNELS.update({name + "_": in_place(KERNELS[name]) for name in (*_SAME, *_TWO)})
KERNELS.update({"abs": abs, "pow": pow, "round": round, "where": where, "clamp": clamp})
