"""Steps of optimizers, many parameters a launch, in place, in float32 for the 16-bit types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.ops.declare import OPS
from flambeau.ops.optimizer import nadam_momentum, radam_rate
from flambeau_opencl.array import Array
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.lists import grouped, run_lists

Arrays = Sequence[Array]


def _step(
    name: str, body: str, lists: Sequence[Arrays], grads: Arrays, numbers: Sequence[tuple[float, ...]], maximize: bool
) -> None:
    """Run ``body`` for each element of the lists, of which the first are the parameters, in place.

    Args:
        body: sets ``r0`` ... from ``a0`` ..., the gradient ``g`` (its negative to maximize), and ``n0`` ...
        numbers: for each parameter; those with the same ones share launches.
    """
    for (kind, values), places in grouped([p.dtype for p in lists[0]], numbers).items():
        own = ELEMENTS[kind]
        written = [[arrays[i] for i in places] for arrays in lists]
        lines = f"{own.compute} g = {'-' if maximize else ''}a{len(lists)}, w = a0; " + body.replace("{T}", own.compute)
        run_lists(name, lines, written, [[grads[i] for i in places]], [(own.real, float(n)) for n in values])


def _is_plain(params: Arrays, steps: Sequence[Any] = ()) -> bool:
    """Whether parameters are real, and their steps are counted by the host."""
    return not any(p.dtype.is_complex for p in params) and not any(isinstance(step, Array) for step in steps)


def _decomposed(name: str, params: Arrays, *rest: Any) -> None:
    if params:
        OPS[name].body(params[0].runtime.device.xp, params, *rest)


def sgd_step(
    params: Arrays,
    grads: Arrays,
    momentum_buffers: Arrays,
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
    first: bool,
) -> None:
    """One step of stochastic gradient descent; see :func:`flambeau.ops.optimizer.sgd_step`."""
    body = "g += w * n3;" if weight_decay else ""
    if momentum:
        body += " r1 = g;" if first else " r1 = a1 * n1 + g * n2;"
        body += " g += r1 * n1;" if nesterov else " g = r1;"
    numbers = [(lr, momentum, 1 - dampening, weight_decay)] * len(params)
    lists = [params, momentum_buffers] if momentum_buffers else [params]
    _step("sgd_step", f"{body} r0 = w - g * n0;", lists, grads, numbers, maximize)


def adam_step(
    params: Arrays,
    grads: Arrays,
    exp_avgs: Arrays,
    exp_avg_sqs: Arrays,
    max_exp_avg_sqs: Arrays,
    steps: Sequence[float],
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    amsgrad: bool,
    maximize: bool,
    decoupled: bool,
) -> None:
    """One step of Adam or AdamW; see :func:`flambeau.ops.optimizer.adam_step`."""
    if not _is_plain(params, steps):
        settings = lr, beta1, beta2, eps, weight_decay, amsgrad, maximize, decoupled
        return _decomposed("adam_step", params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps, *settings)
    decay = 1 - lr * weight_decay if decoupled else weight_decay
    numbers = [(lr / (1 - beta1**step), 1 - beta1, 1 - beta2, eps, (1 - beta2**step) ** 0.5, decay) for step in steps]
    body = ("w *= n5; " if decoupled else "g += w * n5; ") if weight_decay else ""
    body += _MOMENTS
    if amsgrad:
        body += "r3 = a3 > r2 || a3 != a3 ? a3 : r2; "
    body += f"r0 = w - n0 * r1 / (sqrt({'r3' if amsgrad else 'r2'}) / n4 + n3);"
    lists = [params, exp_avgs, exp_avg_sqs, *([max_exp_avg_sqs] if amsgrad else [])]
    return _step("adam_step", body, lists, grads, numbers, maximize)


# The averages of the gradient and of its square.
_MOMENTS = "r1 = a1 + (g - a1) * n1; r2 = a2 + (g * g - a2) * n2; "


def average_step(averages: Arrays, values: Arrays, weight: float) -> None:
    """Move averages by ``weight`` of the way to new values; see :func:`flambeau.ops.optimizer.average_step`."""
    _step("average_step", "r0 = w + (g - w) * n0;", [averages], values, [(weight,)] * len(averages), False)


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
    """One step of Adamax; see :func:`flambeau.ops.optimizer.adamax_step`."""
    if not _is_plain(params, steps):
        settings = lr, beta1, beta2, eps, weight_decay, maximize
        return _decomposed("adamax_step", params, grads, exp_avgs, exp_infs, steps, *settings)
    body = (
        "g += w * n4; r1 = a1 + (g - a1) * n1; {T} u = a2 * n2, v = fabs(g) + n3; "
        "r2 = u > v || u != u ? u : v; r0 = w - r1 / r2 * n0;"
    )
    numbers = [(lr / (1 - beta1**step), 1 - beta1, beta2, eps, weight_decay) for step in steps]
    return _step("adamax_step", body, [params, exp_avgs, exp_infs], grads, numbers, maximize)


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
    """One step of NAdam; see :func:`flambeau.ops.optimizer.nadam_step`."""
    if not _is_plain(params, (*steps, *mu_products)):
        settings = lr, beta1, beta2, eps, weight_decay, momentum_decay, decoupled, maximize
        return _decomposed("nadam_step", params, grads, exp_avgs, exp_avg_sqs, steps, mu_products, *settings)
    decay = 1 - lr * weight_decay if decoupled else weight_decay
    numbers = []
    for step, product in zip(steps, mu_products, strict=True):
        now, following = (nadam_momentum(beta1, momentum_decay, t) for t in (step, step + 1))
        of_grad, of_average = lr * (1 - now) / (1 - product), lr * following / (1 - product * following)
        numbers.append((of_grad, 1 - beta1, 1 - beta2, eps, of_average, decay, 1 / (1 - beta2**step)))
    body = ("w *= n5; " if decoupled else "g += w * n5; ") if weight_decay else ""
    body += _MOMENTS + "r0 = w - (g * n0 + r1 * n4) / (sqrt(r2 * n6) + n3);"
    return _step("nadam_step", body, [params, exp_avgs, exp_avg_sqs], grads, numbers, maximize)


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
    """One step of RAdam; see :func:`flambeau.ops.optimizer.radam_step`."""
    if not _is_plain(params, steps):
        settings = lr, beta1, beta2, eps, weight_decay, decoupled, maximize
        return _decomposed("radam_step", params, grads, exp_avgs, exp_avg_sqs, steps, *settings)
    decay = 1 - lr * weight_decay if decoupled else weight_decay
    numbers = []
    for step in steps:
        rate, adaptive = radam_rate(lr, beta1, beta2, step)
        numbers.append((rate, 1 - beta1, 1 - beta2, eps, decay, float(adaptive)))
    body = ("w *= n4; " if decoupled else "g += w * n4; ") if weight_decay else ""
    body += _MOMENTS + "r0 = w - r1 * n0 / (n5 == 1 ? sqrt(r2) + n3 : 1);"
    return _step("radam_step", body, [params, exp_avgs, exp_avg_sqs], grads, numbers, maximize)


# -- with a rate for each element ------------------------------------------------------------------------------------


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
    """One step of RMSprop; see :func:`flambeau.ops.optimizer_adaptive.rmsprop_step`."""
    if not _is_plain(params):
        settings = lr, alpha, eps, weight_decay, momentum, maximize
        return _decomposed("rmsprop_step", params, grads, square_avgs, momentum_buffers, grad_avgs, *settings)
    lists = [params, square_avgs]
    body = "g += w * n3; r1 = a1 * n1 + g * g * (1 - n1); {T} square = r1; "
    if grad_avgs:
        body += "r2 = a2 + (g - a2) * (1 - n1); square -= r2 * r2; "
        lists.append(grad_avgs)
    body += "{T} update = g / (sqrt(square) + n2); "
    if momentum_buffers:
        k = len(lists)
        body += f"r{k} = a{k} * n4 + update; update = r{k}; "
        lists.append(momentum_buffers)
    numbers = [(lr, alpha, eps, weight_decay, momentum)] * len(params)
    return _step("rmsprop_step", body + "r0 = w - update * n0;", lists, grads, numbers, maximize)


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
    """One step of Adagrad; see :func:`flambeau.ops.optimizer_adaptive.adagrad_step`."""
    if not _is_plain(params, steps):
        return _decomposed("adagrad_step", params, grads, sums, steps, lr, lr_decay, eps, weight_decay, maximize)
    body = "g += w * n2; r1 = a1 + g * g; r0 = w - g / (sqrt(r1) + n1) * n0;"
    numbers = [(lr / (1 + (step - 1) * lr_decay), eps, weight_decay) for step in steps]
    return _step("adagrad_step", body, [params, sums], grads, numbers, maximize)


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
    """One step of Adadelta; see :func:`flambeau.ops.optimizer_adaptive.adadelta_step`."""
    if not _is_plain(params):
        settings = lr, rho, eps, weight_decay, maximize
        return _decomposed("adadelta_step", params, grads, square_avgs, acc_deltas, *settings)
    body = (
        "g += w * n3; r1 = a1 * n1 + g * g * (1 - n1); {T} delta = sqrt(a2 + n2) / sqrt(r1 + n2) * g; "
        "r2 = a2 * n1 + delta * delta * (1 - n1); r0 = w - delta * n0;"
    )
    numbers = [(lr, rho, eps, weight_decay)] * len(params)
    return _step("adadelta_step", body, [params, square_avgs, acc_deltas], grads, numbers, maximize)


KERNELS: dict[str, Callable[..., Any]] = {
    "sgd_step": sgd_step,
    "adam_step": adam_step,
    "average_step": average_step,
    "adamax_step": adamax_step,
    "nadam_step": nadam_step,
    "radam_step": radam_step,
    "rmsprop_step": rmsprop_step,
    "adagrad_step": adagrad_step,
    "adadelta_step": adadelta_step,
}
