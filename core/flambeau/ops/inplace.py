"""Operations in place: the result goes into the memory of the first argument, seen through every alias and recorded."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import state
from flambeau.autograd.node import plan_for, record
from flambeau.devices import levels
from flambeau.dtypes import bfloat16
from flambeau.ops.call import TENSORS, apply, device_mismatch, kernel_error, raised
from flambeau.ops.declare import OPS, Op
from flambeau.ops.spec import broadcast_shapes
from flambeau.tensor import Tensor, refresh, wrap


def apply_inplace(op: Op, values: list[Any]) -> Tensor:
    """Run the in-place form of an op: the result goes into the memory of the first argument."""
    target: Tensor = values[0]
    if target._view is not None:
        refresh(target)
    if levels.stack:
        _bring_to_level(op, target, values)
    needed = state.enabled and any(
        getattr(values[p], "_node", None) is not None for p in op.tensor_positions if not isinstance(values[p], list)
    )
    if needed:
        _check_leaf(op, target)
    if op.promotes:
        _check_inplace_dtype(op, target, values)
    shapes = [values[p].shape for p in op.tensor_positions if isinstance(values[p], Tensor)]
    if op.pointwise and len(shapes) > 1:
        result_shape = broadcast_shapes(op.name + "_", *shapes)
        if result_shape != tuple(target.shape):
            raise RuntimeError(
                f"{op.name}_: output with shape {list(target.shape)} doesn't match the broadcast shape "
                f"{list(result_shape)}; the in-place form cannot grow its tensor"
            )
    xp = target._device.xp
    if needed:
        # The formulas may read what this call overwrites: they get the values from before.
        plan = plan_for(op, tuple([getattr(values[p], "_node", None) is not None for p in op.tensor_positions]))
        functional = list(values)
        if 0 in plan.kept_inputs or not op.has_vjp:
            functional[0] = wrap(xp.clone(target._array), target._dtype, target._device)
            # What a view overwrites is left out of the base's gradient by `copy_slices`.
            functional[0]._node = None if op.inplace_body is not None and target._view is not None else target._node
        result = apply(op, functional)
        if result._dtype is not target._dtype:
            result = TENSORS.to_dtype(result, target._dtype)
        xp.assign(target._array, result._array)
        rebase(target, result)
        return target
    raw = list(values)
    for position in op.tensor_positions:
        value = values[position]
        if isinstance(value, Tensor):
            if value._device is not target._device:
                if value.ndim:
                    raise device_mismatch(op, target._device, value._device)
                value = value.to(target._device)
            raw[position] = value._array
        elif isinstance(value, list):
            raw[position] = [None if tensor is None else tensor._array for tensor in value]
    mixed = op.inline or op.rule == "bool"
    if op.promotes and not mixed:
        for p in op.promoted:
            value = values[p]
            if isinstance(value, Tensor):
                mixed = mixed or value._dtype is not target._dtype
            elif value is not None:
                raw[p] = dtypes.cast_number(value, target._dtype)
                mixed = mixed or target._dtype is bfloat16
    if mixed:
        result = apply(op, list(values))
        xp.assign(target._array, result._array)
    else:
        try:
            getattr(xp, op.name + "_")(*raw)
        except (TypeError, ValueError) as error:
            raise kernel_error(op, error, values) from error
    bump(target)
    return target


def _bring_to_level(op: Op, target: Tensor, values: list[Any]) -> None:
    """Inside ``vmap``: the operands where ``target`` is, which must not be written what differs between examples."""
    from flambeau.levels import refuse_deeper, share

    for position in op.tensor_positions:
        value = values[position]
        if isinstance(value, Tensor) and value._device is not target._device:
            refuse_deeper(f"{op.name}_", target, value)
            if target._device.depth:
                values[position] = share(value, target._device)


def bump(target: Tensor) -> None:
    """Note that the memory of a tensor was written to."""
    cell = target._version
    if cell is None:
        target._version = [1]
    else:
        cell[0] += 1


def rebase(target: Tensor, result: Tensor) -> None:
    """Give ``target``, whose memory now holds the value of ``result``, its place on the tape."""
    bump(target)
    view = target._view
    if view is None:
        target._node = result._node
        return
    base = view.base
    placeholder = wrap(base._array, base._dtype, base._device)
    record(OPS["copy_slices"], [base, result, view.steps], placeholder)
    base._node = placeholder._node
    refresh(target)


def _check_leaf(op: Op, target: Tensor) -> None:
    if target._node is not None and target.is_leaf:
        raise RuntimeError(f"{op.name}_: a leaf Variable that requires grad is being used in an in-place operation; "
                           "wrap it in flambeau.no_grad() or work on a clone()")  # fmt: skip
    if target._view is not None and target._view.base._node is not None and target._view.base.is_leaf:
        raise RuntimeError(
            f"{op.name}_: a view of a leaf Variable that requires grad is being used in an in-place operation; "
            "wrap it in flambeau.no_grad() or work on a clone()"
        )


def _check_inplace_dtype(op: Op, target: Tensor, values: list[Any]) -> None:
    if op.rule == "bool":
        return
    common = raised(op, dtypes.result_dtype([values[i] for i in op.promoted if values[i] is not None]))
    if common.category > target._dtype.category:
        raise RuntimeError(
            f"{op.name}_: result type {common.name} can't be cast to the desired output type {target._dtype.name}"
        )
