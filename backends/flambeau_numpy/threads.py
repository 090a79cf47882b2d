"""Large arrays on all cores: NumPy lets go of the interpreter's lock while it computes.

The parts are the same for any number of threads, so the results are too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from flambeau.settings import lent_team, worker_threads

#: Elements from which on several threads are used. To wake one takes about 50 µs, a pass over so many 100 µs and more.
PARALLEL = 1 << 18


@cache
def _pool(threads: int) -> Any:
    from concurrent.futures import ThreadPoolExecutor  # takes 8 ms to import

    return ThreadPoolExecutor(threads, "flambeau")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


class _Here(threading.local):
    """Whether the thread is at work on a part; what that calls stays in the thread."""

    at_work = False


_here = _Here()


def over_parts(work: Callable[[slice], None], size: int, step: int, width: int = 1) -> None:
    """Call ``work`` with the slices of length ``step`` that divide ``size`` rows, on as many threads as are set.

    A row has ``width`` elements. The order is open. What ``work`` raises is raised here.
    """
    if size <= step:
        if size:
            work(slice(0, size))
        return
    starts = iter(range(0, size, step))

    def take() -> None:
        for start in starts:  # each start is handed out once: the interpreter's lock is held meanwhile
            work(slice(start, min(start + step, size)))

    threads = 1
    if size * width >= PARALLEL and not _here.at_work:
        threads = min(worker_threads(), -(-size // step))
    if threads <= 1:
        take()
        return

    def take_alone() -> None:
        _here.at_work = True
        try:
            take()
        finally:
            _here.at_work = False

    (lent_team() or _own_team)(take_alone, threads)


def _own_team(work: Callable[[], None], threads: int) -> None:
    """Call ``work`` in this thread and in others of the pool (:data:`flambeau.settings.Team`)."""
    others = [_pool(threads - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for other in others:
            other.exception()  # waits, so that nobody writes into the arrays any more
    for other in others:
        other.result()
