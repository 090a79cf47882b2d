"""How a list of samples becomes a batch (``torch.utils.data._utils.collate``)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy

import flambeau
from flambeau.tensor import Tensor, wrap
from flambeau.utils.data import worker

CollateMap = Mapping[Any, Callable[..., Any]]

# Kinds of numpy.dtype that no tensor can hold: objects, strings, bytes, structured.
_NOT_NUMBERS = "OUSV"


def default_convert(data: Any) -> Any:
    """Make tensors of the NumPy arrays and scalars in a sample, however nested (``torch.utils.data.default_convert``).

    What the loader does to a sample when it makes no batches. Tuples become lists; everything else keeps its type.
    """
    if isinstance(data, (Tensor, str, bytes)):
        return data
    if isinstance(data, (numpy.ndarray, numpy.generic)):
        return data if data.dtype.kind in _NOT_NUMBERS else flambeau.as_tensor(data)
    if isinstance(data, Mapping):
        return _mapping_like(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, Sequence):
        return _sequence_like(data, [default_convert(value) for value in data])
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """Make a batch of a list of samples (``torch.utils.data.default_collate``).

    =================================  ====================================================================
    samples                            batch
    =================================  ====================================================================
    tensors, NumPy arrays              a tensor with a new dimension 0 of size ``len(batch)``
    NumPy scalars, bool, int, float    a 1-d tensor (Python floats: float64)
    ``str``, ``bytes``                 the sequence of them, as it is
    mappings, named tuples             the same type, with a batch a key or field
    other sequences                    the same type, with a batch an element; tuples give lists
    =================================  ====================================================================

    Raises:
        TypeError: for samples of another type, naming it.
        RuntimeError: when tensors or sequences to be joined differ in size.

    >>> default_collate([(0, "a"), (1, "b")])
    [tensor([0, 1]), ('a', 'b')]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


def collate(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    """:func:`default_collate` with a table of its own.

    Args:
        batch: the samples, not empty.
        collate_fn_map: for a type (or tuple of types) of sample the function ``f(batch, *, collate_fn_map)`` that
            joins them. The sample's exact type is looked up first, then its base classes in the table's order.
    """
    first = batch[0]
    kind = type(first)
    if collate_fn_map is not None:
        join = collate_fn_map.get(kind)
        if join is None:
            join = next((f for types, f in collate_fn_map.items() if isinstance(first, types)), None)
        if join is not None:
            return join(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        return _mapping_like(
            first,
            {key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map) for key in first},
        )
    if isinstance(first, Sequence):
        sizes = [len(sample) for sample in batch]
        if any(size != sizes[0] for size in sizes):
            raise RuntimeError(
                f"default_collate: each element in list of batch should be of equal size, got samples of type "
                f"{kind.__name__} with the sizes {sorted(set(sizes))}"
            )
        columns = zip(*batch, strict=True)
        return _sequence_like(first, [collate(column, collate_fn_map=collate_fn_map) for column in columns])
    raise TypeError(_wrong_type(kind))


def _wrong_type(found: Any) -> str:
    return f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {found}"


def _mapping_like(template: Any, values: dict[Any, Any]) -> Any:
    """``values`` in the mapping type of ``template``, a dict where that type cannot be made from one."""
    if type(template) is dict:
        return values
    try:
        if isinstance(template, MutableMapping):
            made = copy.copy(template)  # keeps what the type has besides its items (a default factory, say)
            made.update(values)
            return made
        return type(template)(values)
    except TypeError:
        return values


def _sequence_like(template: Any, values: list[Any]) -> Any:
    """``values`` in the sequence type of ``template``; a list for a tuple and where the type cannot be made."""
    if isinstance(template, tuple):
        return type(template)(*values) if hasattr(template, "_fields") else values
    if type(template) is list:
        return values
    try:
        if isinstance(template, MutableSequence):
            made = copy.copy(template)
            for position, value in enumerate(values):
                made[position] = value
            return made
        return type(template)(values)
    except TypeError:
        return values


def _collate_tensors(batch: Sequence[Tensor], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    # For CPU tensors without a history one pass over memory and none over the ops: a quarter of the time of
    # `flambeau.stack` for 64 rows of 10 floats.
    dtype, where = batch[0]._dtype, batch[0]._device
    for tensor in batch:
        if tensor._dtype is not dtype or tensor._device is not where or tensor.requires_grad:
            return flambeau.stack(list(batch))
    if where.type != "cpu":
        return flambeau.stack(list(batch))
    backend: Any = where.backend
    joined = _stack([backend.to_numpy(tensor._array) for tensor in batch])
    return wrap(backend.from_numpy(joined, where), dtype, where)


def _collate_arrays(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    if batch[0].dtype.kind in _NOT_NUMBERS:
        raise TypeError(_wrong_type(batch[0].dtype))
    return flambeau.as_tensor(_stack([numpy.asarray(array) for array in batch]))


def _stack(arrays: list[Any]) -> Any:
    """The arrays along a new dimension 0; in a worker, large results lie in memory that the parent can see."""
    first = arrays[0]
    shape = first.shape
    for position, array in enumerate(arrays):
        if array.shape != shape:
            raise RuntimeError(
                f"default_collate: stack expects each tensor to be equal size, but got {list(shape)} at entry 0 "
                f"and {list(array.shape)} at entry {position}; give the loader a collate_fn that pads or crops"
            )
    if not shape:
        return numpy.array(arrays)
    # Rows one after the other are the stack: concatenate() spares a view an array, which stack() makes.
    out = None
    if worker.get_worker_info() is not None and all(array.dtype == first.dtype for array in arrays):
        out = worker.shared_array((len(arrays) * first.shape[0], *first.shape[1:]), first.dtype)
    return numpy.concatenate(arrays, out=out).reshape(len(arrays), *shape)


def _collate_numpy_scalars(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    return flambeau.as_tensor(numpy.array(batch))


def _collate_floats(batch: Sequence[float], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    return flambeau.as_tensor(numpy.array(batch, dtype=numpy.float64))


def _collate_ints(batch: Sequence[int], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    if all(type(number) is int for number in batch):
        return flambeau.as_tensor(numpy.array(batch, dtype=numpy.int64))
    return flambeau.tensor(list(batch))  # bools, or a mixture


def _collate_strings(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Sequence[Any]:
    return batch


#: The table of :func:`default_collate`: add a type of your own here to have it joined your way.
default_collate_fn_map: dict[Any, Callable[..., Any]] = {
    Tensor: _collate_tensors,
    numpy.ndarray: _collate_arrays,
    (numpy.bool_, numpy.number): _collate_numpy_scalars,
    float: _collate_floats,
    int: _collate_ints,
    str: _collate_strings,
    bytes: _collate_strings,
}


def is_default_for_tensors(collate_fn: Any) -> bool:
    """Whether ``collate_fn`` joins plain tensors by stacking them and tuples into lists, as it does out of the box."""
    return collate_fn is default_collate and default_collate_fn_map.get(Tensor) is _collate_tensors
