"""Steps of SGD and of Adam and its kin: one op updates all parameters of a device.

They work in place on lists of arrays and return nothing. :mod:`flambeau.optim` calls the kernels on raw arrays. The
other optimizers' steps are in :mod:`flambeau.ops.optimizer_adaptive` and :mod:`flambeau.ops.optimizer_matrix`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flambeau.ops.declare import composite

if TYPE_CHECKING:
    from collections.abc import Sequence

Tensor = Any
Number = Any


@composite(differentiable=False, public=())
def sgd_step(
    xp: Any,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor],
    lr: Number,
    momentum: Number,
    dampening: Number,
    weight_decay: Number,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> None:
    """Do one step of stochastic gradient descent.

    With ``g`` the gradient (its negative to maximize) plus ``weight_decay * param``, and ``b`` the momentum buffer::

        b = momentum * b + (1 - dampening) * g      (b = g in the first step)
        param = param - lr * (g + momentum * b  if nesterov  else b)

    Args:
        params, grads: arrays of equal shapes; ``params`` are changed.
        momentum_buffers: changed; empty when ``momentum`` is 0, and then ``param - lr * g`` is all there is.
        first: whether the buffers hold nothing yet.
    """
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        if maximize:
            grad = xp.neg(grad)
        if weight_decay:
            grad = xp.add(grad, xp.mul(param, weight_decay))
        if momentum:
            buffer = momentum_buffers[i]
            if first:
                xp.assign(buffer, grad)
            else:
                xp.mul_(buffer, momentum)
                xp.add_(buffer, xp.mul(grad, 1 - dampening))
            grad = xp.add(grad, xp.mul(buffer, momentum)) if nesterov else buffer
        xp.sub_(param, xp.mul(grad, lr))


@composite(differentiable=False, public=())
def adam_step(
    xp: Any,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    max_exp_avg_sqs: Sequence[Tensor],
    steps: Sequence[float],
    lr: Number,
    beta1: Number,
    beta2: Number,
    eps: Number,
    weight_decay: Number,
    amsgrad: bool,
    maximize: bool,
    decoupled: bool,
) -> None:
    """Do one step of Adam (Kingma and Ba, 2014) or AdamW (Loshchilov and Hutter, 2017).

    With ``g`` the gradient (its negative to maximize) plus ``weight_decay * param``, and ``t`` the number of the step::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        param = param - lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)

    Args:
        params, grads: arrays of equal shapes; ``params`` are changed.
        exp_avgs, exp_avg_sqs: ``m`` and ``v``; changed.
        max_exp_avg_sqs: the largest ``v`` so far, which takes the place of ``v`` with ``amsgrad``; otherwise empty.
        steps: ``t`` for each parameter, 1 in the first step. (The decomposition takes arrays of one element too.)
        decoupled: multiply the parameters with ``1 - lr * weight_decay`` instead of adding to the gradient.
    """
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        if maximize:
            grad = xp.neg(grad)
        if weight_decay:
            if decoupled:
                xp.mul_(param, 1 - lr * weight_decay)
            else:
                grad = xp.add(grad, xp.mul(param, weight_decay))
        average, square = exp_avgs[i], exp_avg_sqs[i]
        xp.add_(average, xp.mul(xp.sub(grad, average), 1 - beta1))
        xp.mul_(square, beta2)
        xp.add_(square, xp.mul(xp.mul(grad, grad), 1 - beta2))
        if amsgrad:
            xp.assign(max_exp_avg_sqs[i], xp.maximum(max_exp_avg_sqs[i], square))
            square = max_exp_avg_sqs[i]
        if hasattr(steps[i], "shape"):
            correction1, correction2 = correction(xp, beta1, steps[i]), correction(xp, beta2, steps[i])
            denominator = xp.add(xp.sqrt(xp.div(square, correction2)), eps)
            xp.sub_(param, xp.mul(xp.div(xp.div(average, denominator), correction1), lr))
        else:
            correction1 = 1 - beta1 ** steps[i]
            correction2 = 1 - beta2 ** steps[i]
            denominator = xp.add(xp.div(xp.sqrt(square), correction2**0.5), eps)
            xp.sub_(param, xp.mul(xp.div(average, denominator), lr / correction1))


def correction(xp: Any, beta: Number, step: Any) -> Any:
    """``1 - beta^t`` for a step that is counted on the device."""
    return xp.neg(xp.expm1(xp.mul(step, math.log(beta)))) if beta else 1.0


def descent(xp: Any, param: Any, grad: Any, weight_decay: Number, maximize: bool) -> Any:
    """The direction that a step goes against: the gradient (its negative to maximize) plus the weights' decay."""
    if maximize:
        grad = xp.neg(grad)
    return xp.add(grad, xp.mul(param, weight_decay)) if weight_decay else grad


def average_into(xp: Any, average: Any, value: Any, weight: Number) -> None:
    """``average += weight * (value - average)``, in place."""
    xp.add_(average, xp.mul(xp.sub(value, average), weight))


@composite(differentiable=False, public=())
def average_step(xp: Any, averages: Sequence[Tensor], values: Sequence[Tensor], weight: Number) -> None:
    """Move averages by ``weight`` of the way to new values, in place: ``a = a + weight * (value - a)``."""
    for average, value in zip(averages, values, strict=True):
        average_into(xp, average, value, weight)


