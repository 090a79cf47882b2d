"""Attention with several heads, from projections of the inputs to the projection of the output."""

from __future__ import annotations

import math
from typing import Any

import flambeau
from flambeau.nn.functional._attention import attend_with_dropout
from flambeau.nn.functional._dropout import dropout
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

_OP = "multi_head_attention_forward"


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return attention with several heads (Vaswani et al., 2017), and the weights with which each head looked.

    Args:
        query: (L, N, E). key: (S, N, E_k). value: (S, N, E_v). Or all without the N.
        embed_dim_to_check: E.
        num_heads: number of heads H, which share E evenly.
        in_proj_weight: (3 E, E), those of query, key and value below each other; in_proj_bias: (3 E,).
        bias_k, bias_v: (1, 1, E), one more key and value for every sequence.
        add_zero_attn: add a key and a value of zeros.
        dropout_p: probability with which a weight is set to 0 in training.
        out_proj_weight, out_proj_bias: (E, E) and (E,), of the projection of the output.
        training: whether there is dropout.
        key_padding_mask: (N, S) or (S,); True where a key is to be ignored, or numbers that are added to the scores.
        need_weights: also return the weights.
        attn_mask: (L, S) or (N * H, L, S); True where a query may not look, or numbers that are added to the scores.
        use_separate_proj_weight: project by ``q_proj_weight`` (E, E), ``k_proj_weight`` (E, E_k) and
            ``v_proj_weight`` (E, E_v) instead of ``in_proj_weight``.
        static_k, static_v: (N * H, S, E / H), to be used instead of the projected key and value.
        average_attn_weights: give the mean of the weights over the heads.
        is_causal: a hint that ``attn_mask`` lets query i look at the keys 0 to i only.

    Returns:
        tuple: (L, N, E), and the weights (N, L, S), (N, H, L, S) without averaging, or None; without the N for inputs
        without one. A query that may look nowhere gets weights 0.

    Raises:
        AssertionError: when shapes do not fit together, or a mask is neither of bools nor of floats.
        RuntimeError: when ``is_causal`` is given without ``attn_mask``.
    """
    batched = _check_inputs(query, key, value, key_padding_mask, attn_mask, num_heads)
    if is_causal and attn_mask is None:
        raise RuntimeError(f"{_OP}: Need attn_mask if specifying the is_causal hint.")
    extended = bias_k is not None or add_zero_attn
    causal = is_causal and key_padding_mask is None and not need_weights and not extended
    if causal:
        attn_mask = None
    if not batched:
        same_kv, same_q = key is value, query is key
        query = query.unsqueeze(1)
        key = query if same_q else key.unsqueeze(1)
        value = key if same_kv else value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    batch, size = query.shape[1:]
    if size != embed_dim_to_check:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim_to_check}, but got {size}")
    head_size = size // num_heads
    if head_size * num_heads != size:
        raise AssertionError(f"embed_dim {size} not divisible by num_heads {num_heads}")

    if use_separate_proj_weight:
        q, k, v = _project_separately(query, key, value, q_proj_weight, k_proj_weight, v_proj_weight, in_proj_bias)
    else:
        q, k, v = _project(query, key, value, in_proj_weight, in_proj_bias)
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError("bias cannot be added to static key and value")
        k = flambeau.cat([k, bias_k.expand(1, batch, size)])
        v = flambeau.cat([v, bias_v.expand(1, batch, size)])
        attn_mask, key_padding_mask = _with_column(attn_mask), _with_column(key_padding_mask)
    elif bias_k is not None or bias_v is not None:
        raise AssertionError("bias_k and bias_v must both be given, or none of them")
    q = _heads(q, num_heads)
    k = _heads(k, num_heads) if static_k is None else _static("static_k", static_k, batch, num_heads, head_size)
    v = _heads(v, num_heads) if static_v is None else _static("static_v", static_v, batch, num_heads, head_size)
    if add_zero_attn:
        zeros = k.new_zeros((batch, num_heads, 1, head_size))
        k, v = flambeau.cat([k, zeros], 2), flambeau.cat([v, zeros], 2)
        attn_mask, key_padding_mask = _with_column(attn_mask), _with_column(key_padding_mask)
    mask = _mask(q, k, attn_mask, key_padding_mask)
    return _attend(
        q,
        k,
        v,
        mask,
        causal,
        dropout_p if training else 0.0,
        (out_proj_weight, out_proj_bias),
        need_weights,
        average_attn_weights,
        batched,
    )


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    dropout_p: float,
    out_proj: tuple[Tensor, Tensor | None],
    need_weights: bool,
    average: bool,
    batched: bool,
) -> tuple[Tensor, Tensor | None]:
    """Attention of projected (N, H, L, E / H) and the projection of its output."""
    batch, heads, length, head_size = q.shape
    scale = 1 / math.sqrt(head_size)
    weights: Any = None
    if need_weights:
        weights = TENSORS.attention_weights(q, k, mask, causal, scale)
        if dropout_p:
            weights = dropout(weights, dropout_p)
        output = TENSORS.matmul(weights, v)
    elif dropout_p:
        output = attend_with_dropout(q, k, v, mask, causal, scale, dropout_p)
    else:
        output = TENSORS.attention(q, k, v, mask, causal, scale)
    output = TENSORS.permute(output, (2, 0, 1, 3)).reshape(length, batch, heads * head_size)
    output = TENSORS.linear(output, *out_proj)
    if not need_weights:
        weights = None
    elif average:
        weights = weights.mean(1)
    if batched:
        return output, weights
    return output.squeeze(1), None if weights is None else weights.squeeze(0)


# -- projections -----------------------------------------------------------------------------------------------------


def _project(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The projections by one weight; what is the same tensor is projected in one go."""
    if weight is None:
        raise AssertionError("use_separate_proj_weight is False but in_proj_weight is None")
    if key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
    size = query.shape[-1]
    if query is key and key is value:
        q, k, v = TENSORS.linear(query, weight, bias).chunk(3, -1)
        return q, k, v
    q_weight, kv_weight = weight[:size], weight[size:]
    q_bias, kv_bias = (None, None) if bias is None else (bias[:size], bias[size:])
    q = TENSORS.linear(query, q_weight, q_bias)
    if key is value:
        k, v = TENSORS.linear(key, kv_weight, kv_bias).chunk(2, -1)
        return q, k, v
    k_bias, v_bias = (None, None) if kv_bias is None else (kv_bias[:size], kv_bias[size:])
    return q, TENSORS.linear(key, kv_weight[:size], k_bias), TENSORS.linear(value, kv_weight[size:], v_bias)


