"""Functions that are recorded once and replayed (``torch.compile``, ``torch.compiler``).

:func:`compile` runs a function, a module or a whole training step as it is, takes down the kernels that ran, and from
the second call on runs those, with almost no Python in between. ``docs/compile.md`` tells what is guarded, what cannot
be replayed, and how it is built.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from flambeau.compiler import _recorder
from flambeau.compiler._compiled import RECOMPILE_LIMIT, CompiledFunction, functions
from flambeau.compiler._module import OptimizedModule
from flambeau.compiler._recorder import Unsupported, recording
from flambeau.nn import Module

__all__ = [
    "OptimizedModule", "Unsupported", "allow_in_graph", "assume_constant_result", "compile",
    "cudagraph_mark_step_begin", "disable", "is_compiling", "is_dynamo_compiling", "is_exporting", "list_backends",
    "reset",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])

_BACKENDS = {"inductor": True, "aot_eager": False, "eager": None}
_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
_OPTIONS = {"recompile_limit": RECOMPILE_LIMIT}


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """Compile a function, a module or a whole training step (``torch.compile``); a decorator, too.

    The first call runs as ever and is recorded; a replay gives the results that the function would give. Guards on
    the arguments (structure, shapes, strides, dtypes, devices, numbers), on the tensors that the function refers to,
    on what it reads of Python's state and on the modes decide whether a replay fits; if none does, the call is
    recorded anew.
    A function that cannot be replayed, because it reads a tensor's value for instance, runs as it is after one warning
    that says why and where.

    Args:
        model: a function or a module; a module is wrapped in one whose state dict has the prefix ``_orig_mod.``.
        fullgraph: raise :class:`Unsupported` in place of the warning.
        dynamic: accepted; each shape has a recording of its own.
        backend: ``"inductor"`` for replays that are improved upon (repeated work left out, elementwise chains fused),
            ``"aot_eager"`` for replays of the calls as they were, ``"eager"`` for none.
        mode: PyTorch's, which change nothing: ``"default"``, ``"reduce-overhead"``, ``"max-autotune"``,
            ``"max-autotune-no-cudagraphs"``.
        options: ``{"recompile_limit": n}``, the largest number of recordings, 8 unless given.
        disable: return ``model`` as it is.

    Raises:
        RuntimeError: for an unknown backend, mode or option, or both mode and options.
        TypeError: when ``model`` cannot be called.
    """
    if mode is not None and options is not None:
        raise RuntimeError("compile: Either mode or options can be specified, but both can't be specified at the same "
                           "time.")  # fmt: skip
    if mode is not None and mode not in _MODES:
        raise RuntimeError(f"compile: Unrecognized mode={mode!r}, should be one of: {', '.join(_MODES)}")
    unknown = set(options or {}) - set(_OPTIONS)
    if unknown:
        raise RuntimeError(f"compile: Unexpected optimization option {min(unknown)!r}, known options are "
                           f"{sorted(_OPTIONS)}")  # fmt: skip
    if backend not in _BACKENDS:
        raise RuntimeError(f"compile: there is no backend {backend!r}; there are: {', '.join(list_backends())}")
    if model is None:
        return functools.partial(
            compile, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode, options=options, disable=disable
        )
    if not callable(model):
        raise TypeError(f"compile: expected a function or a module, got {type(model).__name__}")
    passes = _BACKENDS[backend]
    if disable or passes is None:
        return model
    limit = {**_OPTIONS, **(options or {})}["recompile_limit"]
    settings = (fullgraph, passes, limit)
    return OptimizedModule(model, settings) if isinstance(model, Module) else CompiledFunction(model, *settings)


def list_backends(exclude_tags: Any = ()) -> list[str]:
    """What :func:`compile` takes as ``backend``."""
    return sorted(_BACKENDS)


def reset() -> None:
    """Forget all recordings, and which functions could not be replayed (``torch.compiler.reset``)."""
    for function in list(functions):
        function.reset()


def is_compiling() -> bool:
    """Whether this thread runs a function to record it (``torch.compiler.is_compiling``)."""
    return _recorder.active is not None and recording() is not None


def is_dynamo_compiling() -> bool:
    """As :func:`is_compiling`."""
    return is_compiling()


def is_exporting() -> bool:
    """Whether a program is being exported: never."""
    return False


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Have a function run as it is (``torch.compiler.disable``), also as a decorator.

    A compiled function that calls it is not replayed, and says so.
    """
    if fn is None:
        return functools.partial(disable, recursive=recursive, reason=reason)
    name = getattr(fn, "__qualname__", type(fn).__name__)

    @functools.wraps(fn)
    def as_it_is(*args: Any, **kwargs: Any) -> Any:
        found = recording()
        if found is not None:
            found.stop_for(f"{name} is called, which is disabled" + (f" ({reason})" if reason else ""))
        return fn(*args, **kwargs)

    return as_it_is


def allow_in_graph(fn: F) -> F:
    """Return the function as it is: what it computes is recorded in any case."""
    return fn


def assume_constant_result(fn: F) -> F:
    """Return the function as it is: numbers that it returns are constants of a recording in any case."""
    return fn


def cudagraph_mark_step_begin() -> None:
    """Nothing: there are no CUDA graphs."""
