"""Arguments of a call, checked and made canonical by what the parameters' annotations say.

A converter takes ``(op, position, value, first)``, where ``first`` is the call's first argument, and returns the value
as kernels get it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flambeau import dtypes
from flambeau.devices import device
from flambeau.ops.spec import wrap_dim

if TYPE_CHECKING:
    from flambeau.ops.declare import Op


def wrong_type(op: Op, position: int, expected: str, value: Any) -> TypeError:
    """What to raise for an argument of another type."""
    return TypeError(f"{op.name}(): argument '{op.names[position]}' must be {expected}, not {type(value).__name__}")


def _tensor(op: Op, position: int, value: Any, first: Any) -> Any:
    try:
        value._array  # noqa: B018 - the cheapest question that only tensors answer
    except AttributeError:
        raise wrong_type(op, position, "Tensor", value) from None
    return value


def _tensor_or_none(op: Op, position: int, value: Any, first: Any) -> Any:
    return None if value is None else _tensor(op, position, value, first)


_NUMBERS = frozenset((bool, int, float, complex))


def _tensor_or_number(op: Op, position: int, value: Any, first: Any) -> Any:
    if hasattr(value, "_array") or value.__class__ in _NUMBERS:
        return value
    if hasattr(value, "dtype") and hasattr(value, "__array__"):
        if value.ndim == 0:  # a NumPy scalar; numpy.float64 is a float, too
            return value.item()
        from flambeau.conversion import as_tensor

        return as_tensor(value)
    if isinstance(value, (int, float, complex)):
        return value
    raise wrong_type(op, position, "Tensor or a number", value)


def _tensor_number_or_none(op: Op, position: int, value: Any, first: Any) -> Any:
    return None if value is None else _tensor_or_number(op, position, value, first)


def _tensors(op: Op, position: int, value: Any, first: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise wrong_type(op, position, "a tuple or list of Tensors", value)
    for i, item in enumerate(value):
        if not hasattr(item, "_array"):
            raise TypeError(
                f"{op.name}(): element {i} of argument '{op.names[position]}' must be Tensor, not {type(item).__name__}"
            )
    return list(value)


def _ndim(first: Any) -> int:
    if isinstance(first, list):
        return len(first[0]._array.shape) if first else 0
    return len(first._array.shape)


def _integer(op: Op, position: int, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise wrong_type(op, position, "int", value) from None


def _dim(op: Op, position: int, value: Any, first: Any) -> int:
    ndim = _ndim(first)
    if value.__class__ is int and 0 <= value < ndim:
        return value
    return wrap_dim(op.name, _integer(op, position, value), ndim)


def _dim_or_none(op: Op, position: int, value: Any, first: Any) -> int | None:
    return None if value is None else _dim(op, position, value, first)


_EVERY = [tuple(range(ndim)) for ndim in range(9)]


def _dims(op: Op, position: int, value: Any, first: Any) -> tuple[int, ...]:
    ndim = _ndim(first)
    if value is None:
        return _EVERY[ndim] if ndim < 9 else tuple(range(ndim))
    if value.__class__ is int:
        return () if ndim == 0 and -1 <= value <= 0 else (wrap_dim(op.name, value, ndim),)
    if not isinstance(value, (tuple, list)):
        value = (value,)
    if not value:
        return tuple(range(ndim))
    dims = tuple([wrap_dim(op.name, _integer(op, position, d), ndim) for d in value])
    if ndim == 0:
        return ()
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"{op.name}(): a dim appears more than once in '{op.names[position]}': {tuple(value)}")
    return dims


def _dims_or_none(op: Op, position: int, value: Any, first: Any) -> tuple[int, ...]:
    return () if value.__class__ in (tuple, list) and not value else _dims(op, position, value, first)


def _size(op: Op, position: int, value: Any, first: Any) -> tuple[int, ...]:
    if value.__class__ is int:
        return (value,)
    if isinstance(value, (tuple, list)):
        for n in value:
            if n.__class__ is not int:
                return tuple([_integer(op, position, n) for n in value])
        return tuple(value)
    return (_integer(op, position, value),)


_PYTHON_TYPES = {float: dtypes.float64, int: dtypes.int64, bool: dtypes.bool_, complex: dtypes.complex128}


def _dtype(op: Op, position: int, value: Any, first: Any) -> Any:
    if value is None or isinstance(value, dtypes.dtype):
        return value
    if value in _PYTHON_TYPES:
        return _PYTHON_TYPES[value]
    raise wrong_type(op, position, "flambeau.dtype", value)


def _device(op: Op, position: int, value: Any, first: Any) -> Any:
    return None if value is None else device(value)


def _number(op: Op, position: int, value: Any, first: Any) -> Any:
    if value is None or isinstance(value, (int, float, complex)):
        return value
    if hasattr(value, "item"):
        return value.item()
    raise wrong_type(op, position, "a number", value)


CONVERTERS: dict[str, Callable[[Op, int, Any, Any], Any]] = {
    "Tensor": _tensor,
    "Tensor | None": _tensor_or_none,
    "Tensor | Number": _tensor_or_number,
    "Tensor | Number | None": _tensor_number_or_none,
    "Sequence[Tensor]": _tensors,
    "Dim": _dim,
    "Dim | None": _dim_or_none,
    "Dims": _dims,  # None and () mean all dimensions
    "SomeDims": _dims_or_none,  # None means all, () none
    "Size": _size,
    "DType": _dtype,
    "DType | None": _dtype,
    "Device | None": _device,
    "Number": _number,
    "Number | None": _number,
}
