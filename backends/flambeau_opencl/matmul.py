"""Products of matrices.

Three kernels: on a CPU each work-item computes a block of 6 rows by two vectors of columns, which live in registers;
on a GPU a work-group of 16 by 16 computes a tile of 64 by 64 from pieces that it shares in local memory; integers and
complex numbers go to one work-item an element.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from flambeau.dtypes import dtype, float32, float64
from flambeau.ops.spec import broadcast_shapes
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import assign, clone, contiguous, to_dtype
from flambeau_opencl.elements import ACCUMULATED, ELEMENTS, preamble, unaligned
from flambeau_opencl.maps import run
from flambeau_opencl.passes import places, vector_width
from flambeau_opencl.runtime import Runtime, kernel_name

_HEAD = """
{preamble}
{types}
__kernel void {name}(__global {T} *restrict c, const __global {T} *restrict a, const __global {T} *restrict b,
                     long c_at, long a_at, long b_at, long rows, long columns, long inner,
                     long a_row, long a_column, long b_row, long b_panel, long beta, {parameters}) {{
    long batch = get_global_id(2);
    c_at += batch * rows * columns;
{batches}
    c += c_at; a += a_at; b += b_at;
"""

# The rows vary fastest, so that the columns of b, a panel, stay in the cache while a passes by. What is read behind the
# end of a row of b goes into lanes that are not stored. Vectors are read and written through a type without alignment:
# vload and vstore are calls in PoCL, before which all sums go to memory (18 GFLOP/s instead of 78).
_CPU = """
    long row = get_global_id(0) * {R}, column = get_global_id(1) * {N};
    if (row >= rows || column >= columns) return;
    int last = (int)min(rows - row, (long){R}) - 1, width = (int)min(columns - column, (long){N});
    const __global {T} *a0 = a + row * a_row{pointers};
    const __global {T} *line = b + get_global_id(1) * b_panel;
{zeros}
    for (long k = 0, at = 0; k < inner; ++k, at += a_column, line += b_row) {{
{products}
    }}
    {T} lanes[{N}];
{stores}
}}
"""

_GPU = """
    __local {T} tile_a[16][65], tile_b[16][65];
    int x = get_local_id(0), y = get_local_id(1), item = y * 16 + x;
    long row = get_group_id(1) * 64, column = get_group_id(0) * 64;
    {T} s[4][4];
    for (int i = 0; i < 4; ++i) for (int j = 0; j < 4; ++j) s[i][j] = 0;
    for (long k = 0; k < inner; k += 16) {{
        for (int l = item; l < 1024; l += 256) {{
            int ka = a_column == 1 ? l % 16 : l / 64, i = a_column == 1 ? l / 16 : l % 64, kb = l / 64, j = l % 64;
            tile_a[ka][i] = row + i < rows && k + ka < inner ? a[(row + i) * a_row + (k + ka) * a_column] : 0;
            tile_b[kb][j] = column + j < columns && k + kb < inner ? b[(k + kb) * b_row + column + j] : 0;
        }}
        barrier(CLK_LOCAL_MEM_FENCE);
        for (int l = 0; l < 16; ++l)
            for (int i = 0; i < 4; ++i)
                for (int j = 0; j < 4; ++j) s[i][j] = s[i][j] + tile_a[l][y + 16 * i] * tile_b[l][x + 16 * j];
        barrier(CLK_LOCAL_MEM_FENCE);
    }}
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
            if (row + y + 16 * i < rows && column + x + 16 * j < columns) {{
                long at = (row + y + 16 * i) * columns + column + x + 16 * j;
                c[at] = s[i][j] + (beta ? c[at] : 0);
            }}
}}
"""

_NAIVE = """
{T} total = {zero};
long row = i / n1 % n0, column = i % n1;
for (long k = 0; k < n2; ++k) {{
    {T} a = IN0(x0 + k * n3), b = IN1(x1 + k * n4);
    total = total + {product};
}}
r0 = total;
"""


#: Rows of the block that a CPU's work-item computes: with two vectors of columns 12 sums of the 16 registers of AVX2.
_ROWS = 6

#: Elements from which on copying an operand into an order that suits the kernel pays (256 KB in float32).
_PACKED = 1 << 16


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


def multiply(left: Array, right: Array, out: Array | None = None, add: bool = False) -> Array:
    """The product of batches of matrices of one dtype, into a contiguous ``out`` where it is given.

    Args:
        add: add to what is in ``out``.
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
    if not left.runtime.is_cpu:
        right = contiguous(right) if right.strides[-1] != 1 and columns > 1 else right
    elif left.strides[-1] != 1 and rows * inner >= _PACKED:
        left = clone(left)
    if len(batch) and rows > 1 and len(right.shape) == 2 and _stacked(left):
        # One product instead of one for each matrix of the batch.
        left = left.window((math.prod(batch) * rows, inner), left.strides[-2:], left.offset)
        batch, rows = (), left.shape[0]
    panel, b_row = _panel_width(kind, columns), right.strides[-2]
    if left.runtime.is_cpu and columns > 1 and _wants_panels(right, rows, inner, columns):
        right, b_row, panel = _panels(right, panel), panel, inner * panel
    _launch(left, right, b_row, panel, result, batch, rows, columns, inner, add)
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


