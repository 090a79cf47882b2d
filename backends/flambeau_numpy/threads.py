"""Large arrays on all cores: NumPy lets go of the interpreter's lock while it computes.

The parts are the same for any number of threads, so the results are too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

from flambeau.settings import worker_threads

#: Elements from which on several threads are used. To wake one takes about 50 µs, a pass over so many 100 µs and more.
PARALLEL = 1 << 18


@cache
def _pool(threads: int) -> Any:
    from concurrent.futures import ThreadPoolExecutor  # takes 8 ms to import

    return ThreadPoolExecutor(threads, "flambeau")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def over_parts(work: Callable[[slice], None], size: int, step: int, width: int = 1) -> None:
    """Call ``work`` with the slices of length ``step`` that divide ``size`` rows, on as many threads as are set.

    A row has ``width`` elements. The order is open. ``work`` must not call this function; what it raises is raised
    here.
    """
    starts = iter(range(0, size, step))

    def take() -> None:
        for start in starts:  # each start is handed out once: the interpreter's lock is held meanwhile
            work(slice(start, min(start + step, size)))

    threads = min(worker_threads(), -(-size // step)) if size * width >= PARALLEL else 1
    others = [_pool(threads - 1).submit(take) for _ in range(threads - 1)] if threads > 1 else []
    try:
        take()
    finally:
        for other in others:
            other.result()
