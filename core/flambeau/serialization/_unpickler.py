"""A pickle machine that builds what is on a list and nothing else.

The machine of the standard library looks any global up by import and calls it; here a global is a key of a table,
and only what came out of the table is called. Opcodes that a checkpoint has no use for are refused.
"""

from __future__ import annotations

import collections
import pickle
import re
import struct
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy

from flambeau.serialization._names import TorchGlobal, shown

_BLOCKED_MODULES = frozenset({"sys", "os", "posix", "nt"})
_U8, _U16, _U32, _U64 = struct.Struct("<B"), struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")
_I32, _F64 = struct.Struct("<i"), struct.Struct(">d")
_END = object()

# What the instructions of a damaged pickle raise.
_DAMAGE = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError, struct.error,
)  # fmt: skip
# The hash of a tuple goes down into the tuples in it: on the stack of C, and again wherever one of them is met again.
# So few bytes could mean a crash, or centuries.
_MOST_NESTED, _MOST_HASHED = 1000, 10**7
_HASHING = (set, frozenset, collections.Counter, collections.OrderedDict)


class _Outside(Exception):
    """Carries an error of :attr:`Unpickler.persistent_load` past the handler for damaged pickles."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class Unpickler:
    """Reads one pickle out of ``data``.

    Args:
        data: the bytes.
        allowed: the globals by full name; the callable ones may be called.
        users: globals that the user allowed; classes among them may be made in any way that pickle knows.
        persistent_load: makes an object from a persistent id (a tuple).
        position: where the pickle begins.

    Attributes:
        position: after :meth:`load`, the end of the pickle.
    """

    def __init__(
        self,
        data: bytes,
        allowed: Mapping[str, Any],
        users: Mapping[str, Any],
        persistent_load: Callable[[Any], Any],
        position: int = 0,
    ) -> None:
        self.data = data
        self.position = position
        self.allowed = allowed
        self.users = users
        self.persistent_load = persistent_load
        self._callable = {id(found) for table in (allowed, users) for found in table.values() if callable(found)}
        self._memo: dict[int, Any] = {}
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        # Of tuples that hold tuples, by id: how deep, how many elements in all, and the tuple, to keep the id its own.
        self._nests: dict[int, tuple[int, int, Any]] = {}
        self._hashed = 0  # elements of the tuples that were hashed

    def load(self) -> Any:
        """The object.

        Raises:
            pickle.UnpicklingError: when the pickle is damaged, or asks for what is not allowed.
        """
        data, operations = self.data, _OPERATIONS
        try:
            while True:
                start = self.position
                self.position += 1
                operation = operations.get(data[start])
                if operation is None:
                    raise pickle.UnpicklingError(f"the pickle instruction {data[start : start + 1]!r} is not supported")
                if operation(self) is _END:
                    return self._stack.pop()
        except _Outside as outside:
            raise outside.error from None
        except _DAMAGE as error:
            raise pickle.UnpicklingError(
                f"the pickle is damaged: {type(error).__name__} ({error}) at byte {start} of {len(data)}"
            ) from error

    # -- what a subclass that only looks may replace -----------------------------------------------------------------

    def find_global(self, module: str, name: str) -> Any:
        """What the full name stands for."""
        full = f"{module}.{name}"
        if module in _BLOCKED_MODULES:
            raise pickle.UnpicklingError(f"the global {full!r} is never loaded: the module {module!r} is blocked")
        for table in (self.allowed, self.users):
            if full in table:
                return table[full]
        plain = full.removeprefix("builtins.")
        raise pickle.UnpicklingError(
            f"Unsupported global: {plain!r} is not on the list of what is safe to load. If you trust it, allow it: "
            f"`flambeau.serialization.add_safe_globals([{plain}])`, or "
            f"`with flambeau.serialization.safe_globals([{plain}])` around the load"
        )

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        """``function(*arguments)``."""
        if id(function) not in self._callable:
            raise pickle.UnpicklingError(f"the pickle tries to call {shown(function)}, which is not allowed")
        if function in _HASHING:
            for argument in arguments:
                self._will_hash(argument if isinstance(argument, (list, tuple, set, dict)) else ())
        return function(*arguments)

    def new(self, cls: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """An instance of ``cls``, without ``__init__``."""
        if cls is collections.OrderedDict:
            return collections.OrderedDict()
        if not isinstance(cls, type) or all(cls is not found for found in self.users.values()):
            raise pickle.UnpicklingError(f"the pickle tries to make an instance of {shown(cls)}, which is not allowed")
        return cls.__new__(cls, *arguments, **keywords)

    def build(self, instance: Any, state: Any) -> None:
        """Give ``state`` to ``instance``."""
        kind = type(instance)
        if kind is collections.OrderedDict:
            instance.__dict__.update(state)
        elif isinstance(instance, numpy.dtype):
            _set_dtype_state(instance, state)
        elif kind is numpy.ndarray:
            _set_array_state(instance, state)
        elif any(kind is found for found in self.users.values()):
            if hasattr(instance, "__setstate__"):
                instance.__setstate__(state)
                return
            slots = None
            if isinstance(state, tuple) and len(state) == 2:
                state, slots = state
            instance.__dict__.update(state or {})
            for name, value in (slots or {}).items():
                setattr(instance, name, value)
        else:
            raise pickle.UnpicklingError(
                f"the pickle tries to set the state of a {kind.__name__}, which is not allowed"
            )

    # -- reading -----------------------------------------------------------------------------------------------------

    def _take(self, size: int) -> bytes:
        start, self.position = self.position, self.position + size
        if self.position > len(self.data):
            raise ValueError(f"{size} bytes are announced, {len(self.data) - start} are there")
        return self.data[start : self.position]

    def _number(self, layout: struct.Struct) -> Any:
        return layout.unpack(self._take(layout.size))[0]

    def _line(self) -> str:
        end = self.data.index(b"\n", self.position)
        line = self.data[self.position : end].decode("utf-8")
        self.position = end + 1
        return line

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    # -- instructions ------------------------------------------------------------------------------------------------

    def _protocol(self) -> None:
        protocol = self._number(_U8)
        if protocol > pickle.HIGHEST_PROTOCOL:
            raise ValueError(f"unknown pickle protocol {protocol}")

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _global(self) -> None:
        module = self._line()
        self._stack.append(self.find_global(IMPORT_MAPPING.get(module, module), self._line()))

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError("a global's name is not a string")
        self._stack.append(self.find_global(module, name))

    def _reduce(self) -> None:
        arguments = self._stack.pop()
        function = self._stack.pop()
        if type(arguments) is not tuple:
            raise TypeError("the arguments of a call are not a tuple")
        self._stack.append(self.call(function, arguments))

    def _new_object(self) -> None:
        arguments, cls = self._stack.pop(), self._stack.pop()
        self._stack.append(self.new(cls, arguments, {}))

    def _new_object_ex(self) -> None:
        keywords, arguments, cls = self._stack.pop(), self._stack.pop(), self._stack.pop()
        self._stack.append(self.new(cls, arguments, keywords))

    def _build(self) -> None:
        state = self._stack.pop()
        self.build(self._stack[-1], state)

    def _persistent(self) -> None:
        saved_id = self._stack.pop()
        try:
            found = self.persistent_load(saved_id)
        except Exception as error:
            raise _Outside(error) from error
        self._stack.append(found)

    def _append(self) -> None:
        item = self._stack.pop()
        self._extend([item])

    def _appends(self) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise TypeError(f"cannot append to a {type(self._stack[-1]).__name__}")
        self._stack[-1].extend(items)

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._update([key, value])

    def _set_items(self) -> None:
        self._update(self._since_mark())

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise TypeError(f"cannot set items of a {type(target).__name__}")
        self._will_hash(items[::2])
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key] = value

    def _add_items(self) -> None:
        self._unite(self._since_mark())

    def _unite(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is not set:
            raise TypeError(f"cannot add to a {type(self._stack[-1]).__name__}")
        self._will_hash(items)
        self._stack[-1].update(items)

    def _frozen_set(self) -> None:
        items = self._since_mark()
        self._will_hash(items)
        self._stack.append(frozenset(items))

    def _tuple(self) -> None:
        items = self._since_mark()
        self._stack.append(self._nested(tuple(items)))

    def _last(self, count: int) -> None:
        if len(self._stack) < count:
            raise IndexError("the stack is too short for a tuple")
        self._stack[-count:] = [self._nested(tuple(self._stack[-count:]))]

    def _nested(self, made: tuple[Any, ...]) -> tuple[Any, ...]:
        inner = [self._nests.get(id(item), (1, len(item))) for item in made if type(item) is tuple]
        if inner:
            depth, elements = 1 + max(nest[0] for nest in inner), len(made) + sum(nest[1] for nest in inner)
            if depth > _MOST_NESTED or elements > _MOST_HASHED:
                raise ValueError(f"more than {_MOST_NESTED} tuples, or {_MOST_HASHED} elements, are nested in one")
            self._nests[id(made)] = depth, elements, made
        return made

    def _will_hash(self, items: Iterable[Any]) -> None:
        for item in items:
            if type(item) is tuple:
                self._hashed += self._nests.get(id(item), (1, len(item)))[1]
        if self._hashed > 10 * _MOST_HASHED:
            raise ValueError(f"the tuples that are keys have more than {10 * _MOST_HASHED} elements in all")

    def _put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def _text(self, layout: struct.Struct) -> None:
        self._stack.append(str(self._take(self._number(layout)), "utf-8", "surrogatepass"))

    def _bytes(self, layout: struct.Struct) -> None:
        self._stack.append(self._take(self._number(layout)))

    def _python2_string(self, layout: struct.Struct) -> None:
        content = self._take(self._number(layout))
        try:
            self._stack.append(content.decode("utf-8"))
        except UnicodeDecodeError:
            self._stack.append(content)

    def _long(self, layout: struct.Struct) -> None:
        self._stack.append(int.from_bytes(self._take(self._number(layout)), "little", signed=True))

    def _push(self, value: Any) -> None:
        self._stack.append(value)


_OPERATIONS: dict[int, Callable[[Unpickler], Any]] = {
    code[0]: operation
    for code, operation in {
        pickle.PROTO: Unpickler._protocol,
        pickle.FRAME: lambda self: self._number(_U64),
        pickle.STOP: lambda self: _END,
        pickle.MARK: Unpickler._mark,
        pickle.POP: lambda self: self._stack.pop(),
        pickle.GLOBAL: Unpickler._global,
        pickle.STACK_GLOBAL: Unpickler._stack_global,
        pickle.REDUCE: Unpickler._reduce,
        pickle.NEWOBJ: Unpickler._new_object,
        pickle.NEWOBJ_EX: Unpickler._new_object_ex,
        pickle.BUILD: Unpickler._build,
        pickle.BINPERSID: Unpickler._persistent,
        pickle.APPEND: Unpickler._append,
        pickle.APPENDS: Unpickler._appends,
        pickle.SETITEM: Unpickler._set_item,
        pickle.SETITEMS: Unpickler._set_items,
        pickle.ADDITEMS: Unpickler._add_items,
        pickle.FROZENSET: Unpickler._frozen_set,
        pickle.TUPLE: Unpickler._tuple,
        pickle.TUPLE1: lambda self: self._last(1),
        pickle.TUPLE2: lambda self: self._last(2),
        pickle.TUPLE3: lambda self: self._last(3),
        pickle.EMPTY_TUPLE: lambda self: self._push(()),
        pickle.EMPTY_LIST: lambda self: self._push([]),
        pickle.EMPTY_DICT: lambda self: self._push({}),
        pickle.EMPTY_SET: lambda self: self._push(set()),
        pickle.NONE: lambda self: self._push(None),
        pickle.NEWTRUE: lambda self: self._push(True),
        pickle.NEWFALSE: lambda self: self._push(False),
        pickle.BININT: lambda self: self._push(self._number(_I32)),
        pickle.BININT1: lambda self: self._push(self._number(_U8)),
        pickle.BININT2: lambda self: self._push(self._number(_U16)),
        pickle.LONG1: lambda self: self._long(_U8),
        pickle.LONG4: lambda self: self._long(_U32),
        pickle.BINFLOAT: lambda self: self._push(self._number(_F64)),
        pickle.SHORT_BINUNICODE: lambda self: self._text(_U8),
        pickle.BINUNICODE: lambda self: self._text(_U32),
        pickle.BINUNICODE8: lambda self: self._text(_U64),
        pickle.SHORT_BINBYTES: lambda self: self._bytes(_U8),
        pickle.BINBYTES: lambda self: self._bytes(_U32),
        pickle.BINBYTES8: lambda self: self._bytes(_U64),
        pickle.BYTEARRAY8: lambda self: self._push(bytearray(self._take(self._number(_U64)))),
        pickle.SHORT_BINSTRING: lambda self: self._python2_string(_U8),
        pickle.BINSTRING: lambda self: self._python2_string(_U32),
        pickle.BINPUT: lambda self: self._put(self._number(_U8)),
        pickle.LONG_BINPUT: lambda self: self._put(self._number(_U32)),
        pickle.MEMOIZE: lambda self: self._put(len(self._memo)),
        pickle.BINGET: lambda self: self._get(self._number(_U8)),
        pickle.LONG_BINGET: lambda self: self._get(self._number(_U32)),
    }.items()
}


class Looker(Unpickler):
    """Goes through a pickle without making anything of it.

    Attributes:
        globals: the full names that it asks for.
    """

    def __init__(self, data: bytes, persistent_load: Callable[[Any], Any], position: int = 0) -> None:
        super().__init__(data, {}, {}, persistent_load, position)
        self.globals: set[str] = set()

    def find_global(self, module: str, name: str) -> Any:
        self.globals.add(f"{module}.{name}")
        return TorchGlobal(module, name)

    def call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        return None

    def new(self, cls: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        return None

    def build(self, instance: Any, state: Any) -> None:
        pass

    def _extend(self, items: list[Any]) -> None:
        pass

    def _update(self, items: list[Any]) -> None:
        pass

    def _unite(self, items: list[Any]) -> None:
        pass


# -- NumPy -------------------------------------------------------------------------------------------------------------


def numpy_dtype(name: str, align: bool = False, copy: bool = True) -> Any:
    """``numpy.dtype(name)`` for the types that hold nothing but numbers and text."""
    # Not more: NumPy evaluates what stands in parentheses.
    simple = isinstance(name, str) and re.fullmatch("[a-zA-Z]{1,12}[0-9]{0,9}", name)
    found = numpy.dtype(name) if simple else None
    if found is None or found.kind not in "biufcSU" or found.shape or found.names:
        raise pickle.UnpicklingError(f"a numpy array of the type {shown(name)} is not loaded")
    return numpy.dtype(found, copy=True)


def _set_dtype_state(instance: Any, state: Any) -> None:
    _, order, base, names, fields = state[:5]
    if order not in ("<", ">", "|", "=") or base is not None or names is not None or fields is not None:
        raise pickle.UnpicklingError("a numpy array of a structured type is not loaded")
    size = instance.itemsize if instance.kind in "SU" else -1
    instance.__setstate__((3, order, None, None, None, size, -1 if size < 0 else instance.alignment, 0))


def numpy_scalar(kind: Any, content: bytes) -> Any:
    """A NumPy scalar from its bytes."""
    if not isinstance(kind, numpy.dtype) or not isinstance(content, bytes) or len(content) != kind.itemsize:
        raise pickle.UnpicklingError("a numpy scalar is damaged")
    return numpy.frombuffer(content, kind)[0]


def numpy_array(*ignored: Any) -> Any:
    """An array that waits for its state."""
    return numpy.empty(0, numpy.uint8)


def _set_array_state(instance: Any, state: Any) -> None:
    _, shape, kind, fortran, content = state
    sizes = [int(size) for size in shape]
    if (
        not isinstance(kind, numpy.dtype)
        or not isinstance(content, bytes)
        or min(sizes, default=0) < 0
        or len(content) != _product(sizes) * kind.itemsize
    ):
        raise pickle.UnpicklingError("a numpy array is damaged: its bytes do not fit its shape and type")
    instance.__setstate__((1, tuple(sizes), kind, bool(fortran), content))


def _product(sizes: list[int]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result
