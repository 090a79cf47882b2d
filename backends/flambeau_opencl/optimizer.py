"""Steps of optimizers: one kernel a parameter, in place, in float32 for the 16-bit types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau_opencl.array import Array
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.maps import run

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
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        own = ELEMENTS[param.dtype].real
        numbers = [(own, float(n)) for n in (lr, momentum, 1 - dampening, weight_decay)]
        lines = [f"{ELEMENTS[param.dtype].compute} g = {'-' if maximize else ''}a1;"]
        if weight_decay:
            lines.append("g += a0 * n3;")
        if not momentum:
            run("sgd_step", " ".join([*lines, "r0 = a0 - g * n0;"]), [param], [param, grad], numbers)
            continue
        buffer = momentum_buffers[i]
        lines.append("r1 = g;" if first else "r1 = a2 * n1 + g * n2;")
        lines.append("g += r1 * n1;" if nesterov else "g = r1;")
        run("sgd_step", " ".join([*lines, "r0 = a0 - g * n0;"]), [param, buffer], [param, grad, buffer], numbers)


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
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        own = ELEMENTS[param.dtype].real
        root = (1 - beta2 ** steps[i]) ** 0.5
        rate = lr / (1 - beta1 ** steps[i])
        decay = 1 - lr * weight_decay if decoupled else weight_decay
        numbers = [(own, float(n)) for n in (rate, 1 - beta1, 1 - beta2, eps, root, decay)]
        lines = [f"{own} g = {'-' if maximize else ''}a1, w = a0;"]
        if weight_decay:
            lines.append("w *= n5;" if decoupled else "g += w * n5;")
        lines.append("r1 = a2 + (g - a2) * n1; r2 = a3 + (g * g - a3) * n2;")
        arrays = [param, exp_avgs[i], exp_avg_sqs[i]]
        square = "r2"
        if amsgrad:
            arrays.append(max_exp_avg_sqs[i])
            lines.append("r3 = a4 > r2 || a4 != a4 ? a4 : r2;")
            square = "r3"
        lines.append(f"r0 = w - n0 * r1 / (sqrt({square}) / n4 + n3);")
        run("adam_step", " ".join(lines), arrays, [param, grad, *arrays[1:]], numbers)


KERNELS: dict[str, Callable[..., Any]] = {"sgd_step": sgd_step, "adam_step": adam_step}
