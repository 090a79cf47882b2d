"""Losses.

The ops take ``reduction`` (``"none"``, ``"mean"`` or ``"sum"``); class weights, broadcasting, PyTorch's older arguments
and the checks of targets are added by :mod:`flambeau.nn.functional`.
"""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import int64
from flambeau.ops.declare import composite

Tensor = Any
Dims = Any
Number = Any
Xp = Any


def reduce(xp: Xp, loss: Any, reduction: str) -> Any:
    """A loss an element, reduced.

    Raises:
        ValueError: for an unknown ``reduction``.
    """
    if reduction == "mean":
        return xp.mean(loss, tuple(range(len(loss.shape))), False)
    if reduction == "sum":
        return xp.sum(loss, tuple(range(len(loss.shape))), False)
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction; it has to be 'none', 'mean' or 'sum'")


def _share(xp: Xp, g: Any, like: Any, reduction: str, factor: float = 1.0) -> Any:
    """The cotangent of each element's loss, times ``factor``, from that of the reduced loss."""
    if reduction == "mean":
        factor /= max(math.prod(like.shape), 1)
    return g if factor == 1.0 else xp.mul(g, factor)


# -- functions of input - target -------------------------------------------------------------------------------------


def _both(xp: Xp, needs: tuple[bool, ...], gradient: Any) -> tuple[Any, Any]:
    """The cotangents of input and target of a loss that depends on their difference."""
    return gradient if needs[0] else None, xp.neg(gradient) if needs[1] else None