def _project_separately(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    q_weight: Tensor | None,
    k_weight: Tensor | None,
    v_weight: Tensor | None,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    for name, weight in (("q", q_weight), ("k", k_weight), ("v", v_weight)):
        if weight is None:
            raise AssertionError(f"use_separate_proj_weight is True but {name}_proj_weight is None")
    if key.shape[:2] != value.shape[:2]:
        raise AssertionError(
            f"key's sequence and batch dims {list(key.shape[:2])} do not match value's {list(value.shape[:2])}"
        )
    biases = (None, None, None) if bias is None else bias.chunk(3)
    return (
        TENSORS.linear(query, q_weight, biases[0]),
        TENSORS.linear(key, k_weight, biases[1]),
        TENSORS.linear(value, v_weight, biases[2]),
    )


def _heads(x: Tensor, num_heads: int) -> Tensor:
    """(L, N, E) -> (N, H, L, E / H)."""
    length, batch, size = x.shape
    return TENSORS.permute(TENSORS.reshape(x, (length, batch, num_heads, size // num_heads)), (1, 2, 0, 3))


def _static(name: str, x: Tensor, batch: int, num_heads: int, head_size: int) -> Tensor:
    if x.dim() != 3 or x.shape[0] != batch * num_heads or x.shape[2] != head_size:
        raise AssertionError(
            f"expecting {name} of shape ({batch * num_heads}, S, {head_size}), but got {tuple(x.shape)}"
        )
    return x.reshape(batch, num_heads, x.shape[1], head_size)


# -- masks -----------------------------------------------------------------------------------------------------------


def _with_column(mask: Tensor | None) -> Tensor | None:
    """The mask with one more key that is not masked."""
    if mask is None:
        return None
    return flambeau.cat([mask, mask.new_zeros((*mask.shape[:-1], 1))], -1)


def _mask(q: Tensor, k: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None) -> Tensor | None:
    """Both masks as one that broadcasts to (N, H, L, S): bools say where to look, numbers are added."""
    batch, heads, length, _ = q.shape
    keys = k.shape[2]
    masks: list[Tensor] = []
    if attn_mask is not None:
        if attn_mask.dim() == 2:
            if tuple(attn_mask.shape) != (length, keys):
                raise RuntimeError(
                    f"The shape of the 2D attn_mask is {list(attn_mask.shape)}, but should be {[length, keys]}."
                )
            masks.append(attn_mask)
        else:
            if tuple(attn_mask.shape) != (batch * heads, length, keys):
                raise RuntimeError(
                    f"The shape of the 3D attn_mask is {list(attn_mask.shape)}, but should be "
                    f"{[batch * heads, length, keys]}."
                )
            masks.append(attn_mask.reshape(batch, heads, length, keys))
    if key_padding_mask is not None:
        if tuple(key_padding_mask.shape) != (batch, keys):
            raise AssertionError(
                f"expecting key_padding_mask shape of {(batch, keys)}, but got {tuple(key_padding_mask.shape)}"
            )
        masks.append(key_padding_mask.reshape(batch, 1, 1, keys))
    if not masks:
        return None
    if all(mask.dtype == flambeau.bool for mask in masks):
        hidden = masks[0] if len(masks) == 1 else TENSORS.logical_or(*masks)
        return TENSORS.logical_not(hidden)
    numbers = [_as_numbers(mask, q.dtype) for mask in masks]
    return numbers[0] if len(numbers) == 1 else TENSORS.add(*numbers)


def _as_numbers(mask: Tensor, dtype: Any) -> Tensor:
    if mask.dtype == flambeau.bool:
        return flambeau.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask, -math.inf)
    return mask.to(dtype)


def _check_inputs(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    num_heads: int,
) -> bool:
    """Whether there is a batch; raise where the numbers of dimensions do not go together."""
    rank = query.dim()
    if rank not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor")
    kind = "batched (3-D)" if rank == 3 else "unbatched (2-D)"
    if key.dim() != rank or value.dim() != rank:
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {rank}-D but found {key.dim()}-D and "
            f"{value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != rank - 1:
        raise AssertionError(
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {rank - 1}-D but found "
            f"{key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None:
        if attn_mask.dim() not in (2, 3):
            raise AssertionError(
                f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D "
                "tensor instead"
            )
        if rank == 2 and attn_mask.dim() == 3 and tuple(attn_mask.shape) != (num_heads, len(query), len(key)):
            raise AssertionError(
                f"Expected `attn_mask` shape to be {(num_heads, len(query), len(key))} but got {tuple(attn_mask.shape)}"
            )
    for name, mask in (("key_padding_mask", key_padding_mask), ("attn_mask", attn_mask)):
        if mask is not None and mask.dtype != flambeau.bool and not mask.is_floating_point():
            raise AssertionError(f"only bool and floating types of {name} are supported, got {mask.dtype}")
    return rank == 3
