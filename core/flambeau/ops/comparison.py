"""Comparison, logic, and choosing between elements."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import (
    FLOATING,
    bool_,
    cast_number,
    complex64,
    finfo,
    get_default_dtype,
    int64,
)
from flambeau.ops.declare import composite, elementwise

Tensor = Any
Number = Any
DType = Any
Device = Any
Xp = Any


# -- comparison and logic ------------------------------------------------------------------------------------------


@elementwise(dtype="bool")
def eq(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return whether two elements are equal."""


@elementwise(dtype="bool")
def ne(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return whether two elements differ."""


@elementwise(dtype="bool")
def lt(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return whether ``input < other``."""


@elementwise(dtype="bool")
def le(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return whether ``input <= other``."""


@elementwise(dtype="bool")
def gt(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return whether ``input > other``."""


@elementwise(dtype="bool")
def ge(input: Tensor, other: Tensor | Number) -> Tensor:
    """Return whether ``input >= other``."""


@elementwise(dtype="bool")
def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Return whether both elements are true (not 0)."""


@elementwise(dtype="bool")
def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """Return whether one of the elements is true (not 0)."""


@elementwise(dtype="bool")
def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Return whether exactly one of the elements is true (not 0)."""


@elementwise(dtype="bool")
def logical_not(input: Tensor) -> Tensor:
    """Return whether each element is false (0)."""


@elementwise(dtype="bool", inplace=False)
def isfinite(input: Tensor) -> Tensor:
    """Return whether each element is neither infinite nor NaN."""


@elementwise(dtype="bool", inplace=False)
def isinf(input: Tensor) -> Tensor:
    """Return whether each element is infinite."""


@elementwise(dtype="bool", inplace=False)
def isnan(input: Tensor) -> Tensor:
    """Return whether each element is NaN."""


def _check_real(name: str) -> Any:
    def check(input: Any) -> None:
        if input._dtype.is_complex:
            raise RuntimeError(f"{name} does not support complex inputs, and this one is {input._dtype.name}")

    return check


@composite(dtype="bool", differentiable=False)
def isposinf(xp: Xp, input: Tensor) -> Tensor:
    """Return whether each element is positive infinity."""
    return xp.logical_and(xp.isinf(input), xp.gt(input, 0))


@composite(dtype="bool", differentiable=False)
def isneginf(xp: Xp, input: Tensor) -> Tensor:
    """Return whether each element is negative infinity."""
    return xp.logical_and(xp.isinf(input), xp.lt(input, 0))


isposinf.check(_check_real("isposinf"))
isneginf.check(_check_real("isneginf"))


@composite(dtype="bool", differentiable=False)
def isreal(xp: Xp, input: Tensor) -> Tensor:
    """Return whether each element has no imaginary part."""
    if xp.dtype_of(input).is_complex:
        return xp.eq(xp.imag(input), 0)
    return xp.full(input.shape, True, bool_, xp.device_of(input))


@composite(dtype="bool", differentiable=False)
def signbit(xp: Xp, input: Tensor) -> Tensor:
    """Return whether the sign of each element is set, which it is for -0.0.

    Raises:
        NotImplementedError: for complex numbers.
    """
    dtype = xp.dtype_of(input)
    if dtype.is_complex:
        raise NotImplementedError("signbit is not implemented for complex numbers")
    if dtype.category < FLOATING:
        return xp.lt(input, 0)
    one = xp.full((), 1, dtype, xp.device_of(input))
    return xp.lt(xp.copysign(one, input), 0)


@composite(dtype="bool", pointwise=True, differentiable=False)
def isclose(
    xp: Xp, input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Return whether ``abs(input - other) <= atol + rtol * abs(other)``."""
    same = xp.eq(input, other)
    if not rtol and not atol and not equal_nan:
        return same
    if xp.dtype_of(input).category < FLOATING:
        # The difference is exact; what is allowed is of the default dtype, as in PyTorch.
        input, other = xp.to_dtype(input, int64), xp.to_dtype(other, int64)
        difference, size = (xp.to_dtype(xp.abs(x), get_default_dtype()) for x in (xp.sub(input, other), other))
        return xp.logical_or(same, xp.le(difference, xp.add(xp.mul(size, rtol), atol)))
    near = xp.le(xp.abs(xp.sub(input, other)), xp.add(xp.mul(xp.abs(other), rtol), atol))
    same = xp.logical_or(same, xp.logical_and(near, xp.logical_and(xp.isfinite(input), xp.isfinite(other))))
    if equal_nan:
        same = xp.logical_or(same, xp.logical_and(xp.isnan(input), xp.isnan(other)))
    return same


@isclose.check
def _(input: Any, other: Any, rtol: float, atol: float, equal_nan: bool) -> None:
    if rtol < 0 or atol < 0:
        raise RuntimeError(f"isclose: rtol and atol must be greater than or equal to zero, but got {rtol} and {atol}")


@elementwise(dtype="same", differentiable=False)
def bitwise_not(input: Tensor) -> Tensor:
    """Return the bitwise complement of integers, the negation of bools."""


@elementwise(dtype="promote", differentiable=False)
def bitwise_and(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return the bitwise and of integers or bools."""


@elementwise(dtype="promote", differentiable=False)
def bitwise_or(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return the bitwise or of integers or bools."""


@elementwise(dtype="promote", differentiable=False)
def bitwise_xor(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return the bitwise exclusive or of integers or bools."""


@elementwise(dtype="promote", differentiable=False)
def bitwise_left_shift(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return integers shifted left by ``other`` bits."""


@elementwise(dtype="promote", differentiable=False)
def bitwise_right_shift(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return integers shifted right by ``other`` bits, keeping the sign."""


# -- choosing ------------------------------------------------------------------------------------------------------


@elementwise(dtype="promote", inplace=False)
def where(condition: Tensor, input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return ``input`` where ``condition`` is true, else ``other``; all three are broadcast."""


where.vjp(
    input=lambda xp, g, condition: xp.where(condition, g, 0.0),
    other=lambda xp, g, condition: xp.where(condition, 0.0, g),
)


@composite(pointwise=True, inplace=True)
def masked_fill(xp: Xp, input: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    """Return ``input`` with ``value``, cast to its dtype, where ``mask`` is true.

    Raises:
        RuntimeError: when ``mask`` is not of dtype bool, ``value`` has dimensions, or is complex and ``input`` real.
    """
    return xp.where(mask, value, input)


@masked_fill.canonical
def _(input: Any, mask: Any, value: Any) -> Any:
    if mask._dtype is not bool_:
        raise RuntimeError(f"masked_fill: mask has to be of dtype bool, but it is {mask._dtype.name}")
    own = input._dtype
    if hasattr(value, "_array"):
        if value.ndim:
            raise RuntimeError(
                f"masked_fill only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)"
            )
        if value._device is not input._device:
            value = value.to(input._device)
        given = value._dtype
        value = value if given is own else value.to_dtype(own)
    else:
        given = complex64 if isinstance(value, complex) else own
        value = cast_number(value, own) if given is own else value
    if given.is_complex and not own.is_complex:
        raise RuntimeError(f"masked_fill: a complex value cannot be converted to {own.name}")
    return input, mask, value


@composite(dtype="promote", pointwise=True, inplace=True)
def clamp(xp: Xp, input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None) -> Tensor:
    """Return ``input`` with values below ``min`` raised to it and values above ``max`` lowered to it."""
    if min is not None:
        input = xp.maximum(input, min)
    if max is not None:
        input = xp.minimum(input, max)
    return input


def _clamp_input(xp: Xp, g: Any, input: Any, min: Any, max: Any) -> Any:
    kept = None
    if min is not None:
        kept = xp.ge(input, min)
    if max is not None:
        below = xp.le(input, max)
        kept = below if kept is None else xp.logical_and(kept, below)
    return xp.where(kept, g, 0.0)


def _clamp_min(xp: Xp, g: Any, input: Any, min: Any, max: Any) -> Any:
    taken = xp.lt(input, min)
    if max is not None:
        taken = xp.logical_and(taken, xp.lt(min, max))
    return xp.where(taken, g, 0.0)


def _clamp_max(xp: Xp, g: Any, input: Any, min: Any, max: Any) -> Any:
    taken = xp.gt(input, max)
    if min is not None:
        taken = xp.logical_or(taken, xp.gt(min, max))
    return xp.where(taken, g, 0.0)


clamp.vjp(input=_clamp_input, min=_clamp_min, max=_clamp_max)


@clamp.check
def _(input: Any, min: Any, max: Any) -> None:
    if min is None and max is None:
        raise RuntimeError("clamp: At least one of 'min' or 'max' must not be None")


@composite(inline=True, inplace=True)
def clamp_min(xp: Xp, input: Tensor, min: Tensor | Number) -> Tensor:
    """Return ``input`` with values below ``min`` raised to it."""
    return xp.clamp(input, min, None)


@composite(inline=True, inplace=True)
def clamp_max(xp: Xp, input: Tensor, max: Tensor | Number) -> Tensor:
    """Return ``input`` with values above ``max`` lowered to it."""
    return xp.clamp(input, None, max)


@composite(dtype="same", pointwise=True, inplace=True)
def nan_to_num(
    xp: Xp, input: Tensor, nan: Number | None = None, posinf: Number | None = None, neginf: Number | None = None
) -> Tensor:
    """Return ``input`` with NaN replaced by ``nan`` (0) and infinities by the given or the largest finite numbers."""
    dtype = xp.dtype_of(input)
    if dtype.is_complex:
        parts = [xp.nan_to_num(part, nan, posinf, neginf) for part in (xp.real(input), xp.imag(input))]
        return xp.complex(*parts)
    if dtype.category < FLOATING:
        return xp.clone(input)
    limits = finfo(dtype)
    result = xp.where(xp.isnan(input), 0.0 if nan is None else nan, input)
    result = xp.where(xp.eq(input, math.inf), limits.max if posinf is None else posinf, result)
    return xp.where(xp.eq(input, -math.inf), limits.min if neginf is None else neginf, result)
