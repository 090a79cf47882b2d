"""Losses: PyTorch's older arguments, weights, broadcasting and the checks of targets."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy

from flambeau.autograd.grad_mode import no_grad
from flambeau.dtypes import FLOATING, INTEGER, int64
from flambeau.nn.functional._values import host_values
from flambeau.ops.call import TENSORS
from flambeau.ops.loss import reduce as _reduced
from flambeau.tensor import Tensor

# Looked up once: these are called in the inner loops of small models.
_mse_loss, _cross_entropy = TENSORS.mse_loss, TENSORS.cross_entropy


def _legacy(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """``reduction``, or what the older arguments say."""
    if size_average is None and reduce is None:
        return reduction
    chosen = "none" if reduce is False else "sum" if size_average is False else "mean"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{chosen}' instead.", stacklevel=3
    )
    return chosen


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
    shape = TENSORS.add(input.detach(), target.detach()).shape
    return TENSORS.expand(input, shape), TENSORS.expand(target, shape)


def _weighted(op: str, loss: Tensor, weight: Tensor, input: Tensor, reduction: str) -> Tensor:
    if weight.shape != input.shape:
        raise ValueError(
            f"{op}: Weights and input must have the same size, got {list(weight.shape)} and {list(input.shape)}"
        )
    total = TENSORS.mul(loss, weight)
    if reduction == "mean":
        return total.sum() / weight.sum()
    return _reduced(TENSORS, total, reduction)


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
        reduction = _legacy(size_average, reduce, reduction)
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
    reduction = _legacy(size_average, reduce, reduction)
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
    reduction = _legacy(size_average, reduce, reduction)
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
    return _reduced(TENSORS, TENSORS.huber_loss(input, target, "none", delta) * weight, reduction)


def _class_targets(
    op: str, input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int
) -> tuple[Tensor, int | None]:
    """Class indices as int64, checked; and ``ignore_index``, None where it is known not to occur."""
    shape, own = input._array.shape, target._array.shape
    if not shape:
        raise RuntimeError(f"{op}: input tensor should be 1D or more, (C,) or (N, C, ...), got a 0-dim tensor")
    if len(shape) == 1:
        classes = shape[0]
        if own not in ((), (1,)):
            raise ValueError(f"{op}: an input of shape {list(shape)} takes a target of shape [], got {list(own)}")
        if own:
            target = target.reshape(())
    else:
        classes = shape[1]
        if own != (shape[0], *shape[2:]):
            if own and own[0] != shape[0]:
                raise ValueError(f"{op}: Expected input batch_size ({shape[0]}) to match target batch_size ({own[0]}).")
            raise RuntimeError(
                f"{op}: Expected target size {[shape[0], *shape[2:]]} for an input of size {list(shape)}, got "
                f"{list(own)}"
            )
    if target._dtype is not int64:
        if target._dtype.category != INTEGER:
            raise RuntimeError(f"{op}: expected class indices of type int64 as target, got {target._dtype.name}")
        target = target.to(int64)
    if weight is not None and tuple(weight._array.shape) != (classes,):
        raise RuntimeError(
            f"{op}: weight tensor should be defined either for all {classes} classes or no classes but got weight "
            "tensor of "
            f"shape: {list(weight._array.shape)}"
        )
    values = host_values(target)
    if values is None:
        return target, ignore_index
    if not values.size or int(values.view(numpy.uint64).max()) < classes:
        return target, ignore_index if 0 <= ignore_index < classes else None
    wrong = values[((values < 0) | (values >= classes)) & (values != ignore_index)]
    if wrong.size:
        raise IndexError(
            f"{op}: Target {int(wrong.flat[0])} is out of bounds: there are {classes} classes, 0 to {classes - 1}, and "
            f"ignore_index is {ignore_index}"
        )
    return target, ignore_index


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return ``-log softmax(input)[target]``, reduced.

    Args:
        input: scores, (N, C, ...) or (C,).
        target: class indices, (N, ...) or (); or probabilities of the input's shape.
        weight: a weight a class, (C,). A mean is divided by the weights' sum, with probabilities by the number of
            samples.
        ignore_index: an index that does not count.
        label_smoothing: the share of the target's probability that is spread over all classes.

    Raises:
        IndexError: for an index that is no class.
        ValueError, RuntimeError: when shapes or dtypes do not fit.
    """
    if size_average is not None or reduce is not None:
        reduction = _legacy(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if target._dtype.category >= FLOATING:
        if target.shape != input.shape:
            raise RuntimeError(
                f"cross_entropy: a target of type {target._dtype.name} holds class probabilities and must have the "
                "shape of "
                f"the input, {list(input.shape)}, got {list(target.shape)}; class indices are int64"
            )
        return TENSORS.cross_entropy_with_probabilities(input, target, weight, reduction, label_smoothing)
    target, ignored = _class_targets("cross_entropy", input, target, weight, ignore_index)
    return _cross_entropy(input, target, weight, reduction, ignored, label_smoothing)[0]


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``-weight[target] * input[target]`` for log-probabilities ``input``, reduced; as :func:`cross_entropy`."""
    reduction = _legacy(size_average, reduce, reduction)
    target, ignored = _class_targets("nll_loss", input, target, weight, ignore_index)
    return TENSORS.nll_loss(input, target, weight, reduction, ignored)


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
    reduction = _legacy(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(
            f"binary_cross_entropy: Using a target size ({list(target.shape)}) that is different to the input size "
            f"({list(input.shape)}) is deprecated. Please ensure they have the same size."
        )
    values = host_values(input)
    if values is not None and values.size and not (values.min() >= 0 and values.max() <= 1):
        raise RuntimeError(
            f"binary_cross_entropy: all elements of input should be between 0 and 1, got values from {values.min()} to "
            f"{values.max()}"
        )
    if weight is None:
        return TENSORS.binary_cross_entropy(input, target, reduction)
    return _reduced(TENSORS, TENSORS.binary_cross_entropy(input, target, "none") * weight, reduction)


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
    reduction = _legacy(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(
            f"binary_cross_entropy_with_logits: Target size ({list(target.shape)}) must be the same as input size "
            f"({list(input.shape)})"
        )
    loss = TENSORS.binary_cross_entropy_with_logits
    if weight is None:
        return loss(input, target, pos_weight, reduction)
    return _reduced(TENSORS, loss(input, target, pos_weight, "none") * weight, reduction)


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
    reduction = _legacy(size_average, reduce, reduction)
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
    reduction = _legacy(size_average, reduce, reduction)
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


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``input`` where the target is 1, ``max(0, margin - input)`` where it is -1, reduced."""
    reduction = _legacy(size_average, reduce, reduction)
    return TENSORS.hinge_embedding_loss(input, target, margin, reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``max(0, -target (input1 - input2) + margin)``, the target 1 or -1, reduced.

    Raises:
        RuntimeError: when the tensors have different numbers of dimensions.
    """
    reduction = _legacy(size_average, reduce, reduction)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss: All input tensors should have same dimension but got sizes: input1: "
            f"{list(input1.shape)}, input2: {list(input2.shape)}, target: {list(target.shape)}"
        )
    return TENSORS.margin_ranking_loss(input1, input2, target, margin, reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``1 - cos(input1, input2)`` where the target is 1, ``max(0, cos - margin)`` where it is -1, reduced.

    Shape: inputs (N, D) with a target (N,), or (D,) with ().

    Raises:
        RuntimeError: for other shapes.
    """
    reduction = _legacy(size_average, reduce, reduction)
    if target.ndim not in (0, 1) or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        raise RuntimeError(
            f"cosine_embedding_loss: a {target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but "
            "found "
            f"inputs with sizes {list(input1.shape)} and {list(input2.shape)}"
        )
    return TENSORS.cosine_embedding_loss(input1, input2, target, margin, reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``max(d(anchor, positive) - d(anchor, negative) + margin, 0)``, d the :func:`pairwise_distance`, reduced.

    Args:
        swap: use ``d(positive, negative)`` where it is smaller than ``d(anchor, negative)``.

    Raises:
        ValueError: unless ``margin`` is positive.
        RuntimeError: when the tensors have different numbers of dimensions.
    """
    reduction = _legacy(size_average, reduce, reduction)
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss: margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "triplet_margin_loss: The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D "
            "inputs"
        )
    return TENSORS.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """:func:`triplet_margin_loss` with any distance, :func:`pairwise_distance` when left out."""
    distance = TENSORS.pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = TENSORS.minimum(far, distance(positive, negative))
    return _reduced(TENSORS, (near - far + margin).clamp(min=0), reduction)


def _labels(op: str, input: Tensor, target: Tensor, shape: tuple[int, ...], least: int) -> Tensor:
    """int64 class labels of the given shape, from ``least`` to the number of classes."""
    if target._dtype.category != INTEGER or tuple(target.shape) != shape:
        raise RuntimeError(
            f"{op}: expected an int64 target of size {list(shape)} for an input of size {list(input.shape)}, got "
            f"{target._dtype.name} of size {list(target.shape)}"
        )
    target = target.to(int64)
    classes = input.shape[-1]
    values = host_values(target)
    if values is not None and values.size and (values.min() < least or values.max() >= classes):
        raise RuntimeError(f"{op}: target is out of range: from {values.min()} to {values.max()}, of {classes} classes")
    return target


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``sum_i max(0, margin - input[target] + input[i])^p / C`` over the classes i but the target, reduced.

    Shape: (N, C) with a target (N,), or (C,) with ().

    Raises:
        ValueError: when ``p`` is neither 1 nor 2, or the weight is not 1-D.
        RuntimeError: for a target of the wrong shape, or out of range.
    """
    reduction = _legacy(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: only p == 1 and p == 2 supported, got {p}")
    if weight is not None and weight.ndim != 1:
        raise ValueError(f"multi_margin_loss: weight must be one-dimensional, got {weight.ndim} dimensions")
    if input.ndim == 1 and target.shape == (1,):
        target = target.reshape(())
    target = _labels("multi_margin_loss", input, target, tuple(input.shape[:-1]), 0)
    return TENSORS.multi_margin_loss(input, target, p, margin, weight, reduction)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``sum_ij max(0, 1 - (input[target[j]] - input[i])) / C`` over the targets j and all other i, reduced.

    Shape: (N, C) or (C,), the target too: classes, of which those after the first -1 do not count.
    """
    reduction = _legacy(size_average, reduce, reduction)
    target = _labels("multilabel_margin_loss", input, target, tuple(input.shape), -1)
    return TENSORS.multilabel_margin_loss(input, target, reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the mean over the classes of the binary cross-entropy with logits, reduced."""
    reduction = _legacy(size_average, reduce, reduction)
    return TENSORS.multilabel_soft_margin_loss(input, target, weight, reduction)


def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``log(1 + exp(-target * input))``, the target 1 or -1, reduced."""
    reduction = _legacy(size_average, reduce, reduction)
    return TENSORS.soft_margin_loss(input, target, reduction)
