"""The norm of many tensors and scaling them to one, without an array for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from flambeau_numpy.elementwise import is_half

Array = Any

# Squares are added up in pieces of this many, and the pieces in double precision.
_PIECE = 16384


def total_norm(tensors: Sequence[Array], ord: float = 2) -> Array:
    """The norm of the norms of arrays, see :func:`flambeau.ops.clipping.total_norm`."""
    flats = [_as_real(array.reshape(-1)) for array in tensors]
    kind = "d" if "d" in [flat.dtype.char for flat in flats] else "f"
    if ord == 2:
        norm = math.sqrt(sum([_sum_of_squares(flat) for flat in flats]))
    else:
        norm = _norm(numpy.array([_norm(flat, ord) for flat in flats]), ord)
    return numpy.array(norm, kind)


def _as_real(flat: Array) -> Array:
    """Numbers with the same absolute values, of 32 bits at least."""
    if is_half(flat):
        return flat.astype(numpy.float32)
    return numpy.abs(flat) if flat.dtype.kind == "c" else flat


def _norm(flat: Array, ord: float) -> Any:
    if not flat.size and (ord < 0 or ord == math.inf):
        raise RuntimeError(f"total_norm: a tensor without elements has no norm of order {ord}")
    return numpy.linalg.norm(flat, ord)


def _sum_of_squares(flat: Array) -> float:
    if flat.size <= _PIECE:
        return float(flat.dot(flat))
    total = 0.0
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE]
        total += float(piece.dot(piece))
    return total


def clip_to_norm(tensors: Sequence[Array], norm: Array, max_norm: float) -> None:
    """Scale arrays in place to a norm, see :func:`flambeau.ops.clipping.clip_to_norm`."""
    factor = norm.dtype.type(max_norm) / (norm + norm.dtype.type(1e-6))
    if factor >= 1:
        return  # times 1
    factors: dict[Any, Array] = {}
    for array in tensors:
        own = factors.get(array.dtype)
        if own is None:
            own = factors[array.dtype] = factor.astype(array.real.dtype)
        numpy.multiply(array, own, array)


KERNELS: dict[str, Callable[..., Any]] = {"total_norm": total_norm, "clip_to_norm": clip_to_norm}
