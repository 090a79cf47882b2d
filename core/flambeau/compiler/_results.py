"""What a recorded call left behind: what it returned, and what it did to tensors from outside."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from flambeau.autograd.node import Leaf
from flambeau.compiler._graph import Value
from flambeau.compiler._joint import is_released, owner, released_node
from flambeau.compiler._recorder import Held, Recorder, version_of
from flambeau.compiler._witness import COMPARED
from flambeau.devices import device
from flambeau.dtypes import dtype
from flambeau.forms import Size
from flambeau.tensor import Tensor, View

_CONSTANTS = (bool, type(None), *COMPARED, dtype, device)


class Results:
    """Looked at while the recorder still knows its arrays.

    Attributes:
        tensors: the new tensors among what was returned, with their values.
        roots: those with a history that a backward pass can still go through.
        gradients: ``(tensor from outside, new gradient or None, its value)``.
        written_to, gradients_written_to: ``(tensor from outside, how often)``, of the tensor and of its gradient.
        cotangents: the values of the cotangents of ``roots``.
    """

    def __init__(self, recorder: Recorder, returned: Any, known: dict[int, Any]) -> None:
        self.recorder = recorder
        self.returned = returned
        self.known = known
        self.held = dict(recorder.held)
        self.tensors: dict[int, tuple[Tensor, Value]] = {}
        self.cotangents: list[Value] = []
        self.gradients: list[tuple[Held, Tensor | None, Value | None]] = []
        self.written_to: list[tuple[Held, int]] = []
        self.gradients_written_to: list[tuple[Held, int]] = []
        self._cells: set[int] = set()
        self._look_at_held()
        self._look_at(returned)
        self.outside = {one.node for one in self.held.values() if one.node is not None}
        with_history = [t for t, _ in self.tensors.values() if t._node is not None and type(t._node) is not Leaf]
        self.released = {id(t) for t in with_history if is_released(t, self.outside)}
        self.roots = [t for t in with_history if id(t) not in self.released]

    def _look_at_held(self) -> None:
        stop = self.recorder.stop_for
        for one in self.held.values():
            tensor = one.tensor
            if tensor._array is not one.array:
                stop("the memory of a tensor from outside is exchanged (.data, resize_)")
            if tensor._node is not one.node:
                stop("a tensor from outside gets another history (an operation in place, requires_grad_)")
            self._count(self.written_to, one, tensor, one.version)
            grad = tensor._grad
            if grad is not one.grad:
                if grad is not None and grad._node is not None:
                    stop("a gradient is left behind that can be differentiated (create_graph)")
                self.gradients.append((one, grad, None if grad is None else self.recorder.value_of(grad._array)))
            elif grad is not None:
                self._count(self.gradients_written_to, one, grad, one.grad_version)

    def _count(self, into: list[tuple[Held, int]], one: Held, tensor: Tensor, before: int) -> None:
        steps = version_of(tensor) - before
        if steps and id(tensor._version) not in self._cells:  # aliases share a counter
            self._cells.add(id(tensor._version))
            into.append((one, steps))

    def _look_at(self, value: Any) -> None:
        if isinstance(value, Tensor):
            if id(value) not in self.held and id(value) not in self.tensors:
                if type(value) is not Tensor:
                    self.recorder.stop_for(f"a {type(value).__name__} is made and returned")
                array = self.recorder.value_of(value._array)
                if array is not None:
                    self.tensors[id(value)] = value, array
        elif type(value) is list or (isinstance(value, tuple) and not isinstance(value, Size)):
            for item in value:
                self._look_at(item)
        elif type(value) in (dict, OrderedDict):
            for item in value.values():
                self._look_at(item)
        elif not isinstance(value, _CONSTANTS) and id(value) not in self.known:
            self.recorder.stop_for(f"a {type(value).__name__} is returned")

    def values(self) -> list[Value]:
        """What has to be there at the end."""
        found = [value for _, value in self.tensors.values()]
        return found + [value for _, _, value in self.gradients if value is not None]

    # -- as source ---------------------------------------------------------------------------------------------------

    def written(self, writer: Any, node: str | None) -> str:
        """Write what makes the tensors; the expression of what is returned."""
        source = writer.source
        places = {id(root): i for i, root in enumerate(self.roots)}
        for one in self.held.values():
            writer.tensors.setdefault(id(one.tensor), writer.variable(one))
            if one.grad is not None and one.tensor._grad is one.grad:
                writer.tensors.setdefault(id(one.grad), f"{writer.variable(one)}._grad")
        for tensor, value in self.tensors.values():
            if id(tensor) in writer.tensors:
                continue
            name = writer.tensors[id(tensor)] = f"r{len(writer.tensors)}"
            source.add(f"{name} = {writer.wrapped(value, tensor)}")
            self._share(writer, name, tensor)
            if id(tensor) in self.released:
                made = source.named(released_node)
                source.add(f"{name}._node = {made}({source.named(owner(tensor._node).plan)}, {name}._device)")
            elif id(tensor) in places:
                source.add(f"{name}._node = Slot({node}, {places[id(tensor)]})")
            elif type(tensor._node) is Leaf:
                source.add(f"{name}.requires_grad_()")
        return self._tree(writer, self.returned)

    def _share(self, writer: Any, name: str, tensor: Tensor) -> None:
        """Let a view count with the tensor that it looks into, where somebody has that."""
        for other in [*[one.tensor for one in self.held.values()], *[t for t, _ in self.tensors.values()]]:
            found = writer.tensors.get(id(other))
            if other is tensor or found is None or found == name:
                continue
            if tensor._version is not None and other._version is tensor._version:
                writer.source.add(f"{name}._version = version_cell({found})")
                view = tensor._view
                if view is not None and view.base is other and tensor._node is None:
                    made = writer.source.named(View)
                    steps = writer.source.named(view.steps)
                    writer.source.add(f"{name}._view = {made}({found}, {steps}, {name}._version[0])")
                return

    def _tree(self, writer: Any, value: Any) -> str:
        if isinstance(value, Tensor):
            found: str = writer.tensors[id(value)]
            return found
        if type(value) is list:
            return f"[{', '.join([self._tree(writer, item) for item in value])}]"
        if isinstance(value, tuple) and not isinstance(value, Size):
            items = "".join([f"{self._tree(writer, item)}, " for item in value])
            return f"({items})" if type(value) is tuple else f"{writer.source.named(type(value))}({items})"
        if type(value) in (dict, OrderedDict):
            items = ", ".join([f"{writer.source.constant(k)}: {self._tree(writer, v)}" for k, v in value.items()])
            return f"{{{items}}}" if type(value) is dict else f"{writer.source.named(OrderedDict)}({{{items}}})"
        constant: str = writer.source.constant(value)
        return constant
