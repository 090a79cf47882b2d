"""Scaled dot-product attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flambeau.dtypes import bool_, float32
from flambeau.ops.arithmetic import cast, computed
from flambeau.ops.declare import composite

Tensor = Any
Xp = Any


@composite(public=())
def attention_weights(
    xp: Xp, query: Tensor, key: Tensor, attn_mask: Tensor | None, is_causal: bool, scale: float
) -> Tensor:
    """Return ``softmax(scale * query @ key.T + mask)``: how much each query (row) looks at each key.

    Args:
        query: (..., L, E). key: (..., S, E).
        attn_mask: broadcasts to (..., L, S); bools say where to look, numbers are added. A query that may look
            nowhere gets weights 0.
        is_causal: query i looks at the keys 0 to i only.
    """
    # Scaling the queries is cheaper than scaling the scores.
    scaled = xp.mul(query, scale)
    scores = xp.matmul(cast(xp, scaled, key), _transposed(xp, key))
    last = len(scores.shape) - 1
    if is_causal:
        rows = xp.reshape(xp.new_arange(scores, 0, scores.shape[last - 1]), (scores.shape[last - 1], 1))
        later = xp.gt(xp.new_arange(scores, 0, scores.shape[last]), rows)
        scores = xp.where(later, -math.inf, scores)
    if attn_mask is None:
        return xp.softmax(scores, last)
    if xp.dtype_of(attn_mask) is bool_:
        scores = xp.where(attn_mask, scores, -math.inf)
    else:
        scores = xp.add(scores, attn_mask)
    nowhere = xp.all(xp.eq(scores, -math.inf), (last,), True)
    return xp.where(nowhere, 0, xp.softmax(xp.where(nowhere, 0, scores), last))


@attention_weights.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    query: Any,
    key: Any,
    attn_mask: Any,
    scale: float,
    result: Any,
) -> tuple[Any, Any, Any]:
    of_scores = xp.softmax_backward(g, result, len(result.shape) - 1)
    return (
        _like(xp, xp.mul(xp.matmul(of_scores, key), scale), query) if needs[0] else None,
        _like(xp, xp.mul(xp.matmul(_transposed(xp, of_scores), query), scale), key) if needs[1] else None,
        _like(xp, of_scores, attn_mask) if needs[2] else None,
    )


@composite(public=())
def attention(
    xp: Xp, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, is_causal: bool, scale: float
) -> Tensor:
    """Return :func:`attention_weights` times ``value``: (..., L, E), (..., S, E), (..., S, V) -> (..., L, V)."""
    # Scores of 16 bits would be off by as much as tells the keys apart.
    q, k, v = (computed(xp, x) for x in (query, key, value))
    mask = attn_mask if attn_mask is None else computed(xp, attn_mask)
    return cast(xp, xp.matmul(xp.attention_weights(q, k, mask, is_causal, scale), v), query)


@attention.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any,
    is_causal: bool,
    scale: float,
) -> tuple[Any, ...]:
    return xp.attention_backward(g, query, key, value, attn_mask, is_causal, scale, needs)


@composite(public=())
def attention_backward(
    xp: Xp,
    g: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float,
    needs: tuple[bool, bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Return the cotangents of query, key, value and mask, each None where it is not needed.

    The weights are computed again: to keep them would take L * S numbers a head.
    """
    return _cotangents(xp, g, query, key, value, attn_mask, is_causal, scale, needs, lambda weights: weights)


# -- with dropout of the weights -------------------------------------------------------------------------------------


@composite(public=())
def attention_with_dropout(
    xp: Xp,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float,
    p: float,
    seed: int,
    offset: int,
) -> Tensor:
    """Return :func:`attention` with each weight set to 0 with probability ``p``, the others divided by ``1 - p``.

    Args:
        seed, offset: where in the stream the float32 numbers begin that decide, one for each weight (..., L, S).
    """
    q, k, v = (computed(xp, x) for x in (query, key, value))
    mask = attn_mask if attn_mask is None else computed(xp, attn_mask)
    weights = xp.attention_weights(q, k, mask, is_causal, scale)
    return cast(xp, xp.matmul(xp.apply_dropout(weights, _drawn(xp, weights, seed, offset), p), v), query)


def _drawn(xp: Xp, weights: Any, seed: int, offset: int) -> Any:
    return xp.random_uniform(tuple(weights.shape), float32, seed, offset, xp.device_of(weights))


@attention_with_dropout.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any,
    is_causal: bool,
    scale: float,
    p: float,
    seed: int,
    offset: int,
) -> tuple[Any, ...]:
    settings = attn_mask, is_causal, scale, p, seed, offset, needs
    return xp.attention_with_dropout_backward(g, query, key, value, *settings)


@composite(public=())
def attention_with_dropout_backward(
    xp: Xp,
    g: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float,
    p: float,
    seed: int,
    offset: int,
    needs: tuple[bool, bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Return the cotangents of query, key, value and mask, each None where it is not needed.

    The weights are computed, and the numbers drawn, again.
    """

    def drop(weights: Any) -> Any:
        return xp.apply_dropout(weights, _drawn(xp, weights, seed, offset), p)

    return _cotangents(xp, g, query, key, value, attn_mask, is_causal, scale, needs, drop)


# -- the gradient ----------------------------------------------------------------------------------------------------


def _cotangents(
    xp: Xp,
    g: Any,
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any,
    is_causal: bool,
    scale: float,
    needs: tuple[bool, ...],
    drop: Callable[[Any], Any],
) -> tuple[Any, Any, Any, Any]:
    """Those of query, key, value and mask, ``drop`` being what lies between the weights and their product."""
    q, k, v, cotangent = (computed(xp, x) for x in (query, key, value, g))
    mask = attn_mask if attn_mask is None else computed(xp, attn_mask)
    weights = xp.attention_weights(q, k, mask, is_causal, scale)
    gq = gk = gv = gm = None
    if needs[2]:
        gv = _like(xp, xp.matmul(_transposed(xp, drop(weights)), cotangent), value)
    if needs[0] or needs[1] or needs[3]:
        of_weights = drop(xp.matmul(cotangent, _transposed(xp, v)))
        of_scores = xp.softmax_backward(of_weights, weights, len(weights.shape) - 1)
        if needs[0]:
            gq = _like(xp, xp.mul(xp.matmul(of_scores, k), scale), query)
        if needs[1]:
            gk = _like(xp, xp.mul(xp.matmul(_transposed(xp, of_scores), q), scale), key)
        if needs[3]:
            gm = _like(xp, of_scores, attn_mask)
    return gq, gk, gv, gm


def _transposed(xp: Xp, x: Any) -> Any:
    ndim = len(x.shape)
    return xp.permute(x, (*range(ndim - 2), ndim - 1, ndim - 2))


def _like(xp: Xp, gradient: Any, x: Any) -> Any:
    """A cotangent of the dtype and shape of ``x``, summed over what was broadcast."""
    if tuple(gradient.shape) != tuple(x.shape):
        gradient = xp.sum_to_size(gradient, tuple(x.shape))
    return cast(xp, gradient, x)
