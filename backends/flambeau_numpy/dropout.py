"""Dropout, in one pass over the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from flambeau.devices import device
from flambeau.ops.declare import OPS
from flambeau_numpy.blocks import BLOCK
from flambeau_numpy.threads import over_parts

Array = Any


def apply_dropout(input: Array, uniform: Array, p: float) -> Array:
    """``input / (1 - p)`` where ``uniform >= p``, elsewhere 0."""
    if p == 1 or input.dtype.char not in "fd" or input.shape != uniform.shape or not uniform.flags.c_contiguous:
        return OPS["apply_dropout"].body(device("cpu").xp, input, uniform, p)
    if input.size <= BLOCK:
        factor = _factor(uniform, p, input.dtype)
        return numpy.multiply(input, factor, factor)
    out = numpy.empty(input.shape, input.dtype)
    x, drawn, target = numpy.ascontiguousarray(input).reshape(-1), uniform.reshape(-1), out.reshape(-1)

    def work(part: slice) -> None:
        numpy.multiply(x[part], _factor(drawn[part], p, x.dtype), target[part])

    over_parts(work, x.size, BLOCK)
    return out


def _factor(uniform: Array, p: float, dtype: Any) -> Array:
    """``1 / (1 - p)`` where an element is kept, elsewhere 0."""
    factor = numpy.asarray(numpy.greater_equal(uniform, p)).astype(dtype)
    return numpy.multiply(factor, 1 / (1 - p), factor)


KERNELS: dict[str, Callable[..., Any]] = {"apply_dropout": apply_dropout}
