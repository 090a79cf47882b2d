"""Improving on a list of kernel calls: what nobody needs, what is computed twice, what never changes, useless copies.

Calls keep their order, and a call that writes is a wall to those that read the same memory. Arrays from outside of a
recording may overlap in any way, so that they count as one memory here.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from flambeau.compiler._fusion import fuse
from flambeau.compiler._graph import Call, Value, replaced
from flambeau.compiler._live import Expression
from flambeau.compiler._recorder import Word
from flambeau.dispatch import memory_of

#: The largest array, in bytes, that is computed once and kept.
LARGEST_CONSTANT = 1 << 20

_OUTSIDE = 0  # the memory of all arrays from outside; roots count from 1


def improve(forward: list[Call], behind: list[Call], wanted: list[Value]) -> tuple[list[Call], list[Call]]:
    """The calls of both passes, improved upon.

    Args:
        forward, behind: the calls, and those of a backward pass that may come later.
        wanted: the values that are needed in the end.
    """
    calls = _Calls([*forward, *behind], wanted)
    calls.fold()
    calls.share()
    calls.drop_copies()
    calls.drop_unneeded()
    behind_still = set(map(id, behind))
    first = next((i for i, call in enumerate(calls.calls) if id(call) in behind_still), len(calls.calls))
    forward, behind = calls.calls[:first], calls.calls[first:]
    later = {value for call in behind for value in call.reads()}
    return (
        fuse(forward, {*wanted, *later}, calls.memory, calls.is_written),
        fuse(behind, set(wanted), calls.memory, calls.is_written),
    )


def looks_first(calls: list[Call]) -> list[Call] | None:
    """The calls with those in front that decide whether a replay fits, and what these need.

    A replay that does not fit has to end before it has done anything. None where that cannot be: what is looked at is
    computed from something that is written to before, or with random numbers. An argument that is looked at must not
    lie, in a replay, in memory that calls before it write to: the look is told whose that is.
    """
    made = {value: call for call in calls for value in call.results}
    owners = {
        value.root: memory_of(value.source[1])
        for call in calls for value in call.reads() if value.source is not None and value.source[0] == "array"
    }  # fmt: skip
    outside = {value.root for call in calls for value in call.reads() if value.source is not None}
    first: dict[int, Call] = {}
    written: set[int] = set()
    for call in calls:
        if call.name == "<look>" and call.args[2] is not None:
            needed = [call]
            for own in needed:
                needed += [made[value] for value in own.reads() if value in made]
            for own in needed:
                changing = own is not call and (not own.pure or _has_changing(own.args))
                if changing or any(value.root in written for value in own.reads()):
                    return None
            before = written & outside
            if not before <= owners.keys():
                return None
            call.args = (*call.args[:3], frozenset([id(owners[root]) for root in before]))
            first.update({id(own): own for own in reversed(needed)})
        written.update([value.root for value in call.writes])
    return [call for call in calls if id(call) in first] + [call for call in calls if id(call) not in first]


class _Calls:
    def __init__(self, calls: list[Call], wanted: list[Value]) -> None:
        self.calls = calls
        self.wanted = wanted
        outside = set()
        for value in self._values():
            if value.source is not None and value.source[0] not in ("constant", "cotangent"):
                outside.add(value.root)
        self._outside = outside
        self._written = {self.memory(value) for call in calls for value in call.writes}
        self._leaving = {self.memory(value) for value in wanted}

    def _values(self) -> list[Value]:
        found = [value for call in self.calls for value in (*call.reads(), *call.results) if value is not None]
        return [*found, *self.wanted]

    def memory(self, value: Value) -> int:
        """A number for what holds a value."""
        return _OUTSIDE if value.root in self._outside else value.root

    def is_written(self, value: Value) -> bool:
        """Whether a call writes to the memory of a value."""
        return self.memory(value) in self._written

    def _is_fixed(self, value: Value) -> bool:
        """Whether nobody, inside or later outside, writes to the memory of a value."""
        memory = self.memory(value)
        return memory != _OUTSIDE and memory not in self._written and memory not in self._leaving

    # -- what never changes ----------------------------------------------------------------------------------------

    def fold(self) -> None:
        """Compute what depends on nothing but constants."""
        kept = []
        for call in self.calls:
            if call.pure and call.results and self._is_constant(call):
                arguments = _with_arrays(call.args)
                result = call.kernel(*arguments, **{key: _with_arrays(v) for key, v in call.keywords.items()})
                arrays = result if call.several else (result,)
                for value, array in zip(call.results, arrays, strict=True):
                    if value is not None:
                        value.source = "constant", value.backend.as_array(array)
            else:
                kept.append(call)
        self.calls = kept

    def _is_constant(self, call: Call) -> bool:
        for value in call.reads():
            if value.source is None or value.source[0] != "constant" or not self._is_fixed(value):
                return False
        if _has_changing((call.args, tuple(call.keywords.values()))):
            return False
        return all(v is None or (self._is_fixed(v) and v.nbytes <= LARGEST_CONSTANT) for v in call.results)

    # -- what is computed twice ------------------------------------------------------------------------------------

    def share(self) -> None:
        """Compute the same thing once."""
        known: dict[Any, Call] = {}
        epochs: Counter[int] = Counter()
        by: dict[Value, Value] = {}
        kept = []
        for call in self.calls:
            if by:
                call.args = replaced(call.args, by)
                call.writes = replaced(call.writes, by)
            if call.pure and call.results and not call.keywords:
                memories = {self.memory(value) for value in call.reads()}
                key = call.kernel, _key(call.args), tuple(sorted((m, epochs[m]) for m in memories))
                first = known.setdefault(key, call)
                if first is not call and all(
                    (one is None) == (other is None)
                    and (one is None or other is None or self._can_stand_for(one, other))
                    for one, other in zip(first.results, call.results, strict=True)
                ):
                    by.update({o: f for f, o in zip(first.results, call.results, strict=True) if o is not None and f})
                    continue
            for value in call.writes:
                epochs[self.memory(value)] += 1
            kept.append(call)
        self.calls = kept

    def _can_stand_for(self, one: Value, other: Value) -> bool:
        return one.shape == other.shape and self._is_fixed(one) and self._is_fixed(other)

    # -- useless copies --------------------------------------------------------------------------------------------

    def drop_copies(self) -> None:
        """Give the array itself where it is copied and nobody looks at it again."""
        made = {value: call for call in self.calls for value in call.results if value is not None}
        sharing = Counter(self.memory(value) for value in set(self._values()))
        last: dict[Value, int] = {}
        for i, call in enumerate(self.calls):
            for value in call.reads():
                last[value] = i
        by: dict[Value, Value] = {}
        for i, call in enumerate(self.calls):
            if call.name != "clone" or len(call.args) > 1 or call.args[0].__class__ is not Value:
                continue
            (value,), (copy,) = call.args, call.results
            alone = value in made and value.owns and sharing[self.memory(value)] == 1 and value not in self.wanted
            if copy is not None and alone and last[value] == i:
                by[value] = copy
                call.results = ()
        if by:
            self.calls = [call for call in self.calls if call.name != "clone" or call.results]
            for call in self.calls:
                call.args = replaced(call.args, by)
                call.writes = replaced(call.writes, by)
                call.results = replaced(call.results, by)

    # -- what nobody needs -----------------------------------------------------------------------------------------

    def drop_unneeded(self) -> None:
        """Leave out pure calls whose results are not read, and writes into memory that is not."""
        needed = set(self.wanted)
        memories = {self.memory(value) for value in needed}
        kept = []
        for call in reversed(self.calls):
            useful = any(value in needed for value in call.results)
            if not useful and not call.pure:
                inside = [self.memory(value) for value in call.writes]
                useful = not inside or any(memory == _OUTSIDE or memory in memories for memory in inside)
            if useful:
                kept.append(call)
                for value in call.reads():
                    needed.add(value)
                    memories.add(self.memory(value))
        self.calls = kept[::-1]


def _with_arrays(tree: Any) -> Any:
    if tree.__class__ is Value:
        return tree.source[1]  # type: ignore[index]
    if tree.__class__ is tuple or tree.__class__ is list:
        return tree.__class__([_with_arrays(item) for item in tree])
    return tree


def _has_changing(tree: Any) -> bool:
    if tree.__class__ is tuple or tree.__class__ is list:
        return any(map(_has_changing, tree))
    return tree.__class__ is Word or tree.__class__ is Expression


def _key(tree: Any) -> Any:
    """Arguments as something that compares equal where they are the same."""
    if tree.__class__ is tuple or tree.__class__ is list:
        return tree.__class__.__name__, tuple(map(_key, tree))
    if tree.__class__ in (int, float, bool, str):
        return tree.__class__.__name__, repr(tree)
    if tree.__class__ is Word:
        return "word", id(tree.draw), tree.place
    return id(tree)
