"""Elements in another order, or several times: copies."""

from __future__ import annotations

from typing import Any

from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import numel, wrap_dim

Tensor = Any
Number = Any
Dim = Any
Dims = Any
SomeDims = Any
Size = Any
Xp = Any


@primitive()
def flip(input: Tensor, dims: SomeDims) -> Tensor:
    """Return ``input`` with the order along ``dims`` reversed."""
    return input


flip.vjp(input=lambda xp, g, dims: xp.flip(g, dims))


@composite(inline=True)
def fliplr(xp: Xp, input: Tensor) -> Tensor:
    """Return ``input`` with the order along the second dimension reversed."""
    if len(input.shape) < 2:
        raise RuntimeError(f"fliplr: Input must be >= 2-d, but its shape is {list(input.shape)}")
    return xp.flip(input, (1,))


@composite(inline=True)
def flipud(xp: Xp, input: Tensor) -> Tensor:
    """Return ``input`` with the order along the first dimension reversed."""
    if not input.shape:
        raise RuntimeError("flipud: Input must be >= 1-d, but it has no dimensions")
    return xp.flip(input, (0,))


@composite(inline=True)
def roll(xp: Xp, input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Return ``input`` shifted by ``shifts`` along ``dims``; what falls off one end comes in at the other."""
    shape = tuple(input.shape)
    if dims is None:
        return xp.reshape(xp.roll(xp.reshape(input, (numel(shape),)), shifts, 0), shape)
    amounts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    places = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(amounts) != len(places):
        raise RuntimeError(f"roll: shifts and dimensions must align. shifts: {len(amounts)}, dims: {len(places)}")
    if not numel(shape):
        return xp.clone(input)
    for amount, place in zip(amounts, places, strict=True):
        d = wrap_dim("roll", place, len(shape))
        n = shape[d]
        cut = (-amount) % n if n else 0
        if cut:
            input = xp.cat([xp.slice(input, d, cut, n, 1), xp.slice(input, d, 0, cut, 1)], d)
    return xp.clone(input)


@composite(inline=True)
def rot90(xp: Xp, input: Tensor, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """Return ``input`` turned by 90 degrees ``k`` times, in the plane from the first to the second of ``dims``."""
    if len(dims) != 2 or len(input.shape) < 2:
        raise RuntimeError(
            f"rot90: expected two dims of a tensor with at least 2 dimensions, got {list(dims)} and "
            f"{len(input.shape)} dimensions"
        )
    a, b = [wrap_dim("rot90", d, len(input.shape)) for d in dims]
    if a == b:
        raise RuntimeError(f"rot90: the dimensions must be different, got {list(dims)}")
    k %= 4
    if k == 0:
        return xp.clone(input)
    if k == 2:
        return xp.flip(input, (a, b))
    return xp.transpose(xp.flip(input, (a,)) if k == 3 else xp.flip(input, (b,)), a, b)


@composite(inline=True, public=("method",))
def repeat(xp: Xp, input: Tensor, repeats: Size) -> Tensor:
    """Return ``input`` repeated ``repeats`` times along each dimension; extra ones come in front."""
    shape = tuple(input.shape)
    if len(repeats) < len(shape):
        raise RuntimeError(
            f"repeat: Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor; got "
            f"{len(repeats)} for {len(shape)} dimensions"
        )
    if min(repeats, default=0) < 0:
        raise RuntimeError(f"repeat: Trying to create tensor with negative dimension, the repeats are {list(repeats)}")
    shape = (1,) * (len(repeats) - len(shape)) + shape
    inner = [n for size in shape for n in (1, size)]
    outer = [n for count, size in zip(repeats, shape, strict=True) for n in (count, size)]
    spread = xp.expand(xp.reshape(input, tuple(inner)), tuple(outer))
    return xp.clone(xp.reshape(spread, tuple([c * n for c, n in zip(repeats, shape, strict=True)])))


@composite(inline=True)
def tile(xp: Xp, input: Tensor, dims: Size) -> Tensor:
    """Return ``input`` repeated ``dims`` times along each dimension; missing ones count as 1, from the front."""
    return xp.repeat(input, (1,) * (len(input.shape) - len(dims)) + tuple(dims))


@composite(inline=True)
def repeat_interleave(
    xp: Xp, input: Tensor, repeats: Any = None, dim: Any = None, *, output_size: Any = None
) -> Tensor:
    """Return ``input`` with each entry along ``dim`` repeated ``repeats`` times (an int, or one an entry).

    With ``dim`` None the tensor is flattened first. ``repeat_interleave(repeats)`` gives each index as often as
    ``repeats`` says.
    """
    if repeats is None:
        input, repeats, dim = xp.new_arange(input, 0, input.shape[0]), input, 0
    if dim is None:
        input, dim = xp.reshape(input, (numel(input.shape),)), 0
    dim = wrap_dim("repeat_interleave", dim, len(input.shape))
    shape = tuple(input.shape)
    if hasattr(repeats, "tolist"):
        repeats = repeats.tolist()
    if isinstance(repeats, list) and len(repeats) == 1:
        repeats = repeats[0]
    if isinstance(repeats, int):
        spread = xp.expand(xp.unsqueeze(input, dim + 1), (*shape[: dim + 1], repeats, *shape[dim + 1 :]))
        return xp.clone(xp.reshape(spread, (*shape[:dim], shape[dim] * repeats, *shape[dim + 1 :])))
    if len(repeats) != shape[dim]:
        raise RuntimeError(
            f"repeat_interleave: repeats must have the same size as input along dim, but got repeats.size(0) = "
            f"{len(repeats)} and input.size({dim}) = {shape[dim]}"
        )
    from flambeau.conversion import tensor

    places = tensor([i for i, count in enumerate(repeats) for _ in range(count)], device=input.device).long()
    return xp.index_select(input, dim, places)
