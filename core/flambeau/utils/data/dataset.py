"""Datasets and the ways to combine them (``torch.utils.data.dataset``).

A *map-style* dataset answers ``dataset[key]``; an *iterable-style* one is only iterated over. Two optional methods
make batches cheaper to fetch; the loader uses what it finds:

* ``__getitems__(indices)`` returns the list of samples for a list of indices, in one call;
* ``__getbatch__(indices)`` returns what ``default_collate([dataset[i] for i in indices])`` would, without making the
  samples one by one, or ``NotImplemented``. It is asked for only where the loader collates with ``default_collate``.
"""

from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import flambeau
from flambeau.tensor import Tensor

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """A map from keys to samples (``torch.utils.data.Dataset``).

    A subclass gives ``__getitem__`` and, for the samplers, ``__len__``. It has no ``__len__`` of its own, so that
    ``len()`` of a dataset that does not know its size is a TypeError.
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__}: subclasses of Dataset should implement __getitem__")

    def __add__(self, other: Dataset[Any]) -> Dataset[Any]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co], Iterable[T_co]):
    """A stream of samples (``torch.utils.data.IterableDataset``). A subclass gives ``__iter__``.

    With worker processes every worker iterates over a copy of its own: unless ``__iter__`` asks
    :func:`~flambeau.utils.data.get_worker_info` which part is this worker's, each sample comes ``num_workers`` times.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__}: subclasses of IterableDataset should implement __iter__")

    def __add__(self, other: Dataset[Any]) -> Dataset[Any]:
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample ``i`` is the tuple of the ``i``-th rows of some tensors (``torch.utils.data.TensorDataset``).

    Args:
        tensors: tensors of the same size in dimension 0.

    Raises:
        AssertionError: when the sizes differ.
    """

    tensors: tuple[Tensor, ...]

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise ValueError("TensorDataset: at least one tensor should be passed")
        if any(tensor.size(0) != tensors[0].size(0) for tensor in tensors):
            raise AssertionError(
                f"Size mismatch between tensors: their first dimensions are {[tensor.size(0) for tensor in tensors]}"
            )
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple([tensor[index] for tensor in self.tensors])

    def __getbatch__(self, indices: Sequence[int]) -> Any:
        # A subclass may have other samples than ours; a subclass of Tensor, its own way to stack.
        if type(self).__getitem__ is not TensorDataset.__getitem__ or hasattr(self, "__getitems__"):
            return NotImplemented
        if any(type(tensor) is not Tensor for tensor in self.tensors):
            return NotImplemented
        if not all(type(index) is int for index in indices):
            return NotImplemented
        rows: dict[Any, Tensor] = {}
        for tensor in self.tensors:
            if tensor.device not in rows:
                rows[tensor.device] = flambeau.tensor(indices, dtype=flambeau.int64, device=tensor.device)
        return [tensor[rows[tensor.device]] for tensor in self.tensors]

    def __len__(self) -> int:
        return int(self.tensors[0].size(0))


class StackDataset(Dataset[Any]):
    """Datasets side by side: sample ``i`` holds sample ``i`` of each (``torch.utils.data.StackDataset``).

    Datasets given by position make tuples, by keyword dicts.

    Raises:
        ValueError: when both ways are mixed, none is given, or the lengths differ.
    """

    datasets: tuple[Any, ...] | dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError(
                "StackDataset: datasets are given either by position (for tuples) or by keyword (for dicts), "
                "but both were given"
            )
        if not args and not kwargs:
            raise ValueError("StackDataset: at least one dataset should be passed")
        lengths = [len(dataset) for dataset in (*args, *kwargs.values())]
        if len(set(lengths)) > 1:
            raise ValueError(f"Size mismatch between datasets: their lengths are {lengths}")
        self.datasets = args or kwargs
        self._length = lengths[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple([dataset[index] for dataset in self.datasets])

    def __getitems__(self, indices: Sequence[Any]) -> list[Any]:
        if isinstance(self.datasets, dict):
            columns = [_samples(dataset, indices) for dataset in self.datasets.values()]
            return [dict(zip(self.datasets, row, strict=True)) for row in zip(*columns, strict=True)]
        return list(zip(*[_samples(dataset, indices) for dataset in self.datasets], strict=True))

    def __len__(self) -> int:
        return self._length


def _samples(dataset: Any, indices: Sequence[Any]) -> list[Any]:
    """The samples at ``indices``, through ``__getitems__`` where the dataset has it."""
    if not callable(getattr(dataset, "__getitems__", None)):
        return [dataset[index] for index in indices]
    found = dataset.__getitems__(indices)
    if len(found) != len(indices):
        raise ValueError(
            f"{type(dataset).__name__}.__getitems__: expected {len(indices)} samples for as many indices, "
            f"got {len(found)}"
        )
    return list(found)


class ConcatDataset(Dataset[T_co]):
    """Map-style datasets one after the other (``torch.utils.data.ConcatDataset``).

    Raises:
        AssertionError: for no datasets, or an iterable-style one among them.
    """

    datasets: list[Dataset[T_co]]
    cumulative_sizes: list[int]

    def __init__(self, datasets: Iterable[Dataset[T_co]]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("ConcatDataset: datasets should not be an empty iterable")
        if any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset; use ChainDataset")
        sizes: list[int] = [len(dataset) for dataset in self.datasets]  # type: ignore[arg-type]
        self.cumulative_sizes = list(itertools.accumulate(sizes))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T_co:
        if index < 0:
            if -index > len(self):
                raise ValueError(
                    f"ConcatDataset: absolute value of index should not exceed dataset length, "
                    f"got {index} for the length {len(self)}"
                )
            index += len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        if which == len(self.datasets):
            raise IndexError(f"ConcatDataset: index {index} is out of range for the length {len(self)}")
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset[T_co]):
    """Iterable-style datasets one after the other (``torch.utils.data.ChainDataset``).

    Raises:
        AssertionError: when iterated over (or measured) with a dataset that is not an IterableDataset.
    """

    def __init__(self, datasets: Iterable[Dataset[T_co]]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[T_co]:
        for dataset in self._checked():
            yield from dataset

    def __len__(self) -> int:
        return sum(map(len, self._checked()))  # type: ignore[arg-type]

    def _checked(self) -> Iterator[IterableDataset[T_co]]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError(f"ChainDataset only supports IterableDataset, got {type(dataset).__name__}")
            yield dataset


class Subset(Dataset[T_co]):
    """The samples of a dataset at some indices (``torch.utils.data.Subset``)."""

    dataset: Dataset[T_co]
    indices: Sequence[int]

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices
        # The loader would go past the subclass's own samples.
        if type(self).__getitem__ is not Subset.__getitem__ and type(self).__getitems__ is Subset.__getitems__:
            raise NotImplementedError(
                f"{type(self).__name__} overrides __getitem__ of Subset but not __getitems__, which the loader calls; "
                "override it too, for instance: def __getitems__(self, indices): "
                "return [self.__getitem__(index) for index in indices]"
            )

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[T_co]:
        own = [self.indices[index] for index in indices]
        if callable(getattr(self.dataset, "__getitems__", None)):
            return self.dataset.__getitems__(own)  # type: ignore[attr-defined]
        return [self.dataset[index] for index in own]

    def __getbatch__(self, indices: Sequence[int]) -> Any:
        getbatch = getattr(self.dataset, "__getbatch__", None)
        if getbatch is None or type(self).__getitems__ is not Subset.__getitems__:
            return NotImplemented
        return getbatch([self.indices[index] for index in indices])

    def __len__(self) -> int:
        return len(self.indices)


def random_split(dataset: Dataset[T_co], lengths: Sequence[int | float], generator: Any = None) -> list[Subset[T_co]]:
    """Split a dataset at random into parts that share no sample (``torch.utils.data.random_split``).

    Args:
        dataset: a map-style dataset with a length.
        lengths: the sizes of the parts; or fractions that sum to 1, rounded down, with what is left over handed out
            one each from the first part on.
        generator: where the permutation comes from; the default generator when None.

    Raises:
        ValueError: when the lengths do not sum to the dataset's, or a fraction is not between 0 and 1.
    """
    total = len(dataset)  # type: ignore[arg-type]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        for position, fraction in enumerate(lengths):
            if not 0 <= fraction <= 1:
                raise ValueError(f"Fraction at index {position} is not between 0 and 1, it is {fraction}")
        sizes = [math.floor(total * fraction) for fraction in lengths]
        for extra in range(total - sum(sizes)):
            sizes[extra % len(sizes)] += 1
        for position, size in enumerate(sizes):
            if size == 0:
                warnings.warn(
                    f"Length of split at index {position} is 0. This might result in an empty dataset.", stacklevel=2
                )
    else:
        sizes = [int(length) for length in lengths]
    if sum(sizes) != total:
        raise ValueError(
            f"Sum of input lengths does not equal the length of the input dataset! The lengths {sizes} sum to "
            f"{sum(sizes)}, the dataset has {total} samples"
        )
    order = flambeau.randperm(total, generator=generator).tolist()
    ends = itertools.accumulate(sizes)
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
