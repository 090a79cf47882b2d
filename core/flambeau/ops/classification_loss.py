"""Losses of classification: a score a class, and the index of the right one."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import int64
from flambeau.ops.declare import composite
from flambeau.ops.loss import reduce

Tensor = Any
Number = Any
Xp = Any


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


@nll_loss.check
def _(input: Any, target: Any, weight: Any, *settings: Any) -> None:
    _check_weight("nll_loss", input, weight)


def _check_weight(op: str, input: Any, weight: Any) -> None:
    if weight is not None and weight._dtype is not input._dtype:
        raise RuntimeError(
            f"{op}: expected weight of the input's dtype {input._dtype.name} but found {weight._dtype.name}"
        )


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


@cross_entropy.check
def _(input: Any, target: Any, weight: Any, *settings: Any) -> None:
    _check_weight("cross_entropy", input, weight)


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
    share = g
    if reduction == "mean":
        total = _total(xp, target, weights)
        # Where nothing counts, the mean is NaN and the gradient 0.
        share = xp.div(g, total if weights is None else xp.where(xp.eq(total, 0), 1, total))
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
