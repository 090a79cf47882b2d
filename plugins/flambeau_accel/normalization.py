"""Layer normalization, with its gradient.

oneDNN's statistics are the mean and the variance; the ops give the mean and ``1 / sqrt(variance + eps)``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy

from flambeau_accel.chain import FLOAT
from flambeau_accel.primitive import (
    BACKWARD,
    BACKWARD_DATA,
    DIFF_DST,
    DIFF_SCALE,
    DIFF_SHIFT,
    DIFF_SRC,
    DST,
    FORWARD_TRAINING,
    MEAN,
    SCALE,
    SHIFT,
    SRC,
    VARIANCE,
    Operand,
    Plan,
    Primitive,
    Runtime,
    contiguous,
    made,
    plan_for,
)

Array = Any
Kernel = Callable[..., Any]
Gradients = tuple[Array | None, Array | None, Array | None]

#: Elements from which on oneDNN is faster than NumPy.
WORTHWHILE = 4096

# `dnnl_normalization_flags_t`.
USE_SCALE, USE_SHIFT = 2, 4


def _served(input: Array, *others: Array | None) -> bool:
    # With bfloat16 the statistics would have another dtype than the input.
    if input.size < max(WORTHWHILE, 1) or input.dtype != FLOAT:
        return False
    return all(array is None or array.dtype == FLOAT for array in others)


def _flags(weight: Array | None, bias: Array | None) -> int:
    return USE_SCALE * (weight is not None) | USE_SHIFT * (bias is not None)


def _flat(array: Array) -> Array:
    return contiguous(array).reshape(-1)


def _rstd(variance: Array, eps: float) -> Array:
    numpy.add(variance, eps, variance)
    numpy.sqrt(variance, variance)
    return numpy.reciprocal(variance, variance)


def _variance(rstd: Array) -> Array:
    """What ``eps`` 0 makes the same ``rstd`` of."""
    return numpy.reciprocal(numpy.square(contiguous(rstd)))


def native_layer_norm(
    fallback: Kernel,
    input: Array,
    normalized_shape: tuple[int, ...],
    weight: Array | None,
    bias: Array | None,
    eps: float,
) -> tuple[Array, Array, Array]:
    """``(x - mean) * rstd * weight + bias`` over the last dimensions, the mean and the rstd (of size 1 there)."""
    if not _served(input, weight, bias):
        return fallback(input, normalized_shape, weight, bias, eps)
    input = contiguous(input)
    width = prod(normalized_shape)
    rows = input.size // width
    out = numpy.empty(input.shape, FLOAT)
    mean, variance = numpy.empty(rows, FLOAT), numpy.empty(rows, FLOAT)
    flags = _flags(weight, bias)
    key = "layer norm", rows, width, eps, flags
    plan = plan_for(key, partial(_layer_plan, rows, width, eps, flags))
    plan.run(input, out, mean, variance, *[_flat(a) for a in (weight, bias) if a is not None])
    kept = input.shape[: input.ndim - len(normalized_shape)] + (1,) * len(normalized_shape)
    return out, mean.reshape(kept), _rstd(variance, eps).reshape(kept)


def _layer_description(
    runtime: Runtime, source: Operand, target: Operand, statistics: Operand, eps: float, flags: int
) -> Any:
    return made(
        runtime.lib.dnnl_layer_normalization_forward_primitive_desc_create,
        runtime.engine, FORWARD_TRAINING, source.layout.handle, target.layout.handle, statistics.layout.handle, eps,
        flags, None,
    )  # fmt: skip


def _layer_plan(rows: int, width: int, eps: float, flags: int, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    source, target = plan.operand((rows, width), FLOAT), plan.operand((rows, width), FLOAT)
    mean, variance = plan.operand((rows,), FLOAT), plan.operand((rows,), FLOAT)
    inputs = {SRC: source, **_affine(plan, width, flags)}
    primitive = Primitive(runtime, _layer_description(runtime, source, target, mean, eps, flags))
    plan.add(primitive, inputs, {DST: target, MEAN: mean, VARIANCE: variance})
    return plan


def _affine(plan: Plan, width: int, flags: int) -> dict[int, Operand]:
    return {
        number: plan.operand((width,), FLOAT)
        for number, flag in ((SCALE, USE_SCALE), (SHIFT, USE_SHIFT))
        if flags & flag
    }


def native_layer_norm_backward(
    fallback: Kernel,
    g: Array,
    input: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None,
    normalized_shape: tuple[int, ...],
    needs: tuple[bool, bool, bool],
) -> Gradients:
    """The cotangents of input, weight and bias, each None where it is not needed."""
    if not needs[0] or not _served(input, g, weight):
        return fallback(g, input, mean, rstd, weight, normalized_shape, needs)
    g, input = contiguous(g), contiguous(input)
    width = prod(normalized_shape)
    rows = input.size // width
    flags = USE_SCALE * (weight is not None) | USE_SHIFT * needs[2]
    gi = numpy.empty(input.shape, FLOAT)
    arrays = [input, g, _flat(mean), _variance(rstd).reshape(-1), gi]
    gw = numpy.empty(normalized_shape, FLOAT) if weight is not None else None
    gb = numpy.empty(normalized_shape, FLOAT) if needs[2] else None
    arrays += [a for a in (None if weight is None else _flat(weight), gw, gb) if a is not None]
    key = "layer norm backward", rows, width, flags
    plan_for(key, partial(_layer_backward_plan, rows, width, flags)).run(*arrays)
    return gi, gw if needs[1] else None, gb


def _layer_backward_plan(rows: int, width: int, flags: int, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    source, g = plan.operand((rows, width), FLOAT), plan.operand((rows, width), FLOAT)
    mean, variance = plan.operand((rows,), FLOAT), plan.operand((rows,), FLOAT)
    target = plan.operand((rows, width), FLOAT)
    hint = Primitive(runtime, _layer_description(runtime, source, target, mean, 0.0, flags))
    description = made(
        runtime.lib.dnnl_layer_normalization_backward_primitive_desc_create,
        runtime.engine, BACKWARD if flags else BACKWARD_DATA, target.layout.handle, g.layout.handle,
        source.layout.handle, mean.layout.handle, 0.0, flags, hint.description, None,
    )  # fmt: skip
    inputs = {SRC: source, DIFF_DST: g, MEAN: mean, VARIANCE: variance}
    if flags & USE_SHIFT:
        inputs[SHIFT] = mean  # asked for, and not read
    outputs = {DIFF_SRC: target}
    if flags & USE_SCALE:
        inputs[SCALE] = plan.operand((width,), FLOAT)
        outputs[DIFF_SCALE] = plan.operand((width,), FLOAT)
    if flags & USE_SHIFT:
        outputs[DIFF_SHIFT] = plan.operand((width,), FLOAT)
    plan.add(Primitive(runtime, description), inputs, outputs)
    return plan


KERNELS: dict[str, Kernel] = {
    "native_layer_norm": native_layer_norm,
    "native_layer_norm_backward": native_layer_norm_backward,
}
