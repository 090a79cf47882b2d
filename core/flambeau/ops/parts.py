"""Which ops an op is made of, read from the code of its decomposition. For reports; nothing that computes asks."""

from __future__ import annotations

import dis
from typing import Any

from flambeau.ops.declare import OPS, Op


def parts_of(op: Op) -> set[str]:
    """The names of the ops that the body of a composite calls, itself or through functions of its module."""
    return _attributes_in(op.body, set()) & set(OPS)


def primitives_of(op: Op) -> set[str]:
    """The primitives that a composite comes down to; of a primitive, itself."""
    found: set[str] = set()
    seen = {op.name}
    waiting = [op]
    while waiting:
        one = waiting.pop()
        if one.primitive:
            found.add(one.name)
            continue
        for name in parts_of(one) - seen:
            seen.add(name)
            waiting.append(OPS[name])
    return found


def _attributes_in(function: Any, seen: set[Any]) -> set[str]:
    """The attributes (of ``xp``: ops) that a function uses, itself or through other functions of its module."""
    seen.add(function)
    used = set()
    for instruction in dis.get_instructions(function):
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            used.add(instruction.argval)
        elif instruction.opname == "LOAD_GLOBAL":
            called = function.__globals__.get(instruction.argval)
            own = getattr(called, "__module__", None) == function.__module__ and hasattr(called, "__code__")
            if own and called not in seen:
                used |= _attributes_in(called, seen)
    return used
