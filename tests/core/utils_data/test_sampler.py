"""Samplers."""

from __future__ import annotations

import sys
import types
from collections import Counter

import pytest

import flambeau
from flambeau.utils.data import (
    BatchSampler,
    DistributedSampler,
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


# -- several processes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("total", "replicas"), [(10, 2), (10, 3), (11, 4), (3, 5), (1, 4), (0, 2)])
def test_distributed_sampler_shares_out(total: int, replicas: int, drop_last: bool, shuffle: bool) -> None:
    samplers = [
        DistributedSampler(range(total), replicas, rank, shuffle=shuffle, seed=3, drop_last=drop_last)
        for rank in range(replicas)
    ]
    parts = [list(sampler) for sampler in samplers]
    each = total // replicas if drop_last else -(-total // replicas)
    assert [len(part) for part in parts] == [len(sampler) for sampler in samplers] == [each] * replicas
    if not total:
        return
    together = [index for row in zip(*parts, strict=True) for index in row]
    assert len(set(together)) == min(len(together), total)
    if not drop_last:
        assert set(together) == set(range(total))
        assert together[total:] == [together[i % total] for i in range(len(together) - total)]
    if not shuffle:
        assert together == [i % total for i in range(len(together))]


def test_distributed_sampler_has_another_order_each_epoch() -> None:
    one = DistributedSampler(range(50), num_replicas=2, rank=0, seed=1)
    other = DistributedSampler(range(50), num_replicas=2, rank=0, seed=1)
    assert list(one) == list(one) == list(other)
    before = list(one)
    one.set_epoch(1)
    assert list(one) != before
    other.set_epoch(1)
    assert list(one) == list(other)


def test_distributed_sampler_s_errors() -> None:
    for rank in (-1, 2):
        with pytest.raises(ValueError, match=rf"Invalid rank {rank}, rank should be in the interval \[0, 1\]"):
            DistributedSampler(range(4), num_replicas=2, rank=rank)


def test_distributed_sampler_asks_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    group = types.ModuleType("flambeau.distributed")
    vars(group).update(is_available=lambda: True, get_world_size=lambda: 3, get_rank=lambda: 1)
    monkeypatch.setitem(sys.modules, "flambeau.distributed", group)
    assert list(DistributedSampler(range(6), shuffle=False)) == [1, 4]
    vars(group).update(is_available=lambda: False)
    with pytest.raises(RuntimeError, match="Requires distributed package to be available to find out num_replicas"):
        DistributedSampler(range(6))
