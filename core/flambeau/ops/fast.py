"""Public functions of the commonest ops: one to two tensors and no detours.

They do what :mod:`~flambeau.ops.entry` and :func:`~flambeau.ops.call.apply` do, written out for their case: 0.8 µs over
the kernel with the tape on, where the general path takes 3 µs.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from flambeau.autograd.grad_mode import silent, state
from flambeau.autograd.node import Node, anomaly, next_seq, plan_for, record
from flambeau.dtypes import FLOATING, INTEGER, bfloat16, bool_
from flambeau.dtypes import dtype as dtype_class
from flambeau.forms import form_of
from flambeau.ops.call import apply, kernel_error, mark_view, wrap_result
from flambeau.ops.declare import REQUIRED, Op
from flambeau.ops.entry import CLOSED, entry, gates, named, named_result
from flambeau.ops.spec import Spec
from flambeau.tensor import Tensor, refresh

_new = object.__new__

#: Programs call an op with so many shapes and arguments at most, or with so varied ones that there is no use in
#: remembering what they come to.
LIMIT = 4096


class Outline:
    """Stands for a tensor, and for its array, where arguments are made canonical: a shape, perhaps a dtype, no more."""

    __slots__ = ("_dtype", "ndim", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any = None) -> None:
        self.shape = shape
        self.ndim = len(shape)
        if dtype is not None:
            self._dtype = dtype

    @property
    def _array(self) -> Outline:
        return self

    def numel(self) -> int:
        return prod(self.shape)


def are_ints(value: Any) -> bool:
    """Whether ``value`` is a tuple of ints: of floats and bools, which may equal them, it is not."""
    return isinstance(value, tuple) and all(item.__class__ is int for item in value)


# Arguments that mean the same whenever they are equal, and the tensor has the same shape and dtype.
_REMEMBERED = {"Dim", "Dim | None", "Dims", "SomeDims", "Size", "bool", "int", "int | None", "str", "DType",
               "DType | None"}  # fmt: skip
_SIMPLE = frozenset((int, bool, str, type(None), dtype_class))


class _Prepared:
    """What a call comes to: the canonical arguments after the tensor, and what the tape keeps beside arrays."""

    __slots__ = ("saved", "tail")

    def __init__(self, plan: Any, values: list[Any], spec: Spec) -> None:
        self.tail = tuple(values[1:])
        saved: list[Any] = []
        if plan is not None:
            saved = [None] * plan.size
            for position in plan.keep:
                saved[position] = values[position] if position else None
            for _, place in plan.specs:
                saved[place] = spec
        self.saved = tuple(saved)


def single(op: Op) -> Callable[..., Any]:
    """Entry of an op whose first argument is its one tensor, the others attributes (3 µs where `apply` takes 6)."""
    index = op.index
    bind = op.bind
    view = op.view
    recorded = op.differentiable and op.has_vjp
    decomposed = op.differentiable and not op.primitive and not op.has_vjp
    lowest = open_to = FLOATING if op.rule == "float" else 0
    variant_names = op.variant_names
    result = len(op.parameters)
    plan: Any = None
    remembers = all(p.annotation in _REMEMBERED for p in op.parameters[1:])
    known: dict[Any, _Prepared] = {}

    def gate(closed: bool) -> None:
        nonlocal lowest
        lowest = CLOSED if closed else open_to

    gates.setdefault(op, []).append(gate)

    def prepare(input: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], key: Any) -> Any:
        """Make the arguments canonical; keep what that comes to for the next call with the like, where it may be."""
        nonlocal plan
        if plan is None and op.has_vjp:
            plan = plan_for(op, (True,))
        spec = form_of(input).spec(input._dtype)
        if key is not None:
            try:
                values = bind((Outline(spec.shape, spec.dtype), *args), kwargs)
            except Exception:
                key = None  # looks at more than the outline, or says what is wrong
        if key is None:
            values = bind((input, *args), kwargs)
            if values[0] is not input:
                return values
        found = _Prepared(plan, values, spec)
        if key is not None:
            if len(known) >= LIMIT:
                known.clear()
            known[key] = found
        return found

    def call(input: Any = REQUIRED, *args: Any, **kwargs: Any) -> Any:
        if (
            not isinstance(input, Tensor)
            or input._dtype.category < lowest
            or (kwargs and ("out" in kwargs or not variant_names.isdisjoint(kwargs)))
        ):
            return general(*args, **kwargs) if input is REQUIRED else general(input, *args, **kwargs)
        key: Any = None
        if remembers:
            key = (input._form or form_of(input), input._dtype, args)
            if args or kwargs:
                if kwargs:
                    key += tuple(kwargs.items())
                for value in (*args, *kwargs.values()):
                    if type(value) not in _SIMPLE and not are_ints(value):
                        key = None
                        break
        found = None if key is None else known.get(key)
        if found is None:
            found = prepare(input, args, kwargs, key)
            if type(found) is list:
                return apply(op, found) if op.fields is None else named_result(op, apply(op, found))
        if input._view is not None:
            refresh(input)
        parent = input._node
        if parent is not None and silent and not state.enabled:
            parent = None
        if (decomposed and parent is not None) or (op.keeps_dtype and input._dtype is bfloat16):
            outcome = apply(op, [input, *found.tail])
            return outcome if op.fields is None else named_result(op, outcome)
        where = input._device
        own = input._array
        array = where.table[index](own, *found.tail)
        backend = where.backend
        if type(array) is not backend.array_type:  # type: ignore[union-attr]
            if type(array) is tuple or type(array) is list:
                outputs = tuple([None if part is None else wrap_result(part, where) for part in array])
                if recorded and parent is not None:
                    record(op, [input, *found.tail], outputs)
                return outputs if op.fields is None else named_result(op, outputs)
            array = backend.as_array(array)  # type: ignore[union-attr]
        output = _new(Tensor)
        output._array = array
        output._dtype = backend.dtype_of(array)  # type: ignore[union-attr]
        output._device = where
        output._form = output._grad = output._version = output._view = output._node = None
        if recorded and parent is not None:
            if anomaly.enabled:
                record(op, [input, *found.tail], output)
            else:
                node = Node()
                node.plan = plan
                node.parents = (parent,)
                node.seq = next_seq()
                node.device = where
                node.extra = node.shapes = node.checks = None
                if plan.kept_inputs or plan.keep_result:
                    saved = list(found.saved)
                    if plan.kept_inputs:
                        saved[0] = own
                        cell = input._version
                        if cell is None:
                            cell = input._version = [0]
                        node.checks = (cell, cell[0])
                    if plan.keep_result:
                        saved[result] = array
                        cell = output._version = [0]
                        node.checks = (cell, 0) if node.checks is None else (*node.checks, cell, 0)
                    node.saved = tuple(saved)
                else:
                    node.saved = found.saved
                output._node = node
        if view:
            mark_view(op, [input, *found.tail], output)
        return output

    general = entry(op)
    return named(call, op)


def unary(op: Op) -> Callable[..., Any]:
    """Entry of an elementwise op with one tensor and nothing else."""
    index = op.index
    lowest = open_to = {"float": FLOATING, "number": INTEGER}.get(op.rule or "", 0)
    keeps_dtype = op.rule in ("same", "float", "number")
    differentiable = op.differentiable
    decomposed = differentiable and not op.primitive and not op.has_vjp
    plan: Any = None
    nothing = (None, None)

    def gate(closed: bool) -> None:
        nonlocal lowest
        lowest = CLOSED if closed else open_to

    gates.setdefault(op, []).append(gate)

    def call(input: Any = REQUIRED, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or not isinstance(input, Tensor) or input._dtype.category < lowest:
            return general(*args, **kwargs) if input is REQUIRED else general(input, *args, **kwargs)
        if decomposed:
            return apply(op, [input])
        where = input._device
        own = input._array
        form = input._form or form_of(input)
        try:
            array = (where.table if form.is_large else where.bare)[index](own)
        except TypeError as error:
            raise kernel_error(op, error, [input]) from error
        backend = where.backend
        if type(array) is not backend.array_type:  # type: ignore[union-attr]
            array = backend.as_array(array)  # type: ignore[union-attr]
        output = _new(Tensor)
        output._array = array
        output._form = form
        output._dtype = input._dtype if keeps_dtype else backend.dtype_of(array)  # type: ignore[union-attr]
        output._device = where
        output._node = output._grad = output._version = output._view = None
        if input._view is not None:
            refresh(input)
        parent = input._node
        if parent is None or not differentiable or (silent and not state.enabled):
            return output
        nonlocal plan
        if plan is None:
            plan = plan_for(op, (True,))
        if anomaly.enabled or plan.specs:
            record(op, [input], output)
            return output
        node = Node()
        node.plan = plan
        node.parents = (parent,)
        node.seq = next_seq()
        node.device = where
        node.shapes = node.extra = None
        if plan.keep_result:
            cell = output._version = [0]
            checks: Any = (cell, 0)
            saved: Any = (own, array) if plan.kept_inputs else (None, array)
        else:
            checks = None
            saved = (own, None)
        if plan.kept_inputs:
            kept = input._version
            if kept is None:
                kept = input._version = [0]
            checks = (kept, kept[0]) if checks is None else (kept, kept[0], *checks)
        elif checks is None:
            saved = nothing
        node.saved = saved
        node.checks = checks
        output._node = node
        return output

    general = entry(op)
    return named(call, op)


# A comprehension in the function below would turn three of its variables into cells, which are made in every call.
def _specs(plan: Any, shapes: tuple[Any, Any], dtype: Any) -> tuple[Spec, ...]:
    return tuple([Spec(shapes[position], dtype) for position, _ in plan.specs])


def binary(op: Op) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Function and operator method of an op with two operands and nothing else."""
    index = op.index
    to_bool = op.rule == "bool"
    lowest = open_to = FLOATING if op.rule == "float" else 0
    differentiable = op.differentiable
    broadcasts = op.pointwise
    no_bool = op.name == "sub"
    general = entry(op)
    # By which operands need a gradient: 1 the first, 2 the second, 3 both.
    plans: list[Any] = [None, None, None, None]
    nothing = (None, None, None)

    def gate(closed: bool) -> None:
        nonlocal lowest
        lowest = CLOSED if closed else open_to

    gates.setdefault(op, []).append(gate)

    def prepare(mask: int) -> Any:
        plan = plans[mask] = plan_for(op, (bool(mask & 1), bool(mask & 2)))
        return plan

    def call(input: Any, other: Any) -> Any:
        try:
            where = input._device
        except AttributeError:
            raise TypeError(f"{op.name}: the operator needs a Tensor, got {type(input).__name__}") from None
        common = input._dtype
        form = input._form or form_of(input)
        left = input._array
        if isinstance(other, Tensor):
            if other._dtype is not common or other._device is not where:
                return general(input, other)
            right = other._array
            other_form = other._form or form_of(other)
            kernels = where.table if form.is_large else where.bare
            if other._view is not None:
                refresh(other)
            second = other._node
        elif (
            broadcasts
            and common.category >= FLOATING
            and (type(other) is float or type(other) is int)
            and common is not bfloat16
        ):
            right = other
            other_form = form
            kernels = where.table
            second = None
        else:
            return general(input, other)
        if common.category < lowest or (no_bool and common is bool_):
            return general(input, other)
        try:
            array = kernels[index](left, right)
        except (TypeError, ValueError) as error:
            raise kernel_error(op, error, [input, other]) from error
        backend = where.backend
        if type(array) is not backend.array_type:
            array = backend.as_array(array)
        output = _new(Tensor)
        output._array = array
        output._form = form if broadcasts and form is other_form else None
        output._dtype = bool_ if to_bool else common
        output._device = where
        output._node = output._grad = output._version = output._view = None
        if input._view is not None:
            refresh(input)
        first = input._node
        if first is None:
            if second is None:
                return output
            mask = 2
        else:
            mask = 1 if second is None else 3
        if not differentiable or (silent and not state.enabled):
            return output
        if anomaly.enabled:
            record(op, [input, other], output)
            return output
        plan = plans[mask] or prepare(mask)
        node = Node()
        node.plan = plan
        node.parents = (first, second)
        node.seq = next_seq()
        node.device = where
        node.extra = node.checks = node.shapes = None
        if plan.saves:
            if not plan.keeps_first:
                left = None
            else:
                cell = input._version
                if cell is None:
                    cell = input._version = [0]
                node.checks = (cell, cell[0])
            if not plan.keeps_second:
                right = None
            elif right is not other:
                cell = other._version
                if cell is None:
                    cell = other._version = [0]
                node.checks = (cell, cell[0]) if node.checks is None else (*node.checks, cell, cell[0])
            if not plan.keep_result:
                array = None
            else:
                cell = output._version = [0]
                node.checks = (cell, 0) if node.checks is None else (*node.checks, cell, 0)
            node.saved = (left, right, array)
            if plan.specs:
                node.saved += _specs(plan, (form.shape, other_form.shape), common)
        else:
            node.saved = nothing
        if form is not other_form and broadcasts and form.shape != other_form.shape:
            node.shapes = (form.shape, other_form.shape)
        output._node = node
        return output

    def function(input: Any, other: Any = None, *args: Any, **kwargs: Any) -> Any:
        if other is not None and not args and not kwargs and isinstance(input, Tensor):
            return call(input, other)
        if other is None:
            return general(input, *args, **kwargs)
        return general(input, other, *args, **kwargs)

    return named(function, op), call
