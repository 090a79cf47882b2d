"""Elementwise calls that read each other's results become one call, where the backend has a kernel for that.

A chain runs where its last call ran, so it ends before a call that needs one of its results, or that writes to what it
reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from flambeau.compiler._graph import Call, Value
from flambeau.compiler._live import Expression
from flambeau.compiler._recorder import Word
from flambeau.dispatch import Chain, Link, Step, own_kernel
from flambeau.ops.declare import OPS


class _Group:
    """Calls that are to become one."""

    def __init__(self, call: Call) -> None:
        self.calls = [call]
        self.results = set(call.results)

    def add(self, call: Call) -> None:
        self.calls.append(call)
        self.results.update(call.results)

    def reads(self) -> set[Value]:
        return {value for call in self.calls for value in call.reads()} - self.results


def fuse(
    calls: list[Call], wanted: set[Value], memory: Callable[[Value], int], is_written: Callable[[Value], bool]
) -> list[Call]:
    """The calls with chains in the place of elementwise ones.

    Args:
        wanted: the values that are needed outside of these calls.
        memory: a number for what holds a value.
        is_written: whether anybody writes to the memory of a value.
    """
    return _Fusion(calls, wanted, memory, is_written).run()


class _Fusion:
    def __init__(
        self,
        calls: list[Call],
        wanted: set[Value],
        memory: Callable[[Value], int],
        is_written: Callable[[Value], bool],
    ) -> None:
        self.calls = calls
        self.wanted = wanted
        self.memory = memory
        self.is_written = is_written
        self.readers = Counter([value for call in calls for value in set(call.reads())])
        self.open: list[_Group] = []
        self.done: list[Call] = []

    def run(self) -> list[Call]:
        for call in self.calls:
            if self._is_elementwise(call):
                self._join(call)
            else:
                needed = set(call.reads())
                written = {self.memory(value) for value in call.writes}
                for group in list(self.open):
                    if group.results & needed or written & {self.memory(value) for value in group.reads()}:
                        self._close(group)
                self.done.append(call)
        for group in list(self.open):
            self._close(group)
        return self.done

    def _is_elementwise(self, call: Call) -> bool:
        op = OPS.get(call.name)
        if op is None or not op.pointwise or not call.pure or call.several or call.keywords or not call.results:
            return False
        (result,) = call.results
        if (
            result is None
            or not result.owns
            or self.is_written(result)
            or call.kernel is not own_kernel(call.backend, call.name)
        ):
            return False
        return all(_is_operand(argument) for argument in call.args)

    def _join(self, call: Call) -> None:
        needed = set(call.reads())
        (result,) = call.results
        assert result is not None
        feeding = [group for group in self.open if group.results & needed]
        fitting = [g for g in feeding if g.calls[0].results[0].shape == result.shape]  # type: ignore[union-attr]
        fitting = [group for group in fitting if group.calls[0].backend is call.backend][-1:]
        for group in feeding:
            if group not in fitting:
                self._close(group)
        if fitting and fitting[0] in self.open:
            fitting[0].add(call)
        else:
            self.open.append(_Group(call))

    def _close(self, group: _Group) -> None:
        if group not in self.open:
            return
        self.open.remove(group)
        for other in list(self.open):
            if other.results & group.reads():
                self._close(other)
        self.done += _as_chain(group, self._needed_outside(group)) if len(group.calls) > 1 else group.calls

    def _needed_outside(self, group: _Group) -> list[int]:
        inside = Counter([value for call in group.calls for value in set(call.reads())])
        needed = []
        for number, call in enumerate(group.calls):
            (result,) = call.results
            assert result is not None
            if result in self.wanted or self.readers[result] > inside[result]:
                needed.append(number)
        return needed


def _is_operand(argument: Any) -> bool:
    if argument.__class__ is Value:
        return bool(argument.dense)
    return argument.__class__ not in (tuple, list, Expression, Word)


def _as_chain(group: _Group, outputs: list[int]) -> list[Call]:
    """One call in the place of a group's, or those as they are."""
    calls = group.calls
    inputs: dict[Value, int] = {}
    steps: dict[Value | None, int] = {}
    chain_steps = []
    for number, call in enumerate(calls):
        operands = []
        for argument in call.args:
            if argument.__class__ is not Value:
                operands.append(argument)
            elif argument in steps:
                operands.append(Link(False, steps[argument]))
            else:
                operands.append(Link(True, inputs.setdefault(argument, len(inputs))))
        (result,) = call.results
        assert result is not None
        steps[result] = number
        chain_steps.append(Step(call.name, call.kernel, tuple(operands), result.dtype))
    backend = calls[0].backend
    shape = calls[0].results[0].shape  # type: ignore[union-attr]
    described = tuple([(value.shape, value.dtype) for value in inputs])
    kernel = backend.compile(Chain(shape, described, tuple(chain_steps), tuple(outputs)))
    if kernel is None:
        return calls
    results = tuple([calls[number].results[0] for number in outputs])
    return [Call("<chain>", kernel, tuple(inputs), {}, results, len(results) > 1, (), True, backend)]
