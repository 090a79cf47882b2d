"""The worker processes of a loader, as the parent process sees them."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.reduction import ForkingPickler
from typing import Any

from flambeau.utils.data import worker
from flambeau.utils.data.shared_memory import Note, Receiver

# Held while a pipe has an end that only the new worker shall have: a process forked by another thread meanwhile would
# inherit it and keep the pipe open after the worker's death.
_starting = threading.Lock()


class _Worker:
    """A worker process and the parent's end of its pipe."""

    def __init__(self, setup: worker.Setup, context: BaseContext) -> None:
        with _starting:
            self.connection, theirs = context.Pipe(duplex=True)
            with theirs:
                self.process = context.Process(  # type: ignore[attr-defined]
                    target=worker.main, args=(setup, theirs), name=f"flambeau-loader-{setup.id}", daemon=True
                )
                self.process.start()
        self.id, self.of = setup.id, setup.num_workers
        self.receiver = Receiver(self.connection)
        self.pending = 0  # tasks that it has not answered


class WorkerPool:
    """Worker processes that fetch batches.

    Args:
        setups: one a worker.
        context: how processes are started.
        timeout: seconds to wait for a batch; 0 for as long as it takes.
    """

    def __init__(self, setups: list[worker.Setup], context: BaseContext, timeout: float) -> None:
        self._pid = os.getpid()
        self._timeout = timeout
        self._workers: list[_Worker] = []
        self.closed = False
        try:
            with _interrupts_held():
                for setup in setups:
                    self._workers.append(_Worker(setup, context))
        except BaseException:
            self.close(force=True)
            raise

    def pending(self, worker_id: int) -> int:
        """How many tasks a worker has not answered yet."""
        return self._workers[worker_id].pending

    def submit(self, worker_id: int, epoch: int, number: int, pass_seed: int, index: Any) -> None:
        """Ask a worker for the batch at ``index``; the answer's header is ``(epoch, number, status)``.

        Raises:
            RuntimeError: when the worker is gone.
        """
        to = self._workers[worker_id]
        # Opened by the worker where an error is the batch's, not in the thread that reads the pipe.
        content = bytes(ForkingPickler.dumps(index))
        task = pickle.dumps((epoch, number, pass_seed, to.receiver.returned(), content))
        try:
            to.connection.send_bytes(task)
        except (BrokenPipeError, ConnectionResetError):
            raise RuntimeError(_obituary(to)) from None
        to.pending += 1

    def receive(self, block: bool = True) -> list[tuple[int, Note]]:
        """Wait for answers: the worker and the note of each that has come. Or, unless ``block``, take what is there.

        Raises:
            RuntimeError: when a worker that has work to do is gone, or nothing comes within the timeout.
        """
        watched: dict[Any, _Worker] = {}
        for one in self._workers:
            if one.pending:
                watched[one.connection] = watched[one.process.sentinel] = one
        ready = wait(list(watched), (self._timeout or None) if block else 0)
        if not ready and not block:
            return []
        if not ready:
            busy = ", ".join(f"{one.id} (pid {one.process.pid})" for one in self._workers if one.pending)
            raise RuntimeError(
                f"DataLoader timed out after {self._timeout} seconds: no worker has finished a batch (waiting for "
                f"{busy}); give the loader a longer timeout or more workers"
            )
        received: list[tuple[int, Note]] = []
        for worker_id, one in enumerate(self._workers):
            if one.connection in ready:
                # A worker that has ended may have left answers in the pipe; after them comes its end.
                with contextlib.suppress(EOFError, ConnectionError):
                    received.append((worker_id, one.receiver.receive()))
                    one.pending -= 1
        if not received:
            raise RuntimeError(_obituary(watched[ready[0]]))
        return received

    def load(self, worker_id: int, note: Note) -> Any:
        """The value of a note."""
        return self._workers[worker_id].receiver.load(note)

    def discard(self, worker_id: int, note: Note) -> None:
        """Give back the memory of a value that nobody wants."""
        self._workers[worker_id].receiver.discard(note)

    def close(self, force: bool = False) -> None:
        """End the workers: at once, or when they are done with the batch they are at, for which they have
        ``worker.GRACE`` seconds. Batches that were handed out stay as they are."""
        if self.closed or os.getpid() != self._pid:  # in a process forked from ours they are not its workers
            return
        self.closed = True
        workers, self._workers = self._workers, []
        for one in workers:
            if force:
                one.process.terminate()
            else:
                with contextlib.suppress(OSError):
                    one.connection.send_bytes(pickle.dumps(None))
        _join(workers, worker.GRACE)
        for end in ("terminate", "kill"):
            for one in workers:
                if one.process.is_alive():
                    getattr(one.process, end)()
            _join(workers, 1.0)
        for one in workers:
            one.connection.close()


def _join(workers: list[_Worker], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for one in workers:
        one.process.join(max(0.0, deadline - time.monotonic()))


def _obituary(dead: _Worker) -> str:
    dead.process.join(1.0)  # the pipe closes a moment before the process has ended
    code = dead.process.exitcode
    how = f"exit code {code}"
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            how += f" (killed by {signal.Signals(-code).name}"
            how += "; out of memory?)" if -code == getattr(signal, "SIGKILL", 0) else ")"
    return (
        f"DataLoader worker (pid(s) {dead.process.pid}) exited unexpectedly with {how}; it was number {dead.id} of "
        f"{dead.of}, counted from 0; with num_workers=0 an error in the dataset shows where it comes from"
    )


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C reaches this process afterwards, and its children when they are ready for it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
