"""Products of matrices and of batches of them, a bias added on the way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from flambeau_accel.primitive import (
    BIAS,
    DATA_TYPES,
    DST,
    SRC,
    WEIGHTS,
    Layout,
    Plan,
    Primitive,
    Runtime,
    made,
    plan_for,
    row_major,
    strides_of,
)

Array = Any
Size = tuple[int, ...]
Kernel = Callable[..., Any]

#: Multiplications from which on oneDNN is faster than NumPy's BLAS in spite of the 5 µs that a call costs.
WORTHWHILE = 400_000

#: From this width on BLAS multiplies by a matrix that lies by rows faster than oneDNN does, which for some widths
#: (3072, 5120) needs three times as long.
WIDE = 1000


def matmul(fallback: Kernel, input: Array, other: Array) -> Array:
    """The matrix product of matrices or of equal batches of them; of a batch and a matrix as one large product."""
    if input.size * other.size < WORTHWHILE:  # not more multiplications than this
        return fallback(input, other)
    shape, other_shape = input.shape, other.shape
    if len(shape) < 2 or len(other_shape) < 2 or shape[-1] != other_shape[-2] or not _served(input, other):
        return fallback(input, other)
    if input.size * other_shape[-1] < max(WORTHWHILE, 1):
        return fallback(input, other)
    if other.__class__ is Packed and len(shape) == 2 and input.flags.c_contiguous and _plain(other):
        return other.multiplied(input)
    if len(other_shape) == 2 and other_shape[1] >= WIDE and other.flags.c_contiguous and input.size >= 64 * shape[-1]:
        return fallback(input, other)
    if len(other_shape) == 2 and len(shape) > 2 and input.flags.c_contiguous:
        return _product(input.reshape(-1, shape[-1]), other, None).reshape(*shape[:-1], other_shape[1])
    if shape[:-2] != other_shape[:-2] or not _plain(input) or not _plain(other):
        return fallback(input, other)
    return _product(input, other, None)


def linear(fallback: Kernel, input: Array, weight: Array, bias: Array | None = None) -> Array:
    """``input @ weight.T + bias``: (..., in), (out, in), (out,) -> (..., out)."""
    if input.size * weight.size < WORTHWHILE:
        return fallback(input, weight, bias)
    shape, sizes = input.shape, weight.shape
    if len(sizes) != 2 or len(shape) < 2 or shape[-1] != sizes[1] or not _served(input, weight):
        return fallback(input, weight, bias)
    if bias is not None and (bias.shape != sizes[:1] or not _served(input, bias)):
        return fallback(input, weight, bias)
    if input.size * sizes[0] < max(WORTHWHILE, 1):
        return fallback(input, weight, bias)
    rows = input.reshape(-1, shape[-1])
    if not _plain(rows) or not _plain(weight):
        return fallback(input, weight, bias)
    result = _product(rows, weight.T, bias)
    return result if len(shape) == 2 else result.reshape(*shape[:-1], sizes[0])


def _served(one: Array, other: Array) -> bool:
    return one.dtype in DATA_TYPES and one.dtype == other.dtype


def _plain(array: Array) -> bool:
    """Whether the matrices lie in memory by rows or by columns, and no two elements in one place."""
    *batch, rows, columns = strides_of(array)
    height, width = array.shape[-2:]
    by_rows = (columns == 1 or width == 1) and rows >= width
    by_columns = (rows == 1 or height == 1) and columns >= height
    return (by_rows or by_columns) and all(step > 0 for step in batch)


def _product(a: Array, b: Array, bias: Array | None) -> Array:
    out = numpy.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    ends = a.shape, strides_of(a), b.shape, strides_of(b)
    plan = plan_for(("matmul", a.dtype, ends, bias is not None), partial(_plan, ends, a.dtype, bias is not None))
    plan.run(*((a, b, out) if bias is None else (a, b, out, numpy.ascontiguousarray(bias))))
    return out


def _plan(ends: tuple[Size, ...], dtype: Any, biased: bool, runtime: Runtime) -> Plan:
    a, a_strides, b, b_strides = ends
    plan = Plan(runtime)
    inputs = {SRC: plan.operand(a, dtype, a_strides), WEIGHTS: plan.operand(b, dtype, b_strides)}
    out = plan.operand((*a[:-1], b[-1]), dtype)
    if biased:
        inputs[BIAS] = plan.operand((*(1,) * (len(a) - 1), b[-1]), dtype)
    description = made(
        runtime.lib.dnnl_matmul_primitive_desc_create,
        runtime.engine, inputs[SRC].layout.handle, inputs[WEIGHTS].layout.handle,
        inputs[BIAS].layout.handle if biased else None, out.layout.handle, None,
    )  # fmt: skip
    plan.add(Primitive(runtime, description), inputs, {DST: out})
    return plan


# -- one matrix, many products ---------------------------------------------------------------------------------------


class Packed(numpy.ndarray):
    """A matrix that is multiplied by many times, and what oneDNN has made of it: copies in the layouts of its choice.

    With 20 rows a product takes half of the time that it takes with the matrix as it is.
    """

    __array_priority__ = -1.0  # what NumPy makes of it is a plain array
    copies: dict[int, Array]

    def __array_finalize__(self, source: Any) -> None:
        self.copies = {}

    def multiplied(self, rows: Array) -> Array:
        """``rows @ self``, for contiguous rows."""
        ends = rows.shape, self.shape, strides_of(self)
        product = plan_for(("packed matmul", rows.dtype, ends), partial(_PackedProduct, ends, rows.dtype))
        copy = self.copies.get(len(rows))
        if copy is None:
            copy = self.copies[len(rows)] = numpy.empty(product.size, numpy.uint8)
            product.pack.run(self, copy)
        out = numpy.empty((len(rows), self.shape[1]), rows.dtype)
        product.run(rows, copy, out)
        return out


def for_products(fallback: Kernel, input: Array, rows: int) -> Array:
    """``input``, to be multiplied by often; large enough matrices are copied into oneDNN's layout at the first time."""
    if input.ndim != 2 or input.dtype not in DATA_TYPES or rows * input.size < max(WORTHWHILE, 1) or not _plain(input):
        return fallback(input, rows)
    return input.view(Packed)


class _PackedProduct(Plan):
    """The product of rows and a matrix in a layout that oneDNN chooses; :attr:`pack` brings it there."""

    def __init__(self, ends: tuple[Size, ...], dtype: Any, runtime: Runtime) -> None:
        super().__init__(runtime)
        a, b, b_strides = ends
        rows, wanted, out = self.operand(a, dtype), Layout.of(runtime, b, dtype), (a[0], b[1])
        result = Layout.of(runtime, out, dtype, row_major(out))
        primitive = Primitive(
            runtime,
            made(
                runtime.lib.dnnl_matmul_primitive_desc_create,
                runtime.engine, rows.layout.handle, wanted.handle, None, result.handle, None,
            ),
        )  # fmt: skip
        layout = primitive.layout(WEIGHTS)
        weight = self.operand_like(layout)
        self.add(primitive, {SRC: rows, WEIGHTS: weight}, {DST: self.operand(out, dtype)})
        self.size = layout.size
        self.pack = Plan(runtime)
        self.pack.reorder(self.pack.operand(b, dtype, b_strides), self.pack.operand_like(layout))


KERNELS: dict[str, Kernel] = {"for_products": for_products, "linear": linear, "matmul": matmul}
