"""What the conformance kit tries the ops with: inputs, and what NumPy makes of them.

``pytest --pyargs flambeau.testing --samples flambeau_hyperbolic.samples`` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
from flambeau.testing.database import FLOATS, HALF, Maker, Refusal, Sample, case, errors, refusal, sample

Array = Any


def _length(x: Array) -> Array:
    return numpy.linalg.norm(x, axis=-1, keepdims=True)


def _scaled(function: Any) -> Any:
    """``function(sqrt(c) |x|) x / (sqrt(c) |x|)``, x itself where it is 0."""

    def reference(x: Array, curvature: float = 1.0) -> Array:
        length = numpy.sqrt(curvature) * _length(x)
        return x * numpy.where(length == 0, 1, function(length) / numpy.where(length == 0, 1, length))

    return reference


def _of_root(function: Any) -> Any:
    return lambda q: numpy.where(q == 0, 1, function(numpy.sqrt(q)) / numpy.sqrt(numpy.where(q == 0, 1, q)))


def _sum(x: Array, y: Array, curvature: float = 1.0) -> Array:
    dot, xx, yy = ((a * b).sum(-1, keepdims=True) * curvature for a, b in ((x, y), (x, x), (y, y)))
    return ((1 + 2 * dot + yy) * x + (1 - xx) * y) / (1 + 2 * dot + xx * yy)


def _distance(x: Array, y: Array, curvature: float = 1.0) -> Array:
    """By the other formula: twice the area tangent of the length of ``-x + y``."""
    return 2 / numpy.sqrt(curvature) * numpy.arctanh(numpy.sqrt(curvature) * _length(_sum(-x, y, curvature)))[..., 0]


@case("tanhc", _of_root(numpy.tanh), dtypes=(*FLOATS, *HALF))
def _tanhc(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, low=0.0, high=9.0))
    yield sample(make.values([0.001, 0.01, 0.019, 0.021, 0.1]))
    yield sample(make.values([0.0, 100.0]), smooth=False)
    yield sample(make(0, 2))


@case("atanhc", _of_root(numpy.arctanh), dtypes=FLOATS)
def _atanhc(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, low=0.05, high=0.9))
    yield sample(make.values([0.012, 0.015, 0.019, 0.021, 0.1]))
    yield sample(make.values([0.0, 0.99]), smooth=False)
    yield sample(make(0, 2))


@case("poincare_exp", _scaled(numpy.tanh), dtypes=FLOATS)
def _exp(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3))
    yield sample(make(2, 3), 0.5)
    yield sample(make.values([[0.0, 0.0], [0.01, 0.02]]))
    yield sample(make(0, 3))
    yield sample(make(4))


@case("poincare_log", _scaled(numpy.arctanh), dtypes=FLOATS)
def _log(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, low=-0.5, high=0.5))
    yield sample(make(2, 3, low=-0.5, high=0.5), curvature=0.5)
    yield sample(make.values([[0.0, 0.0], [0.01, 0.02]]))
    yield sample(make(0, 3))


@case("mobius_add", _sum, dtypes=FLOATS)
def _mobius(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, low=-0.5, high=0.5), make(2, 3, low=-0.5, high=0.5))
    yield sample(make(4, 1, 3, low=-0.5, high=0.5), make(2, 3, low=-0.5, high=0.5), 0.5)
    yield sample(make(0, 3), make(3, low=-0.5, high=0.5))


@case("poincare_distance", _distance, dtypes=FLOATS)
def _distances(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, low=-0.5, high=0.5), make(2, 3, low=-0.5, high=0.5))
    yield sample(make(4, 1, 3, low=-0.5, high=0.5), make(2, 3, low=-0.5, high=0.5), curvature=0.5)
    yield sample(make(3, low=-0.5, high=0.5), make(3, low=-0.5, high=0.5))
    yield sample(make(0, 3), make(3, low=-0.5, high=0.5))
    same = make(2, 3, low=-0.5, high=0.5)
    yield sample(same, same.clone(), smooth=False)


def _refusals(name: str, vectors: int) -> None:
    @errors(name)
    def _(make: Maker) -> Iterator[Refusal]:
        given = [make(2, 3) for _ in range(vectors)]
        yield refusal(RuntimeError, "expected a positive curvature, got -1.0", *given, -1.0)
        yield refusal(RuntimeError, "expected input to hold vectors", make(), *given[1:])


for _name, _vectors in (("poincare_exp", 1), ("poincare_log", 1), ("mobius_add", 2), ("poincare_distance", 2)):
    _refusals(_name, _vectors)
