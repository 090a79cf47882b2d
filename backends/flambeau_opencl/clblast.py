"""Products of matrices on a GPU by CLBlast (https://github.com/CNugteren/CLBlast), where the system has it.

CLBlast knows good parameters for a long list of devices. It is a system's package (Debian: ``libclblast1``), called
through its C interface. ``FLAMBEAU_OPENCL_CLBLAST=0`` leaves it out.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from collections.abc import Sequence
from ctypes import byref, c_double, c_float, c_int, c_size_t, c_void_p
from functools import cache
from math import prod
from typing import Any

from flambeau.dtypes import dtype, float32, float64
from flambeau_opencl.array import Array
from flambeau_opencl.tiled import Steps

VARIABLE = "FLAMBEAU_OPENCL_CLBLAST"

_ROW_MAJOR, _AS_IT_IS, _TRANSPOSED = 101, 111, 112

_FUNCTIONS = {float32: ("CLBlastSgemmStridedBatched", c_float), float64: ("CLBlastDgemmStridedBatched", c_double)}


@cache
def _function(kind: dtype) -> Any:
    """CLBlast's batched product for a dtype, or None where there is no CLBlast."""
    if os.environ.get(VARIABLE, "") == "0":
        return None
    name, number = _FUNCTIONS[kind]
    try:
        function = getattr(ctypes.CDLL(ctypes.util.find_library("clblast") or "libclblast.so.1"), name)
    except (OSError, AttributeError):
        return None
    matrix = [c_void_p, c_size_t, c_size_t, c_size_t]
    function.argtypes = [c_int] * 3 + [c_size_t] * 3 + [number, *matrix, *matrix, number, *matrix, c_size_t]
    function.argtypes += [c_void_p, c_void_p]
    function.restype = c_int
    return function


def product(left: Array, right: Array, result: Array, batch: Sequence[int], steps: Steps, add: bool) -> bool:
    """What :func:`flambeau_opencl.tiled.product` does; False, with nothing done, where that has to do it.

    Raises:
        RuntimeError: when CLBlast reports an error.
    """
    function = _function(left.dtype)
    ends = _order(left), _order(right)
    distances = [_distance(batch, own) for own in steps]
    if function is None or None in ends or None in distances or not left.shape[-1]:
        return False
    rows, inner = left.shape[-2:]
    columns, runtime = right.shape[-1], left.runtime
    (left_order, left_step), (right_order, right_step) = ends  # type: ignore[misc]
    queue = c_void_p(runtime.queue.int_ptr)
    with runtime.lock:
        status = function(
            _ROW_MAJOR, left_order, right_order, rows, columns, inner,
            1, left.storage.buffer.int_ptr, left.offset, left_step, distances[0],
            right.storage.buffer.int_ptr, right.offset, right_step, distances[1],
            int(add), result.storage.buffer.int_ptr, result.offset, columns, rows * columns, prod(batch),
            byref(queue), None,
        )  # fmt: skip
    if status:
        raise RuntimeError(
            f"{runtime.device}: matmul of {list(left.shape)} and {list(right.shape)}: CLBlast reports error {status}; "
            f"{VARIABLE}=0 leaves it out"
        )
    return True


def _order(array: Array) -> tuple[int, int] | None:
    """Whether matrices lie by rows or by columns, and how far from each other; None where they do neither."""
    (row, column), (height, width) = array.strides[-2:], array.shape[-2:]
    if column == 1 or width == 1:
        if height == 1 or row >= width:
            return _AS_IT_IS, max(row, width)
    elif (row == 1 or height == 1) and column >= height:
        return _TRANSPOSED, column
    return None


def _distance(batch: Sequence[int], steps: Sequence[int]) -> int | None:
    """The one distance between the matrices of a batch, in the order of the result's; None where they have several."""
    distance = reach = None
    for size, step in zip(reversed(batch), reversed(steps), strict=True):
        if size == 1:
            continue
        if distance is None:
            distance = step
        elif step != reach:
            return None
        reach = step * size
    return distance or 0
