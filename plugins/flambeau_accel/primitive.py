"""oneDNN's objects with Python names: descriptions of memory, primitives, and plans that run several of them.

A kernel is a :class:`Plan`: primitives that were made once for certain shapes, strides and settings, and whose
arguments are pointed at new arrays on each call. oneDNN may want an operand in a layout of its own choice; the plan
then reorders it first, into memory that all plans of a thread share, since nothing in it outlives a call.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import byref, c_void_p
from functools import cached_property
from typing import Any, TypeVar

import numpy

from flambeau.settings import chosen_threads
from flambeau_accel.library import Dims, ExecArg, load, set_threads

Array = Any
Size = tuple[int, ...]

# Values of oneDNN's enumerations (dnnl_types.h).
CPU = 1
IN_ORDER = 1
ANY_LAYOUT = 1
FORWARD_TRAINING, FORWARD_INFERENCE, BACKWARD, BACKWARD_DATA = 64, 96, 128, 160
#: Numbers of arguments.
SRC, DST, WEIGHTS, BIAS, MEAN, VARIANCE, SCALE, SHIFT = 1, 17, 33, 41, 49, 50, 51, 52
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS, DIFF_BIAS, DIFF_SCALE, DIFF_SHIFT = 129, 145, 161, 169, 255, 256
WORKSPACE = 64
#: Queries for the layout that a primitive wants, by the number of the argument.
_QUERIES = {SRC: 129, DIFF_SRC: 130, WEIGHTS: 131, DIFF_WEIGHTS: 132, DST: 133, DIFF_DST: 134,
            WORKSPACE: 135}  # fmt: skip


def _data_types() -> dict[Any, int]:
    try:
        import ml_dtypes
    except ImportError:
        return {numpy.dtype(numpy.float32): 3}
    return {numpy.dtype(numpy.float32): 3, numpy.dtype(ml_dtypes.bfloat16): 2}


#: Numbers of the data types that are served, by NumPy's dtype.
DATA_TYPES = _data_types()


class OneDNNError(RuntimeError):
    """oneDNN refused a call."""


_STATUS = {1: "out of memory", 2: "invalid arguments", 3: "unimplemented", 4: "no more implementations",
           5: "runtime error", 6: "not required", 7: "the graph is invalid"}  # fmt: skip


def check(status: int, what: str) -> None:
    """Raise unless a status says success.

    Raises:
        MemoryError: when memory ran out.
        OneDNNError: for anything else.
    """
    if status == 0:
        return
    if status == 1:
        raise MemoryError(f"oneDNN: out of memory in {what}")
    raise OneDNNError(f"oneDNN: {what}: {_STATUS.get(status, f'status {status}')}")


def made(function: Callable[..., int], *args: Any) -> c_void_p:
    """The object that a ``dnnl_..._create`` makes; its first argument is where to put it."""
    handle = c_void_p()
    check(function(byref(handle), *args), function.__name__)
    return handle


def dims(values: Sequence[int]) -> Any:
    """``dnnl_dims_t``."""
    return Dims(*values)


class Runtime:
    """The library with the engine (the CPU) and a stream of the calling thread."""

    def __init__(self) -> None:
        self.lib = load()
        self.engine = made(self.lib.dnnl_engine_create, CPU, 0)
        self.stream = made(self.lib.dnnl_stream_create, self.engine, IN_ORDER)
        self.scratch = numpy.empty(0, numpy.uint8)

    def reserve(self, size: int) -> int:
        """The address of at least ``size`` bytes that anyone may overwrite, on a cache line's boundary."""
        if self.scratch.size < size + 64:
            self.scratch = numpy.empty(size + 64, numpy.uint8)
        address: int = self.scratch.ctypes.data
        return -address % 64 + address


class _Local(threading.local):
    """A thread's own runtime and plans: the memory objects in a plan are pointed at the arrays of one call."""

    #: For how many threads ``plans`` are made, None for as many as OpenMP chooses.
    threads: int | None = None
    #: Whether the thread computes as one of a team, so that what it calls has no others.
    is_in_team = False
    #: Whether the thread has come out of a fork, where those that OpenMP keeps for it are gone.
    is_forked = False

    def __init__(self) -> None:
        self.plans: dict[Any, Plan] = {}
        self.plans_by_threads: dict[int | None, dict[Any, Plan]] = {None: self.plans}

    @cached_property
    def runtime(self) -> Runtime:
        return Runtime()

    def take_threads(self, number: int | None) -> None:
        """Go on with so many threads."""
        self.threads = number
        self.plans = self.plans_by_threads.setdefault(number, {})
        if number is not None:
            set_threads(1 if self.is_forked else number)

    def leave_parent(self) -> None:
        """Go on with this thread alone: the first call on several would wait for the parent's for ever."""
        self.is_forked = True
        self.plans_by_threads.clear()
        self.take_threads(1)


_local = _Local()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _local.leave_parent())


@contextmanager
def in_team() -> Iterator[None]:
    """The calling thread computes as one of OpenMP's team: what it calls is computed in this thread alone."""
    before, _local.is_in_team = _local.is_in_team, True
    try:
        yield
    finally:
        _local.is_in_team = before


