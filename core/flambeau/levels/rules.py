"""Batching rules: what an op on single examples is on the whole batch.

Most follow from the declarations. An op that works element by element aligns the batch in front; one that takes
dimensions counts them from one further on; a composite that has no rule runs its decomposition, whose parts have
theirs. What is left has a rule of its own here or in :mod:`~flambeau.levels.indexing` and
:mod:`~flambeau.levels.layers`, or is done example by example, which is said once an op.

A rule is called ``rule(op, level, values)`` with all arguments in the order of the parameters, where at least one
operand is mapped; otherwise the kernel below is called as it is. It returns raw arrays of the level.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any

from flambeau.dispatch import Namespace
from flambeau.levels import Level, Mapped, written_to_shared
from flambeau.ops.declare import Op
from flambeau.ops.mapping import CROSSING

Rule = Callable[[Op, Level, list[Any]], Any]

#: Rules by op name, for what the declarations do not say.
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Give the rule of the ops of these names."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


# -- kernels ---------------------------------------------------------------------------------------------------------


def kernel_of(op: Op, xp: Namespace) -> Callable[..., Any]:
    """The kernel of an op on levels."""
    from flambeau.levels import indexing, layers  # noqa: F401 - they register their rules

    if op.inline or op.name in CROSSING:
        return partial(op.body, xp)
    own = RULES.get(op.name) or _derived(op)
    if own is None and not op.primitive:
        own = partial(_decomposed, xp)
    return partial(_call, op, own or example_by_example)


def _call(op: Op, own: Rule, *args: Any, **kwargs: Any) -> Any:
    values = [*args, *op.defaults[len(args) :]]
    for name, value in kwargs.items():
        values[op.positions[name]] = value
    level = None
    mapped = False
    for position in op.tensor_positions:
        value = values[position]
        for operand in value if value.__class__ is list or value.__class__ is tuple else (value,):
            if operand.__class__ is Mapped:
                level = operand.level
                mapped = mapped or operand.mapped
    if mapped:
        return own(op, level, values)  # type: ignore[arg-type]
    place = op.positions.get("device")
    if level is None:
        level = values[place]  # type: ignore[index]
    if op.name in RULES and op.name in _ALWAYS:
        return own(op, level, values)
    return held(level, run_below(op, level, [inner(value) for value in values]), False)


def inner(value: Any) -> Any:
    """An argument as the device below has it."""
    if value.__class__ is Mapped:
        return value.value
    if value.__class__ is Level:
        return value.below
    if value.__class__ is list or value.__class__ is tuple:
        return type(value)([inner(item) for item in value])
    return value


def run_below(op: Op, level: Level, values: list[Any]) -> Any:
    """What the kernel of the device below makes of its own arrays."""
    return level.below.table[op.index](*values)


def held(level: Level, result: Any, mapped: bool = True) -> Any:
    """The results of a kernel below as arrays of the level."""
    if result.__class__ is tuple or result.__class__ is list:
        return tuple([None if part is None else level.hold(part, mapped) for part in result])
    return None if result is None else level.hold(result, mapped)


def _decomposed(xp: Namespace, op: Op, level: Level, values: list[Any]) -> Any:
    return op.body(xp, *values)


_told: set[str] = set()


def example_by_example(op: Op, level: Level, values: list[Any]) -> Any:
    """Call the kernel below once for each example and stack the results; says so, once an op."""
    if op.name not in _told:
        _told.add(op.name)
        warnings.warn(
            f"vmap: there is no batching rule for {op.name}: it is computed example by example, which is slow",
            UserWarning,
            stacklevel=2,
        )
    xp = level.below.xp

    def of(value: Any, i: int) -> Any:
        if value.__class__ is list or value.__class__ is tuple:
            return type(value)([of(item, i) for item in value])
        if value.__class__ is Mapped and value.mapped:
            return xp.reshape(xp.slice(value.value, 0, i, i + 1, 1), value.shape)
        return inner(value)

    results = [run_below(op, level, [of(value, i) for value in values]) for i in range(level.size)]
    if not results:
        raise RuntimeError(f"vmap: {op.name} has no batching rule, and there are no examples to tell its result")
    as_array = level.below.backend.as_array  # type: ignore[union-attr]
    if results[0].__class__ is tuple or results[0].__class__ is list:
        columns = zip(*results, strict=True)
        return held(level, tuple([None if c[0] is None else xp.stack(list(map(as_array, c)), 0) for c in columns]))
    return held(level, xp.stack(list(map(as_array, results)), 0))


# -- what rules are made of ------------------------------------------------------------------------------------------


def is_mapped(value: Any) -> bool:
    return value.__class__ is Mapped and value.mapped


def aligned(level: Level, value: Any, ndim: int) -> Any:
    """The array below of an operand of broadcasting: the batch first, then ``ndim`` dimensions."""
    if value.__class__ is not Mapped:
        return value
    if not value.mapped or len(value.shape) == ndim:
        return value.value
    missing = ndim - len(value.shape)
    return level.below.xp.reshape(value.value, (level.size, *[1] * missing, *value.shape))


def reshaped(level: Level, array: Any, shape: Any) -> Any:
    """An array below, with the batch in front, in another shape of the examples."""
    return level.below.xp.reshape(array, (level.size, *shape))


def rank(value: Any) -> int:
    return len(value.shape) if value.__class__ is Mapped else 0


# -- rules that the declarations give --------------------------------------------------------------------------------

_DIMS = {"Dim", "Dims", "SomeDims"}
# Annotations of parameters that have nothing to do with where a dimension is.
_NEUTRAL = {
    "bool", "int", "float", "str", "Number", "DType", "Number | None", "DType | None", "int | None", "float | None",
}  # fmt: skip
# They take dimensions, and treat the others together.
_NOT_ALONG = {"renorm"}


def _derived(op: Op) -> Rule | None:
    """The rule that an op's declaration gives, or None."""
    if op.pointwise:
        return alike if op.name.endswith("_backward") else pointwise
    if op.tensor_positions != (0,) or op.has_sequence:
        return None
    others = {p.annotation for p in op.parameters[1:]}
    if others & _DIMS and others <= _DIMS | _NEUTRAL and op.name not in _NOT_ALONG:
        return along
    if op.name.startswith("linalg_") and others <= _NEUTRAL:
        return leading
    return None


