"""The worker threads of a loader: what runs in them, and how the loader sees them.

A :class:`ThreadPool` is used as a :class:`~flambeau.utils.data.pool.WorkerPool` is. Nothing is copied: the workers
have the loader's own dataset, and batches are handed over as they are. It pays where the dataset's time goes into
code that releases the interpreter's lock: NumPy on large arrays, decoding, reading files, waiting.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import Any

from flambeau.utils.data import seeds, worker


@dataclass
class Answer:
    """What a thread has made.

    Attributes:
        header: ``(epoch, number, status)``.
        value: the batch, or a :class:`~flambeau.utils.data.worker.Failure`.
    """

    header: tuple[int, int, int]
    value: Any


class _Worker:
    """A thread and its tasks."""

    def __init__(self, setup: worker.Setup, answers: queue.SimpleQueue[tuple[int, Answer]]) -> None:
        self._setup = setup
        self._answers = answers
        self.tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.stop = False
        self.epoch = 0  # of the newest task
        self.pending = 0
        # A thread that hangs in the dataset shall not keep the program from ending.
        self.thread = threading.Thread(target=self._main, name=f"flambeau-loader-{setup.id}", daemon=True)
        self.thread.start()

    def _main(self) -> None:
        setup = self._setup
        where = f"in DataLoader worker thread {setup.id}"
        with seeds.ThreadsOwn():
            worker.enter_thread(setup.info())
            broken: Any = None
            try:
                seeds.seed_worker(setup.base_seed + setup.id)
                if setup.init_fn is not None:
                    setup.init_fn(setup.id)
            except BaseException as error:
                broken = worker.Failure(error, where)
            source = worker.Source(setup)
            while (task := self.tasks.get()) is not None and not self.stop:
                epoch, number, pass_seed, index = task
                status, value = worker.FAILURE, broken
                if epoch < self.epoch:
                    status, value = worker.END, None  # of a pass that is over
                elif broken is None:
                    try:
                        status, value = source.fetch(epoch, number, pass_seed, index)
                    except BaseException as error:  # SystemExit too: the loader waits for an answer
                        status, value = worker.FAILURE, worker.Failure(error, where)
                self._answers.put((setup.id, Answer((epoch, number, status), value)))
                task = index = value = None


class ThreadPool:
    """Worker threads that fetch batches.

    Args:
        setups: one a worker.
        timeout: seconds to wait for a batch; 0 for as long as it takes.
    """

    def __init__(self, setups: list[worker.Setup], timeout: float) -> None:
        self._timeout = timeout
        self._answers: queue.SimpleQueue[tuple[int, Answer]] = queue.SimpleQueue()
        self._workers = [_Worker(setup, self._answers) for setup in setups]
        self.closed = False

    def pending(self, worker_id: int) -> int:
        """How many tasks a worker has not answered yet."""
        return self._workers[worker_id].pending

    def submit(self, worker_id: int, epoch: int, number: int, pass_seed: int, index: Any) -> None:
        """Ask a worker for the batch at ``index``; the answer's header is ``(epoch, number, status)``."""
        to = self._workers[worker_id]
        to.epoch = epoch
        to.pending += 1
        to.tasks.put((epoch, number, pass_seed, index))

    def receive(self, block: bool = True) -> list[tuple[int, Answer]]:
        """Wait for an answer, or, unless ``block``, take one that is there.

        Raises:
            RuntimeError: when nothing comes within the timeout.
        """
        try:
            worker_id, answer = self._answers.get(block, self._timeout or None)
        except queue.Empty:
            if not block:
                return []
            busy = ", ".join(one.thread.name for one in self._workers if one.pending)
            raise RuntimeError(
                f"DataLoader timed out after {self._timeout} seconds: no worker has finished a batch (waiting for "
                f"{busy}); give the loader a longer timeout or more workers"
            ) from None
        self._workers[worker_id].pending -= 1
        return [(worker_id, answer)]

    def load(self, worker_id: int, answer: Answer) -> Any:
        """The value of an answer."""
        return answer.value

    def discard(self, worker_id: int, answer: Answer) -> None:
        """Nobody wants the value of an answer."""

    def close(self, force: bool = False) -> None:
        """End the workers when they are done with the batch they are at. Waits ``worker.GRACE`` seconds for them
        unless ``force``; no thread can be ended from outside."""
        if self.closed:
            return
        self.closed = True
        workers, self._workers = self._workers, []
        for one in workers:
            one.stop = True
            one.tasks.put(None)
        deadline = time.monotonic() + (0.0 if force else worker.GRACE)
        for one in workers:
            if one.thread is not threading.current_thread():
                one.thread.join(max(0.0, deadline - time.monotonic()))
