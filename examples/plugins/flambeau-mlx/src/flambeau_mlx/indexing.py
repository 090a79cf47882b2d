"""Kernels that read and write at positions given by arrays of integers.

MLX reads and writes wherever an index points. So indices are looked at first, which waits for them, though not for what
is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import mlx.core as mx
import numpy

from flambeau_mlx.array import Array, fresh, own_object
from flambeau_mlx.elementwise import values_of
from flambeau_mlx.evaluation import evaluate


def checked(op: str, index: Any, size: int, dim: int, lowest: int, error: type[Exception]) -> None:
    """Raise ``error`` unless every index of an MLX array is in [``lowest``, ``size``)."""
    if index.size:
        least, most = mx.min(index), mx.max(index)
        evaluate(least, most)
        outside = int(least.item()) if least.item() < lowest else int(most.item())
        if not lowest <= outside < size:
            raise error(f"{op}: index {outside} is out of bounds for dimension {dim} with size {size}")


# -- advanced indexing: negative indices count from the end --------------------------------------------------------


def _subscript(op: str, shape: tuple[int, ...], indices: Sequence[Array | None]) -> tuple[Any, ...]:
    """MLX's subscript for ``indices``, checked, from the front."""
    subscript: list[Any] = []
    for dim, index in enumerate(indices):
        if index is None:
            subscript.append(slice(None))
            continue
        at = index.value
        checked(op, at, shape[dim], dim, -shape[dim], IndexError)
        subscript.append(mx.where(mx.less(at, 0), at + shape[dim], at))
    try:
        mx.broadcast_shapes(*[at.shape for at in subscript if isinstance(at, mx.array)])
    except ValueError as error:
        raise IndexError(f"{op}: the indices do not broadcast: {error}") from None
    return tuple(subscript)


def index(input: Array, indices: Sequence[Array | None]) -> Array:
    """``input[indices]``, where None takes a whole dimension; the arrays of indices broadcast.

    Raises:
        IndexError: when an index is out of bounds or the arrays do not broadcast.
    """
    return fresh(input.value[_subscript("index", input.shape, indices)])


def index_put(input: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False) -> Array:
    """A copy of ``input`` with ``values``, broadcast, in the place of (or added to) ``input[indices]``.

    Raises:
        IndexError: when an index is out of bounds.
        RuntimeError: when ``values`` does not broadcast to the selected shape.
    """
    x = input.value
    subscript = _subscript("index_put", input.shape, indices)
    selected = x[subscript].shape
    given = values_of(input, values)[1]
    try:
        given = mx.broadcast_to(given, selected)
    except ValueError:
        raise RuntimeError(
            f"index_put: the shape {list(given.shape)} of values does not broadcast to the selected {list(selected)}"
        ) from None
    if not given.size:
        return fresh(x)
    if accumulate:
        return fresh(x.at[subscript].add(given))
    result = own_object(x)
    result[subscript] = given
    return fresh(result)


# -- along one dimension: negative indices are errors --------------------------------------------------------------


def _flat_positions(op: str, shape: tuple[int, ...], dim: int, index: Array) -> Any:
    """For each element of ``index`` the position, in a contiguous array of ``shape``, that it means along ``dim``."""
    at = index.value
    if len(index.shape) <= 1 and len(shape) <= 1:
        checked(op, at, shape[0] if shape else 1, 0, 0, RuntimeError)
        return at
    checked(op, at, shape[dim], dim, 0, RuntimeError)
    positions: Any = 0
    for d, n in enumerate(index.shape):
        step = prod(shape[d + 1 :])
        own = at if d == dim else mx.arange(n, dtype=mx.int64).reshape((n,) + (1,) * (len(shape) - 1 - d))
        positions = positions + own * step
    return positions


def gather(input: Array, dim: int, index: Array) -> Array:
    """``result[i][j][k] = input[i][index[i][j][k]][k]`` for ``dim`` 1 of 3; the shape is ``index``'s.

    Raises:
        RuntimeError: when an index is out of bounds.
    """
    positions = _flat_positions("gather", input.shape, dim, index)
    return fresh(mx.take(input.value.reshape(-1), positions))


def _scattered(op: str, input: Array, dim: int, index: Array, src: Any, add: bool) -> Array:
    positions = _flat_positions(op, input.shape, dim, index).reshape(-1)
    given = values_of(input, src)[1]
    if isinstance(src, Array):
        given = given[tuple([slice(n) for n in index.shape])] if index.shape else given
        given = given.reshape(-1)
    flat = input.value.reshape(-1)
    if not positions.size:
        return fresh(input.value)
    if add:
        flat = flat.at[positions].add(given)
    else:
        flat = own_object(flat)
        flat[positions] = given
    return fresh(flat.reshape(input.shape))


def scatter(input: Array, dim: int, index: Array, src: Any) -> Array:
    """A copy of ``input`` with ``result[i][index[i][j][k]][k] = src[i][j][k]`` for ``dim`` 1 of 3.

    Raises:
        RuntimeError: as :func:`gather`, and when ``index`` is larger than ``src``.
    """
    return _scattered("scatter", input, dim, index, src, add=False)


def scatter_add(input: Array, dim: int, index: Array, src: Array) -> Array:
    """:func:`scatter` that adds; several elements may go to one place.

    Raises:
        RuntimeError: as :func:`scatter`.
    """
    return _scattered("scatter_add", input, dim, index, src, add=True)


def embedding(weight: Array, indices: Array) -> Array:
    """The rows of ``weight`` (num, dim) at ``indices`` (any shape): shape ``indices.shape + (dim,)``.

    Raises:
        IndexError: when an index is negative or not below num.
    """
    at = indices.value
    checked("embedding", at, weight.shape[0], 0, 0, IndexError)
    return fresh(mx.take(weight.value, at, 0))


def nonzero(input: Array) -> Array:
    """The positions of the elements that are not zero, one a row: shape (number, ndim), int64.

    How many there are is known once they are computed, so that the host counts them.
    """
    truth = input.value.astype(mx.bool_)
    evaluate(truth)
    found = numpy.argwhere(numpy.array(truth)) if input.shape else numpy.empty((int(truth.item()), 0))
    return fresh(mx.array(found.astype(numpy.int64)))


KERNELS: dict[str, Callable[..., Any]] = {
    "index": index,
    "index_put": index_put,
    "gather": gather,
    "scatter": scatter,
    "scatter_add": scatter_add,
    "embedding": embedding,
    "nonzero": nonzero,
}
