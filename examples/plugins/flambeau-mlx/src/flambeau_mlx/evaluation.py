"""When MLX computes.

An operation of MLX adds a node to a graph; ``mx.eval`` computes it. Three things follow for a framework that is eager
to its users:

* **Threads.** A node belongs to a stream, and MLX's usual streams to the thread that made them: a graph that one
  thread began, another cannot compute. All kernels run on one stream of the kind that any thread may use
  (``on_stream``), which asks for one evaluation at a time (``evaluate`` holds a lock).
* **Length.** A training loop that never looks at its loss would make one graph of all its steps. Every ``LIMIT``
  results those that are still alive are handed to MLX (``note``), which computes them while Python goes on.
* **Economy.** What nobody holds any more by then was needed by another result, or by none, and is not kept.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any

import mlx.core as mx

#: ``cpu`` or ``gpu``: where MLX computes, its own choice if not set.
DEVICE_VARIABLE = "FLAMBEAU_MLX_DEVICE"

#: Results between two evaluations. From some ten on, a chain of small operations takes 4 us each instead of the 12
#: that an evaluation of each one takes.
LIMIT = 64


def _chosen_device() -> Any:
    name = os.environ.get(DEVICE_VARIABLE, "")
    if name not in ("", "cpu", "gpu"):
        raise RuntimeError(f"{DEVICE_VARIABLE} has to be 'cpu' or 'gpu', not {name!r}")
    return mx.default_device() if not name else mx.Device(mx.cpu if name == "cpu" else mx.gpu)


DEVICE = _chosen_device()
STREAM = mx.new_thread_unsafe_stream(DEVICE)

_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def _refuse_after_fork() -> None:
    """Raise RuntimeError in a process whose parent had MLX's threads: it would wait for them for ever."""
    if _forked:
        raise RuntimeError(
            "the device type 'mlx' cannot compute in a process that was forked after MLX had been loaded: its threads "
            "stayed behind. Make tensors on 'cpu' there (as the workers of a DataLoader do), or start the process with "
            "the method 'spawn'"
        )


_evaluating = threading.RLock()
_recent: list[weakref.ref[Any]] = []


def on_stream(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """``kernel``, with the nodes that it makes on the common stream."""

    @wraps(kernel)
    def run(*args: Any, **kwargs: Any) -> Any:
        with mx.stream(STREAM):
            return kernel(*args, **kwargs)

    return run


def note(storage: Any) -> None:
    """Remember that a storage has a new value, which may not be computed yet; its attribute ``data`` holds it."""
    _recent.append(weakref.ref(storage))
    if len(_recent) >= LIMIT:
        flush()


def flush() -> None:
    """Have MLX begin with everything that is not computed yet."""
    global _recent
    _refuse_after_fork()
    with _evaluating:
        taken, _recent = _recent, []
        alive = {id(storage): storage for storage in (reference() for reference in taken) if storage is not None}
        if alive:
            mx.async_eval(*[storage.data for storage in alive.values()])


def evaluate(*arrays: Any) -> None:
    """Compute MLX arrays, and wait for them."""
    _refuse_after_fork()
    with _evaluating:
        mx.eval(*arrays)


def synchronize() -> None:
    """Compute everything, and wait for it."""
    flush()
    with _evaluating:
        mx.synchronize(STREAM)
