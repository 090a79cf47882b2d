"""Reading and writing parts of tensors: basic and advanced indices, entries along a dimension, masks."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy

from flambeau.dtypes import INTEGER, bool_, cast_number, int64, uint8
from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import Spec, broadcast_shapes, numel

Tensor = Any
Number = Any
Dim = Any
Xp = Any


#: The subscript `:`.
ALL = slice(None)


def zeros_of(xp: Xp, g: Any, size: Any) -> Any:
    """Zeros of the shape ``size``, of the dtype and on the device of ``g``."""
    return xp.full(tuple(size), 0, xp.dtype_of(g), xp.device_of(g))


# -- basic subscripts: views -----------------------------------------------------------------------------------------


@composite(view=True, public=())
def basic_index(xp: Xp, input: Tensor, index: Any) -> Tensor:
    """Return the view ``input[index]``.

    ``index`` is a tuple of ints (not negative), slices (with start, stop and a positive step, within bounds) and Nones;
    dimensions beyond it are taken whole.
    """
    shape: list[int] = []
    d = 0
    for item in index:
        if item is None:
            shape.append(1)
            continue
        if isinstance(item, int):
            input = xp.slice(input, d, item, item + 1, 1)
        else:
            if item.start is not None:
                input = xp.slice(input, d, item.start, item.stop, item.step)
            shape.append(input.shape[d])
        d += 1
    return xp.view(input, (*shape, *input.shape[d:]))


basic_index.vjp(input=lambda xp, g, input_spec, index: xp.basic_index_backward(g, input_spec.shape, index))


@composite(public=())
def basic_index_backward(xp: Xp, g: Tensor, size: Any, index: Any) -> Tensor:
    """Return zeros of shape ``size`` with ``g`` at ``index``."""
    result = zeros_of(xp, g, size)
    xp.assign(xp.basic_index(result, index), g)
    return result


basic_index_backward.vjp(g=lambda xp, g, index: xp.basic_index(g, index))


def _replayed(xp: Xp, array: Any, steps: Any) -> Any:
    for name, arguments in steps:
        array = getattr(xp, name)(array, *arguments)
    return array


@composite(public=())
def copy_slices(xp: Xp, base: Tensor, value: Tensor, steps: Any) -> Tensor:
    """Return ``base`` with ``value`` in the part that the view ops ``steps`` lead to.

    What an in-place operation on a view means for the view's base.
    """
    result = xp.clone(base)
    xp.assign(_replayed(xp, result, steps), value)
    return result


def _part(xp: Xp, g: Any, steps: Any) -> Any:
    """What the steps lead to in a cotangent, whose memory may be laid out in another way than the base's."""
    return _replayed(xp, xp.clone(g), steps)


copy_slices.vjp(
    base=lambda xp, g, steps: xp.copy_slices(g, xp.mul(_part(xp, g, steps), 0), steps),
    value=_part,
)

# -- advanced subscripts ---------------------------------------------------------------------------------------------


def index_shape(input: Spec, indices: Any) -> tuple[int, ...]:
    """The shape of ``index(input, indices)``: the indexed dimensions give way to the indices' common shape."""
    used = [d for d, item in enumerate(indices) if item is not None]
    common = broadcast_shapes("index", *[indices[d].shape for d in used])
    rest = [n for d, n in enumerate(input.shape) if d not in used]
    adjacent = used == list(range(used[0], used[-1] + 1))
    at = used[0] if adjacent else 0
    return (*rest[:at], *common, *rest[at:])


