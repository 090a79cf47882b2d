"""Kernels that make arrays from numbers, and casts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from flambeau.dtypes import float8_e4m3fn, from_numpy_dtype, scalar_dtype
from flambeau_array.creation import kernels, not_assignable
from flambeau_numpy.elementwise import LARGE, PIECE
from flambeau_numpy.threads import over_parts

Array = Any
DType = Any


def full(size: tuple[int, ...], fill_value: Any, dtype: DType = None, device: Any = None) -> Array:
    """An array of the shape ``size`` with ``fill_value`` everywhere.

    Raises:
        RuntimeError: when the value does not fit into an integer dtype.
    """
    own = scalar_dtype(fill_value).numpy if dtype is None else dtype.numpy
    if not isinstance(fill_value, numpy.ndarray) and not fill_value:
        return numpy.zeros(size, own)
    result = numpy.empty(size, own)
    try:
        result.fill(fill_value)
    except OverflowError:
        _fill_wrapped(result, fill_value)
    return result


def new_full(input: Array, size: tuple[int, ...], fill_value: Any, dtype: DType = None) -> Array:
    """:func:`full` with the dtype of ``input`` unless ``dtype`` is given."""
    if dtype is not None or isinstance(fill_value, numpy.ndarray) or fill_value:
        return full(size, fill_value, dtype or from_numpy_dtype(input.dtype))
    return numpy.zeros(size, input.dtype)


def full_like(input: Array, fill_value: Any, dtype: DType = None) -> Array:
    """:func:`new_full` with the shape of ``input``."""
    return new_full(input, input.shape, fill_value, dtype)


def _fill_wrapped(result: Array, fill_value: Any) -> None:
    """Fill unsigned integers with a negative number, which wraps around as in C."""
    limits = numpy.iinfo(result.dtype)
    if not isinstance(fill_value, int) or not -limits.max - 1 <= fill_value <= limits.max:
        raise RuntimeError(f"full: value cannot be converted to type {result.dtype} without overflow: {fill_value}")
    result.fill(fill_value % (limits.max + 1))


def to_dtype(input: Array, dtype: DType) -> Array:
    """The elements cast to ``dtype``, or the array itself where that is its dtype already."""
    own = dtype.numpy
    if input.dtype is own or input.dtype == own:
        return input
    if input.dtype.kind == "c" and not dtype.is_complex:
        input = input.real
    if dtype is float8_e4m3fn:
        input = numpy.clip(input, -448.0, 448.0)  # it has no infinity: as in PyTorch, what is too large is the largest
    if input.size < LARGE or not input.flags.c_contiguous:
        return input.astype(own)
    out = numpy.empty(input.shape, own)
    x, target = input.reshape(-1), out.reshape(-1)
    over_parts(lambda part: numpy.copyto(target[part], x[part], "unsafe"), x.size, PIECE)
    return out


def assign(target: Array, value: Any) -> Array:
    """Write ``value``, broadcast and cast, into the memory of ``target``; returns ``target``.

    Raises:
        RuntimeError: when the shapes do not fit.
    """
    try:
        target[...] = value
    except ValueError:
        if not target.flags.writeable:
            raise RuntimeError("assign: the memory of the target is read-only") from None
        raise not_assignable(numpy.shape(value), target.shape) from None
    return target


KERNELS: dict[str, Callable[..., Any]] = {
    **kernels(numpy),
    "full": full,
    "new_full": new_full,
    "full_like": full_like,
    "to_dtype": to_dtype,
    "assign": assign,
}
