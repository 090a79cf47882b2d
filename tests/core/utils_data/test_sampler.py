"""Samplers."""

from __future__ import annotations

from collections import Counter

import pytest

import flambeau
from flambeau.utils.data import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)


def seeded(seed: int) -> flambeau.Generator:
    return flambeau.Generator().manual_seed(seed)


def test_base_class_leaves_iteration_to_subclasses() -> None:
    with pytest.raises(NotImplementedError, match="Sampler should implement __iter__"):
        iter(Sampler())
    with pytest.raises(TypeError):
        len(Sampler())  # type: ignore[arg-type]


def test_sequential() -> None:
    sampler = SequentialSampler("abcd")
    assert list(sampler) == list(sampler) == [0, 1, 2, 3]
    assert len(sampler) == 4


def test_random_is_a_new_permutation_every_pass() -> None:
    sampler = RandomSampler(range(50))
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert len(sampler) == 50
    assert all(type(index) is int for index in first)


def test_random_is_reproducible_through_its_generator_and_the_default_one() -> None:
    assert list(RandomSampler(range(50), generator=seeded(3))) == list(RandomSampler(range(50), generator=seeded(3)))
    sampler = RandomSampler(range(50))
    flambeau.manual_seed(3)
    first = list(sampler)
    flambeau.manual_seed(3)
    assert list(sampler) == first


def test_random_without_replacement_beyond_the_length_adds_permutations() -> None:
    drawn = list(RandomSampler(range(10), num_samples=25, generator=seeded(0)))
    assert len(drawn) == 25
    assert sorted(drawn[:10]) == sorted(drawn[10:20]) == list(range(10))
    assert len(set(drawn[20:])) == 5
    fewer = list(RandomSampler(range(10), num_samples=4, generator=seeded(0)))
    assert len(set(fewer)) == 4


def test_random_with_replacement_draws_uniformly() -> None:
    sampler = RandomSampler(range(5), replacement=True, num_samples=5000, generator=seeded(0))
    counts = Counter(sampler)
    assert sum(counts.values()) == len(sampler) == 5000
    # Five standard deviations of a binomial count, sqrt(5000 * 0.2 * 0.8) = 28.
    assert all(abs(counts[index] - 1000) < 141 for index in range(5))


def test_random_follows_a_data_source_that_grows() -> None:
    source = [0, 1]
    sampler = RandomSampler(source)
    source.append(2)
    assert sorted(sampler) == [0, 1, 2]


def test_random_refuses() -> None:
    with pytest.raises(TypeError, match="replacement should be a boolean value, but got replacement=1"):
        RandomSampler(range(3), replacement=1)  # type: ignore[arg-type]
    for wrong in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"should be a positive integer value, but got num_samples={wrong}"):
            RandomSampler(range(3), num_samples=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_samples=0"):
        RandomSampler([])


def test_subset_random() -> None:
    sampler = SubsetRandomSampler([5, 9, 7, 7], generator=seeded(2))
    assert sorted(sampler) == [5, 7, 7, 9]
    assert len(sampler) == 4
    orders = {tuple(SubsetRandomSampler(range(8), generator=seeded(seed))) for seed in range(5)}
    assert len(orders) > 1


def test_weighted_draws_in_proportion() -> None:
    sampler = WeightedRandomSampler([1.0, 0.0, 3.0], 4000, generator=seeded(0))
    counts = Counter(sampler)
    assert len(sampler) == 4000
    assert counts[1] == 0
    # Five standard deviations, sqrt(4000 * 0.25 * 0.75) = 27.
    assert abs(counts[0] - 1000) < 137


def test_weighted_without_replacement_takes_each_once() -> None:
    assert sorted(WeightedRandomSampler([0.2, 0.5, 0.3], 3, replacement=False)) == [0, 1, 2]


def test_weighted_refuses() -> None:
    with pytest.raises(ValueError, match="num_samples=0"):
        WeightedRandomSampler([1.0], 0)
    with pytest.raises(ValueError, match="num_samples=True"):
        WeightedRandomSampler([1.0], True)
    with pytest.raises(ValueError, match="replacement should be a boolean value, but got replacement=None"):
        WeightedRandomSampler([1.0], 1, replacement=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"weights should be a 1d sequence but given weights have shape \(1, 2\)"):
        WeightedRandomSampler([[1.0, 2.0]], 1)  # type: ignore[list-item]


def test_batches() -> None:
    assert list(BatchSampler(range(7), 3, False)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(BatchSampler(range(7), 3, True)) == [[0, 1, 2], [3, 4, 5]]
    assert list(BatchSampler(range(6), 3, True)) == [[0, 1, 2], [3, 4, 5]]
    assert list(BatchSampler([], 3, False)) == []
    assert [len(BatchSampler(range(7), 3, drop_last)) for drop_last in (False, True)] == [3, 2]
    assert len(BatchSampler(range(6), 3, False)) == 2


def test_batches_refuse() -> None:
    for wrong in (0, -1, 2.0, True, None):
        with pytest.raises(ValueError, match=f"should be a positive integer value, but got batch_size={wrong}"):
            BatchSampler(range(3), wrong, False)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="drop_last should be a boolean value, but got drop_last=1"):
        BatchSampler(range(3), 1, 1)  # type: ignore[arg-type]
