"""Cross entropy, the loss of nearly every classifier, in the case without weights, smoothing and ignored targets.

The other cases run through the decomposition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from flambeau.devices import device
from flambeau.ops.declare import OPS
from flambeau_numpy.blocks import over_rows
from flambeau_numpy.reduction import float_sum

Array = Any


def _is_plain(
    scores: Array, target: Array, weight: Array | None, reduction: str, ignore_index: int | None, smoothing: float
) -> bool:
    """Whether it is the simple case of (N, C) scores and classes that all count."""
    if weight is not None or smoothing or scores.ndim != 2 or scores.dtype.char not in "fd" or not target.size:
        return False
    if reduction not in ("mean", "sum", "none") or target.shape != scores.shape[:1]:
        return False
    if ignore_index is None or (not 0 <= ignore_index < scores.shape[1] and _are_classes(target, scores.shape[1])):
        return True
    return not numpy.logical_or.reduce(numpy.equal(target, ignore_index))


def _are_classes(target: Array, classes: int) -> bool:
    """Whether each of the int64 is in [0, classes): without a sign, negative ones are the largest of all."""
    return bool(numpy.maximum.reduce(target.view(numpy.uint64)) < classes)


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
        IndexError: when a target is no class.
    """
    settings = weight, reduction, ignore_index, label_smoothing
    if not _is_plain(input, target, *settings):
        return OPS["cross_entropy"].body(device("cpu").xp, input, target, *settings)
    samples, classes = input.shape
    if not _are_classes(target, classes):
        outside = target[(target < 0) | (target >= classes)][0]
        raise IndexError(f"cross_entropy: Target {outside} is out of bounds for {classes} classes")
    log_probs = device("cpu").xp.log_softmax(input, 1)
    loss = log_probs.reshape(-1).take(_positions(target, classes))
    if reduction == "none":
        return numpy.negative(loss, loss), log_probs
    total = float_sum(loss, (0,), False)
    return total / (-samples if reduction == "mean" else -1), log_probs


def _positions(target: Array, classes: int) -> Array:
    """Where the targets' entries are in the flat (N, C) array."""
    return numpy.add(target, numpy.arange(0, target.size * classes, classes))


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
    settings = weight, reduction, ignore_index, label_smoothing
    if not _is_plain(log_probs, target, *settings):
        return OPS["cross_entropy_backward"].body(device("cpu").xp, g, log_probs, target, *settings)
    samples, classes = log_probs.shape
    gradient = numpy.empty(log_probs.shape, log_probs.dtype)
    share = g / samples if reduction == "mean" else g

    def work(part: slice) -> None:
        rows = numpy.exp(log_probs[part], gradient[part])
        numpy.multiply(rows, share[part, None] if reduction == "none" else share, rows)

    over_rows(work, samples, classes)
    gradient.reshape(-1)[_positions(target, classes)] -= share
    return gradient


KERNELS: dict[str, Callable[..., Any]] = {
    "cross_entropy": cross_entropy,
    "cross_entropy_backward": cross_entropy_backward,
}
