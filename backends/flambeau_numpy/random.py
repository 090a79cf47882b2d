"""Random numbers: the uniform stream from which everything else is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from flambeau_numpy.threads import over_parts

Array = Any

#: Elements that one generator draws: to make a generator takes as long as 3,000 of them.
_PART = 1 << 17


def _generator(seed: int, offset: int) -> numpy.random.Generator:
    return numpy.random.Generator(numpy.random.Philox(counter=offset, key=seed))


def random_uniform(size: tuple[int, ...], dtype: Any, seed: int, offset: int, device: Any = None) -> Array:
    """Numbers uniform in [0, 1) from the words of Philox 4x64-10 with the key ``seed``, from block ``offset`` on.

    ``numpy.random.Generator.random`` makes floats of the words just as the op is defined (the top 53 bits of a word;
    the top 24 of a half word, the low half first); for the 16-bit types fewer of those 24 bits are kept.
    """
    drawn: Any = numpy.float64 if dtype.name == "float64" else numpy.float32
    if math.prod(size) <= _PART:
        values = _generator(seed, offset).random(size, drawn)
    else:
        values = numpy.empty(size, drawn)
        flat = values.reshape(-1)
        a_block = 32 // values.itemsize  # four words

        def work(part: slice) -> None:
            _generator(seed, offset + part.start // a_block).random(dtype=drawn, out=flat[part])

        over_parts(work, flat.size, _PART)
    if dtype.name in ("float64", "float32"):
        return values
    steps = 2048.0 if dtype.name == "float16" else 256.0
    return (numpy.floor(values * numpy.float32(steps)) / numpy.float32(steps)).astype(dtype.numpy)


KERNELS: dict[str, Callable[..., Any]] = {"random_uniform": random_uniform}
