"""Normalization: by layer, batch, group and instance, by root mean square, by neighbouring channels.

The ops that learn statistics from their input return them beside the output, for the gradient: the mean and the
reciprocal standard deviation ``rstd = 1 / sqrt(var + eps)``.
"""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import finfo
from flambeau.ops.arithmetic import cast, computed, conj_of
from flambeau.ops.declare import composite

Tensor = Any
Size = Any
Number = Any
Xp = Any


def _moments(xp: Xp, x: Any, dims: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """``x - mean``, the mean and the variance over ``dims``, which are kept."""
    mean = xp.mean(x, dims, True)
    centered = xp.sub(x, mean)
    return centered, mean, xp.mean(xp.square(centered), dims, True)


def _normalized_cotangent(xp: Xp, g: Any, normal: Any, rstd: Any, dims: tuple[int, ...]) -> Any:
    """The cotangent of x from that of ``normal = (x - mean) * rstd``, both statistics being x's own."""
    along = xp.mul(normal, xp.mean(xp.mul(g, normal), dims, True))
    return xp.mul(xp.sub(xp.sub(g, xp.mean(g, dims, True)), along), rstd)


def _through_statistics(
    xp: Xp, gradient: Any, g_mean: Any, g_rstd: Any, input: Any, mean: Any, rstd: Any, count: int
) -> Any:
    """Add what reaches the input through the returned statistics, which only a second backward pass asks for."""
    if g_mean is not None:
        gradient = xp.add(gradient, cast(xp, xp.div(g_mean, count), input))
    if g_rstd is not None:
        cube = xp.mul(xp.square(rstd), rstd)
        centered = xp.sub(computed(xp, input), mean)
        gradient = xp.sub(gradient, cast(xp, xp.mul(centered, xp.div(xp.mul(g_rstd, cube), count)), input))
    return gradient


# -- layer -----------------------------------------------------------------------------------------------------------


@composite(public=())
def native_layer_norm(
    xp: Xp, input: Tensor, normalized_shape: Size, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(x - mean) * rstd * weight + bias`` over the last dimensions, and the statistics (of size 1 there).

    Args:
        normalized_shape: the sizes of these dimensions, and the shape of weight and bias.
    """
    ndim = len(input.shape)
    dims = tuple(range(ndim - len(normalized_shape), ndim))
    centered, mean, variance = _moments(xp, computed(xp, input), dims)
    rstd = xp.rsqrt(xp.add(variance, eps))
    out = xp.mul(centered, rstd)
    if weight is not None:
        out = xp.mul(out, computed(xp, weight))
    if bias is not None:
        out = xp.add(out, computed(xp, bias))
    return cast(xp, out, input), mean, rstd


@native_layer_norm.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    input: Any,
    normalized_shape: Any,
    weight: Any,
    result_1: Any,
    result_2: Any,
) -> tuple[Any, Any, Any]:
    mean, rstd = result_1, result_2
    out = xp.full_like(input, 0) if g[0] is None else g[0]
    gi, gw, gb = xp.native_layer_norm_backward(out, input, mean, rstd, weight, normalized_shape, needs)
    if needs[0]:
        gi = _through_statistics(xp, gi, g[1], g[2], input, mean, rstd, math.prod(normalized_shape))
    return gi, gw, gb


@composite(public=())
def native_layer_norm_backward(
    xp: Xp,
    g: Tensor,
    input: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    normalized_shape: Size,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the cotangents of input, weight and bias, each None where it is not needed."""
    ndim = len(input.shape)
    first = ndim - len(normalized_shape)
    dims, lead = tuple(range(first, ndim)), tuple(range(first))
    gi = gw = gb = None
    if needs[0] or needs[1]:
        normal = xp.mul(xp.sub(computed(xp, input), mean), rstd)
        cotangent = computed(xp, g)
        if needs[0]:
            inner = cotangent if weight is None else xp.mul(cotangent, computed(xp, weight))
            gi = cast(xp, _normalized_cotangent(xp, inner, normal, rstd, dims), input)
        if needs[1]:
            gw = xp.mul(cotangent, normal)
            gw = cast(xp, xp.sum(gw, lead, False) if lead else gw, weight)
    if needs[2]:
        gb = xp.sum(g, lead, False) if lead else g
    return gi, gw, gb


def check_normalized_shape(op: str, input: Any, normalized_shape: Any, weight: Any, bias: Any) -> tuple[int, ...]:
    wanted = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    shape = tuple(input.shape)
    if not wanted:
        raise RuntimeError(f"{op}: Expected normalized_shape to be at least 1-dimensional, got {list(wanted)}")
    if shape[-len(wanted) :] != wanted:
        described = ", ".join(["*", *map(str, wanted)])
        raise RuntimeError(
            f"{op}: Given normalized_shape={list(wanted)}, expected input with shape [{described}], but got input of "
            f"size {list(shape)}"
        )
    for name, given in (("weight", weight), ("bias", bias)):
        if given is not None and tuple(given.shape) != wanted:
            raise RuntimeError(
                f"{op}: Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{list(given.shape)} and normalized_shape = {list(wanted)}"
            )
    return wanted


@composite(inline=True, public=("function", "functional"))
def layer_norm(
    xp: Xp,
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias``, the statistics over the last dimensions.

    Args:
        normalized_shape: the sizes of these dimensions (a number for the last one), and the shape of weight and bias.

    Raises:
        RuntimeError: when the last sizes of the input, or the shapes of weight and bias, are others.
    """
    shape = check_normalized_shape("layer_norm", input, normalized_shape, weight, bias)
    return xp.native_layer_norm(input, shape, weight, bias, eps)[0]


@composite(public=())
def native_rms_norm(xp: Xp, input: Tensor, normalized_shape: Size, weight: Tensor | None, eps: float) -> Tensor:
    """Return ``x / sqrt(mean(x^2) + eps) * weight``, the mean over the last dimensions."""
    dims = tuple(range(len(input.shape) - len(normalized_shape), len(input.shape)))
    x = computed(xp, input)
    out = xp.mul(x, xp.rsqrt(xp.add(xp.mean(xp.square(x), dims, True), eps)))
    return cast(xp, out if weight is None else xp.mul(out, computed(xp, weight)), input)


@native_rms_norm.joint_vjp
def _(
    xp: Xp, g: Any, needs: tuple[bool, ...], input: Any, normalized_shape: Any, weight: Any, eps: float
) -> tuple[Any, Any]:
    gi, gw = xp.native_rms_norm_backward(g, input, weight, normalized_shape, eps, needs)
    return gi, gw


@composite(public=())
def native_rms_norm_backward(
    xp: Xp,
    g: Tensor,
    input: Tensor,
    weight: Tensor | None,
    normalized_shape: Size,
    eps: float,
    needs: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Return the cotangents of input and weight, each None where it is not needed."""
    first = len(input.shape) - len(normalized_shape)
    dims, lead = tuple(range(first, len(input.shape))), tuple(range(first))
    x, cotangent = computed(xp, input), computed(xp, g)
    rstd = xp.rsqrt(xp.add(xp.mean(xp.square(x), dims, True), eps))
    normal = conj_of(xp, xp.mul(x, rstd))
    gi = gw = None
    if needs[0]:
        inner = cotangent if weight is None else xp.mul(cotangent, conj_of(xp, computed(xp, weight)))
        along = xp.mul(normal, xp.mean(xp.mul(inner, normal), dims, True))
        gi = cast(xp, xp.mul(xp.sub(inner, along), conj_of(xp, rstd)), input)
    if needs[1]:
        gw = xp.mul(cotangent, normal)
        gw = cast(xp, xp.sum(gw, lead, False) if lead else gw, weight)
    return gi, gw


@composite(inline=True, public=("function", "functional"))
def rms_norm(
    xp: Xp, input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Return ``x / sqrt(mean(x^2) + eps) * weight``, the mean over the last dimensions (Zhang and Sennrich, 2019).

    Args:
        normalized_shape: the sizes of these dimensions (a number for the last one), and the shape of the weight.
        eps: the smallest step of the input's dtype when left out.

    Raises:
        RuntimeError: when the last sizes of the input, or the weight's shape, are others.
    """
    shape = check_normalized_shape("rms_norm", input, normalized_shape, weight, None)
    return xp.native_rms_norm(input, shape, weight, finfo(xp.dtype_of(input)).eps if eps is None else eps)


# -- batch -----------------------------------------------------------------------------------------------------------


def _channel_shape(input: Any) -> tuple[int, ...]:
    return (1, input.shape[1]) + (1,) * (len(input.shape) - 2)


def _all_but_channels(input: Any) -> tuple[int, ...]:
    return (0, *range(2, len(input.shape)))


@composite(public=())
def native_batch_norm(
    xp: Xp,
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``(x - mean) * rstd * weight + bias`` for each channel (dimension 1), and the statistics, each (C,).

    Args:
        running_mean, running_var: (C,). In training they are changed, moved by ``momentum`` towards the batch's mean
            and unbiased variance; otherwise they are the statistics.
    """
    shape = _channel_shape(input)
    channels = (shape[1],)
    if training:
        dims = _all_but_channels(input)
        centered, mean, variance = _moments(xp, computed(xp, input), dims)
        rstd = xp.rsqrt(xp.add(variance, eps))
        save_mean, save_rstd = xp.reshape(mean, channels), xp.reshape(rstd, channels)
        if running_mean is not None:
            _move(xp, running_mean, save_mean, momentum)
        if running_var is not None:
            count = math.prod(input.shape) // max(shape[1], 1)
            unbiased = xp.mul(xp.reshape(variance, channels), count / max(count - 1, 1))
            _move(xp, running_var, unbiased, momentum)
    else:
        save_mean = xp.clone(computed(xp, running_mean))
        save_rstd = xp.rsqrt(xp.add(computed(xp, running_var), eps))
        centered, rstd = xp.sub(computed(xp, input), xp.reshape(save_mean, shape)), xp.reshape(save_rstd, shape)
    scale = rstd if weight is None else xp.mul(rstd, xp.reshape(computed(xp, weight), shape))
    out = xp.mul(centered, scale)
    if bias is not None:
        out = xp.add(out, xp.reshape(computed(xp, bias), shape))
    return cast(xp, out, input), save_mean, save_rstd


native_batch_norm.writes = ("running_mean", "running_var")


def _move(xp: Xp, running: Any, value: Any, momentum: float) -> None:
    value = cast(xp, value, running)
    xp.assign(running, xp.add(xp.mul(running, 1 - momentum), xp.mul(value, momentum)))


@native_batch_norm.joint_vjp
def _(
    xp: Xp, g: Any, needs: tuple[bool, ...], input: Any, weight: Any, training: bool, result_1: Any, result_2: Any
) -> tuple[Any, Any, Any, None, None]:
    mean, rstd = result_1, result_2
    out = xp.full_like(input, 0) if g[0] is None else g[0]
    gi, gw, gb = xp.native_batch_norm_backward(out, input, weight, mean, rstd, training, needs[:3])
    if needs[0] and training:
        shape = _channel_shape(input)
        g_mean, g_rstd = (None if c is None else xp.reshape(c, shape) for c in g[1:])
        count = math.prod(input.shape) // max(shape[1], 1)
        gi = _through_statistics(xp, gi, g_mean, g_rstd, input, xp.reshape(mean, shape), xp.reshape(rstd, shape), count)
    return gi, gw, gb, None, None


@composite(public=())
def native_batch_norm_backward(
    xp: Xp,
    g: Tensor,
    input: Tensor,
    weight: Tensor | None,
    save_mean: Tensor,
    save_rstd: Tensor,
    training: bool,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the cotangents of input, weight and bias, each None where it is not needed.

    Args:
        training: whether the statistics depend on the input.
    """
    shape = _channel_shape(input)
    dims = _all_but_channels(input)
    rstd = xp.reshape(save_rstd, shape)
    cotangent = computed(xp, g)
    gi = gw = gb = None
    normal = None
    if needs[1] or (needs[0] and training):
        normal = xp.mul(xp.sub(computed(xp, input), xp.reshape(save_mean, shape)), rstd)
    if needs[0]:
        scale = rstd if weight is None else xp.mul(rstd, xp.reshape(computed(xp, weight), shape))
        if training:
            gi = _normalized_cotangent(xp, cotangent, normal, scale, dims)
        else:
            gi = xp.mul(cotangent, scale)
        gi = cast(xp, gi, input)
    if needs[1]:
        gw = cast(xp, xp.sum(xp.mul(cotangent, normal), dims, False), weight)
    if needs[2]:
        gb = xp.sum(cotangent, dims, False)
        gb = cast(xp, gb, input if weight is None else weight)
    return gi, gw, gb


def check_channels(op: str, input: Any, **named: Any) -> None:
    """Check that each tensor in ``named`` that is given has one value a channel.

    Raises:
        RuntimeError: naming ``op``, the argument and both sizes.
    """
    channels = input.shape[1]
    for name, given in named.items():
        if given is not None and tuple(given.shape) != (channels,):
            raise RuntimeError(
                f"{op}: {name} should contain {channels} elements, one for each channel of the input of shape "
                f"{list(input.shape)}, not {math.prod(given.shape)} (shape {list(given.shape)})"
            )


# -- groups and instances --------------------------------------------------------------------------------------------


def _affine(xp: Xp, out: Any, weight: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    if weight is not None:
        out = xp.mul(out, xp.reshape(weight, shape))
    return out if bias is None else xp.add(out, xp.reshape(bias, shape))


@composite(public=("function", "functional"))
def group_norm(
    xp: Xp,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias``, the statistics over groups of channels.

    Args:
        input: (N, C, *).
        num_groups: into how many groups the C channels are divided.
        weight, bias: (C,).

    Raises:
        RuntimeError: when C is not divisible by ``num_groups``, or weight and bias are not of C elements.
    """
    if len(input.shape) < 2:
        raise RuntimeError(
            f"group_norm: Expected at least 2 dimensions for input tensor but received {len(input.shape)}"
        )
    batch, channels = input.shape[0], input.shape[1]
    if num_groups <= 0 or channels % num_groups:
        raise RuntimeError(
            f"group_norm: Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    check_channels("group_norm", input, weight=weight, bias=bias)
    size = math.prod(input.shape[1:]) // num_groups
    grouped = xp.reshape(input, (batch, num_groups, size))
    normal = xp.native_layer_norm(grouped, (size,), None, None, eps)[0]
    return _affine(xp, xp.reshape(normal, tuple(input.shape)), weight, bias, _channel_shape(input))


@composite(public=())
def native_instance_norm(xp: Xp, input: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias``, the statistics those of each channel of each sample."""
    lead, size = tuple(input.shape[:2]), math.prod(input.shape[2:])
    normal = xp.native_layer_norm(xp.reshape(input, (*lead, size)), (size,), None, None, eps)[0]
    return _affine(xp, xp.reshape(normal, tuple(input.shape)), weight, bias, _channel_shape(input))


@composite(dtype="float", public=("functional",))
def local_response_norm(
    xp: Xp, input: Tensor, size: int, alpha: Number = 1e-4, beta: Number = 0.75, k: Number = 1.0
) -> Tensor:
    """Return ``x / (k + alpha * mean(x^2)) ** beta``, the mean over ``size`` neighbouring channels.

    Channels beyond the first and the last count as 0 (Krizhevsky et al., 2012).

    Raises:
        ValueError: for an input of fewer than 3 dimensions.
    """
    ndim = len(input.shape)
    if ndim < 3:
        raise ValueError(f"local_response_norm: Expected 3D or higher dimensionality input (got {ndim} dimensions)")
    if 0 in input.shape:
        return input
    channels = input.shape[1]
    pads = (0, 0) * (ndim - 2) + (size // 2, (size - 1) // 2)
    squares = xp.constant_pad_nd(xp.square(input), pads, 0)
    total = xp.slice(squares, 1, 0, channels, 1)
    for offset in range(1, size):
        total = xp.add(total, xp.slice(squares, 1, offset, offset + channels, 1))
    return xp.div(input, xp.pow(xp.add(xp.mul(total, alpha / size), k), beta))
