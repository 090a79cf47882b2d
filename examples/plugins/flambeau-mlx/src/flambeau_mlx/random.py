"""Random numbers: made on the host, by NumPy's Philox generator, whose stream every device gives for a seed.

MLX has 64-bit integers and no upper half of their products, so that each of the ten rounds would take some twenty
operations of it; and the memory is the host's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy
from flambeau.dtypes import dtype

from flambeau_mlx.array import Array, fresh, native


def _generator(seed: int, offset: int) -> numpy.random.Generator:
    return numpy.random.Generator(numpy.random.Philox(counter=offset, key=seed))


def random_uniform(size: tuple[int, ...], dtype: dtype, seed: int, offset: int, device: Any = None) -> Array:
    """Numbers uniform in [0, 1) from the words of Philox 4x64-10 with the key ``seed``, from block ``offset`` on.

    The 16-bit types keep 11 (float16) or 8 (bfloat16) of the 24 bits of a float32.
    """
    values = _generator(seed, offset).random(size, numpy.float32)
    if dtype.itemsize == 2:
        steps = numpy.float32(2048 if dtype.name == "float16" else 256)
        values = numpy.floor(values * steps) / steps
    return fresh(mx.array(values, native(dtype)))


def random_integers(
    size: tuple[int, ...], low: int, high: int, dtype: dtype, seed: int, offset: int, device: Any = None
) -> Array:
    """Integers uniform in [low, high), of float64 uniforms, which MLX does not hold."""
    span = high - low
    generator = _generator(seed, offset)
    if span <= 1 << 53:
        values = (generator.random(size) * float(span)).astype(numpy.int64)
    else:  # one uniform has too few bits
        upper, lower = generator.random((2, *size))
        upper = numpy.floor(upper * float(-(-span >> 32))).astype(numpy.int64)
        values = (upper << 32) + numpy.floor(lower * 2.0**32).astype(numpy.int64)
        values = values & (span - 1) if span == 1 << 63 else values % span
    return fresh(mx.array(values + low).astype(native(dtype)))


def random_permutation(n: int, dtype: dtype, seed: int, offset: int, device: Any = None) -> Array:
    """The integers 0 to n - 1 in the order that sorts n float64 uniforms."""
    order = numpy.argsort(_generator(seed, offset).random(n), kind="stable")
    return fresh(mx.array(order).astype(native(dtype)))


KERNELS: dict[str, Callable[..., Any]] = {
    "random_uniform": random_uniform,
    "random_integers": random_integers,
    "random_permutation": random_permutation,
}
