"""Samples of pooling."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import FLOATS, HALF, Maker, Sample, case, sample


def _tuple(value: Any, n: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


def _count(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-span // stride) if ceil_mode else span // stride) + 1
    return count - 1 if ceil_mode and (count - 1) * stride >= size + padding else count


def windows(
    size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Iterator[tuple[tuple[int, ...], list[list[int]]]]:
    """For each output place the places along each dimension that its window covers (also outside the input)."""
    counts = [_count(*entry, ceil_mode) for entry in zip(size, kernel, stride, padding, dilation, strict=True)]
    for at in itertools.product(*map(range, counts)):
        yield (
            at,
            [[at[d] * stride[d] - padding[d] + i * dilation[d] for i in range(kernel[d])] for d in range(len(size))],
        )


def max_pool(
    x: Any, kernel: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """Maxima and their flat places, by the definition."""
    n = x.ndim - 2
    kernel = _tuple(kernel, n)
    stride, padding, dilation = _tuple(kernel if stride is None else stride, n), _tuple(padding, n), _tuple(dilation, n)
    size = x.shape[2:]
    found: dict[Any, Any] = {}
    for at, places in windows(size, kernel, stride, padding, dilation, ceil_mode):
        inside = [[p for p in own if 0 <= p < size[d]] for d, own in enumerate(places)]
        cells = list(itertools.product(*inside))
        values = np.stack([x[(slice(None), slice(None), *cell)] for cell in cells], -1)
        best = values.argmax(-1)
        flat = np.array([np.ravel_multi_index(cell, size) for cell in cells])
        found[at] = values.max(-1), flat[best]
    shape = tuple(max(at[d] for at in found) + 1 for d in range(n))
    out, index = np.empty((*x.shape[:2], *shape)), np.empty((*x.shape[:2], *shape), np.int64)
    for at, (value, place) in found.items():
        out[(slice(None), slice(None), *at)], index[(slice(None), slice(None), *at)] = value, place
    return out, index


def avg_pool(
    x: Any, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """Means, by the definition: a divisor counts the padding, but not what hangs over in ceil mode."""
    n = x.ndim - 2
    kernel = _tuple(kernel, n)
    stride, padding = _tuple(kernel if stride is None else stride, n), _tuple(padding, n)
    size = x.shape[2:]
    found: dict[Any, Any] = {}
    for at, places in windows(size, kernel, stride, padding, (1,) * n, ceil_mode):
        inside = [[p for p in own if 0 <= p < size[d]] for d, own in enumerate(places)]
        padded = [[p for p in own if p < size[d] + padding[d]] for d, own in enumerate(places)]
        divisor = divisor_override or np.prod([len(own) for own in (padded if count_include_pad else inside)])
        found[at] = sum(x[(slice(None), slice(None), *cell)] for cell in itertools.product(*inside)) / divisor
    shape = tuple(max(at[d] for at in found) + 1 for d in range(n))
    out = np.empty((*x.shape[:2], *shape))
    for at, value in found.items():
        out[(slice(None), slice(None), *at)] = value
    return out


@case("max_pool", max_pool, dtypes=(*FLOATS, *HALF))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(2, 3, 7), (3,), (2,), (1,), (1,), False)
    yield sample(make.distinct(2, 2, 5, 6), (2, 3), (2, 2), (1, 0), (1, 2), False)
    yield sample(make.distinct(1, 2, 5, 5), (2, 2), (2, 2), (0, 0), (1, 1), True)
    yield sample(make.distinct(1, 1, 4, 4, 4), (2, 2, 2), (2, 2, 2), (0, 0, 0), (1, 1, 1), False)


def _scattered(g: Any, indices: Any, size: Any) -> Any:
    flat = np.zeros((*g.shape[:2], int(np.prod(size))))
    rows, channels = np.indices(g.shape[:2])
    np.add.at(
        flat, (rows[..., None], channels[..., None], indices.reshape(*g.shape[:2], -1)), g.reshape(*g.shape[:2], -1)
    )
    return flat.reshape(*g.shape[:2], *size)


@case("max_pool_backward", _scattered)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), make.index(2, 3, 4, high=7), (7,))
    yield sample(make(1, 2, 2, 3), make.index(1, 2, 2, 3, high=20), (4, 5))


@case("avg_pool", avg_pool)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 7), (3,), (2,), (1,), False, True, None)
    yield sample(make(2, 2, 5, 6), (2, 3), (2, 2), (1, 1), False, False, None)
    yield sample(make(1, 2, 5, 5), (2, 2), (2, 2), (0, 0), True, True, None)
    yield sample(make(1, 2, 5, 5), (3, 3), (2, 2), (1, 1), True, True, None)
    yield sample(make(1, 2, 4, 4), (2, 2), (2, 2), (0, 0), False, True, 3)


@case("avg_pool_backward", None)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), (7,), (3,), (2,), (1,), False, True, None)
    yield sample(make(1, 2, 2, 2), (4, 4), (2, 2), (2, 2), (0, 0), False, True, 3)


def _adaptive(size: int, out: int) -> list[range]:
    return [range(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


def _adaptive_pool(maximum: bool) -> Any:
    def reference(x: Any, output_size: Any, return_indices: bool = True) -> Any:
        n = x.ndim - 2
        out = tuple(x.shape[2 + d] if o is None else o for d, o in enumerate(_tuple(output_size, n)))
        cells = [_adaptive(x.shape[2 + d], out[d]) for d in range(n)]
        values, places = np.empty((*x.shape[:2], *out)), np.empty((*x.shape[:2], *out), np.int64)
        for at in itertools.product(*map(range, out)):
            grid = list(itertools.product(*[cells[d][at[d]] for d in range(n)]))
            covered = np.stack([x[(slice(None), slice(None), *cell)] for cell in grid], -1)
            where: Any = (slice(None), slice(None), *at)
            values[where] = covered.max(-1) if maximum else covered.mean(-1)
            flat = np.array([np.ravel_multi_index(cell, x.shape[2:]) for cell in grid])
            places[where] = flat[covered.argmax(-1)]
        return (values, places) if maximum and return_indices else values

    return reference


@case("adaptive_avg_pool", _adaptive_pool(False))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 7), (3,))
    yield sample(make(1, 2, 4, 6), (2, 3))


@case("adaptive_max_pool", _adaptive_pool(True))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(2, 3, 7), (3,))
    yield sample(make.distinct(1, 2, 4, 6), (2, 3))


def _first(function: Any) -> Any:
    def reference(x: Any, *args: Any, return_indices: bool = False, **kwargs: Any) -> Any:
        both = function(x, *args, **kwargs)
        return both if return_indices else both[0]

    return reference


def _lp(x: Any, p: float, kernel: Any, stride: Any = None, ceil_mode: bool = False) -> Any:
    n = x.ndim - 2
    area = np.prod(_tuple(kernel, n))
    return (avg_pool(np.abs(x) ** p, kernel, stride, 0, ceil_mode) * area) ** (1 / p)


for _n in (1, 2, 3):
    _size = (6, 5, 4)[:_n]

    @case(f"max_pool{_n}d", _first(max_pool))
    def _(make: Maker, size: Any = _size) -> Iterator[Sample]:
        yield sample(make.distinct(1, 2, *size), 2)
        yield sample(make.distinct(1, 2, *size), 2, 1, return_indices=True)

    @case(f"avg_pool{_n}d", avg_pool)
    def _(make: Maker, size: Any = _size) -> Iterator[Sample]:
        yield sample(make(1, 2, *size), 2)
        yield sample(make(1, 2, *size), 3, 2, 1, count_include_pad=False)

    @case(f"adaptive_avg_pool{_n}d", _adaptive_pool(False))
    def _(make: Maker, size: Any = _size) -> Iterator[Sample]:
        yield sample(make(1, 2, *size), 2)

    @case(f"adaptive_max_pool{_n}d", lambda x, out, return_indices=False: _adaptive_pool(True)(x, out, return_indices))
    def _(make: Maker, size: Any = _size) -> Iterator[Sample]:
        yield sample(make.distinct(1, 2, *size), 2)
        yield sample(make.distinct(1, 2, *size), 2, return_indices=True)

    @case(f"lp_pool{_n}d", _lp)
    def _(make: Maker, size: Any = _size) -> Iterator[Sample]:
        yield sample(make(1, 2, *size, low=0.2), 2.0, 2)

    @case(f"max_unpool{_n}d", lambda x, i, kernel: _scattered(x, i, [2 * s for s in x.shape[2:]]))
    def _(make: Maker, n: int = _n) -> Iterator[Sample]:
        places = np.arange(2**n).reshape((1, 1) + (2,) * n) * 2
        yield sample(make(1, 1, *[2] * n), make.indices(places), 2)


def _fractional(x: Any, u: Any, kernel: Any, out: Any) -> Any:
    """Windows of ``kernel`` at Graham's places (2014), one sequence a channel and dimension."""
    best = np.zeros((*x.shape[:2], *out))
    where = np.zeros(best.shape, np.int64)
    for lead in np.ndindex(*x.shape[:2]):
        starts = []
        for n, k, m, shift in zip(x.shape[2:], kernel, out, u[lead], strict=True):
            step = (n - k) / (m - 1) if m > 1 else 0.0
            places = [int((i + shift) * step) - int(shift * step) for i in range(m - 1)]
            starts.append([*places, n - k])
        for at in np.ndindex(*out):
            window = [range(start[i], start[i] + k) for start, i, k in zip(starts, at, kernel, strict=True)]
            values = [(x[(*lead, *place)], place) for place in itertools.product(*window)]
            best[(*lead, *at)], place = max(values, key=lambda pair: pair[0])
            where[(*lead, *at)] = np.ravel_multi_index(place, x.shape[2:])
    return best, where


@case("fractional_max_pool", _fractional, constant=("random_samples",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(2, 2, 7, 6), make(2, 2, 2, low=0.0, high=1.0), (2, 3), (3, 2))
    yield sample(make.distinct(1, 1, 5), make(1, 1, 1, low=0.0, high=1.0), (2,), (1,))
    yield sample(make.distinct(1, 2, 5, 4, 4), make(1, 2, 3, low=0.0, high=1.0), (2, 2, 1), (2, 2, 4))
