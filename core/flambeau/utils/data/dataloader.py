"""The loader: batches from a dataset, made here or in worker processes (``torch.utils.data.DataLoader``)."""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from flambeau.utils.data import worker
from flambeau.utils.data.collate import default_collate, default_convert
from flambeau.utils.data.dataset import Dataset, IterableDataset
from flambeau.utils.data.fetch import draws_nothing, make_fetcher
from flambeau.utils.data.pinning import PinAhead, pin_memory
from flambeau.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler, random_seed
from flambeau.utils.data.seeds import SetAside, seed_batch

T_co = TypeVar("T_co", covariant=True)

#: The ``multiprocessing_context`` whose workers are threads of this process.
THREAD = "thread"

_FIXED = frozenset({"batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"})


class DataLoader(Generic[T_co]):
    """Batches of a dataset (``torch.utils.data.DataLoader``). Iterate over it as often as you like.

    With ``num_workers`` processes the batches are fetched and collated there and come through shared memory; their
    order is that of the sampler all the same. An exception in a worker is raised here, with its type and its traceback
    as text; when a worker dies, a RuntimeError says which and how. Workers end with the pass, with the iterator that a
    ``break`` leaves behind, and with this process, however it ends.

    A pass is the same with any number of workers, processes or threads, random augmentation included: each draws one
    seed from ``generator``, and before a batch is made, here or in a worker, the generators of flambeau, Python and
    NumPy are seeded from it and the batch's number. The program's own state of these generators is not touched. (What
    an :class:`~flambeau.utils.data.IterableDataset` yields may depend on the number of workers, since each has a copy.)

    With ``multiprocessing_context="thread"`` the workers are threads, which share the dataset with this one and copy
    nothing: the better choice where most of the time goes into NumPy on large arrays or into reading files.

    Where processes are forked (the default on Linux up to Python 3.13) the workers inherit what this process has
    open. A fork goes wrong when other threads hold locks and for open devices: use
    ``multiprocessing_context="spawn"`` there. What is spawned must be picklable and the program's main module must
    not start the loader at import (``if __name__ == "__main__":``).

    Args:
        dataset: map-style (``dataset[i]``) or an :class:`~flambeau.utils.data.IterableDataset`.
        batch_size: samples a batch; None for samples as they are, without batches.
        shuffle: a new random order every pass.
        sampler: an iterable of indices, in place of ``shuffle``.
        batch_sampler: an iterable of lists of indices, in place of ``batch_size``, ``shuffle``, ``sampler`` and
            ``drop_last``.
        num_workers: how many processes (or threads) fetch batches; 0 for this one.
        collate_fn: makes a batch of a list of samples; :func:`~flambeau.utils.data.default_collate` unless given
            (:func:`~flambeau.utils.data.default_convert`, for a sample, where there are no batches).
        pin_memory: put batches into pinned memory, from which ``to(device, non_blocking=True)`` copies while the
            program goes on; with workers one batch is pinned ahead, in a thread of its own. Where no device reads
            such memory a warning says so.
        drop_last: leave out a last batch that is shorter.
        timeout: seconds to wait for a batch from the workers; 0 for as long as it takes.
        worker_init_fn: called with the worker's number in each worker, after its generators have been seeded with
            ``get_worker_info().seed``.
        multiprocessing_context: ``"fork"``, ``"spawn"``, ``"forkserver"`` or a context of :mod:`multiprocessing`;
            ``"thread"`` for threads.
        generator: where the order and the base seed come from; the default generator when None.
        prefetch_factor: batches that each worker fetches ahead, 2 unless given.
        persistent_workers: keep the workers, and their copies of the dataset, from one pass to the next.
        pin_memory_device: accepted; as in PyTorch the present accelerator is meant.
        in_order: when False, batches come as they are ready.

    Raises:
        ValueError: for arguments out of range or at odds with each other.
        TypeError: for a ``multiprocessing_context`` that is none.
    """

    _initialized = False

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[list[Any]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            _check_iterable(shuffle, sampler, batch_sampler)
        _check_sampling(batch_size, bool(shuffle), sampler, batch_sampler, drop_last)

        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self.persistent_workers = persistent_workers
        self.generator = generator

        if sampler is None:
            if self._iterable:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_sampler is not None:
            batch_size = None
        elif batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)  # type: ignore[arg-type]
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.collate_fn = collate_fn

        self._pins = False  # whether a pass pins its batches
        self._expected: int | None = None  # what len() has said of an iterable dataset
        self._iterator: _WorkersIterator | None = None
        _warn_of_many_workers(num_workers)
        self._initialized = True

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in _FIXED:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def multiprocessing_context(self) -> Any:
        """How workers are started: None (the platform's way), a context of :mod:`multiprocessing`, or "thread"."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: Any) -> None:
        if context is not None:
            context = _checked_context(context, self.num_workers)
        self._context = context

    def __iter__(self) -> Iterator[Any]:
        self._pins = self.pin_memory and _can_pin(self.pin_memory_device)
        if self.num_workers == 0:
            return _LocalIterator(self)
        if self.persistent_workers and self._iterator is not None and not self._iterator.closed:
            self._iterator.restart()
            return self._iterator
        _warn_of_many_workers(self.num_workers)
        iterator = _WorkersIterator(self)
        if self.persistent_workers:
            self._iterator = iterator
        return iterator

    @property
    def _index_sampler(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __len__(self) -> int:
        """How many batches a pass has. For an iterable dataset a guess from ``len(dataset)``, which workers that
        share it out can make a little wrong."""
        if not self._iterable:
            return len(self._index_sampler)
        total = len(self.dataset)  # type: ignore[arg-type]
        self._expected = total
        if self.batch_size is None:
            return total
        return total // self.batch_size if self.drop_last else -(-total // self.batch_size)


# -- checks --------------------------------------------------------------------------------------------------------


def _check_workers(num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool) -> None:
    if num_workers < 0:
        raise ValueError(
            f"num_workers option should be non-negative; use num_workers=0 to disable multiprocessing, "
            f"got num_workers={num_workers}"
        )
    if timeout < 0:
        raise ValueError(f"timeout option should be non-negative, got timeout={timeout}")
    if prefetch_factor is not None and num_workers == 0:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing. Let num_workers > 0 to enable "
            "multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError(f"prefetch_factor option should be non-negative, got prefetch_factor={prefetch_factor}")
    if persistent_workers and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")


def _check_iterable(shuffle: Any, sampler: Any, batch_sampler: Any) -> None:
    for name, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
        if value is not None:
            raise ValueError(
                f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
            )


def _check_sampling(batch_size: Any, shuffle: bool, sampler: Any, batch_sampler: Any, drop_last: bool) -> None:
    if sampler is not None and shuffle:
        raise ValueError("sampler option is mutually exclusive with shuffle")
    if batch_sampler is not None:
        if batch_size != 1 or shuffle or sampler is not None or drop_last:
            raise ValueError(
                "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
            )
    elif batch_size is None and drop_last:
        raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")


def _checked_context(context: Any, num_workers: int) -> Any:
    if num_workers == 0:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got "
            f"num_workers={num_workers}"
        )
    if context == THREAD:
        return context
    import multiprocessing.context

    if isinstance(context, str):
        methods = multiprocessing.get_all_start_methods()
        if context not in methods:
            raise ValueError(
                f"multiprocessing_context option should specify a valid start method in {[*methods, THREAD]!r}, but "
                f"got multiprocessing_context={context!r}"
            )
        return multiprocessing.get_context(context)
    if not isinstance(context, multiprocessing.context.BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string specifying the start "
            f"method, but got multiprocessing_context={context}"
        )
    return context


def _warn_of_many_workers(num_workers: int) -> None:
    if hasattr(os, "sched_getaffinity"):
        usable: int | None = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count()
    if usable is not None and num_workers > usable:
        warnings.warn(
            f"This DataLoader will create {num_workers} worker processes in total. Our suggested max number of worker "
            f"in current system is {usable}, the processors that this process may use; more workers than that can "
            "make loading slower.",
            stacklevel=3,
        )


def _can_pin(named: str) -> bool:
    """Whether a device reads pinned memory; a warning where none does, or where one is ``named``, as in PyTorch."""
    from flambeau.casting import pinning_runtime

    if named:
        warnings.warn(
            "pin_memory_device is deprecated, the current accelerator will be used as the device, "
            f"ignore pin_memory_device='{named}'.",
            stacklevel=3,
        )
    can = pinning_runtime() is not None
    if not can:
        warnings.warn(
            "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be "
            "used.",
            stacklevel=3,
        )
    return can


class _Endless:
    """The sampler of an iterable dataset: one that ends would end what it cannot know the length of."""

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


# -- iterators -----------------------------------------------------------------------------------------------------


class _LoaderIterator:
    """One pass over a loader."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        # Not the loader itself: one with persistent workers holds its iterator, and the two would outlive their users.
        self._dataset = loader.dataset
        self._num_workers = loader.num_workers
        self._expected = loader._expected
        self._index_sampler = loader._index_sampler
        self._indices = iter(self._index_sampler)
        # Drawn in either case, so that the order does not depend on the number of workers.
        self._generator = loader.generator
        self._pass_seed = random_seed(loader.generator)
        self._yielded = 0
        self._pins = loader._pins

    def __iter__(self) -> _LoaderIterator:
        return self

    def __next__(self) -> Any:
        batch = self._next_pinned() if self._pins else self._next_batch()
        self._yielded += 1
        if self._expected is not None and self._yielded > self._expected:
            _warn_of_length(self._dataset, self._expected, self._yielded, self._num_workers)
        return batch

    def __len__(self) -> int:
        return len(self._index_sampler)

    def __reduce__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled: iterate over the loader anew")

    def _next_batch(self) -> Any:
        raise NotImplementedError

    def _next_pinned(self) -> Any:
        return pin_memory(self._next_batch())


