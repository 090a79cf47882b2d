"""Kernels that make arrays from numbers, and casts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy

from flambeau.dtypes import FLOATING, from_numpy_dtype, scalar_dtype
from flambeau_array.creation import kernels, not_assignable
from flambeau_cupy.elements import compute, own_dtype
from flambeau_cupy.maps import run

Array = Any
DType = Any


def full(size: tuple[int, ...], fill_value: Any, dtype: DType = None, device: Any = None) -> Array:
    """An array of the shape ``size`` with ``fill_value`` everywhere.

    Raises:
        RuntimeError: when the value does not fit into an integer dtype.
    """
    own = scalar_dtype(fill_value).numpy if dtype is None else dtype.numpy
    if not isinstance(fill_value, cupy.ndarray) and not fill_value:
        return cupy.zeros(size, own)
    result = cupy.empty(size, own)
    if isinstance(fill_value, cupy.ndarray):
        result[...] = fill_value
    else:
        result.fill(_number(fill_value, own))
    return result


def _number(value: Any, own: Any) -> Any:
    """A Python number in a dtype; negative ones wrap around in an unsigned one, as in C."""
    if own.kind not in "iu" or not isinstance(value, int):
        return numpy.array(value).astype(own)[()]
    limits = numpy.iinfo(own)
    if not (limits.min or -limits.max - 1) <= value <= limits.max:
        raise RuntimeError(f"full: value cannot be converted to type {own} without overflow: {value}")
    return own.type(value % (limits.max + 1) if limits.min == 0 else value)


def new_full(input: Array, size: tuple[int, ...], fill_value: Any, dtype: DType = None) -> Array:
    """:func:`full` with the dtype of ``input`` unless ``dtype`` is given."""
    return full(size, fill_value, dtype or from_numpy_dtype(input.dtype))


def full_like(input: Array, fill_value: Any, dtype: DType = None) -> Array:
    """:func:`new_full` with the shape of ``input``."""
    return new_full(input, input.shape, fill_value, dtype)


def to_dtype(input: Array, dtype: DType) -> Array:
    """The elements cast to ``dtype``, or the array itself where that is its dtype already.

    What does not fit into an integer dtype wraps around, as on the CPU.
    """
    own = dtype.numpy
    if input.dtype == own:
        return input
    if input.dtype.kind == "c" and not dtype.is_complex:
        input = input.real
    if own.kind in "iu" and own_dtype(input).category == FLOATING:
        result = cupy.empty(input.shape, own)
        run("to_dtype", f"r0 = ({compute(dtype)})(long long)a0;", [result], [input])
        return result
    return input.astype(own)


def assign(target: Array, value: Any) -> Array:
    """Write ``value``, broadcast and cast, into the memory of ``target``; returns ``target``.

    Raises:
        RuntimeError: when the shapes do not fit.
    """
    if isinstance(value, cupy.ndarray):
        if value.dtype != target.dtype:
            value = to_dtype(value, own_dtype(target))
    elif target.dtype.kind in "iu" and isinstance(value, int):
        value = _number(value, target.dtype)
    try:
        target[...] = value
    except ValueError:
        raise not_assignable(numpy.shape(value), target.shape) from None
    return target


KERNELS: dict[str, Callable[..., Any]] = {
    **kernels(cupy),
    "full": full,
    "new_full": new_full,
    "full_like": full_like,
    "to_dtype": to_dtype,
    "assign": assign,
}
