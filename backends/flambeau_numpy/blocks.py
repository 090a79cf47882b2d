"""Working on large arrays a part at a time.

A function of ten NumPy calls passes ten times over its arrays. Where they are larger than the cache each pass waits for
the memory; done a part at a time, only the first one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy

from flambeau_numpy.threads import over_parts

Array = Any

#: Elements of a part. With less, threads wait for each other at the interpreter's lock, which each of a part's calls
#: takes anew: GELU's gradient of a million elements takes 4.6 ms on two threads with parts of 32768, 3.1 with these.
BLOCK = 1 << 17

#: Elements of a part made of whole rows.
ROW_BLOCK = 1 << 17


def in_blocks(function: Callable[..., Array], *operands: Array, computed: Any = numpy.float64) -> Array:
    """Apply ``function`` of 1-D arrays to equally shaped floating-point arrays, a block at a time.

    The function sees arrays of the dtype ``computed``, which it must not change; the result has the dtype of the first
    operand. So float32 is only widened while it is in the cache.
    """
    first = operands[0]
    result = numpy.empty(first.shape, first.dtype)
    flat = result.reshape(-1)
    flats = [numpy.ascontiguousarray(operand).reshape(-1) for operand in operands]

    def work(part: slice) -> None:
        flat[part] = function(*[operand[part].astype(computed, copy=False) for operand in flats])

    over_parts(work, flat.size, BLOCK)
    return result


def _step(width: int) -> int:
    return max(1, ROW_BLOCK // max(width, 1))


def row_blocks(rows: int, width: int) -> Iterator[slice]:
    """Slices that divide the rows of a matrix into parts of about :data:`ROW_BLOCK` elements."""
    for start in range(0, rows, _step(width)):
        yield slice(start, start + _step(width))


def over_rows(work: Callable[[slice], None], rows: int, width: int) -> None:
    """Call ``work`` with each of :func:`row_blocks`, in any order and on several threads."""
    over_parts(work, rows, _step(width), width)
