"""A worker of a loader, process or thread: what runs there, and what code that runs there can ask.

To a process the parent writes tasks to a pipe; a thread of the worker reads them, so that the parent never waits to
get rid of one. That thread also watches over the parent: when it is gone, however it ended, the worker ends too.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from flambeau.utils.data.shared_memory import Sender

#: Seconds that a worker has to finish the batch it is at when it is told to stop or has lost its parent.
GRACE = 5.0

# Seconds between looks at the parent's process id, for where the pipe that ends with the parent has been inherited by
# another process, which keeps it open.
_WATCH_INTERVAL = 1.0

#: What is sent for a task: a batch, an exception, or that the iterable dataset has no more.
BATCH, FAILURE, END = range(3)


@dataclass(frozen=True)
class WorkerInfo:
    """About the worker that asks (``torch.utils.data.get_worker_info``).

    Attributes:
        id: the worker's number, from 0.
        num_workers: how many there are.
        seed: what the worker's random number generators were seeded with when it began: the base seed plus ``id``.
        dataset: the worker's copy of the dataset; for a thread the dataset itself.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


class _ThisThread(threading.local):
    info: WorkerInfo | None = None  # where the worker is a thread


_info: WorkerInfo | None = None  # where the worker is this process
_this_thread = _ThisThread()
_sender: Sender | None = None


def get_worker_info() -> WorkerInfo | None:
    """Which worker of a loader this code runs in; None in the main process."""
    return _this_thread.info or _info


def enter_thread(info: WorkerInfo) -> None:
    """Make the calling thread a worker."""
    _this_thread.info = info


def shared_array(shape: tuple[int, ...], dtype: Any) -> Any:
    """An uninitialised array that the parent process will see without a copy; None where that gains nothing."""
    if _sender is None:
        return None
    from flambeau.utils.data.shared_memory import LARGE

    size = dtype.itemsize
    for extent in shape:
        size *= extent
    return _sender.array(shape, dtype) if size >= LARGE and not dtype.hasobject else None


@dataclass
class Setup:
    """What a worker is started with; pickled where processes are spawned."""

    dataset: Any
    iterable: bool
    batched: bool
    collate_fn: Callable[[Any], Any]
    drop_last: bool
    id: int
    num_workers: int
    base_seed: int
    init_fn: Callable[[int], None] | None
    parent_pid: int

    def info(self) -> WorkerInfo:
        """What :func:`get_worker_info` says in the worker."""
        return WorkerInfo(self.id, self.num_workers, self.base_seed + self.id, self.dataset)


class Failure:
    """An exception on its way to the parent process.

    Args:
        error: what was raised, with its traceback.
        where: for the message, "in ...".
    """

    def __init__(self, error: BaseException, where: str) -> None:
        import pickle

        kind = type(error)
        try:
            pickle.dumps(kind)
        except Exception:
            kind = RuntimeError  # a class that the parent cannot find; its name is in the text
        self.type = kind
        trace = "".join(traceback.format_exception(error))
        self.text = f"Caught {type(error).__name__} {where}.\nOriginal {trace}"

    def reraise(self) -> NoReturn:
        """Raise an exception of the same type whose text holds the original traceback; a RuntimeError with that text
        where the type is not made from a text, or means something to an iterator or the interpreter."""
        if not issubclass(self.type, Exception) or issubclass(self.type, (StopIteration, StopAsyncIteration)):
            raise RuntimeError(self.text)
        # KeyError shows the repr() of its argument, which would put the traceback on one line.
        text = _Verbatim(self.text) if issubclass(self.type, KeyError) else self.text
        try:
            error = self.type(text)
        except Exception:
            raise RuntimeError(self.text) from None
        raise error


class _Verbatim(str):
    """A text whose ``repr`` is itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class _Inbox:
    """The tasks that have come in, and whether to stop."""

    def __init__(self, connection: Connection, parent_pid: int) -> None:
        self._connection = connection
        self._parent_pid = parent_pid
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stop = False
        self.epoch = 0  # of the newest task that has come in
        threading.Thread(target=self._listen, name="flambeau-loader-inbox", daemon=True).start()

    def next(self) -> Any:
        """The next task, or None when it is time to end."""
        task = self._tasks.get()
        return None if self._stop else task

    def _listen(self) -> None:
        import pickle
        from multiprocessing import parent_process
        from multiprocessing.connection import wait

        parent: Any = parent_process()
        # Not so where a fork server is the parent of the process.
        is_child = os.getppid() == self._parent_pid
        while True:
            ready = wait([self._connection, parent.sentinel], _WATCH_INTERVAL)
            if self._connection in ready:
                try:
                    task = pickle.loads(self._connection.recv_bytes())
                except (EOFError, OSError):
                    break
                if task is None:
                    break
                self.epoch = task[0]
                self._tasks.put(task)
            elif ready or (is_child and os.getppid() != self._parent_pid):
                break
        self._stop = True
        self._tasks.put(None)
        time.sleep(GRACE)
        os._exit(1)  # this is a daemon thread: the process is still there because the dataset keeps it busy


def main(setup: Setup, connection: Connection) -> None:
    """What a worker process runs."""
    _set_signals()
    inbox = _Inbox(connection, setup.parent_pid)

    import pickle

    from flambeau.settings import keep_to_one_thread
    from flambeau.utils.data import seeds
    from flambeau.utils.data.shared_memory import Sender

    keep_to_one_thread()
    global _info, _sender
    _sender = sender = Sender(connection)
    where = f"in DataLoader worker process {setup.id}"
    _info = setup.info()
    broken: Any = None
    try:
        seeds.seed_worker(_info.seed)
        if setup.init_fn is not None:
            setup.init_fn(setup.id)
    except Exception as error:
        broken = Failure(error, where)

    source = Source(setup)
    while (task := inbox.next()) is not None:
        epoch, number, pass_seed, returned, index = task
        sender.release(returned)
        status, value = FAILURE, broken
        if epoch < inbox.epoch:
            status, value = END, None  # the parent has begun a new pass: nobody wants what is left of the last
        elif broken is None:
            try:
                status, value = source.fetch(epoch, number, pass_seed, pickle.loads(index))
            except Exception as error:
                status, value = FAILURE, Failure(error, where)
        try:
            sender.send((epoch, number, status), value)
        except (BrokenPipeError, ConnectionResetError):
            return  # the parent is gone
        except Exception as error:
            sender.send((epoch, number, FAILURE), Failure(error, where))
        value = None  # its memory can be used for the next one


class Source:
    """Takes batches from the worker's dataset."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._epoch = 0
        self._fetcher: Any = None

    def fetch(self, epoch: int, number: int, pass_seed: int, index: Any) -> tuple[int, Any]:
        """What to send for a task: its status and the batch."""
        from flambeau.utils.data import seeds
        from flambeau.utils.data.fetch import make_fetcher

        setup = self._setup
        if self._fetcher is None or epoch != self._epoch:
            seeds.seed_batch(pass_seed, number)
            self._fetcher = make_fetcher(
                setup.dataset, setup.iterable, setup.batched, setup.collate_fn, setup.drop_last
            )
            self._epoch = epoch
        seeds.seed_batch(pass_seed, number)
        if not setup.iterable:
            return BATCH, self._fetcher(index)
        try:
            return BATCH, self._fetcher(index)
        except StopIteration:
            return END, None


def _set_signals() -> None:
    """Undo what a forked process inherits; leave Ctrl-C, which all processes of a terminal get, to the parent."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A handler, not SIG_IGN: programs that the dataset starts shall not inherit it.
    signal.signal(signal.SIGINT, lambda *_: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # the parent held it back while we started
