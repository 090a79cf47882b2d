"""Nested containers of tensors: tuples, lists and dicts, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.tensor import Tensor


def leaves_of(nested: Any) -> list[Any]:
    """What the containers hold, in order."""
    if isinstance(nested, dict):
        nested = list(nested.values())
    if isinstance(nested, (tuple, list)):
        return [leaf for item in nested for leaf in leaves_of(item)]
    return [nested]


def rebuilt(nested: Any, leaves: Sequence[Any]) -> Any:
    """Containers like ``nested`` that hold ``leaves``."""
    remaining = iter(leaves)
    return mapped(lambda _: next(remaining), nested)


def mapped(function: Callable[[Any], Any], nested: Any) -> Any:
    """Containers like ``nested`` that hold what ``function`` makes of each leaf."""
    if isinstance(nested, dict):
        return type(nested)((key, mapped(function, value)) for key, value in nested.items())
    if isinstance(nested, (tuple, list)):
        items = [mapped(function, item) for item in nested]
        return type(nested)(*items) if hasattr(nested, "_fields") else type(nested)(items)
    return function(nested)


def tensors_of(where: str, nested: Any) -> list[Tensor]:
    """The leaves, which all have to be tensors.

    Raises:
        RuntimeError: when one is not.
    """
    leaves = leaves_of(nested)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise RuntimeError(f"{where} has to hold tensors only, but got {type(leaf).__name__}")
    return leaves