Built = TypeVar("Built", bound="Plan")

#: How many plans a thread keeps; beyond that it begins anew.
MAX_PLANS = 1024


def plan_for(key: Any, build: Callable[[Runtime], Built]) -> Built:
    """The calling thread's plan for a key, which says all that the plan depends on."""
    number = 1 if _local.is_in_team else chosen_threads()
    if number != _local.threads:
        _local.take_threads(number)
    plans: dict[Any, Any] = _local.plans
    plan: Built | None = plans.get(key)
    if plan is None:
        if len(plans) >= MAX_PLANS:
            plans.clear()
        plan = plans[key] = build(_local.runtime)
    return plan


class Layout:
    """A description of memory: sizes, data type, and strides unless oneDNN may choose (``dnnl_memory_desc_t``)."""

    def __init__(self, runtime: Runtime, handle: c_void_p, owned: bool = True) -> None:
        self.runtime = runtime
        self.handle = handle
        self.owned = owned

    @classmethod
    def of(cls, runtime: Runtime, shape: Sequence[int], dtype: Any, strides: Sequence[int] | None = None) -> Layout:
        """The layout with these strides, in elements; without them, whichever is best."""
        if strides is None:
            return cls.tagged(runtime, shape, dtype, ANY_LAYOUT)
        make = runtime.lib.dnnl_memory_desc_create_with_strides
        return cls(runtime, made(make, len(shape), dims(shape), DATA_TYPES[dtype], dims(strides)))

    @classmethod
    def tagged(cls, runtime: Runtime, shape: Sequence[int], dtype: Any, tag: int) -> Layout:
        """One of the layouts that have a name (``dnnl_format_tag_t``)."""
        make = runtime.lib.dnnl_memory_desc_create_with_tag
        return cls(runtime, made(make, len(shape), dims(shape), DATA_TYPES[dtype], tag))

    def within(self, shape: Sequence[int]) -> Layout:
        """The layout of what has ``shape`` at the beginning of memory with this one."""
        make, start = self.runtime.lib.dnnl_memory_desc_create_submemory, (0,) * len(shape)
        return Layout(self.runtime, made(make, self.handle, dims(shape), dims(start)))

    @property
    def size(self) -> int:
        """In bytes."""
        size: int = self.runtime.lib.dnnl_memory_desc_get_size(self.handle)
        return size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and bool(self.runtime.lib.dnnl_memory_desc_equal(self.handle, other.handle))

    __hash__ = None  # type: ignore[assignment]

    def __del__(self) -> None:
        if self.owned:
            self.runtime.lib.dnnl_memory_desc_destroy(self.handle)


class Primitive:
    """A computation, made from its description (``dnnl_primitive_t``)."""

    def __init__(self, runtime: Runtime, description: c_void_p) -> None:
        self.runtime = runtime
        self.description = description
        self.handle = made(runtime.lib.dnnl_primitive_create, description)

    def layout(self, argument: int) -> Layout:
        """The layout in which an argument is wanted."""
        handle = self.runtime.lib.dnnl_primitive_desc_query_md(self.description, _QUERIES[argument], 0)
        return Layout(self.runtime, c_void_p(handle), owned=False)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self.runtime.lib.dnnl_primitive_destroy(self.handle)
        self.runtime.lib.dnnl_primitive_desc_destroy(self.description)


# Where an array object has the pointer to its elements: right behind what every object has (``PyArrayObject``). To read
# it there takes 0.2 us, __array_interface__ and array.ctypes 1 us each, and a call has three or four arrays.
_POINTER = object.__basicsize__


def address(array: Array) -> int:
    """Where an array's elements begin; :meth:`Plan.run` has the same in place."""
    return c_void_p.from_address(id(array) + _POINTER).value or 0


