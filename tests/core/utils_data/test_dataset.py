"""Datasets and their combinations."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy
import pytest

import flambeau
from flambeau.utils.data import (
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)


class Squares(Dataset[int]):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.n:
            raise IndexError(index)
        return index * index


class Counting(IterableDataset[int]):
    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))

    def __len__(self) -> int:
        return self.stop - self.start


def test_base_classes_leave_the_methods_to_subclasses() -> None:
    with pytest.raises(NotImplementedError, match="Dataset should implement __getitem__"):
        Dataset()[0]
    with pytest.raises(NotImplementedError, match="IterableDataset should implement __iter__"):
        iter(IterableDataset())
    with pytest.raises(TypeError):
        len(Dataset())  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        len(IterableDataset())  # type: ignore[arg-type]


def test_tensor_dataset_samples_are_tuples_of_rows() -> None:
    x = numpy.arange(12, dtype=numpy.float32).reshape(4, 3)
    y = numpy.array([3, 2, 1, 0])
    dataset = TensorDataset(flambeau.tensor(x), flambeau.tensor(y))
    assert len(dataset) == 4
    row, label = dataset[2]
    assert row.tolist() == x[2].tolist()
    assert label.item() == 1
    rows, _ = dataset[1:3]
    assert rows.tolist() == x[1:3].tolist()


def test_tensor_dataset_wants_equal_first_dimensions() -> None:
    with pytest.raises(AssertionError, match=re.escape("their first dimensions are [2, 3]")):
        TensorDataset(flambeau.zeros(2, 1), flambeau.zeros(3, 1))
    with pytest.raises(ValueError, match="at least one tensor"):
        TensorDataset()


def test_tensor_dataset_gathers_what_collating_its_samples_would_give() -> None:
    from flambeau.utils.data import default_collate

    dataset = TensorDataset(flambeau.arange(20).reshape(5, 4), flambeau.tensor([True, False, True, False, True]))
    indices = [4, 0, 0, -1]
    gathered = dataset.__getbatch__(indices)
    collated = default_collate([dataset[i] for i in indices])
    assert type(gathered) is type(collated) is list
    for one, other in zip(gathered, collated, strict=True):
        assert one.dtype is other.dtype
        assert one.tolist() == other.tolist()
    with pytest.raises(IndexError):
        dataset.__getbatch__([0, 5])
    # A batch is a copy: training on it in place leaves the dataset alone.
    gathered[0].zero_()
    assert dataset[4][0].tolist() == [16, 17, 18, 19]


def test_a_subclass_with_samples_of_its_own_is_not_gathered_past_them() -> None:
    class Doubled(TensorDataset):
        def __getitem__(self, index: int) -> tuple[flambeau.Tensor, ...]:
            return tuple(2 * tensor for tensor in super().__getitem__(index))

    dataset = Doubled(flambeau.arange(4))
    (batch,) = next(iter(DataLoader(dataset, batch_size=4)))
    assert batch.tolist() == [0, 2, 4, 6]
    (batch,) = next(iter(DataLoader(Subset(dataset, [3, 1]), batch_size=4)))
    assert batch.tolist() == [6, 2]


def test_gathered_batches_keep_their_history() -> None:
    weights = flambeau.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (batch,) = next(iter(DataLoader(TensorDataset(weights), batch_size=2)))
    batch.sum().backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == [1.0, 1.0, 0.0]


def test_stack_dataset_makes_tuples_or_dicts() -> None:
    assert StackDataset(Squares(4), [10, 11, 12, 13])[2] == (4, 12)
    named = StackDataset(square=Squares(4), other=[10, 11, 12, 13])
    assert named[3] == {"square": 9, "other": 13}
    assert named.__getitems__([0, 2]) == [{"square": 0, "other": 10}, {"square": 4, "other": 12}]
    assert len(named) == 4


def test_stack_dataset_uses_getitems_of_its_parts_and_checks_what_comes() -> None:
    class Batched(Squares):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return [-self[i] for i in indices][: self.n - 1]

    assert StackDataset(Batched(4), Squares(4)).__getitems__([1, 2]) == [(-1, 1), (-4, 4)]
    with pytest.raises(ValueError, match="expected 4 samples for as many indices, got 3"):
        StackDataset(Batched(4)).__getitems__([0, 1, 2, 3])


def test_stack_dataset_refuses_unequal_mixed_and_no_datasets() -> None:
    with pytest.raises(ValueError, match=re.escape("Size mismatch between datasets: their lengths are [2, 3]")):
        StackDataset(Squares(2), Squares(3))
    with pytest.raises(ValueError, match="both were given"):
        StackDataset(Squares(2), other=Squares(2))
    with pytest.raises(ValueError, match="at least one dataset"):
        StackDataset()


def test_concat_dataset_goes_through_its_parts() -> None:
    dataset = Squares(3) + Squares(0) + Squares(2)
    assert len(dataset) == 5  # type: ignore[arg-type]
    assert [dataset[i] for i in range(5)] == [0, 1, 4, 0, 1]
    assert [dataset[i] for i in range(-5, 0)] == [0, 1, 4, 0, 1]
    assert ConcatDataset([Squares(3), Squares(2)]).cumulative_sizes == [3, 5]


def test_concat_dataset_errors() -> None:
    dataset = ConcatDataset([Squares(3), Squares(2)])
    with pytest.raises(ValueError, match="absolute value of index should not exceed dataset length, got -6"):
        dataset[-6]
    with pytest.raises(IndexError, match="index 5 is out of range for the length 5"):
        dataset[5]
    with pytest.raises(AssertionError, match="should not be an empty iterable"):
        ConcatDataset([])
    with pytest.raises(AssertionError, match="does not support IterableDataset"):
        ConcatDataset([Squares(1), Counting(0, 3)])


def test_chain_dataset_streams_its_parts() -> None:
    dataset = Counting(0, 3) + Counting(10, 12)
    assert isinstance(dataset, ChainDataset)
    assert list(dataset) == [0, 1, 2, 10, 11]
    assert len(dataset) == 5
    with pytest.raises(AssertionError, match="ChainDataset only supports IterableDataset, got Squares"):
        list(ChainDataset([Counting(0, 1), Squares(2)]))


def test_subset() -> None:
    subset = Subset(Squares(10), [7, 3, 3])
    assert len(subset) == 3
    assert [subset[i] for i in range(3)] == [49, 9, 9]
    assert subset.__getitems__([2, 0]) == [9, 49]
    assert Subset(subset, [1])[0] == 9


def test_subset_passes_lists_of_indices_on() -> None:
    dataset = TensorDataset(flambeau.arange(10) * 10)
    assert Subset(dataset, [5, 6, 7])[[0, 2]][0].tolist() == [50, 70]


def test_subclass_of_subset_must_override_both_ways_in() -> None:
    class Half(Subset[int]):
        def __getitem__(self, index: int) -> int:
            return super().__getitem__(index) // 2

    with pytest.raises(NotImplementedError, match="Half overrides __getitem__ of Subset but not __getitems__"):
        Half(Squares(3), [0])

    class Both(Half):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return [self[i] for i in indices]

    assert Both(Squares(10), [4]).__getitems__([0]) == [8]


def test_random_split_by_lengths_shares_nothing_and_loses_nothing() -> None:
    parts = random_split(Squares(10), [3, 7], generator=flambeau.Generator().manual_seed(1))
    assert [len(part) for part in parts] == [3, 7]
    assert sorted(index for part in parts for index in part.indices) == list(range(10))
    again = random_split(Squares(10), [3, 7], generator=flambeau.Generator().manual_seed(1))
    assert [part.indices for part in again] == [part.indices for part in parts]


def test_random_split_follows_the_default_generator() -> None:
    flambeau.manual_seed(5)
    first = random_split(Squares(20), [20])[0].indices
    flambeau.manual_seed(5)
    assert random_split(Squares(20), [20])[0].indices == first
    assert random_split(Squares(20), [20])[0].indices != first


@pytest.mark.parametrize(
    ("total", "fractions", "sizes"),
    [
        (10, [0.3, 0.7], [3, 7]),
        (11, [0.5, 0.3, 0.2], [6, 3, 2]),
        (9, [1 / 3] * 3, [3, 3, 3]),
        (5, [0.25] * 4, [2, 1, 1, 1]),
    ],
)
def test_random_split_by_fractions_hands_out_what_is_left_in_turn(
    total: int, fractions: list[float], sizes: list[int]
) -> None:
    assert [len(part) for part in random_split(Squares(total), fractions)] == sizes


def test_random_split_warns_of_empty_parts_and_refuses_wrong_sums() -> None:
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        random_split(Squares(2), [1.0, 0.0])
    with pytest.raises(ValueError, match="Sum of input lengths does not equal the length of the input dataset"):
        random_split(Squares(10), [3, 3])
    with pytest.raises(ValueError, match="Fraction at index 0 is not between 0 and 1"):
        random_split(Squares(10), [-0.5, 1.5])
