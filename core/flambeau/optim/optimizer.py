"""The base class of all optimizers."""

from __future__ import annotations

import functools
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, TypeAlias

import flambeau
from flambeau import Tensor
from flambeau.autograd.node import RemovableHandle

Hook = Callable[..., Any]
#: What an optimizer takes as ``params`` (``torch.optim.optimizer.ParamsT``).
ParamsT: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]

_global_pre_hooks: dict[int, Hook] = {}
_global_post_hooks: dict[int, Hook] = {}


class _Required:
    """The default of an option that each parameter group has to give."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def register_optimizer_step_pre_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before the step of every optimizer."""
    return RemovableHandle(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after the step of every optimizer."""
    return RemovableHandle(_global_post_hooks, hook)


class Optimizer:
    """What updates parameters from their gradients (``torch.optim.Optimizer``).

    A subclass overrides :meth:`step`.

    Args:
        params: tensors, ``(name, tensor)`` pairs, or dictionaries: a group of parameters under ``"params"`` with its
            own options where they differ from ``defaults``.
        defaults: the options of groups that do not give their own.

    Attributes:
        param_groups: the dictionaries, all options filled in. Changing an option here changes the next step.
        state: for each parameter what the optimizer remembers about it.
        defaults: as given.
    """

    # State that is kept as a Python float and appears in the state dict as a 0-dim float32 tensor, as PyTorch has it.
    _float_state: tuple[str, ...] = ()
    # Whether there has been a step: schedulers warn where they are stepped before the optimizer.
    _opt_called = False

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                f"flambeau.{type(params).__name__}"
            )
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._make_hooks()
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def _make_hooks(self) -> None:
        self._optimizer_step_pre_hooks: dict[int, Hook] = {}
        self._optimizer_step_post_hooks: dict[int, Hook] = {}
        self._optimizer_state_dict_pre_hooks: dict[int, Hook] = {}
        self._optimizer_state_dict_post_hooks: dict[int, Hook] = {}
        self._optimizer_load_state_dict_pre_hooks: dict[int, Hook] = {}
        self._optimizer_load_state_dict_post_hooks: dict[int, Hook] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.__dict__["step"])  # type: ignore[method-assign]

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_optimizer_step_pre_hooks" not in self.__dict__:
            self._make_hooks()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join(lines) + "\n)"

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters once.

        Args:
            closure: computes the loss and its gradients anew; what it returns is returned.
        """
        raise NotImplementedError

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or set them to zero with ``set_to_none=False``."""
        for group in self.param_groups:
            for param in group["params"]:
                if param._grad is not None:
                    param._grad = None if set_to_none else param._grad.detach().zero_()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, for instance when layers are unfrozen during training.

        Args:
            param_group: parameters under ``"params"``, and options that differ from the defaults.

        Raises:
            TypeError: when something is no dictionary, no ordered collection or no tensor.
            ValueError: for tensors that are no leaves or are in two groups, options that are missing, names for some
                parameters only.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        params = list(params)
        names = [param[0] for param in params if isinstance(param, tuple)]
        if names and len(names) != len(params):
            raise ValueError("all optimizer params should be with/without names. Some param names are missing")
        if names:
            params = [param[1] for param in params]
            param_group["param_names"] = names
        param_group["params"] = params
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(param).__name__}")
            if not (param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        if len({id(param) for param in params}) != len(params):
            warnings.warn("optimizer contains a parameter group with duplicate parameters", stacklevel=3)
        known = {id(param) for group in self.param_groups for param in group["params"]}
        if any(id(param) in known for param in params):
            raise ValueError("some parameters appear in more than one parameter group")
        for group in self.param_groups:
            if ("param_names" in group) != ("param_names" in param_group):
                current = "with names" if "param_names" in param_group else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param group "
                    f"{current} to the optimizer"
                )
        self.param_groups.append(param_group)

    # -- saving and loading --------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return ``{"state": ..., "param_groups": ...}``, with parameters replaced by their numbers."""
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        start = 0
        for group in self.param_groups:
            packed = {name: value for name, value in group.items() if name != "params"}
            for i, param in enumerate(group["params"], start):
                numbers.setdefault(id(param), i)
            packed["params"] = [numbers[id(param)] for param in group["params"]]
            start += len(packed["params"])
            groups.append(packed)
        state = {
            numbers[id(key)] if isinstance(key, Tensor) else key: self._packed(value)
            for key, value in self.state.items()
        }
        state_dict: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            replaced = hook(self, state_dict)
            if replaced is not None:
                state_dict = replaced
        return state_dict

    def _packed(self, state: Any) -> Any:
        if not any(name in state for name in self._float_state):
            return state
        return {
            name: flambeau.tensor(value, dtype=flambeau.float32, device="cpu") if name in self._float_state else value
            for name, value in state.items()
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` returned, of this class or of PyTorch's.

        Tensors move to the parameter's device, and floating-point ones to its dtype.

        Raises:
            ValueError: when the groups do not have as many parameters.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            replaced = hook(self, state_dict)
            if replaced is not None:
                state_dict = replaced
        saved_groups = deepcopy(state_dict["param_groups"])
        if len(saved_groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        params: dict[Any, Tensor] = {}
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            if len(group["params"]) != len(saved["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
                )
            params.update(zip(saved["params"], group["params"], strict=True))
            saved["params"] = group["params"]
            if "param_names" in group:
                saved.setdefault("param_names", group["param_names"])
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in params:
                state[params[key]] = self._fitted(params[key], value)
            else:
                state[key] = value
        self.__setstate__({"state": state, "param_groups": saved_groups})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def _fitted(self, param: Tensor, value: Any, name: Any = None) -> Any:
        """A loaded value with the device and dtype of its parameter."""
        if name in self._float_state:
            return float(value)
        if isinstance(value, Tensor):
            if name == "step":
                return value
            return value.to(device=param.device, dtype=param.dtype if param.is_floating_point() else value.dtype)
        if isinstance(value, dict):
            return {key: self._fitted(param, item, key) for key, item in value.items()}
        if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
            return type(value)([self._fitted(param, item) for item in value])  # type: ignore[call-arg]
        return value

    # -- hooks ---------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before a step; it may return ``(new_args, new_kwargs)``."""
        return RemovableHandle(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after a step."""
        return RemovableHandle(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` before the state dict is made."""
        return RemovableHandle(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` afterwards; what it returns, if anything, replaces the state dict."""
        return RemovableHandle(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; what it returns, if anything, is loaded instead."""
        return RemovableHandle(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` after loading."""
        return RemovableHandle(self._optimizer_load_state_dict_post_hooks, hook, prepend)


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """``step`` between the hooks."""

    @functools.wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._opt_called = True
        before, after = self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks
        if not (before or after or _global_pre_hooks or _global_post_hooks):
            return step(self, *args, **kwargs)
        all_args: tuple[Any, ...] = (self, *args)
        for hook in (*_global_pre_hooks.values(), *before.values()):
            replaced = hook(self, all_args, kwargs)
            if replaced is not None:
                if not (isinstance(replaced, tuple) and len(replaced) == 2):
                    raise RuntimeError(
                        f"{step} must return None or a tuple of (new_args, new_kwargs), but got {replaced}."
                    )
                all_args, kwargs = replaced
        result = step(*all_args, **kwargs)
        for hook in (*after.values(), *_global_post_hooks.values()):
            hook(self, all_args, kwargs)
        return result

    return hooked


def evaluate(closure: Callable[[], Any] | None) -> Any:
    """Call the closure of a step, if there is one, with gradients."""
    if closure is None:
        return None
    with flambeau.enable_grad():
        return closure()


def scalar(value: Any) -> float:
    """An option as a Python number; tensors have one element."""
    return value.item() if isinstance(value, Tensor) else value


def refuse_differentiable(name: str, differentiable: bool) -> None:
    """Say that a step cannot be differentiated through, where that is asked for."""
    if differentiable:
        raise NotImplementedError(f"{name}: differentiable=True is not supported; steps are not recorded on the tape")
