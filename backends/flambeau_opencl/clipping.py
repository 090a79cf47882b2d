"""The norm of many arrays and scaling them, several a launch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.dtypes import float32, float64
from flambeau.ops.declare import OPS
from flambeau_opencl.array import Array
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.elementwise import KERNELS as ELEMENTWISE
from flambeau_opencl.lists import run_lists, sum_lists

Arrays = Sequence[Array]


def _decomposed(name: str, arrays: Arrays, *rest: Any) -> Any:
    return OPS[name].body(arrays[0].runtime.device.xp, arrays, *rest)


def _are_real(arrays: Arrays) -> bool:
    return bool(arrays) and not any(array.dtype.is_complex for array in arrays)


def total_norm(tensors: Arrays, ord: float = 2) -> Array:
    """The norm of the arrays' norms, 0-dim, at least float32; see :func:`flambeau.ops.clipping.total_norm`."""
    if ord != 2 or not _are_real(tensors):
        found: Array = _decomposed("total_norm", tensors, ord)
        return found
    kind = float64 if any(tensor.dtype is float64 for tensor in tensors) else float32
    squares = sum_lists("total_norm", "total += (T)a0 * a0;", [], [tensors], [], kind)
    norm: Array = ELEMENTWISE["sqrt"](squares)
    return norm


def clip_to_norm(tensors: Arrays, norm: Array, max_norm: float) -> None:
    """Multiply arrays in place by ``max_norm / (norm + 1e-6)`` where that is below 1, or NaN."""
    if not _are_real(tensors) or norm.dtype not in (float32, float64):
        _decomposed("clip_to_norm", tensors, norm, max_norm)
        return
    real = ELEMENTS[norm.dtype].real
    body = f"{real} factor = n0 / (given + n1); r0 = a0 * (factor >= 1 ? 1 : factor);"
    run_lists("clip_to_norm", body, [tensors], [], [(real, float(max_norm)), (real, 1e-6)], norm)


def unscale_gradients(grads: Arrays, inverse_scale: float) -> Array:
    """Multiply gradients by ``inverse_scale``, in place; whether one was infinite or NaN, a 0-dim bool."""
    if not _are_real(grads) or not all(grad.contiguous for grad in grads):
        found: Array = _decomposed("unscale_gradients", grads, inverse_scale)
        return found
    body = "total += a0 - a0 == 0 ? 0 : 1; r0 = a0 * n0;"  # of what is not finite the difference is NaN
    count = sum_lists("unscale_gradients", body, [grads], [], [("float", float(inverse_scale))], float32)
    wrong: Array = ELEMENTWISE["ne"](count, 0.0)
    return wrong


KERNELS: dict[str, Callable[..., Any]] = {
    "total_norm": total_norm,
    "clip_to_norm": clip_to_norm,
    "unscale_gradients": unscale_gradients,
}