@rule("complex", "to_dtype", "clone", "real", "imag", "polar", "isposinf", "isneginf", "isreal", "signbit")
def pointwise(op: Op, level: Level, values: list[Any]) -> Any:
    """Element by element: the operands get as many dimensions as the widest example has."""
    ndim = max([rank(value) for value in values])
    return held(level, run_below(op, level, [aligned(level, value, ndim) for value in values]))


@rule("moving_gamma", "apply_dropout", "apply_alpha_dropout", "apply_rrelu")
def alike(op: Op, level: Level, values: list[Any]) -> Any:
    """Element by element, over operands of which one has the shape of the result: all get the batch."""
    ndim = max([rank(value) for value in values])
    below = [
        aligned(level, level.hold(level.whole(value), True), ndim) if isinstance(value, Mapped) else value
        for value in values
    ]
    return held(level, run_below(op, level, below))


def along(op: Op, level: Level, values: list[Any]) -> Any:
    """Along given dimensions of one tensor: they are one further back. A number is a vector of one element."""
    input = values[0]
    ndim = len(input.shape)
    array = input.value if ndim else level.below.xp.reshape(input.value, (level.size, 1))
    shifted = [array, *values[1:]]
    for i, parameter in enumerate(op.parameters):
        if parameter.annotation in _DIMS:
            shifted[i] = _shifted(parameter.annotation, values[i], ndim)
    result = held(level, run_below(op, level, shifted))
    if ndim:
        return result
    if result.__class__ is tuple:
        return tuple([level.hold(reshaped(level, part.value, ()), True) for part in result])
    return level.hold(reshaped(level, result.value, ()), True)


def _shifted(annotation: str, dims: Any, ndim: int) -> Any:
    if annotation == "Dim":
        return dims % (ndim or 1) + 1
    if dims is None:
        return tuple(range(1, ndim + 1))
    if isinstance(dims, int):
        dims = (dims,)
    return tuple([d % (ndim or 1) + 1 for d in dims])


@rule(
    "view_as_real",
    "view_as_complex",
    "view_dtype",
    "tril",
    "triu",
    "constant_pad_nd",
    "reflection_pad",
    "replication_pad",
    "circular_pad",
)
def leading(op: Op, level: Level, values: list[Any]) -> Any:
    """On the last dimensions of one tensor: one more in front changes nothing."""
    return held(level, run_below(op, level, [values[0].value, *values[1:]]))


# -- creation --------------------------------------------------------------------------------------------------------


@rule("full")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    # Writable, one for each example: decompositions write into what they make. Numbers are only read.
    size, fill_value, dtype, _ = values
    if not size:
        return level.hold(level.below.xp.full((), fill_value, dtype, level.below), False)
    return level.hold(level.below.xp.full((level.size, *size), fill_value, dtype, level.below), True)


@rule("full_like")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    return held(level, run_below(op, level, [values[0].value, *values[1:]]))


@rule("new_full")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, size, *rest = values
    return held(level, run_below(op, level, [input.value, (level.size, *size), *rest]))


#: Ops whose rule is called even where nothing is mapped.
_ALWAYS = frozenset(("full", "assign"))


@rule("assign")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    target, value = values
    if target.mapped:
        level.below.xp.assign(target.value, aligned(level, value, len(target.shape)))
    elif is_mapped(value):
        raise written_to_shared("an in-place operation")
    else:
        level.below.xp.assign(target.value, inner(value))
    return target


# -- shapes ----------------------------------------------------------------------------------------------------------


@rule("view")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, size = values
    return held(level, run_below(op, level, [input.value, (level.size, *size)]))


@rule("permute")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, dims = values
    return held(level, run_below(op, level, [input.value, (0, *[d % len(dims) + 1 for d in dims])]))