def _launch(
    left: Array,
    right: Array,
    b_row: int,
    panel: int,
    result: Array,
    batch: tuple[int, ...],
    rows: int,
    columns: int,
    inner: int,
    add: bool,
) -> None:
    """Enqueue the kernel for ``right`` whose rows lie ``b_row`` apart, and whose panels of columns ``panel``."""
    runtime, kind = left.runtime, left.dtype
    rank = len(batch)
    width = vector_width(kind)
    vectors = _panel_width(kind, columns) // width
    key = ("matmul", kind, rank, runtime.is_cpu, vectors)
    found = runtime.kernels.get(key)
    if found is None:
        found = runtime.kernels[key] = _build(runtime, kind, rank, vectors, key)
    name, kernel = found
    args: list[Any] = [result.storage.buffer, left.storage.buffer, right.storage.buffer]
    args += [result.offset, left.offset, right.offset, rows, columns, inner]
    args += [left.strides[-2], left.strides[-1], b_row, panel, int(add)]
    for own in (left, right):
        lead = rank - (len(own.shape) - 2)
        args += batch
        args += [0] * lead + [0 if n == 1 else s for n, s in zip(own.shape[:-2], own.strides[:-2], strict=True)][:rank]
    count = math.prod(batch)
    if runtime.is_cpu:
        runtime.launch(name, kernel, (-(-rows // _ROWS), -(-columns // (width * vectors)), count), (1, 1, 1), args)
    else:
        groups = (-(-columns // 64) * 16, -(-rows // 64) * 16, count)
        runtime.launch(name, kernel, groups, (16, 16, 1), args)


def _panel_width(kind: dtype, columns: int) -> int:
    """The columns of the block that a CPU's work-item computes."""
    width = vector_width(kind)
    return 2 * width if columns > width else width


class Factor:
    """A matrix (inner, columns) of float32 or float64, made ready to be multiplied by many times."""

    def __init__(self, right: Array) -> None:
        self.inner, self.columns = right.shape
        self.panel = _panel_width(right.dtype, self.columns)
        self.array, self.row = right, right.strides[0]
        if right.runtime.is_cpu:
            if self.columns > 1 and (right.strides[1] != 1 or self.inner * self.columns >= _PACKED):
                self.array, self.row, self.panel = _panels(right, self.panel), self.panel, self.inner * self.panel
        else:
            self.array = contiguous(right)
            self.row = self.array.strides[0]

    def multiply(self, left: Array, out: Array | None = None, add: bool = False) -> Array:
        """:func:`multiply` of a matrix (rows, inner)."""
        rows = left.shape[0]
        result = out if out is not None else empty(left.runtime, (rows, self.columns), left.dtype)
        if result.size:
            _launch(left, self.array, self.row, self.panel, result, (), rows, self.columns, self.inner, add)
        return result


def _wants_panels(right: Array, rows: int, inner: int, columns: int) -> bool:
    """Whether a copy of ``right`` in panels pays: its rows lie far apart, or are no rows in memory at all."""
    if right.strides[-1] != 1:
        return True
    return rows >= 32 and inner * columns >= _PACKED


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


def _build(runtime: Runtime, kind: dtype, rank: int, vectors: int, key: Any) -> tuple[str, Any]:
    name = kernel_name("matmul", key)
    own = ELEMENTS[kind].compute
    width = vector_width(kind)
    parameters = []
    lines: list[str] = []
    for operand in "ab":
        parameters += [f"long {operand}_size{d}" for d in range(rank)] + [
            f"long {operand}_step{d}" for d in range(rank)
        ]
        text = "\n".join(places(f"{operand}_at", rank, "batch"))
        lines.append(f"    {{\n{text.replace('size', operand + '_size').replace('step', operand + '_step')}\n    }}")
    source = (_HEAD + (_CPU if runtime.is_cpu else _GPU)).format(
        preamble=preamble({kind}), name=name, T=own, N=width * vectors, R=_ROWS,
        **_cpu_lines(own, width, vectors),
        parameters=", ".join([*parameters, "int unused"]), batches="\n".join(lines),
    ).replace(", int unused", "").replace("long beta, int unused", "long beta")  # fmt: skip
    return name, runtime.build(name, source, [None] * 3 + [numpy.int64] * (11 + 4 * rank))


def _cpu_lines(kind: str, width: int, vectors: int) -> dict[str, str]:
    """The parts of the CPU's kernel that name each register."""
    every = [(i, v) for i in range(_ROWS) for v in range(vectors)]
    loads = [f"        vector v{v} = *(const __global unaligned *)(line + {v * width});" for v in range(vectors)]
    stores = []
    for i in range(_ROWS):
        lanes = " ".join(f"*(unaligned *)(lanes + {v * width}) = s{i}{v};" for v in range(vectors))
        stores.append(
            f"    if (last >= {i}) {{ __global {kind} *out = c + (row + {i}) * columns + column; {lanes} "
            "for (int j = 0; j < width; ++j) out[j] = beta ? out[j] + lanes[j] : lanes[j]; }"
        )
    sums = [f"        s{i}{v} += a{i}[at] * v{v};" for i, v in every]
    vector = f"{kind}{width}"
    return {
        "pointers": "".join(f", *a{i} = a0 + min({i}, last) * a_row" for i in range(1, _ROWS)),
        "types": f"typedef {vector} vector; {unaligned(vector, kind)}",
        "zeros": "    vector " + ", ".join(f"s{i}{v} = 0" for i, v in every) + ";",
        "products": "\n".join([*loads, *sums]),
        "stores": "\n".join(stores),
    }


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
    result = empty(input.runtime, (*shape[:-1], weight.shape[0]), input.dtype)
    assign(result, bias)
    return multiply(input, turned, result, add=True)


KERNELS: dict[str, Callable[..., Any]] = {"matmul": matmul, "linear": linear}
