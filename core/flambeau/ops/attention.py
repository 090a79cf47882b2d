"""Scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import bool_
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
    ndim = len(key.shape)
    order = (*range(ndim - 2), ndim - 1, ndim - 2)
    # Scaling the queries is cheaper than scaling the scores.
    scaled = xp.mul(query, scale)
    if xp.dtype_of(scaled) is not xp.dtype_of(key):
        scaled = xp.to_dtype(scaled, xp.dtype_of(key))  # ml_dtypes' bfloat16 times a Python number is float32
    scores = xp.matmul(scaled, xp.permute(key, order))
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


@composite(public=())
def attention(
    xp: Xp, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, is_causal: bool, scale: float
) -> Tensor:
    """Return :func:`attention_weights` times ``value``: (..., L, E), (..., S, E), (..., S, V) -> (..., L, V)."""
    return xp.matmul(xp.attention_weights(query, key, attn_mask, is_causal, scale), value)
