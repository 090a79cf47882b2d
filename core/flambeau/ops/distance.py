"""Distances between vectors, and the losses that keep them over or under a margin."""

from __future__ import annotations

import math
from typing import Any

from flambeau.ops.declare import composite
from flambeau.ops.loss import reduce
from flambeau.ops.spec import broadcast_shapes, wrap_dim

Tensor = Any
Dims = Any
Number = Any
Xp = Any


def norm_along(xp: Xp, x: Any, p: float, dims: tuple[int, ...], keepdim: bool) -> Any:
    """The p-norm over ``dims``, whose gradient at 0 is 0."""
    size = xp.abs(x)
    if p == 0:
        return xp.sum(xp.to_dtype(xp.ne(size, 0), xp.dtype_of(size)), dims, keepdim)
    if p == 1:
        return xp.sum(size, dims, keepdim)
    if p == math.inf:
        return xp.amax(size, dims, keepdim)
    if p == -math.inf:
        return xp.amin(size, dims, keepdim)
    total = xp.sum(xp.square(size) if p == 2 else xp.pow(size, p), dims, keepdim)
    # The root's slope at 0 is infinite: take the root of 1 there, and put the 0 back.
    zero = xp.eq(total, 0)
    safe = xp.where(zero, 1, total)
    return xp.where(zero, 0, xp.sqrt(safe) if p == 2 else xp.pow(safe, 1 / p))


@composite(dtype="float", public=("function", "functional"))
def pairwise_distance(
    xp: Xp, x1: Tensor, x2: Tensor, p: Number = 2.0, eps: Number = 1e-6, keepdim: bool = False
) -> Tensor:
    """Return the p-norm of ``x1 - x2 + eps`` over the last dimension.

    Shape: (N, D) or (D,), broadcast -> (N,) or (); a last dimension of 1 is kept with ``keepdim``.
    """
    difference = xp.add(xp.sub(x1, x2), eps)
    return norm_along(xp, difference, p, (len(difference.shape) - 1,), keepdim)


@composite(dtype="float", public=("function", "functional"))
def cosine_similarity(xp: Xp, x1: Tensor, x2: Tensor, dim: int = 1, eps: Number = 1e-8) -> Tensor:
    """Return ``x1 . x2 / (max(|x1|, eps) max(|x2|, eps))`` along ``dim`` of the broadcast inputs."""
    shape = broadcast_shapes("cosine_similarity", x1.shape, x2.shape)
    dims = (wrap_dim("cosine_similarity", dim, len(shape)),) if shape else ()
    x1, x2 = (x if tuple(x.shape) == shape else xp.expand(x, shape) for x in (x1, x2))
    length1, length2 = (xp.clamp(norm_along(xp, x, 2, dims, True), eps, None) for x in (x1, x2))
    return xp.sum(xp.mul(xp.div(x1, length1), xp.div(x2, length2)), dims, False)


@composite(dtype="float", public=("functional",))
def normalize(xp: Xp, input: Tensor, p: Number = 2.0, dim: Dims = 1, eps: Number = 1e-12) -> Tensor:
    """Return ``input`` divided by its p-norm along ``dim``, or by ``eps`` where the norm is smaller."""
    return xp.div(input, xp.clamp(norm_along(xp, input, p, dim, True), eps, None))


@composite(dtype="promote", public=())
def hinge_embedding_loss(
    xp: Xp, input: Tensor, target: Tensor, margin: Number = 1.0, reduction: str = "mean"
) -> Tensor:
    """Return ``input`` where the target is 1, ``max(0, margin - input)`` where it is -1 (both elsewhere), reduced."""
    far = xp.where(xp.ne(target, 1), xp.clamp(xp.sub(margin, input), 0, None), 0)
    near = xp.where(xp.ne(target, -1), input, 0)
    return reduce(xp, xp.add(far, near), reduction)


@composite(dtype="float", public=())
def margin_ranking_loss(
    xp: Xp, input1: Tensor, input2: Tensor, target: Tensor, margin: Number = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return ``max(0, -target (input1 - input2) + margin)``, reduced."""
    gap = xp.mul(target, xp.sub(input2, input1))
    return reduce(xp, xp.clamp(gap if margin == 0 else xp.add(gap, margin), 0, None), reduction)


@composite(dtype="float", public=())
def cosine_embedding_loss(
    xp: Xp, input1: Tensor, input2: Tensor, target: Tensor, margin: Number = 0.0, reduction: str = "mean"
) -> Tensor:
    """Return ``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1, reduced.

    ``cos`` is that of the inputs' last dimension, with 1e-12 added to the squares of the lengths.
    """
    last = (max(len(input1.shape), len(input2.shape)) - 1,)
    product = xp.sum(xp.mul(input1, input2), last, False)
    square1 = xp.add(xp.sum(xp.square(input1), (len(input1.shape) - 1,), False), 1e-12)
    square2 = xp.add(xp.sum(xp.square(input2), (len(input2.shape) - 1,), False), 1e-12)
    cos = xp.div(product, xp.sqrt(xp.mul(square1, square2)))
    positive = xp.where(xp.eq(target, 1), xp.sub(1.0, cos), 0)
    negative = xp.where(xp.eq(target, -1), xp.clamp(xp.sub(cos, margin), 0, None), 0)
    return reduce(xp, xp.add(positive, negative), reduction)


@composite(dtype="float", public=())
def triplet_margin_loss(
    xp: Xp,
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: Number = 1.0,
    p: Number = 2.0,
    eps: Number = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return ``max(d(anchor, positive) - d(anchor, negative) + margin, 0)``, d the :func:`pairwise_distance`, reduced.

    Args:
        swap: use ``d(positive, negative)`` where it is smaller than ``d(anchor, negative)`` (Balntas et al., 2016).
    """
    near = xp.pairwise_distance(anchor, positive, p, eps, False)
    far = xp.pairwise_distance(anchor, negative, p, eps, False)
    if swap:
        far = xp.minimum(far, xp.pairwise_distance(positive, negative, p, eps, False))
    return reduce(xp, xp.clamp(xp.add(xp.sub(near, far), margin), 0, None), reduction)
