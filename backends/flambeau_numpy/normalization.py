"""Layer and batch normalization, a few rows or channels at a time, and their gradients.

Statistics are computed, and returned, in float32 for 16-bit floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from flambeau_numpy.blocks import ROW_BLOCK, over_rows, row_blocks
from flambeau_numpy.elementwise import is_half
from flambeau_numpy.reduction import float_sum

Array = Any
Gradients = tuple[Array | None, Array | None, Array | None]

_ROWS = (0,)
_COLUMNS = (1,)


def _wide(array: Array | None) -> Array | None:
    """The array in a type in which statistics can be computed."""
    return array.astype(numpy.float32) if array is not None and is_half(array) else array


def _row_products(a: Array, b: Array) -> Array:
    """The inner products of the rows of two matrices, as a column."""
    return numpy.vecdot(a, b)[:, None]


# -- layer ---------------------------------------------------------------------------------------------------------


def native_layer_norm(
    input: Array, normalized_shape: tuple[int, ...], weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """``(x - mean) * rstd * weight + bias`` over the last dimensions, the mean and the rstd (of size 1 there)."""
    shape = input.shape
    width = math.prod(normalized_shape)
    rows = _wide(input).reshape(-1, width)
    scale = None if weight is None else _wide(weight).reshape(-1)
    shift = None if bias is None else _wide(bias).reshape(-1)
    if input.size <= ROW_BLOCK:
        out, mean, rstd = _normalized_rows(rows, scale, shift, eps)
    else:
        out, mean, rstd = (numpy.empty((len(rows), n), rows.dtype) for n in (width, 1, 1))
        for part in row_blocks(*rows.shape):
            out[part], mean[part], rstd[part] = _normalized_rows(rows[part], scale, shift, eps)
    kept = shape[: len(shape) - len(normalized_shape)] + (1,) * len(normalized_shape)
    return out.reshape(shape).astype(input.dtype, copy=False), mean.reshape(kept), rstd.reshape(kept)


def _normalized_rows(rows: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    width = rows.shape[1]
    mean = float_sum(rows, _COLUMNS, True)
    numpy.divide(mean, width, mean)
    out = numpy.subtract(rows, mean)
    rstd = _row_products(out, out)
    numpy.divide(rstd, width, rstd)
    numpy.add(rstd, eps, rstd)
    numpy.sqrt(rstd, rstd)
    numpy.reciprocal(rstd, rstd)
    numpy.multiply(out, rstd, out)
    if weight is not None:
        numpy.multiply(out, weight, out)
    if bias is not None:
        numpy.add(out, bias, out)
    return out, mean, rstd


def native_layer_norm_backward(
    g: Array,
    input: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None,
    normalized_shape: tuple[int, ...],
    needs: tuple[bool, bool, bool],
) -> Gradients:
    """The cotangents of input, weight and bias, each None where it is not needed."""
    width = math.prod(normalized_shape)
    rows = _wide(g).reshape(-1, width)
    given = _wide(input).reshape(-1, width)
    mean, rstd = mean.reshape(-1, 1), rstd.reshape(-1, 1)
    scale = None if weight is None else _wide(weight).reshape(-1)
    gi = numpy.empty(given.shape, given.dtype) if needs[0] else None
    gw = numpy.zeros(width, given.dtype) if needs[1] else None
    for part in row_blocks(*given.shape):
        normal = numpy.subtract(given[part], mean[part])
        numpy.multiply(normal, rstd[part], normal)
        if gw is not None:
            gw += float_sum(numpy.multiply(rows[part], normal), _ROWS, False)
        if gi is not None:
            _layer_norm_input(rows[part], normal, rstd[part], scale, gi[part])
    gb = float_sum(rows, _ROWS, False) if needs[2] else None
    return (
        None if gi is None else gi.reshape(input.shape).astype(input.dtype, copy=False),
        None if gw is None else gw.reshape(normalized_shape).astype(input.dtype, copy=False),
        None if gb is None else gb.reshape(normalized_shape).astype(g.dtype, copy=False),
    )


def _layer_norm_input(g: Array, normal: Array, rstd: Array, weight: Array | None, out: Array) -> None:
    """Write ``(h - mean(h) - normal * mean(h * normal)) * rstd`` with ``h = g * weight`` into ``out``."""
    width = normal.shape[1]
    inner = g if weight is None else numpy.multiply(g, weight)
    along = _row_products(inner, normal)
    numpy.divide(along, width, along)
    average = float_sum(inner, _COLUMNS, True)
    numpy.divide(average, width, average)
    numpy.multiply(normal, along, normal)
    numpy.add(normal, average, normal)
    numpy.subtract(inner, normal, out)
    numpy.multiply(out, rstd, out)


# -- batch ---------------------------------------------------------------------------------------------------------


def _planes(array: Array) -> Array:
    """(N, C, ...) as (N, C, size), in float32 or wider."""
    return numpy.ascontiguousarray(_wide(array)).reshape(array.shape[0], array.shape[1], math.prod(array.shape[2:]))


_ALL_BUT_CHANNELS = (0, 2)


def _channel_sums(planes: Array) -> Array:
    return float_sum(planes, _ALL_BUT_CHANNELS, False)


def _channel_products(a: Array, b: Array) -> Array:
    """The inner products of what belongs to each channel."""
    if a.shape[2] == 1:
        return numpy.einsum("nc,nc->c", a[:, :, 0], b[:, :, 0])
    return float_sum(numpy.vecdot(a, b), _ROWS, False)


def native_batch_norm(
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

    Args:
        running_mean, running_var: in training they are moved, in place, by ``momentum`` towards the batch's mean and
            unbiased variance; otherwise they are the statistics.
    """
    planes = _planes(input)
    samples, channels, size = planes.shape
    count = samples * size
    out = numpy.empty(planes.shape, planes.dtype)
    mean: Array = numpy.empty(channels, planes.dtype) if training else _wide(running_mean).copy()
    var: Array = numpy.empty(channels, planes.dtype) if training else _wide(running_var)
    rstd = numpy.empty(channels, planes.dtype)
    scale, shift = _wide(weight), _wide(bias)

    def work(part: slice) -> None:
        x, target, rate = planes[:, part], out[:, part], rstd[part]
        if training:
            numpy.divide(_channel_sums(x), count, mean[part])
        numpy.subtract(x, mean[part, None], target)
        if training:
            numpy.divide(_channel_products(target, target), count, var[part])
        numpy.add(var[part], eps, rate)
        numpy.sqrt(rate, rate)
        numpy.reciprocal(rate, rate)
        numpy.multiply(target, (rate if scale is None else numpy.multiply(rate, scale[part]))[:, None], target)
        if shift is not None:
            numpy.add(target, shift[part, None], target)

    over_rows(work, channels, count)
    if training:
        if running_mean is not None:
            _move(running_mean, mean, momentum)
        if running_var is not None:
            _move(running_var, var * (count / max(count - 1, 1)), momentum)
    return out.reshape(input.shape).astype(input.dtype, copy=False), mean, rstd


