"""What a function can see of Python's state while it is recorded: what guards have to compare.

A list of kernel calls says nothing of ``if self.training`` or ``x * self.scale``. So a profile function of the
interpreter looks at each frame that begins in the program's code (and in modules): what it can read are its globals,
the cells that it closes over, and, in objects that were there before, the attributes that its code names. Each becomes
an :class:`Entry` with the value found; a replay finds the same values or does not happen. An entry whose value is
another one after the recording was assigned to, which a replay would not do.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from flambeau.compiler import _steps
from flambeau.compiler._recorder import Recorder
from flambeau.devices import device
from flambeau.dispatch import loaded_backends
from flambeau.dtypes import dtype
from flambeau.forms import Size
from flambeau.random import Generator, _DefaultGenerator
from flambeau.tensor import Tensor

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "<missing>"})()

#: Values that are compared by equality; everything else by identity.
COMPARED = (int, float, complex, str, bytes, Size, range, slice)
_PLAIN = (bool, type(None), type(Ellipsis), *COMPARED, dtype, device, BuiltinFunctionType)
_LONGEST = 1000

# Parts of the core that read state of their own; everything else of it answers for its arguments alone.
_READING = ("flambeau.nn.modules", "flambeau.nn.utils", "flambeau.nn.parallel", "flambeau.nn.attention",
            "flambeau.distributions")  # fmt: skip

_IMPURE_MODULES = {"random", "time", "secrets", "uuid", "datetime", "numpy.random"}
# With these a function reads attributes whose names are not in its code.
_BY_NAME = {"getattr", "hasattr", "vars", "__dict__"}
_KEYS = object()
_IMPURE_CALLS = {print, input, open, next}


class Entry:
    """Something that the function can read.

    Attributes:
        container: a dictionary (globals, attributes), a cell, a list or tuple, or an object with slots.
        key: the key, ``"cell_contents"``, None for a sequence or dictionary as a whole, or the attribute.
        kind: ``"item"``, ``"cell"``, ``"attribute"``, ``"sequence"``, ``"mapping"`` or ``"keys"``, those of a
            dictionary.
        value: what was found; for a whole container its items, in a tuple.
    """

    __slots__ = ("container", "key", "kind", "value")

    def __init__(self, kind: str, container: Any, key: Any, value: Any) -> None:
        self.kind = kind
        self.container = container
        self.key = key
        self.value = value

    def now(self) -> Any:
        """What is found at this moment."""
        if self.kind == "item":
            return self.container.get(self.key, MISSING)
        if self.kind == "cell":
            return contents(self.container)
        if self.kind == "attribute":
            return getattr(self.container, self.key, MISSING)
        if self.kind in ("sequence", "keys"):
            return tuple(self.container)
        return tuple(self.container), tuple(self.container.values())

    def changed(self) -> bool:
        """Whether another value is found than in the recording."""
        now = self.now()
        if self.kind in ("sequence", "keys"):
            return not _all_same(now, self.value)
        if self.kind == "mapping":
            return not (_all_same(now[0], self.value[0]) and _all_same(now[1], self.value[1]))
        return not same(now, self.value)


def same(one: Any, other: Any) -> bool:
    """Whether two values are one object, or of one type, like numbers and strings, and equal."""
    return one is other or (type(one) is type(other) and isinstance(one, COMPARED) and one == other)


def _all_same(some: tuple[Any, ...], others: tuple[Any, ...]) -> bool:
    return len(some) == len(others) and all(map(same, some, others))


def contents(cell: Any) -> Any:
    """What a variable of an enclosing function is, ``MISSING`` before it is assigned."""
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return MISSING


class Witness:
    """Looks on while a recorder is at work.

    Args:
        recorder: told of tensors, draws and what cannot be replayed.

    Attributes:
        entries: what was read, in order.
        unsettled: whether something was made that the next calls find, so that this one is no example for them.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.entries: dict[tuple[int, Any], Entry] = {}
        self.unsettled = False
        self.known: dict[int, Any] = {}
        self._looked: set[tuple[int, int]] = set()
        self._relevant: dict[CodeType, bool] = {}
        self._inside: list[tuple[FrameType, Callable[[Any], None]]] = []
        self._before: Any = None

    def __enter__(self) -> Witness:
        self._before = sys.getprofile()
        sys.setprofile(self._event)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(self._before)
        for _, ended in reversed(self._inside):
            ended(None)
        self._inside.clear()

    # -- frames ----------------------------------------------------------------------------------------------------

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            special = _SPECIAL.get(code)
            if special is not None:
                ended = special(self, frame)
                if ended is not None:
                    self._inside.append((frame, ended))
            elif not self.recorder.depth and self.recorder.reason is None:
                relevant = self._relevant.get(code)
                if relevant is None:
                    relevant = self._relevant[code] = _is_relevant(frame.f_globals.get("__name__", ""))
                if relevant:
                    self._look_at_frame(frame, code)
        elif event == "return":
            if self._inside and self._inside[-1][0] is frame:
                self._inside.pop()[1](argument)
        elif event == "c_call" and not self.recorder.depth and self._relevant.get(frame.f_code):
            self._look_at_call(argument)

    def _look_at_call(self, function: Any) -> None:
        owner = getattr(function, "__self__", None)
        module = getattr(function, "__module__", None)
        if function in _IMPURE_CALLS if _is_hashable(function) else False:
            self.recorder.stop_for(f"{function.__name__}() is called")
        elif module in _IMPURE_MODULES or type(owner).__module__ in _IMPURE_MODULES:
            self.recorder.stop_for(f"{module or type(owner).__module__}.{function.__name__}() is called")

    def _look_at_frame(self, frame: FrameType, code: CodeType) -> None:
        self._look_at_globals(frame.f_globals, code)
        count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)
        found = frame.f_locals
        for name in (*code.co_varnames[:count], *code.co_freevars):
            value = found.get(name)
            if id(value) in self.known:
                self.look(value, code, argument=True)

    def _look_at_globals(self, scope: dict[str, Any], code: CodeType) -> None:
        names = code.co_names
        for name in names:
            value = scope.get(name, MISSING)
            if type(value) is ModuleType:
                if value.__name__ in _IMPURE_MODULES or (value.__name__ == "numpy" and "random" in names):
                    self.recorder.stop_for(f"the module {value.__name__} is used, whose results differ from call to "
                                           "call")  # fmt: skip
                elif _is_relevant(value.__name__):
                    self.look(value, code)
            elif value is not MISSING:
                self.enter("item", scope, name, value)
                self.look(value, code)

    # -- objects ---------------------------------------------------------------------------------------------------

    def enter(self, kind: str, container: Any, key: Any, value: Any, follow: bool = True) -> None:
        """Note what is found in a place, and with ``follow`` what the value holds in turn."""
        place = id(container), key
        if place not in self.entries:
            self.entries[place] = Entry(kind, container, key, value)
            if follow:
                self.root(value)

    def root(self, value: Any) -> None:
        """Note an object that was there before the recording."""
        if type(value) in _PLAIN or id(value) in self.known:
            return
        self.known[id(value)] = value
        if isinstance(value, Tensor):
            self.recorder.hold(value)
        elif isinstance(value, (list, tuple, set, frozenset)):
            self._whole("sequence", value, tuple(value))
        elif isinstance(value, dict):
            self._whole("mapping", value, (tuple(value), tuple(value.values())))
        elif hasattr(type(value), "__next__"):
            self.recorder.stop_for(f"a {type(value).__name__} is used that was there before, which is another after it")
        elif isinstance(value, MethodType):
            self.root(value.__self__)
            self.root(value.__func__)
        elif isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, partial):
            for part in (value.func, value.args, value.keywords):
                self.root(part)

    def _whole(self, kind: str, container: Any, value: tuple[Any, ...]) -> None:
        if len(container) > _LONGEST:
            self.recorder.stop_for(f"a {type(container).__name__} of {len(container)} items is read")
            return
        self.entries[id(container), None] = Entry(kind, container, None, value)
        for item in value if kind == "sequence" else value[1]:
            self.root(item)

    def _function(self, function: FunctionType) -> None:
        if not _is_relevant(function.__globals__.get("__name__", "")):
            return
        for cell in function.__closure__ or ():
            self.enter("cell", cell, "cell_contents", contents(cell))
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.root(default)

    def look(self, value: Any, code: CodeType, argument: bool = False) -> None:
        """Enter the attributes of an object that a piece of code names, and of what is found there."""
        if isinstance(value, Tensor) or type(value) in _PLAIN or (id(value), id(code)) in self._looked:
            return
        self._looked.add((id(value), id(code)))
        if isinstance(value, type):
            if not _is_relevant(str(value.__module__)):
                return
            for name in code.co_names:
                found = value.__dict__.get(name, MISSING)
                if found is not MISSING and not hasattr(found, "__get__"):
                    self.enter("attribute", value, name, found)
                    self.look(found, code)
            return
        if isinstance(value, (list, tuple)):
            for item in value:
                self.look(item, code)
            return
        if isinstance(value, dict):
            for item in value.values():
                self.look(item, code)
            return
        attributes = getattr(value, "__dict__", None)
        own_class = not str(type(value).__module__).startswith(("flambeau.", "builtins"))
        names: Any = code.co_names
        if argument and attributes is not None and not _BY_NAME.isdisjoint(names):
            names = list(attributes)  # which ones, the code does not say
            self.enter("keys", attributes, _KEYS, tuple(attributes), follow=False)
        for name in names:
            if attributes is not None and name in attributes:
                found = attributes[name]
                self.enter("item", attributes, name, found)
                self.look(found, code)
            elif own_class:
                self._look_at_class(value, attributes, name, code)
            elif name == "forward" and attributes is not None:
                self.enter("item", attributes, name, MISSING)

    def _look_at_class(self, value: Any, attributes: Any, name: str, code: CodeType) -> None:
        for cls in type(value).__mro__:
            if name in cls.__dict__:
                kind = type(cls.__dict__[name])
                if kind in _PLAIN or kind.__name__ == "member_descriptor":
                    self.enter("attribute", value, name, getattr(value, name, MISSING))
                    self.look(getattr(value, name, MISSING), code)
                elif attributes is not None and not hasattr(kind, "__set__"):  # a method; an object may have its own
                    self.enter("item", attributes, name, MISSING)
                    if getattr(cls, name) is getattr(cls, name):
                        self.enter("attribute", cls, name, getattr(cls, name))
                return

    def assigned(self) -> Entry | None:
        """An entry that was assigned to since it was looked at."""
        return next((entry for entry in self.entries.values() if entry.changed()), None)


