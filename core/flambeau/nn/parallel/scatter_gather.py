"""Splitting arguments over devices, and putting results together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor


def scatter(inputs: Any, target_gpus: Sequence[Any], dim: int = 0) -> list[Any]:
    """Split tensors into nearly equal pieces along ``dim``, one a device, wherever they are inside of ``inputs``.

    Args:
        inputs: tensors, or tuples, lists and dicts of them; everything else goes to each device as it is.
        target_gpus: the devices; fewer are used where a tensor has fewer elements along ``dim``.

    Returns:
        A list of what each device gets; the pieces are differentiable.
    """
    devices = [_device(device) for device in target_gpus]

    def split(value: Any) -> list[Any]:
        if isinstance(value, Tensor):
            pieces = value.chunk(len(devices), dim) if value.ndim else [value] * len(devices)
            return [piece.to(device) for piece, device in zip(pieces, devices, strict=False)]
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return [type(value)(*items) for items in zip(*map(split, value), strict=False)]
        if isinstance(value, (tuple, list)) and value:
            return [type(value)(items) for items in zip(*map(split, value), strict=False)]
        if isinstance(value, dict) and value:
            return [type(value)(items) for items in zip(*map(split, value.items()), strict=False)]
        return [value for _ in devices]

    return split(inputs)


def scatter_kwargs(
    inputs: tuple[Any, ...], kwargs: dict[str, Any] | None, target_gpus: Sequence[Any], dim: int = 0
) -> tuple[tuple[Any, ...], tuple[dict[str, Any], ...]]:
    """:func:`scatter` for positional and keyword arguments, as many of one as of the other."""
    args = scatter(inputs, target_gpus, dim) if inputs else []
    named = scatter(kwargs, target_gpus, dim) if kwargs else []
    count = max(len(args), len(named))
    args += [() for _ in range(count - len(args))]
    named += [{} for _ in range(count - len(named))]
    return tuple(args), tuple(named)


def gather(outputs: Sequence[Any], target_device: Any, dim: int = 0) -> Any:
    """Put the results of all devices together on one, tensors along ``dim`` (0-dim ones to a vector).

    Args:
        outputs: one a device: tensors, or tuples, lists and dicts of them, alike on all.

    Raises:
        ValueError: for dicts with different keys.
    """
    where = _device(target_device)
    first = outputs[0]
    if isinstance(first, Tensor):
        pieces = [output.to(where) for output in outputs]
        return flambeau.stack(pieces) if first.ndim == 0 else flambeau.cat(pieces, dim)
    if first is None:
        return None
    if isinstance(first, dict):
        if any(set(output) != set(first) for output in outputs):
            raise ValueError("gather: all dicts must have the same keys")
        return type(first)((key, gather([output[key] for output in outputs], where, dim)) for key in first)
    parts = [gather(items, where, dim) for items in zip(*outputs, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)


def _device(device: Any) -> Any:
    return flambeau.device("cuda", device) if isinstance(device, int) else flambeau.device(device)
