"""Scaled dot-product attention."""

from __future__ import annotations

import math

from flambeau.devices import levels
from flambeau.dtypes import float32
from flambeau.nn.functional._dropout import check_probability, dropout
from flambeau.ops.arithmetic import cast, computed
from flambeau.ops.call import TENSORS
from flambeau.ops.random import blocks_for
from flambeau.ops.spec import broadcast_shapes, numel
from flambeau.random import default_generator
from flambeau.tensor import Tensor

#: Up to so many weights are kept for the backward pass with the numbers that dropped some of them (128 MB in all). To
#: compute and draw them again takes half as much time more, and hardly any memory.
KEPT = 1 << 24


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
    return attend_with_dropout(query, key, value, attn_mask, is_causal, scale, dropout_p)


def attend_with_dropout(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool, scale: float, p: float
) -> Tensor:
    """The op ``attention`` with dropout of the weights, by numbers of the default generator."""
    check_probability(p)
    lead = broadcast_shapes("attention", query.shape[:-2], key.shape[:-2])
    shape = (*lead, query.shape[-2], key.shape[-2])
    if mask is not None:
        shape = broadcast_shapes("attention", shape, mask.shape)
    # Under vmap it is for the draw to say which examples share the numbers.
    if numel(shape) <= KEPT or levels.stack:
        q, k, v = (computed(TENSORS, x) for x in (query, key, value))  # as the op does
        mask = mask if mask is None else computed(TENSORS, mask)
        weights = dropout(TENSORS.attention_weights(q, k, mask, is_causal, scale), p)
        return cast(TENSORS, TENSORS.matmul(weights, v), query)
    seed, offset = default_generator.reserve(blocks_for(numel(shape), float32))
    return TENSORS.attention_with_dropout(query, key, value, mask, is_causal, scale, p, seed, offset)
