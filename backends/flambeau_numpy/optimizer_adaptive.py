"""Steps of the optimizers beside SGD and Adam, in place; see :mod:`flambeau_numpy.optimizer` for how.

Each kernel makes the numbers of a step once, and a function of its own updates one parameter with them. The formulas
are those of the ops of the same names (:mod:`flambeau.ops.optimizer`, :mod:`flambeau.ops.optimizer_adaptive`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy
from numpy import add, divide, maximum, multiply, sqrt, subtract

from flambeau.ops.optimizer import nadam_momentum, radam_rate
from flambeau_numpy.optimizer import _in_blocks, _scratch, update, update_all

Array = Any
Arrays = Sequence[Array]


def _descent(param: Array, grad: Array, decay: Array, decays: bool, maximize: bool, scratch: Array) -> Array:
    if maximize:
        grad = numpy.negative(grad)
    return add(grad, multiply(param, decay, scratch)) if decays else grad


def _average(average: Array, value: Array, weight: Array, scratch: Array) -> None:
    """``average += weight * (value - average)``; ``value`` may be ``scratch``."""
    subtract(value, average, scratch)
    multiply(scratch, weight, scratch)
    add(average, scratch, average)


def average_step(averages: Arrays, values: Arrays, weight: float) -> None:
    """Move averages by ``weight`` of the way to new values."""
    update_all(_averaging, (averages, values), (weight,))


def _averaging(arrays: Arrays, numbers: Sequence[float]) -> None:
    buffer, (weight, *_) = _scratch.of(arrays[0].dtype, numbers)
    for average, value in _in_blocks(arrays):
        _average(average, value, weight, buffer[: average.size].reshape(average.shape))


def rmsprop_step(
    params: Arrays,
    grads: Arrays,
    square_avgs: Arrays,
    momentum_buffers: Arrays,
    grad_avgs: Arrays,
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    maximize: bool,
) -> None:
    """One step of RMSprop."""
    numbers = (lr, alpha, 1 - alpha, eps, weight_decay, momentum)
    lists = [params, square_avgs, *[own for own in (momentum_buffers, grad_avgs) if own], grads]
    update_all(_rmsprop, lists, numbers, bool(momentum_buffers), bool(grad_avgs), maximize)


def _rmsprop(arrays: Arrays, numbers: Sequence[float], heavy: bool, centered: bool, maximize: bool) -> None:
    buffer, (lr, alpha, new, eps, decay, momentum, *_) = _scratch.of(arrays[0].dtype, numbers)
    for param, square, *others in _in_blocks(arrays):
        scratch = buffer[: param.size].reshape(param.shape)
        grad = _descent(param, others[-1], decay, bool(numbers[4]), maximize, scratch)
        multiply(square, alpha, square)
        multiply(grad, grad, scratch)
        multiply(scratch, new, scratch)
        add(square, scratch, square)
        if centered:
            average = others[-2]
            _average(average, grad, new, scratch)
            multiply(average, average, scratch)
            square = subtract(square, scratch, scratch)
        sqrt(square, scratch)
        add(scratch, eps, scratch)
        divide(grad, scratch, scratch)
        if heavy:
            velocity = others[0]
            multiply(velocity, momentum, velocity)
            add(velocity, scratch, velocity)
            multiply(velocity, lr, scratch)
        else:
            multiply(scratch, lr, scratch)
        subtract(param, scratch, param)


def adagrad_step(
    params: Arrays,
    grads: Arrays,
    sums: Arrays,
    steps: Sequence[float],
    lr: float,
    lr_decay: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """One step of Adagrad."""
    for *arrays, step in zip(params, sums, grads, steps, strict=True):
        update(_adagrad, arrays, (lr / (1 + (step - 1) * lr_decay), eps, weight_decay), maximize)


def _adagrad(arrays: Arrays, numbers: Sequence[float], maximize: bool) -> None:
    buffer, (rate, eps, decay, *_) = _scratch.of(arrays[0].dtype, numbers)
    for param, total, grad in _in_blocks(arrays):
        scratch = buffer[: param.size].reshape(param.shape)
        grad = _descent(param, grad, decay, bool(numbers[2]), maximize, scratch)
        multiply(grad, grad, scratch)
        add(total, scratch, total)
        sqrt(total, scratch)
        add(scratch, eps, scratch)
        divide(grad, scratch, scratch)
        multiply(scratch, rate, scratch)
        subtract(param, scratch, param)


def adadelta_step(
    params: Arrays,
    grads: Arrays,
    square_avgs: Arrays,
    acc_deltas: Arrays,
    lr: float,
    rho: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """One step of Adadelta."""
    numbers = (lr, rho, 1 - rho, eps, weight_decay)
    update_all(_adadelta, (params, square_avgs, acc_deltas, grads), numbers, maximize)


def _adadelta(arrays: Arrays, numbers: Sequence[float], maximize: bool) -> None:
    buffer, (lr, rho, new, eps, decay, *_) = _scratch.of(arrays[0].dtype, numbers)
    for param, square, deltas, grad in _in_blocks(arrays):
        scratch = buffer[: param.size].reshape(param.shape)
        grad = _descent(param, grad, decay, bool(numbers[4]), maximize, scratch)
        multiply(square, rho, square)
        multiply(grad, grad, scratch)
        multiply(scratch, new, scratch)
        add(square, scratch, square)
        add(deltas, eps, scratch)
        delta = numpy.asarray(divide(scratch, add(square, eps)))
        sqrt(delta, delta)
        multiply(delta, grad, delta)
        multiply(deltas, rho, deltas)
        multiply(delta, delta, scratch)
        multiply(scratch, new, scratch)
        add(deltas, scratch, deltas)
        multiply(delta, lr, scratch)
        subtract(param, scratch, param)


def adamax_step(
    params: Arrays,
    grads: Arrays,
    exp_avgs: Arrays,
    exp_infs: Arrays,
    steps: Sequence[float],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    maximize: bool,
) -> None:
    """One step of Adamax."""
    for *arrays, step in zip(params, exp_avgs, exp_infs, grads, steps, strict=True):
        numbers = (lr / (1 - beta1**step), 1 - beta1, beta2, eps, weight_decay)
        update(_adamax, arrays, numbers, maximize)


def _adamax(arrays: Arrays, numbers: Sequence[float], maximize: bool) -> None:
    buffer, (rate, new, beta2, eps, decay, *_) = _scratch.of(arrays[0].dtype, numbers)
    for param, average, largest, grad in _in_blocks(arrays):
        scratch = buffer[: param.size].reshape(param.shape)
        grad = _descent(param, grad, decay, bool(numbers[4]), maximize, scratch)
        _average(average, grad, new, scratch)
        multiply(largest, beta2, largest)
        numpy.absolute(grad, scratch)
        add(scratch, eps, scratch)
        maximum(largest, scratch, out=largest)
        divide(average, largest, scratch)
        multiply(scratch, rate, scratch)
        subtract(param, scratch, param)


def nadam_step(
    params: Arrays,
    grads: Arrays,
    exp_avgs: Arrays,
    exp_avg_sqs: Arrays,
    steps: Sequence[float],
    mu_products: Sequence[float],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    momentum_decay: float,
    decoupled: bool,
    maximize: bool,
) -> None:
    """One step of NAdam."""
    for *arrays, step, product in zip(params, exp_avgs, exp_avg_sqs, grads, steps, mu_products, strict=True):
        now = nadam_momentum(beta1, momentum_decay, step)
        following = nadam_momentum(beta1, momentum_decay, step + 1)
        # The correction of the second moments goes into the numbers, which saves a pass.
        root = (1 - beta2**step) ** 0.5
        of_grad = lr * root * (1 - now) / (1 - product)
        of_average = lr * root * following / (1 - product * following)
        decay = 1 - lr * weight_decay if decoupled else weight_decay
        numbers = (1 - beta1, 1 - beta2, eps * root, of_grad, of_average, decay)
        update(_nadam, arrays, numbers, bool(weight_decay), decoupled, maximize)


def _nadam(arrays: Arrays, numbers: Sequence[float], decays: bool, decoupled: bool, maximize: bool) -> None:
    buffer, (new1, new2, eps, of_grad, of_average, decay, *_) = _scratch.of(arrays[0].dtype, numbers)
    for param, average, square, grad in _in_blocks(arrays):
        scratch = buffer[: param.size].reshape(param.shape)
        if decays and decoupled:
            multiply(param, decay, param)
        grad = _descent(param, grad, decay, decays and not decoupled, maximize, scratch)
        _average(average, grad, new1, scratch)
        _average(square, multiply(grad, grad, scratch), new2, scratch)
        step = add(multiply(grad, of_grad), multiply(average, of_average, scratch))
        sqrt(square, scratch)
        add(scratch, eps, scratch)
        divide(step, scratch, scratch)
        subtract(param, scratch, param)


def radam_step(
    params: Arrays,
    grads: Arrays,
    exp_avgs: Arrays,
    exp_avg_sqs: Arrays,
    steps: Sequence[float],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> None:
    """One step of RAdam."""
    for *arrays, step in zip(params, exp_avgs, exp_avg_sqs, grads, steps, strict=True):
        rate, adaptive = radam_rate(lr, beta1, beta2, step)
        decay = 1 - lr * weight_decay if decoupled else weight_decay
        numbers = (1 - beta1, 1 - beta2, eps, rate, decay)
        update(_radam, arrays, numbers, adaptive, bool(weight_decay), decoupled, maximize)


def _radam(
    arrays: Arrays, numbers: Sequence[float], adaptive: bool, decays: bool, decoupled: bool, maximize: bool
) -> None:
    buffer, (new1, new2, eps, rate, decay, *_) = _scratch.of(arrays[0].dtype, numbers)
    for param, average, square, grad in _in_blocks(arrays):
        scratch = buffer[: param.size].reshape(param.shape)
        if decays and decoupled:
            multiply(param, decay, param)
        grad = _descent(param, grad, decay, decays and not decoupled, maximize, scratch)
        _average(average, grad, new1, scratch)
        _average(square, multiply(grad, grad, scratch), new2, scratch)
        if adaptive:
            sqrt(square, scratch)
            add(scratch, eps, scratch)
            divide(average, scratch, scratch)
            multiply(scratch, rate, scratch)
        else:
            multiply(average, rate, scratch)
        subtract(param, scratch, param)


KERNELS: dict[str, Callable[..., Any]] = {
    "average_step": average_step,
    "rmsprop_step": rmsprop_step,
    "adagrad_step": adagrad_step,
    "adadelta_step": adadelta_step,
    "adamax_step": adamax_step,
    "nadam_step": nadam_step,
    "radam_step": radam_step,
}
