"""Random numbers: the uniform stream from which everything else is made."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy

from flambeau.ops.random import normal_dtype
from flambeau_numpy.blocks import BLOCK
from flambeau_numpy.constants import constant
from flambeau_numpy.threads import over_parts

Array = Any

#: Elements that a thread draws at a time.
_PART = 1 << 17


class _Generator(threading.local):
    """A generator a thread, which is set to a place in the stream in 2 µs where making one takes 9."""

    def __init__(self) -> None:
        self._bits = numpy.random.Philox(counter=0, key=0)
        self._state = self._bits.state
        self._generator = numpy.random.Generator(self._bits)

    def at(self, seed: int, offset: int) -> numpy.random.Generator:
        """The thread's generator, before block ``offset`` of the stream with the key ``seed``."""
        words = self._state["state"]
        words["key"][:] = seed & _WORD, seed >> 64
        words["counter"][:2] = offset & _WORD, offset >> 64
        self._bits.state = self._state
        return self._generator


_WORD = (1 << 64) - 1
_generator = _Generator()


def random_uniform(size: tuple[int, ...], dtype: Any, seed: int, offset: int, device: Any = None) -> Array:
    """Numbers uniform in [0, 1) from the words of Philox 4x64-10 with the key ``seed``, from block ``offset`` on.

    ``numpy.random.Generator.random`` makes floats of the words just as the op is defined (the top 53 bits of a word;
    the top 24 of a half word, the low half first); for the 16-bit types fewer of those 24 bits are kept.
    """
    drawn: Any = numpy.float64 if dtype.name == "float64" else numpy.float32
    if math.prod(size) <= _PART:
        values = _generator.at(seed, offset).random(size, drawn)
    else:
        values = numpy.empty(size, drawn)
        flat = values.reshape(-1)
        a_block = 32 // values.itemsize  # four words

        def work(part: slice) -> None:
            _generator.at(seed, offset + part.start // a_block).random(dtype=drawn, out=flat[part])

        over_parts(work, flat.size, _PART)
    if dtype.name in ("float64", "float32"):
        return values
    steps = 2048.0 if dtype.name == "float16" else 256.0
    return (numpy.floor(values * numpy.float32(steps)) / numpy.float32(steps)).astype(dtype.numpy)


def random_normal(size: tuple[int, ...], dtype: Any, seed: int, offset: int, device: Any = None) -> Array:
    """Standard normal numbers from twice as many uniform ones, see :func:`flambeau.ops.random.random_normal`."""
    n = math.prod(size)
    half = (n + 1) // 2
    drawn = normal_dtype(dtype)
    u, v = random_uniform((2, half), drawn, seed, offset)
    kind = drawn.numpy
    fits = n % 2 == 0 and dtype is drawn
    out = numpy.empty(size if fits else 2 * half, kind)
    both = out.reshape(2, half)

    def work(part: slice) -> None:
        radius, angle = u[part], v[part]
        numpy.subtract(constant(1.0, kind), radius, radius)
        numpy.log(radius, radius)
        numpy.multiply(radius, constant(-2.0, kind), radius)
        numpy.sqrt(radius, radius)
        numpy.multiply(angle, constant(2 * math.pi, kind), angle)
        for function, target in ((numpy.cos, both[0, part]), (numpy.sin, both[1, part])):
            function(angle, target)
            numpy.multiply(radius, target, target)

    over_parts(work, half, BLOCK)
    return out if fits else out[:n].reshape(size).astype(dtype.numpy)


KERNELS: dict[str, Callable[..., Any]] = {"random_uniform": random_uniform, "random_normal": random_normal}