def _warn_of_length(dataset: Any, expected: int, yielded: int, num_workers: int) -> None:
    text = (
        f"Length of IterableDataset {dataset} was reported to be {expected} (when accessing len(dataloader)), but "
        f"{yielded} samples have been fetched."
    )
    if num_workers:
        text += " Workers yield a sample each unless the dataset shares them out: see get_worker_info()."
    warnings.warn(text, stacklevel=3)


class _LocalIterator(_LoaderIterator):
    """Fetches in this process."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        dataset, batched, collate_fn = loader.dataset, loader.batch_sampler is not None, loader.collate_fn
        quiet = draws_nothing(dataset, batched, collate_fn)
        self._numbers = itertools.count()
        self._set_aside = None if quiet else SetAside()
        with self._set_aside or contextlib.nullcontext():
            if not quiet:
                seed_batch(self._pass_seed, 0)
            self._fetcher = make_fetcher(dataset, loader._iterable, batched, collate_fn, loader.drop_last)

    def _next_batch(self) -> Any:
        index = next(self._indices)
        if self._set_aside is None:
            return self._fetcher(index)
        with self._set_aside:
            seed_batch(self._pass_seed, next(self._numbers))
            return self._fetcher(index)


class _WorkersIterator(_LoaderIterator):
    """Has workers fetch.

    Batches are numbered as the sampler yields them. For each that is used, one more is given out, to whoever is next
    in turn: which worker makes which batch does not depend on their speed (unless ``in_order`` is False).
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        setups = [
            worker.Setup(
                dataset=loader.dataset,
                iterable=loader._iterable,
                batched=loader.batch_sampler is not None,
                collate_fn=loader.collate_fn,
                drop_last=loader.drop_last,
                id=worker_id,
                num_workers=loader.num_workers,
                base_seed=self._pass_seed,
                init_fn=loader.worker_init_fn,
                parent_pid=os.getpid(),
            )
            for worker_id in range(loader.num_workers)
        ]
        self._in_order = loader.in_order
        self._persistent = loader.persistent_workers
        self._ahead = max(loader.prefetch_factor or 0, 1) * loader.num_workers
        self._pool = _make_pool(setups, loader.multiprocessing_context, loader.timeout)
        self._close = weakref.finalize(self, self._pool.close)
        self._pin_ahead: PinAhead | None = None
        if self._pins:
            self._pin_ahead = PinAhead()
            weakref.finalize(self, self._pin_ahead.close)
        self._epoch = 0
        self._failed = False
        self._begin()

    @property
    def closed(self) -> bool:
        """Whether the workers have ended."""
        return self._pool.closed

    def restart(self) -> None:
        """Begin another pass with the same workers, whatever has become of the last."""
        self._indices = iter(self._index_sampler)
        self._pass_seed = random_seed(self._generator)
        self._yielded = 0
        for worker_id, note in self._arrived.values():
            self._pool.discard(worker_id, note)
        if self._pin_ahead is not None:
            self._pin_ahead.clear()
        self._begin()

    def _begin(self) -> None:
        self._epoch += 1
        self._assigned = 0  # numbers given out
        self._next = 0  # the number whose turn it is
        self._waiting = 0  # how many numbers have been given out and not been dealt with
        self._arrived: dict[int, tuple[int, Any]] = {}
        self._active = list(range(self._num_workers))  # who may have more, in turn
        with self._ended_by_errors():
            for _ in range(self._ahead):
                self._assign()

    def _next_batch(self) -> Any:
        while True:
            if self.closed:
                if self._failed:
                    raise RuntimeError(
                        "DataLoader: the workers have ended after an error; iterate over the loader anew"
                    )
                raise StopIteration
            with self._ended_by_errors():
                answer = self._take()
                if answer is None and self._waiting:
                    self._collect()
                    continue
            if answer is None:
                if not self._persistent:
                    self._close()
                raise StopIteration
            worker_id, note = answer
            status = note.header[2]
            if status == worker.END:
                self._active = [one for one in self._active if one != worker_id]
            with self._ended_by_errors():
                self._assign()
            value = self._pool.load(worker_id, note)
            if status == worker.FAILURE:
                value.reraise()
            if status == worker.BATCH:
                return value

    def _assign(self) -> None:
        """Give the next number to a worker, if there is one and one is left."""
        if not self._active:
            return
        try:
            index = next(self._indices)
        except StopIteration:
            return
        if self._in_order:
            worker_id = self._active.pop(0)
            self._active.append(worker_id)
        else:
            worker_id = min(self._active, key=self._pool.pending)
        self._pool.submit(worker_id, self._epoch, self._assigned, self._pass_seed, index)
        self._assigned += 1
        self._waiting += 1

    def _take(self) -> tuple[int, Any] | None:
        """The answer whose turn it is, if it has come."""
        number = self._next if self._in_order else next(iter(self._arrived), -1)
        answer = self._arrived.pop(number, None)
        if answer is not None:
            self._next += 1
            self._waiting -= 1
        return answer

    def _next_pinned(self) -> Any:
        assert self._pin_ahead is not None
        return self._pin_ahead.next(self._next_batch, self._has_arrived)

    def _has_arrived(self) -> bool:
        """Whether the answer whose turn it is has come."""
        if self._waiting and not self.closed:
            with self._ended_by_errors():
                self._collect(block=False)
        return self._next in self._arrived if self._in_order else bool(self._arrived)

    def _collect(self, block: bool = True) -> None:
        """Wait for answers, or take those that have come."""
        for worker_id, note in self._pool.receive(block):
            epoch, number, _ = note.header
            if epoch == self._epoch:
                self._arrived[number] = worker_id, note
            else:
                self._pool.discard(worker_id, note)

    def _ended_by_errors(self) -> _EndedByErrors:
        return _EndedByErrors(self)


def _make_pool(setups: list[worker.Setup], context: Any, timeout: float) -> Any:
    """Workers, processes or threads."""
    if context == THREAD:
        from flambeau.utils.data.threads import ThreadPool

        return ThreadPool(setups, timeout)
    import multiprocessing

    from flambeau.utils.data.pool import WorkerPool

    return WorkerPool(setups, context or multiprocessing.get_context(), timeout)


class _EndedByErrors:
    """Ends the workers when what is inside is broken off: a message may have been read or written half."""

    def __init__(self, iterator: _WorkersIterator) -> None:
        self._iterator = iterator

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            self._iterator._failed = True
            self._iterator._pool.close(force=True)
