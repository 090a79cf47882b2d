"""How dimensions are reduced: passes over memory, each along one dimension.

A pass reduces one dimension (after neighbours have been merged): each work-item runs along it for one result. A long
dimension is cut into chunks, whose results a second pass combines, which keeps the device busy and rounding small.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod as product
from typing import Any

import numpy

from flambeau.dtypes import COMPLEX, FLOATING, dtype
from flambeau.striding import contiguous_strides
from flambeau_opencl.array import Array, empty
from flambeau_opencl.elements import ELEMENTS, cast, preamble, unaligned
from flambeau_opencl.maps import accessors, run
from flambeau_opencl.runtime import Runtime, kernel_name

#: A dimension longer than this is reduced in chunks of this length.
CHUNK = 4096

Dimension = tuple[int, int, bool]  # size, stride, whether it is reduced


@lru_cache(maxsize=4096)
def _dimensions(shape: tuple[int, ...], strides: tuple[int, ...], dims: tuple[int, ...]) -> tuple[Dimension, ...]:
    """The dimensions without those of size 1, neighbours of one kind merged."""
    found: list[Dimension] = []
    for d, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        if size == 1:
            continue
        reduced = d in dims
        if found and found[-1][2] == reduced and found[-1][1] == size * stride:
            found[-1] = (found[-1][0] * size, stride, reduced)
        else:
            found.append((size, stride, reduced))
    return tuple(found)


def places(name: str, rank: int, count: str = "o") -> list[str]:
    """C lines that add the distance of element number ``count`` of the kept dimensions to ``name``."""
    lines = [f"    int rest = (int){count};"] if rank else []
    for d in reversed(range(rank)):
        digit = f"rest % (int)size{d}" if d else "rest"
        lines.append(f"    {name} += (long)({digit}) * step{d};" + (f" rest /= (int)size{d};" if d else ""))
    return lines


def extents(kept: Sequence[Dimension]) -> list[int]:
    """The arguments for :func:`places`."""
    return [size for size, _, _ in kept] + [stride for _, stride, _ in kept]


def extent_parameters(rank: int) -> list[str]:
    return [f"long size{d}" for d in range(rank)] + [f"long step{d}" for d in range(rank)]


class Reduction:
    """How elements are combined.

    Attributes:
        combine: for ``a`` and ``b``; by category of the dtype, FLOATING's where there is none.
    """

    def __init__(self, name: str, combine: dict[int, str]) -> None:
        self.name = name
        self.combine = combine

    def combined(self, kind: dtype) -> str:
        return self.combine.get(kind.category, self.combine[FLOATING])


SUM = Reduction("sum", {FLOATING: "a + b"})
PROD = Reduction("prod", {FLOATING: "a * b", COMPLEX: "c_mul(a, b)"})
AMAX = Reduction("amax", {FLOATING: "b > a || b != b ? b : a"})
AMIN = Reduction("amin", {FLOATING: "b < a || b != b ? b : a"})
ALL = Reduction("all", {FLOATING: "a & b"})
ANY = Reduction("any", {FLOATING: "a | b"})


def reduce(input: Array, dims: Sequence[int], how: Reduction, accumulated: dtype, result: Array) -> Array:
    """Combine the elements along ``dims`` (none of them empty) into the contiguous ``result``."""
    runtime = input.storage.runtime
    if result.size == 0:
        return result
    dimensions = list(_dimensions(input.shape, input.strides, tuple(dims)))
    current = input
    offset = input.offset
    while True:
        reduced = [d for d in dimensions if d[2]]
        if not reduced:
            shape = tuple([size for size, _, _ in dimensions])
            source = current.window(shape, [stride for _, stride, _ in dimensions], offset)
            run(how.name, f"r0 = {cast('a0', source.dtype, result.dtype)};", [result.reshaped(*shape)], [source])
            return result
        chosen = min(reduced, key=lambda d: abs(d[1]))
        kept = [d for d in dimensions if d is not chosen]
        count = product([size for size, _, _ in kept])
        chunks = -(-chosen[0] // CHUNK)
        last = len(reduced) == 1 and chunks == 1
        target = result if last else empty(runtime, (chunks, count), accumulated)
        _pass(runtime, how, current, offset, kept, chosen, count, chunks, accumulated, target)
        if last:
            return result
        sizes = [size for size, _, _ in kept]
        steps = contiguous_strides(sizes)
        dimensions = [(n, s, d[2]) for n, s, d in zip(sizes, steps, kept, strict=True)]
        if chunks > 1:
            dimensions.insert(0, (chunks, count, True))
        dimensions = list(
            _dimensions(
                tuple([n for n, _, _ in dimensions]),
                tuple([s for _, s, _ in dimensions]),
                tuple([i for i, d in enumerate(dimensions) if d[2]]),
            )
        )
        current, offset = target, 0


def _pass(
    runtime: Runtime,
    how: Reduction,
    source: Array,
    offset: int,
    kept: Sequence[Dimension],
    along: Dimension,
    count: int,
    chunks: int,
    accumulated: dtype,
    target: Array,
) -> None:
    """Reduce one dimension of ``source``: ``target[c, o]`` is the result of chunk c for the kept element o.

    A chunk is a block, or, on a GPU, every ``chunks``-th element, so that neighbours read neighbours.
    """
    length = CHUNK if chunks > 1 else along[0]  # so that no chunk is empty
    unit = along[1] == 1
    width = _columns_at_a_time(runtime, source.dtype, accumulated, kept)
    if width:
        *outer, (columns, _, _) = kept
        key: tuple[Any, ...] = ("reduce columns", how.name, source.dtype, accumulated, target.dtype, len(outer), width)
        found = runtime.kernels.get(key)
        if found is None:
            found = runtime.kernels[key] = _build_columns(runtime, how, key)
        blocks = -(-columns // width)
        items = count // columns * blocks * chunks
        args = [target.storage.buffer, source.storage.buffer, target.offset, offset, count, items]
        args += [along[0], along[1], length, columns, blocks, *extents(outer)]
        runtime.launch(found[0], found[1], (items,), (1,), args)
        return
    blocked = runtime.is_cpu or not unit
    key = ("reduce", how.name, source.dtype, accumulated, target.dtype, len(kept), unit, blocked)
    found = runtime.kernels.get(key)
    if found is None:
        found = runtime.kernels[key] = _build_pass(runtime, how, key)
    start, step, span = (length, 1, length) if blocked else (1, chunks, along[0])
    args = [target.storage.buffer, source.storage.buffer, target.offset, offset, count, count * chunks]
    args += [along[0], along[1], start, step, span, *extents(kept)]
    runtime.launch(found[0], found[1], (count * chunks,), (runtime.local_size,), args)


def _columns_at_a_time(runtime: Runtime, source: dtype, accumulated: dtype, kept: Sequence[Dimension]) -> int:
    """How many neighbouring results a CPU's work-item computes, as two vectors; 0 where there are none.

    One result an item would read a column, a cache line for each element (32 times slower on 4096 rows of 768).
    """
    width = 2 * vector_width(accumulated)
    fits = runtime.is_cpu and source is accumulated and not source.is_complex and kept and kept[-1][1] == 1
    return width if fits and kept[-1][0] >= width else 0


def vector_width(kind: dtype) -> int:
    """The elements of a vector register of a CPU; LLVM 14 fails to compile longer ones for some CPUs."""
    return min(16, 32 // kind.itemsize)


def _build_columns(runtime: Runtime, how: Reduction, key: Any) -> tuple[str, Any]:
    _, _, source, accumulated, target, rank, width = key
    name = kernel_name(how.name, key)
    own = ELEMENTS[accumulated].compute
    half = width // 2
    vector = f"{own}{half}"
    parameters = [
        f"__global {ELEMENTS[target].storage} *q0", f"__global {own} *p0", "long q_offset", "long x", "long count",
        "long items", "long length", "long stride", "long span", "long columns", "long blocks",
        *extent_parameters(rank),
    ]  # fmt: skip
    lines = [
        preamble({source, target}),
        unaligned(vector, own),
        accessors("OUT", 0, "q0", target),
        "#define AT(place) (*(__global unaligned *)(p0 + (place)))",
        f"#define COMBINE(a, b) ({how.combined(accumulated)})",
        f"__kernel void {name}({', '.join(parameters)}) {{",
        "    long item = get_global_id(0);",
        "    if (item >= items) return;",
        # The last block begins early enough to be whole: what it shares with the one before it computes alike.
        f"    long column = min(item % blocks * {width}, columns - {width}), o = item / blocks;",
        "    long others = count / columns, c = o / others; o %= others;",
        "    long row = c * count + o * columns + column;",
        *places("x", rank),
        "    x += column;",
        "    long j = c * span, end = min(j + span, length);",
        f"    {vector} s = AT(x + j * stride), t = AT(x + j * stride + {half});",
        "    for (++j; j < end; ++j) {",
        f"        {vector} v = AT(x + j * stride), w = AT(x + j * stride + {half});",
        f"        {{ {vector} a = s, b = v; s = COMBINE(a, b); }}",
        f"        {{ {vector} a = t, b = w; t = COMBINE(a, b); }}",
        "    }",
        f"    {own} lanes[{width}];",
        f"    *(unaligned *)lanes = s; *(unaligned *)(lanes + {half}) = t;",
        f"    for (int k = 0; k < {width}; ++k) OUT0(q_offset + row + k, {cast('lanes[k]', accumulated, target)});",
        "}",
    ]
    scalars = [None, None] + [numpy.int64] * (9 + 2 * rank)
    return name, runtime.build(name, "\n".join(lines) + "\n", scalars)


def _build_pass(runtime: Runtime, how: Reduction, key: Any) -> tuple[str, Any]:
    _, _, source, accumulated, target, rank, unit, blocked = key
    name = kernel_name(how.name, key)
    value = cast("IN0(place)", source, accumulated)
    own = ELEMENTS[accumulated].compute
    step = "" if unit else " * stride"
    unrolled = ""
    if unit and blocked:
        lanes = range(8)
        unrolled = "\n".join(
            [
                "    if (end - j >= 16) {",
                "        " + " ".join(f"{own} l{k} = VALUE(x + j + {k});" for k in lanes),
                "        for (j += 8; j + 8 <= end; j += 8) {",
                *[f"            l{k} = combine(l{k}, VALUE(x + j + {k}));" for k in lanes],
                "        }",
                "        l0 = combine(l0, l1); l2 = combine(l2, l3); l4 = combine(l4, l5); l6 = combine(l6, l7);",
                "        total = combine(combine(l0, l2), combine(l4, l6));",
                "    } else",
            ]
        )
    parameters = [
        f"__global {ELEMENTS[target].storage} *q0", f"__global {ELEMENTS[source].storage} *p0", "long q_offset",
        "long x", "long count", "long items", "long length", "long stride", "long start", "long step", "long span",
        *extent_parameters(rank),
    ]  # fmt: skip
    lines = [
        preamble({source, accumulated, target}),
        accessors("OUT", 0, "q0", target),
        accessors("IN", 0, "p0", source),
        f"#define VALUE(place) ({value})",
        f"{own} combine({own} a, {own} b) {{ return {how.combined(accumulated)}; }}",
        f"__kernel void {name}({', '.join(parameters)}) {{",
        "    long item = get_global_id(0);",
        "    if (item >= items) return;",
        "    long o = item % count, c = item / count;",
        *places("x", rank),
        "    long j = c * start, end = min(j + span, length);",
        f"    {own} total;",
        unrolled,
        f"    {{ total = VALUE(x + j{step}); j += step; }}",
        f"    for (; j < end; j += step) total = combine(total, VALUE(x + j{step}));",
        f"    OUT0(q_offset + item, {cast('total', accumulated, target)});",
        "}",
    ]
    scalars = [None, None] + [numpy.int64] * (9 + 2 * rank)
    return name, runtime.build(name, "\n".join(lines) + "\n", scalars)
