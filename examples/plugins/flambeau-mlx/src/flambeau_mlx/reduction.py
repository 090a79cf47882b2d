"""Kernels that reduce dimensions: sums, products, extremes, truth, and running sums.

``dim`` is a tuple of non-negative dimensions. 16-bit floats are added up and multiplied in float32. Where there are no
elements MLX is not asked: on the CPU it may then count for ever (as of 0.32.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
from flambeau.dtypes import INTEGER, dtype, int64
from flambeau.ops.spec import reduced_shape

from flambeau_mlx.array import Array, fresh, native

_WIDE = {mx.float16: mx.float32, mx.bfloat16: mx.float32}


def of_nothing(input: Array, dim: tuple[int, ...], keepdim: bool, value: Any, own: Any) -> Array:
    """What a reduction gives where the input has no elements."""
    return fresh(mx.full(reduced_shape(input.shape, dim, keepdim), value).astype(own))


def _accumulated(function: Callable[..., Any], empty: float) -> Callable[..., Array]:
    """A kernel that reduces bools and integers in int64 unless ``dtype`` says otherwise."""

    def accumulate(input: Array, dim: tuple[int, ...], keepdim: bool = False, dtype: dtype | None = None) -> Array:
        own = native(dtype or (int64 if input.dtype.category <= INTEGER else input.dtype))
        if not input.size:
            return of_nothing(input, dim, keepdim, empty, own)
        return fresh(function(input.value.astype(_WIDE.get(own, own)), dim, keepdim).astype(own))

    accumulate.__doc__ = f"``{function.__name__}`` over ``dim``; of bools and integers in int64 by default."
    return accumulate


_mean = _accumulated(mx.mean, float("nan"))


def mean(input: Array, dim: tuple[int, ...], keepdim: bool = False, dtype: dtype | None = None) -> Array:
    """The mean over ``dim``; NaN of nothing.

    Raises:
        RuntimeError: for bools and integers without a floating-point ``dtype``.
    """
    if dtype is None and input.dtype.category <= INTEGER:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {input.dtype.name}"
        )
    return _mean(input, dim, keepdim, dtype)


def _extreme(name: str, function: Callable[..., Any]) -> Callable[..., Array]:
    def extreme(input: Array, dim: tuple[int, ...], keepdim: bool = False) -> Array:
        if not input.size:
            return of_nothing(input, dim, keepdim, 0, native(input.dtype))
        return fresh(function(input.value, dim, keepdim))

    extreme.__doc__ = f"``{name}`` over ``dim``: NaN where there is one."
    return extreme


def _truth(function: Callable[..., Any], empty: bool) -> Callable[..., Array]:
    def truth(input: Array, dim: tuple[int, ...], keepdim: bool = False) -> Array:
        own = mx.uint8 if input.dtype.name == "uint8" else mx.bool_
        if not input.size:
            return of_nothing(input, dim, keepdim, empty, own)
        return fresh(function(input.value, dim, keepdim).astype(own))

    truth.__doc__ = "Whether all or any elements along ``dim`` are true; a bool, of uint8 a uint8."
    return truth


def _position(name: str, function: Callable[..., Any]) -> Callable[..., Array]:
    def position(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
        shape = input.shape
        x = input.value
        if input.dtype.name == "bool":
            x = x.astype(mx.uint8)
        if not shape:
            found = mx.zeros((), mx.int64)
        elif dim is not None and not input.size:
            return of_nothing(input, (dim,), keepdim, 0, mx.int64)
        else:
            found = function(x, dim, keepdim)
        return fresh(found.astype(mx.int64))

    position.__doc__ = f"``{name}``: the first of equal elements, or the first NaN."
    return position


def _running(function: Callable[..., Any]) -> Callable[..., Array]:
    def running(input: Array, dim: int, dtype: dtype | None = None) -> Array:
        own = native(dtype or (int64 if input.dtype.category <= INTEGER else input.dtype))
        x = input.value.astype(_WIDE.get(own, own))
        return fresh((function(x, dim) if x.shape and x.size else x).astype(own))

    running.__doc__ = "The running sum or product along ``dim``; of bools and integers in int64."
    return running


KERNELS: dict[str, Callable[..., Any]] = {
    "sum": _accumulated(mx.sum, 0),
    "prod": _accumulated(mx.prod, 1),
    "mean": mean,
    "amax": _extreme("amax", mx.max),
    "amin": _extreme("amin", mx.min),
    "argmax": _position("argmax", mx.argmax),
    "argmin": _position("argmin", mx.argmin),
    "all": _truth(mx.all, True),
    "any": _truth(mx.any, False),
    "cumsum": _running(mx.cumsum),
    "cumprod": _running(mx.cumprod),
}
