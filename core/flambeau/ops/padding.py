"""Padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.ops.declare import composite

Tensor = Any
Size = Any
Number = Any
Xp = Any


def _pairs(pad: Sequence[int], ndim: int) -> list[tuple[int, int, int]]:
    """``(dim, before, after)`` of each dimension that changes; ``pad`` begins with the last one."""
    found = [(ndim - 1 - i, pad[2 * i], pad[2 * i + 1]) for i in range(len(pad) // 2)]
    return [entry for entry in found if entry[1] or entry[2]]


@composite(public=("function",))
def constant_pad_nd(xp: Xp, input: Tensor, pad: Size, value: Number = 0) -> Tensor:
    """Return ``input`` with ``value`` added at the ends of dimensions, or cut off where the number is negative.

    Args:
        pad: ``(before, after)`` of the last dimension, then of the one before, ...

    Raises:
        RuntimeError: when more is cut off than there is.
    """
    for dim, before, after in _pairs(pad, len(input.shape)):
        shape = tuple(input.shape)
        start, end = max(-before, 0), shape[dim] - max(-after, 0)
        inner = xp.slice(input, dim, start, end, 1) if before < 0 or after < 0 else input
        parts = [inner]
        if before > 0:
            parts.insert(0, xp.new_full(input, (*shape[:dim], before, *shape[dim + 1 :]), value))
        if after > 0:
            parts.append(xp.new_full(input, (*shape[:dim], after, *shape[dim + 1 :]), value))
        input = xp.cat(parts, dim) if len(parts) > 1 else inner
    # What changed nothing, or only cut, may still share the input's memory.
    return input if any(n > 0 for n in pad) else xp.clone(input)


@constant_pad_nd.check
def _(input: Any, pad: Sequence[int], value: Any) -> None:
    for dim, before, after in _pairs(pad, len(input.shape)):
        size = input.shape[dim]
        if max(-before, 0) > size - max(-after, 0) or size + before + after < 0:
            raise RuntimeError(
                f"constant_pad_nd: The input size {size}, plus negative padding {before} and {after}, resulted in a "
                f"negative output size, which is invalid. Check dimension {dim} of your input of shape "
                f"{list(input.shape)}."
            )


constant_pad_nd.vjp(input=lambda xp, g, pad: xp.constant_pad_nd(g, tuple([-n for n in pad]), 0))


@composite(public=())
def reflection_pad(xp: Xp, input: Tensor, pad: Size) -> Tensor:
    """Return ``input`` continued by its mirror image, the edge itself not repeated."""
    for dim, before, after in _pairs(pad, len(input.shape)):
        size = input.shape[dim]
        if max(before, after) >= size:
            raise RuntimeError(
                f"reflection_pad: Padding size should be less than the corresponding input dimension, but got: padding "
                f"({before}, {after}) at dimension {dim} of input {list(input.shape)}"
            )
        parts = [input]
        if before > 0:
            parts.insert(0, xp.flip(xp.slice(input, dim, 1, before + 1, 1), (dim,)))
        if after > 0:
            parts.append(xp.flip(xp.slice(input, dim, size - 1 - after, size - 1, 1), (dim,)))
        input = _cut(xp, "reflection_pad", input, xp.cat(parts, dim), dim, before, after)
    return input


@composite(public=())
def replication_pad(xp: Xp, input: Tensor, pad: Size) -> Tensor:
    """Return ``input`` continued by its edge."""
    for dim, before, after in _pairs(pad, len(input.shape)):
        shape = tuple(input.shape)
        size = shape[dim]
        if not size:
            raise RuntimeError(
                f"replication_pad: Expected a non-empty dimension {dim} to replicate, but got input {list(shape)}"
            )
        parts = [input]
        if before > 0:
            edge = xp.slice(input, dim, 0, 1, 1)
            parts.insert(0, xp.expand(edge, (*shape[:dim], before, *shape[dim + 1 :])))
        if after > 0:
            edge = xp.slice(input, dim, size - 1, size, 1)
            parts.append(xp.expand(edge, (*shape[:dim], after, *shape[dim + 1 :])))
        input = _cut(xp, "replication_pad", input, xp.cat(parts, dim), dim, before, after)
    return input


def _cut(xp: Xp, op: str, input: Any, padded: Any, dim: int, before: int, after: int) -> Any:
    """``padded`` without what negative padding cuts off, which may be more than the input had."""
    if before >= 0 and after >= 0:
        return padded
    size = input.shape[dim]
    if size + before + after < 0:
        raise RuntimeError(
            f"{op}: negative padding ({before}, {after}) leaves less than nothing of dimension {dim} of input "
            f"{list(input.shape)}"
        )
    return xp.slice(padded, dim, max(-before, 0), padded.shape[dim] - max(-after, 0), 1)


@composite(public=())
def circular_pad(xp: Xp, input: Tensor, pad: Size) -> Tensor:
    """Return ``input`` continued by its other end."""
    for dim, before, after in _pairs(pad, len(input.shape)):
        size = input.shape[dim]
        if max(before, after) > size:
            raise RuntimeError(
                f"circular_pad: Padding value causes wrapping around more than once: padding ({before}, {after}) at "
                f"dimension {dim} of input {list(input.shape)}"
            )
        if size + before + after < 0:
            raise RuntimeError(
                f"circular_pad: Negative padding value is resulting in an empty dimension: padding ({before}, {after}) "
                f"at dimension {dim} of input {list(input.shape)}"
            )
        parts = [_inner(xp, input, dim, before, after)]
        # What is continued is the part that negative padding leaves.
        kept = parts[0].shape[dim]
        if before > 0:
            parts.insert(0, xp.slice(parts[0], dim, kept - before, kept, 1))
        if after > 0:
            parts.append(xp.slice(parts[-1], dim, 0, after, 1))
        input = xp.cat(parts, dim)
    return input


def _inner(xp: Xp, input: Any, dim: int, before: int, after: int) -> Any:
    """``input`` with what negative padding cuts off taken away."""
    start, end = max(-before, 0), input.shape[dim] - max(-after, 0)
    return input if (start, end) == (0, input.shape[dim]) else xp.slice(input, dim, start, end, 1)


# How many dimensions the modes other than "constant" pad, by the number of the input's dimensions.
_PADDED = {2: (1,), 3: (1, 2), 4: (2, 3), 5: (3,)}


@composite(inline=True, public=("functional",))
def pad(xp: Xp, input: Tensor, pad: Any, mode: str = "constant", value: Number | None = None) -> Tensor:
    """Return ``input`` padded (``torch.nn.functional.pad``).

    Args:
        pad: ``(before, after)`` of the last dimension, then of the one before, ...; negative numbers cut off.
        mode: ``"constant"``, ``"reflect"``, ``"replicate"`` or ``"circular"``; the last three pad the last 1 to 3
            dimensions of an input with 1 or 2 dimensions more.
        value: what ``"constant"`` puts there, 0 when left out.

    Raises:
        RuntimeError: for an odd number of sizes, or more than the input has dimensions, and impossible sizes.
        NotImplementedError: for an unknown mode, or a number of dimensions that a mode does not pad.
        ValueError: when ``value`` is given with another mode.
    """
    sizes = tuple([int(n) for n in pad])
    ndim = len(input.shape)
    if len(sizes) % 2:
        raise RuntimeError(f"pad: Padding length must be divisible by 2, got {len(sizes)} sizes: {list(sizes)}")
    if len(sizes) // 2 > ndim:
        raise RuntimeError(
            f"pad: Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(sizes)} and input of dimension {ndim}"
        )
    if mode == "constant":
        return xp.constant_pad_nd(input, sizes, 0 if value is None else value)
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(
            f"pad: Unrecognised padding mode {mode}; it has to be 'constant', 'reflect', 'replicate' or 'circular'"
        )
    if value:
        raise ValueError(f'pad: Padding mode "{mode}" doesn\'t take in value argument')
    if len(sizes) // 2 not in _PADDED.get(ndim, ()):
        raise NotImplementedError(
            f"pad: mode {mode!r} pads the last dimension of a 2D or 3D input, the last 2 of a 3D or 4D input, or the "
            "last "
            f"3 of a 4D or 5D input; got a {ndim}D input and padding of {len(sizes) // 2} dimensions"
        )
    if mode == "reflect":
        return xp.reflection_pad(input, sizes)
    return xp.replication_pad(input, sizes) if mode == "replicate" else xp.circular_pad(input, sizes)
