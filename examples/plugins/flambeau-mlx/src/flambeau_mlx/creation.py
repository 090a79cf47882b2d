"""Kernels that make arrays from numbers, casts, copies, and the writing into arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy
from flambeau.dtypes import INTEGER, dtype, scalar_dtype

from flambeau_mlx.array import Array, fresh, native
from flambeau_mlx.elementwise import number, paired


def full(size: tuple[int, ...], fill_value: Any, dtype: dtype | None = None, device: Any = None) -> Array:
    """An array of the shape ``size`` with ``fill_value`` everywhere.

    Raises:
        RuntimeError: when the value does not fit into an integer dtype.
    """
    if isinstance(fill_value, Array):
        kind = dtype or fill_value.dtype
        return fresh(mx.broadcast_to(fill_value.value.astype(native(kind)), size))
    fill_value = fill_value.item() if hasattr(fill_value, "item") else fill_value
    kind = dtype or scalar_dtype(fill_value)
    if kind.category == INTEGER:
        bits = 8 * kind.itemsize
        if not -(1 << (bits - kind.is_signed)) <= fill_value < 1 << (bits - kind.is_signed):
            raise RuntimeError(f"full: value cannot be converted to type {kind.name} without overflow: {fill_value}")
    return fresh(mx.full(size, number(fill_value, kind), native(kind)))


def new_full(input: Array, size: tuple[int, ...], fill_value: Any, dtype: dtype | None = None) -> Array:
    """:func:`full` with the dtype of ``input`` unless ``dtype`` is given."""
    return full(size, fill_value, dtype or input.dtype)


def full_like(input: Array, fill_value: Any, dtype: dtype | None = None) -> Array:
    """:func:`new_full` with the shape of ``input``."""
    return full(input.shape, fill_value, dtype or input.dtype)


def arange(start: float, end: float, step: float = 1, dtype: dtype | None = None, device: Any = None) -> Array:
    """``start + i * step`` for as long as that is before ``end``, computed on the host in double precision."""
    if isinstance(start, int) and isinstance(end, int) and isinstance(step, int):
        values: Any = numpy.arange(start, end, step, numpy.int64)
    else:
        values = start + numpy.arange(math.ceil((end - start) / step), dtype=numpy.float64) * step
    own = (native(dtype) if dtype else None) or (mx.int64 if values.dtype == numpy.int64 else mx.float32)
    return fresh(mx.array(values, own))


def to_dtype(input: Array, dtype: dtype) -> Array:
    """The elements cast to ``dtype``, or the array itself where that is its dtype already."""
    return input if input.dtype is dtype else fresh(input.value.astype(native(dtype)))


def clone(input: Array) -> Array:
    """A copy, contiguous in row-major order: made when one of the two is written to."""
    return fresh(input.value)


def assign(target: Array, value: Any) -> Array:
    """Write ``value``, broadcast and cast, into the memory of ``target``; returns ``target``.

    Raises:
        RuntimeError: when the shapes do not fit.
    """
    own = native(target.dtype)
    if not isinstance(value, Array):
        target.write(mx.full(target.shape, number(value, target.dtype), own))
        return target
    given = value.value
    if value.dtype is not target.dtype:
        given = given.astype(own)
    if value.shape != target.shape:
        given = _broadcast(given, target.shape)
    target.write(given)
    return target


def _broadcast(given: Any, shape: tuple[int, ...]) -> Any:
    extra = len(given.shape) - len(shape)
    leading = given.shape[:extra] if extra > 0 else ()
    try:
        if any(n != 1 for n in leading):
            raise ValueError
        return mx.broadcast_to(given.reshape(given.shape[len(leading) :]), shape)
    except ValueError:
        raise RuntimeError(f"assign: the shape {list(given.shape)} does not broadcast to {list(shape)}") from None


def complex_(real: Array, imag: Array) -> Array:
    """The complex array with these real and imaginary parts, which broadcast."""
    return fresh(paired(real.value, imag.value))


def eye(n: int, m: int, dtype: dtype, device: Any = None) -> Array:
    """The (n, m) array with ones on the main diagonal and zeros elsewhere."""
    return fresh(mx.eye(n, m, dtype=native(dtype)))


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
