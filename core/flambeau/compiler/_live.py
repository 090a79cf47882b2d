"""Numbers that change from call to call: an optimizer's options and what it counts.

While an optimizer's step is recorded, the numbers in its groups and its state are :class:`Live`. Arithmetic on them is
taken down and done anew in every replay, on the values that are there then; a comparison becomes a guard. They are no
floats, so that a C function that wants one has to ask, and then the value itself is guarded.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any


class Expression:
    """How a number is computed in a replay: an item of a dictionary, or an operation on expressions and numbers.

    Attributes:
        operation: the function, None for an item.
        operands: expressions and numbers; for an item the dictionary and the key.
    """

    __slots__ = ("operands", "operation")

    def __init__(self, operation: Callable[..., Any] | None, operands: tuple[Any, ...]) -> None:
        self.operation = operation
        self.operands = operands


#: How operations are written; the others are called by name.
SYMBOLS = {
    operator.add: "+", operator.sub: "-", operator.mul: "*", operator.truediv: "/", operator.floordiv: "//",
    operator.mod: "%", operator.pow: "**", operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=",
    operator.eq: "==", operator.ne: "!=",
}  # fmt: skip


class Live:
    """A number with the expression that it comes from.

    Attributes:
        value: the number in this call.
        expression: how a replay gets it.
        guard: called as ``guard(expression, outcome)`` where the program's course depends on the number.
    """

    __slots__ = ("expression", "guard", "value")

    def __init__(self, value: Any, expression: Expression, guard: Callable[[Expression, Any], None]) -> None:
        self.value = value
        self.expression = expression
        self.guard = guard

    def _asked(self) -> Any:
        """The value, where nothing can be taken down: it has to be the same in a replay."""
        self.guard(self.expression, self.value)
        return self.value

    def __bool__(self) -> bool:
        outcome = bool(self.value)
        self.guard(Expression(operator.truth, (self.expression,)), outcome)
        return outcome

    def __float__(self) -> float:
        return float(self._asked())

    def __int__(self) -> int:
        return int(self._asked())

    def __index__(self) -> int:
        return operator.index(self._asked())

    def __hash__(self) -> int:
        return hash(self._asked())

    def __format__(self, spec: str) -> str:
        return format(self._asked(), spec)

    def __repr__(self) -> str:
        return repr(self._asked())


def plain(value: Any) -> Any:
    """A number without its expression."""
    return value.value if value.__class__ is Live else value


def _traced(value: Any) -> Any:
    return value.expression if value.__class__ is Live else value


def _arithmetic(operation: Callable[..., Any], swapped: bool) -> Callable[..., Any]:
    def compute(self: Live, other: Any) -> Any:
        if other.__class__ is not Live and not isinstance(other, (int, float)):
            return NotImplemented
        left, right = (other, self) if swapped else (self, other)
        value = operation(plain(left), plain(right))
        return Live(value, Expression(operation, (_traced(left), _traced(right))), self.guard)

    return compute


def _comparison(operation: Callable[..., Any]) -> Callable[..., Any]:
    def compare(self: Live, other: Any) -> Any:
        if other.__class__ is not Live and not isinstance(other, (int, float)):
            return NotImplemented
        outcome = operation(self.value, plain(other))
        self.guard(Expression(operation, (self.expression, _traced(other))), outcome)
        return outcome

    return compare


def _unary(operation: Callable[..., Any]) -> Callable[..., Any]:
    def compute(self: Live) -> Live:
        return Live(operation(self.value), Expression(operation, (self.expression,)), self.guard)

    return compute


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    _operation = getattr(operator, _name)
    setattr(Live, f"__{_name}__", _arithmetic(_operation, False))
    setattr(Live, f"__r{_name}__", _arithmetic(_operation, True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Live, f"__{_name}__", _comparison(getattr(operator, _name)))
for _name in ("neg", "pos", "abs"):
    setattr(Live, f"__{_name}__", _unary(getattr(operator, _name)))
