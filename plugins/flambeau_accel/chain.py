"""Chains of elementwise steps in one pass, and sums of rows: what kernels of several steps are put together from."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_void_p
from functools import cache, partial
from typing import Any

import numpy

from flambeau_accel.primitive import (
    DST,
    SRC,
    Layout,
    Operand,
    Plan,
    Primitive,
    Runtime,
    check,
    made,
    plan_for,
    row_major,
)

Array = Any

FLOAT = numpy.dtype(numpy.float32)

#: Elements of a row, which is summed in float32; the sums of rows are added up in double precision.
ROW = 2048

# `dnnl_alg_kind_t`.
ADD, MULTIPLY, AT_MOST, EQUAL = 0x1FFF0, 0x1FFF1, 0x1FFF8, 0x1FFFA  # comparisons give 1 and 0
SQUARE = 0x23
SUM = 0x2FFF4

#: The number of a step's second operand, the first step's and a later one's (``DNNL_ARG_ATTR_MULTIPLE_POST_OP``).
OTHER, LATER = 2, 32768

#: A step: what to do, and with what (nothing for SQUARE).
Step = tuple[int, Operand | None]


def add_chain(plan: Plan, source: Operand, steps: Sequence[Step], target: Operand) -> None:
    """Have ``target`` be ``source`` after the steps; the first one has an operand.

    The other operands have as many dimensions as ``source``; sizes of 1 are broadcast.
    """
    lib, runtime = plan.runtime.lib, plan.runtime
    (algorithm, first), *later = steps
    assert first is not None
    given = {SRC: source.memory, OTHER: first.memory, DST: target.memory}
    post_ops, attributes = made(lib.dnnl_post_ops_create), made(lib.dnnl_primitive_attr_create)
    try:
        for number, (kind, operand) in enumerate(later, 1):
            if operand is None:
                check(lib.dnnl_post_ops_append_eltwise(post_ops, kind, 0.0, 0.0), "dnnl_post_ops_append_eltwise")
            else:
                status = lib.dnnl_post_ops_append_binary(post_ops, kind, operand.layout.handle)
                check(status, "dnnl_post_ops_append_binary")
                given[LATER * number | OTHER] = operand.memory
        check(lib.dnnl_primitive_attr_set_post_ops(attributes, post_ops), "dnnl_primitive_attr_set_post_ops")
        ends: list[c_void_p] = [operand.layout.handle for operand in (source, first, target)]
        description = made(lib.dnnl_binary_primitive_desc_create, runtime.engine, algorithm, *ends, attributes)
    finally:
        lib.dnnl_post_ops_destroy(post_ops)
        lib.dnnl_primitive_attr_destroy(attributes)
    plan.step(Primitive(runtime, description), given)


@cache
def row_width(size: int, longest: int = ROW) -> int:
    """The length of rows into which to cut ``size`` elements: a divisor; all of them where no other is large enough."""
    width = max(width for width in range(1, min(size, longest) + 1) if size % width == 0)
    return size if width < max(2, longest // 32) else width


def dense(plan: Plan, shape: Sequence[int]) -> Layout:
    """The layout of a contiguous array of float32."""
    return Layout.of(plan.runtime, shape, FLOAT, row_major(shape))


def add_sums(plan: Plan, source: Operand, target: Operand) -> None:
    """Have ``target`` (rows, 1) be the sums of the rows of ``source`` (rows, width)."""
    runtime = plan.runtime
    description = made(
        runtime.lib.dnnl_reduction_primitive_desc_create,
        runtime.engine, SUM, source.layout.handle, target.layout.handle, 0.0, 0.0, None,
    )  # fmt: skip
    plan.step(Primitive(runtime, description), {SRC: source.memory, DST: target.memory})


def channel_sums(array: Array, shape: tuple[int, int, int]) -> Array:
    """The sums over samples and places of a contiguous array of samples, channels and places: (C,)."""
    width = row_width(shape[2], ROW)
    if width == 1:
        return added_up(array.reshape(shape))
    sums = numpy.empty((*shape[:2], shape[2] // width), FLOAT)
    plan_for(("sums of rows", sums.size, width), partial(_sums_plan, sums.size, width)).run(array, sums)
    return added_up(sums)


def added_up(sums: Array) -> Array:
    """Sums (N, C, parts) of parts of the channels as the channels' sums."""
    return numpy.add.reduce(sums, (0, 2), numpy.float64).astype(FLOAT)


def _sums_plan(rows: int, width: int, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    add_sums(plan, plan.operand((rows, width), FLOAT), plan.operand((rows, 1), FLOAT))
    return plan
