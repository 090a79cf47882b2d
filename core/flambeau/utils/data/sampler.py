"""Samplers: which samples come, in which order (``torch.utils.data.sampler``)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import flambeau

T_co = TypeVar("T_co", covariant=True)

# Indices drawn with replacement are made this many at a time.
_CHUNK = 1024


class Sampler(Generic[T_co]):
    """Yields indices, or lists of indices, of a dataset (``torch.utils.data.Sampler``).

    A subclass gives ``__iter__``, and ``__len__`` where the number is known: a loader's length is its sampler's.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__}: subclasses of Sampler should implement __iter__")


class SequentialSampler(Sampler[int]):
    """Every index in order."""

    data_source: Sized

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Indices at random: permutations of all, or independent draws.

    Args:
        data_source: what to sample from; only its length is used.
        replacement: whether an index may come again.
        num_samples: how many to draw, ``len(data_source)`` by default. Without replacement, more than that makes one
            permutation follow another.
        generator: where the numbers come from. When None, each pass seeds one of its own from the default generator.

    Raises:
        TypeError: when ``replacement`` is not a bool.
        ValueError: when ``num_samples`` is not a positive int.
    """

    def __init__(
        self, data_source: Sized, replacement: bool = False, num_samples: int | None = None, generator: Any = None
    ) -> None:
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        _check_positive("num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        """How many indices a pass yields; follows the data source when it grows or shrinks."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n = len(self.data_source)
        generator = self.generator
        if generator is None:
            generator = flambeau.Generator().manual_seed(random_seed(None))
        left = self.num_samples
        while left > 0:
            if self.replacement:
                drawn = flambeau.randint(n, (min(left, _CHUNK),), generator=generator).tolist()
            else:
                drawn = flambeau.randperm(n, generator=generator).tolist()[:left]
            yield from drawn
            left -= len(drawn)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in random order.

    Args:
        indices: a sequence of indices.
        generator: where the permutation comes from; the default generator when None.
    """

    indices: Sequence[int]

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for position in flambeau.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[position]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices ``0 .. len(weights) - 1``, drawn with given probabilities.

    Args:
        weights: non-negative numbers, one an index; they need not sum to 1.
        num_samples: how many to draw.
        replacement: whether an index may come again.
        generator: where the numbers come from; the default generator when None.

    Raises:
        ValueError: when ``num_samples`` is not a positive int, ``replacement`` no bool, or ``weights`` not 1-d.
    """

    def __init__(
        self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator: Any = None
    ) -> None:
        _check_positive("num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.weights = flambeau.as_tensor(weights, dtype=flambeau.float64)
        if self.weights.ndim != 1:
            raise ValueError(
                f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        drawn = flambeau.multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator)
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Groups the indices of another sampler into lists.

    Args:
        sampler: a sampler, or any iterable.
        batch_size: how many indices a list has.
        drop_last: leave out a last list that is shorter.

    Raises:
        ValueError: when ``batch_size`` is not a positive int or ``drop_last`` no bool.
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        _check_positive("batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self) -> int:
        total = len(self.sampler)  # type: ignore[arg-type]
        return total // self.batch_size if self.drop_last else -(-total // self.batch_size)


def random_seed(generator: Any) -> int:
    """A non-negative 63-bit seed drawn from ``generator`` (the default one when None)."""
    return int(flambeau.empty((), dtype=flambeau.int64).random_(generator=generator).item())


def _check_positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")
