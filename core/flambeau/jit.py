"""The names of ``torch.jit``. Python runs as it is written: nothing is compiled here, and nothing has to be.

:func:`script` gives back what it is given, so that programs that script their modules run. An archive of TorchScript
holds code in a language of its own, which nothing here executes: :func:`load` and :func:`save` say so.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import flambeau
from flambeau.autograd.grad_mode import no_grad
from flambeau.nn import Module

__all__ = [
    "Attribute",
    "Final",
    "ScriptFunction", "ScriptModule", "TracerWarning",
    "annotate",
    "enable_onednn_fusion",
    "export",
    "fork",
    "freeze",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "isinstance",
    "load",
    "optimize_for_inference",
    "optimized_execution",
    "save",
    "script",
    "script_if_tracing", "script_method",
    "trace",
    "trace_module",
    "unused",
    "wait",
]  # fmt: skip

T = TypeVar("T")
_isinstance = isinstance

Final = typing.Final


class ScriptModule(Module):
    """A module like any other. What :func:`script` returns is of its own class, not of this."""


class ScriptFunction:
    """The class of compiled functions, of which there are none."""


class TracerWarning(Warning):
    """Kept for programs that filter it; never given."""


def script(obj: T, optimize: Any = None, _frames_up: int = 0, _rcb: Any = None, example_inputs: Any = None) -> T:
    """Return ``obj``, a function, module or class, as it is."""
    return obj


def script_if_tracing(fn: T) -> T:
    """Return the function as it is."""
    return fn


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """Mark a function as not to be compiled; as a decorator with or without arguments. It stays as it is."""
    return drop if callable(drop) else lambda fn: fn


def unused(fn: T) -> T:
    """Mark a method as not to be compiled. It stays as it is."""
    return fn


def export(fn: T) -> T:
    """Mark a method as to be compiled. It stays as it is."""
    return fn


def script_method(fn: T) -> T:
    """Mark a method of a :class:`ScriptModule` as to be compiled. It stays as it is."""
    return fn


def interface(obj: T) -> T:
    """Mark a class as an interface. It stays as it is."""
    return obj


def is_scripting() -> bool:
    """Whether the code is being compiled: never."""
    return False


def is_tracing() -> bool:
    """Whether the code is being recorded: never."""
    return False


def annotate(the_type: Any, the_value: T) -> T:
    """Return ``the_value``."""
    return the_value


def Attribute(value: T, type: Any) -> T:
    """Return ``value``."""
    return value


def isinstance(obj: Any, target_type: Any) -> bool:
    """Whether ``obj`` is of a type, which may say what containers hold: ``list[int]``, ``dict[str, Tensor] | None``."""
    origin, inner = typing.get_origin(target_type), typing.get_args(target_type)
    if _isinstance(target_type, tuple):
        return any(isinstance(obj, choice) for choice in target_type)
    if origin is None:
        return target_type is Any or _isinstance(obj, type(None) if target_type is None else target_type)
    if not _isinstance(origin, type) or origin.__name__ in ("UnionType", "Union"):
        return any(isinstance(obj, choice) for choice in inner)
    if not _isinstance(obj, origin):
        return False
    if origin is dict:
        return all(isinstance(key, inner[0]) and isinstance(value, inner[1]) for key, value in obj.items())
    if origin is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
        return len(obj) == len(inner) and all(map(isinstance, obj, inner))
    return all(isinstance(item, inner[0]) for item in obj)


def trace(
    func: T,
    example_inputs: Any = None,
    optimize: Any = None,
    check_trace: bool = True,
    check_inputs: Any = None,
    check_tolerance: float = 1e-5,
    strict: bool = True,
    example_kwarg_inputs: dict[str, Any] | None = None,
    **options: Any,
) -> T:
    """Run ``func`` once on the example, as PyTorch does to record it, and return ``func``.

    It runs as Python, so unlike in PyTorch its branches and loops are not frozen at what the example did. The module
    must give tensors, in tuples, lists or dicts.

    Raises:
        RuntimeError: when no example is given, or when what it returns for the example holds something else.
    """
    if example_inputs is None and example_kwarg_inputs is None:
        raise RuntimeError("trace: example_inputs or example_kwarg_inputs should be specified")
    if example_inputs is None:
        args: tuple[Any, ...] = ()
    else:
        args = tuple(example_inputs) if _isinstance(example_inputs, (tuple, list)) else (example_inputs,)
    with no_grad():
        found = typing.cast("Callable[..., Any]", func)(*args, **(example_kwarg_inputs or {}))
    from flambeau.utils.pytree import tree_leaves

    for leaf in tree_leaves(found):
        if not _isinstance(leaf, flambeau.Tensor):
            raise RuntimeError(
                f"trace: only tensors, and tuples, lists and dicts of them, can be output from traced functions, got "
                f"{type(leaf).__name__}"
            )
    return func


def trace_module(mod: T, inputs: dict[str, Any], *args: Any, **options: Any) -> T:
    """Run methods of a module once on examples, and return the module.

    Args:
        mod: the module.
        inputs: the example of each method, by name.
    """
    for name, example in inputs.items():
        trace(getattr(mod, name), example)
    return mod


def freeze(mod: Any, preserved_attrs: Any = None, optimize_numerics: bool = True) -> Any:
    """Return the module as it is.

    Raises:
        RuntimeError: when it is in training mode.
    """
    if mod.training:
        raise RuntimeError("freeze: freezing is for modules in eval mode; call eval() first")
    return mod


def optimize_for_inference(mod: Any, other_methods: Any = None) -> Any:
    """Return the module as it is."""
    return mod


def fork(func: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call the function; :func:`wait` gives its result."""
    return func(*args, **kwargs)


def wait(future: T) -> T:
    """The result of :func:`fork`."""
    return future


def optimized_execution(should_optimize: bool) -> AbstractContextManager[None]:
    """A context that changes nothing."""
    return nullcontext()


def enable_onednn_fusion(enabled: bool) -> None:
    """Nothing: there is nothing to fuse for oneDNN."""


def save(m: Any, f: Any, _extra_files: Any = None) -> None:
    """Not there: an archive of TorchScript holds compiled code, and nothing is compiled here.

    Raises:
        NotImplementedError: always, with what to do instead.
    """
    what = "model.state_dict()" if _isinstance(m, Module) else "the parameters"
    raise NotImplementedError(
        f"jit.save: Flambeau does not write TorchScript archives; save {what} with flambeau.save, which PyTorch reads"
    )


def load(f: Any, map_location: Any = None, _extra_files: Any = None, _restore_shapes: bool = False) -> Any:
    """Not there: an archive of TorchScript holds code in a language of its own, which nothing here executes.

    Raises:
        NotImplementedError: always, with what to do instead.
    """
    raise NotImplementedError(
        "jit.load: Flambeau does not run TorchScript archives; in PyTorch, save the module's weights with "
        "torch.save(module.state_dict(), path), and load them into the same module here with flambeau.load"
    )
