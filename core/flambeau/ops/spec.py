"""Shapes and dtypes: what a primitive's body computes with, and checks that many ops share."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from flambeau.dtypes import dtype


class Spec:
    """The shape and dtype of an array, without its data."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: Sequence[int], dtype: dtype) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def with_shape(self, shape: Sequence[int]) -> Spec:
        return Spec(shape, self.dtype)

    def with_dtype(self, dtype: dtype) -> Spec:
        return Spec(self.shape, dtype)

    def __repr__(self) -> str:
        return f"Spec({list(self.shape)}, {self.dtype})"


def broadcast_shapes(op: str, *shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that all ``shapes`` broadcast to.

    Raises:
        RuntimeError: naming ``op``, when they do not fit.
    """
    result: list[int] = []
    for back in range(1, max(map(len, shapes), default=0) + 1):
        size = 1
        for shape in shapes:
            own = shape[-back] if back <= len(shape) else 1
            if own != 1 and size not in (1, own):
                described = " and ".join(str(list(s)) for s in shapes)
                raise RuntimeError(
                    f"{op}: the shapes {described} cannot be broadcast together: "
                    f"size {size} does not match size {own} at dimension -{back}"
                )
            size = own if own != 1 else size
        result.append(size)
    return tuple(reversed(result))


def wrap_dim(op: str, dim: int, ndim: int) -> int:
    """``dim`` counted from the front.

    Raises:
        IndexError: when it is out of range. A 0-dim tensor takes -1 and 0.
    """
    bound = ndim or 1
    if not -bound <= dim < bound:
        raise IndexError(
            f"{op}: Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but got {dim})"
        )
    return dim % bound


def reduced_shape(shape: Sequence[int], dims: Sequence[int], keepdim: bool) -> tuple[int, ...]:
    """The shape after reducing ``dims`` (non-negative)."""
    if keepdim:
        return tuple(1 if d in dims else n for d, n in enumerate(shape))
    return tuple(n for d, n in enumerate(shape) if d not in dims)


def host_values(xp: Any, array: Any) -> Any:
    """The values of a tensor or a raw array as a NumPy array; inside of ``vmap`` those of all examples."""
    backend, raw = (array._backend, array._array) if hasattr(array, "_array") else (xp.backend, array)
    while hasattr(raw, "level"):
        backend, raw = raw.level.below.backend, raw.value
    return backend.to_numpy(raw)


def numel(shape: Sequence[int]) -> int:
    """The number of elements of a shape."""
    return prod(shape)


def ntuple(op: str, name: str, value: Any, dims: int) -> tuple[int, ...]:
    """A number for all dimensions, or a sequence of one number a dimension, as a tuple.

    Raises:
        RuntimeError: for another number of numbers.
    """
    if isinstance(value, (tuple, list)):
        if len(value) == dims:
            return tuple([int(n) for n in value])
        if len(value) == 1:
            return (int(value[0]),) * dims
        raise RuntimeError(
            f"{op}: expected {name} to be a single integer value or a list of {dims} values, one a dimension, but got "
            f"{name}={list(value)}"
        )
    return (int(value),) * dims
