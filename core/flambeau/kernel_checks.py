"""``FLAMBEAU_CHECK_KERNELS=1``: each kernel's result is compared with the op's shape rule.

For plugin authors. A kernel that gives a wrong shape or dtype shows far from where it was called; with this set, the
first such result raises an error that names the op, the plugin, what was expected and what came. The rule is what the
meta device runs: a primitive's shape rule, a composite's decomposition over shapes. Where the variable is not set the
tables hold the kernels themselves, so that the check costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flambeau.dispatch import Backend, DeviceType
from flambeau.meta import MetaBackend
from flambeau.ops.declare import OPS, Op
from flambeau.ops.spec import Spec

Kernel = Callable[..., Any]


def wrapped(chosen: Mapping[str, tuple[str, Kernel]], backend: Backend) -> dict[str, tuple[str, Kernel]]:
    """Kernels by op name, with their plugins, each made to check what it returns."""
    if isinstance(backend, MetaBackend):
        return dict(chosen)
    rules = DeviceType(_Rules(), "core")
    rules.freeze()
    return {
        name: (plugin, _checked(OPS[name], plugin, kernel, backend, rules.table) if name in OPS else kernel)
        for name, (plugin, kernel) in chosen.items()
    }


class _Rules(MetaBackend):
    """The meta device, on which it is an error to ask for a shape that values decide."""

    def kernels(self) -> Mapping[str, Kernel]:
        return {**super().kernels(), "nonzero": _values_decide}


def _values_decide(*args: Any) -> Any:
    raise NotImplementedError("the shape follows from the values")


def _checked(op: Op, plugin: str, kernel: Kernel, backend: Backend, rules: list[Kernel]) -> Kernel:
    rule = rules[op.index]

    def check(*args: Any, **kwargs: Any) -> Any:
        # Before the kernel runs, which may write into its arguments.
        specs = [_spec(value, backend) for value in args]
        named = {name: _spec(value, backend) for name, value in kwargs.items()}
        result = kernel(*args, **kwargs)
        try:
            expected = rule(*specs, **named)
        except Exception:  # values decide, or the kernel serves more than the rule does
            return result
        if expected is not None:  # a step that returns nothing
            _compare(op, plugin, backend, expected, result, specs)
        return result

    return check


def _spec(value: Any, backend: Backend) -> Any:
    """An argument with its arrays replaced by their shapes and dtypes."""
    if isinstance(value, (list, tuple)):
        return type(value)([_spec(item, backend) for item in value])
    kind: Any = backend.array_type
    if not isinstance(value, kind) and hasattr(value, "shape") and hasattr(value, "dtype"):
        value = backend.as_array(value)  # a scalar that another kernel returned
    if isinstance(value, kind):
        return Spec(value.shape, backend.dtype_of(value))
    return value


def _compare(op: Op, plugin: str, backend: Backend, expected: Any, result: Any, specs: list[Any]) -> None:
    expected, outputs = [tuple(r) if isinstance(r, (tuple, list)) else (r,) for r in (expected, result)]
    place = f"{op.name}: the kernel of the plugin {plugin!r} for {backend.name!r}"
    given = ", ".join(map(_described, specs))
    if len(outputs) != len(expected):
        raise RuntimeError(f"{place} gave {len(outputs)} results for ({given}), expected {len(expected)}")
    for number, (rule, own) in enumerate(zip(expected, outputs, strict=True)):
        if not isinstance(rule, Spec) or own is None:  # gradient ops give None for what nobody asked for
            continue
        try:
            array: Any = own if isinstance(own, backend.array_type) else backend.as_array(own)
            seen = _described(Spec(array.shape, backend.dtype_of(array)))
        except (AttributeError, TypeError, ValueError):
            seen = f"a {type(own).__name__}"
        if seen != _described(rule):
            which = f" as result {number}" if len(outputs) > 1 else ""
            raise RuntimeError(f"{place} gave {seen}{which} for ({given}), expected {_described(rule)}")


def _described(value: Any) -> str:
    if isinstance(value, Spec):
        return f"{value.dtype.name}{list(value.shape)}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_described, value))}]"
    return repr(value)
