"""Samples of reductions, statistics and cumulative ops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.dtypes import DTYPES
from flambeau.testing.database import ALL, FLOATS, HALF, NUMBERS, REAL, Maker, Sample, case, sample

NAN, INF = math.nan, math.inf


def _axes(dim: Any) -> Any:
    return tuple(dim) if isinstance(dim, (list, tuple)) else dim


def _int64_of_integers(x: Any) -> Any:
    return x.astype(np.int64) if x.dtype.kind in "biu" else x


def _reduce(function: Any, widen: bool = False) -> Any:
    def reference(x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
        x = x if dtype is None else x.astype(dtype)
        dim = _axes(dim)
        return function(
            _int64_of_integers(x) if widen else x, axis=None if dim == () or x.ndim == 0 else dim, keepdims=keepdim
        )

    return reference


def reduction(
    name: str, reference: Any, empty: bool = True, nan: bool = True, typed: bool = False, distinct: bool = False,
    **options: Any,
) -> None:  # fmt: skip
    """Samples over no, one, several and all dims, with and without keepdim."""

    @case(name, reference, **options)
    def _(make: Maker) -> Iterator[Sample]:
        new = make.distinct if distinct else make
        yield sample(new(3, 4))
        yield sample(new(2, 3, 4), 1)
        yield sample(new(2, 3, 4), -1, True)
        yield sample(new(2, 3, 4), (0, 2))
        yield sample(new(2, 3, 4), dim=(2, 1), keepdim=True)
        yield sample(new())
        yield sample(new(), 0)
        yield sample(new(1, 4), 0)
        if empty:
            yield sample(new(0, 3), 0)
            yield sample(new(2, 0))
        yield sample(new(0, 3), 1)
        if nan and make.is_floating:
            yield sample(make.values([[NAN, 1.0], [INF, -INF]]), 1, smooth=False)
        if typed and make.dtype.name != "bool":
            yield sample(new(3, 4), 0, dtype=make.dtype)


reduction("sum", _reduce(np.sum, True), typed=True, dtypes=(*ALL, *HALF))
reduction("prod", _reduce(np.prod, True), typed=True, dtypes=ALL)
reduction("amax", _reduce(np.amax), empty=False, distinct=True, dtypes=(*REAL, *HALF, "bool"))
reduction("amin", _reduce(np.amin), empty=False, distinct=True, dtypes=(*REAL, *HALF, "bool"))
reduction("all", _reduce(np.all), dtypes=ALL)
reduction("any", _reduce(np.any), dtypes=ALL)
reduction("mean", _reduce(np.mean), typed=True, dtypes=(*FLOATS, *HALF, "complex64", "complex128"))
reduction("nansum", _reduce(np.nansum, True), dtypes=(*FLOATS, "int64"))
reduction("nanmean", _reduce(np.nanmean))


@case("extreme_backward", None, constant=("input", "extreme"))
def _(make: Maker) -> Iterator[Sample]:
    x = make.values([[1.0, 3.0, 3.0], [2.0, 2.0, 0.0]])
    yield sample(make(2), x, make.values([3.0, 2.0]), (1,), False)
    yield sample(make(2, 1), x, make.values([[3.0], [2.0]]), (1,), True)


def _argument(function: Any) -> Any:
    def reference(x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
        if x.ndim == 0:
            return np.int64(0)
        return function(x, axis=dim, keepdims=keepdim)

    return reference


for _name, _function in (("argmax", np.argmax), ("argmin", np.argmin)):

    @case(_name, _argument(_function), dtypes=(*REAL, *HALF))
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(3, 4))
        yield sample(make(2, 3, 4), 1)
        yield sample(make(2, 3, 4), -1, True)
        yield sample(make())
        yield sample(make(0, 3), 1)
        yield sample(make.values([[1, 3, 3], [2, 2, 2]]), 1)
        if make.is_floating:
            yield sample(make.values([[1.0, NAN, 3.0], [NAN, NAN, -INF]]), 1)


def _along(pick: Any, argument: Any) -> Any:
    def reference(x: Any, dim: int, keepdim: bool = False) -> Any:
        if x.ndim == 0:
            return x, np.int64(0)
        return pick(x, axis=dim, keepdims=keepdim), argument(x, axis=dim, keepdims=keepdim)

    return reference


for _name, _pick, _function in (("max", np.amax, np.argmax), ("min", np.amin, np.argmin)):

    @case(_name + "_along", _along(_pick, _function), dtypes=REAL)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make.distinct(3, 4), 1)
        yield sample(make.distinct(2, 3, 4), -2, True)
        yield sample(make.distinct(), 0)
        yield sample(make.values([[1, 3, 3], [2, 2, 2]]), 1, smooth=False)
        if make.is_floating:
            yield sample(make.values([[1.0, NAN, 3.0], [NAN, NAN, -INF]]), 1, smooth=False)


def _extreme(pick: Any, pairs: Any, argument: Any) -> Any:
    def reference(x: Any, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
        if dim is None and other is None:
            return pick(x)
        if other is not None or isinstance(dim, np.ndarray):
            return pairs(x, dim if other is None else other)
        return pick(x, axis=dim, keepdims=keepdim), argument(x, axis=dim, keepdims=keepdim)

    return reference


for _name, _pick, _pairs, _function in (
    ("max", np.amax, np.maximum, np.argmax), ("min", np.amin, np.minimum, np.argmin),
):  # fmt: skip

    @case(_name, _extreme(_pick, _pairs, _function), dtypes=REAL)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make.distinct(3, 4))
        yield sample(make.distinct(3, 4), 0)
        yield sample(make.distinct(3, 4), 1, True)
        yield sample(make.distinct(3, 4), make(4))


def _aminmax(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return np.amin(x, axis=dim, keepdims=keepdim), np.amax(x, axis=dim, keepdims=keepdim)


@case("aminmax", _aminmax, dtypes=REAL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(3, 4))
    yield sample(make.distinct(3, 4), dim=1, keepdim=True)


# -- statistics ------------------------------------------------------------------------------------------------------


def _var(x: Any, dim: Any = None, correction: float = 1, keepdim: bool = False) -> Any:
    return np.var(x, axis=dim, ddof=correction, keepdims=keepdim)


for _name, _reference in (("variance", _var), ("deviation", lambda *a, **k: np.sqrt(_var(*a, **k)))):

    @case(_name, _reference)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(3, 4), (1,))
        yield sample(make(2, 3, 4), (0, 2), keepdim=True, correction=0)
        yield sample(make(5), (0,), correction=2)


def _spread(root: bool, with_mean: bool) -> Any:
    def reference(x: Any, dim: Any = None, unbiased: Any = None, keepdim: bool = False, correction: Any = None) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = correction if correction is not None else 1 if unbiased is None else int(unbiased)
        spread = np.var(x, axis=_axes(dim), ddof=ddof, keepdims=keepdim)
        spread = np.sqrt(spread) if root else spread
        return (spread, np.mean(x, axis=_axes(dim), keepdims=keepdim)) if with_mean else spread

    return reference


for _name, _root, _with_mean in (
    ("var", False, False), ("std", True, False), ("var_mean", False, True), ("std_mean", True, True),
):  # fmt: skip

    @case(_name, _spread(_root, _with_mean), dtypes=(*FLOATS, "complex64", "complex128") if _name == "var" else FLOATS)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(3, 4))
        yield sample(make(3, 4), False)
        yield sample(make(2, 3, 4), 1)
        yield sample(make(2, 3, 4), (0, 2), True, True)
        yield sample(make(3, 4), dim=1, correction=0)


@case("count_nonzero", lambda x, dim=None: np.count_nonzero(x, axis=_axes(dim)), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4))
    yield sample(make(3, 4), 0)
    yield sample(make(2, 3, 4), (0, 2))


def _logsumexp(x: Any, dim: Any, keepdim: bool = False) -> Any:
    return np.log(np.sum(np.exp(x), axis=_axes(dim), keepdims=keepdim))


@case("logsumexp", _logsumexp)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 1)
    yield sample(make(2, 3, 4), (0, 2), True)
    yield sample(make.values([[-INF, -INF], [INF, 1.0], [-INF, 2.0]]), 1, smooth=False)


# -- cumulative ------------------------------------------------------------------------------------------------------


def _cumulative(function: Any) -> Any:
    def reference(x: Any, dim: int, dtype: Any = None) -> Any:
        x = _int64_of_integers(x) if dtype is None else x.astype(dtype)
        return x if x.ndim == 0 else function(x, axis=dim)

    return reference


for _name, _function in (("cumsum", np.cumsum), ("cumprod", np.cumprod)):

    @case(_name, _cumulative(_function), dtypes=NUMBERS)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(5), 0)
        yield sample(make(2, 3, 4), 1)
        yield sample(make(2, 3, 4), -1)
        yield sample(make(), 0)
        yield sample(make(0, 3), 0)
        real = DTYPES["float64" if make.holds("float64") else "float32"]
        yield sample(make(2, 3), 0, dtype=real if make.dtype.name == "int64" else make.dtype)
        if make.is_floating:
            yield sample(make.values([2.0, 0.0, 3.0, 0.0, 4.0]), 0)


@case("logcumsumexp", lambda x, dim: np.log(np.cumsum(np.exp(x), axis=dim)))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5), 0)
    yield sample(make(2, 3, 4), 1)


def _running(accumulate: Any) -> Any:
    def reference(x: Any, dim: int) -> Any:
        values = accumulate(x, axis=dim)
        places = np.arange(x.shape[dim]).reshape([-1 if d == dim % x.ndim else 1 for d in range(x.ndim)])
        return values, np.maximum.accumulate(np.where(values == x, places, 0), axis=dim)

    return reference


for _name, _accumulate in (("cummax", np.maximum.accumulate), ("cummin", np.minimum.accumulate)):

    @case(_name, _running(_accumulate), dtypes=REAL)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make.distinct(6), 0)
        yield sample(make.distinct(2, 3, 4), 1)
        yield sample(make.distinct(2, 3, 4), -1)


def _sum_to_size(x: Any, size: Any) -> Any:
    extra = x.ndim - len(size)
    x = x.sum(axis=tuple(range(extra)))
    stretched = tuple(d for d, n in enumerate(size) if n == 1 and x.shape[d] != 1)
    return x.sum(axis=stretched, keepdims=True) if stretched else x


@case("sum_to_size", _sum_to_size, dtypes=NUMBERS[:2] + ("complex64", "complex128"))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), (3,))
    yield sample(make(2, 3), (2, 1))
    yield sample(make(4, 2, 3), (1, 3))
    yield sample(make(4, 2, 3), ())
    yield sample(make(2, 3), (2, 3))
