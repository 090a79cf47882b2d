"""The path of a call: from canonical arguments through the frozen table to a tensor and its place on the tape.

:func:`apply` serves every op. Its neighbours: :mod:`~flambeau.ops.entry` makes the public functions,
:mod:`~flambeau.ops.fast` those of the commonest ops, :mod:`~flambeau.ops.inplace` does what writes into a tensor.
"""

from __future__ import annotations

from typing import Any

from flambeau import devices, dtypes
from flambeau.autograd.grad_mode import silent, state
from flambeau.autograd.node import record
from flambeau.devices import device
from flambeau.dispatch import load
from flambeau.dtypes import FLOATING, STORED, bfloat16, bool_
from flambeau.ops.declare import Op
from flambeau.ops.spec import broadcast_shapes
from flambeau.tensor import Tensor, View, refresh, wrap


class TensorNamespace:
    """The namespace whose functions take and return tensors, recording as they go."""


#: Decompositions and gradient formulas run over this to be recorded.
TENSORS: Any = TensorNamespace()
TENSORS.dtype_of = lambda tensor: tensor._dtype
TENSORS.device_of = lambda tensor: tensor._device


# -- every op ----------------------------------------------------------------------------------------------------


def apply(op: Op, values: list[Any]) -> Any:
    """Run an op on canonical arguments."""
    if op.inline:
        return op.body(TENSORS, *values)
    if op.promotes:
        promote(op, values)
    raw = values.copy()
    where: device | None = None
    needed = False
    for position in op.tensor_positions:
        value = values[position]
        if isinstance(value, Tensor):
            array = value._array
            if value._device is not where:
                if where is None and array.shape:
                    where = value._device
                else:
                    where, value = _settle_device(op, values, raw, position, where)
                    array = value._array
            if value._dtype.category == STORED and op.theme not in _MOVING and op.rule != "bool":
                raise no_arithmetic(op, value._dtype)
            raw[position] = array
            if value._view is not None:
                refresh(value)
            if value._node is not None:
                needed = True
        elif isinstance(value, list):
            arrays: list[Any] = []
            for tensor in value:
                if tensor is None:
                    arrays.append(None)
                    continue
                if tensor._device is not where:
                    if where is not None:
                        if where.depth or tensor._device.depth:
                            return apply(op, on_one_level(values))
                        raise device_mismatch(op, where, tensor._device)
                    where = tensor._device
                arrays.append(tensor._array)
                if tensor._view is not None:
                    refresh(tensor)
                needed = needed or tensor._node is not None
            raw[position] = arrays
    if where is None:
        where = _creation_device(op, values, raw)
    needed = needed and op.differentiable and not (silent and not state.enabled)
    if needed and not op.has_vjp and not op.primitive:
        return op.body(TENSORS, *values)
    try:
        result = where.table[op.index](*raw)
    except (TypeError, ValueError, RuntimeError) as error:
        refused = kernel_error(op, error, values)
        try:
            if refused is error:
                raise
            raise refused from error
        finally:
            # A frame that holds its own error is a cycle: `reshape`, which tries `view` first, would keep its operands.
            del refused
    if type(result) is tuple or type(result) is list:
        # Gradient ops give None for what was not asked.
        outputs = tuple([None if array is None else wrap_result(array, where) for array in result])
        if op.keeps_dtype:
            outputs = tuple([kept_bfloat16(op, values, output) for output in outputs])
        if needed:
            record(op, values, outputs)
        return outputs
    output = wrap_result(result, where)
    if op.keeps_dtype and output._dtype is not bfloat16:
        output = kept_bfloat16(op, values, output)
    if needed and op.has_vjp:
        record(op, values, output)
    if op.view:
        mark_view(op, values, output)
    return output


