"""Steps of the optimizers that give each element a rate of its own, and of ASGD: see ``lists.py``.

Formulas are those of :mod:`flambeau.ops.optimizer` and :mod:`flambeau.ops.optimizer_adaptive`. Parameters at different
steps have launches of their own; in training all are at one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flambeau.ops.optimizer import nadam_momentum, radam_rate
from flambeau_cupy.decomposition import decomposed
from flambeau_cupy.lists import update

Array = Any
Arrays = Sequence[Array]
Step = Callable[..., None]


def _kernel(name: str, compute: Step) -> Step:
    """The kernel of an op; complex parameters go its decomposition's way."""

    def kernel(params: Arrays, *rest: Any) -> None:
        if any(param.dtype.kind == "c" for param in params):
            return decomposed(name, params, *rest)
        return compute(params, *rest)

    kernel.__name__ = name
    kernel.__doc__ = f"One step for all parameters, in place: see ``{name}`` among the ops."
    return kernel


def _descent(groups: Sequence[Arrays], weight_decay: float, maximize: bool, number: int) -> str:
    """C++ that begins a step: ``g``, from the gradients, which are the last group."""
    text = f"auto g = {'-' if maximize else ''}a{len(groups) - 1};"
    return f"{text} g = g + a0 * n{number};" if weight_decay else text


def _at(groups: Sequence[Arrays], *counts: Sequence[float]) -> Iterator[tuple[tuple[float, ...], list[list[Array]]]]:
    """The parts of the groups whose counts are the same, with these."""
    places: dict[tuple[float, ...], list[int]] = {}
    for place, own in enumerate(zip(*counts, strict=True)):
        places.setdefault(own, []).append(place)
    for own, chosen in places.items():
        yield own, [[group[place] for place in chosen] for group in groups]


def _rmsprop(
    params: Arrays, grads: Arrays, square_avgs: Arrays, momentum_buffers: Arrays, grad_avgs: Arrays, lr: float,
    alpha: float, eps: float, weight_decay: float, momentum: float, maximize: bool,
) -> None:  # fmt: skip
    groups = [params, square_avgs, *filter(len, (momentum_buffers, grad_avgs)), grads]
    lines = [_descent(groups, weight_decay, maximize, 5), "a1 = a1 * n1 + g * g * n2; auto square = a1;"]
    if grad_avgs:
        average = f"a{len(groups) - 2}"
        lines.append(f"{average} = {average} + (g - {average}) * n2; square = square - {average} * {average};")
    lines.append("g = g / (sqrt(square) + n3);")
    if momentum_buffers:
        lines.append("a2 = a2 * n4 + g; g = a2;")
    lines.append("a0 = a0 - g * n0;")
    numbers = [lr, alpha, 1 - alpha, eps, momentum, weight_decay]
    update("rmsprop_step", " ".join(lines), groups, len(groups) - 1, numbers)


def _adagrad(
    params: Arrays, grads: Arrays, sums: Arrays, steps: Sequence[float], lr: float, lr_decay: float, eps: float,
    weight_decay: float, maximize: bool,
) -> None:  # fmt: skip
    groups = [params, sums, grads]
    body = f"{_descent(groups, weight_decay, maximize, 2)} a1 = a1 + g * g; a0 = a0 - g / (sqrt(a1) + n1) * n0;"
    for (step,), chosen in _at(groups, steps):
        update("adagrad_step", body, chosen, 2, [lr / (1 + (step - 1) * lr_decay), eps, weight_decay])


def _adadelta(
    params: Arrays, grads: Arrays, square_avgs: Arrays, acc_deltas: Arrays, lr: float, rho: float, eps: float,
    weight_decay: float, maximize: bool,
) -> None:  # fmt: skip
    groups = [params, square_avgs, acc_deltas, grads]
    body = (
        f"{_descent(groups, weight_decay, maximize, 4)} a1 = a1 * n1 + g * g * n2; "
        "auto delta = sqrt(a2 + n3) / sqrt(a1 + n3) * g; a2 = a2 * n1 + delta * delta * n2; a0 = a0 - delta * n0;"
    )
    update("adadelta_step", body, groups, 3, [lr, rho, 1 - rho, eps, weight_decay])


def _rprop(
    params: Arrays, grads: Arrays, prevs: Arrays, step_sizes: Arrays, eta_minus: float, eta_plus: float,
    smallest: float, largest: float, maximize: bool,
) -> None:  # fmt: skip
    groups = [params, prevs, step_sizes, grads]
    body = (
        f"{_descent(groups, 0, maximize, 0)} auto agreement = g * a1; if (agreement < 0) {{ a2 = a2 * n0; g = 0; }} "
        "else if (agreement > 0) a2 = a2 * n1; a2 = smaller(larger(a2, n2), n3); a1 = g; "
        "a0 = a0 - ((g > 0) - (g < 0)) * a2;"
    )
    update("rprop_step", body, groups, 3, [eta_minus, eta_plus, smallest, largest])


