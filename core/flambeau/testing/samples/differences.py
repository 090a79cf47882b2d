"""Samples of differences, numerical derivatives and integrals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import COMPLEXES, FLOATS, Maker, Sample, case, sample

FEW = ("float32", "float64", "int64", "complex128")


def _diff(x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    given = {name: part for name, part in (("prepend", prepend), ("append", append)) if part is not None}
    return np.diff(x, min(n, x.shape[dim] + sum(part.shape[dim] for part in given.values())), dim, **given)


@case("diff", _diff, dtypes=(*FEW, "bool"))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5))
    yield sample(make(3, 4), 2, 0)
    yield sample(make(3, 4), 1, 1, make(3, 1), make(3, 2))
    yield sample(make(3, 4), 1, 0, append=make(2, 4))
    yield sample(make(2, 3), 0)
    yield sample(make(2, 1))
    yield sample(make(3), 5)


def _trapezoid(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    return np.trapezoid(y, x, 1.0 if dx is None else dx, dim)


@case("trapezoid", _trapezoid, dtypes=(*FLOATS, *COMPLEXES))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5))
    yield sample(make(3, 4), dim=0)
    yield sample(make(3, 4), dx=0.5)
    yield sample(make(3, 4), make(4))
    yield sample(make(3, 4), make(3), dim=0)
    yield sample(make(3, 4), make(3, 4))
    yield sample(make(2, 1))


def _cumulative(y: Any, x: Any = None, *, dx: Any = None, dim: int = -1) -> Any:
    steps = [
        _trapezoid(np.take(y, range(n), dim), None if x is None else x[:n], dx=dx, dim=dim)
        for n in range(2, y.shape[dim] + 1)
    ]
    return np.stack(steps, dim)


@case("cumulative_trapezoid", _cumulative, dtypes=(*FLOATS, *COMPLEXES))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5))
    yield sample(make(3, 4), dim=0, dx=2)
    yield sample(make(3, 4), make(4))


def _gradient(x: Any, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> Any:
    spacings = spacing if isinstance(spacing, list) else [spacing]
    found = np.gradient(x, *spacings, axis=dim, edge_order=edge_order)
    return list(found) if isinstance(found, (list, tuple)) else [found]


@case("gradient", _gradient, dtypes=(*FLOATS, "complex128"))
def _(make: Maker) -> Iterator[Sample]:
    coordinates = make.real.values([0.0, 0.5, 2.0, 2.25])
    yield sample(make(4))
    yield sample(make(2))
    yield sample(make(3, 4))
    yield sample(make(3, 4), spacing=0.5, dim=1)
    yield sample(make(3, 4), spacing=[2.0, 0.5], edge_order=2)
    if not make.is_complex:
        yield sample(make(3, 4), spacing=[coordinates], dim=1)
        yield sample(make(4, 4), spacing=[coordinates, coordinates], edge_order=2)
