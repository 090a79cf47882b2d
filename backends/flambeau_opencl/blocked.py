"""Products of matrices on CPUs, in blocks that fit the caches (Goto and van de Geijn, 2008), for any order of elements.

    c[i, out(j)] = sum over k of a[i, k] * b[at(k) + at(j)]   (+ bias, + what was there)

A work-item takes some columns. Of each piece of the inner dimension it copies its part of ``b`` into local memory as
panels, in which the columns that a tile reads together are neighbours, and multiplies all rows by them, a tile of up to
6 rows by two vectors of columns at a time, whose sums stay in registers.

Where an element of ``b`` lies is the sum of a place for its row and one for its column. So an operand need not be a
matrix in memory: the windows of a convolution's input are another way to count rows and columns, and are never
copied whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy

from flambeau.dtypes import dtype
from flambeau_opencl.array import Array
from flambeau_opencl.elements import ELEMENTS, preamble, unaligned
from flambeau_opencl.passes import places, vector_width
from flambeau_opencl.runtime import Runtime, kernel_name

#: The most rows of a tile: with two vectors of columns 12 sums of the 16 registers of AVX2.
_ROWS = 6

_KERNEL = """
{preamble}
{types}
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void {name}(__global {T} *restrict c, const __global {T} *restrict a, const __global {T} *restrict b,
            {bias_parameters}long c_at, long a_at, long b_at, long rows, long columns, long inner, long depth,
            long part, long c_batch, long c_row, long a_row, long a_column, long a_span, long a_jump, long beta,
            {parameters}) {{
    long batch = get_global_id(2);
    c_at += batch * c_batch;
{batches}
    c += c_at; a += a_at; b += b_at;
    {scratch}
    long j0 = get_global_id(0) * {NC}, i0 = get_global_id(1) * part, i1 = min(rows, i0 + part);
    if (j0 >= columns || i0 >= rows) return;
    int jn = (int)min((long){NC}, columns - j0), panels = (jn + {N} - 1) / {N};
    long out_at[{NC}];
    {lanes}
    {walk}
    long k0 = 0;
    do {{
        int kn = (int)min(depth, inner - k0);
        {pack}
        long a_first = k0 / a_span * a_jump + k0 % a_span * a_column, left = a_span - k0 % a_span;
        bool adds = beta || k0;
        for (long ib = i0; ib < i1; ib += {MC}) {{
            long ie = min(i1, ib + {MC});
            {pack_a}
            for (int p = 0; p < panels; ++p) {{
                int width = min({N}, jn - p * {N});
                bool whole = width == {N} && out_at[p * {N} + {N} - 1] - out_at[p * {N}] == {N} - 1;
                for (long i = ib; i < ie; i += {R}) {{
                    int last = (int)min(ie - i, (long){R}) - 1;
                    {line}
                    {zeros}
                    {product}
                    {T} tile[{R} * {N}];
                    {spill}
                    for (int r = 0; r <= last; ++r) {{
                        __global {T} *o = c + (i + r) * c_row;
                        {bias}
                        if (whole) {{
                            o += out_at[p * {N}];
                            for (int v = 0; v < {N}; v += {w}) {{
                                vector x = *(unaligned *)(tile + r * {N} + v);
                                *(__global unaligned *)(o + v) = adds ? *(__global unaligned *)(o + v) + x : x;
                            }}
                        }} else
                            for (int l = 0; l < width; ++l) {{
                                __global {T} *to = o + out_at[p * {N} + l];
                                *to = adds ? *to + tile[r * {N} + l] : tile[r * {N} + l];
                            }}
                    }}
                }}
            }}
        }}
        k0 += depth;
    }} while (k0 < inner);
}}
"""

# Columns are neighbours in memory: all of a vector, or with one gap (the end of a row of windows), or not at all.
_PACK_LANES = """
int run = 1;
while (run < panels * {N} && lane_at[run] == lane_at[0] + run) ++run;
if (run == panels * {N})  // row after row: a whole row is one piece of memory
    for (int k = 0; k < kn; ++k) {{
        __local {T} *to = scratch + k * {N};
        const __global {T} *from = b + row_at[k] + lane_at[0];
        for (int p = 0; p < panels; ++p, to += {PANEL})
            for (int v = 0; v < {N}; v += {w}, from += {w})
                *(__local unaligned *)(to + v) = *(const __global unaligned *)from;
    }}
