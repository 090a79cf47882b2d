"""Kernels that make arrays from numbers, copies and casts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flambeau.dtypes import (
    COMPLEX,
    INTEGER,
    cast_number,
    complex64,
    complex128,
    dtype,
    float32,
    float64,
    int64,
    scalar_dtype,
)
from flambeau.ops.spec import broadcast_shapes
from flambeau.striding import merged
from flambeau_opencl.array import Array, empty
from flambeau_opencl.elements import ELEMENTS, cast
from flambeau_opencl.elementwise import number
from flambeau_opencl.maps import run
from flambeau_opencl.runtime import runtime


def filled(where: Any, size: tuple[int, ...], value: Any, kind: dtype) -> Array:
    """A new array on a runtime with one value everywhere."""
    result = empty(where, size, kind)
    return fill(result, value)


def fill(target: Array, value: Any) -> Array:
    """Write a Python number everywhere."""
    numbers, form = number(value, target.dtype)
    run("fill", f"r0 = {form.format('n0', 'n1')};", [target], [], numbers)
    return target


def full(size: tuple[int, ...], fill_value: Any, dtype: dtype | None = None, device: Any = None) -> Array:
    """An array of the shape ``size`` with ``fill_value`` everywhere.

    Raises:
        RuntimeError: when the value does not fit into an integer dtype.
    """
    kind = dtype or (fill_value.dtype if isinstance(fill_value, Array) else scalar_dtype(fill_value))
    where = fill_value.runtime if isinstance(fill_value, Array) and device is None else runtime(device)
    if isinstance(fill_value, Array):
        return assign(empty(where, size, kind), fill_value)
    if hasattr(fill_value, "item"):
        fill_value = fill_value.item()
    if kind.category == INTEGER:
        bits = 8 * kind.itemsize
        low, high = -(1 << (bits - (1 if kind.is_signed else 0))), 1 << (bits - (1 if kind.is_signed else 0))
        if not low <= fill_value < high:
            raise RuntimeError(f"full: value cannot be converted to type {kind.name} without overflow: {fill_value}")
        fill_value = cast_number(fill_value, kind)
    return filled(where, size, fill_value, kind)


def new_full(input: Array, size: tuple[int, ...], fill_value: Any, dtype: dtype | None = None) -> Array:
    """:func:`full` with the dtype of ``input`` unless ``dtype`` is given."""
    return full(size, fill_value, dtype or input.dtype, input.runtime.device)


def full_like(input: Array, fill_value: Any, dtype: dtype | None = None) -> Array:
    """:func:`new_full` with the shape of ``input``."""
    return new_full(input, input.shape, fill_value, dtype)


def arange(start: float, end: float, step: float = 1, dtype: dtype | None = None, device: Any = None) -> Array:
    """``start + i * step`` for as long as that is before ``end``, computed from i, so that no error builds up."""
    where = runtime(device)
    if isinstance(start, int) and isinstance(end, int) and isinstance(step, int):
        count = -((start - end) // step)
        computed = int64
    else:
        count = math.ceil((end - start) / step)
        computed = float64 if where.has_double else float32
    kind = dtype or (int64 if computed is int64 else float32)
    result = empty(where, (count,), kind)
    real = ELEMENTS[computed].compute
    value = cast(f"(n0 + ({real})i * n1)", computed, kind)
    run("arange", f"r0 = {value};", [result], [], [(real, start), (real, step)])
    return result


def to_dtype(input: Array, dtype: dtype) -> Array:
    """The elements cast to ``dtype``, or the array itself where that is its dtype already."""
    if input.dtype is dtype:
        return input
    result = empty(input.runtime, input.shape, dtype)
    run("to_dtype", f"r0 = {cast('a0', input.dtype, dtype)};", [result], [input])
    return result


# A tile of 16 by 16, so that what is read along one dimension and written along the other stays in the cache.
_TURN = """
long down = i / n5 % n4 * 16, right = i % n5 * 16;
int rows = (int)min(n0 - down, 16L), columns = (int)min(n1 - right, 16L);
for (int j = 0; j < rows; ++j)
    for (int k = 0; k < columns; ++k) OUT0(y0 + j * n2 + k, IN0(x0 + j + k * n3));
