"""A kernel for the CPU: distances without a temporary array for each step of the formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

Array = Any


def poincare_distance(fallback: Callable[..., Array], input: Array, other: Array, curvature: float = 1.0) -> Array:
    """The distances of float32 and float64 points; other dtypes go to the decomposition."""
    if input.dtype.char not in "fd" or other.dtype != input.dtype:
        return fallback(input, other, curvature)
    difference = numpy.subtract(input, other)
    spread = _square(difference)
    room = (1 - curvature * _square(input)) * (1 - curvature * _square(other))
    spread *= curvature
    distance = numpy.arcsinh(numpy.sqrt(spread / room))
    return numpy.multiply(distance, 2 * curvature**-0.5, dtype=input.dtype)


def _square(vectors: Array) -> Array:
    """``|x|^2`` over the last dimension, as one pass over memory."""
    return numpy.asarray(numpy.einsum("...i,...i->...", vectors, vectors))
