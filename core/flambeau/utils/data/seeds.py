"""Random numbers that belong to the batch, not to whoever makes it.

Before a batch is made, the generators that code finds without naming one (flambeau's default generator, :mod:`random`,
``numpy.random``) are seeded from the pass's seed and the batch's number in the pass. So a pass has the same batches,
random augmentation and random collation included, in the main process, in one worker or in many.

A worker process has these generators to itself. In the main process they are the program's: they are set aside while
the loader makes a batch. Threads share Python's and NumPy's; while there are worker threads, the functions of the
modules :mod:`random` and ``numpy.random`` look for the calling thread's own generator first.
"""

from __future__ import annotations

import functools
import random
import struct
import threading
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import numpy

from flambeau.random import Generator, default_generator, manual_seed


def seed_batch(pass_seed: int, number: int) -> None:
    """Seed the generators for the batch ``number`` of a pass. 10 microseconds, most of them Python's and NumPy's."""
    digest = blake2b(struct.pack("<Qq", pass_seed, number), digest_size=20).digest()
    python, own, numpy_s = struct.unpack("<QQI", digest)
    random.seed(python)
    default_generator.restart(own)
    numpy.random.seed(numpy_s)


def seed_worker(seed: int) -> None:
    """Seed the generators of a worker that begins, for its ``worker_init_fn``."""
    random.seed(seed)
    manual_seed(seed)
    # NumPy takes 32-bit words; a seed sequence makes neighbouring seeds unlike each other.
    numpy.random.seed(numpy.random.SeedSequence(seed).generate_state(4))


class SetAside:
    """Puts the program's generators aside inside a ``with`` block, and others, to be seeded, in their places.

    70 microseconds, two thirds of them NumPy's, which tells only with its whole state whether it holds back the second
    of a pair of normal numbers. One thread at a time does so; another that comes meanwhile gets generators of its own,
    as worker threads do.
    """

    def __init__(self) -> None:
        self._own = Generator()
        self._numpy = numpy.random.MT19937(0)
        self._instead: ThreadsOwn | None = None

    def __enter__(self) -> None:
        if not _aside.acquire(blocking=False):
            self._instead = ThreadsOwn()
            self._instead.__enter__()
            return
        self._own.manual_seed(default_generator.initial_seed())
        self._default = default_generator.exchange(self._own)
        self._held: Any = numpy.random.get_state(legacy=False)
        self._bits = numpy.random.get_bit_generator()  # type: ignore[attr-defined]
        numpy.random.set_bit_generator(self._numpy)  # type: ignore[attr-defined]
        self._python = random.getstate()

    def __exit__(self, *error: object) -> None:
        if self._instead is not None:
            self._instead.__exit__(*error)
            self._instead = None
            return
        random.setstate(self._python)
        numpy.random.set_bit_generator(self._bits)  # type: ignore[attr-defined]
        if self._held["has_gauss"] and isinstance(self._bits, numpy.random.MT19937):
            numpy.random.set_state(self._held)
        default_generator.exchange(self._default)
        _aside.release()


# Held by the thread that has set the program's generators aside; again by a loader inside of its dataset.
_aside = threading.RLock()

# -- threads -------------------------------------------------------------------------------------------------------


class _ThisThread(threading.local):
    python: random.Random | None = None
    numpy: numpy.random.RandomState | None = None


_this_thread = _ThisThread()
_lock = threading.Lock()
_threads = 0
_replaced: list[tuple[Any, str, Any, Any]] = []  # module, name, what was there, what is there now


class ThreadsOwn:
    """Gives the thread that enters it generators of its own, for as long as it is inside."""

    def __enter__(self) -> None:
        global _threads
        self._before = default_generator.exchange(Generator()), _this_thread.python, _this_thread.numpy
        _this_thread.python, _this_thread.numpy = random.Random(), numpy.random.RandomState()
        with _lock:
            _threads += 1
            if _threads == 1:
                _redirect()

    def __exit__(self, *error: object) -> None:
        global _threads
        with _lock:
            _threads -= 1
            if _threads == 0:
                _restore()
        default, _this_thread.python, _this_thread.numpy = self._before
        default_generator.exchange(default)


def _redirect() -> None:
    for module, kind, slot in ((random, random.Random, "python"), (numpy.random, numpy.random.RandomState, "numpy")):
        for name in dir(kind):
            found = getattr(module, name, None)
            if not name.startswith("_") and callable(found) and not isinstance(found, type):
                _replaced.append((module, name, found, _looking_first(found, name, slot)))
    for alias in ("ranf", "sample"):  # functions of numpy.random that are no methods
        found = getattr(numpy.random, alias)
        _replaced.append((numpy.random, alias, found, _looking_first(found, "random_sample", "numpy")))
    for module, name, _, instead in _replaced:
        setattr(module, name, instead)


def _restore() -> None:
    for module, name, before, instead in _replaced:
        if getattr(module, name) is instead:
            setattr(module, name, before)
    _replaced.clear()


def _looking_first(function: Callable[..., Any], name: str, slot: str) -> Callable[..., Any]:
    """``function``, of the thread's own generator where it has one."""

    @functools.wraps(function)
    def of_this_thread(*args: Any, **kwargs: Any) -> Any:
        own = getattr(_this_thread, slot)
        return function(*args, **kwargs) if own is None else getattr(own, name)(*args, **kwargs)

    return of_this_thread
