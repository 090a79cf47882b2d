"""Steps of SGD and Adam, averages, norms of gradients: a kernel for all parameters of a dtype, see ``lists.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cupy
import numpy

from flambeau_cupy.decomposition import decomposed
from flambeau_cupy.lists import are_plain, run_lists, sum_lists, update

Array = Any
Arrays = Sequence[Array]


def _any_complex(params: Arrays) -> bool:
    return any(param.dtype.kind == "c" for param in params)


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
    if _any_complex(params):
        settings = lr, momentum, dampening, weight_decay, nesterov, maximize, first
        return decomposed("sgd_step", params, grads, momentum_buffers, *settings)
    numbers = [lr, momentum, 1 - dampening, weight_decay]
    groups = [params, momentum_buffers, grads] if momentum else [params, grads]
    lines = [f"auto g = {'-' if maximize else ''}a{len(groups) - 1};"]
    if weight_decay:
        lines.append("g = g + a0 * n3;")
    if momentum:
        lines.append("a1 = g;" if first else "a1 = a1 * n1 + g * n2;")
        lines.append("g = g + a1 * n1;" if nesterov else "g = a1;")
    update("sgd_step", " ".join([*lines, "a0 = a0 - g * n0;"]), groups, 2 if momentum else 1, numbers)
    return None


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
    if _any_complex(params):
        settings = lr, beta1, beta2, eps, weight_decay, amsgrad, maximize, decoupled
        return decomposed("adam_step", params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, steps, *settings)
    groups = [params, exp_avgs, exp_avg_sqs, *([max_exp_avg_sqs] if amsgrad else []), grads]
    lines = [f"auto g = {'-' if maximize else ''}a{len(groups) - 1};"]
    if weight_decay:
        lines.append("a0 = a0 * n5;" if decoupled else "g = g + a0 * n5;")
    lines.append("a1 = a1 + (g - a1) * n1; a2 = a2 + (g * g - a2) * n2;")
    if amsgrad:
        lines.append("a3 = larger(a3, a2);")
    lines.append(f"a0 = a0 - a1 * n0 / (sqrt(a{3 if amsgrad else 2}) / n4 + n3);")
    for step in sorted(set(steps)):
        chosen = [[array for array, own in zip(group, steps, strict=True) if own == step] for group in groups]
        decay = 1 - lr * weight_decay if decoupled else weight_decay
        rate, root = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
        numbers = [rate, 1 - beta1, 1 - beta2, eps, root, decay]
        update("adam_step", " ".join(lines), chosen, len(groups) - 1, numbers)
    return None


def average_step(averages: Arrays, values: Arrays, weight: float) -> None:
    """Move averages by ``weight`` of the way to new values; see :func:`flambeau.ops.optimizer.average_step`."""
    if _any_complex(averages):
        return decomposed("average_step", averages, values, weight)
    update("average_step", "a0 = a0 + (a1 - a0) * n0;", [averages, values], 1, [weight])
    return None


# -- gradients -------------------------------------------------------------------------------------------------------


def unscale_gradients(grads: Arrays, inverse_scale: float) -> Array:
    """Multiply gradients by ``inverse_scale``, in place; whether one was infinite or NaN, a bool on the device."""
    if not are_plain(grads):
        return decomposed("unscale_gradients", grads, inverse_scale)
    found = cupy.zeros((), bool)
    body = "if (a0 - a0 != 0) s0[0] = true; a0 = a0 * n0;"  # of what is not finite the difference is NaN
    run_lists("unscale_gradients", body, [(grad,) for grad in grads], 1, [inverse_scale], [found])
    return found


def total_norm(tensors: Arrays, ord: float = 2) -> Array:
    """The norm of the tensors' norms, 0-dim, at least float32; see :func:`flambeau.ops.clipping.total_norm`."""
    if ord != 2 or not are_plain(tensors):
        return decomposed("total_norm", tensors, ord)
    kind = numpy.dtype("float64" if any(tensor.dtype.char == "d" for tensor in tensors) else "float32")
    return cupy.sqrt(sum_lists("total_norm", "a0 * a0", tensors, kind))


def clip_to_norm(tensors: Arrays, norm: Array, max_norm: float) -> None:
    """Multiply tensors in place by ``max_norm / (norm + 1e-6)`` where that is below 1, or NaN."""
    if not are_plain(tensors) or norm.dtype.char not in "fd":
        return decomposed("clip_to_norm", tensors, norm, max_norm)
    body = "auto factor = n0 / (s0[0] + n1); if (!(factor >= 1)) a0 = a0 * factor;"
    run_lists("clip_to_norm", body, [(tensor,) for tensor in tensors], 1, [max_norm, 1e-6], [norm])
    return None


KERNELS: dict[str, Callable[..., Any]] = {
    "sgd_step": sgd_step,
    "adam_step": adam_step,
    "average_step": average_step,
    "unscale_gradients": unscale_gradients,
    "total_norm": total_norm,
    "clip_to_norm": clip_to_norm,
}
