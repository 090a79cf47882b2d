"""Recording: a function runs as it always does, and every kernel that runs meanwhile is taken down.

What is recorded lies below the tape: forward pass, backward pass and optimizer become one list of kernel calls on raw
arrays. Kernels are seen through :func:`flambeau.dispatch.stand_around`; a composite without a kernel of its own runs
its decomposition, whose parts are seen in turn. What a list of kernel calls cannot say, a value that is read out of a
tensor above all, ends the recording (:meth:`Recorder.stop_for`); the function itself goes on.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from flambeau.compiler._graph import Call, Value
from flambeau.compiler._live import Expression, Live, plain
from flambeau.dispatch import Backend, Kernel, loaded_backends, memory_of, stand_around, step_aside
from flambeau.ops.declare import OPS, Op
from flambeau.tensor import Tensor, refresh


class Unsupported(RuntimeError):
    """What ``fullgraph=True`` raises where a function cannot be one graph."""


class Held:
    """A tensor that was there before the recording: an argument, a parameter, what a function refers to.

    Attributes:
        tensor: the tensor.
        name: of the argument that it is; None for any other.
        value: its array.
        node, version, grad: its place on the tape, its version and its gradient before the recording.
        grad_value, grad_version: of the gradient, where there is one.
    """

    __slots__ = ("array", "grad", "grad_value", "grad_version", "name", "node", "tensor", "value", "version")

    def __init__(self, tensor: Tensor, name: str | None, value: Value) -> None:
        self.tensor = tensor
        self.name = name
        self.value = value
        self.array = tensor._array
        self.node = tensor._node
        self.version = version_of(tensor)
        self.grad = tensor._grad
        self.grad_value: Value | None = None
        self.grad_version = 0


def version_of(tensor: Tensor) -> int:
    """How often the memory of a tensor was written to."""
    return 0 if tensor._version is None else tensor._version[0]


class Draw:
    """Random numbers taken from a generator: the seed and offset that kernels were called with."""

    __slots__ = ("blocks", "generator", "offset", "seed")

    def __init__(self, generator: Any, blocks: int, seed: int, offset: int) -> None:
        self.generator = generator
        self.blocks = blocks
        self.seed = seed
        self.offset = offset


class Word:
    """The seed (0) or the offset (1) of a draw, as an argument of a kernel."""

    __slots__ = ("draw", "place")

    def __init__(self, draw: Draw, place: int) -> None:
        self.draw = draw
        self.place = place


#: Ops whose result has a shape that values decide.
VALUES_DECIDE = {"nonzero"}

_lock = threading.Lock()
active: Recorder | None = None


def recording() -> Recorder | None:
    """The recorder at work in this thread."""
    found = active
    return found if found is not None and found.thread == threading.get_ident() else None


class Recorder:
    """Takes down the kernel calls of one thread.

    Attributes:
        calls: what ran, in order.
        held: the tensors from before the recording, by identity.
        conditions: what expressions have to give in a replay.
        numbers: the items of dictionaries that have to be numbers of the same type.
        reason, place: why the recording ended early, and at which line of the program; None when it did not.
        depth: above 0 inside of what is recorded as a whole.
        has_backward: whether a backward pass ran.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.calls: list[Call] = []
        self.held: dict[int, Held] = {}
        self.draws: list[Draw] = []
        self.conditions: list[tuple[Expression, Any]] = []
        self.numbers: list[tuple[dict[Any, Any], Any]] = []
        self.reason: str | None = None
        self.place: str | None = None
        self.depth = 0
        self.has_backward = False
        self.strict = False
        self._values: dict[int, tuple[Any, Value]] = {}
        self._memories: dict[int, tuple[Any, int]] = {}
        self._count = 0
        self._watched: list[Any] = []
        self._disturbed = False  # whether something ran that may have changed Python's numbers

    # -- on and off ------------------------------------------------------------------------------------------------

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Record what runs inside of the block, in this thread."""
        global active
        watched = self._watched
        stand_around(self._wrap)
        active = self
        try:
            for backend in loaded_backends():
                watched.append(backend)
                for name in ("to_numpy", "to_dlpack"):
                    setattr(backend, name, partial(_read, getattr(backend, name)))
                backend.notes_indices = partial(self._noted, backend, backend.notes_indices)  # type: ignore[method-assign]
            yield
        finally:
            active = None
            for backend in watched:
                del backend.to_numpy, backend.to_dlpack, backend.notes_indices
            step_aside(self._wrap)

    def stop_for(self, reason: str) -> None:
        """Give up: what runs cannot be replayed.

        Raises:
            Unsupported: when there has to be one graph.
        """
        if self.reason is None:
            self.reason = reason
            self.place = _program_place()
            self.calls = []
            if self.strict:
                raise Unsupported(f"compile: with fullgraph=True there has to be one graph, but {self.describe()}")

    def describe(self) -> str:
        """Why the recording ended, and where."""
        return f"{self.reason} ({self.place})" if self.place else str(self.reason)

    # -- arrays ----------------------------------------------------------------------------------------------------

    def hold(self, tensor: Tensor, name: str | None = None) -> Held:
        """Note a tensor that was there before, and its gradient."""
        found = self.held.get(id(tensor))
        if found is None:
            if tensor._view is not None:
                refresh(tensor)
            array = tensor._array
            backend = tensor._device.backend
            source = ("array", array) if name is None else ("argument", name)
            known = self._known(array)
            value = known if known is not None else self.register(array, backend, source)
            found = self.held[id(tensor)] = Held(tensor, name, value)
            grad = tensor._grad
            if grad is not None:
                found.grad_value = self._known(grad._array)
                if found.grad_value is None:
                    found.grad_value = self.register(grad._array, grad._device.backend, ("grad", tensor))
                found.grad_version = version_of(grad)
        return found

    def _known(self, array: Any) -> Value | None:
        entry = self._values.get(id(array))
        if entry is None:
            return None
        kept = entry[0]
        return entry[1] if (kept() if kept.__class__ is weakref.ref else kept) is array else None

    def value_of(self, array: Any) -> Value | None:
        """The value that an array is; None, and the recording ends, for one that came from elsewhere."""
        value = self._known(array)
        if value is None:
            self.stop_for("an array is used that no operation made (data from NumPy, a tensor out of reach of guards)")
        return value

    def register(self, array: Any, backend: Any, source: tuple[str, Any] | None) -> Value:
        """Make a value of an array that is not known yet."""
        self._count += 1
        value = Value(self._count, self._memory(memory_of(array)), source, array, backend)
        self._values[id(array)] = (_reference(array) if source is None else array, value)
        return value

    def _memory(self, owner: Any) -> int:
        entry = self._memories.get(id(owner))
        if entry is not None and (entry[0]() if entry[0].__class__ is weakref.ref else entry[0]) is owner:
            return entry[1]
        self._memories[id(owner)] = _reference(owner), self._count
        return self._count

    def constant(self, array: Any, backend: Any) -> None:
        """An array with numbers that the program spells out: each replay has a copy of it."""
        if self.reason is None and not self.depth and self._known(array) is None:
            clone = getattr(backend.device_of(array).xp.clone, "kernel", None)
            assert clone is not None, "`clone` is a primitive"
            kept = clone(array)
            original = self.register(kept, backend, ("constant", kept))
            copy = self.register(array, backend, None)
            self.calls.append(Call("clone", clone, (original,), {}, (copy,), False, (), True, backend))

    # -- kernels ---------------------------------------------------------------------------------------------------

    def _wrap(self, backend: Backend, name: str, kernel: Kernel) -> Kernel:
        op = OPS.get(name) or OPS.get(name.removesuffix("_"))
        if backend.name == "meta" or op is None:
            return kernel
        if isinstance(kernel, partial) and kernel.func in (op.body, op.inplace_body):
            return kernel  # its parts are recorded
        in_place = name not in OPS

        def recorded(*args: Any, **keywords: Any) -> Any:
            if self.reason is not None or self.depth or self.thread != threading.get_ident() or active is not self:
                return kernel(*_plain(args), **keywords) if active is self else kernel(*args, **keywords)
            return self._run(backend, name, op, in_place, kernel, args, keywords)

        recorded.kernel = kernel  # type: ignore[attr-defined]
        return recorded

    def _run(
        self, backend: Backend, name: str, op: Op, in_place: bool, kernel: Kernel, args: Any, keywords: dict[str, Any]
    ) -> Any:
        if not any(backend is watched for watched in self._watched):
            self.stop_for(f"the device type {backend.name!r} is used for the first time")
        if name in VALUES_DECIDE:
            self.stop_for(f"the shape of what {name} gives depends on values")
        packed = tuple([self._packed(argument, backend) for argument in args])
        named = {key: self._packed(argument, backend) for key, argument in keywords.items()}
        seed = op.positions.get("seed")
        if seed is not None and seed < len(packed):
            packed = self._with_words(packed, seed, op.positions["offset"])
        args = _plain(args)
        self.depth += 1
        try:
            result = kernel(*args, **keywords)
        finally:
            self.depth -= 1
        if self.reason is not None:
            return result
        several = result.__class__ is tuple or result.__class__ is list
        where = args[op.positions["device"]].backend if op.name == "to_device" else backend
        outputs = [None if r is None else _array(r, where) for r in (result if several else (result,))]
        if result is None or in_place or name == "assign":
            writes = _values(packed if result is None else packed[:1])
        else:
            writes = _values([packed[op.positions[p]] for p in op.writes if op.positions[p] < len(packed)])
            if "training" in op.positions and op.writes and not packed[op.positions["training"]]:
                writes = ()
        results: list[Value | None] = []
        for output in outputs:
            known = None if output is None else self._known(output)
            results.append(None if output is None or known is not None else self.register(output, where, None))
        if writes or any(value is not None for value in results):
            call = Call(name, kernel, packed, named, tuple(results), several, writes, not writes, backend)
            self.calls.append(call)
        return type(result)(outputs) if several else outputs[0]

    def _packed(self, argument: Any, backend: Backend) -> Any:
        if argument.__class__ is tuple or argument.__class__ is list:
            return argument.__class__([self._packed(item, backend) for item in argument])
        if isinstance(argument, backend.array_type):
            return self.value_of(argument)
        return argument.expression if argument.__class__ is Live else argument

    def _with_words(self, packed: tuple[Any, ...], seed: int, offset: int) -> tuple[Any, ...]:
        pair = packed[seed], packed[offset]
        found = [draw for draw in self.draws if (draw.seed, draw.offset) == pair]
        if not found or any(draw.generator is not found[0].generator for draw in found):
            self.stop_for("random numbers are drawn from a place in the stream that no generator gave")
            return packed
        words = {seed: Word(found[-1], 0), offset: Word(found[-1], 1)}
        return tuple([words.get(position, argument) for position, argument in enumerate(packed)])

    def _noted(self, backend: Backend, notes: Callable[..., bool], op: str, index: Any, *range_: Any) -> bool:
        """A backend that looks at indices by itself does so in each replay."""
        if recording() is not self:
            return notes(op, index, *range_)
        self.depth += 1
        try:
            noted = notes(op, index, *range_)
        finally:
            self.depth -= 1
        if noted and not self.depth and self.reason is None:
            args = op, self.value_of(index), *range_
            self.calls.append(Call("<note>", notes, args, {}, (), False, (), False, backend))
        return noted

    # -- what else happens -----------------------------------------------------------------------------------------

    def draw(self, generator: Any, blocks: int, place: tuple[int, int]) -> None:
        """Note that a generator's stream was advanced."""
        if self.reason is None and not self.depth:
            drawn = Draw(generator, blocks, *place)
            self.draws.append(drawn)
            self.calls.append(Call("<draw>", generator.reserve, (drawn,), {}, (), False, (), False, None))

    def require(self, expression: Expression, outcome: Any) -> None:
        """Guard what an expression gives."""
        if self._disturbed:
            self.stop_for("an optimizer's options are asked for after they may have been changed")
        self.conditions.append((expression, outcome))

    def assign(self, container: dict[Any, Any], key: Any, value: Any) -> None:
        """Note that an item of a dictionary is set, to a number or an expression."""
        self.calls.append(Call("<assign>", _nothing, (container, key, value), {}, (), False, (), False, None))

    def run_again(self, function: Callable[..., Any], *args: Any) -> None:
        """Note a call that every replay makes, and which may change Python's numbers."""
        self._disturbed = True
        self.calls.append(Call("<call>", function, args, {}, (), False, (), False, None))

    def look(self, function: Callable[..., Any], tensor: Tensor, args: tuple[Any, ...], outcome: Any) -> None:
        """Note that values were looked at: a replay has to find the same."""
        if self.reason is None and not self.depth:
            value = self.value_of(tensor._array)
            call = Call("<look>", function, (value, args, outcome), {}, (), False, (), False, tensor._device.backend)
            self.calls.append(call)


