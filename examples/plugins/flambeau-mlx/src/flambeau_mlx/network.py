"""Kernels for what networks are made of: softmax, layer norm, convolution and attention by MLX's own.

The gradients of convolution are MLX's, too: ``mx.vjp`` adds them to the graph, and what nobody uses of it is never
computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
from flambeau.devices import device
from flambeau.dispatch import load
from flambeau.dtypes import FLOATING
from flambeau.ops.declare import OPS

from flambeau_mlx.array import Array, fresh


def _decomposed(name: str, *args: Any) -> Any:
    return OPS[name].body(load(device("mlx")).xp, *args)


# -- softmax -----------------------------------------------------------------------------------------------------------


def softmax(input: Array, dim: int) -> Array:
    """``exp(input)`` divided by its sum along ``dim``."""
    if input.dtype.category != FLOATING or not input.size or not input.shape:
        return _decomposed("softmax", input, dim)
    return fresh(mx.softmax(input.value, dim, precise=True))


def log_softmax(input: Array, dim: int) -> Array:
    """``input - log(sum(exp(input)))``, the sum along ``dim``."""
    if input.dtype.category != FLOATING or not input.size or not input.shape:
        return _decomposed("log_softmax", input, dim)
    own = input.value
    x = own.astype(mx.float32)
    return fresh((x - mx.logsumexp(x, dim, True)).astype(own.dtype))


# -- layer norm --------------------------------------------------------------------------------------------------------


def _is_plain(input: Array, normalized_shape: tuple[int, ...]) -> bool:
    """Whether MLX's layer norm serves: float32, over the last dimension only."""
    return input.dtype.name == "float32" and len(normalized_shape) == 1 and input.size > 0


def native_layer_norm(
    input: Array, normalized_shape: tuple[int, ...], weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """``(x - mean) * rstd * weight + bias`` over the last dimensions, and the statistics."""
    if not _is_plain(input, normalized_shape):
        return _decomposed("native_layer_norm", input, normalized_shape, weight, bias, eps)
    x = input.value
    out = mx.fast.layer_norm(x, weight and weight.value, bias and bias.value, eps)
    # Computed if a gradient asks for them.
    return fresh(out), fresh(mx.mean(x, -1, True)), fresh(mx.rsqrt(mx.var(x, -1, True) + eps))


# -- convolution -------------------------------------------------------------------------------------------------------


def _channels_last(x: Any) -> Any:
    return mx.moveaxis(x, 1, -1)


def _convolved(geometry: tuple[Any, ...]) -> Callable[[Any, Any], Any]:
    """The convolution of MLX arrays, channels second, as a function of input and weight."""
    stride, padding, dilation, transposed, output_padding, groups = geometry
    stride, padding, dilation = list(stride), list(padding), list(dilation)

    def plain(x: Any, w: Any) -> Any:
        return mx.conv_general(x, _channels_last(w), stride, padding, dilation, 1, groups)

    def turned(x: Any, w: Any) -> Any:
        channels, inner, *kernel = w.shape
        # (C, O / groups, *) -> (O, *, C / groups)
        w = mx.moveaxis(w.reshape(groups, channels // groups, inner, *kernel), 1, -1).reshape(
            groups * inner, *kernel, channels // groups
        )
        before = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
        after = [n + extra for n, extra in zip(before, output_padding, strict=True)]
        return mx.conv_general(x, w, 1, (before, after), dilation, stride, groups, True)

    convolve = turned if transposed else plain
    return lambda x, w: mx.moveaxis(convolve(_channels_last(x), w), -1, 1)


def _is_served(input: Array, weight: Array, geometry: tuple[Any, ...]) -> bool:
    """Whether MLX's convolution serves: floats, nothing empty, no groups of volumes, no padding beyond a turned
    kernel."""
    _, padding, dilation, transposed, _, groups = geometry
    kernel = weight.shape[2:]
    inside = all(d * (k - 1) >= p for d, k, p in zip(dilation, kernel, padding, strict=True))
    planar = groups == 1 or len(kernel) < 3
    filled = 0 not in (*input.shape, *weight.shape)
    return input.dtype.category == FLOATING and filled and planar and (inside or not transposed)


def convolution(
    input: Array, weight: Array, bias: Array | None, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int,
) -> Array:  # fmt: skip
    """The convolution of (N, C, *sizes) with (O, C / groups, *kernel); transposed, with (C, O / groups, *kernel)."""
    geometry = stride, padding, dilation, transposed, output_padding, groups
    if not _is_served(input, weight, geometry):
        return _decomposed("convolution", input, weight, bias, *geometry)
    out = _convolved(geometry)(input.value, weight.value)
    if bias is not None:
        out = out + bias.value.reshape(-1, *[1] * (out.ndim - 2))
    return fresh(out)


def convolution_backward(
    g: Array, input: Array, weight: Array, stride: Any, padding: Any, dilation: Any, transposed: bool,
    output_padding: Any, groups: int, needs: tuple[bool, bool, bool],
) -> tuple[Array | None, Array | None, Array | None]:  # fmt: skip
    """The cotangents of input, weight and bias, each None where it is not needed."""
    geometry = stride, padding, dilation, transposed, output_padding, groups
    if not _is_served(input, weight, geometry) or not g.size:
        return _decomposed("convolution_backward", g, input, weight, *geometry, needs)
    x, w, cotangent = input.value, weight.value, g.value
    gi = gw = gb = None
    if needs[0]:
        gi = fresh(mx.vjp(lambda a: _convolved(geometry)(a, w), [x], [cotangent])[1][0])
    if needs[1]:
        gw = fresh(mx.vjp(lambda a: _convolved(geometry)(x, a), [w], [cotangent])[1][0])
    if needs[2]:
        gb = fresh(mx.sum(cotangent, (0, *range(2, cotangent.ndim))))
    return gi, gw, gb


# -- attention ---------------------------------------------------------------------------------------------------------


def attention(query: Array, key: Array, value: Array, attn_mask: Array | None, is_causal: bool, scale: float) -> Array:
    """``softmax(scale * query @ key.T + mask) @ value``: (..., L, E), (..., S, E), (..., S, V) -> (..., L, V).

    MLX's own takes batches of heads; its masks mean something else where a query may look nowhere, and its causal mask
    where L is not S.
    """
    shapes = query.shape, key.shape, value.shape
    heads = all(len(shape) == 4 and shape[:2] == query.shape[:2] and 0 not in shape for shape in shapes)
    square = query.shape[-2] == key.shape[-2] or not is_causal
    if attn_mask is not None or not heads or not square or query.dtype.category != FLOATING:
        return _decomposed("attention", query, key, value, attn_mask, is_causal, scale)
    mask = "causal" if is_causal else None
    return fresh(
        mx.fast.scaled_dot_product_attention(query.value, key.value, value.value, scale=float(scale), mask=mask)
    )


KERNELS: dict[str, Callable[..., Any]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "native_layer_norm": native_layer_norm,
    "convolution": convolution,
    "convolution_backward": convolution_backward,
    "attention": attention,
}
