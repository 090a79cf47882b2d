"""Samples of embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import FLOATS, HALF, Maker, Sample, case, sample


@case("embedding", lambda weight, indices: weight[indices], dtypes=(*FLOATS, *HALF))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5, 3), make.indices([1, 4, 1]))
    yield sample(make(5, 3), make.indices([[0, 2], [4, 4]]))
    yield sample(make(5, 3), make.indices([]))
    yield sample(make(5, 3), make.indices(2))


def _backward(g: Any, indices: Any, rows: int, padding_idx: int) -> Any:
    result = np.zeros((rows, *g.shape[indices.ndim :]))
    np.add.at(result, indices, g)
    if padding_idx >= 0:
        result[padding_idx] = 0
    return result


@case("embedding_backward", _backward)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 2), make.indices([1, 4, 1]), 5, -1)
    yield sample(make(2, 2, 3), make.indices([[0, 2], [4, 4]]), 5, 4)


# What it returns has nothing to do with padding and frequencies; its gradient is chosen, not derived.
@case("embedding_trained", lambda weight, indices, padding_idx, by_frequency: weight[indices], gradients=False)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5, 3), make.indices([1, 4, 1]), 1, True)


def _bags(weight: Any, indices: Any, bags: Any, count: int, factors: Any, padding_idx: int) -> Any:
    rows = weight[indices] * (1 if factors is None else factors[:, None]) * (indices != padding_idx)[:, None]
    result = np.zeros((count, weight.shape[1]))
    np.add.at(result, bags, rows)
    return result


@case("embedding_bag_sum", _bags)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5, 3), make.indices([1, 4, 1, 0]), make.indices([0, 0, 2, 2]), 3, None, -1)
    yield sample(make(5, 3), make.indices([1, 4, 1, 0]), make.indices([0, 0, 2, 2]), 3, make(4), 1)


def _largest(weight: Any, indices: Any, bags: Any, count: int, padding_idx: int) -> Any:
    result = np.zeros((count, weight.shape[1]))
    for bag in range(count):
        rows = weight[indices[(bags == bag) & (indices != padding_idx)]]
        if len(rows):
            result[bag] = rows.max(0)
    return result


@case("embedding_bag_max", _largest)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(5, 3), make.indices([1, 4, 2, 0]), make.indices([0, 0, 2, 2]), 3, -1)
    yield sample(make.distinct(5, 3), make.indices([1, 4, 2, 0]), make.indices([0, 0, 2, 2]), 3, 4)


@case("one_hot_of", lambda indices, classes: np.eye(classes, dtype=np.int64)[indices], dtypes=("int64",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.indices([0, 2, 1]), 4)
    yield sample(make.indices([[0, 2], [3, 1]]), 4)
