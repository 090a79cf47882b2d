"""The weights of scaled dot-product attention: a product of matrices, and one kernel along rows for what follows."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from flambeau.dtypes import bool_, float32, float64
from flambeau.ops.declare import OPS
from flambeau.striding import broadcast_strides
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import contiguous
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.maps import run
from flambeau_opencl.matmul import multiply
from flambeau_opencl.rows import each, run_rows

# A query that may look nowhere has only scores of minus infinity, and weights 0 where it is the mask that says so.
_SCORES = "V v = L0 * n1{mask}; {causal} S0(v); @m = v > @m ? v : @m;"
_CAUSAL = "v = LANES + (T)at > (T)(row % n2) ? (V)-INFINITY : v;"
_WEIGHTS = (
    "T m = MAX(m), base = m == -INFINITY ? 0 : m; "
    f"{each('V e = exp(L0 - base); @s += e; S0(e);', 's:SUM')} T s = SUM(s), share = 1 / s; "
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


KERNELS: dict[str, Callable[..., Any]] = {"attention_weights": attention_weights}
