"""Running sums and products."""

from __future__ import annotations

from collections.abc import Callable
from math import prod as product
from typing import Any

from flambeau.dtypes import dtype, int64
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import contiguous, to_dtype
from flambeau_opencl.elements import ACCUMULATED, ELEMENTS, cast
from flambeau_opencl.maps import run
from flambeau_opencl.passes import CHUNK, PROD, SUM, Reduction
from flambeau_opencl.reduction import sum_type

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
        kind = sum_type(input, dtype)
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

KERNELS: dict[str, Callable[..., Any]] = {"cumsum": cumsum, "cumprod": cumprod}
