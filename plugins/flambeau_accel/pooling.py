"""Maximum and average pooling."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import isfinite, prod
from typing import Any

import numpy

from flambeau.ops.convolution import output_size
from flambeau_accel.chain import channel_sums
from flambeau_accel.primitive import (
    DST,
    FORWARD_TRAINING,
    SRC,
    WORKSPACE,
    Plan,
    Primitive,
    Runtime,
    contiguous,
    dims,
    made,
    plan_for,
)

Array = Any
Size = tuple[int, ...]
Kernel = Callable[..., Any]

#: Elements from which on oneDNN is faster than NumPy.
WORTHWHILE = 4096

#: ``dnnl_pooling_max``.
MAXIMUM = 0x1FF


def max_pool(
    fallback: Kernel,
    input: Array,
    kernel_size: Size,
    stride: Size,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
) -> tuple[Array, Array]:
    """The largest element of each window of (N, C, *sizes), and its flat index into the sizes."""
    window = kernel_size, stride, padding, dilation
    if not _served(input, kernel_size) or ceil_mode:
        return fallback(input, *window, ceil_mode)
    shape = input.shape[2:]
    counts = tuple([output_size(*entry) for entry in zip(shape, *window, strict=True)])
    if min(counts) < 1:
        return fallback(input, *window, ceil_mode)
    input = contiguous(input)
    # oneDNN passes over NaN and makes the lowest finite number of minus infinity: the sums of the input tell.
    if not isfinite(channel_sums(input, (*input.shape[:2], prod(shape))).sum()):
        return fallback(input, *window, ceil_mode)
    out = numpy.empty((*input.shape[:2], *counts), input.dtype)
    which = numpy.empty(out.shape, numpy.uint8)
    key = "max pool", input.shape, window
    plan_for(key, partial(_max_plan, input.shape, out.shape, window)).run(input, out, which)
    return out, _flat_indices(which, shape, counts, window)


def _served(input: Array, kernel_size: Size) -> bool:
    # With more than 256 places in a window the workspace would hold larger integers.
    return input.size >= max(WORTHWHILE, 1) and input.dtype == numpy.float32 and prod(kernel_size) <= 256


def _max_plan(source: Size, target: Size, window: tuple[Size, ...], runtime: Runtime) -> Plan:
    kernel, stride, padding, dilation = window
    after = [
        (c - 1) * s + d * (k - 1) + 1 - n - p for c, n, k, s, p, d in zip(target[2:], source[2:], *window, strict=True)
    ]
    plan = Plan(runtime)
    dtype = numpy.dtype(numpy.float32)
    x, y = plan.operand(source, dtype), plan.operand(target, dtype)
    description = made(
        runtime.lib.dnnl_pooling_forward_primitive_desc_create,
        runtime.engine, FORWARD_TRAINING, MAXIMUM, x.layout.handle, y.layout.handle, dims(stride), dims(kernel),
        dims([d - 1 for d in dilation]), dims(padding), dims(after), None,
    )  # fmt: skip
    primitive = Primitive(runtime, description)
    which = plan.operand_like(primitive.layout(WORKSPACE))
    plan.add(primitive, {SRC: x}, {DST: y, WORKSPACE: which})
    return plan


def _flat_indices(which: Array, shape: Size, counts: Size, window: tuple[Size, ...]) -> Array:
    """Flat indices into the plane from the numbers of the winners in their windows."""
    steps = [prod(shape[i + 1 :]) for i in range(len(shape))]
    places: Array = numpy.zeros((), numpy.int64)
    origins: Array = numpy.zeros((), numpy.int64)
    for k, s, p, d, c, step in zip(*window, counts, steps, strict=True):
        places = places[..., None] + numpy.arange(k) * (d * step)
        origins = origins[..., None] + (numpy.arange(c) * s - p) * step
    indices = places.reshape(-1).take(which)
    return numpy.add(indices, origins, indices)


KERNELS: dict[str, Kernel] = {"max_pool": max_pool}
