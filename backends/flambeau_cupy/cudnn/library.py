"""cuDNN itself: whether it is there, a handle for each thread and device, plans for problems, and running them.

A *problem* is a named tuple that says all that a plan depends on: dtype, sizes, strides, attributes. Its ``add_to``
adds the tensors, with numbers of their own, and the operation to a graph of cuDNN's. A graph that cuDNN accepts is a
*plan*, kept for the next call with the same problem; that a problem was refused is kept too.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

import cupy

from flambeau import backends
from flambeau.determinism import are_deterministic_algorithms_enabled

Array = Any
Size = tuple[int, ...]
Key = tuple[type, "Problem", "Settings"]

#: What to install where something is missing.
PIP = "pip install 'flambeau[cudnn]'"
#: The oldest cuDNN that has what is asked for here.
OLDEST = 90000
#: Plans (and refusals) kept for a thread and device.
KEPT = 4096
#: cuDNN reads and writes 16 bytes at a time.
ALIGNMENT = 16
#: Elements of a tensor up to which every one of its kernels counts right.
LARGEST = (1 << 31) - 1

#: NumPy's characters of the dtypes that it is given, and its names of them. What is computed is float32.
DTYPES = {"f": "FLOAT", "e": "HALF", "E": "BFLOAT16"}


class Problem(Protocol):
    """What a plan depends on; a named tuple."""

    def add_to(self, graph: Any) -> None:
        """Add the tensors and the operation to a graph."""


class Settings(NamedTuple):
    """The switches of :mod:`flambeau.backends.cudnn` that decide between plans.

    Attributes:
        deterministic: no plan whose results depend on the order in which threads run.
        tf32: float32 may be rounded to TF32.
        tried: so many plans are run, and the fastest one is taken; 0 for the one that cuDNN puts first.
    """

    deterministic: bool = False
    tf32: bool = True
    tried: int = 0


@cache
def frontend() -> Any:
    """The package's module, None where it or cuDNN is missing: then :func:`missing` says what."""
    return None if missing() else import_module("cudnn")


@cache
def missing() -> str:
    """What is missing for cuDNN to be used, and how to install it; empty where nothing is."""
    if find_spec("cudnn") is None:
        return f"the package nvidia-cudnn-frontend is not installed: {PIP}"
    try:
        module = import_module("cudnn")
        found = int(module.backend_version())
    except Exception as error:  # whatever loading libcudnn raises
        return f"cuDNN cannot be loaded ({type(error).__name__}: {error}): {PIP}"
    if not hasattr(module, "pygraph"):
        return f"the module cudnn at {module.__file__} is not nvidia-cudnn-frontend's: {PIP}"
    return "" if found >= OLDEST else f"cuDNN {found} is too old, {OLDEST} is needed: {PIP}"


def version() -> int | None:
    """cuDNN's version, as 90800; None where it is not used."""
    return None if missing() else int(frontend().backend_version())


def is_on() -> bool:
    """Whether cuDNN is there and not switched off."""
    return backends.cudnn.enabled and frontend() is not None


def settings(kind: str, trying: bool = True) -> Settings:
    """What the switches say now.

    Args:
        kind: NumPy's character of the operands' dtype: those of 16 bits are not rounded to TF32.
        trying: False where running a plan twice would do harm.
    """
    flags = backends.cudnn
    return Settings(
        flags.deterministic or are_deterministic_algorithms_enabled(),
        flags.allow_tf32 or kind != "f",
        (flags.benchmark_limit or KEPT) if trying and flags.benchmark else 0,
    )


# -- what problems are made of -----------------------------------------------------------------------------------------


def data_type(kind: str) -> Any:
    """cuDNN's name of a dtype."""
    return getattr(frontend().data_type, DTYPES[kind])


def operand(graph: Any, number: int, sizes: Size, strides: Size, kind: str, by_value: bool = False) -> Any:
    """A tensor that a graph reads."""
    tensor = graph.tensor(
        name=f"operand_{number}", dim=list(sizes), stride=list(strides), data_type=data_type(kind),
        is_pass_by_value=by_value,
    )  # fmt: skip
    tensor.set_uid(number)
    return tensor


def result(tensor: Any, number: int, sizes: Size, strides: Size, kind: str) -> None:
    """Say of a tensor that an operation makes that the graph writes it, and how it lies."""
    tensor.set_uid(number)
    tensor.set_output(True)
    tensor.set_dim(list(sizes))
    tensor.set_stride(list(strides))
    tensor.set_data_type(data_type(kind))


# -- plans -------------------------------------------------------------------------------------------------------------


def built(problem: Problem, chosen: Settings, workspace: int, **options: Any) -> Any:
    """The graph of a problem, with its plan.

    Args:
        workspace: the most bytes that it may need beside its tensors.
        options: of ``cudnn.pygraph``: the handle, or the properties of a device that is not here.

    Raises:
        RuntimeError, cudnnGraphNotSupportedError: when cuDNN has no kernel for it.
    """
    cudnn = frontend()
    types = dict.fromkeys(("io_data_type", "intermediate_data_type", "compute_data_type"), cudnn.data_type.FLOAT)
    graph = cudnn.pygraph(name=type(problem).__name__, **types, **options)
    problem.add_to(graph)
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    notes = cudnn.numerical_note
    refused = [] if chosen.tf32 else [notes.TENSOR_CORE, notes.DOWN_CONVERT_INPUTS]
    refused += [notes.NONDETERMINISTIC] if chosen.deterministic else []
    if refused:
        graph.deselect_numeric_notes(refused)
    graph.deselect_workspace_greater_than(workspace)
    graph.check_support()
    if not chosen.tried:
        graph.build_plans()
    return graph