class Plan:
    """Primitives in a row, for arrays of certain shapes and strides.

    Built with :meth:`add`; :meth:`run` takes the arrays in the order in which they were given to :meth:`operand`.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.memories: list[c_void_p] = []
        self.operands: list[c_void_p] = []
        self.parts: list[tuple[c_void_p, int, int]] = []  # memory within an operand: the operand's number, the offset
        self.steps: list[tuple[c_void_p, int, Any]] = []
        self.inners: list[tuple[c_void_p, int]] = []  # memory in the thread's scratch, and its place there
        self.reordered: dict[int | None, list[Operand]] = {}
        self.inner_size = 0
        self.scratch_at = 0
        self.kept: list[Any] = []
        lib = runtime.lib
        self._set = lib.dnnl_memory_set_data_handle
        self._execute = lib.dnnl_primitive_execute

    def operand(self, shape: Sequence[int], dtype: Any, strides: Sequence[int] | None = None) -> Operand:
        """An array of the caller, contiguous unless it has strides."""
        return self.operand_like(
            Layout.of(self.runtime, shape, dtype, row_major(shape) if strides is None else strides)
        )

    def operand_like(self, layout: Layout) -> Operand:
        """An array of the caller, in a layout that a primitive has chosen."""
        memory = self._memory(layout)
        self.operands.append(memory)
        return Operand(layout, memory)

    def part(self, operand: Operand, layout: Layout, offset: int) -> Operand:
        """A part of the caller's array, ``offset`` bytes from its start."""
        memory = self._memory(layout)
        self.parts.append((memory, self.operands.index(operand.memory), offset))
        return Operand(layout, memory)

    def inner(self, layout: Layout, at: int | None = None) -> Operand:
        """Memory that lives for a call: new, or ``at`` an offset that :meth:`room` gave."""
        memory = self._memory(layout)
        self.inners.append((memory, self.room(layout.size) if at is None else at))
        return Operand(layout, memory)

    def room(self, size: int) -> int:
        """The offset of so many bytes in the memory that lives for a call."""
        start = self.inner_size
        self.inner_size += (size + 63) // 64 * 64
        return start

    def constant(self, layout: Layout, array: Array) -> Operand:
        """An array that stays the same, in ``layout``."""
        memory = self._memory(layout)
        self._set(memory, array.ctypes.data)
        self.kept.append(array)
        return Operand(layout, memory)

    def add(self, primitive: Primitive, inputs: dict[int, Operand], outputs: dict[int, Operand]) -> None:
        """Run a primitive, with reorders before and after where it wants other layouts than the operands have."""
        given: dict[int, c_void_p] = {}
        later = []
        for number, operand in inputs.items():
            wanted = primitive.layout(number) if number in _QUERIES else operand.layout
            given[number] = self._as_wanted(operand, wanted)
        for number, operand in outputs.items():
            wanted = primitive.layout(number) if number in _QUERIES else operand.layout
            if wanted == operand.layout:
                given[number] = operand.memory
            else:
                given[number] = self.inner(wanted).memory
                later.append((wanted, given[number], operand))
        self.step(primitive, given)
        for wanted, memory, operand in later:
            self._reorder(wanted, memory, operand.layout, operand.memory)

    def _as_wanted(self, operand: Operand, wanted: Layout) -> c_void_p:
        """An input, in another layout if need be; the caller's arrays, which do not change, only once in each."""
        if wanted == operand.layout:
            return operand.memory
        known = self.reordered.setdefault(operand.memory.value, [])
        for other in known:
            if other.layout == wanted:
                return other.memory
        result = self.inner(wanted)
        self.reorder(operand, result)
        if operand.memory in self.operands:
            known.append(result)
        return result.memory

    def reorder(self, source: Operand, target: Operand) -> None:
        """Copy an operand into another's layout."""
        self._reorder(source.layout, source.memory, target.layout, target.memory)

    def step(self, primitive: Primitive, arguments: dict[int, c_void_p]) -> None:
        """Run a primitive as it is, its arguments by their numbers."""
        packed = (ExecArg * len(arguments))(*[ExecArg(number, memory.value) for number, memory in arguments.items()])
        self.steps.append((primitive.handle, len(arguments), packed))
        self.kept.append(primitive)

    def run(self, *arrays: Array) -> None:
        """Compute. The arrays have the shapes, strides and dtypes of the operands."""
        put, at = self._set, c_void_p.from_address
        for memory, array in zip(self.operands, arrays, strict=True):
            put(memory, at(id(array) + _POINTER).value)
        for memory, number, offset in self.parts:
            put(memory, address(arrays[number]) + offset)
        if self.inner_size:
            start = self.runtime.reserve(self.inner_size)
            if start != self.scratch_at:
                for memory, offset in self.inners:
                    put(memory, start + offset)
                self.scratch_at = start
        stream = self.runtime.stream
        execute = self._execute
        for primitive, count, arguments in self.steps:
            status = execute(primitive, stream, count, arguments)
            if status:
                check(status, "dnnl_primitive_execute")

    def _memory(self, layout: Layout) -> c_void_p:
        memory = made(self.runtime.lib.dnnl_memory_create, layout.handle, self.runtime.engine, None)
        self.memories.append(memory)
        return memory

    def _reorder(self, source: Layout, given: c_void_p, target: Layout, result: c_void_p) -> None:
        runtime = self.runtime
        description = made(
            runtime.lib.dnnl_reorder_primitive_desc_create,
            source.handle, runtime.engine, target.handle, runtime.engine, None,
        )  # fmt: skip
        self.step(Primitive(runtime, description), {SRC: given, DST: result})

    def __del__(self) -> None:
        for memory in self.memories:
            self.runtime.lib.dnnl_memory_destroy(memory)


class Operand:
    """An array's place in a plan."""

    def __init__(self, layout: Layout, memory: c_void_p) -> None:
        self.layout = layout
        self.memory = memory


def contiguous(array: Array) -> Array:
    """The array itself, or its elements in a row-major copy."""
    return array if array.flags.c_contiguous else numpy.ascontiguousarray(array)


def strides_of(array: Array) -> Size:
    """An array's strides in elements."""
    itemsize = array.itemsize
    return tuple([step // itemsize for step in array.strides])


def row_major(shape: Sequence[int]) -> Size:
    """The strides, in elements, of a contiguous array."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)
