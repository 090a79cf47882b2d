"""Samples of gathering, scattering and indexing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import ALL, NUMBERS, Maker, Sample, case, sample

FEW = ("float32", "float64", "int64", "complex64", "complex128")


@case("basic_index", lambda x, index: x[index], dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), (1,))
    yield sample(make(3, 4), (slice(None), slice(0, 4, 2)))
    yield sample(make(2, 3, 4), (0, slice(1, 3, 1), 2))


@case("basic_index_backward", None)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(4), (3, 4), (1,))
    yield sample(make(3, 2), (3, 4), (slice(None), slice(0, 4, 2)))


def _full(indices: Any) -> Any:
    """Indices with None as NumPy takes them: None means all along a dimension."""
    return tuple(slice(None) if i is None else i for i in indices)


@case("index", lambda x, indices: x[_full(indices)], dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5), [make.indices([4, 0, 0])])
    yield sample(make(4, 5), [make.indices([0, 3]), make.indices([1, 1])])
    yield sample(make(4, 5), [make.indices([[0], [3]]), make.indices([1, 2, 4])])
    yield sample(make(4, 5), [None, make.indices([1, 2, -1])])
    yield sample(make(2, 3, 4), [make.indices([1, 0]), None, make.indices([1, 2])])
    yield sample(make(2, 3, 4), [make.indices([1])])
    yield sample(make(3), [make.indices([])])
    yield sample(make(3), [make.indices(2)])


def _index_put(x: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    x = x.copy()
    if accumulate:
        np.add.at(x, _full(indices), values)
    else:
        x[_full(indices)] = values
    return x


@case("index_put", _index_put, dtypes=NUMBERS)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5), [make.indices([4, 0])], make(2))
    yield sample(make(4, 5), [make.indices([0, 3]), make.indices([1, 1])], make())
    yield sample(make(4, 5), [None, make.indices([1, 2])], make(4, 2))
    yield sample(make(4, 5), [make.indices([2, 0])], make(5))
    yield sample(make(5), [make.indices([4, 0, 4])], make(3), True)
    yield sample(make(4, 5), [make.indices([1, 1, 1])], make(3, 5), True)


def _open(shape: Any, dim: int, index: Any) -> Any:
    """The index arrays of ``x[i][index[i][j]][k]`` for all of ``index``."""
    grid = list(np.indices(index.shape))
    grid[dim] = index
    return tuple(grid)


def _gather(x: Any, dim: int, index: Any) -> Any:
    return x[index] if x.ndim and not index.ndim else x[_open(x.shape, dim, index)] if x.ndim else x


@case("gather", _gather, dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 1, make.index(3, 6, high=4))
    yield sample(make(3, 4), 0, make.index(2, 3, high=3))
    yield sample(make(2, 3, 4), -2, make.index(2, 1, 4, high=3))
    yield sample(make(5), 0, make.index(3, high=5))
    yield sample(make(5), 0, make.index(0, high=5))


def _scatter(add: bool) -> Any:
    def reference(x: Any, dim: int, index: Any, source: Any) -> Any:
        x = x.copy()
        places = _open(x.shape, dim, index)
        values = (
            source[tuple(slice(n) for n in index.shape)] if isinstance(source, np.ndarray) and source.ndim else source
        )
        if add:
            np.add.at(x, places, values)
        else:
            x[places] = values
        return x

    return reference


@case("scatter", _scatter(False), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 1, make.indices([[0, 2], [1, 3], [3, 0]]), make(3, 2))
    yield sample(make(3, 4), 0, make.indices([[2, 0, 1]]), make(2, 4))
    if make.dtype.name != "bool":
        yield sample(make(3, 4), 1, make.indices([[0], [1], [2]]), 1)


@case("scatter_add", _scatter(True), dtypes=NUMBERS)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 1, make.indices([[0, 2, 2], [1, 1, 1], [3, 0, 3]]), make(3, 3))
    yield sample(make(5), 0, make.index(9, high=5), make(9))
    yield sample(make(5), 0, make.index(0, high=5), make(0))


def _scatter_reduce(x: Any, dim: int, index: Any, source: Any, reduce: str, include_self: bool = True) -> Any:
    result, count = x.copy(), np.zeros(x.shape)
    functions = {"sum": np.add, "mean": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}
    for place in np.ndindex(index.shape):
        target = list(place)
        target[dim] = index[place]
        at = tuple(target)
        started = include_self or count[at]
        result[at] = functions[reduce](result[at], source[place]) if started else source[place]
        count[at] += 1
    if reduce == "mean":
        total = np.maximum(count + include_self, 1)
        result = result / total if result.dtype.kind == "f" else result // total
    return result


@case("scatter_reduce", _scatter_reduce)
def _(make: Maker) -> Iterator[Sample]:
    index = make.indices([[0, 2, 2], [1, 1, 1], [3, 0, 3]])
    for reduce in ("sum", "prod", "mean", "amax", "amin"):
        yield sample(make.distinct(3, 4), 1, index, make.distinct(3, 3), reduce)
        yield sample(make.distinct(3, 4), 1, index, make.distinct(3, 3), reduce, include_self=False)


@case("index_select", lambda x, dim, index: np.take(x, index, dim) if x.ndim else x, dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 1, make.indices([3, 0, 0]))
    yield sample(make(3, 4), 0, make.indices([]))
    yield sample(make(5), 0, make.index(3, high=5))


def _on_slices(x: Any, dim: int, index: Any, write: Any) -> Any:
    x = x.copy()
    view = np.moveaxis(x, dim, 0)
    write(view, index)
    return x


def _index_add(x: Any, dim: int, index: Any, source: Any, alpha: Any = 1) -> Any:
    return _on_slices(x, dim, index, lambda v, i: np.add.at(v, i, alpha * np.moveaxis(source, dim, 0)))


@case("index_add", _index_add, dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 1, make.indices([3, 0, 0]), make(3, 3))
    yield sample(make(3, 4), 0, make.indices([1]), make(1, 4), alpha=2)


@case(
    "index_copy",
    lambda x, d, i, s: _on_slices(x, d, i, lambda v, i: v.__setitem__(i, np.moveaxis(s, d, 0))),
    dtypes=FEW,
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 1, make.indices([3, 0]), make(3, 2))


@case("index_fill", lambda x, d, i, value: _on_slices(x, d, i, lambda v, i: v.__setitem__(i, value)), dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 1, make.indices([3, 0]), 1)
    yield sample(make(3, 4), 0, make.indices([2]), make())


@case(
    "take_along_dim",
    lambda x, i, dim=None: np.take_along_axis(x, i, dim) if dim is not None else x.reshape(-1)[i.reshape(-1)],
    dtypes=FEW,
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make.index(3, 2, high=4), 1)
    yield sample(make(3, 4), make.index(5, high=12))


@case("take", lambda x, index: np.take(x, index), dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make.index(2, 5, high=12))


def _put(x: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    flat = x.copy().reshape(-1)
    if accumulate:
        np.add.at(flat, index.reshape(-1), source.reshape(-1))
    else:
        flat[index.reshape(-1)] = source.reshape(-1)
    return flat.reshape(x.shape)


@case("put", _put, dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make.indices([3, 0, 11]), make(3))
    yield sample(make(3, 4), make.indices([3, 3, 11]), make(3), True)


@case("nonzero", lambda x: np.argwhere(x), dtypes=ALL, data_dependent=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4, low=0, high=2))
    yield sample(make(5, low=-1, high=1))
    yield sample(make(0, 3))
    yield sample(make.values([0, 1, 0, 1]))


@case(
    "masked_select",
    lambda x, mask: np.broadcast_arrays(x, mask)[0][np.broadcast_arrays(x, mask)[1]],
    dtypes=FEW,
    data_dependent=True,
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make.mask(3, 4))
    yield sample(make(3, 4), make.mask(4))


def _masked_scatter(x: Any, mask: Any, source: Any) -> Any:
    x = x.copy()
    mask = np.broadcast_to(mask, x.shape)
    x[mask] = source.reshape(-1)[: mask.sum()]
    return x


@case("masked_scatter", _masked_scatter, dtypes=FEW, data_dependent=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make.mask(3, 4), make(12))


# -- copies with a part replaced -----------------------------------------------------------------------------------


def _replaced(x: Any, source: Any, view: Any) -> Any:
    x = x.copy()
    view(x)[...] = source
    return x


def _diagonal_scatter(x: Any, source: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    x = x.copy()
    planes = np.moveaxis(x, (dim1, dim2), (-2, -1))
    rows = np.arange(source.shape[-1]) + max(-offset, 0)
    planes[..., rows, rows + offset] = source
    return x


@case("diagonal_scatter", _diagonal_scatter, dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3))
    yield sample(make(2, 3, 4), make(2, 2), -1, 1, 2)


@case("select_scatter", lambda x, s, dim, index: _replaced(x, s, lambda y: np.moveaxis(y, dim, 0)[index]), dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3), 1, 2)
    yield sample(make(3, 4), make(4), 0, -1)


def _slice_scatter(x: Any, source: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    return _replaced(x, source, lambda y: y[(slice(None),) * dim + (slice(start, end, step),)])


@case("slice_scatter", _slice_scatter, dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5, 2), make(2, 2), 0, 1, 3)
    yield sample(make(2, 6), make(2, 3), 1, 0, 6, 2)


def _index_reduce(x: Any, dim: int, index: Any, source: Any, reduce: str, include_self: bool = True) -> Any:
    shape = [-1 if d == dim else 1 for d in range(x.ndim)]
    return _scatter_reduce(x, dim, np.broadcast_to(index.reshape(shape), source.shape), source, reduce, include_self)


@case("index_reduce", _index_reduce)
def _(make: Maker) -> Iterator[Sample]:
    for reduce in ("prod", "mean", "amax", "amin"):
        yield sample(make.distinct(3, 4), 1, make.indices([3, 0, 0]), make.distinct(3, 3, shift=0.125), reduce)
    index = make.indices([1, 1])
    yield sample(make.distinct(3, 4), 0, index, make.distinct(2, 4, shift=0.125), "amax", include_self=False)


def _scatter_extreme(x: Any, dim: int, index: Any, source: Any, largest: bool, include_self: bool) -> Any:
    return _scatter_reduce(x, dim, index, source, "amax" if largest else "amin", include_self)


@case("scatter_extreme", _scatter_extreme)
def _(make: Maker) -> Iterator[Sample]:
    index = make.indices([[0, 2, 2], [1, 1, 1], [3, 0, 3]])
    for largest, include_self in ((True, True), (False, False)):
        yield sample(make.distinct(3, 4), 1, index, make.distinct(3, 3, shift=0.125), largest, include_self)


def _nonzero_static(x: Any, *, size: int, fill_value: int = -1) -> Any:
    found = np.argwhere(x)[:size]
    return np.concatenate([found, np.full((size - len(found), x.ndim), fill_value)])


@case("nonzero_static", _nonzero_static, dtypes=("float32", "int64", "bool"), data_dependent=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), size=2)
    yield sample(make(3, 4), size=20, fill_value=7)
    yield sample(make(5), size=0)


def _as_strided_scatter(x: Any, source: Any, size: Any, stride: Any, offset: int = 0) -> Any:
    x = np.array(x, order="C")
    part = x.reshape(-1)[offset:]
    np.lib.stride_tricks.as_strided(part, size, [x.itemsize * n for n in stride])[...] = source
    return x


@case("as_strided_scatter", _as_strided_scatter, dtypes=FEW, strided=False)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(2, 2), (2, 2), (4, 1))
    yield sample(make(3, 4), make(3), (3,), (4,), 1)
    yield sample(make(4), make(), (), (), 2)
