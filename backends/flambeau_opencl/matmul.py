"""Products of matrices.

On a CPU they are computed in blocks (:mod:`flambeau_opencl.blocked`), on a GPU by CLBlast where the system has it, or
else in tiles (:mod:`flambeau_opencl.tiled`); integers and complex numbers go to one work-item an element.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flambeau.dtypes import float32, float64
from flambeau.ops.spec import broadcast_shapes
from flambeau_opencl import clblast, tiled
from flambeau_opencl.array import Array, empty
from flambeau_opencl.blocked import COLUMNS, PANELS, ROWS, Left, panel_width, product
from flambeau_opencl.creation import assign, clone, contiguous, to_dtype
from flambeau_opencl.elements import ACCUMULATED, ELEMENTS
from flambeau_opencl.maps import run

_NAIVE = """
{T} total = {zero};
long row = i / n1 % n0, column = i % n1;
for (long k = 0; k < n2; ++k) {{
    {T} a = IN0(x0 + k * n3), b = IN1(x1 + k * n4);
    total = total + {product};
}}
r0 = total;
"""


#: Elements from which on copying an operand into an order that suits the kernel pays (256 KB in float32).
_PACKED = 1 << 16

#: Rows up to which a CPU reads the right operand where it lies: copying it into panels costs more than it saves.
_FEW_ROWS = 12


def matmul(input: Array, other: Array) -> Array:
    """The matrix product, with NumPy's rules for vectors and batches. 16-bit floats are multiplied in float32.

    Raises:
        RuntimeError: when the shapes do not fit, or an operand has no dimension.
    """
    shape, other_shape = input.shape, other.shape
    if not shape or not other_shape:
        raise RuntimeError(
            "matmul: both arguments to matmul need to be at least 1D, but they are "
            f"{len(shape)}D and {len(other_shape)}D"
        )
    left = input if len(shape) > 1 else input.window((1, *shape), (0, *input.strides), input.offset)
    right = other if len(other_shape) > 1 else other.window((*other_shape, 1), (*other.strides, 0), other.offset)
    if left.shape[-1] != right.shape[-2]:
        raise _mismatch(shape, other_shape)
    wide = ACCUMULATED.get(input.dtype, input.dtype)
    product = multiply(to_dtype(left, wide), to_dtype(right, wide))
    result = to_dtype(product, input.dtype)
    kept = list(result.shape)
    if len(other_shape) == 1:
        del kept[-1]
    if len(shape) == 1:
        del kept[len(product.shape) - 2]
    return result if len(kept) == len(result.shape) else _squeezed(result, tuple(kept))


def _squeezed(array: Array, shape: tuple[int, ...]) -> Array:
    """A new contiguous array under a shape without its dimensions of size 1, as an array of its own."""
    squeezed = array.reshaped(*shape)
    squeezed.is_view = False
    return squeezed


def _mismatch(shape: tuple[int, ...], other_shape: tuple[int, ...]) -> RuntimeError:
    if len(shape) == len(other_shape) == 2:
        return RuntimeError(
            "matmul: mat1 and mat2 shapes cannot be multiplied "
            f"({shape[0]}x{shape[1]} and {other_shape[0]}x{other_shape[1]})"
        )
    inner = other_shape[-2] if len(other_shape) > 1 else other_shape[0]
    return RuntimeError(
        f"matmul: the shapes {list(shape)} and {list(other_shape)} cannot be multiplied: "
        f"size {shape[-1]} does not match size {inner}"
    )


def multiply(
    left: Array, right: Array, out: Array | None = None, add: bool = False, bias: Array | None = None
) -> Array:
    """The product of batches of matrices of one dtype, into a contiguous ``out`` where it is given.

    Args:
        add: add to what is in ``out``.
        bias: a vector to add to each row; of float32 and float64 only.
    """
    rows, inner = left.shape[-2:]
    columns = right.shape[-1]
    try:
        batch = broadcast_shapes("matmul", left.shape[:-2], right.shape[:-2])
    except RuntimeError:
        raise RuntimeError(
            f"matmul: the batch dimensions of the shapes {list(left.shape)} and {list(right.shape)} do not broadcast"
        ) from None
    kind = left.dtype
    result = out if out is not None else empty(left.runtime, (*batch, rows, columns), kind)
    if not result.size:
        return result
    if kind not in (float32, float64):
        _naive(left, right, result, batch)
        return result
    if len(batch) and rows > 1 and len(right.shape) == 2 and _stacked(left):
        # One product instead of one for each matrix of the batch.
        left = left.window((math.prod(batch) * rows, inner), left.strides[-2:], left.offset)
        batch, rows = (), left.shape[0]
    if left.runtime.is_cpu:
        _on_cpu(left, right, result, batch, add, bias)
        return result
    if bias is not None:
        assign(result, bias)
        add = True
    _on_gpu(left, right, result, batch, add)
    return result


def _stacked(array: Array) -> bool:
    """Whether the rows of all matrices lie at one distance."""
    step = array.strides[-2] * array.shape[-2]
    for size, stride in zip(reversed(array.shape[:-2]), reversed(array.strides[:-2]), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _naive(left: Array, right: Array, result: Array, batch: tuple[int, ...]) -> None:
    kind = left.dtype
    element = ELEMENTS[kind]
    rows, inner = left.shape[-2:]
    columns = right.shape[-1]
    own = left.window((*left.shape[:-1], 1), (*left.strides[:-1], 0), left.offset)
    other = right.window((*right.shape[:-2], 1, columns), (*right.strides[:-2], 0, right.strides[-1]), right.offset)
    body = _NAIVE.format(
        T=element.compute,
        zero=f"({element.compute})(0, 0)" if kind.is_complex else "0",
        product="c_mul(a, b)" if kind.is_complex else "a * b",
    )
    sizes = rows, columns, inner, left.strides[-1], right.strides[-2]
    shape = (*batch, rows, columns)
    run("matmul", body, [result.reshaped(*shape)], [own, other], [("long", n) for n in sizes], "a0 a1")


def _steps(array: Array, rank: int) -> list[int]:
    """The distances of the matrices along ``rank`` dimensions of a batch, 0 where they are the same ones."""
    steps = [0 if n == 1 else s for n, s in zip(array.shape[:-2], array.strides[:-2], strict=True)]
    return [0] * (rank - len(steps)) + steps


def _on_gpu(left: Array, right: Array, result: Array, batch: tuple[int, ...], add: bool) -> None:
    steps = _steps(left, len(batch)), _steps(right, len(batch))
    if clblast.product(left, right, result, batch, steps, add):
        return
    if right.strides[-1] != 1 and right.shape[-1] > 1:
        right = contiguous(right)
        steps = steps[0], _steps(right, len(batch))
    tiled.product(left, right, result, batch, steps, add)


def _on_cpu(
    left: Array, right: Array, result: Array, batch: tuple[int, ...], add: bool, bias: Array | None = None
) -> None:
    if right.shape[-1] == 1 and bias is None:  # a vector: the columns are what becomes vectors, so the sides change
        left, right = _turned(right), _turned(left)
    rows, inner = left.shape[-2:]
    columns = right.shape[-1]
    if 1 not in left.strides[-2:] and rows * inner >= _PACKED:
        left = clone(left)
    if 1 not in right.strides[-2:] and inner * columns >= _PACKED:
        right = clone(right)
    b_row, b_column = right.strides[-2:]
    if b_column == 1 and rows <= _FEW_ROWS:
        how, numbers = PANELS, (b_row, panel_width(left.dtype, columns))
    else:
        how, numbers = COLUMNS if b_row == 1 and b_column != 1 else ROWS, (b_row, b_column)
    own = Left(left, *left.strides[-2:])
    steps = _steps(left, len(batch)), _steps(right, len(batch))
    bias_of = "" if bias is None else "column"
    sizes = rows, columns, inner
    product(result, own, right, how, numbers, sizes, columns, batch, steps, rows * columns, add, bias, bias_of)


def _turned(array: Array) -> Array:
    """Matrices as their transposes, in the same memory."""
    *batch, rows, columns = array.shape
    *steps, row, column = array.strides
    return array.window((*batch, columns, rows), (*steps, column, row), array.offset)


class Factor:
    """A matrix (inner, columns) of float32 or float64, made ready to be multiplied by many times."""

    def __init__(self, right: Array) -> None:
        self.inner, self.columns = right.shape
        self.array = right
        self.numbers: tuple[int, int] | None = None
        if right.runtime.is_cpu:
            width = panel_width(right.dtype, self.columns)
            if right.strides[1] != 1 or self.inner * self.columns >= _PACKED:
                self.array = _panels(right, width)
                self.numbers = width, self.inner * width
            else:
                self.numbers = right.strides[0], width

    def multiply(self, left: Array, out: Array | None = None, add: bool = False) -> Array:
        """:func:`multiply` of a matrix (rows, inner)."""
        if self.numbers is None:
            return multiply(left, self.array, out, add)
        rows = left.shape[0]
        result = out if out is not None else empty(left.runtime, (rows, self.columns), left.dtype)
        if result.size:
            sizes = rows, self.columns, self.inner
            product(result, Left(left, *left.strides), self.array, PANELS, self.numbers, sizes, self.columns, add=add)
        return result


def _panels(right: Array, width: int) -> Array:
    """A copy of matrices (..., inner, columns) as panels of ``width`` columns, each (inner, width) in one piece.

    Returns:
        (..., panels, inner * width). The lanes behind the last column hold whatever was there.
    """
    *batch, inner, columns = right.shape
    *steps, row, column = right.strides
    panels, rest = -(-columns // width), columns % width
    result = empty(right.runtime, (*batch, panels, inner, width), right.dtype)
    for first, count, wide in ((0, columns // width, width), (columns // width, 1, rest)):
        if not count or not wide:
            continue
        source = right.window((*batch, count, inner, wide), (*steps, width * column, row, column),
                              right.offset + first * width * column)  # fmt: skip
        shape = (*batch, count, inner, wide)
        run("panels", "r0 = a0;", [result.window(shape, result.strides, first * inner * width)], [source])
    return result.reshaped(*batch, panels, inner * width)


def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    """``input @ weight.T + bias``: (..., in), (out, in), (out,) -> (..., out); with a weight (in,) no out.

    Raises:
        RuntimeError: when the shapes do not fit.
    """
    from flambeau_opencl.elementwise import KERNELS as ELEMENTWISE

    shape = input.shape
    if shape[-1:] != weight.shape[-1:]:
        raise RuntimeError(
            f"linear: mat1 and mat2 shapes cannot be multiplied ({math.prod(shape[:-1])}x{shape[-1] if shape else 1} "
            f"and {weight.shape[-1]}x{math.prod(weight.shape[:-1])}): the input has the shape {list(shape)}, the "
            f"weight {list(weight.shape)}"
        )
    if len(weight.shape) == 1:
        product = matmul(input, weight)
        return product if bias is None else ELEMENTWISE["add"](product, bias)
    turned = weight.window(weight.shape[::-1], weight.strides[::-1], weight.offset)
    if bias is None or input.dtype not in (float32, float64) or len(shape) < 2 or bias.shape != weight.shape[:1]:
        product = matmul(input, turned)
        return product if bias is None else ELEMENTWISE["add"](product, bias)
    return multiply(input, turned, bias=bias)


KERNELS: dict[str, Callable[..., Any]] = {"matmul": matmul, "linear": linear}