"""


def clone(input: Array) -> Array:
    """A copy, contiguous in row-major order."""
    result = empty(input.runtime, input.shape, input.dtype)
    if not (input.contiguous or not input.runtime.is_cpu) and _turned(result, input):
        return result
    run("clone", "r0 = a0;", [result], [input])
    return result


def _turned(target: Array, source: Array) -> bool:
    """Copy ``source`` into the contiguous ``target`` in tiles, if its last dimension is not the one in one piece."""
    shape, (own, other) = merged(target.shape, (target.strides, source.strides))
    if len(shape) < 2 or other[-1] == 1 or 1 not in other[:-1]:
        return False
    along = other.index(1)
    tall, wide = shape[along], shape[-1]
    if tall < 16 or wide < 16:
        return False
    kept = [d for d in range(len(shape) - 1) if d != along]
    tiles = -(-tall // 16), -(-wide // 16)
    windows = [
        array.window(
            (*[shape[d] for d in kept], *tiles), (*[steps[d] for d in kept], 16 * steps[along], 16 * steps[-1]),
            array.offset,
        )
        for array, steps in ((target, own), (source, other))
    ]  # fmt: skip
    numbers = [("long", n) for n in (tall, wide, own[along], other[-1], *tiles)]
    run("turn", _TURN, windows[:1], windows[1:], numbers, "r0 a0")
    return True


def contiguous(input: Array) -> Array:
    """The array itself where it is contiguous, otherwise a copy that is."""
    return input if input.contiguous else clone(input)


def unaliased(value: Array, target: Array) -> Array:
    """``value``, or a copy where it shares memory with ``target`` at other places."""
    if value.storage is not target.storage:
        return value
    same = value.shape == target.shape and value.strides == target.strides and value.offset == target.offset
    return value if same and value.dtype is target.dtype else clone(value)


def assign(target: Array, value: Any) -> Array:
    """Write ``value``, broadcast and cast, into the memory of ``target``; returns ``target``.

    Raises:
        RuntimeError: when the shapes do not fit.
    """
    if not isinstance(value, Array):
        return fill(target, value)
    if value.shape != target.shape:
        while len(value.shape) > len(target.shape) and value.shape[0] == 1:
            value = value.window(value.shape[1:], value.strides[1:], value.offset)
        lead = len(target.shape) - len(value.shape)
        fits = lead >= 0 and all(n in (1, m) for n, m in zip(value.shape, target.shape[lead:], strict=True))
        if not fits:
            raise RuntimeError(f"assign: the shape {list(value.shape)} does not broadcast to {list(target.shape)}")
    value = unaliased(value, target)
    run("assign", f"r0 = {cast('a0', value.dtype, target.dtype)};", [target], [value])
    return target


def complex_(real: Array, imag: Array) -> Array:
    """The complex array with these real and imaginary parts, which broadcast."""
    kind = complex128 if real.dtype is float64 else complex64
    result = empty(real.runtime, broadcast_shapes("complex", real.shape, imag.shape), kind)
    run("complex", f"r0 = ({ELEMENTS[kind].compute})(a0, a1);", [result], [real, imag])
    return result


def eye(n: int, m: int, dtype: dtype, device: Any = None) -> Array:
    """The (n, m) array with ones on the main diagonal and zeros elsewhere."""
    result = empty(runtime(device), (n, m), dtype)
    one = f"({ELEMENTS[dtype].compute})(1, 0)" if dtype.category == COMPLEX else "1"
    zero = f"({ELEMENTS[dtype].compute})(0, 0)" if dtype.category == COMPLEX else "0"
    run("eye", f"if (i % (n0 + 1) == 0 && i < n0 * n0) r0 = {one}; else r0 = {zero};", [result], [], [("long", m)])
    return result


KERNELS: dict[str, Callable[..., Any]] = {
    "full": full,
    "new_full": new_full,
    "full_like": full_like,
    "arange": arange,
    "eye": eye,
    "to_dtype": to_dtype,
    "clone": clone,
    "assign": assign,
    "complex": complex_,
}
