"""Whether operations are recorded: a flag a thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])
_IS_GENERATOR = 0x20  # inspect.CO_GENERATOR, without importing inspect


class _State(threading.local):
    enabled = True  # set by `switch`
    inference = False


state = _State()


#: The threads that do not record. While there are none, nobody has to ask for the state of a thread, which takes ten
#: times as long.
silent: set[int] = set()


def switch(enabled: bool) -> bool:
    """Switch recording on or off in this thread; returns what it was."""
    before = state.enabled
    if enabled is not before:
        state.enabled = enabled
        (silent.discard if enabled else silent.add)(threading.get_ident())
    return before


class _Switch:
    """A context manager that is a decorator too, also for generators."""

    def __call__(self, function: F) -> F:
        if isinstance(function, type):
            raise TypeError(f"{type(self).__name__}: decorate functions and methods, not the class {function.__name__}")
        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & _IS_GENERATOR:
            return cast("F", self._wrap_generator(function))

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._clone():
                return function(*args, **kwargs)

        return cast("F", wrapped)

    def _wrap_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        # The mode holds while the generator runs, not while its consumer does.
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            step, value = generator.send, None
            while True:
                try:
                    with self._clone():
                        produced = step(value)
                except StopIteration as stop:
                    return stop.value
                try:
                    value = yield produced
                    step = generator.send
                except GeneratorExit:
                    generator.close()
                    raise
                except BaseException as error:
                    step, value = generator.throw, error

        return wrapped

    def _clone(self) -> Any:
        return type(self)()

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *error: object) -> None:
        raise NotImplementedError


class no_grad(_Switch):
    """Record nothing inside (``torch.no_grad``)."""

    _value = False

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        made = super().__new__(cls)
        return made if function is None else made(function)

    def __enter__(self) -> None:
        self._before = switch(self._value)

    def __exit__(self, *error: object) -> None:
        switch(self._before)


class enable_grad(no_grad):
    """Record inside a ``no_grad`` block (``torch.enable_grad``)."""

    _value = True


class set_grad_enabled(_Switch):
    """Switch recording on or off, at once or for a block (``torch.set_grad_enabled``)."""

    def __init__(self, mode: bool) -> None:
        self._before = switch(bool(mode))
        self.mode = mode

    def __call__(self, function: F) -> F:
        switch(self._before)  # used as a decorator: nothing is switched now
        return super().__call__(function)

    def _clone(self) -> set_grad_enabled:
        return type(self)(self.mode)

    def __enter__(self) -> None:
        switch(bool(self.mode))

    def __exit__(self, *error: object) -> None:
        switch(self._before)


class inference_mode(_Switch):
    """Record nothing inside, and say so in :func:`is_inference_mode_enabled` (``torch.inference_mode``)."""

    mode: bool

    def __new__(cls, mode: bool | Callable[..., Any] = True) -> Any:
        made = super().__new__(cls)
        if callable(mode):
            made.mode = True
            return made(mode)
        made.mode = mode
        return made

    def _clone(self) -> inference_mode:
        return cast("inference_mode", type(self)(self.mode))

    def __enter__(self) -> None:
        self._before = switch(not self.mode), state.inference
        state.inference = bool(self.mode)

    def __exit__(self, *error: object) -> None:
        switch(self._before[0])
        state.inference = self._before[1]


def is_grad_enabled() -> bool:
    """Whether operations are being recorded in this thread (``torch.is_grad_enabled``)."""
    return state.enabled


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside ``inference_mode`` (``torch.is_inference_mode_enabled``)."""
    return state.inference
