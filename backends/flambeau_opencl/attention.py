"""Scaled dot-product attention: products of matrices, and one kernel along rows for the weights.

The weights of many heads lie in memory together only as far as :data:`BLOCK` goes; the gradient computes them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from flambeau.dtypes import bool_, float32, float64
from flambeau.ops.declare import OPS
from flambeau.striding import broadcast_strides
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import assign, contiguous
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.maps import run
from flambeau_opencl.matmul import multiply
from flambeau_opencl.rows import each, run_rows
from flambeau_opencl.shape import slice_

# A query that may look nowhere has only scores of minus infinity, and weights 0 where it is the mask that says so.
_SCORES = "V v = L0 * n1{mask}; {causal} S0(v); @m = v > @m ? v : @m;"
_CAUSAL = "v = LANES + (T)at > (T)(row % n2) ? (V)-INFINITY : v;"
_WEIGHTS = (
    "T m = MAX(m), base = m == -INFINITY ? 0 : m; "
    f"{each('V e = exp_nonpositive(L0 - base); @s += e; S0(e);', 's:SUM')} T s = SUM(s), share = 1 / s; "
)


def _added(mask: Array, shape: tuple[int, ...], like: Array) -> Array:
    """The mask as numbers to be added to scores of ``shape``: (rows, S), of one matrix (L, S) where it serves all."""
    strides = broadcast_strides(shape, mask.shape, mask.strides)
    if all(n == 1 or not s for n, s in zip(shape[:-2], strides[:-2], strict=True)):
        shape, strides = shape[-2:], strides[-2:]
    shown = mask.window(shape, strides, mask.offset)
    if mask.dtype is not like.dtype:
        numbers = empty(like.runtime, shape, like.dtype)
        run("mask", "r0 = a0 ? 0 : -INFINITY;" if mask.dtype is bool_ else "r0 = a0;", [numbers], [shown])
        shown = numbers
    return contiguous(shown).reshaped(prod(shape[:-1]), shape[-1])


def attention_weights(query: Array, key: Array, attn_mask: Array | None, is_causal: bool, scale: float) -> Array:
    """``softmax(scale * query @ key.T + mask)``; see :func:`flambeau.ops.attention.attention_weights`."""
    kind = query.dtype
    deeper = attn_mask is not None and len(attn_mask.shape) > max(len(query.shape), len(key.shape))
    if kind not in (float32, float64) or key.dtype is not kind or min(len(query.shape), len(key.shape)) < 2 or deeper:
        xp = query.runtime.device.xp
        found: Array = OPS["attention_weights"].body(xp, query, key, attn_mask, is_causal, scale)
        return found
    turned = key.window((*key.shape[:-2], *key.shape[:-3:-1]), (*key.strides[:-2], *key.strides[:-3:-1]), key.offset)
    scores = multiply(query, turned)
    shape = scores.shape
    inputs = [] if attn_mask is None else [_added(attn_mask, shape, scores)]
    first = each(_SCORES.format(mask=" + L1" if inputs else "", causal=_CAUSAL if is_causal else ""), "m:MAX")
    weights = _WEIGHTS.replace("share = 1 / s", "share = s == 0 ? 0 : 1 / s") if inputs else _WEIGHTS
    numbers = [(ELEMENTS[kind].real, float(scale)), ("long", shape[-2])]
    flat = scores.reshaped(prod(shape[:-1]), shape[-1])
    run_rows("attention_weights", first + weights + each("S0(L0 * share);"), [flat], inputs, numbers)
    return scores


# -- a few heads at a time -----------------------------------------------------------------------------------------

#: Bytes of weights that are in memory at a time, as long as one head's are not more.
BLOCK = 1 << 26


def _split(weights: tuple[int, ...], itemsize: int, arrays: Sequence[Array | None]) -> tuple[int, int] | None:
    """The dimension to be cut, and the length of the pieces; None where the weights fit, or nothing can be cut."""
    lead = weights[:-2]
    if prod(weights) * itemsize <= BLOCK or any(a is not None and a.shape[:-2] != lead for a in arrays):
        return None
    for dim, size in enumerate(lead):
        if size > 1:
            each_one = prod(weights) // size * itemsize
            return dim, max(1, BLOCK // each_one)
    return None


def _piece(array: Array, dim: int, start: int, end: int, rank: int) -> Array:
    """A piece of an operand, which is whole where it broadcasts."""
    own = dim - (rank - len(array.shape))
    return array if own < 0 or array.shape[own] == 1 else slice_(array, own, start, end)


def attention(query: Array, key: Array, value: Array, attn_mask: Array | None, is_causal: bool, scale: float) -> Array:
    """The weights times ``value``; see :func:`flambeau.ops.attention.attention`."""
    shape = (*query.shape[:-1], key.shape[-2])
    cut = _split(shape, query.dtype.itemsize, (query, key, value))
    if cut is None:
        xp = query.runtime.device.xp
        whole: Array = OPS["attention"].body(xp, query, key, value, attn_mask, is_causal, scale)
        return whole
    dim, length = cut
    out = empty(query.runtime, (*query.shape[:-1], value.shape[-1]), query.dtype)
    for start in range(0, shape[dim], length):
        end = min(start + length, shape[dim])
        q, k, v = (slice_(a, dim, start, end) for a in (query, key, value))
        m = None if attn_mask is None else _piece(attn_mask, dim, start, end, len(shape))
        assign(slice_(out, dim, start, end), attention(q, k, v, m, is_causal, scale))
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
) -> tuple[Array | None, ...]:
    """The cotangents, that of a mask, which is as large as the weights, from all weights together."""
    shape = (*query.shape[:-1], key.shape[-2])
    cut = None if needs[3] else _split(shape, query.dtype.itemsize, (g, query, key, value))
    if cut is None:
        xp = query.runtime.device.xp
        body = OPS["attention_backward"].body
        return tuple(body(xp, g, query, key, value, attn_mask, is_causal, scale, needs))
    dim, length = cut
    found = [
        empty(a.runtime, a.shape, a.dtype) if needed else None
        for a, needed in zip((query, key, value), needs, strict=False)
    ]
    for start in range(0, shape[dim], length):
        end = min(start + length, shape[dim])
        c, q, k, v = (slice_(a, dim, start, end) for a in (g, query, key, value))
        m = None if attn_mask is None else _piece(attn_mask, dim, start, end, len(shape))
        for target, part in zip(found, attention_backward(c, q, k, v, m, is_causal, scale, needs), strict=False):
            if target is not None:
                assign(slice_(target, dim, start, end), part)
    return (*found, None)


KERNELS: dict[str, Callable[..., Any]] = {
    "attention_weights": attention_weights,
    "attention": attention,
    "attention_backward": attention_backward,
}
