"""Scaled dot-product attention."""

from __future__ import annotations

import math

from flambeau.nn.functional._dropout import dropout
from flambeau.ops.arithmetic import cast, computed
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return ``softmax(scale * query @ key.T + mask) @ value`` (Vaswani et al., 2017).

    Args:
        query: (..., L, E). key: (..., S, E). value: (..., S, V).
        attn_mask: broadcasts to (..., L, S); bools say which keys a query looks at, numbers are added to the scores.
        dropout_p: probability with which a weight is set to 0.
        is_causal: query i looks at the keys 0 to i only.
        scale: ``1 / sqrt(E)`` when left out.
        enable_gqa: key and value may have fewer heads (dimension -3), each shared by a group of the query's.

    Returns:
        (..., L, V).

    Raises:
        RuntimeError: when shapes do not fit, or both ``attn_mask`` and ``is_causal`` are given.
    """
    op = "scaled_dot_product_attention"
    if attn_mask is not None and is_causal:
        raise RuntimeError(f"{op}: Explicit attn_mask should not be set when is_causal=True")
    shapes = query._array.shape, key._array.shape, value._array.shape
    if min(map(len, shapes)) < 2 or shapes[0][-1] != shapes[1][-1] or shapes[1][-2] != shapes[2][-2]:
        raise RuntimeError(
            f"{op}: expected query (..., L, E), key (..., S, E) and value (..., S, V), got query {list(shapes[0])}, "
            "key "
            f"{list(shapes[1])} and value {list(shapes[2])}"
        )
    if enable_gqa:
        heads = [shape[-3] if len(shape) > 2 else 1 for shape in shapes]
        if heads[0] % heads[1] or heads[0] % heads[2]:
            raise RuntimeError(
                f"{op}: with enable_gqa the query's heads must be a multiple of the key's and value's, got {heads}"
            )
        key = TENSORS.repeat_interleave(key, heads[0] // heads[1], -3)
        value = TENSORS.repeat_interleave(value, heads[0] // heads[2], -3)
    if scale is None:
        scale = 1 / math.sqrt(shapes[0][-1])
    if not dropout_p:
        return TENSORS.attention(query, key, value, attn_mask, is_causal, scale)
    q, k, v = (computed(TENSORS, x) for x in (query, key, value))  # as the op does
    mask = attn_mask if attn_mask is None else computed(TENSORS, attn_mask)
    weights = dropout(TENSORS.attention_weights(q, k, mask, is_causal, scale), dropout_p)
    return cast(TENSORS, TENSORS.matmul(weights, v), query)
