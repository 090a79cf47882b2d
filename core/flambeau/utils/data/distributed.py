"""Sharing a dataset out between processes that train together (``torch.utils.data.distributed``)."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator, Sized
from typing import Any

import flambeau
from flambeau.utils.data.sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """The indices of one of several processes (``torch.utils.data.DistributedSampler``).

    All processes have the same order; process ``rank`` takes every ``num_replicas``-th index of it, beginning with
    the ``rank``-th. Call :meth:`set_epoch` before each pass, or every pass has the same order.

    Args:
        dataset: what to sample from; only its length is used.
        num_replicas: how many processes there are; asked of ``flambeau.distributed`` unless given.
        rank: which of them this is; asked of ``flambeau.distributed`` unless given.
        shuffle: a new random order every epoch, from ``seed`` plus the epoch's number.
        seed: the same in all processes.
        drop_last: leave out the last samples so that all processes have equally many; unless set, the first samples
            come once more for that.

    Raises:
        RuntimeError: when ``num_replicas`` or ``rank`` is left to ``flambeau.distributed`` and no group is there.
        ValueError: when ``rank`` is not in ``[0, num_replicas)``.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None:
            num_replicas = int(_distributed("num_replicas").get_world_size())
        if rank is None:
            rank = int(_distributed("rank").get_rank())
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        self.shuffle = shuffle
        self.seed = seed
        total = len(dataset)
        self.num_samples = total // num_replicas if drop_last else -(-total // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        total = len(self.dataset)
        indices: Any = range(total)
        if self.shuffle:
            generator = flambeau.Generator().manual_seed(self.seed + self.epoch)
            indices = flambeau.randperm(total, generator=generator).tolist()
        repeated = itertools.cycle(indices)
        return itertools.islice(repeated, self.rank, self.total_size, self.num_replicas)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch that comes next."""
        self.epoch = epoch


def _distributed(argument: str) -> Any:
    try:
        module: Any = importlib.import_module("flambeau.distributed")
    except ModuleNotFoundError:
        module = None
    if module is None or not module.is_available():
        raise RuntimeError(
            f"DistributedSampler: Requires distributed package to be available to find out {argument}; give "
            "num_replicas and rank"
        )
    return module
