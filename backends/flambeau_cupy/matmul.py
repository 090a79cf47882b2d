"""Products of matrices, by cuBLAS, whatever way the matrices lie in memory.

16-bit floats are multiplied and added up in float32. float32 is rounded to TF32 on its way into the tensor cores where
``flambeau.backends.cuda.matmul.allow_tf32`` or ``flambeau.set_float32_matmul_precision`` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import cupy
import numpy
from cupy.cuda import runtime
from cupy_backends.cuda.libs import cublas

from flambeau.backends.cuda import matmul as switches
from flambeau_array.matmul import linear_mismatch, mismatch

Array = Any
Shape = tuple[int, ...]

_TYPES = {
    "e": runtime.CUDA_R_16F, "E": runtime.CUDA_R_16BF, "f": runtime.CUDA_R_32F, "d": runtime.CUDA_R_64F,
    "F": runtime.CUDA_C_32F, "D": runtime.CUDA_C_64F,
}  # fmt: skip

# cublasComputeType_t, cublasOperation_t, cublasGemmAlgo_t
_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_32F_FAST_TF32 = 68, 70, 77
_AS_IT_IS, _TRANSPOSED = 0, 1
_DEFAULT_ALGORITHM = -1


@lru_cache(maxsize=256)
def _number(value: float, kind: str) -> Any:
    """A number on the host in the type in which a dtype's products are added up."""
    return numpy.array(value, {"e": "f", "E": "f"}.get(kind, kind))


class _Matrix:
    """A matrix of a batch as cuBLAS is told of it: column by column, so that ours are seen transposed.

    Attributes:
        array: what holds it, a copy where the strides would not do.
        transposed: whether the columns (not the rows) lie in one piece.
        leading: elements from a row (a column) to the next.
    """

    __slots__ = ("array", "leading", "transposed")

    def __init__(self, array: Array) -> None:
        rows, columns = array.shape[-2:]
        down, along = [step // array.itemsize for step in array.strides[-2:]]
        if (along == 1 or columns == 1) and (down >= max(columns, 1) or rows == 1):
            self.transposed, self.leading = False, max(down if rows > 1 else columns, 1)
        elif (down == 1 or rows == 1) and (along >= max(rows, 1) or columns == 1):
            self.transposed, self.leading = True, max(along if columns > 1 else rows, 1)
        else:
            array = array.copy()
            self.transposed, self.leading = False, max(columns, 1)
        self.array = array


def _batch_stride(array: Array, batch: Shape) -> int | None:
    """The elements from a matrix to the next over all batch dimensions, None where there is no such number."""
    step = None
    for size, stride in zip(reversed(batch), reversed(array.strides[:-2]), strict=True):
        if size == 1:
            continue
        own = stride // array.itemsize
        if step is None:
            step, covered = own, size
        elif own != step * covered:
            return None
        else:
            covered *= size
    return step or 0


def multiply(a: Array, b: Array, out: Array, factor: float = 1.0, add: bool = False) -> None:
    """``out = factor * a @ b``, or what was there plus that, for (..., m, k), (..., k, n) of one batch shape.

    Args:
        a, b: of one dtype.
        out: (..., m, n), contiguous matrices; of the operands' dtype, or float32 for operands of 16 bits.
    """
    m, n = out.shape[-2:]
    k = a.shape[-1]
    batch = out.shape[:-2]
    left, right = _Matrix(a), _Matrix(b)
    steps = [_batch_stride(matrix.array, batch) for matrix in (left, right)]
    for i, matrix in enumerate((left, right)):
        if steps[i] is None:
            matrix.__init__(matrix.array.copy())  # type: ignore[misc]
            steps[i] = matrix.array.shape[-2] * matrix.array.shape[-1]
    kind, own = out.dtype.char, a.dtype.char
    alpha, beta = _number(factor, kind), _number(float(add), kind)
    if kind in "dD":
        compute = _COMPUTE_64F
    else:
        compute = _COMPUTE_32F_FAST_TF32 if kind in "fF" and switches.allow_tf32 else _COMPUTE_32F
    operations = [_TRANSPOSED if matrix.transposed else _AS_IT_IS for matrix in (left, right)]
    # Column by column, out^T = b^T a^T; the transposed matrices are what ours look like.
    cublas.gemmStridedBatchedEx(
        cupy.cuda.get_cublas_handle(), operations[1], operations[0], n, m, k, alpha.ctypes.data,
        right.array.data.ptr, _TYPES[own], right.leading, steps[1],
        left.array.data.ptr, _TYPES[own], left.leading, steps[0], beta.ctypes.data,
        out.data.ptr, _TYPES[kind], n, _batch_stride(out, batch), prod(batch), compute, _DEFAULT_ALGORITHM,
    )  # fmt: skip


def matmul(input: Array, other: Array) -> Array:
    """The matrix product, with NumPy's rules for vectors and batches.

    Raises:
        RuntimeError: when the shapes do not fit, or an operand has no dimension.
    """
    shape, other_shape = input.shape, other.shape
    if not shape or not other_shape or shape[-1] != other_shape[-2 if len(other_shape) > 1 else 0]:
        raise mismatch(shape, other_shape)
    a = input[None] if len(shape) == 1 else input
    b = other[:, None] if len(other_shape) == 1 else other
    if len(b.shape) == 2 and len(a.shape) > 2 and a.flags.c_contiguous:
        a = a.reshape(prod(a.shape[:-1]), a.shape[-1])  # one product instead of a batch
    try:
        batch = numpy.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise mismatch(shape, other_shape) from None
    out = cupy.empty(
        (*_result_batch(shape, other_shape), *shape[-2:-1], *other_shape[-1:][: len(other_shape) - 1]), input.dtype
    )
    filled = out.reshape(*batch, a.shape[-2], b.shape[-1])
    if not out.size or not shape[-1]:
        out.fill(0)
    elif input.dtype.char in _TYPES:
        multiply(cupy.broadcast_to(a, (*batch, *a.shape[-2:])), cupy.broadcast_to(b, (*batch, *b.shape[-2:])), filled)
    else:
        filled[...] = cupy.matmul(a, b)
    return out


def _result_batch(shape: Shape, other_shape: Shape) -> Shape:
    return numpy.broadcast_shapes(shape[:-2], other_shape[:-2])


def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    """``input @ weight.T + bias``: (..., in), (out, in), (out,) -> (..., out); with a weight (in,) no out.

    Raises:
        RuntimeError: when the shapes do not fit.
    """
    if not input.shape or not weight.shape or input.shape[-1] != weight.shape[-1]:
        raise linear_mismatch(input, weight)
    result = matmul(input, weight.T)
    return result if bias is None else cupy.add(result, bias, out=result)


KERNELS: dict[str, Callable[..., Any]] = {"matmul": matmul, "linear": linear}
