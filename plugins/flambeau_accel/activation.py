"""Activation functions and softmax, for arrays that are large enough to pay for the call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isfinite, prod
from typing import Any

import numpy

from flambeau_accel.chain import AT_MOST, EQUAL, FLOAT, MULTIPLY, add_chain, add_sums, dense, row_width
from flambeau_accel.primitive import (
    DATA_TYPES,
    DIFF_DST,
    DIFF_SRC,
    DST,
    FORWARD_TRAINING,
    SRC,
    Plan,
    Primitive,
    Runtime,
    contiguous,
    made,
    plan_for,
)

Array = Any
Kernel = Callable[..., Any]

#: Elements from which on oneDNN is faster than NumPy in spite of the 5 µs that a call costs.
WORTHWHILE = 4096

# `dnnl_alg_kind_t`.
RELU, GELU_TANH, GELU_ERF = 0x20, 0x2B, 0x31
SOFTMAX, LOG_SOFTMAX = 0x30000, 0x30001


def _served(array: Array) -> bool:
    return array.size >= max(WORTHWHILE, 1) and array.dtype in DATA_TYPES and array.ndim > 0


# -- element by element ----------------------------------------------------------------------------------------------


def _forward(algorithm: int, alpha: float, input: Array) -> Array:
    input = contiguous(input)
    out = numpy.empty(input.shape, input.dtype)
    size = input.size
    key = "eltwise", algorithm, alpha, size, input.dtype
    plan_for(key, partial(_forward_plan, algorithm, alpha, size, input.dtype)).run(input, out)
    return out


def _forward_plan(algorithm: int, alpha: float, size: int, dtype: Any, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    source, target = plan.operand((size,), dtype), plan.operand((size,), dtype)
    description = made(
        runtime.lib.dnnl_eltwise_forward_primitive_desc_create,
        runtime.engine, FORWARD_TRAINING, algorithm, source.layout.handle, target.layout.handle, alpha, 0.0, None,
    )  # fmt: skip
    plan.add(Primitive(runtime, description), {SRC: source}, {DST: target})
    return plan


def _backward(algorithm: int, alpha: float, g: Array, input: Array) -> Array:
    g, input = contiguous(g), contiguous(input)
    out = numpy.empty(input.shape, input.dtype)
    key = "eltwise backward", algorithm, alpha, input.size, input.dtype
    plan_for(key, partial(_backward_plan, algorithm, alpha, input.size, input.dtype)).run(g, input, out)
    return out


def _backward_plan(algorithm: int, alpha: float, size: int, dtype: Any, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    g, source, target = (plan.operand((size,), dtype) for _ in range(3))
    hint = Primitive(
        runtime,
        made(
            runtime.lib.dnnl_eltwise_forward_primitive_desc_create,
            runtime.engine, FORWARD_TRAINING, algorithm, source.layout.handle, source.layout.handle, alpha, 0.0, None,
        ),
    )  # fmt: skip
    description = made(
        runtime.lib.dnnl_eltwise_backward_primitive_desc_create,
        runtime.engine, algorithm, target.layout.handle, g.layout.handle, source.layout.handle, alpha, 0.0,
        hint.description, None,
    )  # fmt: skip
    plan.add(Primitive(runtime, description), {DIFF_DST: g, SRC: source}, {DIFF_SRC: target})
    return plan


_GELU = {"none": GELU_ERF, "tanh": GELU_TANH}


def gelu(fallback: Kernel, input: Array, approximate: str = "none") -> Array:
    """``input * P(X <= input)``, X standard normal, or its approximation by tanh."""
    if not _served(input) or approximate not in _GELU:
        return fallback(input, approximate)
    return _forward(_GELU[approximate], 0.0, input)


def gelu_backward(fallback: Kernel, g: Array, input: Array, approximate: str) -> Array:
    """``g`` times the derivative of :func:`gelu`."""
    if not _served(input) or g.shape != input.shape or g.dtype != input.dtype:
        return fallback(g, input, approximate)
    return _backward(_GELU[approximate], 0.0, g, input)


def leaky_relu(fallback: Kernel, input: Array, negative_slope: float = 0.01) -> Array:
    """``input`` where it is positive, elsewhere ``negative_slope * input``."""
    return _forward(RELU, negative_slope, input) if _served(input) else fallback(input, negative_slope)


def leaky_relu_backward(fallback: Kernel, g: Array, input: Array, negative_slope: float) -> Array:
    """``g`` where ``input`` is positive, elsewhere ``negative_slope * g``."""
    if not _served(input) or g.shape != input.shape or g.dtype != input.dtype:
        return fallback(g, input, negative_slope)
    return _backward(RELU, negative_slope, g, input)


#: Elements from which on :func:`threshold_backward` is faster than NumPy's, which uses threads as well.
LARGE = 1 << 18

#: Elements that are computed, and then summed up while they are in the cache.
PART = 1 << 19


def threshold_backward(fallback: Kernel, g: Array, input: Array, threshold: float) -> Array:
    """``g`` where ``input > threshold`` or is NaN, elsewhere 0."""
    if input.size < max(LARGE, 2) or g.shape != input.shape or not input.dtype == g.dtype == FLOAT:
        return fallback(g, input, threshold)
    g, input = contiguous(g), contiguous(input)
    out = numpy.empty(input.shape, FLOAT)
    width = row_width(input.size)
    sums = numpy.empty(input.size // width, FLOAT)
    bounds = numpy.array((threshold, 0), FLOAT)
    plan_for(("threshold backward", input.size), partial(_threshold_plan, input.size, width)).run(
        g, input, out, sums, bounds
    )
    # A product makes NaN of 0 and infinity.
    return out if isfinite(numpy.add.reduce(sums)) else fallback(g, input, threshold)


def _threshold_plan(size: int, width: int, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    rows = size // width
    g, source, target = (plan.operand((rows, width), FLOAT) for _ in range(3))
    sums, bounds = plan.operand((rows, 1), FLOAT), plan.operand((2,), FLOAT)
    limit, zero = (plan.part(bounds, dense(plan, (1, 1)), offset) for offset in (0, 4))
    step = max(1, PART // width)
    for start in range(0, rows, step):
        count = min(step, rows - start)
        part = dense(plan, (count, width))
        inputs, given, out = (plan.part(whole, part, 4 * start * width) for whole in (source, g, target))
        add_chain(plan, inputs, [(AT_MOST, limit), (EQUAL, zero), (MULTIPLY, given)], out)
        add_sums(plan, out, plan.part(sums, dense(plan, (count, 1)), 4 * start))
    return plan


# -- softmax ---------------------------------------------------------------------------------------------------------


def softmax(algorithm: int) -> Kernel:
    """The kernel of ``softmax`` or ``log_softmax``."""

    def kernel(fallback: Kernel, input: Array, dim: int) -> Array:
        if not _served(input):
            return fallback(input, dim)
        input = contiguous(input)
        out = numpy.empty(input.shape, input.dtype)
        shape = _around(input.shape, dim)
        key = "softmax", algorithm, shape, input.dtype
        plan_for(key, partial(_softmax_plan, algorithm, shape, input.dtype)).run(input, out)
        return out

    return kernel


def softmax_backward(algorithm: int) -> Kernel:
    """The kernel of the gradient, from the result."""

    def kernel(fallback: Kernel, g: Array, result: Array, dim: int) -> Array:
        if not _served(result) or g.shape != result.shape or g.dtype != result.dtype:
            return fallback(g, result, dim)
        g, result = contiguous(g), contiguous(result)
        out = numpy.empty(result.shape, result.dtype)
        shape = _around(result.shape, dim)
        key = "softmax backward", algorithm, shape, result.dtype
        plan_for(key, partial(_softmax_backward_plan, algorithm, shape, result.dtype)).run(g, result, out)
        return out

    return kernel


def _around(shape: tuple[int, ...], dim: int) -> tuple[int, int, int]:
    """A shape with the dimensions before and after ``dim`` put together."""
    return prod(shape[:dim]), shape[dim], prod(shape[dim + 1 :])


def _softmax_description(runtime: Runtime, algorithm: int, source: Any, target: Any) -> Any:
    return made(
        runtime.lib.dnnl_softmax_forward_primitive_desc_create,
        runtime.engine, FORWARD_TRAINING, algorithm, source.layout.handle, target.layout.handle, 1, None,
    )  # fmt: skip


def _softmax_plan(algorithm: int, shape: tuple[int, ...], dtype: Any, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    source, target = plan.operand(shape, dtype), plan.operand(shape, dtype)
    primitive = Primitive(runtime, _softmax_description(runtime, algorithm, source, target))
    plan.add(primitive, {SRC: source}, {DST: target})
    return plan


def _softmax_backward_plan(algorithm: int, shape: tuple[int, ...], dtype: Any, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    g, result, target = (plan.operand(shape, dtype) for _ in range(3))
    hint = Primitive(runtime, _softmax_description(runtime, algorithm, result, result))
    description = made(
        runtime.lib.dnnl_softmax_backward_primitive_desc_create,
        runtime.engine, algorithm, target.layout.handle, g.layout.handle, result.layout.handle, 1, hint.description,
        None,
    )  # fmt: skip
    plan.add(Primitive(runtime, description), {DIFF_DST: g, DST: result}, {DIFF_SRC: target})
    return plan


KERNELS: dict[str, Kernel] = {
    "gelu": gelu,
    "gelu_backward": gelu_backward,
    "leaky_relu": leaky_relu,
    "leaky_relu_backward": leaky_relu_backward,
    "threshold_backward": threshold_backward,
    "softmax": softmax(SOFTMAX),
    "softmax_backward": softmax_backward(SOFTMAX),
    "log_softmax": softmax(LOG_SOFTMAX),
    "log_softmax_backward": softmax_backward(LOG_SOFTMAX),
}