def kept_bfloat16(op: Op, values: list[Any], output: Any) -> Any:
    """``output`` as bfloat16 where the operands are: a decomposition that met Python numbers, see :func:`promote`."""
    if getattr(values[op.promoted[0]], "_dtype", None) is not bfloat16:
        return output
    if output is None or output._dtype is bfloat16 or output._dtype.category < FLOATING:
        return output
    where = output._device
    return wrap(where.xp.to_dtype(output._array, bfloat16), bfloat16, where)


def wrap_result(array: Any, where: device) -> Tensor:
    backend = where.backend
    if type(array) is not backend.array_type:  # type: ignore[union-attr]
        array = backend.as_array(array)  # type: ignore[union-attr]
    return wrap(array, backend.dtype_of(array), where)  # type: ignore[union-attr]


def _creation_device(op: Op, values: list[Any], raw: list[Any]) -> device:
    position = op.positions.get("device")
    where = values[position] if position is not None else None
    where = load(where if where is not None else devices.get_default_device())
    if position is not None:
        raw[position] = where
    return where


def _settle_device(
    op: Op, values: list[Any], raw: list[Any], position: int, where: device | None
) -> tuple[device, Tensor]:
    """The device so far and the tensor at ``position``, a 0-dim CPU tensor moved to where the others are."""
    value = values[position]
    if where is not None and (where.depth or value._device.depth):
        on_one_level(values)
        for earlier in op.tensor_positions[: op.tensor_positions.index(position)]:
            tensor = values[earlier]
            raw[earlier] = [_raw(t) for t in tensor] if isinstance(tensor, list) else _raw(tensor)
        return values[position]._device, values[position]
    if where is None:
        own: device = value._device
        if own.type == "cpu" and value.ndim == 0 and not own.depth:
            for other in op.tensor_positions:
                found = getattr(values[other], "_device", own)
                if found is not own and not found.depth:
                    values[position] = value = value.to(found)
                    return found, value
        return own, value
    if value._device.type == "cpu" and value.ndim == 0:
        values[position] = value = value.to(where)
        return where, value
    raise device_mismatch(op, where, value._device)


def on_one_level(values: list[Any]) -> list[Any]:
    """Bring what is inside of ``vmap`` and what is outside together, in place in ``values``, which are returned."""
    from flambeau.levels import share, together

    where = together([t for value in values for t in (value if isinstance(value, list) else (value,))
                      if isinstance(t, Tensor)])  # fmt: skip
    for i, value in enumerate(values):
        if isinstance(value, Tensor):
            values[i] = share(value, where)
        elif isinstance(value, list):
            values[i] = [share(item, where) if isinstance(item, Tensor) else item for item in value]
    return values


def _raw(value: Any) -> Any:
    return value._array if isinstance(value, Tensor) else value


def device_mismatch(op: Op, one: device, other: device) -> RuntimeError:
    return RuntimeError(
        f"{op.name}: expected all tensors to be on the same device, but found at least two devices, {one} and {other}; "
        f"move one with .to('{one}')"
    )


def promote(op: Op, values: list[Any]) -> None:
    """Cast the operands of an op to their common dtype, in place in ``values``."""
    operands = [values[i] for i in op.promoted if values[i] is not None]
    if len(operands) == 1 and isinstance(operands[0], list):
        operands = operands[0]
    kind = getattr(operands[0], "_dtype", None) if operands else None
    if kind is not None and kind.category >= FLOATING:  # most calls: tensors of one floating-point dtype, and numbers
        whole = False
        for operand in operands:
            if getattr(operand, "_dtype", None) is kind:
                continue
            if kind is bfloat16 or not (operand.__class__ is float or operand.__class__ is int):
                break
            whole = whole or operand.__class__ is int
        else:
            if whole:
                for i in op.promoted:
                    if values[i].__class__ is int:
                        values[i] = dtypes.cast_number(values[i], kind)
            return
    common = dtypes.result_dtype(operands)
    common = raised(op, common)
    for i in op.promoted:
        value = values[i]
        if isinstance(value, Tensor):
            if value._dtype is not common:
                values[i] = TENSORS.to_dtype(value, common)
        elif isinstance(value, list):
            values[i] = [t if t._dtype is common else TENSORS.to_dtype(t, common) for t in value]
        elif value is not None:
            # ml_dtypes' arrays are no match for Python numbers: the result would be float32.
            number = dtypes.cast_number(value, common)
            values[i] = TENSORS.full((), number, common, _device_of(op, values)) if common is bfloat16 else number
    if not any(isinstance(values[i], (Tensor, list)) for i in op.promoted):
        if op.name not in _OF_NUMBERS:
            raise TypeError(f"{op.name}(): at least one of the arguments must be Tensor, and all of them are numbers")
        values[op.promoted[0]] = TENSORS.full((), values[op.promoted[0]], common, _device_of(op, values))