def _move(running: Array, value: Array, momentum: float) -> None:
    numpy.multiply(running, 1 - momentum, running)
    running += (value * momentum).astype(running.dtype, copy=False)


def native_batch_norm_backward(
    g: Array,
    input: Array,
    weight: Array | None,
    save_mean: Array,
    save_rstd: Array,
    training: bool,
    needs: tuple[bool, bool, bool],
) -> Gradients:
    """The cotangents of input, weight and bias, each None where it is not needed.

    Args:
        training: whether the statistics depend on the input.
    """
    cotangent = _planes(g)
    samples, channels, size = cotangent.shape
    count = samples * size
    through = needs[0] and training
    x = _planes(input) if needs[1] or through else None
    gi = numpy.empty(cotangent.shape, cotangent.dtype) if needs[0] else None
    gw, gb = (numpy.empty(channels, cotangent.dtype) if needed else None for needed in needs[1:])
    scale = save_rstd if weight is None else numpy.multiply(save_rstd, _wide(weight))

    def work(part: slice) -> None:
        given, rate = cotangent[:, part], save_rstd[part]
        if needs[2] or through:
            total = _channel_sums(given)
            if gb is not None:
                gb[part] = total
        if x is not None:
            centered = numpy.subtract(x[:, part], save_mean[part, None])
            along = numpy.multiply(_channel_products(given, centered), rate)  # sum of g * normal
            if gw is not None:
                gw[part] = along
        if gi is None:
            return
        target = gi[:, part]
        if training:
            # (g - mean(g) - normal * mean(g * normal)) * scale, the factors of a channel put together first
            numpy.multiply(centered, (along * rate / count)[:, None], centered)
            numpy.add(centered, (total / count)[:, None], centered)
            given = numpy.subtract(given, centered, centered)
        numpy.multiply(given, scale[part, None], target)

    over_rows(work, channels, count)
    affine = input.dtype if weight is None else weight.dtype
    return (
        None if gi is None else gi.reshape(input.shape).astype(input.dtype, copy=False),
        None if gw is None else gw.astype(affine, copy=False),
        None if gb is None else gb.astype(affine, copy=False),
    )


KERNELS: dict[str, Callable[..., Any]] = {
    "native_layer_norm": native_layer_norm,
    "native_layer_norm_backward": native_layer_norm_backward,
    "native_batch_norm": native_batch_norm,
    "native_batch_norm_backward": native_batch_norm_backward,
}
