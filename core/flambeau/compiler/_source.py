"""Python source for a replay: constants by name, conditions, kernel calls."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from flambeau.compiler._graph import Call, Value
from flambeau.compiler._live import SYMBOLS, Expression
from flambeau.compiler._recorder import Word
from flambeau.compiler._witness import COMPARED, MISSING, Entry, contents, same
from flambeau.dispatch import memory_of

#: Arrays of so many bytes are let go of as soon as nothing needs them; smaller ones when the function ends.
LARGE = 1 << 16


class Source:
    """Lines of a function, and the objects that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.objects: dict[str, Any] = {}
        self._names: dict[int, str] = {}
        self._computed: dict[int, str] = {}
        self._conditions: list[str] = []

    # -- constants -------------------------------------------------------------------------------------------------

    def constant(self, value: Any) -> str:
        """The name of an object, or how a number is spelled."""
        if value is None or value is True or value is False or type(value) in (int, str):
            return repr(value)
        if type(value) is float and math.isfinite(value):
            return repr(value)
        return self.named(value)

    def named(self, value: Any) -> str:
        """The name of an object, a number too."""
        if value is None or value is True or value is False:
            return repr(value)
        name = self._names.get(id(value))
        if name is None:
            name = self._names[id(value)] = f"K{len(self._names)}"
            self.objects[name] = value
        return name

    def argument(self, value: Any) -> str:
        """An argument of a kernel."""
        if value.__class__ is Value:
            return self.value(value)
        if value.__class__ is Expression:
            return self.expression(value)
        if value.__class__ is Word:
            return f"{'so'[value.place]}{id(value.draw)}"
        if value.__class__ is list:
            return f"[{', '.join(map(self.argument, value))}]"
        if value.__class__ is tuple:
            return f"({''.join(f'{self.argument(item)}, ' for item in value)})"
        return self.constant(value)

    def value(self, value: Value) -> str:
        """The variable of an array, or its constant."""
        if is_constant(value):
            return self.constant(value.source[1])  # type: ignore[index]
        return f"v{value.number}"

    def expression(self, expression: Expression, kept: bool = True) -> str:
        """A number that is computed anew; with ``kept`` in a variable, once."""
        name = self._computed.get(id(expression)) if kept else None
        if name is not None:
            return name
        operands = [
            self.expression(o, kept) if o.__class__ is Expression else self.constant(o) for o in expression.operands
        ]
        operation = expression.operation
        if operation is None:
            text = f"{operands[0]}[{operands[1]}]"
        elif operation in SYMBOLS:
            text = f"({operands[0]} {SYMBOLS[operation]} {operands[1]})"
        else:
            text = f"{self.constant(operation)}({', '.join(operands)})"
        if not kept:
            return text
        name = self._computed[id(expression)] = f"e{len(self._computed)}"
        self.add(f"{name} = {text}")
        return name

    # -- lines -----------------------------------------------------------------------------------------------------

    def add(self, line: str) -> None:
        """A line of the function."""
        self.settle()
        self.lines.append(line)

    def unless(self, condition: str) -> None:
        """Leave the function where ``condition`` holds; neighbours become one line."""
        self._conditions.append(condition)
        if len(self._conditions) == 16:
            self.settle()

    def settle(self) -> None:
        """Write the conditions that were gathered."""
        if self._conditions:
            conditions, self._conditions = self._conditions, []
            # What is gone, from a dictionary or a cell, is no longer what it was; `dict.get` would cost twice as much.
            self.lines += [
                "try:",
                f"    if {' or '.join(conditions)}: return MISS",
                "except (KeyError, ValueError): return MISS",
            ]

    def call(self, call: Call, last: list[Value]) -> None:
        """A kernel call, or what else happens; afterwards the values in ``last`` are not needed any more."""
        if call.name == "<draw>":
            draw = call.args[0]
            self.add(f"s{id(draw)}, o{id(draw)} = {self.constant(call.kernel)}({draw.blocks})")
        elif call.name == "<assign>":
            container, key, value = call.args
            text = self.expression(value) if value.__class__ is Expression else self.constant(value)
            self.add(f"{self.constant(container)}[{self.constant(key)}] = {text}")
        elif call.name == "<look>":
            self._look(call)
        else:
            arguments = [self.argument(argument) for argument in call.args]
            arguments += [f"{name}={self.argument(argument)}" for name, argument in call.keywords.items()]
            self.add(self._assigned(call, f"{self.constant(call.kernel)}({', '.join(arguments)})"))
        for value in last:
            if value.nbytes >= LARGE and not is_constant(value):
                self.add(f"v{value.number} = None")

    def _look(self, call: Call) -> None:
        value, args, outcome, *written = call.args
        read = self.constant(call.backend.to_numpy)
        text = f"{self.constant(call.kernel)}({read}({self.value(value)})"
        text += "".join([f", {self.constant(item)}" for item in args]) + ")"
        if outcome is None:
            self.add(text)
            return
        if any(written):
            self.unless(f"id({self.named(memory_of)}({self.value(value)})) in {self.named(written[0])}")
        self.unless(f"{text} is not {self.constant(outcome)}")

    def _assigned(self, call: Call, text: str) -> str:
        if not any(value is not None for value in call.results):
            return text
        names = ["_" if value is None else f"v{value.number}" for value in call.results]
        if call.several:
            text = f"{''.join(f'{name}, ' for name in names)}= {text}"
            for scalar in [v for v in call.results if v is not None and not v.shape]:
                text += f"; v{scalar.number} = {self.constant(scalar.backend.as_array)}(v{scalar.number})"
            return text
        (value,) = call.results
        assert value is not None
        if not value.shape:  # NumPy gives scalars
            text = f"{self.constant(value.backend.as_array)}({text})"
        return f"v{value.number} = {text}"

    # -- conditions ------------------------------------------------------------------------------------------------

    def differs(self, text: str, value: Any) -> str:
        """Whether what is written as ``text`` is not the value: another object, or for numbers another number."""
        name = self.named(value)
        if isinstance(value, COMPARED) and not isinstance(value, bool):
            return f"((x := {text}) is not {name} and (type(x) is not {self.named(type(value))} or x != {name}))"
        return f"{text} is not {name}"

    def entry(self, entry: Entry) -> None:
        """The condition that an entry is what it was."""
        container = self.constant(entry.container)
        if entry.kind == "item":
            if entry.value is MISSING:
                self.unless(f"{self.constant(entry.key)} in {container}")
            else:
                self.unless(self.differs(f"{container}[{self.constant(entry.key)}]", entry.value))
        elif entry.kind == "cell":
            found = f"{self.named(contents)}({container})" if entry.value is MISSING else f"{container}.cell_contents"
            self.unless(f"{found} is not MISSING" if entry.value is MISSING else self.differs(found, entry.value))
        elif entry.kind == "attribute":
            self.unless(self.differs(f"getattr({container}, {entry.key!r}, MISSING)", entry.value))
        elif entry.kind == "keys":
            self.unless(f"tuple({container}) != {self.named(entry.value)}")
        elif not entry.container:
            self.unless(container)
        elif entry.kind == "sequence":
            self.unless(f"len({container}) != {len(entry.value)}")
            self.unless(f"{self.named(_test(entry.value))}({container}, {self.named(entry.value)})")
        else:
            keys, values = entry.value
            self.unless(f"len({container}) != {len(keys)}")
            self.unless(f"{self.named(_test(keys))}({container}, {self.named(keys)})")
            self.unless(f"{self.named(_test(values))}({container}.values(), {self.named(values)})")

    def function(self, name: str, parameters: str) -> Callable[..., Any]:
        """The function of the lines so far."""
        self.settle()
        body = "\n    ".join(self.lines or ["pass"])
        self.lines = []
        text = f"def {name}({parameters}):\n    {body}\n"
        scope = {**self.objects, "MISS": MISS, "MISSING": MISSING}
        exec(compile(text, f"<flambeau.compile {name}>", "exec"), scope)
        made: Callable[..., Any] = scope[name]
        made.source = text  # type: ignore[attr-defined]
        return made


def is_constant(value: Value) -> bool:
    """Whether a value is one array in every replay."""
    return value.source is not None and value.source[0] in ("array", "constant")


#: What a replay returns whose guards do not hold.
MISS: Any = type("Miss", (), {"__repr__": lambda self: "<miss>"})()


def _test(values: tuple[Any, ...]) -> Callable[[Any, tuple[Any, ...]], bool]:
    """What tells whether items are others than these: by identity where that will do."""
    return _differ if any(isinstance(v, COMPARED) and not isinstance(v, bool) for v in values) else _are_others


def _are_others(items: Any, values: tuple[Any, ...]) -> bool:
    return not all(map(operator.is_, items, values))


def _differ(items: Any, values: tuple[Any, ...]) -> bool:
    return not all(map(same, items, values))
