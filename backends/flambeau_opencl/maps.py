"""Kernels that visit every element of a shape: made from a few lines of C, compiled once a combination of dtypes.

    run("mul", "r0 = a0 * a1;", [result], [left, right])

reads ``a0``, ``a1`` ... from the inputs, and writes ``r0`` ... into the outputs; all have one shape (or broadcast to
the outputs' shape). Dimensions that lie one behind the other in every operand are merged first, so that most calls end
in the kernel for contiguous memory; otherwise a kernel for 2, 4, 8 ... dimensions computes the places from strides.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy

from flambeau.dtypes import dtype
from flambeau.striding import broadcast_strides, contiguous_strides, merged
from flambeau_opencl.array import Array
from flambeau_opencl.elements import ELEMENTS, preamble
from flambeau_opencl.runtime import COMPLAIN, Runtime, kernel_name, rounded

Shape = tuple[int, ...]
#: A number that a kernel takes: its C type and its value.
Number = tuple[str, Any]

SCALARS: dict[str, Any] = {
    "long": numpy.int64,
    "int": numpy.int32,
    "uint": numpy.uint32,
    "ulong": numpy.uint64,
    "float": numpy.float32,
    "double": numpy.float64,
}

_SMALL = 1 << 31
#: The shortest rows that a CPU's work-item runs along, and how many of them a work-group takes.
_ROW = 8
_ROWS_A_GROUP = 8
#: The fewest and the most elements of contiguous arrays that a CPU's work-item takes.
_SPANS = 16, 2048
#: Calls that are remembered, by kernel, dtypes and shape.
_READY = 8192
# What one turn of the loop writes no other reads, as with work-items.
INDEPENDENT = '_Pragma("clang loop vectorize(assume_safety)")'


class _Plan:
    """A way to visit a shape: which kernel, and the numbers it needs besides buffers and offsets.

    Attributes:
        units: how many work-items keep a CPU busy, each of which then runs along a row or a span; 0 for GPUs.
    """

    __slots__ = ("extents", "group", "inner", "items", "modes", "rank", "wide")

    def __init__(self, shape: Shape, strides: tuple[Shape, ...], units: int) -> None:
        sizes, steps = merged(shape, strides)
        count = 1
        for size in sizes:
            count *= size
        reach = max([count] + [sum(abs(s) * (n - 1) for s, n in zip(own, sizes, strict=True)) for own in steps])
        self.wide = reach >= _SMALL
        self.inner = ""
        self.items = count
        self.group = 0
        if len(sizes) <= 1 and all(own in ((), (0,), (1,)) for own in steps):
            # Contiguous operands ("c") and single elements ("s") only.
            self.modes = "".join("s" if own == (0,) else "c" for own in steps)
            self.rank = 0
            self.extents: tuple[int, ...] = (count,)
            if units:
                span = max(_SPANS[0], min(_SPANS[1], -(-count // units)))
                self.inner = "span"
                self.items = -(-count // span)
                self.group = 1
                self.extents = count, span
            return
        # On a CPU a work-item runs along the last dimension: no divisions there, and known steps become vectors.
        if units and sizes[-1] >= _ROW:
            self.inner = "".join({0: "s", 1: "c"}.get(own[-1], "d") for own in steps)
            self.items = count // sizes[-1]
            self.group = _ROWS_A_GROUP
        rank = 1
        while rank < len(sizes):
            rank *= 2
        fill = rank - len(sizes)
        self.rank = rank
        self.modes = ""
        self.extents = (self.items, *(1,) * fill, *sizes)
        for own in steps:
            self.extents += (0,) * fill + own


@lru_cache(maxsize=8192)
def _plan(shape: Shape, strides: tuple[Shape, ...], units: int) -> _Plan:
    return _Plan(shape, strides, units)


@lru_cache(maxsize=8192)
def _dense(shape: Shape, operands: int, units: int) -> _Plan:
    """The plan for so many contiguous operands of one shape."""
    return _Plan(shape, (contiguous_strides(shape),) * operands, units)


def run(
    name: str,
    body: str,
    outputs: Sequence[Array],
    inputs: Sequence[Array],
    numbers: Sequence[Number] = (),
    raw: str = "",
    functions: str = "",
    complains: str | None = None,
    shape: Shape | None = None,
) -> None:
    """Run ``body`` for every element of ``shape``, by default that of the first output.

    Args:
        name: begins the kernel's name, for people and messages.
        body: C statements with the inputs ``a0``, ``a1`` ..., the outputs ``r0`` ..., the numbers ``n0`` ...,
            ``i``, the element's place in row-major order, and ``x0`` ..., ``y0`` ..., the places in the memory of
            inputs and outputs.
        raw: operands (``"a1 r0"``) that the body itself reads with ``IN1(place)`` or writes with
            ``OUT0(place, value)``.
        functions: C functions that the body calls.
        complains: what to call the op where the body may complain: ``complain(words, kind, who, index, size)``.
    """
    if shape is None:
        shape = outputs[0].shape
    operands = (*outputs, *inputs)
    runtime = operands[0].storage.runtime
    plain: tuple[Any, ...] = ()  # what decides about everything but places in memory, if numbers do not
    if not numbers and complains is None:
        plain = body, raw, functions, shape, len(outputs)
        for a in operands:
            if a.shape != shape or not (a._contiguous or a.contiguous):
                plain = ()
                break
            plain = (*plain, a.dtype)
        ready = runtime.ready.get(plain)
        if ready is not None:
            own_name, kernel, sizes, group, extents = ready
            args: list[Any] = [a.storage.buffer for a in operands]
            args += [a.offset for a in operands]
            args += extents
            runtime.enqueue(own_name, kernel, sizes, group, args)
            return
    if 0 in shape:
        return
    units = runtime.units if runtime.is_cpu else 0
    if plain or all(a.shape == shape and a.contiguous for a in operands):
        plan = _dense(shape, len(operands), units)
    else:
        strides = [a.strides if a.shape == shape else broadcast_strides(shape, a.shape, a.strides) for a in operands]
        plan = _plan(shape, tuple(strides), units)
    if complains is not None:
        numbers = [*numbers, ("long", runtime.checked(complains))]
    key = (
        body, plan.modes, plan.inner, plan.rank, plan.wide, raw, functions,
        tuple([a.dtype for a in outputs]), tuple([a.dtype for a in inputs]), tuple([kind for kind, _ in numbers]),
    )  # fmt: skip
    found = runtime.kernels.get(key)
    if found is None:
        found = _build(runtime, name, key, len(operands), complains is not None)
        runtime.kernels[key] = found
    own_name, kernel = found
    args = [a.storage.buffer for a in operands]
    if complains is not None:
        args.append(runtime.complaint)
    args += [a.offset for a in operands]
    args += plan.extents
    args += [value for _, value in numbers]
    sizes, group = (plan.items,), (plan.group or runtime.local_size,)
    if plain:
        if len(runtime.ready) >= _READY:
            runtime.ready.clear()
        runtime.ready[plain] = own_name, kernel, rounded(sizes, group), group, plan.extents
    runtime.launch(own_name, kernel, sizes, group, args)


def _build(runtime: Runtime, name: str, key: Any, operands: int, complains: bool) -> tuple[str, Any]:
    body, modes, inner, rank, wide, raw, functions, out_types, in_types, number_types = key
    own_name = kernel_name(name, key)
    source = _source(
        own_name, body, modes, inner, rank, wide, set(raw.split()), functions, out_types, in_types, number_types
    )
    extents = 1 + (inner == "span") if rank == 0 else 1 + rank * (1 + operands)
    scalars = [None] * (operands + complains) + [numpy.int64] * (operands + extents)
    scalars += [SCALARS[kind] for kind in number_types]
    return own_name, runtime.build(own_name, source, scalars)


def accessors(prefix: str, number: int, pointer: str, kind: dtype) -> str:
    """The macro ``IN0(place)`` or ``OUT0(place, value)`` of an operand."""
    element = ELEMENTS[kind]
    if prefix == "IN":
        return f"#define IN{number}(place) ({element.load(pointer, '(place)')})"
    return f"#define OUT{number}(place, value) {element.store(pointer, '(place)', f'({element.compute})(value)')}"


def _source(
    name: str,
    body: str,
    modes: str,
    inner: str,
    rank: int,
    wide: bool,
    raw: set[str],
    functions: str,
    out_types: tuple[dtype, ...],
    in_types: tuple[dtype, ...],
    number_types: tuple[str, ...],
) -> str:
    index = "long" if wide else "int"
    complains = "complain(" in body
    operands = [("q", "y", i, t) for i, t in enumerate(out_types)] + [("p", "x", i, t) for i, t in enumerate(in_types)]
    parameters = [f"__global {ELEMENTS[t].storage} *{pointer}{i}" for pointer, _, i, t in operands]
    if complains:
        parameters.append("volatile __global long *words")
    parameters += [f"long {pointer}_offset{i}" for pointer, _, i, _ in operands]
    parameters.append("long count")
    if inner == "span":
        parameters.append("long span")
    if rank:
        parameters += [f"long size{d}" for d in range(rank)]
        parameters += [f"long {place}_step{i}_{d}" for _, place, i, _ in operands for d in range(rank)]
    parameters += [f"{kind} n{i}" for i, kind in enumerate(number_types)]
    lines = [
        preamble({*out_types, *in_types}),
        "#pragma OPENCL EXTENSION cl_khr_fp64 : enable" if "double" in number_types else "",
        COMPLAIN if complains else "",
        *[accessors("OUT", i, f"q{i}", t) for i, t in enumerate(out_types)],
        *[accessors("IN", i, f"p{i}", t) for i, t in enumerate(in_types)],
        functions,
        f"__kernel void {name}({', '.join(parameters)}) {{",
    ]
    if complains:
        lines.append(f"    long who = n{len(number_types) - 1};")
    if inner == "span":
        lines.append(f"    {index} begin = ({index})get_global_id(0) * ({index})span;")
        lines.append(f"    {index} end = count - begin < span ? ({index})count : begin + ({index})span;")
        lines.append(f"    {INDEPENDENT} for ({index} i = begin; i < end; ++i) {{")
    else:
        lines.append(f"    {index} i = get_global_id(0);")
        lines.append(f"    if (i >= ({index})count) return;")
    if inner not in ("", "span"):
        lines += _row_places(inner, rank, index, operands)
    else:
        lines += _places(modes, rank, index, operands)
    lines += [f"    {ELEMENTS[t].compute} a{i} = IN{i}(x{i});" for i, t in enumerate(in_types) if f"a{i}" not in raw]
    lines += [f"    {ELEMENTS[t].compute} r{i};" for i, t in enumerate(out_types) if f"r{i}" not in raw]
    lines.append(f"    {{ {body} }}")
    lines += [f"    OUT{i}(y{i}, r{i});" for i, _ in enumerate(out_types) if f"r{i}" not in raw]
    return "\n".join([*lines, "    }" if inner else "", "}"]) + "\n"


def _row_places(inner: str, rank: int, index: str, operands: list[tuple[str, str, int, dtype]]) -> list[str]:
    """The C lines that find a row in each operand and begin the loop along it."""
    lines = [f"    {index} row = i, rest = i, d;"]
    lines += [f"    long {place}{i}_ = {pointer}_offset{i};" for pointer, place, i, _ in operands]
    for dim in reversed(range(rank - 1)):
        if dim:
            lines.append(f"    d = rest % ({index})size{dim}; rest /= ({index})size{dim};")
        else:
            lines.append("    d = rest;")
        lines += [f"    {place}{i}_ += (long)d * {place}_step{i}_{dim};" for _, place, i, _ in operands]
    lines.append(f"    {INDEPENDENT} for ({index} column = 0; column < ({index})size{rank - 1}; ++column) {{")
    lines.append(f"    {index} i = row * ({index})size{rank - 1} + column;")
    step = {"c": "column", "s": "0"}
    for mode, (_, place, i, _) in zip(inner, operands, strict=True):
        lines.append(f"    long {place}{i} = {place}{i}_ + {step.get(mode, f'column * {place}_step{i}_{rank - 1}')};")
    return lines


def _places(modes: str, rank: int, index: str, operands: list[tuple[str, str, int, dtype]]) -> list[str]:
    """The C lines that compute where element ``i`` is in each operand."""
    if not rank:
        return [
            f"    long {place}{i} = {pointer}_offset{i}{' + i' if mode == 'c' else ''};"
            for mode, (pointer, place, i, _) in zip(modes, operands, strict=True)
        ]
    lines = [f"    {index} {place}{i}_ = 0;" for _, place, i, _ in operands] + [f"    {index} rest = i, d;"]
    for dim in reversed(range(rank)):
        if dim:
            lines.append(f"    d = rest % ({index})size{dim}; rest /= ({index})size{dim};")
        else:
            lines.append("    d = rest;")
        lines += [f"    {place}{i}_ += d * ({index}){place}_step{i}_{dim};" for _, place, i, _ in operands]
    return lines + [f"    long {place}{i} = {pointer}_offset{i} + {place}{i}_;" for pointer, place, i, _ in operands]
