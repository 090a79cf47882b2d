"""Public functions of what only looks at memory in another way: ``view``, ``reshape``, ``transpose``, ``unsqueeze`` ...

Which primitive such a call comes to, and with which arguments, follows from the shape and the call's ints alone. It is
worked out once for each and looked up from then on: a view costs 1 µs over the kernel, where binding the arguments and
going through the decomposition takes 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd.grad_mode import state
from flambeau.autograd.node import Node, anomaly, next_seq, plan_for, record
from flambeau.dtypes import STORED, complex64, float32
from flambeau.ops import subscript as subscripts
from flambeau.ops.call import mark_view
from flambeau.ops.declare import OPS, REQUIRED, Op
from flambeau.ops.entry import CLOSED, entry, gates, named
from flambeau.ops.fast import LIMIT, Outline, are_ints
from flambeau.ops.indexing import ALL
from flambeau.ops.spec import Spec
from flambeau.tensor import Tensor, View, refresh

_new = object.__new__

#: The modules whose inline ops may come to a single view.
THEMES = frozenset(("views", "shape", "rearranging"))


class Resolved:
    """What a call comes to: the view ``primitive`` with the canonical arguments ``tail``."""

    __slots__ = ("dtype", "index", "plan", "primitive", "saved", "step", "tail")

    def __init__(self, primitive: Op, tail: tuple[Any, ...]) -> None:
        self.primitive = primitive
        self.index = primitive.index
        self.tail = tail
        self.step = (primitive.name, tail)
        self.plan = plan_for(primitive, (True,))
        self.saved: tuple[Any, ...] = ()  # what the tape keeps, for inputs of `dtype`
        self.dtype: Any = None

    @property
    def shape(self) -> Any:
        """Nothing: a decomposition that asks, to see whether it has a tensor before it, goes on after the view."""
        raise _NoView(self.primitive.name)

    def keep(self, input: Tensor) -> None:
        """Make ``saved`` for inputs like this one."""
        plan = self.plan
        saved: list[Any] = [None] * plan.size
        for position in plan.keep:
            saved[position] = self.tail[position - 1]
        for _, place in plan.specs:
            saved[place] = Spec(input._array.shape, input._dtype)
        self.saved, self.dtype = tuple(saved), input._dtype


_MISSING = object()


class _NoView(Exception):
    """A decomposition asked for more than a single view."""


class _Observer:
    """The namespace over which a decomposition says which view it comes to."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        op = OPS.get(name)
        if op is None or not (op.view or op.inline):
            raise _NoView(name)

        def call(input: Any, *args: Any) -> Any:
            if type(input) is not Outline:
                raise _NoView(name)  # a view of a view
            return _resolve(op, input, args)

        return call


_OBSERVER = _Observer()


def _resolve(op: Op, input: Outline, args: tuple[Any, ...]) -> Any:
    values = op.bind((input, *args), {})
    if op.inline:
        return op.body(_OBSERVER, *values)
    found = Resolved(op, tuple(values[1:]))
    kinds = (float32, complex64) if op.primitive else ()
    if any(op.body(Spec(input.shape, kind), *found.tail).dtype is not kind for kind in kinds):
        raise _NoView(op.name)  # the real part of complex numbers, say
    if not (op.primitive or op.has_vjp) or found.plan.kept_inputs or found.plan.keep_result:
        raise _NoView(op.name)
    return found


def look(found: Resolved, input: Tensor) -> Tensor:
    """The view ``found`` of a tensor with the shape that it was worked out for."""
    where = input._device
    array = where.table[found.index](input._array, *found.tail)
    backend = where.backend
    if array.__class__ is not backend.array_type:  # type: ignore[union-attr]
        array = backend.as_array(array)  # type: ignore[union-attr]
    output = _new(Tensor)
    output._array = array
    output._form = None
    output._dtype = input._dtype
    output._device = where
    output._grad = output._node = None
    cell = input._version
    if cell is None:
        cell = input._version = [0]
    output._version = cell
    view = input._view
    if view is not None:
        refresh(input)
    if not state.enabled:
        output._view = None  # it shares memory and takes no part in the history
        return output
    if input._node is not None:
        if anomaly.enabled:
            record(found.primitive, [input, *found.tail], output)
            output._version = None
            mark_view(found.primitive, [input, *found.tail], output)
            return output
        if found.dtype is not input._dtype:
            found.keep(input)
        node = _new(Node)
        node.plan = found.plan
        node.parents = (input._node,)
        node.seq = next_seq()
        node.device = where
        node.extra = node.shapes = node.checks = None
        node.saved = found.saved
        output._node = node
    if view is None:
        output._view = View(input, (found.step,), cell[0])
    else:
        output._view = View(view.base, (*view.steps, found.step), cell[0])
    return output


