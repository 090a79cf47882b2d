"""Steps of optimizers that look at a parameter as a whole: Adafactor, Muon, L-BFGS; and the gradients' unscaling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flambeau.dtypes import float32
from flambeau.ops.declare import composite
from flambeau.ops.optimizer import average_into
from flambeau.ops.spec import numel

if TYPE_CHECKING:
    from collections.abc import Sequence

Tensor = Any
Number = Any


def _root_mean_square(xp: Any, values: Any) -> Any:
    dims = tuple(range(len(values.shape)))
    return xp.sqrt(xp.div(xp.sum(xp.mul(values, values), dims, False), numel(values.shape) or 1))


@composite(differentiable=False, public=())
def adafactor_step(
    xp: Any,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    row_vars: Sequence[Tensor],
    col_vars: Sequence[Tensor],
    variances: Sequence[Tensor],
    steps: Sequence[float],
    lr: Number,
    beta2_decay: Number,
    eps1: Number,
    eps2: Number,
    d: Number,
    weight_decay: Number,
    maximize: bool,
) -> None:
    """Do one step of Adafactor (Shazeer and Stern, 2018).

    With ``g`` the gradient (its negative to maximize) and ``t`` the number of the step, the second moments are averages
    with the weight ``t^beta2_decay`` for what is new. Those of matrices are kept as the means of rows ``r`` and columns
    ``c``, whose outer product over ``mean(r)`` stands for ``v``::

        u = g / sqrt(max(v, eps1^2))
        param = param * (1 - lr * weight_decay)
                - max(eps2, rms(param)) * min(lr, 1 / sqrt(t)) / max(1, rms(u) / d) * u

    Args:
        params, grads: arrays of equal shapes, all with two dimensions or more or all with fewer; ``params`` change.
        row_vars, col_vars: ``r`` (..., n, 1) and ``c`` (..., 1, m); changed. Empty for parameters that are vectors.
        variances: ``v``; changed. Empty for parameters that are matrices.
        steps: ``t`` for each parameter, 1 in the first step.
    """
    for i, (param, grad) in enumerate(zip(params, grads, strict=True)):
        if maximize:
            grad = xp.neg(grad)
        new = steps[i] ** beta2_decay
        size = xp.maximum(_root_mean_square(xp, param), eps2)
        rate = xp.mul(size, min(lr, 1 / steps[i] ** 0.5))
        if weight_decay:
            xp.mul_(param, 1 - lr * weight_decay)
        squared = xp.mul(grad, grad)
        if row_vars:
            last = len(grad.shape) - 1
            rows, columns = row_vars[i], col_vars[i]
            average_into(xp, rows, xp.mean(squared, (last,), True), new)
            average_into(xp, columns, xp.mean(squared, (last - 1,), True), new)
            variance = xp.div(xp.mul(rows, columns), xp.maximum(xp.mean(rows, (last - 1,), True), eps1))
        else:
            variance = variances[i]
            average_into(xp, variance, squared, new)
        update = xp.div(grad, xp.sqrt(xp.maximum(variance, eps1 * eps1)))
        clipping = xp.maximum(xp.div(_root_mean_square(xp, update), d), 1.0)
        xp.sub_(param, xp.mul(update, xp.div(rate, clipping)))


@composite(differentiable=False, public=())
def muon_step(
    xp: Any,
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor],
    lr: Number,
    weight_decay: Number,
    momentum: Number,
    nesterov: bool,
    ns_coefficients: Sequence[float],
    ns_steps: int,
    eps: Number,
    match_rms_adamw: bool,
) -> None:
    """Do one step of Muon (Jordan et al., 2024): momentum, made orthogonal.

    With ``b`` the momentum, an average of the gradients ``g``, and ``orthogonal`` a few steps of a Newton-Schulz
    iteration that take the singular values of a matrix near 1::

        b = momentum * b + (1 - momentum) * g
        u = orthogonal(momentum * b + (1 - momentum) * g  if nesterov  else b)
        param = param * (1 - lr * weight_decay) - lr * scale * u

    where the scale is ``sqrt(max(1, rows / columns))``, or ``0.2 * sqrt(max(rows, columns))`` to match the size of
    AdamW's steps (Liu et al., 2025).

    Args:
        params, grads: matrices of equal shapes; ``params`` are changed.
        momentum_buffers: ``b``; changed.
        ns_coefficients, ns_steps: of the iteration ``X = a X + (b X X^T + c (X X^T)^2) X``.
        eps: the least norm that a matrix is divided by before the iteration.
    """
    for param, grad, buffer in zip(params, grads, momentum_buffers, strict=True):
        average_into(xp, buffer, grad, 1 - momentum)
        update = xp.add(grad, xp.mul(xp.sub(buffer, grad), momentum)) if nesterov else buffer
        update = _orthogonal(xp, update, ns_coefficients, ns_steps, eps)
        rows, columns = param.shape
        scale = 0.2 * math.sqrt(max(rows, columns)) if match_rms_adamw else math.sqrt(max(1, rows / columns))
        xp.mul_(param, 1 - lr * weight_decay)
        xp.sub_(param, xp.mul(update, lr * scale))


def _orthogonal(xp: Any, matrix: Any, coefficients: Sequence[float], steps: int, eps: float) -> Any:
    """The Newton-Schulz iteration. PyTorch runs it in bfloat16, which differs by what that rounds away."""
    own = xp.dtype_of(matrix)
    if own.itemsize < 4:
        matrix = xp.to_dtype(matrix, float32)
    wide = matrix.shape[0] <= matrix.shape[1]
    if not wide:
        matrix = xp.permute(matrix, (1, 0))
    norm = xp.sqrt(xp.sum(xp.mul(matrix, matrix), (0, 1), False))
    matrix = xp.div(matrix, xp.maximum(norm, eps))
    a, b, c = coefficients
    for _ in range(steps):
        gram = xp.matmul(matrix, xp.permute(matrix, (1, 0)))
        polynomial = xp.add(xp.mul(gram, b), xp.mul(xp.matmul(gram, gram), c))
        matrix = xp.add(xp.mul(matrix, a), xp.matmul(polynomial, matrix))
    if not wide:
        matrix = xp.permute(matrix, (1, 0))
    return matrix if own.itemsize >= 4 else xp.to_dtype(matrix, own)


@composite(differentiable=False, public=())
def lbfgs_direction(
    xp: Any,
    grad: Tensor,
    old_dirs: Sequence[Tensor],
    old_stps: Sequence[Tensor],
    ro: Sequence[Tensor],
    scale: Tensor,
) -> Tensor:
    """Return minus the gradient times L-BFGS' estimate of the inverse Hessian (the two-loop recursion, Nocedal, 1980).

    Args:
        grad: (n,).
        old_dirs, old_stps: changes of the gradient ``y`` and of the parameters ``s``, (n,) each, the oldest first.
        ro: ``1 / (y . s)`` of each.
        scale: the estimate before the first change, times the identity.
    """
    direction = xp.neg(grad)
    weights = []
    for y, s, factor in zip(reversed(old_dirs), reversed(old_stps), reversed(ro), strict=True):
        weight = xp.mul(xp.matmul(s, direction), factor)
        direction = xp.sub(direction, xp.mul(y, weight))
        weights.append(weight)
    direction = xp.mul(direction, scale)
    for y, s, factor, weight in zip(old_dirs, old_stps, ro, reversed(weights), strict=True):
        direction = xp.add(direction, xp.mul(s, xp.sub(weight, xp.mul(xp.matmul(y, direction), factor))))
    return direction


@composite(differentiable=False, public=())
def unscale_gradients(xp: Any, grads: Sequence[Tensor], inverse_scale: Number) -> Tensor:
    """Multiply gradients by ``inverse_scale``, in place, and return whether one was infinite or NaN, a 0-dim bool.

    Args:
        grads: one or more; changed.
    """
    finite = None
    for grad in grads:
        own = xp.all(xp.isfinite(grad), tuple(range(len(grad.shape))), False)
        finite = own if finite is None else xp.logical_and(finite, own)
        xp.mul_(grad, inverse_scale)
    return xp.logical_not(finite)


unscale_gradients.writes = ("grads",)
