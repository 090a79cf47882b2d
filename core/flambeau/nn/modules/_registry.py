"""Where a module keeps its parameters, buffers and children."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The attributes of a module that are registries.
PLACES = ("_parameters", "_buffers", "_modules")


class Registry(dict[str, Any]):
    """Parameters, buffers or children of a module by name; each is an ordinary attribute of the module as well.

    Found by ``__getattr__`` alone, as in PyTorch, a parameter takes 0.5 µs to read, an ordinary attribute 0.03 µs; the
    forward pass of a small network reads ten of them. So every change of the dictionary is made to the module's
    ``__dict__`` too. Copies and pickles are plain dictionaries.
    """

    # Weak, so that a module that is dropped takes its memory with it, without waiting for the garbage collector.
    __slots__ = ("_module",)

    def __init__(self, module: Any, entries: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._module = weakref.ref(module)
        if entries:
            self.update(entries)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        module = self._module()
        if module is not None:
            module.__dict__[name] = value

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        module = self._module()
        if module is not None:
            module.__dict__.pop(name, None)

    def pop(self, name: str, *default: Any) -> Any:
        if name not in self:
            return super().pop(name, *default)
        value = self[name]
        del self[name]
        return value

    def popitem(self) -> tuple[str, Any]:
        name = next(reversed(self), None)
        if name is None:
            raise KeyError("popitem(): dictionary is empty")
        return name, self.pop(name)

    def clear(self) -> None:
        for name in list(self):
            del self[name]

    def setdefault(self, name: str, default: Any = None) -> Any:
        if name not in self:
            self[name] = default
        return self[name]

    def update(self, entries: Any = (), /, **more: Any) -> None:
        for name, value in dict(entries, **more).items():
            self[name] = value

    def __ior__(self, entries: Any) -> Registry:  # type: ignore[override, misc]
        self.update(entries)
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return dict, (dict(self),)


def plain_state(module: Any) -> dict[str, Any]:
    """A module's ``__dict__`` with plain dictionaries in the place of its registries, and each entry only there."""
    state = dict(module.__dict__)
    if getattr(state.get("forward"), "is_compiled", False):
        del state["forward"]
    for place in PLACES:
        entries = state.get(place)
        if isinstance(entries, Registry):
            state[place] = dict(entries)
            for name in entries:
                state.pop(name, None)
    return state


def restore(module: Any, state: Mapping[str, Any]) -> None:
    """Put what :func:`plain_state` gave into a module's ``__dict__``."""
    module.__dict__.update(state)
    for place in PLACES:
        if place in state:
            module.__dict__[place] = Registry(module, dict(state[place]))
