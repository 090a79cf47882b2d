"""Scaled dot-product attention, a few samples at a time: their scores are all that is ever in memory.

Where cuDNN is there and takes the operands, its kernels come first (``cudnn/attention.py``), which hold no scores.
Products are cuBLAS's, so that 16-bit operands go through the tensor cores; scores are float32 then, and what follows,
mask, softmax and their gradients, is one kernel along the rows. The backward pass computes the weights again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import cupy

from flambeau_cupy.cudnn import attention as cudnn
from flambeau_cupy.decomposition import decomposed
from flambeau_cupy.elements import accumulated
from flambeau_cupy.maps import Number
from flambeau_cupy.matmul import multiply
from flambeau_cupy.rows import run_rows

Array = Any
Shape = tuple[int, ...]
Gradients = tuple[Array | None, Array | None, Array | None, Array | None]

#: Bytes of scores made at a time.
CHUNK = 1 << 28

# A query that may look nowhere has weights 0 where it is the mask that says so.
_WEIGHTS = """
{A} m = -INF; EACH(j) {{ {score} m = larger(m, v); }}
m = row_largest(m);
{A} base = m == -INF ? 0 : m, s = 0;
EACH(j) {{ {score} s += exp(v - base); }}
s = row_sum(s);
{A} share = {nowhere}1 / s;
EACH(j) {{ {score} OUT0(j, exp(v - base) * share); }}
"""
_CAUSAL = " if (j > row % n0) v = -INF;"
_SCORES_BACKWARD = """
{A} s = 0; EACH(j) s += IN0(j) * IN1(j);
s = row_sum(s);
EACH(j) OUT0(j, IN1(j) * (IN0(j) - s));
"""


def _serves(query: Array, key: Array, value: Array, mask: Array | None) -> bool:
    """Whether the kernels here do: operands of one dtype and batch shape, and a mask that fits into it."""
    kind, batch = query.dtype, query.shape[:-2]
    return (
        kind.char in "eEfd"
        and key.dtype == value.dtype == kind
        and min(query.ndim, key.ndim, value.ndim) >= 2
        and key.shape[:-2] == value.shape[:-2] == batch
        and (mask is None or (mask.ndim <= query.ndim and mask.dtype.kind != "c"))
        and min(query.size, key.size, value.size) > 0
    )


def _real(kind: Any) -> str:
    """The C++ type of scores."""
    return "double" if kind.char == "d" else "float"


class _Parts:
    """The operands with at least one batch dimension, cut along the first.

    Attributes:
        wide: the dtype of scores.
    """

    def __init__(self, query: Array, key: Array, value: Array, mask: Array | None, scale: float) -> None:
        self.batched = query.ndim > 2
        self.query, self.key, self.value = self.with_batch(query), self.with_batch(key), self.with_batch(value)
        self.shape: Shape = (*self.query.shape[:-1], key.shape[-2])
        self.mask = None if mask is None else cupy.broadcast_to(mask, self.shape)
        self.scale = scale
        self.wide = accumulated(query)

    def with_batch(self, array: Array) -> Array:
        """An operand or a result with a batch dimension."""
        return array if self.batched else array[None]

    def __iter__(self) -> Iterator[slice]:
        size = self.shape[0]
        step = max(1, CHUNK * size // (prod(self.shape) * self.wide.itemsize))
        for start in range(0, size, step):
            yield slice(start, start + step)

    def scores(self, part: slice, of: Array, by: Array, factor: float) -> Array:
        """``factor * of @ by^T`` for some samples."""
        out = cupy.empty((*of[part].shape[:-1], by.shape[-2]), self.wide)
        multiply(of[part], by[part].swapaxes(-1, -2), out, factor)
        return out

    def weights(self, part: slice, is_causal: bool) -> Array:
        """The weights of some samples, in the dtype of the operands."""
        scores = self.scores(part, self.query, self.key, self.scale)
        inputs = [scores]
        score = f"{_real(self.wide)} v = IN0(j);"
        nowhere = ""
        if self.mask is not None:
            inputs.append(self.mask[part])
            score += " if (!IN1(j)) v = -INF;" if self.mask.dtype.kind == "b" else " v += IN1(j);"
            nowhere = "s == 0 ? 0 : "
        numbers: list[Number] = []
        if is_causal:
            score += _CAUSAL
            numbers.append(("long long", scores.shape[-2]))
        body = _WEIGHTS.format(A=_real(self.wide), score=score, nowhere=nowhere)
        out = scores if self.query.dtype == self.wide else cupy.empty(scores.shape, self.query.dtype)
        run_rows("attention_weights", body, [out], inputs, (scores.ndim - 1,), numbers)
        return out


def attention(query: Array, key: Array, value: Array, attn_mask: Array | None, is_causal: bool, scale: float) -> Array:
    """``softmax(scale * query @ key.T + mask) @ value``: (..., L, E), (..., S, E), (..., S, V) -> (..., L, V)."""
    if not _serves(query, key, value, attn_mask):
        return decomposed("attention", query, key, value, attn_mask, is_causal, scale)
    if attn_mask is None:
        computed = cudnn.attention(query, key, value, is_causal, scale)
        if computed is not None:
            return computed
    parts = _Parts(query, key, value, attn_mask, scale)
    out = cupy.empty((*query.shape[:-1], value.shape[-1]), query.dtype)
    filled = parts.with_batch(out)
    for part in parts:
        multiply(parts.weights(part, is_causal), parts.value[part], filled[part])
    return out


def attention_backward(
    g: Array,
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array | None,
    is_causal: bool,
    scale: float,
    needs: tuple[bool, bool, bool, bool],
) -> Gradients:
    """The cotangents of query, key, value and mask, each None where it is not needed."""
    if needs[3] or not _serves(query, key, value, attn_mask):
        settings = attn_mask, is_causal, scale, needs
        found: Gradients = decomposed("attention_backward", g, query, key, value, *settings)
        return found
    if attn_mask is None:
        gradients = cudnn.attention_backward(g, query, key, value, is_causal, scale)
        if gradients is not None:
            gq, gk, gv = [x if needed else None for x, needed in zip(gradients, needs[:3], strict=True)]
            return gq, gk, gv, None
    parts = _Parts(query, key, value, attn_mask, scale)
    cotangent = parts.with_batch(g)
    gq, gk, gv = [
        cupy.empty(x.shape, x.dtype) if needed else None
        for x, needed in zip((query, key, value), needs[:3], strict=True)
    ]
    for part in parts:
        weights = parts.weights(part, is_causal)
        if gv is not None:
            multiply(weights.swapaxes(-1, -2), cotangent[part], parts.with_batch(gv)[part])
        if gq is None and gk is None:
            continue
        of_scores = parts.scores(part, cotangent, parts.value, 1.0)
        out = of_scores if weights.dtype == parts.wide else cupy.empty(weights.shape, weights.dtype)
        body = _SCORES_BACKWARD.format(A=_real(parts.wide))
        run_rows("attention_scores_backward", body, [out], [of_scores, weights], (out.ndim - 1,))
        if gq is not None:
            multiply(out, parts.key[part], parts.with_batch(gq)[part], scale)
        if gk is not None:
            multiply(out.swapaxes(-1, -2), parts.query[part], parts.with_batch(gk)[part], scale)
    return gq, gk, gv, None


KERNELS: dict[str, Callable[..., Any]] = {"attention": attention, "attention_backward": attention_backward}
