"""Scaled dot-product attention, a few samples at a time: their scores are all that is ever in memory.

Where cuDNN is there and takes the operands, its kernels come first (``cudnn/attention.py``), which hold no scores.
Products are cuBLAS's, so that 16-bit operands go through the tensor cores; scores are float32 then, and what follows,
mask, softmax and their gradients, is one kernel along the rows. The backward pass computes the weights again. Where a
query sees only the keys before it, some hundred queries are done at a time, with the keys that any of them sees: of
long sequences that leaves out almost half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NamedTuple

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
#: Causal queries done at a time: enough of them to fill a GPU, with some heads.
ROWS = 512

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
_CAUSAL = " if (j > n1 + row % n0) v = -INF;"
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


class _Part(NamedTuple):
    """Some samples, the rows of some of their queries, and how many keys these see."""

    samples: slice
    rows: slice
    keys: int


class _Parts:
    """The operands with at least one batch dimension, cut along the first and, where causal, by queries.

    Attributes:
        wide: the dtype of scores.
    """

    def __init__(
        self, query: Array, key: Array, value: Array, mask: Array | None, is_causal: bool, scale: float
    ) -> None:
        self.batched = query.ndim > 2
        self.query, self.key, self.value = self.with_batch(query), self.with_batch(key), self.with_batch(value)
        self.shape: Shape = (*self.query.shape[:-1], key.shape[-2])
        self.mask = None if mask is None else cupy.broadcast_to(mask, self.shape)
        self.is_causal, self.scale = is_causal, scale
        self.wide = accumulated(query)

    def with_batch(self, array: Array) -> Array:
        """An operand or a result with a batch dimension."""
        return array if self.batched else array[None]

    def __iter__(self) -> Iterator[_Part]:
        size, (queries, keys) = self.shape[0], self.shape[-2:]
        rows = min(ROWS, queries) if self.is_causal else queries
        step = max(1, CHUNK // (prod(self.shape[1:-2]) * rows * keys * self.wide.itemsize))
        for first in range(0, queries, rows):
            last = min(first + rows, queries)
            seen = min(last, keys) if self.is_causal else keys
            for start in range(0, size, step):
                yield _Part(slice(start, start + step), slice(first, last), seen)

    @property
    def adds(self) -> bool:
        """Whether several parts have gradients for a key, or none has."""
        queries, keys = self.shape[-2:]
        return self.is_causal and (queries > ROWS or queries < keys)

    def scores(self, part: _Part, of: Array, by: Array, factor: float) -> Array:
        """``factor * of @ by^T`` for a part, of something a query by something a key."""
        left, right = queries_of(part, of), keys_of(part, by)
        out = cupy.empty((*left.shape[:-1], part.keys), self.wide)
        multiply(left, right.swapaxes(-1, -2), out, factor)
        return out

    def weights(self, part: _Part) -> Array:
        """The weights of a part, in the dtype of the operands."""
        scores = self.scores(part, self.query, self.key, self.scale)
        inputs = [scores]
        score = f"{_real(self.wide)} v = IN0(j);"
        nowhere = ""
        if self.mask is not None:
            inputs.append(self.mask[part.samples][..., part.rows, : part.keys])
            score += " if (!IN1(j)) v = -INF;" if self.mask.dtype.kind == "b" else " v += IN1(j);"
            nowhere = "s == 0 ? 0 : "
        numbers: list[Number] = []
        if self.is_causal:
            score += _CAUSAL
            numbers += [("long long", scores.shape[-2]), ("long long", part.rows.start)]
        body = _WEIGHTS.format(A=_real(self.wide), score=score, nowhere=nowhere)
        out = scores if self.query.dtype == self.wide else cupy.empty(scores.shape, self.query.dtype)
        run_rows("attention_weights", body, [out], inputs, (scores.ndim - 1,), numbers)
        return out


def queries_of(part: _Part, array: Array) -> Array:
    """What belongs to a part's queries."""
    return array[part.samples][..., part.rows, :]


def keys_of(part: _Part, array: Array) -> Array:
    """What belongs to the keys that a part sees."""
    return array[part.samples][..., : part.keys, :]


def attention(query: Array, key: Array, value: Array, attn_mask: Array | None, is_causal: bool, scale: float) -> Array:
    """``softmax(scale * query @ key.T + mask) @ value``: (..., L, E), (..., S, E), (..., S, V) -> (..., L, V)."""
    if not _serves(query, key, value, attn_mask):
        return decomposed("attention", query, key, value, attn_mask, is_causal, scale)
    if attn_mask is None:
        computed = cudnn.attention(query, key, value, is_causal, scale)
        if computed is not None:
            return computed
    parts = _Parts(query, key, value, attn_mask, is_causal, scale)
    out = cupy.empty((*query.shape[:-1], value.shape[-1]), query.dtype)
    filled = parts.with_batch(out)
    for part in parts:
        multiply(parts.weights(part), keys_of(part, parts.value), queries_of(part, filled))
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
    parts = _Parts(query, key, value, attn_mask, is_causal, scale)
    cotangent = parts.with_batch(g)
    gq = cupy.empty(query.shape, query.dtype) if needs[0] else None
    made = cupy.zeros if parts.adds else cupy.empty
    kind = parts.wide if parts.adds else query.dtype
    gk, gv = [made(x.shape, kind) if needed else None for x, needed in zip((key, value), needs[1:3], strict=True)]
    for part in parts:
        weights = parts.weights(part)
        if gv is not None:
            own = keys_of(part, parts.with_batch(gv))
            multiply(weights.swapaxes(-1, -2), queries_of(part, cotangent), own, add=parts.adds)
        if gq is None and gk is None:
            continue
        of_scores = parts.scores(part, cotangent, parts.value, 1.0)
        out = of_scores if weights.dtype == parts.wide else cupy.empty(weights.shape, weights.dtype)
        body = _SCORES_BACKWARD.format(A=_real(parts.wide))
        run_rows("attention_scores_backward", body, [out], [of_scores, weights], (out.ndim - 1,))
        if gq is not None:
            multiply(out, keys_of(part, parts.key), queries_of(part, parts.with_batch(gq)), scale)
        if gk is not None:
            own = keys_of(part, parts.with_batch(gk))
            multiply(out.swapaxes(-1, -2), queries_of(part, parts.query), own, scale, add=parts.adds)
    gk, gv = [x if x is None else x.astype(query.dtype, copy=False) for x in (gk, gv)]
    return gq, gk, gv, None


KERNELS: dict[str, Callable[..., Any]] = {"attention": attention, "attention_backward": attention_backward}
