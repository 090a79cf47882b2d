"""Random arrays as functions of a seed and an offset into its stream.

The stream of a seed is that of Philox 4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) as
NumPy ships it: the 64-bit words of ``numpy.random.Philox(key=seed, counter=offset).random_raw()``. An offset counts
blocks of four words. Nothing here keeps a state: who draws, and from where, is :mod:`flambeau.random`'s affair.

Everything else is made from :func:`random_uniform`, so that one seed gives the same numbers on every backend: uniforms
and integers bit for bit, normals and exponentials to rounding.
"""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import dtype as dtype_class
from flambeau.dtypes import float32, float64, int64
from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import Spec, numel

Tensor = Any
Number = Any
DType = dtype_class
Device = Any
Size = Any


def blocks_for(elements: int, dtype: dtype_class) -> int:
    """How many counter blocks :func:`random_uniform` uses up: a float64 takes a word, shorter types half a word."""
    words = elements if dtype is float64 else (elements + 1) // 2
    return (words + 3) // 4


def normal_dtype(dtype: dtype_class) -> dtype_class:
    """The type in which normals and exponentials of a real ``dtype`` are computed: float64 or float32."""
    return float64 if dtype is float64 else float32


@primitive(differentiable=False, public=())
def random_uniform(size: Size, dtype: DType, seed: int, offset: int, device: Device | None = None) -> Tensor:
    """Return numbers uniform in [0, 1) of a floating-point dtype.

    Element i of float64 is ``(word[i] >> 11) * 2**-53``. Float32 and the 16-bit types take the low half of word i/2
    for even i and the high half for odd i, and of that half the top 24 (float32), 11 (float16) or 8 (bfloat16) bits
    times ``2**-24``, ``2**-11`` or ``2**-8``.
    """
    return Spec(size, dtype)


@composite(differentiable=False, public=())
def random_normal(xp: Any, size: Size, dtype: DType, seed: int, offset: int, device: Device | None = None) -> Tensor:
    """Return standard normal numbers (Box and Muller, 1958).

    From ``2 m`` uniforms, ``m = ceil(n / 2)``, the first half u and the second half v::

        r = sqrt(-2 log(1 - u)),   element i = r[i] cos(2 pi v[i])   for i < m,   r[i - m] sin(2 pi v[i - m])   after
    """
    n = numel(size)
    half = (n + 1) // 2
    computed = normal_dtype(dtype)
    uniform = xp.random_uniform((2, half), computed, seed, offset, device)
    u = xp.slice(uniform, 0, 0, 1, 1)
    v = xp.slice(uniform, 0, 1, 2, 1)
    radius = xp.sqrt(xp.mul(xp.log(xp.sub(1.0, u)), -2.0))
    angle = xp.mul(v, 2 * math.pi)
    both = xp.reshape(xp.cat([xp.mul(radius, xp.cos(angle)), xp.mul(radius, xp.sin(angle))], 0), (2 * half,))
    normal = xp.reshape(xp.slice(both, 0, 0, n, 1), tuple(size))
    return normal if dtype is computed else xp.to_dtype(normal, dtype)


@composite(differentiable=False, public=())
def random_exponential(
    xp: Any, size: Size, dtype: DType, seed: int, offset: int, device: Device | None = None
) -> Tensor:
    """Return exponentially distributed numbers of mean 1: ``-log(1 - u)``."""
    computed = normal_dtype(dtype)
    values = xp.neg(xp.log(xp.sub(1.0, xp.random_uniform(tuple(size), computed, seed, offset, device))))
    return values if dtype is computed else xp.to_dtype(values, dtype)


def integer_blocks(elements: int, low: int, high: int) -> int:
    """How many counter blocks :func:`random_integers` uses up."""
    return blocks_for(elements if high - low <= _EXACT else 2 * elements, float64)


# Beyond this range a float64 uniform has too few bits: two are put together.
_EXACT = 1 << 53


@composite(differentiable=False, public=())
def random_integers(
    xp: Any, size: Size, low: int, high: int, dtype: DType, seed: int, offset: int, device: Device | None = None
) -> Tensor:
    """Return integers uniform in [low, high): ``low + floor(u * (high - low))`` with float64 uniforms u."""
    span = high - low
    if span <= _EXACT:
        u = xp.random_uniform(tuple(size), float64, seed, offset, device)
        values = xp.to_dtype(xp.floor(xp.mul(u, float(span))), int64)
    else:
        u = xp.random_uniform((2, *size), float64, seed, offset, device)
        upper = xp.reshape(xp.slice(u, 0, 0, 1, 1), tuple(size))
        lower = xp.reshape(xp.slice(u, 0, 1, 2, 1), tuple(size))
        upper = xp.to_dtype(xp.floor(xp.mul(upper, float(-(-span >> 32)))), int64)
        lower = xp.to_dtype(xp.floor(xp.mul(lower, 2.0**32)), int64)
        values = xp.add(xp.bitwise_left_shift(upper, 32), lower)
        values = xp.bitwise_and(values, span - 1) if span == 1 << 63 else xp.remainder(values, span)
    if low:
        values = xp.add(values, low)
    return values if dtype is int64 else xp.to_dtype(values, dtype)


@composite(differentiable=False, public=())
def random_permutation(xp: Any, n: int, dtype: DType, seed: int, offset: int, device: Device | None = None) -> Tensor:
    """Return the integers 0 to n - 1 in random order: the stable order that sorts n float64 uniforms."""
    order = xp.sort(xp.random_uniform((n,), float64, seed, offset, device), 0, False, True)[1]
    return order if dtype is int64 else xp.to_dtype(order, dtype)
