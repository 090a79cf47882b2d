"""Hooks of modules: registering them, and the call of a module that has some."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from flambeau.autograd.node import RemovableHandle

Hook = Callable[..., Any]

# Hooks of every module (`register_module_forward_hook` and its siblings): (kind, hook) pairs.
FORWARD_PRE, FORWARD, BACKWARD_PRE, BACKWARD = "forward_pre", "forward", "backward_pre", "backward"
global_call_hooks: dict[int, tuple[str, Hook]] = {}
global_forward_hooks_with_kwargs: dict[int, bool] = {}
global_forward_hooks_always_called: dict[int, bool] = {}
global_parameter_registration_hooks: dict[int, Hook] = {}
global_buffer_registration_hooks: dict[int, Hook] = {}
global_module_registration_hooks: dict[int, Hook] = {}


class HookHandle(RemovableHandle):
    """A handle that also forgets the flags kept for its hook."""

    def __init__(self, hooks: dict[int, Any], hook: Any, first: bool, *flags: dict[int, bool] | None) -> None:
        super().__init__(hooks, hook, first)
        self._flags = [flag for flag in flags if flag is not None]
        for flag in self._flags:
            flag[self.id] = True

    def remove(self) -> None:
        super().remove()
        for flag in self._flags:
            flag.pop(self.id, None)


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, args)`` before the forward of every module; what it returns replaces ``args``."""
    return RemovableHandle(global_call_hooks, (FORWARD_PRE, hook))


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after the forward of every module; what it returns replaces ``output``."""
    return HookHandle(
        global_call_hooks,
        (FORWARD, hook),
        False,
        global_forward_hooks_with_kwargs if with_kwargs else None,
        global_forward_hooks_always_called if always_call else None,
    )


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` when the gradients of any module's outputs are there."""
    return RemovableHandle(global_call_hooks, (BACKWARD_PRE, hook))


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` when the gradients of any module's inputs are there."""
    return RemovableHandle(global_call_hooks, (BACKWARD, hook))


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, name, parameter)`` when a parameter is registered; what it returns replaces it."""
    return RemovableHandle(global_parameter_registration_hooks, hook)


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` when a buffer is registered; what it returns replaces it."""
    return RemovableHandle(global_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` when a child is registered; what it returns replaces it."""
    return RemovableHandle(global_module_registration_hooks, hook)


def _with_global(kind: str, own: dict[int, Hook]) -> list[tuple[int, Hook]]:
    """The hooks of a kind with their ids: those of every module, then a module's own."""
    return [(key, hook) for key, (its_kind, hook) in global_call_hooks.items() if its_kind == kind] + list(own.items())


def registered(hooks: dict[int, Hook], module: Any, name: str, value: Any) -> Any:
    """``value`` as the registration hooks leave it."""
    for hook in hooks.values():
        replaced = hook(module, name, value)
        if replaced is not None:
            value = replaced
    return value