@composite(differentiable=False, public=())
def adamax_step(
    xp: Any,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_infs: Sequence[Tensor],
    steps: Sequence[float],
    lr: Number,
    beta1: Number,
    beta2: Number,
    eps: Number,
    weight_decay: Number,
    maximize: bool,
) -> None:
    """Do one step of Adamax, Adam with the infinity norm (Kingma and Ba, 2014).

    With ``g`` the gradient (its negative to maximize) plus ``weight_decay * param``, and ``t`` the number of the step::

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        param = param - lr / (1 - beta1^t) * m / u

    Args:
        params, grads: arrays of equal shapes; ``params`` are changed.
        exp_avgs, exp_infs: ``m`` and ``u``; changed.
        steps: ``t`` for each parameter, 1 in the first step.
    """
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        grad = descent(xp, param, grad, weight_decay, maximize)
        average, largest = exp_avgs[i], exp_infs[i]
        average_into(xp, average, grad, 1 - beta1)
        xp.assign(largest, xp.maximum(xp.mul(largest, beta2), xp.add(xp.abs(grad), eps)))
        xp.sub_(param, xp.mul(xp.div(average, largest), lr / (1 - beta1 ** steps[i])))


def nadam_momentum(beta1: float, momentum_decay: float, step: float) -> float:
    """How much of the momentum NAdam applies in a step: ``beta1 * (1 - 0.96^(step * momentum_decay) / 2)``."""
    return beta1 * (1.0 - 0.5 * 0.96 ** (step * momentum_decay))


@composite(differentiable=False, public=())
def nadam_step(
    xp: Any,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    steps: Sequence[float],
    mu_products: Sequence[float],
    lr: Number,
    beta1: Number,
    beta2: Number,
    eps: Number,
    weight_decay: Number,
    momentum_decay: Number,
    decoupled: bool,
    maximize: bool,
) -> None:
    """Do one step of NAdam, Adam with Nesterov's momentum (Dozat, 2016).

    With ``g`` the gradient (its negative to maximize) plus ``weight_decay * param``, ``t`` the number of the step,
    ``m`` and ``v`` as for Adam, and ``mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2)``::

        param = param - lr * ((1 - mu(t)) / (1 - mu(1) ... mu(t)) * g
                              + mu(t + 1) / (1 - mu(1) ... mu(t + 1)) * m) / (sqrt(v / (1 - beta2^t)) + eps)

    Args:
        params, grads: arrays of equal shapes; ``params`` are changed.
        exp_avgs, exp_avg_sqs: ``m`` and ``v``; changed.
        steps, mu_products: ``t`` and ``mu(1) ... mu(t)`` for each parameter.
        decoupled: multiply the parameters with ``1 - lr * weight_decay`` instead of adding to the gradient.
    """
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        if decoupled and weight_decay:
            xp.mul_(param, 1 - lr * weight_decay)
        grad = descent(xp, param, grad, 0 if decoupled else weight_decay, maximize)
        average, square = exp_avgs[i], exp_avg_sqs[i]
        average_into(xp, average, grad, 1 - beta1)
        average_into(xp, square, xp.mul(grad, grad), 1 - beta2)
        now = nadam_momentum(beta1, momentum_decay, steps[i])
        following = nadam_momentum(beta1, momentum_decay, steps[i] + 1)
        of_grad = lr * (1 - now) / (1 - mu_products[i])
        of_average = lr * following / (1 - mu_products[i] * following)
        denominator = xp.add(xp.sqrt(xp.div(square, 1 - beta2 ** steps[i])), eps)
        xp.sub_(param, xp.div(xp.add(xp.mul(grad, of_grad), xp.mul(average, of_average)), denominator))


@composite(differentiable=False, public=())
def radam_step(
    xp: Any,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    steps: Sequence[float],
    lr: Number,
    beta1: Number,
    beta2: Number,
    eps: Number,
    weight_decay: Number,
    decoupled: bool,
    maximize: bool,
) -> None:
    """Do one step of RAdam, Adam with a rectified rate (Liu et al., 2019).

    With ``g``, ``t``, ``m`` and ``v`` as for Adam, ``R = 2 / (1 - beta2) - 1`` and
    ``r = R - 2 t beta2^t / (1 - beta2^t)``, the length of the average that ``v`` is::

        param = param - lr / (1 - beta1^t) * m * rectification

    where the rectification is ``sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)) * sqrt(1 - beta2^t) / (sqrt(v) + eps)``
    when ``r > 5``, and 1 in the first steps, while ``v`` says little.

    Args:
        params, grads: arrays of equal shapes; ``params`` are changed.
        exp_avgs, exp_avg_sqs: ``m`` and ``v``; changed.
        steps: ``t`` for each parameter, 1 in the first step.
        decoupled: multiply the parameters with ``1 - lr * weight_decay`` instead of adding to the gradient.
    """
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        if decoupled and weight_decay:
            xp.mul_(param, 1 - lr * weight_decay)
        grad = descent(xp, param, grad, 0 if decoupled else weight_decay, maximize)
        average, square = exp_avgs[i], exp_avg_sqs[i]
        average_into(xp, average, grad, 1 - beta1)
        average_into(xp, square, xp.mul(grad, grad), 1 - beta2)
        rate, adaptive = radam_rate(lr, beta1, beta2, steps[i])
        if adaptive:
            xp.sub_(param, xp.mul(xp.div(average, xp.add(xp.sqrt(square), eps)), rate))
        else:
            xp.sub_(param, xp.mul(average, rate))


def radam_rate(lr: float, beta1: float, beta2: float, step: float) -> tuple[float, bool]:
    """The factor of RAdam's ``m / (sqrt(v) + eps)``, and True; or that of ``m`` alone, and False."""
    rate = lr / (1 - beta1**step)
    left = 1 - beta2**step
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * step * beta2**step / left
    if length <= 5:
        return rate, False
    rectification = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return rate * (left * rectification) ** 0.5, True
