"""Connectionist temporal classification: checks, lengths in all the forms that PyTorch takes, reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

import flambeau
from flambeau.dtypes import INTEGER, float32, int64
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

_OP = "ctc_loss"


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Return minus the logarithm of the probability that the input says the target (Graves et al., 2006).

    Args:
        log_probs: (T, N, C), logarithms of probabilities, or (T, C).
        targets: (N, S), or the targets of all samples one after the other, (sum of the lengths,). No label is
            ``blank``.
        input_lengths, target_lengths: the lengths, (N,), or 0-dim without a batch.
        blank: the class that stands for no label.
        reduction: ``"mean"`` divides each loss by the target's length and averages over the batch; ``"sum"``;
            ``"none"``.
        zero_infinity: count a loss of infinity, which an input too short for its target has, and its gradient as 0.

    Raises:
        RuntimeError: for lengths that do not fit the tensors, or a blank that is no class.
        ValueError: for another reduction.
    """
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction; it is 'none', 'mean' or 'sum'")
    if not log_probs.is_floating_point():
        raise RuntimeError(f"{_OP}: log_probs must be of a floating-point dtype, got {log_probs.dtype}")
    if targets.dtype.category > INTEGER:
        raise RuntimeError(f"{_OP}: targets must be integers, got {targets.dtype}")
    batched = log_probs.dim() == 3
    if not batched:
        if log_probs.dim() != 2:
            raise RuntimeError(f"{_OP}: log_probs must be (T, N, C) or (T, C), got {list(log_probs.shape)}")
        log_probs = log_probs.unsqueeze(1)
        targets = targets.reshape(1, -1)
    batch = log_probs.shape[1]
    inputs = _lengths("input_lengths", input_lengths, batch)
    counts = _lengths("target_lengths", target_lengths, batch)
    _check(log_probs, inputs, counts, blank)
    device = log_probs.device
    padded = _padded(targets, counts).to(device, int64)
    precise = log_probs if log_probs.dtype.itemsize >= 4 else log_probs.to(float32)
    loss = TENSORS.ctc_nll(
        precise, padded, flambeau.from_numpy(inputs).to(device), flambeau.from_numpy(counts).to(device), blank
    )
    if zero_infinity:
        loss = TENSORS.where(TENSORS.isinf(loss), 0.0, loss)
    if reduction == "mean":
        loss = (loss / flambeau.from_numpy(numpy.maximum(counts, 1)).to(device, loss.dtype)).mean()
    elif reduction == "sum":
        loss = loss.sum()
    elif not batched:
        loss = loss.squeeze(0)
    # Autocast asks for float32, as PyTorch's list of ops does.
    return loss if flambeau.is_autocast_enabled(device.type) else loss.to(log_probs.dtype)


def _lengths(name: str, lengths: Any, batch: int) -> Any:
    if isinstance(lengths, Tensor):
        lengths = lengths.detach().cpu().numpy()
    values = numpy.array(lengths).reshape(-1)
    if values.dtype.kind not in "iu" and values.size:
        raise RuntimeError(f"{_OP}: {name} must be integers, got {values.dtype}")
    if len(values) != batch:
        raise RuntimeError(f"{_OP}: {name} must be of size batch_size, {batch}, got {len(values)}")
    if (values < 0).any():
        raise RuntimeError(f"{_OP}: {name} must not be negative, got {int(values.min())}")
    return values.astype(numpy.int64)


def _check(log_probs: Tensor, inputs: Any, counts: Any, blank: int) -> None:
    steps, _, classes = log_probs.shape
    if not steps or not len(inputs):
        raise RuntimeError(f"{_OP}: log_probs must not be empty, got {list(log_probs.shape)}")
    if not 0 <= blank < classes:
        raise RuntimeError(f"{_OP}: blank must be in label range, 0 to {classes - 1}, got {blank}")
    if inputs.max() > steps:
        raise RuntimeError(
            f"{_OP}: Expected input_lengths to have value at most {steps}, but got value {int(inputs.max())}"
        )


def _padded(targets: Tensor, counts: Any) -> Tensor:
    """The targets as (N, S)."""
    batch, most = len(counts), int(counts.max())
    if targets.dim() == 2:
        if targets.shape[0] != batch:
            raise RuntimeError(f"{_OP}: expected targets of {batch} samples, got {list(targets.shape)}")
        if targets.shape[1] < most:
            raise RuntimeError(
                f"{_OP}: Expected targets to have size at least {most} at dimension 1, but got {list(targets.shape)}"
            )
        return targets[:, :most]
    if targets.dim() != 1 or targets.shape[0] != counts.sum():
        raise RuntimeError(
            f"{_OP}: Expected targets of shape (N, S) or ({int(counts.sum())},), the sum of target_lengths, but got "
            f"{list(targets.shape)}"
        )
    starts = numpy.cumsum(counts) - counts
    places = numpy.minimum(starts[:, None] + numpy.arange(most), max(targets.shape[0] - 1, 0))
    return targets[flambeau.from_numpy(places).to(targets.device)]
