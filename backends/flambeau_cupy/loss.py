"""Cross entropy of (N, C) scores without weights and smoothing, a kernel each way; the rest runs the decomposition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy

from flambeau_cupy.decomposition import decomposed
from flambeau_cupy.elements import compute, own_dtype
from flambeau_cupy.maps import Number, run
from flambeau_cupy.reduction import reduced
from flambeau_cupy.rows import run_rows

Array = Any

# A row's logarithms of the probabilities, and its loss; a sample whose target does not count has none.
_FORWARD = """
{A} m = -INF; EACH(j) m = larger(m, IN0(j)); m = row_largest(m);
{A} s = 0; EACH(j) s += exp(IN0(j) - m); s = log(row_sum(s));
EACH(j) OUT0(j, IN0(j) - m - s);
if (t == 0) {{
    long long place = IN1(0);
    {A} loss = 0;
    if (place != n0) {{
        if (place < 0 || place >= n) {{ complain(words, 1, who, place, n); place = 0; }}
        loss = -(IN0((index_t)place) - m - s);
    }}
    OUT1(0, loss);
}}
"""
_BACKWARD = "r0 = a1 == n0 ? 0 : (exp(a0) - ({A})(i % n1 == a1)) * a2;"

# No class: that every target counts.
_NONE = -(1 << 63)


def _is_plain(scores: Array, target: Array, weight: Array | None, reduction: str, smoothing: float) -> bool:
    return (
        weight is None
        and not smoothing
        and reduction in ("mean", "sum", "none")
        and len(scores.shape) == 2
        and scores.size > 0
        and scores.dtype.char in "fd"
        and target.shape == scores.shape[:1]
        and target.dtype == numpy.int64
    )


def _ignored(ignore_index: int | None) -> Number:
    return "long long", _NONE if ignore_index is None else ignore_index


def _counted(target: Array, ignore_index: int | None, kind: Any) -> Array:
    """How many targets count, on the device."""
    number = [_ignored(ignore_index)]
    return reduced("sum", "(a0 != n0)", [target], (0,), False, kind, numbers=number)


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
    settings = weight, reduction, ignore_index, label_smoothing
    if not _is_plain(input, target, weight, reduction, label_smoothing):
        found: tuple[Array, Array] = decomposed("cross_entropy", input, target, *settings)
        return found
    log_probs = cupy.empty(input.shape, input.dtype)
    losses = cupy.empty(target.shape, input.dtype)
    body = _FORWARD.format(A=compute(own_dtype(input)))
    outputs, inputs = [log_probs, losses[:, None]], [input, target[:, None]]
    run_rows("cross_entropy", body, outputs, inputs, (1,), [_ignored(ignore_index)], complains="cross_entropy")
    if reduction == "none":
        return losses, log_probs
    total = reduced("sum", "a0", [losses], (0,), False, input.dtype)
    return (total / _counted(target, ignore_index, input.dtype) if reduction == "mean" else total), log_probs


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
        settings = weight, reduction, ignore_index, label_smoothing
        found: Array = decomposed("cross_entropy_backward", g, log_probs, target, *settings)
        return found
    share = g
    if reduction == "mean":
        share = g / _counted(target, ignore_index, log_probs.dtype)
    elif reduction == "none":
        share = g[:, None]
    result = cupy.empty(log_probs.shape, log_probs.dtype)
    body = _BACKWARD.format(A=compute(own_dtype(log_probs)))
    numbers = [_ignored(ignore_index), ("long long", log_probs.shape[1])]
    run("cross_entropy_backward", body, [result], [log_probs, target[:, None], share], numbers)
    return result


KERNELS: dict[str, Callable[..., Any]] = {
    "cross_entropy": cross_entropy,
    "cross_entropy_backward": cross_entropy_backward,
}
