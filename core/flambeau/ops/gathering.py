"""Reading and writing elements at indices along one dimension: gather and scatter."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import INTEGER, bool_, int32, int64
from flambeau.ops.declare import composite, primitive
from flambeau.ops.indexing import vector_of_indices, zeros_of
from flambeau.ops.spec import broadcast_shapes, numel, wrap_dim

Tensor = Any
Number = Any
Dim = Any
Xp = Any


def _checked_index(op: str, input: Any, at: Any) -> Any:
    """``at`` as int64, with as many dimensions as ``input``."""
    if at._dtype not in (int32, int64) and at.numel():
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
    if index.numel() == 0 and index.ndim != input.ndim:
        # As in PyTorch, an empty index fits everything.
        input = input.reshape(-1)[:0].reshape(index._array.shape)
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
        src = src[tuple([slice(0, n) for n in index._array.shape])]
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
    nothing = xp.full((), 0, xp.dtype_of(input), xp.device_of(input))
    start = input if include_self else xp.where(xp.gt(hits, 0), nothing, input)
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
    index = vector_of_indices("index_reduce", input, dim, index)
    if not input.shape:
        return xp.scatter_reduce(input, 0, index, xp.reshape(source, (-1,)), reduce, include_self=include_self)
    places = xp.reshape(index, (-1, *[1] * (input.ndim - 1 - dim)))
    spread = xp.expand(places, tuple(source.shape))
    return xp.scatter_reduce(input, dim, spread, source, reduce, include_self=include_self)


@composite(inline=True)
def take_along_dim(xp: Xp, input: Tensor, indices: Tensor, dim: Any = None) -> Tensor:
    """Return the elements at ``indices`` along ``dim``, all other dimensions broadcast (flattened when None).

    Negative indices count from the end.

    Raises:
        RuntimeError: when the numbers of dimensions differ or the indices are no int64.
    """
    if xp.dtype_of(indices) is not int64:
        raise RuntimeError(f"take_along_dim(): dtype of indices should be Long but got {xp.dtype_of(indices).name}")
    if dim is None:
        flat = xp.reshape(indices, (-1,))
        return xp.gather(xp.reshape(input, (-1,)), 0, _from_the_front(xp, flat, numel(input.shape)))
    if input.ndim != indices.ndim:
        raise RuntimeError(
            "take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
        )
    dim = wrap_dim("take_along_dim", dim, input.ndim)
    rest = broadcast_shapes(
        "take_along_dim",
        [1 if d == dim else n for d, n in enumerate(input.shape)],
        [1 if d == dim else n for d, n in enumerate(indices.shape)],
    )
    own = [input.shape[d] if d == dim else n for d, n in enumerate(rest)]
    other = [indices.shape[d] if d == dim else n for d, n in enumerate(rest)]
    places = _from_the_front(xp, indices, input.shape[dim])
    return xp.gather(xp.expand(input, tuple(own)), dim, xp.expand(places, tuple(other)))


def _from_the_front(xp: Xp, indices: Any, size: int) -> Any:
    return xp.where(xp.lt(indices, 0), xp.add(indices, size), indices)
