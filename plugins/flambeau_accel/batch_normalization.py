"""Batch normalization, with its gradient.

Put together from sums of rows and single passes (:mod:`~flambeau_accel.chain`), which take a tenth to a half of the
time of oneDNN's own batch normalization where, as here, the places of a channel lie side by side, not the channels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

import numpy

from flambeau_accel import chain
from flambeau_accel.chain import (
    ADD,
    FLOAT,
    MULTIPLY,
    SQUARE,
    add_chain,
    add_sums,
    added_up,
    channel_sums,
    dense,
    row_width,
)
from flambeau_accel.primitive import Operand, Plan, Runtime, contiguous, plan_for

Array = Any
Shape = tuple[int, int, int]  # samples, channels, places
Kernel = Callable[..., Any]
Gradients = tuple[Array | None, Array | None, Array | None]

#: Elements from which on this is faster than NumPy.
WORTHWHILE = 16384

#: Places from which on the sums of rows are worth their calls. At 1 oneDNN would take the channels' numbers for one.
LEAST_PLACES = 8

#: Bytes of products that are summed up at a time, while they are in the cache.
CHUNK = 2 << 20


def _shape(input: Array) -> Shape:
    samples, channels = input.shape[:2]
    return samples, channels, prod(input.shape[2:])


def _served(input: Array, *others: Array | None) -> bool:
    if input.size < max(WORTHWHILE, 1) or input.dtype != FLOAT or _shape(input)[2] < LEAST_PLACES:
        return False
    return all(array is None or array.dtype == FLOAT for array in others)


def native_batch_norm(
    fallback: Kernel,
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Array, Array, Array]:
    """``(x - mean) * rstd * weight + bias`` for each channel (dimension 1), the mean and the rstd, each (C,).

    In training, ``running_mean`` and ``running_var`` are moved, in place, by ``momentum`` towards the statistics.
    """
    if not _served(input, weight, bias, running_mean, running_var):
        return fallback(input, weight, bias, running_mean, running_var, training, momentum, eps)
    input = contiguous(input)
    shape = _shape(input)
    count = shape[0] * shape[2]
    if training:
        mean = channel_sums(input, shape) / numpy.float32(count)
        variance = added_up(_products(input, -mean, shape)) / numpy.float32(count)
        _move(running_mean, mean, momentum)
        _move(running_var, variance * numpy.float32(count / max(count - 1, 1)), momentum)
    else:
        mean, variance = running_mean.copy(), running_var  # type: ignore[union-attr]
    rstd = numpy.reciprocal(numpy.sqrt(variance + numpy.float32(eps)))
    scale = rstd if weight is None else rstd * weight
    out = numpy.empty(input.shape, FLOAT)
    arrays = [input, out, -mean, scale]
    if bias is not None:
        arrays.append(contiguous(bias))
    plan_for(("batch norm", shape, len(arrays)), partial(_forward_plan, shape, bias is not None)).run(*arrays)
    return out, mean, rstd


def native_batch_norm_backward(
    fallback: Kernel,
    g: Array,
    input: Array,
    weight: Array | None,
    save_mean: Array,
    save_rstd: Array,
    training: bool,
    needs: tuple[bool, bool, bool],
) -> Gradients:
    """The cotangents of input, weight and bias, each None where it is not needed."""
    if not needs[0] or not _served(input, g, weight, save_mean, save_rstd):
        return fallback(g, input, weight, save_mean, save_rstd, training, needs)
    g, input = contiguous(g), contiguous(input)
    shape = _shape(input)
    count = numpy.float32(shape[0] * shape[2])
    scale = contiguous(save_rstd if weight is None else save_rstd * weight)
    gi = numpy.empty(input.shape, FLOAT)
    total = along = None
    if training or needs[2]:
        total = channel_sums(g, shape)
    if training or needs[1]:
        along = added_up(_products(input, -save_mean, shape, g)) * save_rstd  # sum of g * normal
    if training:
        # (g - mean(g) - normal * mean(g * normal)) * scale
        factors = -save_mean, along * save_rstd / -count, total / -count, scale  # type: ignore[operator]
        plan_for(("batch norm backward", shape), partial(_backward_plan, shape)).run(input, g, gi, *factors)
    else:
        plan_for(("batch norm scale", shape), partial(_scale_plan, shape)).run(g, gi, scale)
    return gi, along if needs[1] else None, total if needs[2] else None


def _move(running: Array | None, value: Array, momentum: float) -> None:
    if running is not None:
        numpy.multiply(running, 1 - momentum, running)
        running += value * momentum


# -- sums ------------------------------------------------------------------------------------------------------------


def _products(array: Array, minus_mean: Array, shape: Shape, g: Array | None = None) -> Array:
    """Of the distances from the mean times ``g``, or squared where there is no ``g``."""
    sums = numpy.empty((*shape[:2], shape[2] // row_width(shape[2], chain.ROW)), FLOAT)
    others = () if g is None else (g,)
    plan = plan_for(("channel products", shape, bool(others)), partial(_products_plan, shape, bool(others)))
    plan.run(array, minus_mean, sums, *others)
    return sums


def _products_plan(shape: Shape, multiplied: bool, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    samples, channels, places = shape
    width = row_width(places, chain.ROW)
    rows = channels * places // width  # of a sample
    limit = max(1, CHUNK // (4 * channels * places))
    count = max(n for n in range(1, min(samples, limit) + 1) if samples % n == 0)
    chunk, flat = (count, channels, places), (count * rows, width)
    array, mean = plan.operand(shape, FLOAT), plan.operand((1, channels, 1), FLOAT)
    sums = plan.operand((samples * rows, 1), FLOAT)
    g = plan.operand(shape, FLOAT) if multiplied else None
    at = plan.room(4 * prod(chunk))
    products, in_rows = (plan.inner(dense(plan, size), at) for size in (chunk, flat))
    for start in range(0, samples, count):

        def part(operand: Operand, size: tuple[int, ...], step: int, start: int = start) -> Operand:
            return plan.part(operand, dense(plan, size), start * step * 4)

        other = (SQUARE, None) if g is None else (MULTIPLY, part(g, chunk, channels * places))
        add_chain(plan, part(array, chunk, channels * places), [(ADD, mean), other], products)
        add_sums(plan, in_rows, part(sums, (count * rows, 1), rows))
    return plan


# -- single passes ---------------------------------------------------------------------------------------------------


def _forward_plan(shape: Shape, biased: bool, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    source, target = plan.operand(shape, FLOAT), plan.operand(shape, FLOAT)
    kinds = (ADD, MULTIPLY, ADD) if biased else (ADD, MULTIPLY)
    add_chain(plan, source, [(kind, plan.operand((1, shape[1], 1), FLOAT)) for kind in kinds], target)
    return plan


def _backward_plan(shape: Shape, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    source, g, target = (plan.operand(shape, FLOAT) for _ in range(3))
    mean, factor, average, scale = (plan.operand((1, shape[1], 1), FLOAT) for _ in range(4))
    steps = [(ADD, mean), (MULTIPLY, factor), (ADD, g), (ADD, average), (MULTIPLY, scale)]
    add_chain(plan, source, steps, target)
    return plan


def _scale_plan(shape: Shape, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    source, target = plan.operand(shape, FLOAT), plan.operand(shape, FLOAT)
    add_chain(plan, source, [(MULTIPLY, plan.operand((1, shape[1], 1), FLOAT))], target)
    return plan


KERNELS: dict[str, Kernel] = {
    "native_batch_norm": native_batch_norm,
    "native_batch_norm_backward": native_batch_norm_backward,
}
