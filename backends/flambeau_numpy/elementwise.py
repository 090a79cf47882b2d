"""Kernels that work element by element: what NumPy does in its own way, beside :mod:`flambeau_array.elementwise`.

Most are a ufunc with two things before it: Python numbers become arrays that are kept, and large arrays are divided
among threads. Both cost a call 50 ns, which the first gives back five times wherever there is a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy
from numpy import ndarray

from flambeau_array import elementwise
from flambeau_numpy.blocks import BLOCK
from flambeau_numpy.constants import constant
from flambeau_numpy.error_function import erf
from flambeau_numpy.threads import over_parts

Array = Any
Kernel = Callable[..., Any]


# -- ufuncs ----------------------------------------------------------------------------------------------------------

#: Elements from which on several threads are faster (EPYC, 2 threads: 1.1 times; 4 million 1.7 times).
LARGE = 1 << 19

#: Elements that a thread takes at a time: enough to read ahead, few enough that threads end together.
PIECE = 1 << 17


def unary(ufunc: numpy.ufunc) -> Kernel:
    """The kernel of a ufunc with one operand."""

    def kernel(input: Array) -> Array:
        return ufunc(input) if input.size < LARGE else _in_pieces(ufunc, (input,))

    return _known_as(ufunc, kernel)


def binary(ufunc: numpy.ufunc) -> Kernel:
    """The kernel of a ufunc with two operands, one of which may be a Python number."""

    def kernel(input: Array, other: Array) -> Array:
        kind = type(other)
        if kind is not ndarray:
            if kind is float or kind is int:
                other = constant(other, input.dtype)
        elif type(input) is not ndarray:
            if type(input) is float or type(input) is int:
                input = constant(input, other.dtype)
        elif input.size >= LARGE or other.size >= LARGE:
            return _in_pieces(ufunc, (input, other))
        return ufunc(input, other)

    return _known_as(ufunc, kernel)


def _known_as(ufunc: numpy.ufunc, kernel: Any) -> Kernel:
    kernel.__name__ = ufunc.__name__
    kernel.__doc__ = f"``numpy.{ufunc.__name__}``."
    kernel.bare = ufunc
    return kernel


def in_place(ufunc: numpy.ufunc) -> Kernel:
    """The kernel that writes the result of ``ufunc`` into its first operand, in that operand's dtype."""
    if ufunc.nin == 1:

        def in_place_unary(target: Array) -> Array:
            return ufunc(target, target) if target.size < LARGE else _in_pieces(ufunc, (target,), target)

        return in_place_unary

    def in_place_binary(target: Array, other: Array) -> Array:
        if type(other) is ndarray:
            if target.size >= LARGE:
                return _in_pieces(ufunc, (target, other), target)
        elif type(other) is float or type(other) is int:
            other = constant(other, target.dtype)
        return ufunc(target, other, out=target)

    return in_place_binary


def _in_pieces(ufunc: numpy.ufunc, operands: Sequence[Array], out: Array | None = None) -> Array:
    """Apply a ufunc to large operands, in several threads where they are dense: of one shape, or rows, or numbers."""
    shape = max([operand.shape for operand in operands], key=len)
    row = max([operand.size for operand in operands if operand.shape != shape], default=1)
    for operand in operands:
        own = operand.shape
        if own and own != shape and (own != shape[len(shape) - len(own) :] or operand.size != row):
            return ufunc(*operands, out=out)
        if not operand.flags.c_contiguous or not row:
            return ufunc(*operands, out=out)
    flats = [operand.reshape(-1, row) if operand.shape == shape else operand.reshape(-1) for operand in operands]
    if out is None:
        out = numpy.empty(shape, ufunc(*[flat[:1] for flat in flats]).dtype)
    target = out.reshape(-1, row)

    def work(part: slice) -> None:
        ufunc(*[flat[part] if flat.ndim == 2 else flat for flat in flats], out=target[part])

    over_parts(work, len(target), max(1, PIECE // row), row)
    return out


# -- what is more than a ufunc ---------------------------------------------------------------------------------------


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


def _clip_in_two_steps(input: Array, low: Array, high: Array, out: Array = None) -> Array:
    """``min(max(input, low), high)``, into ``out`` where it is given."""
    return numpy.minimum(numpy.maximum(input, low, out=out), high, out=out)


# With a number as an operand, numpy.maximum and minimum take 0.8 ns an element, the ufunc behind numpy.clip 0.2; and
# numpy.clip itself takes 2 µs before it gets there.
clip: Kernel = getattr(getattr(getattr(numpy, "_core", None), "umath", None), "clip", _clip_in_two_steps)


def clamp(input: Array, min: Array = None, max: Array = None) -> Array:
    """The elements limited to [``min``, ``max``]; NaN stays, and ``max`` wins where ``min`` is larger."""
    return _clamped(input, min, max, None)


def clamp_(target: Array, min: Array = None, max: Array = None) -> Array:
    """:func:`clamp` in place."""
    return _clamped(target, min, max, target)


def _clamped(input: Array, low: Array, high: Array, out: Array) -> Array:
    dtype = input.dtype
    if dtype.kind == "f":
        low = _bound(low, -numpy.inf, dtype)
        high = _bound(high, numpy.inf, dtype)
        if out is None and input.size >= LARGE and dtype.char in "fd" and input.flags.c_contiguous:
            if low.shape or high.shape:
                return clip(input, low, high)
            out = numpy.empty(input.shape, dtype)
            x, target = input.reshape(-1), out.reshape(-1)
            over_parts(lambda part: clip(x[part], low, high, target[part]), x.size, PIECE)
            return out
        return clip(input, low, high, out)
    if high is None:
        return numpy.maximum(input, low, out=out)
    if low is None:
        return numpy.minimum(input, high, out=out)
    return (_clip_in_two_steps if dtype.kind == "V" else clip)(input, low, high, out)


def _bound(given: Array, otherwise: float, dtype: Any) -> Array:
    if type(given) is ndarray:
        return given
    return constant(float(otherwise if given is None else given), dtype)


_UNARY = {name: ufunc for name, ufunc in elementwise.ufuncs(numpy).items() if ufunc.nin == 1}
_BINARY = {
    **{name: ufunc for name, ufunc in elementwise.ufuncs(numpy).items() if ufunc.nin == 2},
    "logaddexp2": numpy.logaddexp2,
    "hypot": numpy.hypot,
    "nextafter": numpy.nextafter,
    "gcd": numpy.gcd,
    "lcm": numpy.lcm,
}

KERNELS: dict[str, Kernel] = {
    **elementwise.kernels(numpy),
    **{name: unary(ufunc) for name, ufunc in _UNARY.items()},
    **{name: binary(ufunc) for name, ufunc in _BINARY.items()},
    **{name + "_": in_place(getattr(numpy, theirs)) for name, theirs in elementwise.UFUNCS.items()},
    "abs": unary(numpy.absolute),
    "sign": sign,
    "fmod": _whole_division("fmod", numpy.fmod),
    "remainder": _whole_division("remainder", numpy.remainder),
    "floor_divide": _whole_division("floor_divide", numpy.floor_divide),
    "where": where,
    "clamp": clamp,
    "clamp_": clamp_,
    "erf": erf,
}
