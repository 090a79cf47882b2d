"""Dropout in one kernel; the numbers come from :mod:`flambeau_opencl.random`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau_opencl.array import Array, empty
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.maps import run


def apply_dropout(input: Array, uniform: Array, p: float) -> Array:
    """``input / (1 - p)`` where ``uniform >= p``, elsewhere 0; all 0 (NaN of what is not finite) for a ``p`` of 1."""
    result = empty(input.runtime, input.shape, input.dtype)
    own, drawn = ELEMENTS[input.dtype].real, ELEMENTS[uniform.dtype].real
    numbers = [(own, 1 / (1 - p) if p < 1 else 0.0), (drawn, float(p))]
    run("dropout", "r0 = a0 * (a1 >= n1 ? n0 : 0);", [result], [input, uniform], numbers)
    return result


KERNELS: dict[str, Callable[..., Any]] = {"apply_dropout": apply_dropout}
