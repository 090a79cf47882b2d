"""Batches in pinned memory, which a device copies without holding the program up (``DataLoader(pin_memory=True)``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from flambeau.tensor import Tensor


def pin_memory(data: Any) -> Any:
    """A batch with its tensors pinned: in mappings, sequences and named tuples, of the same types.

    An object with a method ``pin_memory`` is what that returns; everything else stays as it is.
    """
    if isinstance(data, Tensor):
        return data.pin_memory() if data.is_cpu else data
    if hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, (str, bytes)):
        return data
    if isinstance(data, Mapping):
        return _rebuilt(data, {key: pin_memory(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*[pin_memory(item) for item in data])
    if isinstance(data, tuple):
        return [pin_memory(item) for item in data]  # a list, as PyTorch has it
    if isinstance(data, Sequence):
        return _rebuilt(data, [pin_memory(item) for item in data])
    return data


def _rebuilt(like: Any, plain: Any) -> Any:
    try:
        return type(like)(plain)
    except TypeError:  # a type that is made from something else
        return plain


class PinAhead:
    """Pins a batch in a thread of its own while the one before is used."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "flambeau-loader-pin")
        self._ahead: Future[Any] | None = None

    def next(self, fetch: Callable[[], Any], is_ready: Callable[[], bool]) -> Any:
        """The next batch, pinned. An error of the one after it is raised in its turn.

        Args:
            fetch: gives a batch, waiting where it has to; StopIteration when there is none.
            is_ready: whether ``fetch`` would not have to wait.
        """
        batch = self._ahead or self._thread.submit(pin_memory, fetch())
        self._ahead = self._submitted(fetch, is_ready)
        return batch.result()

    def _submitted(self, fetch: Callable[[], Any], is_ready: Callable[[], bool]) -> Future[Any] | None:
        try:
            return self._thread.submit(pin_memory, fetch()) if is_ready() else None
        except BaseException as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    def clear(self) -> None:
        """Forget what was fetched ahead."""
        self._ahead = None

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False)
