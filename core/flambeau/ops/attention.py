"""Scaled dot-product attention."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import bool_
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
    ndim = len(key.shape)
    order = (*range(ndim - 2), ndim - 1, ndim - 2)
    # Scaling the queries is cheaper than scaling the scores.
    scaled = xp.mul(query, scale)
    scores = xp.matmul(cast(xp, scaled, key), xp.permute(key, order))
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
    # Scores of 16 bits would be off by as much as tells the keys apart.
    q, k, v = (computed(xp, x) for x in (query, key, value))
    mask = attn_mask if attn_mask is None else computed(xp, attn_mask)
    return cast(xp, xp.matmul(xp.attention_weights(q, k, mask, is_causal, scale), v), query)
