"""Products of matrices, by BLAS."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from flambeau_array.matmul import linear_mismatch, mismatch
from flambeau_numpy.elementwise import is_half

Array = Any


def matmul(input: Array, other: Array) -> Array:
    """The matrix product, with NumPy's rules for vectors and batches. 16-bit floats are multiplied in float32.

    Raises:
        RuntimeError: when the shapes do not fit, or an operand has no dimension.
    """
    shape, other_shape = input.shape, other.shape
    if input.dtype.char in "eE":
        product = matmul(input.astype(numpy.float32), other.astype(numpy.float32))
        return product.astype(input.dtype)
    try:
        if len(other_shape) == 2 and shape:
            if len(shape) <= 2:
                return input.dot(other)  # less overhead than numpy.matmul, the same BLAS call
            if shape[-1] and input.flags.c_contiguous:
                # One large product instead of one for each matrix of the batch.
                return input.reshape(-1, shape[-1]).dot(other).reshape(*shape[:-1], other_shape[1])
        return numpy.matmul(input, other)
    except ValueError:
        raise mismatch(shape, other_shape) from None


# OpenBLAS packs a transposed weight anew for every product. For few rows it is faster to turn them than the weight:
# 8 rows by a weight of 512 x 512 take 90 us and not 168 (EPYC, float32), 32 rows 213 and not 284. Small products have
# kernels of their own in OpenBLAS and are left alone.
_FEW_ROWS = 32
_LARGE = 1 << 19  # multiplications


def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    """``input @ weight.T + bias``: (..., in), (out, in), (out,) -> (..., out); with a weight (in,) no out.

    Raises:
        RuntimeError: when the shapes do not fit.
    """
    if is_half(input):
        wide = [None if a is None else a.astype(numpy.float32) for a in (input, weight, bias)]
        return linear(*wide).astype(input.dtype)
    shape = input.shape
    try:
        rows = input if len(shape) <= 2 else input.reshape(-1 if shape[-1] else math.prod(shape[:-1]), shape[-1])
        if len(shape) > 1 < weight.ndim and 1 < len(rows) <= _FEW_ROWS and len(rows) * weight.size >= _LARGE:
            result = numpy.ascontiguousarray(weight.dot(numpy.ascontiguousarray(rows.T)).T)
        else:
            result = rows.dot(weight.T)
    except ValueError:
        raise linear_mismatch(input, weight) from None
    if bias is not None:
        result = numpy.add(result, bias, result) if result.shape else numpy.add(result, bias)
    return result if len(shape) <= 2 else result.reshape(shape[:-1] + weight.shape[:-1])


KERNELS: dict[str, Callable[..., Any]] = {"matmul": matmul, "linear": linear}
