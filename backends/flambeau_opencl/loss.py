"""Cross entropy of (N, C) scores without weights and smoothing, in a few kernels; other cases run the decomposition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.dtypes import float32, float64, int64
from flambeau.ops.declare import OPS
from flambeau_opencl.activation import KERNELS as ACTIVATION
from flambeau_opencl.activation import without
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import contiguous
from flambeau_opencl.elementwise import KERNELS as ELEMENTWISE
from flambeau_opencl.maps import Number, run
from flambeau_opencl.reduction import sum as sum_
from flambeau_opencl.rows import each, run_rows

# The target is a0. A sample whose target does not count is left out of loss, mean and gradient.
_PICK = """
r0 = 0; r1 = 0;
if ({counts}) {{
    long place = a0;
    if (place < 0 || place >= n0) {{ complain(words, 1, who, place, n0); place = 0; }}
    r0 = -IN1(x1 + place * n1); r1 = 1;
}}
"""


_SCORES = "S0(share == 0 ? (V)0 : (exp_nonpositive(L1) - (LANES + (T)at == target ? (V)1 : (V)0)) * share);"

#: Places in a row are told apart as numbers of single precision.
_CLASSES = 1 << 24


def _is_plain(scores: Array, target: Array, weight: Array | None, reduction: str, smoothing: float) -> bool:
    return (
        weight is None
        and not smoothing
        and reduction in ("mean", "sum", "none")
        and len(scores.shape) == 2
        and scores.size > 0
        and scores.shape[1] <= _CLASSES
        and scores.dtype in (float32, float64)
        and target.shape == scores.shape[:1]
        and target.dtype is int64
    )


def _counting(target: str, ignore_index: int | None, number: int) -> tuple[str, list[Number]]:
    """The C condition under which the operand ``target`` counts, and the number ``n<number>`` that it names."""
    return ("1", []) if ignore_index is None else (f"{target} != n{number}", [("long", ignore_index)])


def _picked(log_probs: Array, target: Array, ignore_index: int | None) -> tuple[Array, Array]:
    """Each sample's loss, and 1 where it counts."""
    counts, ignored = _counting("a0", ignore_index, 2)
    losses, kept = [empty(log_probs.runtime, target.shape, log_probs.dtype) for _ in range(2)]
    numbers: list[Number] = [("long", log_probs.shape[1]), ("long", log_probs.strides[1]), *ignored]
    rows = without(log_probs, 1)
    body = _PICK.format(counts=counts)
    run("cross_entropy", body, [losses, kept], [target, rows], numbers, "a1", complains="cross_entropy")
    return losses, kept


def cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    reduction: str = "mean",
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
) -> tuple[Array, Array]:
    """``-log_softmax(input)[target]``, reduced, and the logarithms of the probabilities.

    Raises:
        IndexError: when a target is no class; raised when the device is waited for.
    """
    if not _is_plain(input, target, weight, reduction, label_smoothing):
        found: tuple[Array, Array] = OPS["cross_entropy"].body(
            input.runtime.device.xp, input, target, weight, reduction, ignore_index, label_smoothing
        )
        return found
    log_probs = ACTIVATION["log_softmax"](input, 1)
    losses, kept = _picked(log_probs, target, ignore_index)
    if reduction == "none":
        return losses, log_probs
    total = sum_(losses, (0,))
    return ELEMENTWISE["div"](total, sum_(kept, (0,))) if reduction == "mean" else total, log_probs


def cross_entropy_backward(
    g: Array,
    log_probs: Array,
    target: Array,
    weight: Array | None,
    reduction: str,
    ignore_index: int | None,
    label_smoothing: float,
) -> Array:
    """The cotangent of the scores: the probabilities, less 1 at the targets, times each sample's share of ``g``."""
    if not _is_plain(log_probs, target, weight, reduction, label_smoothing):
        found: Array = OPS["cross_entropy_backward"].body(
            log_probs.runtime.device.xp, g, log_probs, target, weight, reduction, ignore_index, label_smoothing
        )
        return found
    share = g
    if reduction == "mean":
        share = ELEMENTWISE["div"](g, sum_(_picked(log_probs, target, ignore_index)[1], (0,)))
    counts, ignored = _counting("p2[row]", ignore_index, 2)
    result = empty(log_probs.runtime, log_probs.shape, log_probs.dtype)
    columns = [contiguous(a).reshaped(a.size, 1) for a in (target, share)]
    body = f"T share = {counts} ? p3[row * n1] : 0, target = p2[row]; " + each(_SCORES)
    numbers: list[Number] = [("long", int(share.size > 1)), *ignored]
    run_rows("cross_entropy_backward", body, [result], [contiguous(log_probs), *columns], numbers)
    return result


KERNELS: dict[str, Callable[..., Any]] = {
    "cross_entropy": cross_entropy,
    "cross_entropy_backward": cross_entropy_backward,
}
