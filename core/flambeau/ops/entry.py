"""The public functions of ops: arguments bound, keywords and ``out=`` seen to, results named."""

from __future__ import annotations

import warnings
from collections import namedtuple
from collections.abc import Callable
from typing import Any

from flambeau.autograd.grad_mode import state
from flambeau.devices import levels
from flambeau.dtypes import FLOATING, INTEGER, float32, float64, int64, uint8
from flambeau.ops.call import TENSORS, apply
from flambeau.ops.declare import Op
from flambeau.ops.inplace import apply_inplace, bump
from flambeau.tensor import Tensor

# -- calls that something else answers -------------------------------------------------------------------------------

# While a thread is inside `autocast`, an interceptor `(call, args, kwargs)` stands before each op on its lists. It
# gives the result or NotImplemented. Only `entry` looks for it. The closures for hot ops below do not: their gates, set
# by `intercept`, raise the lowest dtype category that they handle above all there are, which sends calls to `entry` by
# a comparison that they make anyway. So nothing is slower while no thread is inside `autocast`.
_interceptors: dict[Op, Callable[..., Any]] = {}
gates: dict[Op, list[Callable[[bool], None]]] = {}
CLOSED = 99


def intercept(op: Op, interceptor: Callable[..., Any] | None) -> None:
    """Have ``interceptor`` asked before every call of ``op`` (not of its in-place form); None ends that."""
    if interceptor is None:
        _interceptors.pop(op, None)
    else:
        _interceptors[op] = interceptor
    for gate in gates.get(op, ()):
        gate(interceptor is not None)


# -- entry points ----------------------------------------------------------------------------------------------------


def entry(op: Op) -> Callable[..., Any]:
    """The public function of an op."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if _interceptors:
            interceptor = _interceptors.get(op)  # once: another thread may take it away
            if interceptor is not None:
                result = interceptor(call, args, kwargs)
                if result is not NotImplemented:
                    return result
        out = None
        if kwargs:
            out = kwargs.pop("out", None)
            if op.variant is not None and not op.variant_names.isdisjoint(kwargs):
                result = op.variant(TENSORS, *args, **kwargs)
                return result if out is None else write_out(op, result, out, args)
        result = apply(op, op.bind(args, kwargs))
        if op.fields is not None and type(result) is tuple:
            result = named_result(op, result)
        return result if out is None else write_out(op, result, out, args)

    return named(call, op)


def inplace_entry(op: Op) -> Callable[..., Any]:
    """The method ``name_`` of an op.

    What optimizers and running averages do most, a number or a like tensor into a tensor off the tape, takes 1 µs over
    the kernel; :func:`apply_inplace` takes 5.
    """
    name = op.name + "_"
    takes_one = op.primitive and op.pointwise and len(op.parameters) == 2 and op.rule in ("promote", "float")
    lowest = FLOATING if op.rule == "float" else INTEGER

    def call(*args: Any, **kwargs: Any) -> Tensor:
        if takes_one and len(args) == 2 and not kwargs:
            target, other = args
            if isinstance(target, Tensor) and (not state.enabled or (target._node is None and target._view is None)):
                kind = target._dtype
                where = target._device
                raw = None
                if isinstance(other, Tensor):
                    array = other._array
                    alike = other._dtype is kind and other._device is where and array.shape == target._array.shape
                    if alike and kind.category >= lowest and (other._node is None or not state.enabled):
                        raw = array
                elif (kind is float32 or kind is float64) and (other.__class__ is float or other.__class__ is int):
                    raw = other
                elif kind is int64 and other.__class__ is int and lowest == INTEGER and abs(other) < _INT64_LIMIT:
                    raw = other
                if raw is not None:
                    getattr(where.xp, name)(target._array, raw)
                    bump(target)
                    return target
        if op.variant is not None and not op.variant_names.isdisjoint(kwargs):
            result: Tensor = TENSORS.copy_(args[0], op.variant(TENSORS, *args, **kwargs))
            return result
        return apply_inplace(op, op.bind(args, kwargs))

    named(call, op)
    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"In-place form of :func:`flambeau.{op.name}`."
    return call


_INT64_LIMIT = 1 << 63


_result_types: dict[str, Any] = {}


def named_result(op: Op, result: tuple[Any, ...]) -> Any:
    """Several outputs as the op's named tuple."""
    kind = _result_types.get(op.name)
    if kind is None:
        kind = _result_types[op.name] = namedtuple(op.name.removesuffix("_along"), op.fields or ())
    return kind(*result)