class ModuleHooks:
    """The part of :class:`~flambeau.nn.Module` that deals with hooks."""

    forward: Callable[..., Any]
    _forward_pre_hooks: dict[int, Hook]
    _forward_pre_hooks_with_kwargs: dict[int, bool]
    _forward_hooks: dict[int, Hook]
    _forward_hooks_with_kwargs: dict[int, bool]
    _forward_hooks_always_called: dict[int, bool]
    _backward_pre_hooks: dict[int, Hook]
    _backward_hooks: dict[int, Hook]

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before :meth:`forward`.

        Args:
            hook: may return None, or what replaces the positional arguments (a single value is wrapped in a tuple).
                With ``with_kwargs`` it is ``hook(module, args, kwargs)`` and returns None or ``(args, kwargs)``.
            prepend: call it before the hooks that are there already.
            with_kwargs: also hand over the keyword arguments.

        Returns:
            RemovableHandle: ``handle.remove()`` takes the hook out.
        """
        return HookHandle(
            self._forward_pre_hooks, hook, prepend, self._forward_pre_hooks_with_kwargs if with_kwargs else None
        )

    def register_forward_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after :meth:`forward`; what it returns, if anything, replaces the output.

        Args:
            hook: with ``with_kwargs`` it is ``hook(module, args, kwargs, output)``.
            prepend: call it before the hooks that are there already.
            with_kwargs: also hand over the keyword arguments.
            always_call: call it also when the forward raised an exception (with what there is of an output).
        """
        return HookHandle(
            self._forward_hooks,
            hook,
            prepend,
            self._forward_hooks_with_kwargs if with_kwargs else None,
            self._forward_hooks_always_called if always_call else None,
        )

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` when the gradients of the outputs are there.

        ``grad_output`` is a tuple, one entry an output (None where there is no gradient). A tuple that the hook returns
        replaces it.
        """
        return RemovableHandle(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are there.

        Both are tuples, one entry a positional argument or output of :meth:`forward` (None for what is no tensor or
        has no gradient). A tuple that the hook returns replaces ``grad_input``.
        """
        return RemovableHandle(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """The same as :meth:`register_full_backward_hook`, under PyTorch's old name."""
        return self.register_full_backward_hook(hook)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run :meth:`forward` between the hooks."""
        called: set[int] = set()
        # What an always-called hook sees when something raises: the state so far.
        seen: dict[str, Any] = {"args": args, "kwargs": kwargs, "result": None}
        try:
            return self._run_hooks(seen, called)
        except Exception:
            self._call_the_always_called(seen, called)
            raise

    def _run_hooks(self, seen: dict[str, Any], called: set[int]) -> Any:
        for key, hook in _with_global(FORWARD_PRE, self._forward_pre_hooks):
            if key in self._forward_pre_hooks_with_kwargs:
                replaced = hook(self, seen["args"], seen["kwargs"])
                if replaced is not None:
                    if not (isinstance(replaced, tuple) and len(replaced) == 2):
                        raise RuntimeError(
                            "forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got "
                            f"{replaced}."
                        )
                    seen["args"], seen["kwargs"] = replaced
            else:
                replaced = hook(self, seen["args"])
                if replaced is not None:
                    seen["args"] = replaced if isinstance(replaced, tuple) else (replaced,)

        backward = None
        backward_pre_hooks = [hook for _, hook in _with_global(BACKWARD_PRE, self._backward_pre_hooks)]
        backward_hooks = [hook for _, hook in _with_global(BACKWARD, self._backward_hooks)]
        if backward_hooks or backward_pre_hooks:
            from flambeau.nn.modules._backward_hooks import BackwardHooks

            backward = BackwardHooks(self, backward_hooks, backward_pre_hooks)
            seen["args"] = backward.watch_inputs(seen["args"])

        seen["result"] = self.forward(*seen["args"], **seen["kwargs"])

        for key, hook in _with_global(FORWARD, self._forward_hooks):
            if self._is_always_called(key):
                called.add(key)
            replaced = self._call_forward_hook(key, hook, seen)
            if replaced is not None:
                seen["result"] = replaced
        return seen["result"] if backward is None else backward.watch_outputs(seen["result"])

    def _is_always_called(self, key: int) -> bool:
        return key in self._forward_hooks_always_called or key in global_forward_hooks_always_called

    def _call_forward_hook(self, key: int, hook: Hook, seen: dict[str, Any]) -> Any:
        if key in self._forward_hooks_with_kwargs or key in global_forward_hooks_with_kwargs:
            return hook(self, seen["args"], seen["kwargs"], seen["result"])
        return hook(self, seen["args"], seen["result"])

    def _call_the_always_called(self, seen: dict[str, Any], called: set[int]) -> None:
        for key, hook in _with_global(FORWARD, self._forward_hooks):
            if self._is_always_called(key) and key not in called:
                try:
                    replaced = self._call_forward_hook(key, hook, seen)
                except Exception as error:
                    warnings.warn(
                        "module forward hook with ``always_call=True`` raised an exception that was silenced as "
                        f"another error was raised in forward: {error}",
                        stacklevel=4,
                    )
                    continue
                if replaced is not None:
                    seen["result"] = replaced
