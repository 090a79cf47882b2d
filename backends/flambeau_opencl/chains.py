"""Chains of elementwise ops, for ``flambeau.compile``: one kernel from the expressions of all ops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.dispatch import Chain, Link, Step
from flambeau.dtypes import dtype
from flambeau_opencl import activation
from flambeau_opencl.array import Array, empty
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.elementwise import number
from flambeau_opencl.maps import Number, run

# Between ops the 16-bit floats are rounded, which a chain would not do; complex numbers need functions.
_DTYPES = {
    dtypes.bool_, dtypes.uint8, dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64,
}  # fmt: skip

# A product and a sum are two roundings, as in two kernels.
_PRAGMA = "#pragma OPENCL FP_CONTRACT OFF"

# Ops whose kernel is a function around one that has an expression, with the same operands.
_AROUND = {"threshold_backward": activation._threshold}


def compiled(chain: Chain) -> Callable[..., Any] | None:
    """A kernel for a chain; None where an op has no expression, or a dtype is not computed with as it is stored."""
    if any(kind not in _DTYPES for _, kind in chain.inputs) or any(s.dtype not in _DTYPES for s in chain.steps):
        return None
    kinds = [kind for _, kind in chain.inputs]
    lines: list[str] = []
    numbers: list[Number] = []
    for place, step in enumerate(chain.steps):
        line = _line(place, step, kinds, [earlier.dtype for earlier in chain.steps], numbers)
        if line is None:
            return None
        lines.append(line)
    lines += [f"r{i} = s{place};" for i, place in enumerate(chain.outputs)]
    body = " ".join(lines)
    results = [chain.steps[place].dtype for place in chain.outputs]

    def kernel(*arrays: Array) -> Any:
        outputs = [empty(arrays[0].storage.runtime, chain.shape, kind) for kind in results]
        run("chain", body, outputs, arrays, numbers, functions=_PRAGMA)
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    return kernel


def _line(place: int, step: Step, inputs: list[dtype], steps: list[dtype], numbers: list[Number]) -> str | None:
    """The C code of a step, which declares ``s`` and its number; its numbers are added to ``numbers``."""
    kinds = [
        (inputs if operand.is_input else steps)[operand.number] if isinstance(operand, Link) else None
        for operand in step.operands
    ]
    own = step.dtype if step.name == "where" else next(kind for kind in kinds if kind is not None)
    if step.name == "where":
        names, test = "cab", "c != 0 ? a : b"
    else:
        element = getattr(_AROUND.get(step.name, step.kernel), "element", None)
        if element is None or own.category not in element[1]:
            return None
        names, test = element[0], element[1][own.category].replace("{T}", ELEMENTS[own].compute)
    if len(names) != len(step.operands) or any(operand is None for operand in step.operands):
        return None
    declared = []
    for name, operand, kind in zip(names, step.operands, kinds, strict=True):
        if isinstance(operand, Link):
            value = f"{'a' if operand.is_input else 's'}{operand.number}"
        else:
            given, form = number(operand, own)
            value = form.format(*[f"n{len(numbers) + i}" for i in range(len(given))])
            numbers += given
        declared.append(f"{ELEMENTS[kind or own].compute} {name} = {value};")
    return f"{ELEMENTS[step.dtype].compute} s{place}; {{ {' '.join(declared)} s{place} = {test}; }}"