else for (int p = 0; p < panels; ++p)
    for (int v = 0; v < {N}; v += {w}) {{
        const long *at = lane_at + p * {N} + v;
        __local {T} *to = scratch + p * {PANEL} + v;
        int cut = 1, end;
        while (cut < {w} && at[cut] == at[0] + cut) ++cut;
        for (end = cut + 1; end < {w} && at[end] == at[cut] + end - cut;) ++end;
        const __global {T} *from = b + at[0];
        if (cut == {w})
            for (int k = 0; k < kn; ++k)
                *(__local unaligned *)(to + k * {N}) = *(const __global unaligned *)(from + row_at[k]);
        else if (end == {w}) {{
            const __global {T} *behind = b + at[cut] - cut;
            mask later = {iota} >= ({I})cut;
            for (int k = 0; k < kn; ++k)
                *(__local unaligned *)(to + k * {N}) = later ? *(const __global unaligned *)(behind + row_at[k])
                                                            : *(const __global unaligned *)(from + row_at[k]);
        }} else
            for (int k = 0; k < kn; ++k)
                for (int l = 0; l < {w}; ++l) to[k * {N} + l] = b[row_at[k] + at[l]];
    }}
"""

# Rows are neighbours in memory: squares of them are turned. A run that ends within a square is overwritten by the next.
_PACK_ROWS = """
int blocks = 0, starts[{KC}];
for (int k = 0, n; k < kn; k += n) {{
    starts[blocks++] = k;
    for (n = 1; n < {w} && k + n < kn && row_at[k + n] == row_at[k] + n;) ++n;
}}
for (int p = 0; p < panels; ++p)
    for (int v = 0; v < {N}; v += {w}) {{
        const long *at = lane_at + p * {N} + v;
        const __global {T} {pointers};
        for (int block = 0; block < blocks; ++block) {{
            int k = starts[block];
            long from = row_at[k];
            __local {T} *to = scratch + p * {PANEL} + v + k * {N};
            {turn}
        }}
    }}
"""

# The rows of a lie side by side: so do those of a tile.
_PACK_A = """
for (int k = 0; k < kn; ++k) {{
    __local {T} *to = scratch_a + k * {R};
    const __global {T} *from = a + a_first + k * a_column + ib, *end = from + (ie - ib);
    for (; from < end; from += {R}, to += {A_STEP}) {copy}
}}
"""

_DIRECT = """
const __global {T} *a0 = a + i * a_row{pointers};
long at = a_first;
for (int k = 0, stop = (int)min((long)kn, left); ; stop = (int)min((long)kn, stop + a_span)) {{
    for (; k < stop; ++k, at += a_column, line += {b_row}) {{
{products}
    }}
    if (k >= kn) break;
    at += a_jump - a_span * a_column;
}}
"""

_PACKED = """
const __local {T} *a0 = scratch_a + (i - ib) / {R} * {A_STEP};
for (int k = 0; k < kn; ++k, a0 += {R}, line += {b_row}) {{
{products}
}}
"""

_BIAS = "if (!k0) for (int l = 0; l < width; ++l) tile[r * {N} + l] += "


class Places(NamedTuple):
    """How rows or columns are counted in memory.

    Attributes:
        lanes: C lines that set ``lane_at[j]`` and ``out_at[j]`` for every j of a work-item.
        begin, step: C lines that declare a walk along the rows of ``b``, and that set ``row_at[k]`` and go on.
        names: the numbers of which these lines speak.
        turns: whether rows instead of columns are neighbours in memory.
    """

    name: str
    lanes: str
    begin: str
    step: str
    names: tuple[str, ...]
    turns: bool = False


# Behind the last column is something to read within a vector, and nothing a column further on.
_DENSE = """
for (int j = 0; j < panels * {N}; ++j) {{
    out_at[j] = j0 + j;
    lane_at[j] = b_column == 1 ? j0 + j : min(j0 + j, columns - 1) * b_column;
}}
"""
_MATRIX = _DENSE, "long row = 0;", "row_at[k] = row; row += b_row;", ("b_row", "b_column")
#: An ordinary matrix whose rows are pieces of memory, and one whose columns are.
ROWS = Places("rows", *_MATRIX)
COLUMNS = Places("columns", *_MATRIX, turns=True)
#: Panels as :func:`flambeau_opencl.matmul.panels` makes them, or a matrix of few rows: read where they are.
PANELS = Places("panels", "for (int j = 0; j < panels * {N}; ++j) out_at[j] = j0 + j;", "", "", ("b_row", "b_panel"))


class Left(NamedTuple):
    """The left operand: a piece of it, ``span`` long, has its elements ``column`` apart; pieces are ``jump`` apart.

    A span of 0 is a single piece.
    """

    array: Array
    row: int
    column: int
    span: int = 0
    jump: int = 0


@lru_cache(maxsize=1024)
def _tile_rows(rows: int) -> int:
    """The height of tiles that wastes the least: a tile costs as many steps as it has rows, and half of one more."""
    return min(range(min(rows, _ROWS), max(0, min(rows, 4) - 1), -1), key=lambda r: -(-rows // r) * (r + 0.5))


class Blocks(NamedTuple):
    """Inner steps, rows and columns of the blocks that a device's local memory (its cache) holds."""

    inner: int
    rows: int
    columns: int