def _asgd(
    params: Arrays, grads: Arrays, axs: Arrays, etas: Sequence[float], mus: Sequence[float], lambd: float,
    weight_decay: float, maximize: bool,
) -> None:  # fmt: skip
    groups = [params, axs, grads]
    for (eta, mu), chosen in _at(groups, etas, mus):
        average = "a1 = a0;" if mu == 1 else "a1 = a1 + (a0 - a1) * n2;"
        body = f"{_descent(groups, weight_decay, maximize, 3)} a0 = a0 * n1 - g * n0; {average}"
        update("asgd_step", body, chosen, 2, [eta, 1 - lambd * eta, mu, weight_decay])


def _adamax(
    params: Arrays, grads: Arrays, exp_avgs: Arrays, exp_infs: Arrays, steps: Sequence[float], lr: float, beta1: float,
    beta2: float, eps: float, weight_decay: float, maximize: bool,
) -> None:  # fmt: skip
    groups = [params, exp_avgs, exp_infs, grads]
    body = (
        f"{_descent(groups, weight_decay, maximize, 4)} a1 = a1 + (g - a1) * n1; "
        "a2 = larger(a2 * n2, fabs(g) + n3); a0 = a0 - a1 / a2 * n0;"
    )
    for (step,), chosen in _at(groups, steps):
        numbers = [lr / (1 - beta1**step), 1 - beta1, beta2, eps, weight_decay]
        update("adamax_step", body, chosen, 3, numbers)


def _decay(groups: Sequence[Arrays], weight_decay: float, decoupled: bool, maximize: bool, number: int) -> str:
    """As :func:`_descent`, or where decoupled the parameters multiplied with the number."""
    if decoupled and weight_decay:
        return f"a0 = a0 * n{number}; {_descent(groups, 0, maximize, number)}"
    return _descent(groups, weight_decay, maximize, number)


def _nadam(
    params: Arrays, grads: Arrays, exp_avgs: Arrays, exp_avg_sqs: Arrays, steps: Sequence[float],
    mu_products: Sequence[float], lr: float, beta1: float, beta2: float, eps: float, weight_decay: float,
    momentum_decay: float, decoupled: bool, maximize: bool,
) -> None:  # fmt: skip
    groups = [params, exp_avgs, exp_avg_sqs, grads]
    body = (
        f"{_decay(groups, weight_decay, decoupled, maximize, 6)} a1 = a1 + (g - a1) * n2; a2 = a2 + (g * g - a2) * n3; "
        "a0 = a0 - (g * n0 + a1 * n1) / (sqrt(a2 / n4) + n5);"
    )
    for (step, product), chosen in _at(groups, steps, mu_products):
        now = nadam_momentum(beta1, momentum_decay, step)
        following = nadam_momentum(beta1, momentum_decay, step + 1)
        of_grad, of_average = lr * (1 - now) / (1 - product), lr * following / (1 - product * following)
        decay = 1 - lr * weight_decay if decoupled else weight_decay
        numbers = [of_grad, of_average, 1 - beta1, 1 - beta2, 1 - beta2**step, eps, decay]
        update("nadam_step", body, chosen, 3, numbers)


def _radam(
    params: Arrays, grads: Arrays, exp_avgs: Arrays, exp_avg_sqs: Arrays, steps: Sequence[float], lr: float,
    beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool, maximize: bool,
) -> None:  # fmt: skip
    groups = [params, exp_avgs, exp_avg_sqs, grads]
    moments = "a1 = a1 + (g - a1) * n1; a2 = a2 + (g * g - a2) * n2;"
    for (step,), chosen in _at(groups, steps):
        rate, is_adaptive = radam_rate(lr, beta1, beta2, step)
        move = "a0 = a0 - a1 / (sqrt(a2) + n3) * n0;" if is_adaptive else "a0 = a0 - a1 * n0;"
        decay = 1 - lr * weight_decay if decoupled else weight_decay
        body = f"{_decay(groups, weight_decay, decoupled, maximize, 4)} {moments} {move}"
        update("radam_step", body, chosen, 3, [rate, 1 - beta1, 1 - beta2, eps, decay])


KERNELS: dict[str, Callable[..., Any]] = {
    name: _kernel(name, compute)
    for name, compute in {
        "rmsprop_step": _rmsprop,
        "adagrad_step": _adagrad,
        "adadelta_step": _adadelta,
        "rprop_step": _rprop,
        "asgd_step": _asgd,
        "adamax_step": _adamax,
        "nadam_step": _nadam,
        "radam_step": _radam,
    }.items()
}
