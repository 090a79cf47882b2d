"""Working on large arrays a part at a time.

A function of ten NumPy calls passes ten times over its arrays. Where they are larger than the cache each pass waits for
the memory; done a part at a time, only the first one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy

Array = Any

#: Elements of a part for functions of twenty passes and more. With less, the overhead of the calls shows.
BLOCK = 32768

#: Elements of a part made of whole rows.
ROW_BLOCK = 65536


def in_blocks(function: Callable[..., Array], *operands: Array, computed: Any = numpy.float64) -> Array:
    """Apply ``function`` of 1-D arrays to equally shaped floating-point arrays, a block at a time.

    The function sees arrays of the dtype ``computed``, which it must not change; the result has the dtype of the first
    operand. So float32 is only widened while it is in the cache.
    """
    first = operands[0]
    result = numpy.empty(first.shape, first.dtype)
    flat = result.reshape(-1)
    flats = [numpy.ascontiguousarray(operand).reshape(-1) for operand in operands]
    for start in range(0, flat.size, BLOCK):
        part = slice(start, start + BLOCK)
        flat[part] = function(*[operand[part].astype(computed, copy=False) for operand in flats])
    return result


def row_blocks(rows: int, width: int) -> Iterator[slice]:
    """Slices that divide the rows of a matrix into parts of about :data:`ROW_BLOCK` elements."""
    step = max(1, ROW_BLOCK // max(width, 1))
    for start in range(0, rows, step):
        yield slice(start, start + step)
