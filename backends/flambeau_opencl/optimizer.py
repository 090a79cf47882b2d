"""Steps of optimizers, many parameters a launch, in place, in float32 for the 16-bit types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau_opencl.array import Array
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.lists import grouped, run_lists

Arrays = Sequence[Array]


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
    for (kind, _), places in grouped([p.dtype for p in params], [()] * len(params)).items():
        own = ELEMENTS[kind]
        numbers = [(own.real, float(n)) for n in (lr, momentum, 1 - dampening, weight_decay)]
        lists = [[values[i] for i in places] for values in (params, momentum_buffers, grads) if values]
        lines = [f"{own.compute} g = {'-' if maximize else ''}a{len(lists) - 1};"]
        if weight_decay:
            lines.append("g += a0 * n3;")
        if momentum:
            lines.append("r1 = g;" if first else "r1 = a1 * n1 + g * n2;")
            lines.append("g += r1 * n1;" if nesterov else "g = r1;")
        lines.append("r0 = a0 - g * n0;")
        run_lists("sgd_step", " ".join(lines), lists[:-1], lists[-1:], numbers)


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
    decay = 1 - lr * weight_decay if decoupled else weight_decay
    corrections = [(lr / (1 - beta1**step), (1 - beta2**step) ** 0.5) for step in steps]
    for (kind, (rate, root)), places in grouped([p.dtype for p in params], corrections).items():
        own = ELEMENTS[kind].real
        numbers = [(own, float(n)) for n in (rate, 1 - beta1, 1 - beta2, eps, root, decay)]
        lists = [[values[i] for i in places] for values in (params, exp_avgs, exp_avg_sqs)]
        if amsgrad:
            lists.append([max_exp_avg_sqs[i] for i in places])
        lines = [f"{own} g = {'-' if maximize else ''}a{len(lists)}, w = a0;"]
        if weight_decay:
            lines.append("w *= n5;" if decoupled else "g += w * n5;")
        lines.append("r1 = a1 + (g - a1) * n1; r2 = a2 + (g * g - a2) * n2;")
        square = "r2"
        if amsgrad:
            lines.append("r3 = a3 > r2 || a3 != a3 ? a3 : r2;")
            square = "r3"
        lines.append(f"r0 = w - n0 * r1 / (sqrt({square}) / n4 + n3);")
        run_lists("adam_step", " ".join(lines), lists, [[grads[i] for i in places]], numbers)


KERNELS: dict[str, Callable[..., Any]] = {"sgd_step": sgd_step, "adam_step": adam_step}
