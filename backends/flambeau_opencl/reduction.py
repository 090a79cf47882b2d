"""Kernels that reduce dimensions: sums, means, products, extremes and where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod as product
from typing import Any

from flambeau.dtypes import FLOATING, bool_, dtype, int64, uint8
from flambeau.ops.spec import reduced_shape
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import contiguous, filled, to_dtype
from flambeau_opencl.elements import ACCUMULATED, ELEMENTS
from flambeau_opencl.maps import run
from flambeau_opencl.passes import ALL, AMAX, AMIN, ANY, CHUNK, PROD, SUM, Reduction, reduce


def sum_type(input: Array, kind: dtype | None) -> dtype:
    if kind is not None:
        return kind
    return int64 if input.dtype.category < FLOATING else input.dtype


def _totalled(how: Reduction, identity: int) -> Callable[..., Array]:
    def total(input: Array, dim: Sequence[int], keepdim: bool = False, dtype: dtype | None = None) -> Array:
        kind = sum_type(input, dtype)
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


def _extreme(how: Reduction) -> Callable[..., Array]:
    def extreme(input: Array, dim: Sequence[int], keepdim: bool = False) -> Array:
        result = empty(input.storage.runtime, reduced_shape(input.shape, dim, keepdim), input.dtype)
        return reduce(input, dim, how, ACCUMULATED.get(input.dtype, input.dtype), result)

    extreme.__name__ = how.name
    extreme.__doc__ = f"The {how.name} over ``dim``: NaN where there is one."
    return extreme


amax = _extreme(AMAX)
amin = _extreme(AMIN)


def _truth(how: Reduction, identity: bool) -> Callable[..., Array]:
    def truth(input: Array, dim: Sequence[int], keepdim: bool = False) -> Array:
        kind = uint8 if input.dtype is uint8 else bool_
        result = empty(input.storage.runtime, reduced_shape(input.shape, dim, keepdim), kind)
        if 0 in [input.shape[d] for d in dim]:
            return filled(result.runtime, result.shape, identity, kind)
        return reduce(to_dtype(input, bool_), dim, how, bool_, result)

    truth.__name__ = how.name
    truth.__doc__ = f"Whether {how.name} of the elements along ``dim`` are true: bools, in uint8 of uint8 (as PyTorch)."
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
            flat = position(contiguous(input).reshaped(input.size), 0)
            return flat.reshaped(*(1,) * len(shape)) if keepdim else flat
        runtime = input.runtime
        if shape == ():
            return filled(runtime, (), 0, int64)
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
    position.__doc__ = f"``{name}``: the first of equal elements, or the first NaN."
    return position


argmax = _extreme_position("argmax", ">")
argmin = _extreme_position("argmin", "<")

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
}