def _is_hashable(function: Any) -> bool:
    try:
        hash(function)
    except TypeError:
        return False
    return True


def _is_relevant(module: str) -> bool:
    root = module.partition(".")[0]
    if root == "flambeau":
        return module.startswith(_READING)
    if root in sys.stdlib_module_names or root == "numpy":
        return False
    return root not in {type(backend).__module__.partition(".")[0] for backend in loaded_backends()}


# -- frames of the framework that are something special --------------------------------------------------------------

Ended = Callable[[Any], None]


def _drawn(witness: Witness, frame: FrameType) -> Ended | None:
    generator, blocks = frame.f_locals["self"], frame.f_locals["blocks"]

    def ended(place: Any) -> None:
        if place is not None and not any(inner[1].__name__ == "ended_draw" for inner in witness._inside):
            witness.recorder.draw(generator, blocks, place)

    ended.__name__ = "ended_draw"
    return ended


def _imported(witness: Witness, frame: FrameType) -> Ended:
    witness.recorder.depth += 1

    def ended(module: Any) -> None:
        witness.recorder.depth -= 1

    return ended


def _stops(reason: str) -> Callable[[Witness, FrameType], None]:
    def stop(witness: Witness, frame: FrameType) -> None:
        if not witness.recorder.depth:
            witness.recorder.stop_for(reason)

    return stop


_SPECIAL: dict[CodeType, Callable[[Witness, FrameType], Ended | None]] = {}


def _install() -> None:
    for cls in (Generator, _DefaultGenerator):
        _SPECIAL[cls.reserve.__code__] = _drawn
        for name in ("manual_seed", "restart", "initial_seed", "get_state", "set_state", "clone_state"):
            _SPECIAL[cls.__dict__[name].__code__] = _stops("the state of a generator of random numbers is read or set")
    _SPECIAL[importlib._bootstrap._find_and_load.__code__] = _imported  # type: ignore[attr-defined]
    _SPECIAL.update(_steps.specials())


_install()