@composite(dtype="promote", public=())
def mse_loss(xp: Xp, input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return ``(input - target)^2``, reduced; equal shapes."""
    return reduce(xp, xp.square(xp.sub(input, target)), reduction)


@mse_loss.joint_vjp
def _(xp: Xp, g: Any, needs: tuple[bool, ...], input: Any, target: Any, reduction: str) -> tuple[Any, Any]:
    return _both(xp, needs, xp.mul(xp.sub(input, target), _share(xp, g, input, reduction, 2.0)))


@composite(dtype="promote", public=())
def l1_loss(xp: Xp, input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return ``|input - target|``, reduced; equal shapes."""
    return reduce(xp, xp.abs(xp.sub(input, target)), reduction)


@l1_loss.joint_vjp
def _(xp: Xp, g: Any, needs: tuple[bool, ...], input: Any, target: Any, reduction: str) -> tuple[Any, Any]:
    return _both(xp, needs, xp.mul(xp.sgn(xp.sub(input, target)), _share(xp, g, input, reduction)))


@composite(dtype="promote", public=())
def smooth_l1_loss(xp: Xp, input: Tensor, target: Tensor, reduction: str = "mean", beta: Number = 1.0) -> Tensor:
    """Return ``d^2 / (2 beta)`` where ``d = |input - target| < beta``, else ``d - beta / 2``, reduced; equal shapes.

    Raises:
        RuntimeError: for a negative ``beta``. 0 makes it :func:`l1_loss`.
    """
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    distance = xp.abs(xp.sub(input, target))
    if beta == 0:
        return reduce(xp, distance, reduction)
    quadratic = xp.mul(xp.square(distance), 0.5 / beta)
    return reduce(xp, xp.where(xp.lt(distance, beta), quadratic, xp.sub(distance, 0.5 * beta)), reduction)


@smooth_l1_loss.joint_vjp
def _(xp: Xp, g: Any, needs: tuple[bool, ...], input: Any, target: Any, reduction: str, beta: float) -> tuple[Any, Any]:
    difference = xp.sub(input, target)
    slope = xp.clamp(xp.div(difference, beta), -1, 1) if beta else xp.sign(difference)
    return _both(xp, needs, xp.mul(slope, _share(xp, g, input, reduction)))


@composite(dtype="promote", public=())
def huber_loss(xp: Xp, input: Tensor, target: Tensor, reduction: str = "mean", delta: Number = 1.0) -> Tensor:
    """Return ``d^2 / 2`` where ``d = |input - target| <= delta``, else ``delta (d - delta / 2)``, reduced.

    Raises:
        RuntimeError: unless ``delta`` is positive.
    """
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    distance = xp.abs(xp.sub(input, target))
    linear = xp.mul(xp.sub(distance, 0.5 * delta), delta)
    return reduce(xp, xp.where(xp.le(distance, delta), xp.mul(xp.square(distance), 0.5), linear), reduction)


@huber_loss.joint_vjp
def _(
    xp: Xp, g: Any, needs: tuple[bool, ...], input: Any, target: Any, reduction: str, delta: float
) -> tuple[Any, Any]:
    slope = xp.clamp(xp.sub(input, target), -delta, delta)
    return _both(xp, needs, xp.mul(slope, _share(xp, g, input, reduction)))


# -- binary classification -------------------------------------------------------------------------------------------


@composite(dtype="promote", public=())
def binary_cross_entropy(xp: Xp, input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return ``-(target log(input) + (1 - target) log(1 - input))``, reduced; equal shapes.

    Logarithms are limited to -100 from below, so that the loss stays finite at probabilities of 0 and 1.
    """
    positive = xp.mul(target, xp.clamp(xp.log(input), -100, None))
    negative = xp.mul(xp.sub(1.0, target), xp.clamp(xp.log1p(xp.neg(input)), -100, None))
    return reduce(xp, xp.neg(xp.add(positive, negative)), reduction)


@binary_cross_entropy.joint_vjp
def _(xp: Xp, g: Any, needs: tuple[bool, ...], input: Any, target: Any, reduction: str) -> tuple[Any, Any]:
    share = _share(xp, g, input, reduction)
    for_input = for_target = None
    if needs[0]:
        spread = xp.clamp(xp.mul(input, xp.sub(1.0, input)), 1e-12, None)
        for_input = xp.mul(share, xp.div(xp.sub(input, target), spread))
    if needs[1]:
        for_target = xp.mul(share, xp.sub(xp.log1p(xp.neg(input)), xp.log(input)))
    return for_input, for_target


@composite(dtype="promote", public=())
def binary_cross_entropy_with_logits(
    xp: Xp, input: Tensor, target: Tensor, pos_weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Return the binary cross-entropy of ``sigmoid(input)``, reduced; input and target of equal shapes.

    Args:
        pos_weight: a factor of the loss of positive targets; broadcasts to the input.
    """
    # -log(sigmoid(x)) = max(-x, 0) + log(1 + exp(-|x|))
    of_positive = xp.neg(xp.logsigmoid(input))
    if pos_weight is not None:
        factor = xp.add(xp.mul(xp.sub(pos_weight, 1.0), target), 1.0)
        of_positive = xp.mul(of_positive, factor)
    return reduce(xp, xp.add(xp.mul(xp.sub(1.0, target), input), of_positive), reduction)


@binary_cross_entropy_with_logits.joint_vjp
def _(
    xp: Xp, g: Any, needs: tuple[bool, ...], input: Any, target: Any, pos_weight: Any, reduction: str
) -> tuple[Any, Any, Any]:
    share = _share(xp, g, input, reduction)
    for_input = for_target = for_weight = None
    if needs[0]:
        if pos_weight is None:
            slope = xp.sub(xp.sigmoid(input), target)
        else:
            factor = xp.add(xp.mul(xp.sub(pos_weight, 1.0), target), 1.0)
            slope = xp.sub(xp.sub(1.0, target), xp.mul(factor, xp.sigmoid(xp.neg(input))))
        for_input = xp.mul(share, slope)
    if needs[1]:
        slope = xp.neg(input)
        if pos_weight is not None:
            slope = xp.sub(slope, xp.mul(xp.sub(pos_weight, 1.0), xp.logsigmoid(input)))
        for_target = xp.mul(share, slope)
    if needs[2]:
        full = xp.neg(xp.mul(share, xp.mul(target, xp.logsigmoid(input))))
        for_weight = xp.sum_to_size(full, tuple(pos_weight.shape))
    return for_input, for_target, for_weight


@composite(dtype="promote", public=())
def soft_margin_loss(xp: Xp, input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return ``log(1 + exp(-target * input))``, reduced."""
    return reduce(xp, xp.neg(xp.logsigmoid(xp.mul(target, input))), reduction)


@composite(dtype="promote", public=())
def multilabel_soft_margin_loss(
    xp: Xp, input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Return the mean over the classes (the last dimension) of the binary cross-entropy with logits, reduced."""
    positive = xp.mul(target, xp.logsigmoid(input))
    negative = xp.mul(xp.sub(1.0, target), xp.logsigmoid(xp.neg(input)))
    loss = xp.neg(xp.add(positive, negative))
    if weight is not None:
        loss = xp.mul(loss, weight)
    return reduce(xp, xp.mean(loss, (len(loss.shape) - 1,), False), reduction)


# -- classification --------------------------------------------------------------------------------------------------


def _class_dim(scores: Any) -> int:
    return 1 if len(scores.shape) > 1 else 0


def _insert(shape: Any, dim: int) -> tuple[int, ...]:
    return (*shape[:dim], 1, *shape[dim:])


def _select(xp: Xp, target: Any, ignore_index: int | None) -> tuple[Any, Any]:
    """Targets that can be used as indices, and where they count (None for everywhere)."""
    if ignore_index is None:
        return target, None
    counts = xp.ne(target, ignore_index)
    return xp.where(counts, target, 0), counts


def _target_weights(xp: Xp, scores: Any, index: Any, counts: Any, weight: Any) -> Any:
    """The weight of each target, None for 1 everywhere."""
    if weight is None:
        return None if counts is None else xp.to_dtype(counts, xp.dtype_of(scores))
    weights = xp.index(weight, [index])
    return weights if counts is None else xp.where(counts, weights, 0)


def _per_class(weight: Any, scores: Any) -> tuple[int, ...]:
    """The shape in which class weights broadcast against the scores."""
    return (weight.shape[0],) + (1,) * max(len(scores.shape) - 2, 0)


def _total(xp: Xp, target: Any, weights: Any) -> Any:
    """What a mean is divided by: the number of targets, or their weights' sum."""
    if weights is None:
        return math.prod(target.shape)
    return xp.sum(weights, tuple(range(len(weights.shape))), False)


def _likelihood_loss(
    xp: Xp, log_probs: Any, target: Any, weight: Any, reduction: str, ignore_index: int | None, smoothing: float
) -> Any:
    dim = _class_dim(log_probs)
    index, counts = _select(xp, target, ignore_index)
    shape = tuple(target.shape)
    loss = xp.neg(xp.reshape(xp.gather(log_probs, dim, xp.reshape(index, _insert(shape, dim))), shape))
    weights = _target_weights(xp, log_probs, index, counts, weight)
    if weight is not None:
        loss = xp.mul(loss, weights)
    if smoothing:
        # The share of the target is spread evenly over all classes (Szegedy et al., 2016).
        classes = log_probs.shape[dim]
        weighted = log_probs if weight is None else xp.mul(log_probs, xp.reshape(weight, _per_class(weight, log_probs)))
        uniform = xp.mul(xp.sum(weighted, (dim,), False), -smoothing / classes)
        loss = xp.add(xp.mul(loss, 1 - smoothing), uniform)
    if counts is not None:
        loss = xp.where(counts, loss, 0)
    if reduction == "mean" and weights is not None:
        return xp.div(reduce(xp, loss, "sum"), _total(xp, target, weights))
    return reduce(xp, loss, reduction)


@composite(public=())
def nll_loss(
    xp: Xp,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = -100,
) -> Tensor:
    """Return ``-weight[target] * input[target]``, reduced; a mean is divided by the sum of the weights.

    Args:
        input: log-probabilities, (N, C, ...) or (C,).
        target: int64 classes, (N, ...) or ().
        ignore_index: a target that does not count; None when there is none.
    """
    return _likelihood_loss(xp, input, target, weight, reduction, ignore_index, 0.0)


@composite(public=())
def cross_entropy(
    xp: Xp,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return :func:`nll_loss` of ``log_softmax(input)``, and these log-probabilities.

    Args:
        input: scores, (N, C, ...) or (C,).
        target: int64 classes, (N, ...) or ().
        weight: a weight a class, (C,); takes no gradient.
        ignore_index: a target that does not count; None when there is none.
        label_smoothing: the share of the target's probability that is spread over all classes.
    """
    log_probs = xp.log_softmax(input, _class_dim(input))
    loss = _likelihood_loss(xp, log_probs, target, weight, reduction, ignore_index, label_smoothing)
    return loss, log_probs


@cross_entropy.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    result_1: Any,
    target: Any,
    weight: Any,
    reduction: str,
    ignore_index: int | None,
    label_smoothing: float,
) -> tuple[Any, None, None]:
    if not needs[0]:
        return None, None, None
    log_probs = result_1
    gradient = None
    if g[0] is not None:
        gradient = xp.cross_entropy_backward(g[0], log_probs, target, weight, reduction, ignore_index, label_smoothing)
    if g[1] is not None:
        further = xp.log_softmax_backward(g[1], log_probs, _class_dim(log_probs))
        gradient = further if gradient is None else xp.add(gradient, further)
    return gradient, None, None


@composite(public=())
def cross_entropy_backward(
    xp: Xp,
    g: Tensor,
    log_probs: Tensor,
    target: Tensor,
    weight: Tensor | None,
    reduction: str,
    ignore_index: int | None,
    label_smoothing: float,
) -> Tensor:
    """Return the cotangent of :func:`cross_entropy`'s scores from ``g``, that of the loss.

    With the loss of a sample ``-sum_c q[c] log p[c]`` it is ``p * sum(q) - q``, times the sample's share of ``g``.
    """
    dim = _class_dim(log_probs)
    shape = tuple(target.shape)
    index, counts = _select(xp, target, ignore_index)
    weights = _target_weights(xp, log_probs, index, counts, weight)
    share = xp.div(g, _total(xp, target, weights)) if reduction == "mean" else g
    on_target = xp.expand(share, shape) if weights is None else xp.mul(weights, share)
    if label_smoothing:
        on_target = xp.mul(on_target, 1 - label_smoothing)
    on_target = xp.reshape(on_target, _insert(shape, dim))
    of_p = on_target
    uniform = None
    if label_smoothing:
        classes = log_probs.shape[dim]
        each = xp.mul(share, label_smoothing / classes)
        each = xp.expand(each, shape) if counts is None else xp.where(counts, each, 0)
        each = xp.reshape(each, _insert(shape, dim))
        if weight is None:
            uniform = each
            of_p = xp.add(of_p, xp.mul(each, float(classes)))
        else:
            uniform = xp.mul(each, xp.reshape(weight, _per_class(weight, log_probs)))
            of_p = xp.add(of_p, xp.sum(uniform, (dim,), True))
    gradient = xp.mul(xp.exp(log_probs), of_p)
    if uniform is not None:
        gradient = xp.sub(gradient, uniform)
    return xp.scatter_add(gradient, dim, xp.reshape(index, _insert(shape, dim)), xp.neg(on_target))


@composite(dtype="promote", public=())
def cross_entropy_with_probabilities(
    xp: Xp,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return ``-sum_c weight[c] target[c] log_softmax(input)[c]``, reduced; a mean is over the samples.

    Args:
        input, target: scores and probabilities of equal shapes, (N, C, ...) or (C,).
    """
    dim = _class_dim(input)
    log_probs = xp.log_softmax(input, dim)
    if label_smoothing:
        target = xp.add(xp.mul(target, 1 - label_smoothing), label_smoothing / input.shape[dim])
    if weight is not None:
        target = xp.mul(target, xp.reshape(weight, _per_class(weight, input)))
    return reduce(xp, xp.neg(xp.sum(xp.mul(log_probs, target), (dim,), False)), reduction)


@composite(public=())
def multi_margin_loss(
    xp: Xp,
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: Number = 1.0,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``sum_i max(0, margin - input[target] + input[i])^p / C`` over the classes i but the target, reduced.

    Args:
        input: (N, C) or (C,). target: int64 classes, (N,) or ().
        weight: a factor for each target class, inside the power.
    """
    dim = _class_dim(input)
    index = xp.reshape(target, _insert(tuple(target.shape), dim))
    gap = xp.add(xp.sub(input, xp.gather(input, dim, index)), margin)
    loss = xp.clamp(gap, 0, None)
    if p == 2:
        loss = xp.square(loss)
    if weight is not None:
        loss = xp.mul(loss, xp.index(weight, [index]))
    classes = xp.new_arange(target, 0, input.shape[dim])
    loss = xp.where(xp.eq(classes, index), 0, loss)
    return reduce(xp, xp.mean(loss, (dim,), False), reduction)


@composite(public=())
def multilabel_margin_loss(xp: Xp, input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Return ``sum_ij max(0, 1 - (input[target[j]] - input[i])) / C`` over the targets j and all other i, reduced.

    Args:
        input: (N, C) or (C,). target: int64 classes of that shape; those after the first -1 do not count.
    """
    dim = _class_dim(input)
    size = input.shape[dim]
    counts = xp.eq(xp.cumsum(xp.to_dtype(xp.lt(target, 0), int64), dim), 0)
    index = xp.where(counts, target, 0)
    hits = xp.scatter_add(xp.full_like(index, 0), dim, index, xp.to_dtype(counts, int64))
    of_target = xp.gather(input, dim, index)
    shape = tuple(input.shape)
    gap = xp.sub(1.0, xp.sub(xp.reshape(of_target, (*shape, 1)), xp.reshape(input, (*shape[:-1], 1, size))))
    valid = xp.logical_and(xp.reshape(counts, (*shape, 1)), xp.reshape(xp.eq(hits, 0), (*shape[:-1], 1, size)))
    loss = xp.where(valid, xp.clamp(gap, 0, None), 0)
    return reduce(xp, xp.div(xp.sum(loss, (dim, dim + 1), False), size), reduction)


# -- distributions ---------------------------------------------------------------------------------------------------


@composite(dtype="promote", public=())
def kl_div(xp: Xp, input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Return ``target * (log(target) - input)``, reduced; ``log_target``: the target is a logarithm too."""
    if log_target:
        return reduce(xp, xp.mul(xp.exp(target), xp.sub(target, input)), reduction)
    return reduce(xp, xp.sub(xp.xlogy(target, target), xp.mul(target, input)), reduction)


@composite(dtype="promote", public=("functional",))
def poisson_nll_loss(
    xp: Xp,
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    eps: Number = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Return ``exp(input) - target * input``, or ``input - target * log(input + eps)`` without ``log_input``, reduced.

    Args:
        full: add Stirling's approximation of ``log(target!)`` where the target is over 1.
    """
    if log_input:
        loss = xp.sub(xp.exp(input), xp.mul(target, input))
    else:
        loss = xp.sub(input, xp.mul(target, xp.log(xp.add(input, eps))))
    if full:
        large = xp.gt(target, 1)
        safe = xp.where(large, target, 1)
        stirling = xp.add(xp.sub(xp.mul(safe, xp.log(safe)), safe), xp.mul(xp.log(xp.mul(safe, 2 * math.pi)), 0.5))
        loss = xp.add(loss, xp.where(large, stirling, 0))
    return reduce(xp, loss, reduction)


@composite(dtype="promote", public=())
def gaussian_nll_loss(
    xp: Xp, input: Tensor, target: Tensor, var: Tensor, full: bool = False, reduction: str = "mean"
) -> Tensor:
    """Return ``(log(var) + (input - target)^2 / var) / 2``, reduced; ``var`` is positive.

    Args:
        full: add ``log(2 pi) / 2``.
    """
    loss = xp.mul(xp.add(xp.log(var), xp.div(xp.square(xp.sub(input, target)), var)), 0.5)
    if full:
        loss = xp.add(loss, 0.5 * math.log(2 * math.pi))
    return reduce(xp, loss, reduction)


# -- distances and margins -------------------------------------------------------------------------------------------


def norm_along(xp: Xp, x: Any, p: float, dims: tuple[int, ...], keepdim: bool) -> Any:
    """The p-norm over ``dims``, whose gradient at 0 is 0."""
    size = xp.abs(x)
    if p == 0:
        return xp.sum(xp.to_dtype(xp.ne(size, 0), xp.dtype_of(size)), dims, keepdim)
    if p == 1:
        return xp.sum(size, dims, keepdim)
    if p == math.inf:
        return xp.amax(size, dims, keepdim)
    if p == -math.inf:
        return xp.amin(size, dims, keepdim)
    total = xp.sum(xp.square(size) if p == 2 else xp.pow(size, p), dims, keepdim)
    # The root's slope at 0 is infinite: take the root of 1 there, and put the 0 back.
    zero = xp.eq(total, 0)
    safe = xp.where(zero, 1, total)
    return xp.where(zero, 0, xp.sqrt(safe) if p == 2 else xp.pow(safe, 1 / p))


@composite(dtype="promote", public=("function", "functional"))
def pairwise_distance(
    xp: Xp, x1: Tensor, x2: Tensor, p: Number = 2.0, eps: Number = 1e-6, keepdim: bool = False
) -> Tensor:
    """Return the p-norm of ``x1 - x2 + eps`` over the last dimension.

    Shape: (N, D) or (D,), broadcast -> (N,) or (); a last dimension of 1 is kept with ``keepdim``.
    """
    difference = xp.add(xp.sub(x1, x2), eps)
    return norm_along(xp, difference, p, (len(difference.shape) - 1,), keepdim)


@composite(dtype="float", public=("function", "functional"))
def cosine_similarity(xp: Xp, x1: Tensor, x2: Tensor, dim: int = 1, eps: Number = 1e-8) -> Tensor:
    """Return ``x1 . x2 / (max(|x1|, eps) max(|x2|, eps))`` along ``dim`` of the broadcast inputs."""
    ndim = max(len(x1.shape), len(x2.shape))
    if not -ndim <= dim < ndim:
        raise IndexError(
            f"cosine_similarity: Dimension out of range (expected to be in range of [{-ndim}, {ndim - 1}], but got "
            f"{dim})"
        )
    from_end = dim % ndim - ndim
    length1, length2 = _length(xp, x1, from_end, eps), _length(xp, x2, from_end, eps)
    return xp.sum(xp.mul(xp.div(x1, length1), xp.div(x2, length2)), (dim % ndim,), False)


def _length(xp: Xp, x: Any, from_end: int, eps: float) -> Any:
    dim = len(x.shape) + from_end
    if dim < 0:  # broadcast along the dimension: every element stands alone
        return xp.clamp(xp.abs(x), eps, None)
    return xp.clamp(norm_along(xp, x, 2, (dim,), True), eps, None)


@composite(dtype="float", public=("functional",))
def normalize(xp: Xp, input: Tensor, p: Number = 2.0, dim: Dims = 1, eps: Number = 1e-12) -> Tensor:
    """Return ``input`` divided by its p-norm along ``dim``, or by ``eps`` where the norm is smaller."""
    return xp.div(input, xp.clamp(norm_along(xp, input, p, dim, True), eps, None))


@composite(dtype="promote", public=())
def hinge_embedding_loss(
    xp: Xp, input: Tensor, target: Tensor, margin: Number = 1.0, reduction: str = "mean"
) -> Tensor:
    """Return ``input`` where the target is 1, ``max(0, margin - input)`` where it is -1 (both elsewhere), reduced."""
    far = xp.where(xp.ne(target, 1), xp.clamp(xp.sub(margin, input), 0, None), 0)
    near = xp.where(xp.ne(target, -1), input, 0)
    return reduce(xp, xp.add(far, near), reduction)


@composite(dtype="promote", public=())
def margin_ranking_loss(
    xp: Xp, input1: Tensor, input2: Tensor, target: Tensor, margin: Number = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return ``max(0, -target (input1 - input2) + margin)``, reduced."""
    gap = xp.mul(target, xp.sub(input2, input1))
    return reduce(xp, xp.clamp(gap if margin == 0 else xp.add(gap, margin), 0, None), reduction)


@composite(dtype="promote", public=())
def cosine_embedding_loss(
    xp: Xp, input1: Tensor, input2: Tensor, target: Tensor, margin: Number = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return ``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1, reduced.

    ``cos`` is that of the inputs' last dimension, with 1e-12 added to the squares of the lengths.
    """
    last = (max(len(input1.shape), len(input2.shape)) - 1,)
    product = xp.sum(xp.mul(input1, input2), last, False)
    square1 = xp.add(xp.sum(xp.square(input1), (len(input1.shape) - 1,), False), 1e-12)
    square2 = xp.add(xp.sum(xp.square(input2), (len(input2.shape) - 1,), False), 1e-12)
    cos = xp.div(product, xp.sqrt(xp.mul(square1, square2)))
    positive = xp.where(xp.eq(target, 1), xp.sub(1.0, cos), 0)
    negative = xp.where(xp.eq(target, -1), xp.clamp(xp.sub(cos, margin), 0, None), 0)
    return reduce(xp, xp.add(positive, negative), reduction)


@composite(dtype="promote", public=())
def triplet_margin_loss(
    xp: Xp,
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: Number = 1.0,
    p: Number = 2.0,
    eps: Number = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return ``max(d(anchor, positive) - d(anchor, negative) + margin, 0)``, d the :func:`pairwise_distance`, reduced.

    Args:
        swap: use ``d(positive, negative)`` where it is smaller than ``d(anchor, negative)`` (Balntas et al., 2016).
    """
    near = xp.pairwise_distance(anchor, positive, p, eps, False)
    far = xp.pairwise_distance(anchor, negative, p, eps, False)
    if swap:
        far = xp.minimum(far, xp.pairwise_distance(positive, negative, p, eps, False))
    return reduce(xp, xp.clamp(xp.add(xp.sub(near, far), margin), 0, None), reduction)