@lru_cache(maxsize=64)
def _blocks(local_memory: int, itemsize: int, height: int, width: int) -> Blocks:
    """256 steps of 96 rows and of 8 panels of columns; less for devices with little local memory."""
    inner, rows, columns = 256, 96, 8 * width
    while (inner + 8) * (rows + columns) * itemsize > local_memory and inner > 32:
        inner //= 2
    while (inner + 8) * (rows + columns) * itemsize > local_memory and columns > width:
        columns, rows = columns // 2, max(height, rows // 2)
    return Blocks(inner, -(-rows // height) * height, columns)


def panel_width(kind: dtype, columns: int) -> int:
    """The columns of a tile."""
    width = vector_width(kind)
    return 2 * width if columns > width else width


def product(
    result: Array,
    left: Left,
    right: Array,
    how: Places,
    numbers: Sequence[int],
    sizes: tuple[int, int, int],
    c_row: int,
    batch: Sequence[int] = (),
    steps: tuple[Sequence[int], Sequence[int]] = ((), ()),
    c_batch: int = 0,
    add: bool = False,
    bias: Array | None = None,
    bias_of: str = "",
) -> None:
    """Enqueue ``result[i, out(j)] = sum of left[i, k] * right[at(k) + at(j)]`` for each of a batch.

    Args:
        how, numbers: where the elements of ``right`` lie, and those of a row of the result.
        sizes: rows, columns, inner.
        c_row, c_batch: the distances of rows and of products in the result.
        batch, steps: the sizes of the batch's dimensions, and the distances in left and right along them.
        add: add to what is in the result.
        bias, bias_of: a vector to add, an element for each of the ``"row"`` s or each ``"column"``.
    """
    runtime, kind = result.runtime, result.dtype
    rows, columns, inner = sizes
    packs_a = left.column != 1 and left.row == 1 and rows > 1 and inner > 1
    height, panel = _tile_rows(rows), panel_width(kind, columns)
    block = _blocks(runtime.local_memory, kind.itemsize, height, panel)
    items = -(-columns // block.columns) * prod(batch)
    part = rows
    wanted = runtime.workers * 3
    if wanted > 3 and items < wanted:
        part = max(2 * height, -(-rows // (-(-wanted // items))))
        part = -(-part // height) * height
    pieces = 1 if how is PANELS and not packs_a else max(1, -(-inner // block.inner))
    depth = -(-inner // pieces)  # all pieces alike: a short last one would cost as much as a long one
    key = ("product", kind, len(batch), height, panel, block, how.name, bias_of, packs_a)
    found = runtime.kernels.get(key)
    if found is None:
        found = runtime.kernels[key] = _build(runtime, how, key)
    args: list[Any] = [result.storage.buffer, left.array.storage.buffer, right.storage.buffer]
    if bias is not None:
        args += [bias.storage.buffer, bias.offset, bias.strides[0]]
    args += [result.offset, left.array.offset, right.offset, rows, columns, inner, depth, part, c_batch, c_row]
    args += [left.row, left.column, left.span or max(1, inner), left.jump, int(add), *numbers]
    for own in steps:
        args += batch
        args += own
    groups = -(-columns // block.columns), -(-rows // part), prod(batch)
    runtime.launch(found[0], found[1], groups, (1, 1, 1), args)


def _build(runtime: Runtime, how: Places, key: Any) -> tuple[str, Any]:
    _, kind, rank, height, panel, block, _, bias_of, packs_a = key
    name = kernel_name("product", key)
    own, width = ELEMENTS[kind].compute, vector_width(kind)
    vectors, direct = panel // width, how is PANELS
    integer = "int" if kind.itemsize == 4 else "long"
    step = (block.inner + width) * panel
    names = {
        "T": own, "I": integer, "R": height, "N": panel, "w": width, "KC": block.inner,
        "MC": block.rows, "NC": block.columns, "PANEL": step,
        "A_STEP": block.inner * height + width,  # vectors that are not whole run over
        "iota": f"({integer}{width})({', '.join(map(str, range(width)))})",
    }  # fmt: skip
    lanes = ("" if direct else "long lane_at[{NC}], row_at[{KC}]; ") + how.lanes
    pack = "" if direct else f"for (int k = 0; k < kn; ++k) {{{{ {how.step} }}}}"
    if how.turns:
        pack += _PACK_ROWS
        names["pointers"] = ", ".join(f"*l{i} = b + at[{i}]" for i in range(width))
        names["turn"] = _turned(width).format(N=panel)
    elif not direct:
        pack += _PACK_LANES
    scratch = "" if direct else f"__local {own} scratch[{step * block.columns // panel}];"
    if packs_a:
        scratch += f" __local {own} scratch_a[{block.rows // height * names['A_STEP']}];"
    every = [(i, v) for i in range(height) for v in range(vectors)]
    space = "__global" if direct else "__local"
    loads = [f"        vector v{v} = *(const {space} unaligned *)(line + {v * width});" for v in range(vectors)]
    factor = "a0[{0}]" if packs_a else "a{0}[at]"
    names |= {
        "b_row": "b_row" if direct else panel,
        "pointers_a": "".join(f", *a{i} = a0 + min({i}, last) * a_row" for i in range(1, height)),
        "products": "\n".join([*loads, *[f"        s{i}{v} += {factor.format(i)} * v{v};" for i, v in every]]),
        "copy": "*(__local unaligned *)to = *(const __global unaligned *)from;" if height <= width else
        f"for (int r = 0; r < {height}; ++r) to[r] = from[r];",
    }  # fmt: skip
    line = f"{space} {own} *line = " + (
        "b + (j0 / {N} + p) * b_panel + k0 * b_row;" if direct else "scratch + p * {PANEL};"
    )
    biases = {
        "": "",
        "row": _BIAS + "bias[bias_at + (batch * rows + i + r) * bias_step];",
        "column": _BIAS + "bias[bias_at + (j0 + p * {N} + l) * bias_step];",
    }
    batches = []
    for operand in "ab":
        text = "\n".join(places(f"{operand}_at", rank, "batch"))
        batches.append(f"    {{ {text.replace('size', operand + '_size').replace('step', operand + '_step')} }}")
    parameters = [*how.names, *[f"{o}_{part}{d}" for o in "ab" for part in ("size", "step") for d in range(rank)]]
    source = _KERNEL.format(
        preamble=preamble({kind}), name=name,
        types=f"typedef {own}{width} vector; typedef {integer}{width} mask; {unaligned(f'{own}{width}', own)}",
        bias_parameters=f"const __global {own} *restrict bias, long bias_at, long bias_step, " if bias_of else "",
        parameters=", ".join(f"long {n}" for n in parameters), batches="\n".join(batches), scratch=scratch,
        lanes=lanes.format(**names), walk=how.begin, pack=pack.format(**names),
        pack_a=_PACK_A.format(**names) if packs_a else "", line=line.format(**names),
        zeros="vector " + ", ".join(f"s{i}{v} = 0" for i, v in every) + ";",
        product=_PACKED.format(**names) if packs_a else _DIRECT.format(**(names | {"pointers": names["pointers_a"]})),
        spill=" ".join(f"*(unaligned *)(tile + {i * panel + v * width}) = s{i}{v};" for i, v in every),
        bias=biases[bias_of].format(**names), **{n: names[n] for n in ("T", "R", "N", "w", "MC", "NC")},
    )  # fmt: skip
    scalars: list[Any] = [None] * 3 + ([None, numpy.int64, numpy.int64] if bias_of else [])
    return name, runtime.build(name, source, scalars + [numpy.int64] * (15 + len(parameters)))


def _turned(width: int) -> str:
    """C lines that read a square of ``width`` vectors from ``l0[from]``, ``l1[from]`` ... and write it turned."""
    lines = [f"vector x{i} = *(const __global unaligned *)(l{i} + from);" for i in range(width)]
    source, half = "x", width // 2

    def pair(left: str, right: str, picks: list[tuple[int, int]]) -> str:
        names = (left, right)
        return f"(vector)({', '.join(f'{names[which]}.s{lane}' for which, lane in picks)})"

    size = 1
    while size < half:  # within the halves of a register, which is what AVX's instructions do at once
        target = chr(ord(source) + 1)
        for i in range(width):
            if i & size:
                continue
            for upper in (0, 1):
                picks = []
                for base in (0, half):
                    start = base + upper * half // 2
                    for chunk in range(start, start + half // 2, size):
                        picks += [(0, chunk + k) for k in range(size)] + [(1, chunk + k) for k in range(size)]
                lines.append(
                    f"vector {target}{i + upper * size} = {pair(source + str(i), source + str(i + size), picks)};"
                )
        source, size = target, size * 2
    for i in range(half):
        row = i if half == 2 else (0, 2, 1, 3)[i]  # halving has left them in the order of their reversed bits
        low = f"(vector)({source}{i}.lo, {source}{i + half}.lo)"
        high = f"(vector)({source}{i}.hi, {source}{i + half}.hi)"
        lines.append(f"*(__local unaligned *)(to + {row} * {{N}}) = {low};")
        lines.append(f"*(__local unaligned *)(to + {row + half} * {{N}}) = {high};")
    return "\n            ".join(lines)
