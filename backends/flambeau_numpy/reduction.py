"""Kernels that reduce dimensions: sums, products, extremes, and running sums.

``dim`` is a tuple of non-negative dimensions. 16-bit floats are added up in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from flambeau_numpy.constants import constant
from flambeau_numpy.elementwise import is_half
from flambeau_numpy.threads import over_parts

Array = Any
DType = Any

_INT64 = numpy.dtype(numpy.int64)
_FLOAT32 = numpy.dtype(numpy.float32)

# -- sums ----------------------------------------------------------------------------------------------------------

# The sum along rows or columns is a product with a vector of ones: BLAS does it 4 to 9 times as fast as
# `numpy.add.reduce`. Long rows go to NumPy, whose pairwise order loses less to rounding.
_LONGEST = 8192
_ONES = {"f": numpy.ones(_LONGEST, numpy.float32), "d": numpy.ones(_LONGEST, numpy.float64)}
# BLAS uses threads for larger matrices, which gains little here and, where the processor is busy, costs milliseconds.
_LARGEST = 1 << 18
_PIECE = 2048


def sum(input: Array, dim: tuple[int, ...], keepdim: bool = False, dtype: DType = None) -> Array:
    """The sum over ``dim``; of bools and integers in int64 unless ``dtype`` says otherwise."""
    own = input.dtype
    if dtype is None:
        if own.char in "fd":
            return float_sum(input, dim, keepdim)
        accumulated = result = _INT64 if own.kind in "biu" else own
    else:
        accumulated = result = dtype.numpy
    if result.char in "eE":
        accumulated = _FLOAT32
    total = numpy.add.reduce(input, dim, accumulated, None, keepdim)
    return total if accumulated is result else total.astype(result)


def float_sum(input: Array, dim: tuple[int, ...], keepdim: bool = False) -> Array:
    """:func:`sum` of float32 or float64 in their own dtype."""
    ndim = input.ndim
    reduced = len(dim)
    size = input.size
    if reduced == ndim and size <= _PIECE and not keepdim:
        return input.ravel().dot(_ONES[input.dtype.char][:size])
    if size < 64 or reduced == 0 or not input.flags.c_contiguous:
        return numpy.add.reduce(input, dim, None, None, keepdim)
    shape = input.shape
    ones = _ONES[input.dtype.char]
    result = None
    if dim == _RANGES[ndim - reduced][ndim]:
        count = math.prod(shape[ndim - reduced :])
        if reduced == ndim:
            result = _whole_sum(input.reshape(-1), ones)
        elif 0 < count <= _LONGEST:
            result = _row_sums(input.reshape(-1, count), ones)
    elif dim == _RANGES[0][reduced]:
        count = math.prod(shape[:reduced])
        if 0 < count <= _LONGEST and input.size <= _LARGEST:
            result = ones[:count].dot(input.reshape(count, -1))
    elif dim[0] == 0 and dim[1:] == _RANGES[2][ndim]:  # all but the channels of an image
        planes = float_sum(input, dim[1:], False)
        result = float_sum(planes, (0,), False)
    if result is None:
        return numpy.add.reduce(input, dim, None, None, keepdim)
    if keepdim:
        return result.reshape([1 if d in dim else n for d, n in enumerate(shape)])
    return result if len(shape) - reduced < 2 else result.reshape([n for d, n in enumerate(shape) if d not in dim])


def _row_sums(matrix: Array, ones: Array) -> Array:
    rows, width = matrix.shape
    if matrix.size <= _LARGEST:
        return matrix.dot(ones[:width])
    result = numpy.empty(rows, matrix.dtype)

    def work(part: slice) -> None:
        matrix[part].dot(ones[:width], result[part])

    over_parts(work, rows, _LARGEST // width, width)
    return result


def _whole_sum(flat: Array, ones: Array) -> Array:
    """The sum of a 1-D array: of the sums of pieces, where it is long."""
    count = len(flat)
    if count <= _PIECE:
        return flat.dot(ones[:count])
    whole = count // _PIECE * _PIECE
    total = numpy.add.reduce(_row_sums(flat[:whole].reshape(-1, _PIECE), ones))
    return total if whole == count else total + flat[whole:].dot(ones[: count - whole])


# _RANGES[a][b] is tuple(range(a, b)), made once: comparing with it is cheaper than making it.
_RANGES = [[tuple(range(a, b)) for b in range(65)] for a in range(65)]


def mean(input: Array, dim: tuple[int, ...], keepdim: bool = False, dtype: DType = None) -> Array:
    """The mean over ``dim``; NaN of nothing.

    Raises:
        RuntimeError: for bools and integers without a floating-point ``dtype``.
    """
    if dtype is None:
        if input.dtype.kind in "biu":
            raise RuntimeError(
                "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
                f"Got: {input.dtype}"
            )
        if input.dtype.char in "fd":
            total = float_sum(input, dim, keepdim)
            return _divided(total, _count(input.shape, dim))
    elif input.dtype != dtype.numpy:
        input = input.astype(dtype.numpy)
    accumulated = _FLOAT32 if is_half(input) else input.dtype
    total = numpy.add.reduce(input, dim, accumulated, None, keepdim)
    return _divided(total, _count(input.shape, dim)).astype(input.dtype, copy=False)


def _count(shape: tuple[int, ...], dim: tuple[int, ...]) -> int:
    return math.prod(shape) if len(dim) == len(shape) else math.prod([shape[d] for d in dim])


def _divided(total: Array, count: int) -> Array:
    """``total / count``, in place where it is an array; NaN when there was nothing."""
    if count == 0:
        return numpy.multiply(total, numpy.nan)
    if total.__class__ is numpy.ndarray and total.shape:
        return numpy.divide(total, constant(count, total.dtype), total)
    return total / count


def prod(input: Array, dim: tuple[int, ...], keepdim: bool = False, dtype: DType = None) -> Array:
    """The product over ``dim``; of bools and integers in int64 unless ``dtype`` says otherwise."""
    if dtype is not None:
        result = dtype.numpy
    else:
        result = _INT64 if input.dtype.kind in "biu" else input.dtype
    accumulated = _FLOAT32 if result.char in "eE" else result
    total = numpy.multiply.reduce(input, dim, accumulated, None, keepdim)
    return total if accumulated is result else total.astype(result)


# -- extremes and truth --------------------------------------------------------------------------------------------

# Rows shorter than this are turned into columns first: a NumPy reduction takes 40 ns a row however short it is.
_SHORT_ROW = 32


def _extreme(name: str, ufunc: numpy.ufunc) -> Callable[..., Any]:
    reduce = ufunc.reduce

    def extreme(input: Array, dim: tuple[int, ...], keepdim: bool = False) -> Array:
        shape = input.shape
        if len(dim) == 1 and len(shape) == 2 and dim[0] == 1 and shape[1] < _SHORT_ROW < shape[0]:
            input = input.copy("F")
        return reduce(input, dim, None, None, keepdim)

    extreme.__name__ = name
    extreme.__doc__ = f"``numpy.{ufunc.__name__}.reduce``: NaN where there is one."
    return extreme


amax = _extreme("amax", numpy.maximum)
amin = _extreme("amin", numpy.minimum)


def all(input: Array, dim: tuple[int, ...], keepdim: bool = False) -> Array:
    """Whether every element along ``dim`` is true; a bool, of uint8 a uint8."""
    return _truth(input, numpy.logical_and.reduce(input, dim, None, None, keepdim))


def any(input: Array, dim: tuple[int, ...], keepdim: bool = False) -> Array:
    """Whether some element along ``dim`` is true; a bool, of uint8 a uint8."""
    return _truth(input, numpy.logical_or.reduce(input, dim, None, None, keepdim))


def _truth(input: Array, result: Array) -> Array:
    return result.astype(numpy.uint8) if input.dtype.char == "B" else result


def _extreme_position(name: str) -> Callable[..., Array]:
    def position(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
        if input.shape == () and dim is not None:
            return numpy.zeros((), numpy.int64)
        method = getattr(input, name)
        if dim is None:
            found = method()
            return numpy.reshape(found, (1,) * len(input.shape)) if keepdim else found
        return method(dim, None, keepdims=keepdim)

    position.__name__ = name
    position.__doc__ = f"``numpy.{name}``: the first of equal elements, or the first NaN."
    return position


argmax = _extreme_position("argmax")
argmin = _extreme_position("argmin")


# -- running -------------------------------------------------------------------------------------------------------


def _running(name: str, ufunc: numpy.ufunc) -> Callable[..., Array]:
    def running(input: Array, dim: int, dtype: DType = None) -> Array:
        if dtype is not None:
            result = dtype.numpy
        else:
            result = _INT64 if input.dtype.kind in "biu" else input.dtype
        if input.shape == ():
            return input.astype(result)
        accumulated = _FLOAT32 if result.char in "eE" else result
        return ufunc.accumulate(input, dim, accumulated).astype(result, copy=False)

    running.__name__ = name
    running.__doc__ = f"``numpy.{ufunc.__name__}.accumulate``; of bools and integers in int64."
    return running


cumsum = _running("cumsum", numpy.add)
cumprod = _running("cumprod", numpy.multiply)

KERNELS: dict[str, Callable[..., Any]] = {
    "sum": sum,
    "mean": mean,
    "prod": prod,
    "amax": amax,
    "amin": amin,
    "all": all,
    "any": any,
    "argmax": argmax,
    "argmin": argmin,
    "cumsum": cumsum,
    "cumprod": cumprod,
}
