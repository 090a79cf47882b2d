"""Losses: PyTorch's older arguments, weights, broadcasting and the checks of shapes."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau.autograd.grad_mode import no_grad
from flambeau.nn.functional._reduction import reduction_of
from flambeau.nn.functional._values import examined_where_near
from flambeau.ops.call import TENSORS
from flambeau.ops.loss import reduce as reduce_loss
from flambeau.ops.spec import broadcast_shapes
from flambeau.tensor import Tensor

_mse_loss = TENSORS.mse_loss  # looked up once: it is called in the inner loops of small models


def _same_shape(op: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both broadcast to one shape, with PyTorch's warning that this is rarely meant."""
    if input._array.shape == target._array.shape:
        return input, target
    warnings.warn(
        f"{op}: Using a target size ({list(target.shape)}) that is different to the input size ({list(input.shape)}). "
        "This "
        "will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
        stacklevel=3,
    )
    shape = broadcast_shapes(op, input.shape, target.shape)
    return TENSORS.expand(input, shape), TENSORS.expand(target, shape)


def _weighted(op: str, loss: Tensor, weight: Tensor, input: Tensor, reduction: str) -> Tensor:
    if weight.shape != input.shape:
        raise ValueError(
            f"{op}: Weights and input must have the same size, got {list(weight.shape)} and {list(input.shape)}"
        )
    total = TENSORS.mul(loss, weight)
    if reduction == "mean":
        return total.sum() / weight.sum()
    return reduce_loss(TENSORS, total, reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return ``(input - target)^2``, reduced; the mean of a weighted loss is divided by the weights' sum."""
    if size_average is not None or reduce is not None:
        reduction = reduction_of(size_average, reduce, reduction)
    if input._array.shape != target._array.shape:
        input, target = _same_shape("mse_loss", input, target)
    if weight is None:
        return _mse_loss(input, target, reduction)
    return _weighted("mse_loss", _mse_loss(input, target, "none"), weight, input, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return ``|input - target|``, reduced; the mean of a weighted loss is divided by the weights' sum."""
    reduction = reduction_of(size_average, reduce, reduction)
    input, target = _same_shape("l1_loss", input, target)
    if weight is None:
        return TENSORS.l1_loss(input, target, reduction)
    return _weighted("l1_loss", TENSORS.l1_loss(input, target, "none"), weight, input, reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Return ``d^2 / (2 beta)`` where ``d = |input - target| < beta``, else ``d - beta / 2``, reduced."""
    reduction = reduction_of(size_average, reduce, reduction)
    input, target = _same_shape("smooth_l1_loss", input, target)
    return TENSORS.smooth_l1_loss(input, target, reduction, beta)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Return ``d^2 / 2`` where ``d = |input - target| <= delta``, else ``delta (d - delta / 2)``, reduced."""
    input, target = _same_shape("huber_loss", input, target)
    if weight is None:
        return TENSORS.huber_loss(input, target, reduction, delta)
    if weight.shape != input.shape:
        raise ValueError(
            f"huber_loss: Weights and input must have the same size, got {list(weight.shape)} and {list(input.shape)}"
        )
    return reduce_loss(TENSORS, TENSORS.huber_loss(input, target, "none", delta) * weight, reduction)


def _check_probabilities(values: Any) -> None:
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise RuntimeError(
            f"binary_cross_entropy: all elements of input should be between 0 and 1, got values from {values.min()} to "
            f"{values.max()}"
        )


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``-(target log(input) + (1 - target) log(1 - input))``, times ``weight`` (broadcast), reduced.

    Raises:
        ValueError: when the shapes differ.
        RuntimeError: when an element of ``input`` is not within [0, 1].
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(
            f"binary_cross_entropy: Using a target size ({list(target.shape)}) that is different to the input size "
            f"({list(input.shape)}) is deprecated. Please ensure they have the same size."
        )
    examined_where_near(input, _check_probabilities)
    if weight is None:
        return TENSORS.binary_cross_entropy(input, target, reduction)
    return reduce_loss(TENSORS, TENSORS.binary_cross_entropy(input, target, "none") * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return :func:`binary_cross_entropy` of ``sigmoid(input)``, without the loss of precision.

    Args:
        weight: a factor for each element, broadcast. pos_weight: a factor for the loss of positive targets, broadcast.

    Raises:
        ValueError: when the shapes of input and target differ.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(
            f"binary_cross_entropy_with_logits: Target size ({list(target.shape)}) must be the same as input size "
            f"({list(input.shape)})"
        )
    loss = TENSORS.binary_cross_entropy_with_logits
    if weight is None:
        return loss(input, target, pos_weight, reduction)
    return reduce_loss(TENSORS, loss(input, target, pos_weight, "none") * weight, reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Return ``target * (log(target) - input)`` for log-probabilities ``input``, reduced.

    Args:
        reduction: also ``"batchmean"``, the sum divided by the batch's size, which is the divergence's definition.
        log_target: ``target`` is a logarithm too.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides "
            "only "
            "by the batch size, and aligns with the KL div math definition.",
            stacklevel=2,
        )
    loss = TENSORS.kl_div(input, target, "sum" if reduction == "batchmean" else reduction, log_target)
    return loss / input.shape[0] if reduction == "batchmean" and input.ndim else loss


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``exp(input) - target * input``, or ``input - target * log(input + eps)`` without ``log_input``, reduced.

    Args:
        full: add Stirling's approximation of ``log(target!)`` where the target is over 1.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    return TENSORS.poisson_nll_loss(input, target, log_input, full, eps, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Return ``(log(var) + (input - target)^2 / var) / 2``, reduced.

    Args:
        var: the variances: a number, or of the input's shape, or that with a last dimension less or one dimension of 1.
            Raised to ``eps`` where they are lower, which the gradient does not see.
        full: add ``log(2 pi) / 2``.

    Raises:
        ValueError: for a negative variance, or a shape that does not fit.
    """
    variance: Tensor = var if isinstance(var, Tensor) else TENSORS.full_like(input.detach(), float(var))
    if not variance.is_meta and bool((variance.detach() < 0).any()):
        raise ValueError("gaussian_nll_loss: var has negative entry/entries")
    shape, own = input.shape, variance.shape
    if own != shape:
        differing = [n for n, m in zip(shape, own, strict=False) if n != m]
        if shape[:-1] == own:
            variance = TENSORS.unsqueeze(variance, -1)
        elif len(own) != len(shape) or len(differing) != 1 or 1 not in own:
            raise ValueError(
                f"gaussian_nll_loss: var is of incorrect size: {list(own)} for an input of size {list(shape)}"
            )
    variance = variance.clone()
    with no_grad():
        variance.clamp_(min=eps)
    return TENSORS.gaussian_nll_loss(input, target, variance, full, reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the mean over the classes of the binary cross-entropy with logits, reduced."""
    reduction = reduction_of(size_average, reduce, reduction)
    return TENSORS.multilabel_soft_margin_loss(input, target, weight, reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``log(1 + exp(-target * input))``, the target 1 or -1, reduced."""
    reduction = reduction_of(size_average, reduce, reduction)
    return TENSORS.soft_margin_loss(input, target, reduction)
