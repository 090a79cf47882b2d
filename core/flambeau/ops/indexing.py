"""Reading and writing parts of tensors: subscripts, gather and scatter, masks."""

from __future__ import annotations

import builtins
import operator
from collections.abc import Sequence
from typing import Any

from flambeau.dtypes import INTEGER, bool_, int32, int64, uint8
from flambeau.ops.declare import composite, primitive
from flambeau.ops.spec import Spec, broadcast_shapes, numel, wrap_dim

Tensor = Any
Number = Any
Dim = Any
Xp = Any


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
    resolved = _resolved_indices("index_put", input, list(indices))
    return input, resolved, values if values._dtype is input._dtype else values.to(input._dtype), accumulate


# -- along one dimension ---------------------------------------------------------------------------------------------


def _checked_index(op: str, input: Any, at: Any) -> Any:
    """``at`` as int64, with as many dimensions as ``input``."""
    if at._dtype not in (int32, int64):
        raise RuntimeError(f"{op}(): Expected dtype int32 or int64 for index, got {at._dtype.name}")
    if at.ndim != input.ndim and not (input.ndim <= 1 and at.ndim <= 1):
        raise RuntimeError(
            f"{op}(): Index tensor must have the same number of dimensions as input tensor, got {at.ndim} and "
            f"{input.ndim}"
        )
    return at.long()


@primitive()
def gather(input: Tensor, dim: Dim, index: Tensor) -> Tensor:
    """Return the elements at ``index`` along ``dim``: ``result[i][j] = input[index[i][j]][j]`` for ``dim`` 0.

    Raises:
        RuntimeError: when ``index`` is not int64, has another number of dimensions, is larger than ``input`` in
            another dimension, or holds an index out of range.
    """
    return input.with_shape(index.shape)


gather.vjp(input=lambda xp, g, input_spec, dim, index: xp.scatter_add(zeros_of(xp, g, input_spec.shape), dim, index, g))


@gather.canonical
def _(input: Any, dim: int, index: Any) -> Any:
    index = _checked_index("gather", input, index)
    for d, (n, m) in enumerate(zip(index._array.shape, input._array.shape, strict=False)):
        if d != dim and n > m:
            raise RuntimeError(
                f"gather(): Size does not match at dimension {d}: expected index {list(index._array.shape)} to be no "
                f"larger than input {list(input._array.shape)} apart from dimension {dim}"
            )
    return input, dim, index


@gather.keywords
def _(xp: Xp, input: Any, dim: Any, index: Any, *, sparse_grad: bool = False) -> Any:
    return xp.gather(input, dim, index)


def _scattered(op: str, input: Any, dim: int, index: Any, src: Any) -> Any:
    """The arguments of a scatter: the index as int64, the source as a tensor of the input's dtype and its shape."""
    index = _checked_index(op, input, index)
    if not hasattr(src, "_array"):
        from flambeau.conversion import tensor

        src = tensor(src, dtype=input._dtype, device=input._device).expand(index.shape)
    if src._dtype is not input._dtype:
        raise RuntimeError(f"{op}(): Expected self.dtype to be equal to src.dtype, got {input._dtype.name} and "
                           f"{src._dtype.name}")  # fmt: skip
    for d, (n, own) in enumerate(zip(index._array.shape, src._array.shape, strict=False)):
        if n > own or (d != dim and n > input._array.shape[d]):
            raise RuntimeError(
                f"{op}(): Expected index {list(index._array.shape)} to be no larger than self "
                f"{list(input._array.shape)} apart from dimension {dim} and to be no larger in size than src "
                f"{list(src._array.shape)}"
            )
    if src._array.shape != index._array.shape:
        src = src[tuple([builtins.slice(0, n) for n in index._array.shape])]
    return input, dim, index, src


@primitive(inplace=True)
def scatter(input: Tensor, dim: Dim, index: Tensor, src: Tensor | Number) -> Tensor:
    """Return ``input`` with ``src`` (a tensor or a number) written at ``index`` along ``dim``.

    ``reduce="add"`` or ``"multiply"`` combines with what is there.
    """
    return input


scatter.vjp(
    input=lambda xp, g, dim, index: xp.scatter(g, dim, index, xp.mul(xp.gather(g, dim, index), 0)),
    src=lambda xp, g, dim, index: xp.gather(g, dim, index),
)
scatter.canonical(lambda input, dim, index, src: _scattered("scatter", input, dim, index, src))


