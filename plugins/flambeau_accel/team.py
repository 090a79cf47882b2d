"""Python code on the threads that OpenMP keeps for oneDNN, so that the process has one pool of them.

After a primitive libgomp's threads spin for some milliseconds, waiting for the next. Threads of Python's that are woken
meanwhile share the cores with them: two passes over 4 MB after a product took 0.6 ms on two threads of theirs, 0.55 on
one, and 0.3 here.

ctypes cannot hand libgomp a function in C, and one in Python would have every thread of the team wait for the
interpreter's lock, with or without work. So the team is started on a function that does nothing, and the work is given
to it as OpenMP's tasks, which the threads take up while they wait for the end of the region. These are the calls that
GCC makes of ``#pragma omp parallel`` and ``#pragma omp task``.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from collections.abc import Callable
from ctypes import CFUNCTYPE, byref, c_bool, c_int, c_int64, c_long, c_uint, c_void_p, cast, sizeof
from functools import cache

from flambeau.settings import Team, chosen_threads, lend_team
from flambeau_accel.library import load
from flambeau_accel.primitive import in_team

_numbers = itertools.count()
_works: dict[int, Callable[[], None]] = {}
_known: set[int] = set()


@CFUNCTYPE(None, c_void_p)
def _task(argument: int) -> None:
    """Do the work whose number lies at ``argument``, in whichever thread."""
    thread = threading.get_ident()
    if thread not in _known:
        # Never released: the thread keeps its state, and with it what is local to it, until the process ends.
        _known.add(thread)
        ctypes.pythonapi.PyGILState_Ensure()
    _works[c_int64.from_address(argument).value]()


@cache
def _team() -> tuple[Team | None, int]:
    """OpenMP's threads and how many they are; None where oneDNN has others, or one."""
    library = load()
    names = "GOMP_parallel_start", "GOMP_task", "GOMP_parallel_end", "omp_get_max_threads"
    start, task, end, count = (getattr(library, name, None) for name in names)
    if start is None or task is None or end is None or count is None or count() <= 1:
        return None, 1
    if hasattr(library, "kmp_set_blocktime"):  # Intel's library has these as well, but nobody has measured it
        return None, 1
    start.argtypes, start.restype = (c_void_p, c_void_p, c_uint), None
    # function, argument, function to copy it, its size and alignment, whether to defer, flags, dependences, priority, -
    task.argtypes = (c_void_p, c_void_p, c_void_p, c_long, c_long, c_bool, c_uint, c_void_p, c_int, c_void_p)
    end.argtypes, task.restype, end.restype = (), None, None
    nothing, body = cast(ctypes.CDLL(None).free, c_void_p), cast(_task, c_void_p)

    def team(work: Callable[[], None], threads: int) -> None:
        errors: list[BaseException] = []

        def guarded() -> None:
            try:
                with in_team():
                    work()
            except BaseException as error:
                errors.append(error)

        number = next(_numbers)
        _works[number] = guarded
        start(nothing, None, chosen_threads() or 0)  # as many as for a primitive, else libgomp makes them anew
        try:
            argument = c_int64(number)
            for _ in range(threads - 1):
                task(body, byref(argument), None, sizeof(argument), sizeof(argument), True, 0, None, 0, None)
            guarded()
        finally:
            end()
            del _works[number]
        if errors:
            raise errors[0]

    return team, count()


def lend() -> None:
    """Lend OpenMP's threads to the kernels written in Python."""
    lend_team(*_team())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: lend_team(None))  # they are gone there
