"""How the samples of a batch are taken from a dataset, in the parent process and in workers alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.utils.data.collate import is_default_for_tensors
from flambeau.utils.data.dataset import Subset, TensorDataset

#: From what the index sampler yields to a collated batch (or sample); StopIteration when the dataset has no more.
Fetcher = Callable[[Any], Any]


def make_fetcher(
    dataset: Any, iterable: bool, batched: bool, collate_fn: Callable[[Any], Any], drop_last: bool
) -> Fetcher:
    """The fetcher of a loader.

    Args:
        iterable: whether the dataset is iterated over, not indexed.
        batched: whether an index is a list of indices (for an iterable dataset only its length counts).
        collate_fn: applied to the list of samples, or to the sample where ``batched`` is False.
        drop_last: whether an iterable dataset's last, shorter batch is left out.
    """
    if iterable:
        return _IterableFetcher(dataset, batched, collate_fn, drop_last)
    if not batched:
        return lambda index: collate_fn(dataset[index])
    return lambda indices: _fetch_batch(dataset, indices, collate_fn)


def draws_nothing(dataset: Any, batched: bool, collate_fn: Callable[[Any], Any]) -> bool:
    """Whether batches are made by code of this package alone, which draws no random numbers."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return batched and type(dataset) is TensorDataset and is_default_for_tensors(collate_fn)


def _fetch_batch(dataset: Any, indices: list[Any], collate_fn: Callable[[Any], Any]) -> Any:
    getbatch = getattr(dataset, "__getbatch__", None)
    if getbatch is not None and is_default_for_tensors(collate_fn):
        batch = getbatch(indices)
        if batch is not NotImplemented:
            return batch
    getitems = getattr(dataset, "__getitems__", None)
    return collate_fn(getitems(indices) if getitems else [dataset[index] for index in indices])


class _IterableFetcher:
    def __init__(self, dataset: Any, batched: bool, collate_fn: Callable[[Any], Any], drop_last: bool) -> None:
        self._samples = iter(dataset)
        self._ended = False
        self._batched = batched
        self._collate_fn = collate_fn
        self._drop_last = drop_last

    def __call__(self, indices: Any) -> Any:
        if self._ended:
            raise StopIteration
        if not self._batched:
            return self._collate_fn(next(self._samples))
        batch = []
        for _ in indices:
            try:
                batch.append(next(self._samples))
            except StopIteration:
                # Some iterators start again when asked once more: this one is not.
                self._ended = True
                break
        if not batch or (self._drop_last and len(batch) < len(indices)):
            raise StopIteration
        return self._collate_fn(batch)