@scatter.keywords
def _(xp: Xp, input: Any, dim: Any, index: Any, src: Any = None, *, value: Any = None, reduce: Any = None) -> Any:
    src = value if src is None else src
    if reduce is None:
        return xp.scatter(input, dim, index, src)
    names = {"add": "sum", "multiply": "prod"}
    if reduce not in names:
        raise RuntimeError(f"scatter(): reduce argument must be either add or multiply, got {reduce!r}")
    dim = wrap_dim("scatter", dim, input.ndim)
    return xp.scatter_reduce(*_scattered("scatter", input, dim, index, src), names[reduce])


@primitive(inplace=True)
def scatter_add(input: Tensor, dim: Dim, index: Tensor, src: Tensor) -> Tensor:
    """Return ``input`` with ``src`` added at ``index`` along ``dim``; indices that occur twice add twice."""
    return input


scatter_add.vjp(input=lambda xp, g: g, src=lambda xp, g, dim, index: xp.gather(g, dim, index))
scatter_add.canonical(lambda input, dim, index, src: _scattered("scatter_add", input, dim, index, src))


@composite(inplace=True)
def scatter_reduce(
    xp: Xp, input: Tensor, dim: Dim, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Return ``input`` combined with ``src`` at ``index`` along ``dim``.

    Args:
        reduce: ``"sum"``, ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"``.
        include_self: whether the element of ``input`` takes part.
    """
    if reduce in ("amax", "amin"):
        return xp.scatter_extreme(input, dim, index, src, reduce == "amax", include_self)
    if reduce == "prod":
        return _one_by_one(xp, input, dim, index, src, xp.mul, include_self)
    hits = _hits(xp, input, dim, index, src)
    start = input if include_self else xp.where(xp.gt(hits, 0), 0, input)
    total = xp.scatter_add(start, dim, index, src)
    if reduce == "sum":
        return total
    count = xp.add(hits, 1) if include_self else xp.where(xp.gt(hits, 0), hits, xp.add(hits, 1))
    return xp.floor_divide(total, count) if xp.dtype_of(input).category <= INTEGER else xp.div(total, count)


@scatter_reduce.canonical
def _(input: Any, dim: int, index: Any, src: Any, reduce: str, include_self: bool) -> Any:
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"scatter_reduce(): reduce argument must be sum, prod, mean, amax or amin, got {reduce!r}")
    return *_scattered("scatter_reduce", input, dim, index, src), reduce, include_self


def _hits(xp: Xp, input: Any, dim: int, index: Any, src: Any) -> Any:
    """How many elements of ``src`` go to each element of ``input``."""
    own, where = xp.dtype_of(input), xp.device_of(input)
    one = xp.full(tuple(src.shape), 1, own, where)
    return xp.scatter_add(xp.full(tuple(input.shape), 0, own, where), dim, index, one)


def _one_by_one(xp: Xp, input: Any, dim: int, index: Any, src: Any, combine: Any, include_self: bool) -> Any:
    """Combine one entry along ``dim`` at a time, so that no index occurs twice in a step."""
    if not index.shape:
        index, src = xp.reshape(index, (1,)), xp.reshape(src, (1,))
        if not input.shape:
            return xp.reshape(_one_by_one(xp, xp.reshape(input, (1,)), 0, index, src, combine, include_self), ())
    result = xp.clone(input)
    where = xp.device_of(input)
    seen = None if include_self else xp.full(tuple(input.shape), False, bool_, where)
    for i in range(index.shape[dim]):
        at, value = xp.slice(index, dim, i, i + 1, 1), xp.slice(src, dim, i, i + 1, 1)
        combined = combine(xp.gather(result, dim, at), value)
        if seen is not None:
            combined = xp.where(xp.gather(seen, dim, at), combined, value)
            seen = xp.scatter(seen, dim, at, xp.full(tuple(at.shape), True, bool_, where))
        result = xp.scatter(result, dim, at, combined)
    return result


@composite(public=())
def scatter_extreme(
    xp: Xp, input: Tensor, dim: Any, index: Tensor, src: Tensor, largest: bool, include_self: bool
) -> Tensor:
    """Return the largest or smallest of ``input`` (where it counts) and what ``src`` sends to each element."""
    return _one_by_one(xp, input, dim, index, src, xp.maximum if largest else xp.minimum, include_self)


@scatter_extreme.joint_vjp
def _(xp: Xp, g: Any, needs: Any, input: Any, dim: int, index: Any, src: Any, include_self: bool, result: Any) -> Any:
    # Divided evenly among the elements that reach the extreme, as the gradient of amax.
    dtype, where = xp.dtype_of(input), xp.device_of(input)
    from_self = xp.to_dtype(xp.eq(input, result), dtype)
    if not include_self:
        from_self = xp.where(xp.gt(_hits(xp, input, dim, index, src), 0), 0.0, from_self)
    from_src = xp.to_dtype(xp.eq(src, xp.gather(result, dim, index)), dtype)
    count = xp.scatter_add(from_self, dim, index, from_src)
    share = xp.div(g, xp.maximum(count, xp.full((), 1, dtype, where)))
    return xp.mul(share, from_self), None, xp.mul(xp.gather(share, dim, index), from_src)


@composite(inline=True, inplace=True)
def index_reduce(
    xp: Xp, input: Tensor, dim: Dim, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Return ``input`` with the entries of ``source`` combined into those at ``index`` along ``dim``.

    Args:
        reduce: ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"``.
        include_self: whether the entries of ``input`` take part.
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): reduce argument must be prod, mean, amax or amin, got {reduce!r}")
    index = _vector_of_indices("index_reduce", input, dim, index)
    if not input.shape:
        return xp.scatter_reduce(input, 0, index, xp.reshape(source, (-1,)), reduce, include_self=include_self)
    places = xp.reshape(index, (-1, *[1] * (input.ndim - 1 - dim)))
    spread = xp.expand(places, tuple(source.shape))
    return xp.scatter_reduce(input, dim, spread, source, reduce, include_self=include_self)


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
    return input, dim, _vector_of_indices("index_select", input, dim, index)


def _vector_of_indices(op: str, input: Any, dim: int, index: Any) -> Any:
    if index.ndim > 1:
        raise IndexError(f"{op}(): Index is supposed to be a vector, got a tensor of shape {list(index._array.shape)}")
    if index._dtype.category != INTEGER:
        raise (IndexError if op == "index_fill" else RuntimeError)(
            f"{op}(): Expected dtype int32 or int64 for index, got {index._dtype.name}"
        )
    index = index.reshape(-1).long()
    size = input._array.shape[dim] if input._array.shape else 1
    _check_range(op, index, size, dim, -size if op == "index_fill" else 0)
    return index


def _check_range(op: str, index: Any, size: int, dim: int, lowest: int) -> None:
    """Refuse indices outside ``lowest <= index < size``."""
    if index.is_meta or index.numel() == 0:
        return
    index = index.detach()
    low, high = int(index.amin().item()), int(index.amax().item())
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
    return xp.index_put(input, [None] * dim + [index], source if alpha == 1 else xp.mul(source, alpha), True)


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
    index = _vector_of_indices(op, input, dim, index)
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
    if not hasattr(value, "shape"):
        value = xp.full((), value, xp.dtype_of(input), xp.device_of(input))
    if not input.shape:
        return xp.clone(value)
    return xp.index_put(input, [None] * dim + [index], value, False)


@index_fill.canonical
def _(input: Any, dim: int, index: Any, value: Any) -> Any:
    if hasattr(value, "_array"):
        if value.ndim:
            raise RuntimeError(
                f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)"
            )
        value = value.to(input._dtype)
    return input, dim, _vector_of_indices("index_fill", input, dim, index), value


def _with_part(xp: Xp, input: Any, part: Any, value: Any, steps: Any) -> Any:
    if tuple(part.shape) != tuple(value.shape):
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(value.shape)}, "
                           f"slice size = {list(part.shape)}")  # fmt: skip
    return xp.copy_slices(input, xp.to_dtype(value, xp.dtype_of(input)), steps)


@composite(inline=True)
def select_scatter(xp: Xp, input: Tensor, src: Tensor, dim: Dim, index: int) -> Tensor:
    """Return a copy of ``input`` with ``src`` in the place of ``select(dim, index)``."""
    part = xp.select(input, dim, index)
    return _with_part(xp, input, part, src, (("basic_index", ((*[_ALL] * dim, index % input.shape[dim]),)),))


@composite(inline=True)
def slice_scatter(
    xp: Xp, input: Tensor, src: Tensor, dim: Dim = 0, start: Any = None, end: Any = None, step: int = 1
) -> Tensor:
    """Return a copy of ``input`` with ``src`` in the place of ``input[start:end:step]`` along ``dim``."""
    bounds = _bounds(builtins.slice(start or 0, end, step), input.shape[dim])
    arguments = (dim, bounds.start, bounds.stop, bounds.step)
    return _with_part(xp, input, xp.slice(input, *arguments), src, (("slice", arguments),))


@composite(inline=True)
def diagonal_scatter(xp: Xp, input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return a copy of ``input`` with ``src`` in the place of ``diagonal(offset, dim1, dim2)``."""
    part = xp.diagonal(input, offset, dim1, dim2)
    arguments = (offset, wrap_dim("diagonal_scatter", dim1, input.ndim), wrap_dim("diagonal_scatter", dim2, input.ndim))
    return _with_part(xp, input, part, src, (("diagonal_view", arguments),))


@composite(inline=True)
def take_along_dim(xp: Xp, input: Tensor, indices: Tensor, dim: Any = None) -> Tensor:
    """Return the elements at ``indices`` along ``dim``, all other dimensions broadcast (flattened when None)."""
    if dim is None:
        return xp.gather(xp.reshape(input, (-1,)), 0, xp.reshape(indices, (-1,)))
    dim = wrap_dim("take_along_dim", dim, input.ndim)
    rest = broadcast_shapes(
        "take_along_dim",
        [1 if d == dim else n for d, n in enumerate(input.shape)],
        [1 if d == dim else n for d, n in enumerate(indices.shape)],
    )
    own = [input.shape[d] if d == dim else n for d, n in enumerate(rest)]
    other = [indices.shape[d] if d == dim else n for d, n in enumerate(rest)]
    return xp.gather(xp.expand(input, tuple(own)), dim, xp.expand(indices, tuple(other)))


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


# -- x[...] and x[...] = ... -----------------------------------------------------------------------------------------

_ALL = builtins.slice(None)
_SEVERAL = (list, tuple, builtins.slice, type(None), type(Ellipsis))


def _as_index(item: Any, device: Any) -> Any:
    """A list, a tuple or an array in a subscript as a tensor."""
    from flambeau.conversion import tensor

    made = tensor(item, device=device)
    return made.long() if made.numel() == 0 else made


def _resolved_indices(op: str, input: Any, indices: list[Any]) -> list[Any]:
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


def parse(input: Any, subscript: Any) -> tuple[tuple[Any, ...], list[Any] | None]:
    """Split a subscript into its basic part and index tensors.

    Returns:
        The index for :func:`basic_index`, and the index tensors (one entry a dimension of that view, None where it is
        taken whole) or None where there are none.

    Raises:
        IndexError: for what is no index, too many indices, or an int out of range.
    """
    if isinstance(subscript, list) and any(isinstance(i, _SEVERAL) or hasattr(i, "_array") for i in subscript):
        subscript = tuple(subscript)  # x[[[0, 1], [1, 2]]] is x[[0, 1], [1, 2]], as in PyTorch and in old NumPy
    items = subscript if isinstance(subscript, tuple) else (subscript,)
    shape = input._array.shape
    used = 0
    for item in items:
        if item is not None and item is not Ellipsis and not isinstance(item, bool):
            mask = getattr(item, "dtype", None) is not None and str(getattr(item, "dtype", "")).endswith("bool")
            used += item.ndim if mask else 1
    if used > len(shape):
        raise IndexError(f"too many indices for tensor of dimension {len(shape)}: {used} in the subscript")
    basic: list[Any] = []
    advanced: dict[int, Any] = {}  # by dimension of the view
    d = place = 0
    for item in items:
        if item is None:
            basic.append(None)
            place += 1
        elif isinstance(item, bool):
            basic.append(None)
            advanced[place] = _as_index([0] if item else [], input._device)
            place += 1
        elif isinstance(item, builtins.slice):
            basic.append(_bounds(item, shape[d]))
            d, place = d + 1, place + 1
        elif item is Ellipsis:
            rest = len(shape) - used
            basic += [_ALL] * rest
            d, place = d + rest, place + rest
            used = len(shape)
        else:
            if not hasattr(item, "_array"):
                try:
                    number = operator.index(item)
                except TypeError:
                    if not isinstance(item, (list, tuple, range)) and not hasattr(item, "__array__"):
                        raise IndexError(
                            "only integers, slices (`:`), ellipsis (`...`), None and long or byte tensors are valid "
                            f"indices (got {type(item).__name__})"
                        ) from None
                    item = _as_index(item, input._device)
            elif not item._array.shape and item._dtype.category == INTEGER and item._dtype is not uint8:
                number = int(item.item())
                item = number
            if not hasattr(item, "_array"):
                n = shape[d]
                if not -n <= number < n:
                    raise IndexError(f"index {number} is out of bounds for dimension {d} with size {n}")
                basic.append(number % n)
                d += 1
            elif item._dtype is bool_ and not item._array.shape:
                basic.append(None)
                advanced[place] = _as_index([0] if item.item() else [], input._device)
                place += 1
            else:
                taken = item.ndim if item._dtype in (bool_, uint8) else 1
                advanced[place] = item
                basic += [_ALL] * taken
                d, place = d + taken, place + taken
    if not advanced:
        return tuple(basic), None
    indices: list[Any] = []
    for at in range(place):
        if at in advanced:
            indices.append(advanced[at])
        elif not any(a < at < a + (t.ndim if t._dtype in (bool_, uint8) else 1) for a, t in advanced.items()):
            indices.append(None)
    return tuple(basic), indices


def _bounds(item: builtins.slice, n: int) -> builtins.slice:
    if item.start is None and item.stop is None and item.step is None:
        return item
    try:
        start, stop, step = item.indices(n)
    except TypeError:
        start, stop, step = builtins.slice(*[
            None if bound is None else operator.index(bound) for bound in (item.start, item.stop, item.step)
        ]).indices(n)  # fmt: skip
    except ValueError:
        step = 0
    if step <= 0:
        raise ValueError("step must be greater than zero; use flip() to reverse a dimension")
    return builtins.slice(start, max(start, stop), step)


def getitem(input: Any, subscript: Any) -> Any:
    """``input[subscript]``: a view for ints, slices, None and Ellipsis, a copy for index tensors and masks."""
    xp = _tensors()
    if subscript.__class__ is int:
        shape = input._array.shape
        if not shape:
            raise IndexError("invalid index of a 0-dim tensor. Use `tensor.item()` to convert it to a Python number")
        n = shape[0]
        if not -n <= subscript < n:
            raise IndexError(f"index {subscript} is out of bounds for dimension 0 with size {n}")
        return xp.basic_index(input, (subscript % n,))
    basic, indices = parse(input, subscript)
    if indices is None:
        return xp.basic_index(input, basic)
    viewed = input if all(item is _ALL or item == _ALL for item in basic) else xp.basic_index(input, basic)
    return index_tensor(viewed, indices)


def index_tensor(input: Any, indices: list[Any]) -> Any:
    """``input`` at a list of index tensors and masks."""
    resolved = _resolved_indices("index", input, indices)
    xp = _tensors()
    return xp.index(input, resolved)


def setitem(input: Any, subscript: Any, value: Any) -> None:
    """``input[subscript] = value``, in place; ``value`` is broadcast and cast."""
    xp = _tensors()
    from flambeau.conversion import tensor

    if not hasattr(value, "_array"):
        value = value if isinstance(value, (bool, int, float, complex)) else tensor(value, device=input._device)
    is_mask = hasattr(subscript, "_array") and subscript._dtype is bool_ and subscript.shape == input.shape
    if is_mask and (not hasattr(value, "_array") or value.numel() == 1):
        _inplace("masked_fill")(input, subscript, value.reshape(()) if hasattr(value, "_array") else value)
        return
    basic, indices = parse(input, subscript)
    target = input if all(item is _ALL or item == _ALL for item in basic) else xp.basic_index(input, basic)
    if indices is None:
        target.copy_(_fitted(value, tuple(target.shape)))
        return
    if not hasattr(value, "_array"):
        value = tensor(value, dtype=input._dtype, device=input._device)
    resolved = _resolved_indices("index_put", target, indices)
    value = _fitted(value, index_shape(Spec(target._array.shape, target._dtype), [_spec(i) for i in resolved]))
    target.index_put_(resolved, value)


def _spec(item: Any) -> Spec | None:
    return None if item is None else Spec(item._array.shape, item._dtype)


def _fitted(value: Any, shape: tuple[int, ...]) -> Any:
    """``value`` without leading dimensions of size 1 that the place does not have."""
    if not hasattr(value, "_array"):
        return value
    own = value._array.shape
    while len(own) > len(shape) and own[0] == 1:
        own = own[1:]
    if own != value._array.shape:
        value = value.reshape(own)
    try:
        fits = broadcast_shapes("setitem", own, shape) == tuple(shape)
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(
            f"setitem: shape mismatch: value tensor of shape {list(own)} cannot be broadcast to indexing result of "
            f"shape {list(shape)}"
        )
    return value


def _tensors() -> Any:
    from flambeau.ops.call import TENSORS

    return TENSORS


def _inplace(name: str) -> Any:
    from flambeau.tensor import Tensor as TensorClass

    return getattr(TensorClass, name + "_")
