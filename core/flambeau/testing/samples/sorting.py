"""Samples of sorting, order statistics, looking up and counting."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import FLOATS, HALF, INTEGERS, REAL, Maker, Sample, case, sample

NAN, INF = math.nan, math.inf


def _sort(x: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    if x.ndim == 0:
        return x, np.int64(0)
    if descending:
        # Stable, and NaN first: sorting the reversed array and reversing the outcome does both.
        order = np.flip(x.shape[dim] - 1 - np.argsort(np.flip(x, dim), dim, kind="stable"), dim)
    else:
        order = np.argsort(x, dim, kind="stable")
    return np.take_along_axis(x, order, dim), order if stable or len(np.unique(x)) == x.size else None


@case("sort", _sort, dtypes=(*REAL, *HALF))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(7))
    yield sample(make.distinct(3, 4), 0, True)
    yield sample(make.distinct(2, 3, 4), 1)
    yield sample(make.distinct())
    yield sample(make.distinct(0, 3))
    yield sample(make(4, 9), -1, False, True, smooth=False)
    yield sample(make(4, 9), 0, descending=True, stable=True, smooth=False)
    yield sample(make.values([1, 0, 1, 0, 1, 1]), stable=True, descending=True, smooth=False)
    if make.is_floating:
        for descending in (False, True):
            yield sample(make.values([2.0, NAN, INF, -1.0, NAN, -INF]), 0, descending, True, smooth=False)


@case("msort", lambda x: np.sort(x, 0), dtypes=REAL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(3, 4))


@case("argsort", lambda *a, **k: _sort(*a, **k)[1], dtypes=REAL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(3, 4))
    yield sample(make.distinct(3, 4), 0, True)


def _topk(x: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    values, order = _sort(x, dim, largest, True)
    if x.ndim == 0:
        return values, order
    return np.take(values, range(k), dim), np.take(order, range(k), dim)


@case("topk", _topk, dtypes=(*FLOATS, "int64", "int32"))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(7), 3)
    yield sample(make.distinct(3, 4), 2, 0, False)
    yield sample(make.distinct(2, 30), 2)
    yield sample(make.distinct(3, 4), 0)
    yield sample(make.distinct(), 1)
    if make.is_floating:
        yield sample(make.values([2.0, NAN, INF, -1.0]), 2, smooth=False)


def _at(x: Any, position: int, dim: int, keepdim: bool) -> Any:
    values, order = _sort(x, dim, False, True)
    values, order = np.take(values, [position], dim), np.take(order, [position], dim)
    return (values, order) if keepdim else (values.squeeze(dim), order.squeeze(dim))


@case("kthvalue", lambda x, k, dim=-1, keepdim=False: _at(x, k - 1, dim, keepdim), dtypes=(*FLOATS, "int64"))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(3, 4), 2)
    yield sample(make.distinct(3, 4), 3, 0, True)


def _median(ignore_nan: bool) -> Any:
    def reference(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        if dim is not None:
            return _at(x, (x.shape[dim] - 1) // 2, dim, keepdim)
        flat = np.sort(x.reshape(-1))
        valid = flat[flat == flat]
        if len(valid) < len(flat) and not ignore_nan:
            return np.float64(NAN)
        return valid[(len(valid) - 1) // 2]

    return reference


for _name in ("median", "nanmedian"):

    @case(_name, _median(_name == "nanmedian"), dtypes=(*FLOATS, "int64"))
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make.distinct(3, 4))
        yield sample(make.distinct(3, 4), 1)
        yield sample(make.distinct(3, 5), 0, True)
        if make.is_floating:
            yield sample(make.values([2.0, NAN, 1.0, 5.0]), smooth=False)


@case("median_along", lambda x, dim, keepdim=False, ignore_nan=False: _at(x, (x.shape[dim] - 1) // 2, dim, keepdim))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(3, 4), 1)
    yield sample(make.distinct(3, 4), 0, True, True)


def _mode(x: Any, dim: int = -1, keepdim: bool = False) -> Any:
    rows = np.moveaxis(x, dim, -1)
    values, places = np.empty(rows.shape[:-1], x.dtype), np.empty(rows.shape[:-1], np.int64)
    for row in np.ndindex(rows.shape[:-1]):
        found, counts = np.unique(rows[row], return_counts=True)
        values[row] = found[counts.argmax()]
        places[row] = np.flatnonzero(rows[row] == values[row])[-1]
    return (np.expand_dims(values, dim), np.expand_dims(places, dim)) if keepdim else (values, places)


@case("mode", _mode, dtypes=(*FLOATS, "int64"))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.values([[3, 1, 3, 1, 2], [5, 5, 5, 0, 0], [4, 3, 2, 1, 0]]), smooth=False)
    yield sample(make.distinct(3, 4), 0, True)


def _quantile(function: Any) -> Any:
    def reference(x: Any, q: Any, dim: Any = None, keepdim: bool = False, interpolation: str = "linear") -> Any:
        return function(x, q, axis=dim, keepdims=keepdim, method=interpolation)

    return reference


for _name, _function in (("quantile", np.quantile), ("nanquantile", np.nanquantile)):

    @case(_name, _quantile(_function), constant=("q",))
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make.distinct(3, 4), 0.3)
        yield sample(make.distinct(3, 4), make.values([0.2, 0.8]), 1, True)
        yield sample(make.distinct(3, 4), 0.45, 0, interpolation="lower")
        yield sample(make.values([2.0, NAN, 1.0, 5.0]), 0.4, smooth=False)


# -- distinct values -------------------------------------------------------------------------------------------------


def _unique(
    x: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: Any = None
) -> Any:
    found, inverse, counts = np.unique(x, return_inverse=True, return_counts=True, axis=dim)
    inverse = inverse.reshape(x.shape if dim is None else -1)
    results = [found] + [inverse] * return_inverse + [counts] * return_counts
    return tuple(results) if len(results) > 1 else found


@case("unique", _unique, dtypes=(*FLOATS, "int64", "uint8"), data_dependent=True)
def _(make: Maker) -> Iterator[Sample]:
    values = make.values([[3, 1, 3], [1, 2, 1], [3, 1, 3]])
    yield sample(values)
    yield sample(values, True, True, True)
    yield sample(values, return_inverse=True, return_counts=True, dim=0)
    yield sample(values, dim=1)


def _unique_consecutive(x: Any, return_inverse: bool = False, return_counts: bool = False, dim: Any = None) -> Any:
    flat = x.reshape(-1)
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    inverse = np.searchsorted(starts, np.arange(flat.size), side="right") - 1
    counts = np.diff(np.append(starts, flat.size))
    results = [flat[starts]] + [inverse.reshape(x.shape)] * return_inverse + [counts] * return_counts
    return tuple(results) if len(results) > 1 else results[0]


@case("unique_consecutive", _unique_consecutive, dtypes=(*FLOATS, "int64"), data_dependent=True)
def _(make: Maker) -> Iterator[Sample]:
    values = make.values([1, 1, 2, 2, 2, 1, 3, 3])
    yield sample(values)
    yield sample(values, True, True)


# -- looking up and counting -------------------------------------------------------------------------------------------


def _searchsorted(sequence: Any, x: Any, right: bool = False) -> Any:
    side = "right" if right else "left"
    if sequence.ndim == 1:
        return np.searchsorted(sequence, x, side)
    result = np.empty(x.shape, np.int64)
    for row in np.ndindex(sequence.shape[:-1]):
        result[row] = np.searchsorted(sequence[row], x[row], side)
    return result


@case("searchsorted", _searchsorted, dtypes=(*FLOATS, "int64", "int32"))
def _(make: Maker) -> Iterator[Sample]:
    sequence = make.values([-1, 0, 0, 1, 2])
    yield sample(sequence, make(2, 3))
    yield sample(sequence, make.values([0, 2, -1, 5, -5]), True)
    yield sample(sequence, make())
    yield sample(make.values([[0, 1, 2], [1, 1, 3]]), make.values([[1, 2], [1, 3]]), False)
    yield sample(sequence, make(0))


@case(
    "bucketize", lambda x, edges, out_int32=False, right=False: np.searchsorted(edges, x, "right" if right else "left")
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make.values([-1, 0, 1]))
    yield sample(make.values([0, 1]), make.values([-1, 0, 1]), right=True)


@case("isin", lambda x, test, assume_unique=False, invert=False: np.isin(x, test, invert=invert), dtypes=REAL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.values([[1, 2], [3, 4]]), make.values([2, 4, 7]))
    yield sample(make.values([1, 2, 3]), make.values([2]), invert=True)


@case("argwhere", np.argwhere, dtypes=(*FLOATS, "int64"), data_dependent=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4, low=0, high=2))


@case(
    "bincount",
    lambda x, weights=None, minlength=0: np.bincount(x, weights, minlength),
    dtypes=INTEGERS,
    data_dependent=True,
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.values([0, 3, 3, 1]))
    yield sample(make.values([0, 3, 3, 1]), minlength=6)
    yield sample(make.values([0, 1, 1]), make.of("float32").values([0.5, 1.0, 2.0]))


def _histc(x: Any, bins: int = 100, min: float = 0, max: float = 0) -> Any:
    return np.histogram(x, bins, (x.min(), x.max()) if min == max else (min, max))[0]


@case("histc", _histc)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(30), 4)
    yield sample(make.distinct(30), 5, -2, 2)


def _segment_reduce(x: Any, reduce: str, *, lengths: Any = None, offsets: Any = None, initial: Any = None) -> Any:
    ends = np.cumsum(lengths) if offsets is None else offsets[1:]
    starts = np.concatenate([[0], ends[:-1]])
    empty = {"sum": 0, "mean": NAN, "max": -INF, "min": INF, "prod": 1}[reduce]
    rows = [
        getattr(np, reduce)(x[a:b], 0) if a < b else np.full(x.shape[1:], empty)
        for a, b in zip(starts, ends, strict=True)
    ]
    return np.stack(rows)


@case("segment_reduce", _segment_reduce, data_dependent=True)
def _(make: Maker) -> Iterator[Sample]:
    for reduce in ("sum", "mean", "prod", "max", "min"):
        yield sample(make.distinct(6, 2), reduce, lengths=make.indices([2, 1, 3]))
    yield sample(make(6), "sum", lengths=make.indices([2, 0, 4]))
    yield sample(make(6), "sum", offsets=make.indices([0, 2, 2, 6]))
