"""The part of ``cupyx`` that our backend uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cupy import _state


@contextmanager
def errstate(*, linalg: str | None = None) -> Iterator[None]:
    before, _state.linalg = _state.linalg, linalg
    try:
        yield
    finally:
        _state.linalg = before