@primitive(public=())
def index(input: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """Return ``input[indices]`` for a list of int64 index arrays, None where a dimension is taken whole.

    Raises:
        IndexError: when an index is out of range or the indices do not broadcast.
    """
    return input.with_shape(index_shape(input, indices))


index.vjp(input=lambda xp, g, input_spec, indices: xp.index_put(zeros_of(xp, g, input_spec.shape), indices, g, True))


@primitive(inplace=True)
def index_put(input: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """Return ``input`` with ``values`` (broadcast) at ``input[indices]``; added there when ``accumulate``."""
    return input


index_put.vjp(
    input=lambda xp, g, indices, accumulate: (
        g if accumulate else xp.index_put(g, indices, xp.mul(xp.index(g, indices), 0), False)
    ),
    values=lambda xp, g, indices, values_spec: xp.sum_to_size(xp.index(g, indices), values_spec.shape),
)


@index_put.canonical
def _(input: Any, indices: Any, values: Any, accumulate: Any) -> Any:
    resolved = resolved_indices("index_put", input, list(indices))
    return input, resolved, values if values._dtype is input._dtype else values.to(input._dtype), accumulate


def resolved_indices(op: str, input: Any, indices: list[Any]) -> list[Any]:
    """Index tensors as int64, masks as the indices of what they choose, one entry a dimension."""
    resolved: list[Any] = []
    for item in indices:
        d = len(resolved)
        if item is None:
            resolved.append(None)
        elif item._dtype is bool_ or item._dtype is uint8:
            shape = item._array.shape
            for offset, n in enumerate(shape):
                own = input._array.shape[d + offset] if d + offset < input.ndim else 0
                if n != own:
                    raise IndexError(
                        f"{op}: The shape of the mask {list(shape)} at index {offset} does not match the shape of the "
                        f"indexed tensor {list(input._array.shape)} at index {d + offset}"
                    )
            resolved += list(item.nonzero().unbind(1))
        elif item._dtype.category == INTEGER:
            resolved.append(item.long())
        else:
            raise IndexError(
                f"{op}: tensors used as indices must be long, int, byte or bool tensors, not {item._dtype.name}"
            )
    if len(resolved) > input.ndim:
        raise IndexError(f"{op}: too many indices for tensor of dimension {input.ndim}")
    return resolved


def slice_bounds(item: slice, n: int) -> slice:
    if item.start is None and item.stop is None and item.step is None:
        return item
    try:
        start, stop, step = item.indices(n)
    except TypeError:
        start, stop, step = slice(*[
            None if bound is None else operator.index(bound) for bound in (item.start, item.stop, item.step)
        ]).indices(n)  # fmt: skip
    except ValueError:
        step = 0
    if step <= 0:
        raise ValueError("step must be greater than zero; use flip() to reverse a dimension")
    return slice(start, max(start, stop), step)


# -- along one dimension ---------------------------------------------------------------------------------------------


@composite()
def index_select(xp: Xp, input: Tensor, dim: Dim, index: Tensor) -> Tensor:
    """Return the entries at ``index`` (a vector of integers) along ``dim``."""
    if not input.shape:
        return xp.reshape(xp.index_select(xp.reshape(input, (1,)), 0, index), ())
    return xp.index(input, [None] * dim + [index])


def _index_select_gradient(xp: Xp, g: Any, input_spec: Spec, dim: int, index: Any) -> Any:
    if not input_spec.shape:
        return xp.reshape(g, ())
    return xp.index_add(zeros_of(xp, g, input_spec.shape), dim, index, g)


index_select.vjp(input=_index_select_gradient)


@index_select.canonical
def _(input: Any, dim: int, index: Any) -> Any:
    return input, dim, vector_of_indices("index_select", input, dim, index)


def vector_of_indices(op: str, input: Any, dim: int, index: Any) -> Any:
    if index.ndim > 1:
        raise IndexError(f"{op}(): Index is supposed to be a vector, got a tensor of shape {list(index._array.shape)}")
    if index._dtype.category != INTEGER:
        raise (IndexError if op == "index_fill" else RuntimeError)(
            f"{op}(): Expected dtype int32 or int64 for index, got {index._dtype.name}"
        )
    if index.ndim == 0:
        index = index.reshape(-1)
    if index._dtype is not int64:
        index = index.long()
    size = input._array.shape[dim] if input._array.shape else 1
    _check_range(op, index, size, dim, -size if op == "index_fill" else 0)
    return index


def _check_range(op: str, index: Any, size: int, dim: int, lowest: int) -> None:
    """Refuse indices outside ``lowest <= index < size``."""
    from flambeau.tensor import everywhere, examined

    if index.is_meta or index.numel() == 0:
        return
    index = everywhere(index)
    where = index._device
    if where.backend.notes_indices(op, index._array, lowest, size, dim):
        return
    if where.type == "cpu":
        examined(index, _look_at_indices, op, size, dim, lowest)
    else:
        _refuse_outside(op, int(index.amin().item()), int(index.amax().item()), size, dim, lowest)


def _look_at_indices(values: numpy.ndarray[Any, Any], op: str, size: int, dim: int, lowest: int) -> None:
    # As numbers without a sign negative ones are the largest of all: one look is enough.
    if lowest < 0 or int(numpy.maximum.reduce(values.view(numpy.uint64), None)) >= size:
        low, high = numpy.minimum.reduce(values, None), numpy.maximum.reduce(values, None)
        _refuse_outside(op, int(low), int(high), size, dim, lowest)


def _refuse_outside(op: str, low: int, high: int, size: int, dim: int, lowest: int) -> None:
    if low < lowest or high >= size:
        raise IndexError(
            f"{op}: index {low if low < lowest else high} is out of bounds for dimension {dim} with size {size}"
        )


@composite(inplace=True)
def index_add(xp: Xp, input: Tensor, dim: Dim, index: Tensor, source: Tensor, *, alpha: Number = 1) -> Tensor:
    """Return ``input`` with ``alpha * source`` added to the entries at ``index`` along ``dim``.

    Raises:
        IndexError: when an index is out of range.
        RuntimeError: when the shapes or the dtypes do not fit.
    """
    if alpha != 1:
        source = xp.mul(source, cast_number(alpha, xp.dtype_of(input)))
    if not input.shape:
        return xp.add(
            input,
            xp.reshape(xp.to_dtype(xp.sum(source, tuple(range(len(source.shape))), False), xp.dtype_of(input)), ()),
        )
    return xp.index_put(input, [None] * dim + [index], source, True)


index_add.vjp(
    input=lambda xp, g: g,
    source=lambda xp, g, dim, index, alpha: (
        xp.index_select(g, dim, index) if alpha == 1 else xp.mul(xp.index_select(g, dim, index), alpha)
    ),
)


@index_add.canonical
def _(input: Any, dim: int, index: Any, source: Any, alpha: Any) -> Any:
    index, source = _entries("index_add", input, dim, index, source)
    return input, dim, index, source, alpha


def _entries(op: str, input: Any, dim: int, index: Any, source: Any) -> tuple[Any, Any]:
    """The index as a vector of int64 and the source in the shape of the entries that it means."""
    index = vector_of_indices(op, input, dim, index)
    if source._dtype is not input._dtype:
        raise RuntimeError(
            f"{op}(): self and source expected to have the same dtype, but got (self) {input._dtype.name} and (source) "
            f"{source._dtype.name}"
        )
    shape = list(input._array.shape)
    if not shape:
        return index, source
    shape[dim] = index.numel()
    if source.ndim == 0 and shape == [1]:
        source = source.reshape(1)
    if list(source._array.shape) != shape:
        raise RuntimeError(
            f"{op}(): source has the shape {list(source._array.shape)}, but {index.numel()} entries along dimension "
            f"{dim} of {list(input._array.shape)} have the shape {shape}"
        )
    return index, source


@composite(inplace=True)
def index_copy(xp: Xp, input: Tensor, dim: Dim, index: Tensor, source: Tensor) -> Tensor:
    """Return ``input`` with the entries of ``source`` at ``index`` along ``dim``.

    Raises:
        IndexError: when an index is out of range.
        RuntimeError: when the shapes or the dtypes do not fit.
    """
    if not input.shape:
        return xp.reshape(xp.clone(source), ())
    return xp.index_put(input, [None] * dim + [index], source, False)


@index_copy.canonical
def _(input: Any, dim: int, index: Any, source: Any) -> Any:
    return input, dim, *_entries("index_copy", input, dim, index, source)


@composite(inplace=True)
def index_fill(xp: Xp, input: Tensor, dim: Dim, index: Tensor, value: Tensor | Number) -> Tensor:
    """Return ``input`` with ``value`` in the entries at ``index`` along ``dim``."""
    dtype, where = xp.dtype_of(input), xp.device_of(input)
    if not hasattr(value, "shape"):
        value = xp.full((), value, dtype, where)
    if not input.shape:
        return xp.clone(value)
    # By a mask: an index that occurs twice counts once in the gradient of `value`.
    ones = xp.full(tuple(index.shape), True, bool_, where)
    hit = xp.index_put(xp.full((input.shape[dim],), False, bool_, where), [index], ones, False)
    return xp.where(xp.reshape(hit, (-1, *[1] * (len(input.shape) - dim - 1))), value, input)


def _fill_gradient(xp: Xp, g: Any, dim: int, index: Any) -> Any:
    # Each filled entry counts once, however often its index occurs.
    return xp.sum(xp.sub(g, xp.index_fill(g, dim, index, 0)), tuple(range(len(g.shape))), False)


index_fill.vjp(input=lambda xp, g, dim, index: xp.index_fill(g, dim, index, 0), value=_fill_gradient)


@index_fill.canonical
def _(input: Any, dim: int, index: Any, value: Any) -> Any:
    if hasattr(value, "_array"):
        if value.ndim:
            raise RuntimeError(
                f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)"
            )
        value = value.to(input._dtype)
    return input, dim, vector_of_indices("index_fill", input, dim, index), value


@composite(inline=True)
def take(xp: Xp, input: Tensor, index: Tensor) -> Tensor:
    """Return the elements at ``index`` of the flattened tensor, in the shape of ``index``."""
    return xp.index(xp.reshape(input, (numel(input.shape),)), [index.long()])


@composite(inline=True, inplace=True)
def put(xp: Xp, input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """Return ``input`` with ``source`` at ``index`` of the flattened tensor."""
    flat = xp.reshape(input, (numel(input.shape),))
    written = xp.index_put(flat, [xp.reshape(index, (-1,))], xp.reshape(source, (-1,)), accumulate)
    return xp.reshape(written, tuple(input.shape))


# -- masks -----------------------------------------------------------------------------------------------------------


@primitive(differentiable=False)
def nonzero(input: Tensor) -> Tensor:
    """Return the indices of all elements that are not 0, one row each; with ``as_tuple=True`` a tensor a dimension."""
    return Spec((0, max(input.ndim, 0)), int64)


@nonzero.keywords
def _(xp: Xp, input: Any, *, as_tuple: bool = False) -> Any:
    if not as_tuple:
        return xp.nonzero(input)
    return xp.unbind(xp.nonzero(xp.reshape(input, (1,)) if input.ndim == 0 else input), 1)


@composite(inline=True, differentiable=False)
def nonzero_static(xp: Xp, input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """Return the first ``size`` rows of :func:`nonzero`, rows of ``fill_value`` where there are fewer."""
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    found = xp.nonzero(input)
    found = xp.slice(found, 0, 0, min(size, found.shape[0]), 1)
    missing = size - found.shape[0]
    return xp.cat([found, xp.new_full(found, (missing, found.shape[1]), fill_value)], 0) if missing else found


@composite(inline=True)
def masked_select(xp: Xp, input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where ``mask`` (bool, broadcast) is true, as one dimension."""
    if mask._dtype is not bool_:
        raise RuntimeError(f"masked_select: expected BoolTensor for mask, got {mask._dtype.name}")
    shape = broadcast_shapes("masked_select", input.shape, mask.shape)
    if not shape:
        return xp.masked_select(xp.reshape(input, (1,)), xp.reshape(mask, (1,)))
    return xp.index(xp.expand(input, shape), list(xp.unbind(xp.nonzero(xp.expand(mask, shape)), 1)))


@composite(inline=True, inplace=True)
def masked_scatter(xp: Xp, input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Return ``input`` with the elements of ``source``, in order, where ``mask`` is true."""
    if mask._dtype is not bool_:
        raise RuntimeError(f"masked_scatter only supports boolean masks, but got mask with dtype {mask._dtype.name}")
    if source._dtype is not input._dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got {input._dtype.name} and "
            f"{source._dtype.name}"
        )
    shape = broadcast_shapes("masked_scatter", input.shape, mask.shape)
    places = list(xp.unbind(xp.nonzero(xp.expand(mask, shape)), 1))
    count = places[0].numel()
    if source.numel() < count:
        raise RuntimeError(
            f"masked_scatter: expected at least {count} elements in source, one for each true element of mask, got "
            f"{source.numel()}"
        )
    values = xp.slice(xp.reshape(source, (-1,)), 0, 0, count, 1)
    return xp.index_put(xp.clone(xp.expand(input, shape)), places, values, False)
