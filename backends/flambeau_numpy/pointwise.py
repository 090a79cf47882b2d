"""Composites that work element by element, on large arrays: their decompositions a part at a time, on all cores.

A decomposition of twenty ops passes twenty times over its arrays. A part that stays in the cache spares all of these
passes but one the way to the memory, and parts can be given to several threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

from flambeau.devices import device
from flambeau.ops.declare import OPS, Op
from flambeau_numpy.blocks import BLOCK
from flambeau_numpy.scalars import few, log_gamma
from flambeau_numpy.threads import PARALLEL, over_parts

Array = Any
Kernel = Callable[..., Any]


def kernels() -> dict[str, Kernel]:
    """A kernel for each composite that works element by element."""
    made = {
        op.name: _in_parts(op)
        for op in OPS.values()
        if op.pointwise and not op.primitive and not op.has_sequence and op.body.__module__.startswith("flambeau.")
    }
    made["erfc"] = few(math.erfc, made["erfc"])
    made["lgamma"] = few(log_gamma, made["lgamma"], "f")
    return made


_CPU = device("cpu")


def _in_parts(op: Op) -> Kernel:
    body, positions = op.body, op.tensor_positions

    def kernel(*arguments: Any) -> Array:
        xp = _CPU.xp
        if getattr(arguments[positions[0]], "size", 0) < PARALLEL:
            return body(xp, *arguments)
        values = list(arguments)
        places = [i for i in positions if getattr(values[i], "shape", ())]
        if not _are_alike([values[i] for i in places]):
            return body(xp, *arguments)
        shape = values[places[0]].shape
        flats = [values[i].reshape(-1) for i in places]

        def part_of(part: slice) -> Array:
            own = values.copy()
            for i, flat in zip(places, flats, strict=True):
                own[i] = flat[part]
            return body(xp, *own)

        first = part_of(slice(BLOCK))
        out = numpy.empty(shape, first.dtype)
        flat_out = out.reshape(-1)
        flat_out[:BLOCK] = first

        def work(part: slice) -> None:
            rest = slice(part.start + BLOCK, part.stop + BLOCK)
            flat_out[rest] = part_of(rest)

        over_parts(work, out.size - BLOCK, BLOCK)
        return out

    kernel.__name__ = op.name
    return kernel


def _are_alike(arrays: list[Array]) -> bool:
    """Whether the same part of each belongs together."""
    shape = arrays[0].shape
    return all(array.shape == shape and array.flags.c_contiguous for array in arrays)
