"""Python's ``multiprocessing`` with tensors that processes share (``torch.multiprocessing``).

Everything of the standard library's module is here too. Importing this one teaches queues, pipes and the arguments of
processes about tensors on the CPU:

* a tensor that :meth:`flambeau.Tensor.share_memory_` (of modules: ``share_memory()``) has put into shared memory is
  handed over as it is, and what one process writes the others see;
* the data of any other tensor is copied into shared memory once, and the receiver has it from there (small ones go
  through the pipe);
* tensors of other devices go through the host, and are on their device again where they arrive.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import *  # noqa: F403

from flambeau.multiprocessing.sharing import register
from flambeau.multiprocessing.spawning import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)

__all__ = [  # noqa: PLE0604 - the standard library's are strings
    *multiprocessing.__all__, "ProcessContext", "ProcessException", "ProcessExitedException", "ProcessRaisedException",
    "SpawnContext", "get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy", "spawn",
    "start_processes",
]  # fmt: skip

register()

_STRATEGIES = {"file_descriptor", "file_system"}
_strategy = "file_descriptor"


def get_all_sharing_strategies() -> set[str]:
    """The names that :func:`set_sharing_strategy` takes."""
    return set(_STRATEGIES)


def get_sharing_strategy() -> str:
    """The name that was set, ``"file_descriptor"`` at first."""
    return _strategy


def set_sharing_strategy(new_strategy: str) -> None:
    """Keep a name of PyTorch's for how memory is shared. It is always by file descriptors of memory without a name.

    Raises:
        ValueError: for another name.
    """
    global _strategy
    if new_strategy not in _STRATEGIES:
        raise ValueError(f"set_sharing_strategy: expected one of {sorted(_STRATEGIES)}, got {new_strategy!r}")
    _strategy = new_strategy
