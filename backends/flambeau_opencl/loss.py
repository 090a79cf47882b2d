"""Cross entropy of (N, C) scores without weights and smoothing, in a few kernels; other cases run the decomposition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.dtypes import float32, float64, int64
from flambeau.ops.declare import OPS
from flambeau_opencl.activation import KERNELS as ACTIVATION
from flambeau_opencl.activation import without
from flambeau_opencl.array import Array, empty
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.elementwise import KERNELS as ELEMENTWISE
from flambeau_opencl.maps import Number, run
from flambeau_opencl.reduction import sum as sum_

# The target is a0. A sample whose target does not count is left out of loss, mean and gradient.
_PICK = """
r0 = 0; r1 = 0;
if ({counts}) {{
    long place = a0;
    if (place < 0 || place >= n0) {{ complain(words, 1, who, place, n0); place = 0; }}
    r0 = -IN1(x1 + place * n1); r1 = 1;
}}
"""


def _is_plain(scores: Array, target: Array, weight: Array | None, reduction: str, smoothing: float) -> bool:
    return (
        weight is None
        and not smoothing
        and reduction in ("mean", "sum", "none")
        and len(scores.shape) == 2
        and scores.size > 0
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
    elif reduction == "none":
        share = g.window((*g.shape, 1), (*g.strides, 0), g.offset)
    counts, ignored = _counting("a1", ignore_index, 1)
    result = empty(log_probs.runtime, log_probs.shape, log_probs.dtype)
    column = target.window((*target.shape, 1), (*target.strides, 0), target.offset)
    real = ELEMENTS[log_probs.dtype].compute
    body = f"r0 = {counts} ? (exp(a0) - ({real})(i % n0 == a1)) * a2 : 0;"
    numbers: list[Number] = [("long", log_probs.shape[1]), *ignored]
    run("cross_entropy_backward", body, [result], [log_probs, column, share], numbers)
    return result


KERNELS: dict[str, Callable[..., Any]] = {
    "cross_entropy": cross_entropy,
    "cross_entropy_backward": cross_entropy_backward,
}
