"""Attention with several heads."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.linear import NonDynamicallyQuantizableLinear
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter


class MultiheadAttention(Module):
    """Attention with several heads (Vaswani et al., "Attention is all you need", 2017).

    Each head attends with its own projections of query, key and value to ``embed_dim / num_heads`` features; the heads'
    results, put side by side, are projected once more.

    Args:
        embed_dim: size of query and output.
        num_heads: number of heads; it divides ``embed_dim``.
        dropout: probability with which an attention weight is set to 0 in training.
        bias: whether the projections have biases.
        add_bias_kv: learn one more key and value.
        add_zero_attn: add a key and a value of zeros.
        kdim, vdim: sizes of key and value, ``embed_dim`` when left out.
        batch_first: the batch is the first dimension, not the second.

    Attributes:
        in_proj_weight: ``(3 embed_dim, embed_dim)``; where ``kdim`` or ``vdim`` differ there are ``q_proj_weight``,
            ``k_proj_weight`` and ``v_proj_weight`` instead.
        in_proj_bias: ``(3 embed_dim,)``.
        out_proj: the projection of the output.
        bias_k, bias_v: ``(1, 1, embed_dim)``.
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} "
                "instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}")

        def parameter(wanted: bool, *size: int) -> Parameter | None:
            return Parameter(flambeau.empty(size, device=device, dtype=dtype)) if wanted else None

        same = self._qkv_same_embed_dim
        self.register_parameter("q_proj_weight", parameter(not same, embed_dim, embed_dim))
        self.register_parameter("k_proj_weight", parameter(not same, embed_dim, self.kdim))
        self.register_parameter("v_proj_weight", parameter(not same, embed_dim, self.vdim))
        self.register_parameter("in_proj_weight", parameter(same, 3 * embed_dim, embed_dim))
        self.register_parameter("in_proj_bias", parameter(bias, 3 * embed_dim))
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        self.register_parameter("bias_k", parameter(add_bias_kv, 1, 1, embed_dim))
        self.register_parameter("bias_v", parameter(add_bias_kv, 1, 1, embed_dim))
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend to ``key`` and ``value``.

        Args:
            query: (L, N, E), with ``batch_first`` (N, L, E), or (L, E). key, value: (S, N, size) and so on.
            key_padding_mask: (N, S) or (S,); True where a key is to be ignored, or numbers added to the scores.
            need_weights: also return the weights; without, the computation takes less memory.
            attn_mask: (L, S) or (N * num_heads, L, S); True where a query may not look, or numbers added to the
                scores.
            average_attn_weights: give the mean of the weights over the heads.
            is_causal: a hint that ``attn_mask`` lets query i look at the keys 0 to i only.

        Returns:
            tuple: the output in the form of the query; the weights (N, L, S), or (N, num_heads, L, S) without
            averaging, or None.
        """
        swap = self.batch_first and query.dim() == 3
        if swap:
            # Tensors that are the same stay the same: they are projected in one go.
            swapped: dict[int, Tensor] = {}
            for tensor in (query, key, value):
                if id(tensor) not in swapped:
                    swapped[id(tensor)] = tensor.transpose(0, 1) if tensor.dim() == 3 else tensor
            query, key, value = swapped[id(query)], swapped[id(key)], swapped[id(value)]
        output, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (output.transpose(0, 1) if swap else output), weights
