"""The part of ``cupyx`` that our backend uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
from cupy import _state, cuda


def empty_pinned(shape: Any, dtype: Any = float, order: str = "C") -> Any:
    nbytes = int(numpy.prod(shape)) * numpy.dtype(dtype).itemsize
    return numpy.ndarray(shape, dtype, cuda.alloc_pinned_memory(nbytes), order=order)


@contextmanager
def errstate(*, linalg: str | None = None) -> Iterator[None]:
    before, _state.linalg = _state.linalg, linalg
    try:
        yield
    finally:
        _state.linalg = before
