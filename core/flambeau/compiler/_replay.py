"""From a recording to the function that replays it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flambeau.autograd.node import Leaf, Slot, version_cell
from flambeau.compiler._arguments import Arguments
from flambeau.compiler._environment import Environment
from flambeau.compiler._graph import Call, Value
from flambeau.compiler._joint import Backward, has_hooks, node_maker
from flambeau.compiler._passes import improve
from flambeau.compiler._recorder import Held, Word
from flambeau.compiler._results import Results
from flambeau.compiler._source import Source, is_constant
from flambeau.compiler._witness import Entry
from flambeau.tensor import Tensor, refresh, wrap

Replay = Callable[[tuple[Any, ...], dict[str, Any]], Any]


class Recording:
    """All that is known of a call that was recorded.

    Attributes:
        source: where the names of constants come from.
        arguments, environment, entries, conditions, numbers: what guards compare.
        calls: the kernel calls, those of the backward pass of the results last.
        held: the tensors from outside.
        results: what the function returned, and what became of gradients.
        backward: the backward pass of the results, where they need one.
        has_backward: whether a backward pass is a part of the function.
    """

    def __init__(
        self,
        source: Source,
        arguments: Arguments,
        environment: Environment,
        entries: list[Entry],
        conditions: list[tuple[Any, Any]],
        numbers: list[tuple[dict[Any, Any], Any]],
        calls: list[Call],
        held: list[Held],
        results: Results,
        backward: Backward | None,
        has_backward: bool,
    ) -> None:
        self.source = source
        self.arguments = arguments
        self.environment = environment
        self.entries = entries
        self.conditions = conditions
        self.numbers = numbers
        self.calls = calls
        self.held = held
        self.results = results
        self.backward = backward
        self.has_backward = has_backward


def replay_of(recording: Recording, passes: bool) -> Replay:
    """The function of ``args`` and ``kwargs`` that replays a recording, or returns ``MISS`` where guards do not hold.

    Args:
        passes: whether to improve on the order and number of the calls.
    """
    return _Writer(recording, passes).write()


class _Writer:
    def __init__(self, recording: Recording, passes: bool) -> None:
        self.recording = recording
        self.source = recording.source
        self.tensors: dict[int, str] = {}  # variables by the identity of the recorded tensor
        backward = recording.backward
        split = len(recording.calls) if backward is None else backward.start
        forward, behind = recording.calls[:split], recording.calls[split:]
        wanted = [*recording.results.values(), *(g for g in (backward.gradients if backward else []) if g is not None)]
        if passes:
            forward, behind = improve(forward, behind, wanted)
        self.forward, self.behind = forward, behind

    def write(self) -> Replay:
        source, recording = self.source, self.recording
        for name, value in (("wrap", wrap), ("refresh", refresh), ("version_cell", version_cell)):
            source.objects[name] = value
        self._guards()
        saved = self._saved()
        self._calls(self.forward, {*recording.results.values(), *saved})
        self._effects()
        node = self._node(saved)
        source.add(f"return {recording.results.written(self, node)}")
        replay: Replay = source.function("replay", "args, kwargs")
        return replay

    # -- guards ----------------------------------------------------------------------------------------------------

    def _guards(self) -> None:
        source, recording = self.source, self.recording
        recording.environment.write(source)
        arguments = recording.arguments
        for path, kind, keys in arguments.containers:
            if path not in ("args", "kwargs"):
                source.unless(f"type({path}) is not {source.named(kind)}")
            if keys == () and path == "kwargs":
                source.unless("kwargs")
            elif isinstance(keys, tuple):
                source.unless(f"tuple({path}) != {source.argument(keys)}")
            else:
                source.unless(f"len({path}) != {keys}")
        for leaf in arguments.others:
            source.unless(source.differs(leaf.path, leaf.value))
        by_tensor = {id(one.tensor): one for one in recording.held}
        for leaf in arguments.tensors:
            if leaf.first is not None:
                source.unless(f"{leaf.path} is not {leaf.first}")
            else:
                assert leaf.name is not None
                self.tensors[id(leaf.value)] = leaf.name
                source.add(f"{leaf.name} = {leaf.path}")
                self._argument(leaf.name, by_tensor[id(leaf.value)])
        for entry in recording.entries:
            source.entry(entry)
        self._constants([one for one in recording.held if one.name is None])
        for container, key in recording.numbers:
            number = f"{source.named(container)}[{source.constant(key)}]"
            source.unless(f"type({number}) is not {source.named(type(container[key]))}")
        for expression, outcome in {(id(e), o): (e, o) for e, o in recording.conditions}.values():
            source.unless(source.differs(source.expression(expression, kept=False), outcome))

    def _argument(self, name: str, held: Held) -> None:
        source, tensor = self.source, held.tensor
        array: Any = held.array
        source.unless(f"type({name}) is not {source.named(type(tensor))}")
        source.unless(f"{name}._device is not {source.named(tensor._device)}")
        source.unless(f"{name}._dtype is not {source.named(tensor._dtype)}")
        source.add(f"if {name}._view is not None: refresh({name})")
        if held.node is None:
            source.unless(f"{name}._node is not None")
        else:
            is_leaf = type(held.node) is Leaf
            source.unless(f"{name}._node is None or (type({name}._node) is {source.named(Leaf)}) is not {is_leaf}")
            if is_leaf and self.recording.has_backward:
                source.unless(f"{source.named(has_hooks)}({name}._node)")
        own = held.value.source == ("argument", held.name)
        variable = source.value(held.value)
        if own:
            source.add(f"{variable} = {name}._array")
        else:  # it shares its array with another tensor
            source.unless(f"{name}._array is not {variable}")
        source.unless(f"{variable}.shape != {source.argument(tuple(array.shape))}")
        if hasattr(array, "strides"):
            source.unless(f"{variable}.strides != {source.argument(tuple(array.strides))}")
        if type(held.node) is Leaf:
            self._gradient(name, held)

    def _gradient(self, name: str, held: Held) -> None:
        source = self.source
        source.unless(f"{name}._grad is {'not ' if held.grad is None else ''}None")
        value = held.grad_value
        if value is not None and value.source is not None and value.source[0] == "grad":
            source.unless(f"{name}._grad._node is not None")
            source.add(f"{source.value(value)} = {name}._grad._array")
        elif value is not None:  # it shares its array with another tensor
            source.unless(f"{name}._grad._array is not {source.value(value)}")

    def _constants(self, held: list[Held]) -> None:
        """The tensors that are not among the arguments: the same objects with the same memory."""
        source = self.source
        if not held:
            return
        same = source.named(_same_memory)
        tensors = tuple([one.tensor for one in held])
        source.unless(f"not {same}({source.named(tensors)}, {source.named(tuple([one.array for one in held]))}, "
                      f"{source.named(tuple([one.node for one in held]))})")  # fmt: skip
        leaves = [one for one in held if type(one.node) is Leaf]
        if leaves and self.recording.has_backward:
            nodes = tuple([one.node for one in leaves])
            source.unless(f"{source.named(_have_hooks)}({source.named(nodes)})")
        without = tuple([one.tensor for one in leaves if one.grad is None])
        if without:
            source.unless(f"not {source.named(_no_gradients)}({source.named(without)})")
        for one in leaves:
            if one.grad is not None:
                self._gradient(source.named(one.tensor), one)

    # -- calls -----------------------------------------------------------------------------------------------------

    def _calls(self, calls: list[Call], kept: set[Value]) -> None:
        last: dict[Value, int] = {}
        for i, call in enumerate(calls):
            for value in (*call.reads(), *[v for v in call.results if v is not None]):
                last[value] = i
        done: dict[int, list[Value]] = {}
        for value, i in last.items():
            if value not in kept:
                done.setdefault(i, []).append(value)
        for i, call in enumerate(calls):
            self.source.call(call, done.get(i, []))

    def _saved(self) -> list[Value]:
        """What the backward pass reads of the forward pass."""
        backward = self.recording.backward
        if backward is None:
            return []
        made = {value for call in self.behind for value in call.results}
        read = [value for call in self.behind for value in call.reads()]
        read += [value for value in backward.gradients if value is not None]
        return [
            value for value in dict.fromkeys(read)
            if value not in made and not is_constant(value) and (value.source is None or value.source[0] != "cotangent")
        ]  # fmt: skip

    def _words(self) -> list[str]:
        """The variables of places in the random stream that the backward pass reads of the forward pass."""
        drawn = [call.args[0] for call in self.behind if call.name == "<draw>"]
        read = [word for call in self.behind for word in _words_in((*call.args, *call.keywords.values()))]
        return list(dict.fromkeys([self.source.argument(word) for word in read if word.draw not in drawn]))

    def _node(self, saved: list[Value]) -> str | None:
        """Write what makes the node of the results; the variable that holds it."""
        backward, source = self.recording.backward, self.source
        if backward is None:
            return None
        behind = Source()
        behind.objects = source.objects
        behind._names = source._names
        inner = _Writer.__new__(_Writer)
        inner.source = behind
        gradients = [value for value in backward.gradients if value is not None]
        inner._calls(self.behind, set(gradients))
        behind.add(f"return [{', '.join(map(behind.value, gradients))}]")
        cotangents = self.recording.results.cotangents
        handed = [*map(source.value, saved), *self._words()]
        parameters = [*[f"v{value.number}" for value in cotangents], *handed]
        formula = behind.function("backward", ", ".join(parameters))
        make = node_maker(
            formula,
            [(tuple(root._array.shape), root._dtype, root._device) for root in backward.roots],
            len(backward.targets),
        )
        parents = [source.named(one.node) if one.name is None else f"{one.name}._node" for one in backward.targets]
        read = {value for call in self.behind for value in call.reads()}
        checks = [f"(c := {self._cell(one)}), c[0]" for one in self.recording.held if one.value in read]
        source.add(
            f"node = {source.named(make)}(({', '.join(parents)},), ({''.join(f'{name}, ' for name in handed)}), "
            f"{'(' + ', '.join(checks) + ')' if checks else 'None'})"
        )
        source.objects["Slot"] = Slot
        return "node"

    # -- what is left behind -----------------------------------------------------------------------------------------

    def variable(self, held: Held) -> str:
        """How a tensor from outside is written."""
        return held.name or self.source.named(held.tensor)

    def _cell(self, held: Held) -> str:
        """The version counter of a tensor from outside; one that there is stays."""
        return f"version_cell({held.name})" if held.name else self.source.named(version_cell(held.tensor))

    def _effects(self) -> None:
        source, results = self.source, self.recording.results
        for held, steps in results.written_to:
            source.add(f"{self._cell(held)}[0] += {steps}")
        for held, steps in results.gradients_written_to:
            source.add(f"version_cell({self.variable(held)}._grad)[0] += {steps}")
        for held, grad, value in results.gradients:
            if grad is None or value is None:
                source.add(f"{self.variable(held)}._grad = None")
                continue
            name = self.tensors.get(id(grad))
            if name is None:
                name = self.tensors[id(grad)] = f"g{len(self.tensors)}"
                source.add(f"{name} = {self.wrapped(value, grad)}")
            source.add(f"{self.variable(held)}._grad = {name}")

    def wrapped(self, value: Value, tensor: Tensor) -> str:
        """A new tensor around an array."""
        source = self.source
        return f"wrap({source.value(value)}, {source.named(tensor._dtype)}, {source.named(tensor._device)})"


def _same_memory(tensors: tuple[Any, ...], arrays: tuple[Any, ...], nodes: tuple[Any, ...]) -> bool:
    for tensor, array, node in zip(tensors, arrays, nodes, strict=False):
        if tensor._array is not array or tensor._node is not node:
            return False
    return True


def _have_hooks(leaves: tuple[Any, ...]) -> bool:
    return any(leaf.extra is not None and has_hooks(leaf) for leaf in leaves)


def _no_gradients(tensors: tuple[Any, ...]) -> bool:
    return not any(tensor._grad is not None for tensor in tensors)


def _words_in(tree: Any) -> Iterator[Word]:
    for item in tree:
        if item.__class__ is Word:
            yield item
        elif item.__class__ is tuple or item.__class__ is list:
            yield from _words_in(item)