# Ops of these themes pick or rearrange elements: `out=` has to have the dtype of the result and memory of its own.
_PICKING = {"counting", "gathering", "indexing", "reduction", "sorting"}


def write_out(op: Op, result: Any, out: Any, inputs: Any = ()) -> Any:
    """Write a result into ``out=`` (a tensor or a tuple of tensors), resizing an ``out`` of another shape.

    Args:
        inputs: the arguments of the call, whose memory ``out`` must not overlap in part.
    """
    if isinstance(result, tuple):
        for own, target in zip(result, out, strict=True):
            write_out(op, own, target, inputs)
        return out
    if not isinstance(out, Tensor):
        raise TypeError(f"{op.name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if levels.stack and result._device is not out._device:
        from flambeau.levels import refuse_deeper

        refuse_deeper(f"{op.name}() with out=", out, result)
    if out._node is not None and state.enabled:
        raise RuntimeError(f"{op.name}(): functions with out=... arguments don't support automatic differentiation, "
                           "but one of the arguments requires grad")  # fmt: skip
    if result._dtype.category > out._dtype.category:
        raise RuntimeError(
            f"{op.name}(): result type {result._dtype.name} can't be cast to the desired output type {out._dtype.name}"
        )
    picks = op.rule is None and op.theme in _PICKING and "dtype" not in op.names
    if picks and result._dtype is not out._dtype and out._dtype is not uint8:
        raise RuntimeError(
            f"{op.name}(): Expected out tensor to have dtype {result._dtype.name}, but got {out._dtype.name} instead"
        )
    if not out.is_meta and out.numel():
        _check_overlap(op, out, inputs, picks or op.theme == "joining")
    if tuple(out.shape) != tuple(result.shape):
        if out.numel():
            warnings.warn(
                f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does not "
                f"match the required output shape {list(result.shape)} of {op.name}(). Reuse an output of that shape, "
                "or an empty one: out.resize_(0).",
                stacklevel=3,
            )
        out._array, out._form = TENSORS.to_dtype(result.detach(), out._dtype)._array, None
    else:
        out._device.xp.assign(out._array, result._array)
    bump(out)
    return out


def _check_overlap(op: Op, out: Tensor, inputs: Any, strict: bool) -> None:
    """Refuse an ``out`` of which two elements share memory, or that shares some (``strict``: any) with an input."""
    if any(n > 1 and step == 0 for n, step in zip(out.shape, out.stride(), strict=True)):
        raise RuntimeError(
            f"{op.name}(): unsupported operation: more than one element of the written-to tensor refers to a single "
            "memory location. Please clone() the tensor before performing the operation."
        )
    for operand in inputs:
        if isinstance(operand, (list, tuple)):
            _check_overlap(op, out, operand, strict)
        elif isinstance(operand, Tensor) and operand._device is out._device and (strict or op.pointwise):
            first, last = _extent(out)
            start, end = _extent(operand)
            same = not strict and first == start and operand.shape == out.shape and operand.stride() == out.stride()
            if start < last and first < end and not same:
                raise RuntimeError(
                    f"{op.name}(): unsupported operation: some elements of the input tensor and the written-to tensor "
                    "refer to a single memory location. Please clone() the tensor before performing the operation."
                )


def _extent(tensor: Tensor) -> tuple[int, int]:
    """The addresses between which a tensor lies; nothing for one with gaps, where overlapping is no certainty."""
    length = 1 + sum([(n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True)])
    if tensor.numel() != length:
        return 0, 0
    first = tensor.data_ptr()
    return first, first + length * tensor.itemsize


def named(call: Callable[..., Any], op: Op) -> Callable[..., Any]:
    call.__name__ = call.__qualname__ = op.name
    call.__doc__ = op.doc
    # Where it is found under its name, so that it can be pickled.
    only_functional = "functional" in op.public and "function" not in op.public
    call.__module__ = "flambeau.nn.functional" if only_functional else "flambeau"
    call.op = op  # type: ignore[attr-defined]
    return call
