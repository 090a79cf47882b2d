"""``spawn``: one function in several processes, whose failures are the caller's."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing import connection
from typing import Any

_GRACE = 30.0  # seconds that a process has to end after SIGTERM


class ProcessException(Exception):
    """A process failed.

    Attributes:
        error_index: the number of the process, from 0.
        pid: its process id.
    """

    def __init__(self, msg: str, error_index: int, pid: int) -> None:
        super().__init__(msg)
        self.msg = msg
        self.error_index = error_index
        self.error_pid = self.pid = pid

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.msg, self.error_index, self.pid)


class ProcessRaisedException(ProcessException):
    """A process ended with an exception; the message has its traceback."""


class ProcessExitedException(ProcessException):
    """A process ended with an exit code that is not 0, or by a signal.

    Attributes:
        exit_code: the exit code, the negative number of the signal.
        signal_name: the signal's name, None without one.
    """

    def __init__(self, msg: str, error_index: int, error_pid: int, exit_code: int, signal_name: str | None = None):
        super().__init__(msg, error_index, error_pid)
        self.exit_code = exit_code
        self.signal_name = signal_name

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.msg, self.error_index, self.pid, self.exit_code, self.signal_name)


def _run(function: Callable[..., Any], number: int, args: tuple[Any, ...], report: Any) -> None:
    """What a process does."""
    try:
        function(number, *args)
    except KeyboardInterrupt:
        pass  # the parent was interrupted too
    except Exception:
        report.send(traceback.format_exc())
        sys.exit(1)


class ProcessContext:
    """Processes that :func:`start_processes` has started.

    Attributes:
        processes: the ``multiprocessing.Process`` objects.
    """

    def __init__(self, processes: list[Any], reports: list[Any]) -> None:
        self.processes = processes
        self._reports = reports
        self._running = {process.sentinel: i for i, process in enumerate(processes)}

    def pids(self) -> list[int]:
        """The process ids."""
        return [process.pid for process in self.processes]

    def join(self, timeout: float | None = None, grace_period: float | None = None) -> bool:
        """Wait until a process ends or the time is over; returns whether all have ended.

        When one fails, the others are ended too.

        Args:
            timeout: seconds; None waits until something happens.
            grace_period: seconds that the others have to end after SIGTERM, before they are killed.

        Raises:
            ProcessRaisedException: when a process raised.
            ProcessExitedException: when it ended otherwise than with exit code 0.
        """
        if not self._running:
            return True
        for sentinel in connection.wait(list(self._running), timeout):
            number = self._running.pop(sentinel)
            self.processes[number].join()
            if self.processes[number].exitcode != 0:
                self._end_others(_GRACE if grace_period is None else grace_period)
                raise self._failure(number)
        return not self._running

    def _end_others(self, grace: float) -> None:
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        end = time.monotonic() + grace
        for process in self.processes:
            process.join(max(0.0, end - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self._running.clear()

    def _failure(self, number: int) -> ProcessException:
        process = self.processes[number]
        try:
            reason = self._reports[number].recv()
        except EOFError:  # it had no time to say
            reason = None
        if reason is not None:
            text = f"\n\n-- Process {number} terminated with the following error:\n{reason}"
            return ProcessRaisedException(text, number, process.pid)
        if process.exitcode < 0:
            name = signal.Signals(-process.exitcode).name
            text = f"process {number} terminated with signal {name}"
            return ProcessExitedException(text, number, process.pid, process.exitcode, name)
        text = f"process {number} terminated with exit code {process.exitcode}"
        return ProcessExitedException(text, number, process.pid, process.exitcode)


SpawnContext = ProcessContext


def start_processes(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """Run ``fn(i, *args)`` in ``nprocs`` processes, ``i`` from 0 (``torch.multiprocessing.start_processes``).

    Args:
        fn: a function that can be pickled, so one of a module.
        args: its arguments after the number.
        nprocs: how many processes.
        join: wait for all of them.
        daemon: whether they end with this process.
        start_method: ``"spawn"``, ``"fork"`` or ``"forkserver"``.

    Returns:
        None with ``join``, else the processes.

    Raises:
        ProcessRaisedException, ProcessExitedException: with ``join``, when one failed; the others are ended.
    """
    context: Any = multiprocessing.get_context(start_method)
    processes: list[Any] = []
    reports = []
    for number in range(nprocs):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(fn, number, args, sender), daemon=daemon)
        process.start()
        sender.close()
        processes.append(process)
        reports.append(receiver)
    started = ProcessContext(processes, reports)
    if not join:
        return started
    while not started.join():
        pass
    return None


def spawn(
    fn: Callable[..., Any],
    args: tuple[Any, ...] = (),
    nprocs: int = 1,
    join: bool = True,
    daemon: bool = False,
    start_method: str = "spawn",
) -> ProcessContext | None:
    """:func:`start_processes` with new interpreters (``torch.multiprocessing.spawn``)."""
    return start_processes(fn, args, nprocs, join, daemon, start_method)