def viewing(op: Op) -> Callable[..., Any]:
    """Entry of a view, or of an inline op that may come to one; of any other op it is :func:`entry`'s."""
    general = entry(op)
    known: dict[Any, Any] = {}  # a Resolved, an Outline, or None for what the general path serves
    highest = CLOSED

    def gate(closed: bool) -> None:
        nonlocal highest
        highest = STORED - 1 if closed else CLOSED

    gates.setdefault(op, []).append(gate)

    def work_out(shape: tuple[int, ...], args: tuple[Any, ...]) -> Any:
        try:
            found = _resolve(op, Outline(shape), args)
        except Exception:
            found = None  # the general path either computes it or says what is wrong
        if len(known) >= LIMIT:
            known.clear()
        if type(found) is not Resolved and type(found) is not Outline:
            found = None
        known[shape, args] = found
        return found

    def call(input: Any = REQUIRED, *args: Any, **kwargs: Any) -> Any:
        if kwargs or not isinstance(input, Tensor) or input._dtype.category > highest:
            return general(*args, **kwargs) if input is REQUIRED else general(input, *args, **kwargs)
        for value in args:
            if value.__class__ is not int and not are_ints(value):
                return general(input, *args)
        key = (input._array.shape, args)
        found = known.get(key, _MISSING)
        if found is _MISSING:
            found = work_out(*key)
        if found is None:
            return general(input, *args)
        if found.__class__ is Outline:
            return input  # a decomposition that gave back what it got, as `flatten` of a vector
        try:
            return look(found, input)
        except RuntimeError:
            return general(input, *args)  # `reshape` makes a copy then

    return named(call, op)


# -- subscripts ------------------------------------------------------------------------------------------------------


def getitem(input: Any, subscript: Any) -> Any:
    """``input[subscript]``: a view for ints, slices, None and Ellipsis, a copy for index tensors and masks."""
    key = _key(subscript)
    if key is None:
        basic, indices = subscripts.parse(input, subscript)
        if indices is None:
            return _view(input, basic)
        viewed = input if all(item is ALL or item == ALL for item in basic) else _view(input, basic)
        return subscripts.index_tensor(viewed, indices)
    shape = input._array.shape
    found = _known.get((shape, key))
    if found is None:
        if subscript.__class__ is int and not shape:
            raise IndexError("invalid index of a 0-dim tensor. Use `tensor.item()` to convert it to a Python number")
        found = _resolved(subscripts.parse(input, subscript)[0])
        if len(_known) >= LIMIT:
            _known.clear()
        _known[shape, key] = found
    return look(found, input)


_known: dict[Any, Resolved] = {}  # by shape and subscript


def _key(subscript: Any) -> Any:
    """What stands for a subscript of ints, slices of ints, Nones and Ellipses; None for any other."""
    if subscript.__class__ is int:
        return subscript
    key: list[Any] = []
    for item in subscript if subscript.__class__ is tuple else (subscript,):
        if item.__class__ is slice:
            for bound in (item.start, item.stop, item.step):
                if bound.__class__ is not int and bound is not None:
                    return None
            key.append((item.start, item.stop, item.step))
        elif item.__class__ is int or item is None or item is Ellipsis:
            key.append(item)
        else:
            return None
    return tuple(key)


def _resolved(basic: tuple[Any, ...]) -> Resolved:
    return Resolved(OPS["basic_index"], (basic,))


def _view(input: Any, basic: tuple[Any, ...]) -> Any:
    return look(_resolved(basic), input)
