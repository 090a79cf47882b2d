"""``x[...]`` and ``x[...] = ...``: subscripts, as views and as index tensors."""

from __future__ import annotations

import operator
from typing import Any

from flambeau.dtypes import INTEGER, bool_, uint8
from flambeau.ops.indexing import ALL, index_shape, resolved_indices, slice_bounds
from flambeau.ops.spec import Spec, broadcast_shapes

_SEVERAL = (list, tuple, slice, type(None), type(Ellipsis))


def _as_index(item: Any, device: Any) -> Any:
    """A list, a tuple or an array in a subscript as a tensor."""
    from flambeau.conversion import tensor

    made = tensor(item, device=device)
    return made.long() if made.numel() == 0 else made


def parse(input: Any, subscript: Any) -> tuple[tuple[Any, ...], list[Any] | None]:
    """Split a subscript into its basic part and index tensors.

    Returns:
        The index for :func:`basic_index`, and the index tensors (one entry a dimension of that view, None where it is
        taken whole) or None where there are none.

    Raises:
        IndexError: for what is no index, too many indices, or an int out of range.
    """
    if isinstance(subscript, list) and any(isinstance(i, _SEVERAL) or hasattr(i, "_array") for i in subscript):
        subscript = tuple(subscript)  # x[[[0, 1], [1, 2]]] is x[[0, 1], [1, 2]], as in PyTorch and in old NumPy
    items = subscript if isinstance(subscript, tuple) else (subscript,)
    shape = input._array.shape
    used = 0
    for item in items:
        if item is not None and item is not Ellipsis and not isinstance(item, bool):
            mask = getattr(item, "dtype", None) is not None and str(getattr(item, "dtype", "")).endswith("bool")
            used += item.ndim if mask else 1
    if used > len(shape):
        raise IndexError(f"too many indices for tensor of dimension {len(shape)}: {used} in the subscript")
    basic: list[Any] = []
    advanced: dict[int, Any] = {}  # by dimension of the view
    d = place = 0
    for item in items:
        if item is None:
            basic.append(None)
            place += 1
        elif isinstance(item, bool):
            basic.append(None)
            advanced[place] = _as_index([0] if item else [], input._device)
            place += 1
        elif isinstance(item, slice):
            basic.append(slice_bounds(item, shape[d]))
            d, place = d + 1, place + 1
        elif item is Ellipsis:
            rest = len(shape) - used
            basic += [ALL] * rest
            d, place = d + rest, place + rest
            used = len(shape)
        else:
            if not hasattr(item, "_array"):
                try:
                    number = operator.index(item)
                except TypeError:
                    if not isinstance(item, (list, tuple, range)) and not hasattr(item, "__array__"):
                        raise IndexError(
                            "only integers, slices (`:`), ellipsis (`...`), None and long or byte tensors are valid "
                            f"indices (got {type(item).__name__})"
                        ) from None
                    item = _as_index(item, input._device)
            elif (
                not item._array.shape
                and item._dtype.category == INTEGER
                and item._dtype is not uint8
                and not item._device.depth
            ):
                number = int(item.item())
                item = number
            if not hasattr(item, "_array"):
                n = shape[d]
                if not -n <= number < n:
                    raise IndexError(f"index {number} is out of bounds for dimension {d} with size {n}")
                basic.append(number % n)
                d += 1
            elif item._dtype is bool_ and not item._array.shape:
                basic.append(None)
                advanced[place] = _as_index([0] if item.item() else [], input._device)
                place += 1
            else:
                taken = item.ndim if item._dtype in (bool_, uint8) else 1
                advanced[place] = item
                basic += [ALL] * taken
                d, place = d + taken, place + taken
    if not advanced:
        return tuple(basic), None
    indices: list[Any] = []
    for at in range(place):
        if at in advanced:
            indices.append(advanced[at])
        elif not any(a < at < a + (t.ndim if t._dtype in (bool_, uint8) else 1) for a, t in advanced.items()):
            indices.append(None)
    return tuple(basic), indices


def index_tensor(input: Any, indices: list[Any]) -> Any:
    """``input`` at a list of index tensors and masks."""
    resolved = resolved_indices("index", input, indices)
    xp = _tensors()
    return xp.index(input, resolved)


def setitem(input: Any, subscript: Any, value: Any) -> None:
    """``input[subscript] = value``, in place; ``value`` is broadcast and cast."""
    xp = _tensors()
    from flambeau.conversion import tensor

    if not hasattr(value, "_array"):
        value = value if isinstance(value, (bool, int, float, complex)) else tensor(value, device=input._device)
    is_mask = hasattr(subscript, "_array") and subscript._dtype is bool_ and subscript.shape == input.shape
    if is_mask and (not hasattr(value, "_array") or value.numel() == 1):
        _inplace("masked_fill")(input, subscript, value.reshape(()) if hasattr(value, "_array") else value)
        return
    basic, indices = parse(input, subscript)
    target = input if all(item is ALL or item == ALL for item in basic) else xp.basic_index(input, basic)
    if indices is None:
        target.copy_(_fitted(value, tuple(target.shape)))
        return
    if not hasattr(value, "_array"):
        value = tensor(value, dtype=input._dtype, device=input._device)
    resolved = resolved_indices("index_put", target, indices)
    value = _fitted(value, index_shape(Spec(target._array.shape, target._dtype), [_spec(i) for i in resolved]))
    target.index_put_(resolved, value)


def _spec(item: Any) -> Spec | None:
    return None if item is None else Spec(item._array.shape, item._dtype)


def _fitted(value: Any, shape: tuple[int, ...]) -> Any:
    """``value`` without leading dimensions of size 1 that the place does not have."""
    if not hasattr(value, "_array"):
        return value
    own = value._array.shape
    while len(own) > len(shape) and own[0] == 1:
        own = own[1:]
    if own != value._array.shape:
        value = value.reshape(own)
    try:
        fits = broadcast_shapes("setitem", own, shape) == tuple(shape)
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(
            f"setitem: shape mismatch: value tensor of shape {list(own)} cannot be broadcast to indexing result of "
            f"shape {list(shape)}"
        )
    return value


def _tensors() -> Any:
    from flambeau.ops.call import TENSORS

    return TENSORS


def _inplace(name: str) -> Any:
    from flambeau.tensor import Tensor as TensorClass

    return getattr(TensorClass, name + "_")
