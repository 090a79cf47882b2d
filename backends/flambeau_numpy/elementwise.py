"""Kernels that work element by element: what NumPy does in its own way, beside :mod:`flambeau_array.elementwise`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from flambeau_array import elementwise
from flambeau_numpy.blocks import BLOCK
from flambeau_numpy.error_function import erf
from flambeau_numpy.threads import over_parts

Array = Any
Kernel = Callable[..., Any]


def is_half(array: Array) -> bool:
    """Whether the elements have 16 bits (float16, bfloat16), too few to add up many of them."""
    return array.dtype.char in "eE"


def sign(input: Array) -> Array:
    """-1, 0 or 1; 0 for NaN, and bools are their own sign."""
    if input.dtype.kind == "b":
        return input.copy()
    signs = numpy.sign(input)
    if input.dtype.kind in "fV":
        missing = numpy.isnan(signs)
        if missing.any():
            return numpy.where(missing, signs.dtype.type(0), signs)
    return signs


def _whole_division(name: str, ufunc: numpy.ufunc) -> Kernel:
    """A kernel from ``ufunc`` that refuses to divide integers by zero, where NumPy gives 0."""

    def divide(input: Array, other: Array) -> Array:
        dtype = getattr(other, "dtype", None) or getattr(input, "dtype", None)
        if dtype is not None and dtype.kind in "iub" and not numpy.logical_and.reduce(other, None):
            raise RuntimeError(f"ZeroDivisionError: {name}: integer division by zero")
        return ufunc(input, other)

    divide.__name__ = name
    divide.__doc__ = f"``numpy.{ufunc.__name__}``; RuntimeError when integers are divided by zero."
    return divide


#: Elements from which on :func:`_selected` is faster than ``numpy.where``.
_MANY = 4096

_INTEGER_OF_SIZE = {1: numpy.int8, 2: numpy.int16, 4: numpy.int32, 8: numpy.int64}


def _selected(condition: Array, input: Array, other: Array) -> Array | None:
    """``numpy.where`` by way of bits, ``other ^ ((input ^ other) & mask)``: no branches for the processor to guess.

    Six times as fast where the condition follows no pattern. None where the operands are not alike.
    """
    dtype = getattr(input, "dtype", None) or getattr(other, "dtype", None)
    integer = _INTEGER_OF_SIZE.get(dtype.itemsize) if dtype is not None else None
    if integer is None or dtype.kind not in "fiu":
        return None
    bits = []
    for operand in (input, other):
        if not hasattr(operand, "dtype"):
            if isinstance(operand, complex) or (dtype.kind != "f" and not isinstance(operand, int)):
                return None  # it widens the result
            bits.append(numpy.asarray(operand, dtype).view(integer))
        elif operand.dtype != dtype:
            return None
        elif operand.shape == condition.shape and operand.flags.c_contiguous:
            bits.append(operand.view(integer).reshape(-1))
        elif not operand.shape:
            bits.append(operand.view(integer))
        else:
            return None
    out = numpy.empty(condition.size, integer)
    chosen = condition.view(numpy.int8).reshape(-1)

    def work(part: slice) -> None:
        first, second = (each[part] if each.shape else each for each in bits)
        mask = chosen[part].astype(integer)
        numpy.negative(mask, mask)
        target = out[part]
        numpy.bitwise_xor(first, second, target)
        numpy.bitwise_and(target, mask, target)
        numpy.bitwise_xor(target, second, target)

    over_parts(work, out.size, BLOCK)
    return out.view(dtype).reshape(condition.shape)


def where(condition: Array, input: Array, other: Array) -> Array:
    """``input`` where ``condition`` is true, else ``other``; all three broadcast.

    Raises:
        RuntimeError: when the shapes do not broadcast.
    """
    if not hasattr(input, "dtype") or not hasattr(other, "dtype"):
        dtype = getattr(input, "dtype", None) or getattr(other, "dtype", None)
        if dtype is not None and dtype.char == "E":  # bfloat16: NumPy would give float64
            input, other = numpy.asarray(input, dtype), numpy.asarray(other, dtype)
    if condition.size >= _MANY and condition.dtype == bool and condition.flags.c_contiguous:
        selected = _selected(condition, input, other)
        if selected is not None:
            return selected
    try:
        return numpy.where(condition, input, other)
    except ValueError:
        shapes = ", ".join(str(list(numpy.shape(operand))) for operand in (condition, input, other))
        raise RuntimeError(f"where: the shapes of condition, input and other do not broadcast: {shapes}") from None


# With a number as an operand, numpy.maximum and minimum take 0.8 ns an element, the ufunc behind numpy.clip 0.2; and
# numpy.clip itself takes 2 µs before it gets there.
_clip = getattr(getattr(getattr(numpy, "_core", None), "umath", None), "clip", None)


def clip(input: Array, low: Array, high: Array, out: Array = None) -> Array:
    """``min(max(input, low), high)``, into ``out`` where it is given."""
    if _clip is None or input.dtype.kind == "V":
        return numpy.minimum(numpy.maximum(input, low, out=out), high, out=out)
    return _clip(input, low, high, out)


def clamp(input: Array, min: Array = None, max: Array = None) -> Array:
    """The elements limited to [``min``, ``max``]; NaN stays, and ``max`` wins where ``min`` is larger."""
    return _clamped(input, min, max, None)


def clamp_(target: Array, min: Array = None, max: Array = None) -> Array:
    """:func:`clamp` in place."""
    return _clamped(target, min, max, target)


def _clamped(input: Array, low: Array, high: Array, out: Array) -> Array:
    if input.dtype.kind == "f":
        return clip(input, -numpy.inf if low is None else low, numpy.inf if high is None else high, out)
    if high is None:
        return numpy.maximum(input, low, out=out)
    return numpy.minimum(input, high, out=out) if low is None else clip(input, low, high, out)


KERNELS: dict[str, Kernel] = {
    **elementwise.kernels(numpy),
    "sign": sign,
    "fmod": _whole_division("fmod", numpy.fmod),
    "remainder": _whole_division("remainder", numpy.remainder),
    "floor_divide": _whole_division("floor_divide", numpy.floor_divide),
    "where": where,
    "clamp": clamp,
    "clamp_": clamp_,
    "logaddexp2": numpy.logaddexp2,
    "hypot": numpy.hypot,
    "nextafter": numpy.nextafter,
    "gcd": numpy.gcd,
    "lcm": numpy.lcm,
    "erf": erf,
}
