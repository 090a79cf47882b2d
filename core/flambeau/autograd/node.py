"""The tape: what is recorded of an operation that needs a gradient."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from flambeau.dtypes import FLOATING
from flambeau.forms import form_of

if TYPE_CHECKING:
    from flambeau.devices import device
    from flambeau.ops.declare import Op
    from flambeau.tensor import Tensor

# Nodes are numbered as they are made; the backward pass takes them in the reverse order. A node's parents are
# always older than the node.
next_seq = itertools.count(1).__next__


class Node:
    """One recorded operation.

    Attributes:
        plan: which gradients are needed, and how to get them (see :class:`Plan`).
        parents: for each tensor argument the node (or :class:`Leaf`, or :class:`Slot`) it came from, or None.
        saved: what the formulas read, laid out as the plan says; None once it has been released.
        checks: ``(version cell, version)`` pairs, flat, of what was saved; None when nothing can have changed.
        shapes: the tensor arguments' shapes where broadcasting has to be undone, else None.
        device: where the operation ran.
        extra: hooks and diagnostics, usually None.
        outputs: how many outputs there are, where there are several (not set otherwise).
    """

    __slots__ = ("__weakref__", "checks", "device", "extra", "outputs", "parents", "plan", "saved", "seq", "shapes")

    plan: Any
    parents: tuple[Any, ...]
    saved: tuple[Any, ...] | None
    checks: tuple[Any, ...] | None
    shapes: tuple[Any, ...] | None
    device: device
    extra: Extra | None
    seq: int
    outputs: int

    def name(self) -> str:
        """The operation's name as PyTorch shows it, ``MulBackward0``."""
        words = self.plan.op.name.split("_")
        return "".join(word.capitalize() for word in words) + "Backward0"

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that gradients flow to (``torch.autograd.graph.Node.next_functions``)."""
        return tuple((p.node, p.index) if type(p) is Slot else (p, 0) for p in self.parents)

    @property
    def metadata(self) -> dict[str, Any]:
        """A dictionary for the user's own notes."""
        return extra_of(self).metadata

    def register_hook(self, hook: Any) -> RemovableHandle:
        """Call ``hook(grad_inputs, grad_outputs)`` when the node has run; what it returns replaces ``grad_inputs``."""
        return RemovableHandle(extra_of(self).post_hooks, hook)

    def register_prehook(self, hook: Any) -> RemovableHandle:
        """Call ``hook(grad_outputs)`` before the node runs; what it returns replaces ``grad_outputs``."""
        return RemovableHandle(extra_of(self).pre_hooks, hook)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class Extra:
    """What few nodes have: hooks, retained gradients, the traceback of anomaly mode."""

    __slots__ = ("hooks", "metadata", "post_hooks", "pre_hooks", "retained", "slots", "traceback")

    def __init__(self) -> None:
        self.hooks: dict[int, Any] = {}
        self.pre_hooks: dict[int, Any] = {}
        self.post_hooks: dict[int, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.retained: weakref.ref[Tensor] | None = None
        self.slots: dict[int, Slot] | None = None
        self.traceback: list[str] | None = None


# The leaves that have an Extra: while there are any, a backward pass finds out when their gradients are complete.
watched_leaves: weakref.WeakSet[Leaf] = weakref.WeakSet()


def extra_of(node: Any) -> Extra:
    """A node's :class:`Extra`, made when missing."""
    if node.extra is None:
        node.extra = Extra()
        if type(node) is Leaf:
            watched_leaves.add(node)
        if type(node) is Slot:
            owner = extra_of(node.node)
            owner.slots = {} if owner.slots is None else owner.slots
            owner.slots[node.index] = node
    extra: Extra = node.extra
    return extra


class Slot:
    """One output of an operation that has several; it stands for the node as a parent."""

    __slots__ = ("__weakref__", "extra", "index", "node")

    def __init__(self, node: Node, index: int) -> None:
        self.node = node
        self.index = index
        self.extra: Extra | None = None


class Leaf:
    """The end of the tape at a tensor that the user made and that requires a gradient.

    It knows its tensor weakly: a gradient that nobody can read is not kept.
    """

    __slots__ = ("__weakref__", "extra", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = weakref.ref(tensor)
        self.extra: Extra | None = None

    @property
    def variable(self) -> Tensor | None:
        """The tensor, or None when it is gone."""
        return self.tensor()

    next_functions: tuple[()] = ()

    def name(self) -> str:
        return "AccumulateGrad"

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self):#x}>"


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook out again; also a context manager."""

    _ids = itertools.count()

    def __init__(self, hooks: dict[int, Any], hook: Any, first: bool = False) -> None:
        self.id = next(RemovableHandle._ids)
        self._hooks = hooks
        if first:
            later = dict(hooks)
            hooks.clear()
            hooks[self.id] = hook
            hooks.update(later)
        else:
            hooks[self.id] = hook

    def remove(self) -> None:
        """Take the hook out; nothing happens the second time."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


# Where a formula's argument comes from. `saved` holds the op's arguments in order, the output(s), then the Specs and
# single outputs that formulas ask for; the kind of output number i is OUTPUT + i.
INPUT, RESULT, ATTRIBUTE, OUTPUT = range(4)


class Plan:
    """For one op and one choice of inputs that need a gradient: what to save, which formulas to call.

    Attributes:
        needs: one bool a tensor parameter.
        keeps_first, keeps_second: whether the first and the second argument are saved.
        keep: positions of the arguments that are saved (tensors as raw arrays, attributes as they are).
        specs: ``(position, index into saved)`` of the tensor arguments of which the Spec is saved.
        outputs: ``(number, index into saved)`` of the outputs that are saved by themselves (``result_1`` ...).
        keep_result: whether the output, of several all of them, is saved.
        saves: whether anything is saved.
        is_plain: whether each tensor parameter is one tensor.
        calls: ``(place among the tensor parameters, formula, take, only)``; ``take(saved)`` is what the formula reads,
            ``only`` the index where that is one thing, else None.
        take: the same for ``joint``, the formula of all gradients together, where there is one.
        kinds: for each index into ``saved``: INPUT, RESULT, ATTRIBUTE or OUTPUT + number.
    """

    __slots__ = (
        "calls", "is_plain", "joint", "keep", "keep_result", "keeps_first", "keeps_second", "kept_inputs", "kinds",
        "needs", "op", "outputs", "places", "saves", "size", "specs", "take",
    )  # fmt: skip

    def __init__(self, op: Op, needs: tuple[bool, ...]) -> None:
        self.op = op
        self.needs = needs
        self.joint = op.joint
        self.is_plain = not op.has_sequence
        count = len(op.parameters)
        result = count
        self.places = {position: place for place, position in enumerate(op.tensor_positions)}
        keep: set[int] = set()
        specs: dict[int, int] = {}
        outputs: dict[int, int] = {}
        extras: list[int] = []
        self.keep_result = False

        def place_for(number: int, places: dict[int, int], kind: int) -> int:
            if number not in places:
                extras.append(kind)
                places[number] = count + len(extras)
            return places[number]

        def picks_of(formula: Any, skip: int) -> tuple[int, ...]:
            code = formula.__code__
            picks = []
            for name in code.co_varnames[skip : code.co_argcount]:
                if name in ("result", "results"):
                    self.keep_result = True
                    picks.append(result)
                elif name in op.positions:
                    keep.add(op.positions[name])
                    picks.append(op.positions[name])
                elif name.endswith("_spec") and name[:-5] in op.positions:
                    picks.append(place_for(op.positions[name[:-5]], specs, ATTRIBUTE))
                elif name.startswith("result_") and name[7:].isdigit():
                    number = int(name[7:])
                    picks.append(place_for(number, outputs, OUTPUT + number))
                else:
                    raise TypeError(f"the gradient of {op.name} asks for {name!r}, which is no parameter of the op")
            return tuple(picks)

        self.calls: tuple[Any, ...] = ()
        self.take = taker(())
        if op.joint is not None:
            self.take = taker(picks_of(op.joint, 3))
        else:
            for place, position in enumerate(op.tensor_positions):
                formula = op.formulas.get(op.names[position])
                if needs[place] and formula is not None:
                    picks = picks_of(formula, 2)
                    only = picks[0] if len(picks) == 1 else None
                    self.calls += ((place, formula, taker(picks), only),)
        self.keep = tuple(sorted(keep))
        self.keeps_first, self.keeps_second = 0 in keep, 1 in keep
        self.kept_inputs = tuple(position for position in self.keep if op.parameters[position].is_tensor)
        self.specs = tuple(specs.items())
        self.outputs = tuple(outputs.items())
        self.kinds = [INPUT if p.is_tensor else ATTRIBUTE for p in op.parameters] + [RESULT, *extras]
        self.size = len(self.kinds)
        self.saves = bool(self.keep or self.specs or self.outputs) or self.keep_result


def taker(picks: tuple[int, ...]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """The function that takes the entries ``picks`` out of a tuple."""
    if len(picks) > 1:
        return itemgetter(*picks)
    if picks:
        (only,) = picks
        return lambda saved: (saved[only],)
    return lambda saved: ()


def plan_for(op: Op, needs: tuple[bool, ...]) -> Plan:
    plan: Plan | None = op.plans.get(needs)
    if plan is None:
        plan = op.plans[needs] = Plan(op, needs)
    return plan


def version_cell(tensor: Tensor) -> list[int]:
    """The version counter that a tensor shares with its aliases, made when first needed."""
    cell: list[int] | None = tensor._version
    if cell is None:
        cell = tensor._version = [0]
    return cell


def record(op: Op, values: list[Any], outputs: Any) -> Node:
    """Make the node of a call and hang its output tensors on it.

    Args:
        op: the op, with a gradient of its own.
        values: canonical arguments in the order of the parameters, tensors as tensors.
        outputs: the Tensor that came out, or a tuple of Tensors.
    """
    parents: list[Any] = []
    needs = []
    for position in op.tensor_positions:
        value = values[position]
        if type(value) is list:
            nodes = [None if tensor is None else tensor._node for tensor in value]
            parents += nodes
            needs.append(any(node is not None for node in nodes))
        else:
            own = getattr(value, "_node", None)
            parents.append(own)
            needs.append(own is not None)
    plan = plan_for(op, tuple(needs))
    saved: list[Any] = [None] * plan.size
    checks: list[Any] = []
    for position in plan.keep:
        value = values[position]
        if position not in plan.kept_inputs:
            saved[position] = value
        elif type(value) is list:
            saved[position] = [None if tensor is None else tensor._array for tensor in value]
            for tensor in value:
                if tensor is not None:
                    cell = version_cell(tensor)
                    checks += (cell, cell[0])
        elif hasattr(value, "_array"):
            saved[position] = value._array
            cell = value._version
            if cell is None:
                cell = value._version = [0]
            checks += (cell, cell[0])
        else:
            saved[position] = value
    for position, place in plan.specs:
        value = values[position]
        if type(value) is list:
            saved[place] = [(tensor._form or form_of(tensor)).spec(tensor._dtype) for tensor in value]
        elif hasattr(value, "_array"):
            saved[place] = (value._form or form_of(value)).spec(value._dtype)
    node = Node()
    node.plan = plan
    node.parents = tuple(parents)
    node.seq = next_seq()
    node.extra = node.shapes = None
    if type(outputs) is tuple:
        node.device = next(output._device for output in outputs if output is not None)
        node.outputs = len(outputs)
        for number, place in plan.outputs:
            saved[place] = outputs[number]._array
            cell = version_cell(outputs[number])
            checks += (cell, cell[0])
        if plan.keep_result:
            saved[len(op.parameters)] = tuple([None if output is None else output._array for output in outputs])
            for output in outputs:
                if output is None:
                    continue
                checks += (version_cell(output), output._version[0])
        for index, output in enumerate(outputs):
            if output is not None and output._dtype.category >= FLOATING:
                output._node = Slot(node, index)
    else:
        node.device = outputs._device
        if plan.keep_result:
            saved[len(op.parameters)] = outputs._array
            cell = version_cell(outputs)
            checks += (cell, cell[0])
        outputs._node = node
        if op.pointwise:
            node.shapes = _broadcast_from(op, values, outputs)
    node.saved = tuple(saved)
    node.checks = tuple(checks) if checks else None
    if anomaly.enabled:
        import traceback

        extra_of(node).traceback = traceback.format_stack()[:-2]
    return node


def _broadcast_from(op: Op, values: list[Any], output: Tensor) -> tuple[Any, ...] | None:
    """The shapes of the tensor arguments; None when all are the output's."""
    form = output._form or form_of(output)
    forms = [form] * len(op.tensor_positions)
    for place, position in enumerate(op.tensor_positions):
        value = values[position]
        if hasattr(value, "_array"):
            forms[place] = value._form or form_of(value)
    if all(own is form for own in forms):
        return None
    return tuple([own.shape for own in forms])


class _Anomaly:
    """Switched by ``flambeau.autograd.set_detect_anomaly``."""

    __slots__ = ("check_nan", "enabled")

    def __init__(self) -> None:
        self.enabled = False
        self.check_nan = True


anomaly = _Anomaly()