class _Plan:
    """A graph that can be run.

    Attributes:
        index: which of its plans is run, None for the one that cuDNN has chosen.
    """

    __slots__ = ("graph", "index", "workspace")

    def __init__(self, graph: Any, index: int | None = None) -> None:
        self.graph, self.index = graph, index
        sized = graph.get_workspace_size if index is None else graph.get_workspace_size_plan_at_index
        self.workspace = int(sized() if index is None else sized(index))

    def run(self, places: Mapping[int, int], handle: Any) -> None:
        # Held until the kernels are on the stream: whoever has the memory next comes after them.
        space = cupy.empty(max(self.workspace, ALIGNMENT), "B")
        if self.index is None:
            self.graph.execute(places, space.data.ptr, handle=handle)
        else:
            self.graph.execute_plan_at_index(places, space.data.ptr, self.index, handle=handle)


class _Context:
    """What a thread has of cuDNN on a device: its handles and plans serve one thread at a time."""

    def __init__(self) -> None:
        cudnn = frontend()
        self.handle = cudnn.create_handle()
        self.stream: int | None = None
        self.plans: OrderedDict[Key, _Plan | None] = OrderedDict()
        self.workspace = int(cupy.cuda.runtime.memGetInfo()[1]) // 4
        weakref.finalize(self, cudnn.destroy_handle, self.handle).atexit = False

    def plan(self, problem: Problem, chosen: Settings, places: Mapping[int, int]) -> _Plan | None:
        """The plan for a problem, None where cuDNN refuses it."""
        key = type(problem), problem, chosen
        if key in self.plans:
            self.plans.move_to_end(key)
            return self.plans[key]
        if chosen.tried and _is_capturing():
            return self.plan(problem, chosen._replace(tried=0), places)  # nothing can be timed now
        try:
            graph = built(problem, chosen, self.workspace, handle=self.handle)
            found = self._fastest(graph, chosen.tried, places) if chosen.tried else _Plan(graph)
        except _errors() as error:
            found, _refusals[problem] = None, str(error)
        self.plans[key] = found
        if len(self.plans) > KEPT:
            self.plans.popitem(last=False)
        return found

    def _fastest(self, graph: Any, tried: int, places: Mapping[int, int]) -> _Plan:
        """The fastest of the first plans that can be run, each run twice and timed once.

        Raises:
            RuntimeError: when none of them can be run.
        """
        best, least = None, float("inf")
        stream = cupy.cuda.get_current_stream()
        for index in range(graph.get_execution_plan_count()):
            if not tried:
                break
            try:
                graph.build_plan_at_index(index)
                plan = _Plan(graph, index)
                plan.run(places, self.handle)
            except _errors():
                continue  # one that the switches leave out, or that the device cannot run after all
            tried -= 1
            start = stream.record(cupy.cuda.Event())
            plan.run(places, self.handle)
            end = stream.record(cupy.cuda.Event())
            end.synchronize()
            time = float(cupy.cuda.get_elapsed_time(start, end))
            if time < least:
                best, least = plan, time
        if best is None:
            raise RuntimeError("none of the plans can be run")
        return best


def _errors() -> tuple[type[Exception], ...]:
    """What cuDNN raises where it has no kernel."""
    return RuntimeError, frontend().cudnnGraphNotSupportedError


def _is_capturing() -> bool:
    stream = cupy.cuda.get_current_stream()
    return bool(stream.ptr) and bool(stream.is_capturing())


class _Contexts(threading.local):
    """A thread's contexts, by device."""

    def __init__(self) -> None:
        self.of: dict[int, _Context] = {}


_contexts = _Contexts()
_refusals: dict[Problem, str] = {}


def refusals() -> dict[Problem, str]:
    """The problems that cuDNN has refused so far, and why."""
    return dict(_refusals)


def problems() -> Iterable[Problem]:
    """The problems that this thread has plans for."""
    return [key[1] for context in _contexts.of.values() for key, plan in context.plans.items() if plan is not None]


def run(problem: Problem, chosen: Settings, places: Mapping[int, int]) -> bool:
    """Have cuDNN do what a problem says, on the current stream.

    Args:
        places: the address of each tensor, by its number.

    Returns:
        bool: False where cuDNN refuses the problem; nothing was done then.
    """
    index = cupy.cuda.runtime.getDevice()
    context = _contexts.of.get(index)
    if context is None:
        context = _contexts.of[index] = _Context()
    stream = cupy.cuda.get_current_stream().ptr
    if context.stream != stream:
        frontend().set_stream(handle=context.handle, stream=stream)
        context.stream = stream
    plan = context.plan(problem, chosen, places)
    if plan is None:
        return False
    plan.run(places, context.handle)
    return True
