"""Compiled functions: which recording a call can replay, and what happens when there is none."""

from __future__ import annotations

import functools
import sys
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from flambeau.amp.autocast_mode import Modes
from flambeau.compiler import _recorder
from flambeau.compiler._arguments import Arguments
from flambeau.compiler._environment import Environment, unusual
from flambeau.compiler._joint import record_backward
from flambeau.compiler._passes import looks_first
from flambeau.compiler._recorder import Recorder, Unsupported, recording, sole_recorder
from flambeau.compiler._replay import Recording, Replay, replay_of
from flambeau.compiler._results import Results
from flambeau.compiler._source import MISS, Source
from flambeau.compiler._witness import Entry, Witness

#: How many recordings a function may have, unless told otherwise.
RECOMPILE_LIMIT = 8
# How many calls may assign to something that is there: a cache is filled once, a counter in each.
_ASSIGNMENTS = 2


class CompiledFunction:
    """A function that is recorded in its first call and replayed in the next ones (see :func:`flambeau.compile`).

    Args:
        function: what is called.
        fullgraph: raise where the function cannot be replayed, instead of a warning.
        passes: whether recordings are improved upon.
        limit: the largest number of recordings.
    """

    is_compiled = True

    def __init__(self, function: Callable[..., Any], fullgraph: bool, passes: bool, limit: int) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._fullgraph = fullgraph
        self._passes = passes
        self._limit = limit
        self._lock = threading.Lock()
        self.reset()
        functions.add(self)

    def reset(self) -> None:
        """Forget the recordings."""
        self._replays: list[Replay] = []
        self._refused: str | None = None
        self._unsettled = 0

    def sources(self) -> list[str]:
        """What replays run, as Python source; the newest recording first."""
        return [replay.source for replay in self._replays]  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if _recorder.active is not None and recording() is not None:
            return self._function(*args, **kwargs)  # part of what is being recorded
        for replay in self._replays:
            result = replay(args, kwargs)
            if result is not MISS:
                return result
        if self._refused is not None or unusual():
            return self._function(*args, **kwargs)
        return self._record(args, kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __reduce__(self) -> Any:
        module = getattr(self._function, "__module__", None)
        name: str = getattr(self._function, "__qualname__", None) or type(self._function).__qualname__
        found: Any = sys.modules.get(str(module))
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is not self:
            raise TypeError(f"cannot pickle the compiled function {name}: it is not found as {module}.{name}; pickle "
                            "the function itself and compile it anew")  # fmt: skip
        return name

    def __repr__(self) -> str:
        return f"<compiled {self._function!r}>"

    # -- recording -------------------------------------------------------------------------------------------------

    def _record(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if len(self._replays) >= self._limit:
            self._refuse(f"it was compiled {self._limit} times (recompile_limit), and this call fits none of them")
            return self._function(*args, **kwargs)
        recorder = Recorder()
        recorder.strict = self._fullgraph
        source = Source()
        arguments = Arguments(args, kwargs, source.constant)
        environment = Environment()
        with sole_recorder(recorder) as alone:
            if not alone:  # another thread records
                return self._function(*args, **kwargs)
            witness = Witness(recorder)
            for leaf in arguments.tensors:
                if leaf.name is not None:
                    recorder.hold(leaf.value, leaf.name)
            for value in (self._function, *arguments.objects()):
                witness.root(value)
            with Modes(), witness:
                result = self._function(*args, **kwargs)
            entry = None
            if recorder.reason is None:
                replay, entry = self._finish(source, recorder, witness, arguments, environment, result)
        if recorder.reason is not None:
            self._refuse(recorder.describe())
        elif entry is not None or witness.unsettled:
            self._wait(entry)
        else:
            assert replay is not None
            with self._lock:
                self._replays = [replay, *self._replays]
        return result

    def _finish(
        self,
        source: Source,
        recorder: Recorder,
        witness: Witness,
        arguments: Arguments,
        environment: Environment,
        result: Any,
    ) -> tuple[Replay | None, Entry | None]:
        """The replay, or None where the recording is no example for others: the entry that was assigned to."""
        entry = None if witness.unsettled else witness.assigned()
        if entry is not None or witness.unsettled:
            return None, entry
        changed = environment.changed()
        if changed is not None:
            recorder.stop_for(f"{changed} is another afterwards")
        calls = looks_first(recorder.calls)
        if calls is None:
            recorder.stop_for("a loss depends on which classes its target has, and the target is computed inside")
        else:
            recorder.calls = calls
        results = Results(recorder, result, witness.known)
        backward = None
        if results.roots and recorder.reason is None:
            backward = record_backward(recorder, results, list(recorder.held.values()))
        if recorder.reason is not None:
            return None, None
        found = Recording(
            source, arguments, environment, list(witness.entries.values()), recorder.conditions, recorder.numbers,
            recorder.calls, list(recorder.held.values()), results, backward, recorder.has_backward,
        )  # fmt: skip
        return replay_of(found, self._passes), None

    def _wait(self, entry: Entry | None) -> None:
        """The call has made something that the next ones find: record one of those."""
        self._unsettled += 1
        if entry is not None and self._unsettled > _ASSIGNMENTS:
            self._refuse(f"{_described(entry)} is assigned to")
        elif self._unsettled > self._limit:
            self._refuse("an optimizer's state is made anew in each call")

    def _refuse(self, reason: str) -> None:
        """From now on the function runs as it is where no recording fits."""
        name = getattr(self._function, "__qualname__", None) or type(self._function).__name__
        text = f"compile: {name} runs as it is, not compiled: {reason}"
        if self._fullgraph:
            raise Unsupported(text)
        self._refused = reason
        warnings.warn(text, UserWarning, stacklevel=4)


def _described(entry: Entry) -> str:
    if entry.key is None:
        return f"a {type(entry.container).__name__} that was there before"
    return "a variable of an enclosing function" if entry.kind == "cell" else repr(entry.key)


#: Every compiled function that there is.
functions: weakref.WeakSet[CompiledFunction] = weakref.WeakSet()
