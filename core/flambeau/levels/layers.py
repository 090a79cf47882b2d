"""Batching rules of layers, where the decomposition would be slow."""

from __future__ import annotations

from typing import Any

from flambeau.levels import Level, Mapped
from flambeau.levels.rules import example_by_example, held, inner, is_mapped, rule, run_below
from flambeau.ops.declare import Op


def _shared(values: list[Any]) -> bool:
    return not any(is_mapped(value) for value in values)


@rule("linear")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, *parameters = values
    if _shared(parameters):
        return held(level, run_below(op, level, [input.value, *map(inner, parameters)]))
    return op.body(level.xp, *values)


@rule("native_layer_norm", "native_rms_norm")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    if _shared(values[1:]):
        return held(level, run_below(op, level, [inner(value) for value in values]))
    return op.body(level.xp, *values)


# -- with a batch dimension of their own -----------------------------------------------------------------------------


def _folded(level: Level, value: Any) -> Any:
    """An operand (N, ...) of the level as (examples * N, ...) below."""
    array = level.whole(value)
    return level.below.xp.reshape(array, (level.size * value.shape[0], *value.shape[1:]))


def _unfolded(level: Level, result: Any) -> Any:
    if result.__class__ is tuple or result.__class__ is list:
        return tuple([_unfolded(level, part) for part in result])
    shape = tuple(result.shape)
    size = level.size
    return level.hold(level.below.xp.reshape(result, (size, shape[0] // size, *shape[1:])), True)


@rule("max_pool", "max_pool_backward", "avg_pool", "avg_pool_backward", "adaptive_max_pool", "adaptive_avg_pool",
      "im2col", "col2im", "grid_sample_at", "local_response_norm")  # fmt: skip
def _(op: Op, level: Level, values: list[Any]) -> Any:
    if not level.size:
        return example_by_example(op, level, values)
    below = [_folded(level, value) if isinstance(value, Mapped) else value for value in values]
    return _unfolded(level, run_below(op, level, below))


@rule("resample", "resample_backward")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, dim, *rest = values
    if _shared(rest):
        return held(level, run_below(op, level, [input.value, dim % len(input.shape) + 1, *map(inner, rest)]))
    return op.body(level.xp, *values)


# -- convolutions ----------------------------------------------------------------------------------------------------
# The batch is folded into the images where all share the weight, else into the groups: (examples, N, C, ...) becomes
# (N, examples * C, ...), each example a group of its own (or several).


def _into_channels(level: Level, value: Any) -> Any:
    xp = level.below.xp
    array = level.whole(value)
    order = (1, 0, *range(2, len(array.shape)))
    batch, channels = value.shape[:2]
    return xp.reshape(xp.permute(array, order), (batch, level.size * channels, *value.shape[2:]))


def _from_channels(level: Level, array: Any) -> Any:
    xp = level.below.xp
    batch, channels, *rest = array.shape
    parted = xp.reshape(array, (batch, level.size, channels // level.size, *rest))
    return level.hold(xp.permute(parted, (1, 0, 2, *range(3, len(parted.shape)))), True)


@rule("convolution")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, weight, bias, *geometry, groups = values
    if _shared([weight, bias]):
        return _unfolded(level, run_below(op, level, [_folded(level, input), *map(inner, values[1:])]))
    result = run_below(
        op,
        level,
        [
            _into_channels(level, input),
            _folded(level, weight),
            None if bias is None else _folded(level, bias),
            *geometry,
            groups * level.size,
        ],
    )
    return _from_channels(level, result)


@rule("convolution_backward")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    g, input, weight, *geometry, groups, needs = values
    if not weight.mapped and not needs[1] and not needs[2]:
        below = [_folded(level, g), _folded(level, input), weight.value, *geometry, groups, needs]
        return (_unfolded(level, run_below(op, level, below)[0]), None, None)
    below = [_into_channels(level, g), _into_channels(level, input), _folded(level, weight)]
    gi, gw, gb = run_below(op, level, [*below, *geometry, groups * level.size, needs])
    return (
        None if gi is None else _from_channels(level, gi),
        None if gw is None else _unfolded(level, gw),
        None if gb is None else _unfolded(level, gb),
    )
