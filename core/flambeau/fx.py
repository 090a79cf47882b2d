"""``torch.fx.wrap``, for programs that decorate with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["wrap"]

F = TypeVar("F", str, Callable[..., object])


def wrap(fn_or_name: F) -> F:
    """Mark a function, itself or by its name, as one that is not to be traced; it stays as it is."""
    return fn_or_name