def _program_place() -> str | None:
    """The innermost line of the program, outside of Flambeau."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] != "flambeau":
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return None


def _nothing() -> None:
    """Stands for the kernel where there is none."""


def _reference(array: Any) -> Any:
    try:
        return weakref.ref(array)
    except TypeError:
        return array


def _array(result: Any, backend: Backend) -> Any:
    return result if isinstance(result, backend.array_type) else backend.as_array(result)


def _values(items: Any) -> tuple[Value, ...]:
    found: list[Value] = []
    for item in items:
        if item.__class__ is Value:
            found.append(item)
        elif item.__class__ is tuple or item.__class__ is list:
            found += _values(item)
    return tuple(found)


def _plain(args: Any) -> Any:
    """Arguments with numbers in the place of live ones."""
    if any(a.__class__ is Live or a.__class__ is list or a.__class__ is tuple for a in args):
        return args.__class__([
            _plain(a) if a.__class__ is list or a.__class__ is tuple else plain(a) for a in args
        ])  # fmt: skip
    return args


def _read(read: Callable[..., Any], *args: Any, **options: Any) -> Any:
    recorder = recording()
    if recorder is not None and not recorder.depth:
        recorder.stop_for("the value of a tensor is read (item(), bool(), numpy(), print ...)")
    return read(*args, **options)


@contextmanager
def sole_recorder(recorder: Recorder) -> Iterator[bool]:
    """Whether nobody else records; if so, ``recorder`` does inside of the block."""
    if not _lock.acquire(blocking=False):
        yield False
        return
    try:
        with recorder.at_work():
            yield True
    finally:
        _lock.release()