# As in PyTorch, these make a tensor of two numbers: `add(2, 3)`.
_OF_NUMBERS = {"add", "sub", "mul", "div", "floor_divide", "where"}


# Ops of these themes move elements and do not look at them.
_MOVING = {"bits", "copying", "creation", "indexing", "joining", "rearranging", "shape", "views", "view_copies"}


def no_arithmetic(op: Op, kind: Any) -> NotImplementedError:
    return NotImplementedError(f"{op.name} is not implemented for {kind.name}; cast to another dtype first")


def raised(op: Op, common: dtypes.dtype) -> dtypes.dtype:
    """The dtype that an op computes in, given the common one of its operands."""
    if common.category == STORED and op.theme not in _MOVING and op.rule != "bool":
        raise no_arithmetic(op, common)
    if op.rule == "float" and common.category < FLOATING:
        return dtypes.get_default_dtype()
    return dtypes.int64 if op.rule == "number" and common is bool_ else common


#: What the ufuncs of NumPy and of CuPy say of dtypes that they have no loop for, or of results that do not fit.
_WRONG_DTYPE = ("not supported", "Cannot cast ufunc", "Wrong type (", "could not be coerced")


def kernel_error(op: Op, error: Exception, operands: list[Any]) -> Exception:
    """What to raise when a kernel refused its operands: the shapes or the dtypes named, where they are the reason."""
    if op.pointwise and not isinstance(error, TypeError):
        broadcast_shapes(op.name, *[operand.shape for operand in operands if hasattr(operand, "shape")])
    elif isinstance(error, ValueError) and "could not be broadcast" in str(error):  # NumPy's, inside a decomposition
        shapes = " and ".join([str(list(t.shape)) for t in operands if isinstance(t, Tensor)])
        return RuntimeError(f"{op.name}: the shapes {shapes} do not go together")
    if type(error) is RuntimeError and not op.primitive and op.name not in str(error):
        return RuntimeError(f"{op.name}: {error}")  # of a part of its decomposition
    if isinstance(error, TypeError) and any(words in str(error) for words in _WRONG_DTYPE):
        seen = " and ".join([t._dtype.name for t in operands if isinstance(t, Tensor)])
        return NotImplementedError(f"{op.name} is not implemented for {seen}: {error}")
    return error


def _device_of(op: Op, values: list[Any]) -> device | None:
    return next((values[i]._device for i in op.tensor_positions if isinstance(values[i], Tensor)), None)


def mark_view(op: Op, values: list[Any], output: Tensor) -> None:
    """Note that ``output`` shares memory with the op's first argument."""
    base = values[0]
    if output is base:
        return
    cell = base._version
    if cell is None:
        cell = base._version = [0]
    output._version = cell
    if not state.enabled:
        return  # made under no_grad: it shares memory and takes no part in the history
    step = (op.name, tuple(values[1:]))
    if base._view is not None:
        output._view = View(base._view.base, (*base._view.steps, step), cell[0])
    else:
        output._view = View(base, (step,), cell[0])
