"""Products of matrices and of batches of them, a bias added on the way."""

from __future__ import annotations

import math
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
    contiguous,
    made,
    plan_for,
    row_major,
    strides_of,
)

Array = Any
Size = tuple[int, ...]
Kernel = Callable[..., Any]

#: Multiplications from which on oneDNN is as fast as NumPy's BLAS in spite of the 5 us that a call costs, and OpenBLAS
#: would use its own threads. Products with a vector wait for the memory, and are BLAS's.
WORTHWHILE = 1 << 19

#: A matrix so wide that lies by rows is brought into oneDNN's blocks first, where so many rows are multiplied by it and
#: the copy, which lies in the scratch memory, has at most so many elements. As it is, some widths (3072, 5120) take
#: three times as long on some processors; the copy is a hundredth of the work.
WIDE, MANY_ROWS, COPIED = 1000, 64, 1 << 24


def matmul(fallback: Kernel, input: Array, other: Array) -> Array:
    """The matrix product of matrices or of batches of them; of a batch and a matrix as one large product.

    Every large product is oneDNN's, whatever the strides: the threads of a BLAS beside those of oneDNN would take the
    cores from each other.
    """
    shape, other_shape = input.shape, other.shape
    if len(other_shape) == 2 and input.size * other_shape[1] < WORTHWHILE:
        return fallback(input, other)
    if len(shape) < 2 or len(other_shape) < 2 or shape[-1] != other_shape[-2] or not _served(input, other):
        return fallback(input, other)
    if len(other_shape) == 2:
        if not _is_large(input.size // (shape[-1] or 1), shape[-1], other_shape[1]):
            return fallback(input, other)
        if len(shape) == 2:
            if other.__class__ is Packed and input.flags.c_contiguous:
                return other.multiplied(input)
            return _product(_plain(input), _plain(other), None)
        result = _product(_plain(input.reshape(-1, shape[-1])), _plain(other), None)
        return result.reshape(*shape[:-1], other_shape[1])
    try:
        batch = _together(shape[:-2], other_shape[:-2])
    except ValueError:
        return fallback(input, other)
    if not _is_large(shape[-2], shape[-1], other_shape[-1], math.prod(batch)):
        return fallback(input, other)
    return _product(_plain(_members(input, len(batch))), _plain(_members(other, len(batch))), None, batch)


def linear(fallback: Kernel, input: Array, weight: Array, bias: Array | None = None) -> Array:
    """``input @ weight.T + bias``: (..., in), (out, in), (out,) -> (..., out)."""
    shape, sizes = input.shape, weight.shape
    if input.size * sizes[0] < WORTHWHILE:
        return fallback(input, weight, bias)
    if len(sizes) != 2 or len(shape) < 2 or shape[-1] != sizes[1] or not _served(input, weight):
        return fallback(input, weight, bias)
    if bias is not None and (bias.shape != sizes[:1] or not _served(input, bias)):
        return fallback(input, weight, bias)
    if not _is_large(input.size // (shape[-1] or 1), sizes[1], sizes[0]):
        return fallback(input, weight, bias)
    result = _product(_plain(input.reshape(-1, shape[-1])), _plain(weight).T, bias)
    return result if len(shape) == 2 else result.reshape(*shape[:-1], sizes[0])


def _is_large(rows: int, inner: int, columns: int, batch: int = 1) -> bool:
    """Whether products of these sizes are worth a call, and not with vectors."""
    return rows > 1 < columns and rows * inner * columns * batch >= max(WORTHWHILE, 1)


def _served(one: Array, other: Array) -> bool:
    return one.dtype in DATA_TYPES and one.dtype == other.dtype


def _together(one: Size, other: Size) -> Size:
    return one if one == other else numpy.broadcast_shapes(one, other)


def _members(array: Array, dims: int) -> Array:
    """A batch with ``dims`` dimensions before the matrix; what is repeated along one of them only once."""
    shape = array.shape
    if len(shape) - 2 < dims:
        array = array.reshape(*(1,) * (dims + 2 - len(shape)), *shape)
    if 0 in array.strides[:-2]:
        array = array[tuple([slice(None if step else 1) for step in array.strides[:-2]])]
    return array


def _is_plain(array: Array) -> bool:
    """Whether the matrices lie in memory by rows or by columns, and no two elements in one place."""
    flags = array.flags
    if flags.c_contiguous or (flags.f_contiguous and array.ndim == 2):
        return True
    strides = strides_of(array)
    if 1 not in strides[-2:]:
        return False
    extent = 1
    for step, size in sorted(zip(strides, array.shape, strict=True)):
        if size > 1:
            if step < extent:
                return False
            extent = step * size
    return True


def _plain(array: Array) -> Array:
    return array if _is_plain(array) else array.copy()


def _product(a: Array, b: Array, bias: Array | None, batch: Size = ()) -> Array:
    out = numpy.empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    ends = a.shape, a.strides, b.shape, b.strides
    plan = plan_for(("matmul", a.dtype, ends, bias is None), partial(_plan, ends, a.dtype, bias is not None, out.shape))
    if bias is None:
        plan.run(a, b, out)
    else:
        plan.run(a, b, out, contiguous(bias))
    return out


def _plan(ends: tuple[Size, ...], dtype: Any, biased: bool, shape: Size, runtime: Runtime) -> Plan:
    plan = Plan(runtime)
    a, a_strides, b, b_strides = ends
    inputs = {
        SRC: plan.operand(a, dtype, [step // dtype.itemsize for step in a_strides]),
        WEIGHTS: plan.operand(b, dtype, [step // dtype.itemsize for step in b_strides]),
    }
    out = plan.operand(shape, dtype)
    if biased:
        inputs[BIAS] = plan.operand((*(1,) * (len(a) - 1), b[-1]), dtype)
    weights = inputs[WEIGHTS].layout
    if len(b) == 2 and b[1] >= WIDE and b_strides[1] == dtype.itemsize and a[0] >= MANY_ROWS and b[0] * b[1] <= COPIED:
        weights = Layout.of(runtime, b, dtype)
    description = made(
        runtime.lib.dnnl_matmul_primitive_desc_create,
        runtime.engine, inputs[SRC].layout.handle, weights.handle,
        inputs[BIAS].layout.handle if biased else None, out.layout.handle, None,
    )  # fmt: skip
    plan.add(Primitive(runtime, description), inputs, {DST: out})
    return plan


# -- one matrix, many products ---------------------------------------------------------------------------------------


class Packed(numpy.ndarray):
    """A matrix that is multiplied by many times, and what oneDNN has made of it: copies in the layouts of its choice.

    With 20 rows a product takes half of the time that it takes with the matrix as it is. Such a matrix stays in the
    thread where it was made.
    """

    __array_priority__ = -1.0  # what NumPy makes of it is a plain array
    copies: dict[int, tuple[_PackedProduct, Array]]  # by the number of rows

    def __array_finalize__(self, source: Any) -> None:
        self.copies = {}

    def multiplied(self, rows: Array) -> Array:
        """``rows @ self``, for contiguous rows."""
        known = self.copies.get(len(rows))
        if known is None:
            matrix = _plain(self)
            ends = rows.shape, matrix.shape, strides_of(matrix)
            product = plan_for(("packed matmul", rows.dtype, ends), partial(_PackedProduct, ends, rows.dtype))
            copy = numpy.empty(product.size, numpy.uint8)
            product.pack.run(matrix, copy)
            self.copies[len(rows)] = product, copy
        else:
            product, copy = known
        out = numpy.empty((len(rows), self.shape[1]), rows.dtype)
        product.run(rows, copy, out)
        return out


def for_products(fallback: Kernel, input: Array, rows: int) -> Array:
    """``input``, to be multiplied by often; large enough matrices are copied into oneDNN's layout at the first time."""
    large = rows * input.size >= max(WORTHWHILE, 1)
    if not large or input.ndim != 2 or input.dtype not in DATA_TYPES or not _is_plain(input):
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
