"""Chains of elementwise ops, for ``flambeau.compile``: one kernel from the expressions of all ops.

Each result between them is rounded to its dtype, and no product is contracted with a sum, so that the bits are those of
the kernels of the ops.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cupy
import numpy

from flambeau.dispatch import Chain, Link, Step
from flambeau.dtypes import BOOL, FLOATING, INTEGER, dtype
from flambeau_cupy.elements import HELD, compute, storage
from flambeau_cupy.maps import Number, run

Array = Any

#: What CuPy's ufuncs compute of floats, by the op's name; ``{T}`` is the type that is computed with.
_FLOATS = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "neg": "-{0}",
    "square": "{0} * {0}", "reciprocal": "1 / {0}", "abs": "fabs({0})",
    **{name: f"{name}({{0}})" for name in (
        "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan",
        "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "floor", "ceil", "trunc",
    )},
}  # fmt: skip
_INTEGERS = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "neg": "-{0}", "square": "{0} * {0}",
    "bitwise_and": "{0} & {1}", "bitwise_or": "{0} | {1}", "bitwise_xor": "{0} ^ {1}", "bitwise_not": "~{0}",
}  # fmt: skip
_BOOLS = {
    "bitwise_and": "{0} && {1}", "bitwise_or": "{0} || {1}", "bitwise_xor": "{0} != {1}", "bitwise_not": "!{0}",
}  # fmt: skip
_OF_CATEGORY = {FLOATING: _FLOATS, INTEGER: _INTEGERS, BOOL: _BOOLS}
#: Those whose result is a bool, of any operands of one dtype.
_TESTS = {
    "eq": "{0} == {1}", "ne": "{0} != {1}", "lt": "{0} < {1}", "le": "{0} <= {1}", "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "isnan": "{0} != {0}", "logical_not": "!({0} != 0)", "logical_and": "({0} != 0) && ({1} != 0)",
    "logical_or": "({0} != 0) || ({1} != 0)", "logical_xor": "({0} != 0) != ({1} != 0)",
}  # fmt: skip


def compiled(chain: Chain) -> Callable[..., Any] | None:
    """A kernel for a chain; None where an op has no expression for its operands."""
    kinds = [kind for _, kind in chain.inputs]
    if any(kind.name not in HELD or kind.is_complex for kind in (*kinds, *[step.dtype for step in chain.steps])):
        return None
    numbers: list[Number] = []
    lines: list[str] = []
    for place, step in enumerate(chain.steps):
        line = _line(place, step, kinds, [earlier.dtype for earlier in chain.steps], numbers)
        if line is None:
            return None
        lines.append(line)
    body = " ".join([*lines, *[f"r{i} = s{place};" for i, place in enumerate(chain.outputs)]])
    results = [chain.steps[place].dtype.numpy for place in chain.outputs]

    def kernel(*arrays: Array) -> Any:
        outputs = [cupy.empty(chain.shape, kind) for kind in results]
        run("chain", body, outputs, arrays, numbers, contracts=False)
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    return kernel


def _line(place: int, step: Step, inputs: list[dtype], steps: list[dtype], numbers: list[Number]) -> str | None:
    """The C++ of a step, which declares ``s`` and its number; its numbers are added to ``numbers``."""
    kinds = {
        (inputs if operand.is_input else steps)[operand.number]
        for operand in step.operands[step.name == "where" :]
        if isinstance(operand, Link)
    }
    # Where all are numbers, or promotion is CuPy's affair.
    if len(kinds) != 1:
        return None
    (own,) = kinds
    operands = [operand for operand in step.operands if not isinstance(operand, str)]
    found = _expression(step, own, len(operands))
    if found is None:
        return None
    text, rounds = found
    names = []
    for operand in operands:
        if isinstance(operand, Link):
            names.append(f"{'a' if operand.is_input else 's'}{operand.number}")
            continue
        number = _number(operand, own, rounds)
        if number is None:
            return None
        names.append(f"(({compute(own)})n{len(numbers)})")
        numbers.append(number)
    value = f"{compute(step.dtype)} s{place} = {text.format(*names, T=compute(own))};"
    if step.dtype.itemsize == 2 and step.dtype.category == FLOATING:
        value += f" {{ {storage(step.dtype)} kept; store(&kept, 0, s{place}); s{place} = load(&kept, 0); }}"
    return value


def _expression(step: Step, own: dtype, count: int) -> tuple[str, bool] | None:
    """The expression of a step on operands of a dtype, and whether CuPy rounds numbers to that dtype first."""
    name = step.name
    text = getattr(step.kernel, "expression", None)
    if name == "where":
        text, rounds = "{0} != 0 ? {1} : {2}", False
    elif text is not None:  # a kernel of our own, of floats
        rounds = False
        if isinstance(text, dict):
            text = text.get(step.operands[-1], "")
        if own.category != FLOATING or step.dtype is not own:
            return None
    elif name in _TESTS:
        text, rounds = _TESTS[name], True
    else:
        text, rounds = _OF_CATEGORY.get(own.category, {}).get(name), True
        if text is None or step.dtype is not own:
            return None
    return (text, rounds) if f"{{{count}}}" not in text and f"{{{count - 1}}}" in text else None


def _number(value: Any, kind: dtype, rounds: bool) -> Number | None:
    """A Python number as an argument of a kernel; None for one that the dtype does not hold."""
    if kind.category == FLOATING and isinstance(value, (int, float)):
        value = float(value)
        if kind.name == "float64":
            return "double", value
        with numpy.errstate(over="ignore"):
            rounded = float(kind.numpy.type(value))
        if rounds and math.isinf(rounded) and not math.isinf(value):
            return None
        return "float", rounded if rounds else value
    if kind.category == INTEGER and isinstance(value, int):
        limits = numpy.iinfo(kind.numpy)
        return ("long long", value) if limits.min <= value <= min(limits.max, (1 << 63) - 1) else None
    if kind.category == BOOL and isinstance(value, bool):
        return "int", int(value)
    return None
