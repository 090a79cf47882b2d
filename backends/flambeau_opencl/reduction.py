"""Kernels that reduce dimensions: sums, products, extremes, and running sums.

A pass reduces one dimension (after neighbours have been merged): each work-item runs along it for one result. A long
dimension is cut into chunks, whose results a second pass combines, which keeps the device busy and rounding small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod as product
from typing import Any

import numpy

from flambeau.dtypes import COMPLEX, FLOATING, bool_, dtype, int64
from flambeau.ops.spec import reduced_shape
from flambeau_opencl.array import Array, contiguous_strides, empty
from flambeau_opencl.creation import contiguous, filled, to_dtype
from flambeau_opencl.elements import ACCUMULATED, ELEMENTS, cast, preamble
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
    blocks = runtime.is_cpu or along[1] != 1
    key = ("reduce", how.name, source.dtype, accumulated, target.dtype, len(kept), along[1] == 1, blocks)
    found = runtime.kernels.get(key)
    if found is None:
        found = runtime.kernels[key] = _build_pass(runtime, how, key)
    name, kernel = found
    length = CHUNK if chunks > 1 else along[0]  # so that no chunk is empty
    start, step, span = (length, 1, length) if blocks else (1, chunks, along[0])
    args = [target.storage.buffer, source.storage.buffer, target.offset, offset, count, count * chunks]
    args += [along[0], along[1], start, step, span, *extents(kept)]
    runtime.launch(name, kernel, (count * chunks,), (runtime.local_size,), args)


def _build_pass(runtime: Runtime, how: Reduction, key: Any) -> tuple[str, Any]:
    _, _, source, accumulated, target, rank, unit, blocks = key
    name = kernel_name(how.name, key)
    value = cast("IN0(place)", source, accumulated)
    own = ELEMENTS[accumulated].compute
    step = "" if unit else " * stride"
    unrolled = ""
    if unit and blocks:
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


# -- kernels -------------------------------------------------------------------------------------------------------


def _sum_type(input: Array, kind: dtype | None) -> dtype:
    if kind is not None:
        return kind
    return int64 if input.dtype.category < FLOATING else input.dtype


def _totalled(how: Reduction, identity: int) -> Callable[..., Array]:
    def total(input: Array, dim: Sequence[int], keepdim: bool = False, dtype: dtype | None = None) -> Array:
        kind = _sum_type(input, dtype)
        result = empty(input.storage.runtime, reduced_shape(input.shape, dim, keepdim), kind)
        if 0 in [input.shape[d] for d in dim]:
            return filled(result.runtime, result.shape, identity, kind)
        accumulated = int64 if kind is bool_ else ACCUMULATED.get(kind, kind)
        return reduce(input, dim, how, accumulated, result)

    total.__name__ = how.name
    total.__doc__ = f"The {how.name} over ``dim``; of bools and integers in int64 unless ``dtype`` says otherwise."
    return total


sum = _totalled(SUM, 0)
prod = _totalled(PROD, 1)


def mean(input: Array, dim: Sequence[int], keepdim: bool = False, dtype: dtype | None = None) -> Array:
    """The mean over ``dim``; NaN of nothing.

    Raises:
        RuntimeError: for bools and integers without a floating-point ``dtype``.
    """
    from flambeau_opencl.elementwise import KERNELS as ELEMENTWISE

    kind = dtype or input.dtype
    if kind.category < FLOATING:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {kind.name}"
        )
    accumulated = ACCUMULATED.get(kind, kind)
    total = sum(input, dim, keepdim, accumulated)
    count = product([input.shape[d] for d in dim])
    return to_dtype(ELEMENTWISE["mul"](total, 1 / count if count else float("nan")), kind)


def _check_not_empty(name: str, input: Array, dims: Sequence[int]) -> None:
    for d in dims:
        if input.shape[d] == 0:
            raise IndexError(
                f"{name}(): Expected reduction dim {d} to have non-zero size, got the shape {list(input.shape)}"
            )


def _extreme(how: Reduction) -> Callable[..., Array]:
    def extreme(input: Array, dim: Sequence[int], keepdim: bool = False) -> Array:
        _check_not_empty(how.name, input, dim)
        result = empty(input.storage.runtime, reduced_shape(input.shape, dim, keepdim), input.dtype)
        return reduce(input, dim, how, ACCUMULATED.get(input.dtype, input.dtype), result)

    extreme.__name__ = how.name
    extreme.__doc__ = f"The {how.name} over ``dim``: NaN where there is one; IndexError of nothing."
    return extreme


amax = _extreme(AMAX)
amin = _extreme(AMIN)


def _truth(how: Reduction, identity: bool) -> Callable[..., Array]:
    def truth(input: Array, dim: Sequence[int], keepdim: bool = False) -> Array:
        result = empty(input.storage.runtime, reduced_shape(input.shape, dim, keepdim), bool_)
        if 0 in [input.shape[d] for d in dim]:
            return filled(result.runtime, result.shape, identity, bool_)
        return reduce(input, dim, how, bool_, result)

    truth.__name__ = how.name
    truth.__doc__ = f"Whether {how.name} of the elements along ``dim`` are true."
    return truth


all = _truth(ALL, True)
any = _truth(ANY, False)

# -- positions -----------------------------------------------------------------------------------------------------

_SEARCH = """
long j = {first}, end = {end};
long best = {candidate};
{T} found = IN0(x0 + best * n0);
for (++j; j < end; ++j) {{
    long at = {candidate};
    {T} value = IN0(x0 + at * n0);
    if (value {sign} found || (value != value && found == found)) {{ found = value; best = at; }}
}}
r0 = best;
"""


def _extreme_position(name: str, sign: str) -> Callable[..., Array]:
    def position(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
        shape = input.shape
        if dim is None:
            if input.size == 0:
                raise IndexError(f"{name}(): Expected reduction dim to have non-zero size, got the shape {list(shape)}")
            flat = position(contiguous(input).reshaped(input.size), 0)
            return flat.reshaped(*(1,) * len(shape)) if keepdim else flat
        runtime = input.runtime
        if shape == ():
            return filled(runtime, (), 0, int64)
        _check_not_empty(name, input, (dim,))
        length, step = shape[dim], input.strides[dim]
        kept = [d for d in range(len(shape)) if d != dim]
        outer = tuple([shape[d] for d in kept])
        origin = input.window(outer, [input.strides[d] for d in kept], input.offset)
        real = ELEMENTS[input.dtype].compute
        chunks = -(-length // CHUNK)
        result = empty(runtime, outer, int64)
        numbers = [("long", step), ("long", length), ("long", CHUNK)]
        if chunks == 1:
            body = _SEARCH.format(first="0", end="n1", candidate="j", T=real, sign=sign)
            run(name, body, [result], [origin], numbers, raw="a0")
        else:
            partial = empty(runtime, (*outer, chunks), int64)
            chunk = empty(runtime, (chunks,), int64)
            run("chunks", "r0 = i;", [chunk], [])
            spread = origin.window((*outer, 1), (*origin.strides, 0), origin.offset)
            body = _SEARCH.format(first="a1 * n2", end="min(n1, (a1 + 1) * n2)", candidate="j", T=real, sign=sign)
            run(name, body, [partial], [spread, chunk], numbers, raw="a0")
            body = _SEARCH.format(first="0", end="n1", candidate="IN1(x1 + j)", T=real, sign=sign)
            first = partial.window(outer, partial.strides[:-1], 0)
            run(name, body, [result], [origin, first], [numbers[0], ("long", chunks)], raw="a0 a1")
        return result.reshaped(*reduced_shape(shape, (dim,), True)) if keepdim else result

    position.__name__ = name
    position.__doc__ = f"``{name}``: the first of equal elements, or the first NaN; IndexError of nothing."
    return position


argmax = _extreme_position("argmax", ">")
argmin = _extreme_position("argmin", "<")

# -- running -------------------------------------------------------------------------------------------------------

_SCAN = """
long c = {chunk};
long j = c * n2, end = min(j + n2, n3);
{T} total = {start};
for (; j < end; ++j) {{
    {T} a = total, b = {value};
    total = {combine};
    OUT0(y0 + j * n0, {stored});
}}
"""


def _running(how: Reduction, identity: str) -> Callable[..., Array]:
    def running(input: Array, dim: int, dtype: dtype | None = None) -> Array:
        kind = _sum_type(input, dtype)
        if input.shape == ():
            return to_dtype(input, kind) if kind is not input.dtype else contiguous(input.window((), (), input.offset))
        result = empty(input.runtime, input.shape, kind)
        if not result.size:
            return result
        return scan(input, dim, result, ACCUMULATED.get(kind, kind))

    def scan(input: Array, dim: int, result: Array, accumulated: Any) -> Array:
        runtime, length = input.runtime, input.shape[dim]
        kept = [d for d in range(len(input.shape)) if d != dim]
        outer = tuple([input.shape[d] for d in kept])
        rows = [a.window(outer, [a.strides[d] for d in kept], a.offset) for a in (result, input)]
        count = product(outer)
        chunks = -(-length // CHUNK) if count < runtime.units else 1
        own = ELEMENTS[accumulated].compute
        parts = {
            "T": own,
            "value": cast("IN0(x0 + j * n1)", input.dtype, accumulated),
            "combine": how.combined(accumulated),
            "stored": cast("total", accumulated, result.dtype),
        }
        begin = f"({own})({identity}, 0)" if accumulated.is_complex else identity
        numbers = [("long", result.strides[dim]), ("long", input.strides[dim])]
        if chunks == 1:
            body = _SCAN.format(chunk="0", start=begin, **parts)
            run(how.name, body, rows[:1], rows[1:], [*numbers, ("long", length), ("long", length)], raw="a0 r0")
            return result
        # The totals of the chunks, added up, are what each next chunk starts with.
        totals = empty(runtime, (*outer, chunks), accumulated)
        chunk = empty(runtime, (chunks,), int64)
        run("chunks", "r0 = i;", [chunk], [])
        spread = [a.window((*outer, 1), (*a.strides, 0), a.offset) for a in rows]
        numbers += [("long", CHUNK), ("long", length)]
        body = _SCAN.format(chunk="a1", start=begin, **parts)
        body = body.replace(f"OUT0(y0 + j * n0, {parts['stored']});", "") + "r0 = total;"
        run(how.name, body, [totals], [spread[1], chunk], numbers, raw="a0")
        before = empty(runtime, totals.shape, accumulated)
        scan(totals, len(outer), before, accumulated)
        carried = before.window((*outer, chunks), before.strides, 0)
        body = _SCAN.format(chunk="a1", start=f"c ? IN2(x2 - 1) : {begin}", **parts)
        shape = (*outer, chunks)
        run(how.name, body, spread[:1], [spread[1], chunk, carried], numbers, raw="a0 a2 r0", shape=shape)
        return result

    running.__name__ = "cum" + how.name
    running.__doc__ = f"The running {how.name} along ``dim``; of bools and integers in int64."
    return running


cumsum = _running(SUM, "0")
cumprod = _running(PROD, "1")

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
