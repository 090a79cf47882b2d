"""Steps of optimizers that give each element a rate of its own, and of ASGD; see :mod:`flambeau.ops.optimizer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.ops.declare import composite
from flambeau.ops.optimizer import average_into, descent

if TYPE_CHECKING:
    from collections.abc import Sequence

Tensor = Any
Number = Any


@composite(differentiable=False, public=())
def rmsprop_step(
    xp: Any,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    square_avgs: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor],
    grad_avgs: Sequence[Tensor],
    lr: Number,
    alpha: Number,
    eps: Number,
    weight_decay: Number,
    momentum: Number,
    maximize: bool,
) -> None:
    """Do one step of RMSprop (Hinton, 2012; centered: Graves, 2013).

    With ``g`` the gradient (its negative to maximize) plus ``weight_decay * param``::

        v = alpha * v + (1 - alpha) * g^2
        b = momentum * b + g / (sqrt(v) + eps)       (centered: sqrt(v - a^2), a the average of g as v is that of g^2)
        param = param - lr * b

    Args:
        params, grads: arrays of equal shapes; ``params`` are changed.
        square_avgs: ``v``; changed.
        momentum_buffers: ``b``; changed. Empty when ``momentum`` is 0.
        grad_avgs: ``a``; changed. Empty unless centered.
    """
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        grad = descent(xp, param, grad, weight_decay, maximize)
        square = square_avgs[i]
        xp.mul_(square, alpha)
        xp.add_(square, xp.mul(xp.mul(grad, grad), 1 - alpha))
        if grad_avgs:
            average = grad_avgs[i]
            average_into(xp, average, grad, 1 - alpha)
            square = xp.sub(square, xp.mul(average, average))
        update = xp.div(grad, xp.add(xp.sqrt(square), eps))
        if momentum_buffers:
            buffer = momentum_buffers[i]
            xp.mul_(buffer, momentum)
            xp.add_(buffer, update)
            update = buffer
        xp.sub_(param, xp.mul(update, lr))


@composite(differentiable=False, public=())
def adagrad_step(
    xp: Any,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    sums: Sequence[Tensor],
    steps: Sequence[float],
    lr: Number,
    lr_decay: Number,
    eps: Number,
    weight_decay: Number,
    maximize: bool,
) -> None:
    """Do one step of Adagrad (Duchi, Hazan and Singer, 2011).

    With ``g`` the gradient (its negative to maximize) plus ``weight_decay * param``, and ``t`` the number of the step::

        s = s + g^2
        param = param - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Args:
        params, grads: arrays of equal shapes; ``params`` are changed.
        sums: ``s``; changed.
        steps: ``t`` for each parameter, 1 in the first step.
    """
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        grad = descent(xp, param, grad, weight_decay, maximize)
        xp.add_(sums[i], xp.mul(grad, grad))
        rate = lr / (1 + (steps[i] - 1) * lr_decay)
        xp.sub_(param, xp.mul(xp.div(grad, xp.add(xp.sqrt(sums[i]), eps)), rate))


@composite(differentiable=False, public=())
def adadelta_step(
    xp: Any,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    square_avgs: Sequence[Tensor],
    acc_deltas: Sequence[Tensor],
    lr: Number,
    rho: Number,
    eps: Number,
    weight_decay: Number,
    maximize: bool,
) -> None:
    """Do one step of Adadelta (Zeiler, 2012).

    With ``g`` the gradient (its negative to maximize) plus ``weight_decay * param``::

        v = rho * v + (1 - rho) * g^2
        delta = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * delta^2
        param = param - lr * delta

    Args:
        params, grads: arrays of equal shapes; ``params`` are changed.
        square_avgs, acc_deltas: ``v`` and ``u``; changed.
    """
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        grad = descent(xp, param, grad, weight_decay, maximize)
        square, deltas = square_avgs[i], acc_deltas[i]
        xp.mul_(square, rho)
        xp.add_(square, xp.mul(xp.mul(grad, grad), 1 - rho))
        delta = xp.mul(xp.div(xp.sqrt(xp.add(deltas, eps)), xp.sqrt(xp.add(square, eps))), grad)
        xp.mul_(deltas, rho)
        xp.add_(deltas, xp.mul(xp.mul(delta, delta), 1 - rho))
        xp.sub_(param, xp.mul(delta, lr))


@composite(differentiable=False, public=())
def rprop_step(
    xp: Any,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    prevs: Sequence[Tensor],
    step_sizes: Sequence[Tensor],
    eta_minus: Number,
    eta_plus: Number,
    smallest: Number,
    largest: Number,
    maximize: bool,
) -> None:
    """Do one step of Rprop, resilient backpropagation (Riedmiller and Braun, 1993).

    Only the sign of the gradient counts. A step size grows by ``eta_plus`` where the sign stays; where it changes, it
    shrinks by ``eta_minus`` and the element stays where it is.

    Args:
        params, grads: arrays of equal shapes; ``params`` are changed.
        prevs: the gradients of the step before, 0 where the sign changed; changed.
        step_sizes: changed; kept between ``smallest`` and ``largest``.
    """
    for param, grad, prev, size in zip(params, grads, prevs, step_sizes, strict=True):
        if maximize:
            grad = xp.neg(grad)
        agreement = xp.mul(grad, prev)
        turned = xp.lt(agreement, 0)
        grown = xp.where(xp.gt(agreement, 0), xp.mul(size, eta_plus), size)
        changed = xp.where(turned, xp.mul(size, eta_minus), grown)
        xp.assign(size, xp.minimum(xp.maximum(changed, smallest), largest))
        xp.assign(prev, xp.where(turned, 0.0, grad))
        xp.sub_(param, xp.mul(xp.sign(prev), size))


@composite(differentiable=False, public=())
def asgd_step(
    xp: Any,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    axs: Sequence[Tensor],
    etas: Sequence[float],
    mus: Sequence[float],
    lambd: Number,
    weight_decay: Number,
    maximize: bool,
) -> None:
    """Do one step of averaged stochastic gradient descent (Polyak and Juditsky, 1992).

    With ``g`` the gradient (its negative to maximize) plus ``weight_decay * param``::

        param = param * (1 - lambd * eta) - eta * g
        ax = ax + mu * (param - ax)

    Args:
        params, grads: arrays of equal shapes; ``params`` are changed.
        axs: the averages of the parameters; changed.
        etas, mus: the rate and the weight of the average, for each parameter.
    """
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        grad = descent(xp, param, grad, weight_decay, maximize)
        xp.mul_(param, 1 - lambd * etas[i])
        xp.sub_(param, xp.mul(grad, etas[i]))
        if mus[i] == 1:
            xp.assign(axs[i], param)
        else:
            average_into(xp, axs[i], param, mus[i])