@rule("expand")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, size = values
    return held(level, run_below(op, level, [aligned(level, input, len(size)), (level.size, *size)]))


@rule("diagonal_view")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, offset, dim1, dim2 = values
    return held(level, run_below(op, level, [input.value, offset, dim1 + 1, dim2 + 1]))


@rule("as_strided")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, size, stride, offset = values
    backend: Any = level.below.backend
    step = backend.strides(input.value)[0]
    offset = backend.storage_offset(input.value) if offset is None else offset
    return held(level, run_below(op, level, [input.value, (level.size, *size), (step, *stride), offset]))


@rule("unfold")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, dim, size, step = values
    if input.shape:
        return held(level, run_below(op, level, [input.value, dim % len(input.shape) + 1, size, step]))
    windows = run_below(op, level, [reshaped(level, input.value, (1,)), 1, size, step])
    return level.hold(reshaped(level, windows, (size,)), True)


@rule("slice_backward", "unfold_backward")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    g, shape, dim, *rest = values
    if not shape:
        return example_by_example(op, level, values)
    return held(level, run_below(op, level, [g.value, (level.size, *shape), dim + 1, *rest]))


@rule("diagonal_backward")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    g, size, offset, dim1, dim2 = values
    return held(level, run_below(op, level, [g.value, (level.size, *size), offset, dim1 + 1, dim2 + 1]))


@rule("diag_embed")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, offset, dim1, dim2 = values
    ndim = len(input.shape) + 1
    return held(level, run_below(op, level, [input.value, offset, dim1 % ndim + 1, dim2 % ndim + 1]))


@rule("cat", "stack")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    tensors, dim = values
    dim += (len(tensors[0].shape) + (op.name == "stack")) if dim < 0 else 0
    return held(level, run_below(op, level, [[level.whole(tensor) for tensor in tensors], dim + 1]))


@rule("fft_c2c", "fft_r2c", "fft_c2r")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, dims, *rest = values
    ndim = len(input.shape)
    dims = dims % ndim + 1 if isinstance(dims, int) else tuple([d % ndim + 1 for d in dims])
    return held(level, run_below(op, level, [input.value, dims, *rest]))


@rule("argmax", "argmin")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    input, dim, keepdim = values
    if dim is None:
        flat = reshaped(level, input.value, (prod(input.shape),))
        found = run_below(op, level, [flat, 1, False])
        return level.hold(reshaped(level, found, (1,) * len(input.shape) if keepdim else ()), True)
    if not input.shape:
        return held(level, run_below(op, level, [reshaped(level, input.value, (1,)), 1, False]))
    return held(level, run_below(op, level, [input.value, dim % len(input.shape) + 1, keepdim]))


# -- matrix products -------------------------------------------------------------------------------------------------


@rule("matmul")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    a, b = values
    left, right = len(a.shape), len(b.shape)
    if not b.mapped and right <= 2 and (right == 1 or left == 1):
        return held(level, run_below(op, level, [a.value, b.value]))
    xp = level.below.xp
    # Vectors as matrices; the dimensions before the matrices aligned.
    one = a.value if left > 1 else xp.reshape(a.value, _with(level, a, (1, *a.shape)))
    other = b.value if right > 1 else xp.reshape(b.value, _with(level, b, (*b.shape, 1)))
    lead = max(left, right, 2)
    one = _led(level, a, one, max(left, 2), lead)
    other = _led(level, b, other, max(right, 2), lead)
    product = run_below(op, level, [one, other])
    shape = list(product.shape)
    if right == 1:
        del shape[-1]
    if left == 1:
        del shape[-2 if right > 1 else -1]
    return level.hold(xp.reshape(product, tuple(shape)) if len(shape) < len(product.shape) else product, True)


def _with(level: Level, value: Mapped, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (level.size, *shape) if value.mapped else shape


def _led(level: Level, value: Mapped, array: Any, own: int, ndim: int) -> Any:
    """A stack of matrices with ``ndim`` dimensions an example."""
    if not value.mapped or own == ndim:
        return array
    return level.below.xp.reshape(array, (level.size, *[1] * (ndim - own), *array.shape[1:]))


@rule("linalg_solve")
def _(op: Op, level: Level, values: list[Any]) -> Any:
    matrix, right = values
    a, b = level.whole(matrix), level.whole(right)
    rows = len(matrix.shape)
    is_vector = len(right.shape) == 1 or (len(right.shape) == rows - 1 and right.shape == matrix.shape[:-1])
    xp = level.below.xp
    if is_vector:
        b = xp.reshape(b, (*b.shape, 1))
    ndim = max(rows, len(b.shape) - 1)
    a = _led(level, Mapped(a, True, level), a, rows, ndim)
    b = _led(level, Mapped(b, True, level), b, len(b.shape) - 1, ndim)
    solved = run_below(op, level, [a, b])
    return level.hold(xp.reshape(solved, solved.shape[:-1]) if is_vector else solved, True)
