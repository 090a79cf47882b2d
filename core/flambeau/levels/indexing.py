"""Batching rules of what reads and writes parts of tensors."""

from __future__ import annotations

from math import prod
from typing import Any

from flambeau.dtypes import int64
from flambeau.levels import Level, Mapped
from flambeau.levels.rules import held, inner, is_mapped, reshaped, rule, run_below
from flambeau.ops.declare import Op
from flambeau.ops.indexing import index_shape
from flambeau.ops.spec import broadcast_shapes

_ALL = slice(None)


@rule("basic_index")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, index = values
    return held(level, run_below(op, level, [input.value, (_ALL, *index)]))


@rule("basic_index_backward")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    g, size, index = values
    return held(level, run_below(op, level, [g.value, (level.size, *size), (_ALL, *index)]))


@rule("copy_slices")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    base, value, steps = values
    return op.body(level.xp, level.hold(level.whole(base), True), value, steps)


# -- index tensors ---------------------------------------------------------------------------------------------------


def _placed(indices: Any) -> int:
    """Where the dimensions that the indices make are in the result: at the first, or in front when they lie apart."""
    used = [d for d, item in enumerate(indices) if item is not None]
    return used[0] if used == list(range(used[0], used[-1] + 1)) else 0


def _spread(level: Level, indices: Any) -> tuple[list[Any], int]:
    """Index arrays below over the whole batch, the number of the example first; and how many dimensions they make."""
    xp = level.below.xp
    common = broadcast_shapes("index", *[item.shape for item in indices if item is not None])
    ndim = len(common)
    example = xp.reshape(xp.arange(0, level.size, 1, int64, level.below), (level.size, *[1] * ndim))
    below: list[Any] = [example]
    for item in indices:
        if item is None or not item.mapped:
            below.append(inner(item))
        else:
            below.append(xp.reshape(item.value, (level.size, *[1] * (ndim - len(item.shape)), *item.shape)))
    return below, ndim


def _order_of_result(level: Level, below: list[Any], ndim: int, at: int, rank: int) -> tuple[int, ...]:
    """How to permute what ``index`` gives below so that the batch is first and the made dimensions are at ``at``."""
    # The example's index is the first, so that what the indices make is in front: (batch, made, rest).
    rest = list(range(1 + ndim, rank + 1))
    return (0, *rest[:at], *range(1, 1 + ndim), *rest[at:])


@rule("index")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, indices = values
    xp = level.below.xp
    at = _placed(indices)
    if not any(is_mapped(item) for item in indices):
        found = run_below(op, level, [input.value, [None, *map(inner, indices)]])
        used = [d for d, item in enumerate(indices) if item is not None]
        if used != list(range(used[0], used[-1] + 1)):  # apart: what they make has come in front of the batch
            made = len(broadcast_shapes("index", *[item.shape for item in indices if item is not None]))
            found = xp.permute(found, (made, *range(made), *range(made + 1, len(found.shape))))
        return level.hold(found, True)
    below, ndim = _spread(level, indices)
    if input.mapped:
        found = run_below(op, level, [input.value, below])
    else:
        # The indices alone carry the batch, as the first of the dimensions that they make.
        wide = [None if i is None else xp.expand(i, (level.size, *_wide(i, ndim))) for i in below[1:]]
        found = run_below(op, level, [input.value, wide])
        rank = len(found.shape)
        order = (at, *range(at), *range(at + 1, rank))
        return level.hold(xp.permute(found, order) if at else found, True)
    order = _order_of_result(level, below, ndim, at, len(found.shape) - 1)
    return level.hold(xp.permute(found, order) if order != tuple(range(len(order))) else found, True)


def _wide(array: Any, ndim: int) -> tuple[int, ...]:
    shape = tuple(array.shape)
    return shape[1:] if len(shape) == ndim + 1 else (1,) * (ndim - len(shape)) + shape


@rule("index_put")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, indices, written, accumulate = values
    xp = level.below.xp
    target = level.whole(input)
    below, ndim = _spread(level, indices)
    shape = index_shape(input, indices)
    at = _placed(indices)
    source = level.whole(written) if isinstance(written, Mapped) else written
    if isinstance(written, Mapped):
        missing = len(shape) - len(written.shape)
        source = xp.expand(xp.reshape(source, (level.size, *[1] * missing, *written.shape)), (level.size, *shape))
        # From the order of the example's result to that of the result below: (batch, made, rest).
        made = range(at + 1, at + 1 + ndim)
        order = (0, *made, *[d for d in range(1, len(shape) + 1) if d not in made])
        source = xp.permute(source, order)
    return held(level, run_below(op, level, [target, below, source, accumulate]))


@rule("embedding")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    weight, indices = values
    if not weight.mapped:
        return held(level, run_below(op, level, [weight.value, indices.value]))
    return op.body(level.xp, weight, indices)


# -- along one dimension ---------------------------------------------------------------------------------------------


@rule("gather", "scatter", "scatter_add", "scatter_reduce", "scatter_extreme")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, dim, index, *rest = values
    shape = index.shape if op.name == "gather" else input.shape

    def wide(value: Any) -> Any:
        if not isinstance(value, Mapped):
            return value
        array = level.whole(value)
        return array if value.shape else reshaped(level, array, (1,))

    dim = dim % max(len(input.shape), 1) + 1
    found = run_below(op, level, [wide(input), dim, wide(index), *map(wide, rest)])
    return level.hold(found if len(found.shape) == len(shape) + 1 else reshaped(level, found, shape), True)


@rule("searchsorted")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    sequence, input, right = values
    if not sequence.mapped and len(sequence.shape) == 1:
        return held(level, run_below(op, level, [sequence.value, input.value, right]))
    array = level.whole(input)
    if len(sequence.shape) == 1:
        array = reshaped(level, array, (prod(input.shape),))
    found = run_below(op, level, [level.whole(sequence), array, right])
    return level.hold(reshaped(level, found, input.shape), True)


@rule("nonzero")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    raise RuntimeError(
        "vmap: nonzero (and what it is part of: masks as indices, masked_select, unique) gives results whose shape "
        "depends on the values, which differ from example to example; use flambeau.where or masked_fill"
    )
