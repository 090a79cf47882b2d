"""Losses of what an input is to be: values, probabilities of two classes, the parameters of a distribution.

The ops take ``reduction`` (``"none"``, ``"mean"`` or ``"sum"``); class weights, broadcasting, PyTorch's older arguments
and the checks of targets are added by :mod:`flambeau.nn.functional`.
"""

from __future__ import annotations

import math
from typing import Any

from flambeau.ops.declare import composite

Tensor = Any
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
    # -log(sigmoid(x)) = max(-x, 0) - log(sigmoid(|x|)). The first part is added to the other straight line, where they
    # cancel exactly, before the second, which may be tiny and all that there is.
    line, curve = xp.clamp(xp.neg(input), 0, None), xp.logsigmoid(xp.abs(input))
    if pos_weight is not None:
        factor = xp.add(xp.mul(xp.sub(pos_weight, 1.0), target), 1.0)
        line, curve = xp.mul(line, factor), xp.mul(curve, factor)
    return reduce(xp, xp.sub(xp.add(xp.mul(xp.sub(1.0, target), input), line), curve), reduction)


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


# -- distributions ---------------------------------------------------------------------------------------------------


@composite(dtype="promote", public=())
def kl_div(xp: Xp, input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Return ``target * (log(target) - input)``, reduced; ``log_target``: the target is a logarithm too."""
    if log_target:
        return reduce(xp, xp.mul(xp.exp(target), xp.sub(target, input)), reduction)
    return reduce(xp, xp.sub(xp.xlogy(target, target), xp.mul(target, input)), reduction)


@composite(dtype="float", public=("functional",))
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
