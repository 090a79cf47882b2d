"""The arguments of a call as guards see them: a tree of containers with tensors and constants as leaves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau.compiler._witness import COMPARED
from flambeau.tensor import Tensor, refresh

_CONTAINERS = (list, tuple, dict, OrderedDict)


class Leaf:
    """A tensor, a number or an object among the arguments.

    Attributes:
        path: the expression that takes it out of ``args`` and ``kwargs``.
        value: what it was in the recorded call.
        name: of the variable that holds it, for a tensor; every name stands for one tensor object.
        first: for a tensor that was there before under another name, that name.
    """

    __slots__ = ("first", "name", "path", "value")

    def __init__(self, path: str, value: Any, name: str | None = None, first: str | None = None) -> None:
        self.path = path
        self.value = value
        self.name = name
        self.first = first


class Arguments:
    """What a call was given.

    Attributes:
        containers: ``(path, class, keys or length)`` of what is taken apart.
        tensors, others: the leaves.
    """

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], constant: Callable[[Any], str]) -> None:
        self.containers: list[tuple[str, type, Any]] = []
        self.tensors: list[Leaf] = []
        self.others: list[Leaf] = []
        self._constant = constant
        self._names: dict[int, str] = {}
        self._take("args", args)
        self._take("kwargs", kwargs)

    def _take(self, path: str, value: Any) -> None:
        if isinstance(value, Tensor):
            if value._view is not None:
                refresh(value)
            first = self._names.get(id(value))
            name = f"t{len(self._names)}" if first is None else None
            if name is not None:
                self._names[id(value)] = name
            self.tensors.append(Leaf(path, value, name, first))
        elif type(value) in (dict, OrderedDict):
            self.containers.append((path, type(value), tuple(value)))
            for key, item in value.items():
                self._take(f"{path}[{self._constant(key)}]", item)
        elif type(value) in (list, tuple) or (isinstance(value, tuple) and hasattr(value, "_fields")):
            self.containers.append((path, type(value), len(value)))
            for i, item in enumerate(value):
                self._take(f"{path}[{i}]", item)
        else:
            self.others.append(Leaf(path, value))

    def objects(self) -> list[Any]:
        """The leaves that are neither tensors nor numbers."""
        return [leaf.value for leaf in self.others if not isinstance(leaf.value, (bool, type(None), *COMPARED))]
