"""Activation functions.

Each one that is a kernel in many libraries has a gradient of its own; the rest is differentiated through its parts.
The formulas never compute an exponential of a large positive number, so neither value nor gradient overflows.
"""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import FLOATING
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.declare import composite

Tensor = Any
Dim = Any
Number = Any
DType = Any
Xp = Any

# -- piecewise linear ------------------------------------------------------------------------------------------------


@composite(dtype="same", pointwise=True, inplace=True)
def relu(xp: Xp, input: Tensor) -> Tensor:
    """Return ``max(input, 0)``."""
    return xp.clamp(input, 0, None)


relu.vjp(input=lambda xp, g, result: xp.threshold_backward(g, result, 0))


@composite(pointwise=True, public=())
def threshold_backward(xp: Xp, g: Tensor, input: Tensor, threshold: Number) -> Tensor:
    """Return ``g`` where ``input > threshold`` (or is NaN), elsewhere 0."""
    return xp.where(xp.le(input, threshold), 0, g)


threshold_backward.vjp(g=lambda xp, g, input, threshold: xp.threshold_backward(g, input, threshold))


@composite(dtype="same", pointwise=True, inplace=True, public=("function",))
def threshold(xp: Xp, input: Tensor, threshold: Number, value: Number) -> Tensor:
    """Return ``input`` where it is greater than ``threshold``, elsewhere ``value``."""
    return xp.where(xp.le(input, threshold), value, input)


threshold.vjp(input=lambda xp, g, input, threshold: xp.threshold_backward(g, input, threshold))


@composite(dtype="same", pointwise=True, inplace=True, public=())
def hardtanh(xp: Xp, input: Tensor, min_val: Number = -1.0, max_val: Number = 1.0) -> Tensor:
    """Return ``input`` limited to ``[min_val, max_val]``; at the limits the gradient is 0."""
    if xp.dtype_of(input).category < FLOATING:
        min_val, max_val = int(min_val), int(max_val)
    return xp.clamp(input, min_val, max_val)


hardtanh.vjp(input=lambda xp, g, result, min_val, max_val: _within(xp, g, result, min_val, max_val))


def _within(xp: Xp, g: Any, x: Any, low: float, high: float) -> Any:
    """``g`` where ``low < x < high``, elsewhere 0."""
    return xp.where(xp.logical_and(xp.gt(x, low), xp.lt(x, high)), g, 0)


@composite(dtype="float", pointwise=True, inplace=True, public=())
def leaky_relu(xp: Xp, input: Tensor, negative_slope: Number = 0.01) -> Tensor:
    """Return ``input`` where it is positive, elsewhere ``negative_slope * input``."""
    return xp.where(xp.gt(input, 0), input, xp.mul(input, negative_slope))


@composite(public=())
def leaky_relu_backward(xp: Xp, g: Tensor, input: Tensor, negative_slope: Number) -> Tensor:
    """Return ``g`` where ``input`` is positive, elsewhere ``negative_slope * g``."""
    return xp.where(xp.gt(input, 0), g, xp.mul(g, negative_slope))


leaky_relu.vjp(input=lambda xp, g, input, negative_slope: xp.leaky_relu_backward(g, input, negative_slope))
leaky_relu_backward.vjp(g=lambda xp, g, input, negative_slope: xp.leaky_relu_backward(g, input, negative_slope))


@composite(dtype="promote", public=("function", "method", "functional"))
def prelu(xp: Xp, input: Tensor, weight: Tensor) -> Tensor:
    """Return ``input`` where it is positive, elsewhere ``weight * input``.

    Args:
        weight: one element, or one a channel (the input's second dimension).

    Raises:
        RuntimeError: for any other number of weights.
    """
    ndim = len(input.shape)
    count = math.prod(weight.shape)
    channels = input.shape[1] if ndim > 1 else 1
    if len(weight.shape) > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {len(weight.shape)}")
    if count not in (1, channels):
        raise RuntimeError(
            f"prelu: Mismatch of parameter numbers and input channel size. Found parameter numbers = {count} and "
            f"channel size = {channels}."
        )
    weight = xp.reshape(weight, (1, count) + (1,) * (ndim - 2) if ndim > 1 else (1,) * ndim)
    return xp.where(xp.gt(input, 0), input, xp.mul(input, weight))


@composite(dtype="float", pointwise=True, inplace=True, public=())
def hardsigmoid(xp: Xp, input: Tensor) -> Tensor:
    """Return ``input / 6 + 1 / 2`` limited to [0, 1]."""
    return xp.div(xp.clamp(xp.add(input, 3), 0, 6), 6)


hardsigmoid.vjp(input=lambda xp, g, result: xp.div(_within(xp, g, result, 0, 1), 6))


@composite(dtype="float", pointwise=True, inplace=True, public=())
def hardswish(xp: Xp, input: Tensor) -> Tensor:
    """Return ``input * min(max(input + 3, 0), 6) / 6``."""
    return xp.mul(input, xp.div(xp.clamp(xp.add(input, 3), 0, 6), 6))


hardswish.vjp(
    input=lambda xp, g, input: xp.where(
        xp.le(input, -3),
        0,
        xp.where(xp.lt(input, 3), xp.mul(g, xp.add(xp.div(input, 3), 0.5)), g),
    )
)


@composite(dtype="float", pointwise=True, public=("function", "method", "functional"))
def hardshrink(xp: Xp, input: Tensor, lambd: Number = 0.5) -> Tensor:
    """Return 0 where ``|input| <= lambd``, elsewhere ``input``."""
    return xp.where(xp.le(xp.abs(input), lambd), 0, input)


hardshrink.vjp(input=lambda xp, g, input, lambd: xp.where(xp.le(xp.abs(input), lambd), 0, g))


@composite(dtype="float", pointwise=True, public=("functional",))
def softshrink(xp: Xp, input: Tensor, lambd: Number = 0.5) -> Tensor:
    """Return ``input`` moved towards 0 by ``lambd``, and 0 where ``|input| <= lambd``.

    Raises:
        RuntimeError: for a negative ``lambd``.
    """
    if lambd < 0:
        raise RuntimeError(f"softshrink: lambda must be greater or equal to 0, but found to be {lambd}.")
    moved = xp.sub(input, xp.mul(xp.sign(input), lambd))
    return xp.where(xp.le(xp.abs(input), lambd), 0, moved)


softshrink.vjp(input=lambda xp, g, input, lambd: xp.where(xp.le(xp.abs(input), lambd), 0, g))


# -- exponential -----------------------------------------------------------------------------------------------------


@composite(dtype="float", pointwise=True, inplace=True)
def sigmoid(xp: Xp, input: Tensor) -> Tensor:
    """Return ``1 / (1 + exp(-input))``."""
    if xp.dtype_of(input).is_complex:
        return xp.div(1.0, xp.add(xp.exp(xp.neg(input)), 1.0))
    small = xp.exp(xp.neg(xp.abs(input)))
    return xp.div(xp.where(xp.ge(input, 0), 1.0, small), xp.add(small, 1.0))


sigmoid.vjp(input=lambda xp, g, result: xp.sigmoid_backward(g, result))


@composite(pointwise=True, public=())
def sigmoid_backward(xp: Xp, g: Tensor, result: Tensor) -> Tensor:
    """Return ``g * result * (1 - result)``, with the conjugate of complex results: the cotangent of what ``result`` is
    the sigmoid of."""
    result = conj_of(xp, result)
    return xp.mul(g, xp.mul(result, xp.sub(1.0, result)))


@composite(dtype="float", pointwise=True, public=("functional",))
def logsigmoid(xp: Xp, input: Tensor) -> Tensor:
    """Return ``log(sigmoid(input))``."""
    return xp.sub(xp.clamp(input, None, 0), xp.log1p(xp.exp(xp.neg(xp.abs(input)))))


logsigmoid.vjp(input=lambda xp, g, input: xp.mul(g, xp.sigmoid(xp.neg(input))))


@composite(dtype="float", pointwise=True, public=("functional",))
def softplus(xp: Xp, input: Tensor, beta: Number = 1.0, threshold: Number = 20.0) -> Tensor:
    """Return ``log(1 + exp(beta * input)) / beta``, and ``input`` itself where ``beta * input > threshold``."""
    scaled = xp.mul(input, beta)
    smooth = xp.add(xp.clamp(scaled, 0, None), xp.log1p(xp.exp(xp.neg(xp.abs(scaled)))))
    return xp.where(xp.gt(scaled, threshold), input, xp.div(smooth, beta))


def _softplus_vjp(xp: Xp, g: Any, input: Any, beta: float, threshold: float) -> Any:
    scaled = xp.mul(input, beta)
    return xp.where(xp.gt(scaled, threshold), g, xp.mul(g, xp.sigmoid(scaled)))


softplus.vjp(input=_softplus_vjp)


@composite(dtype="float", pointwise=True, inplace=True, public=())
def elu(xp: Xp, input: Tensor, alpha: Number = 1.0, scale: Number = 1.0, input_scale: Number = 1.0) -> Tensor:
    """Return ``scale * input`` where it is positive, elsewhere ``scale * alpha * (exp(input_scale * input) - 1)``."""
    negative = xp.mul(xp.expm1(xp.mul(xp.clamp(input, None, 0), input_scale)), alpha * scale)
    return xp.where(xp.gt(input, 0), xp.mul(input, scale), negative)


def _elu_vjp(xp: Xp, g: Any, input: Any, alpha: float, scale: float, input_scale: float) -> Any:
    slope = xp.mul(xp.exp(xp.mul(xp.clamp(input, None, 0), input_scale)), alpha * scale * input_scale)
    return xp.mul(g, xp.where(xp.gt(input, 0), scale, slope))


elu.vjp(input=_elu_vjp)

# Klambauer et al., "Self-normalizing neural networks", 2017: with these two, mean 0 and variance 1 are a fixed point.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@composite(dtype="float", pointwise=True, inplace=True, public=("function",))
def selu(xp: Xp, input: Tensor) -> Tensor:
    """Return ``scale * (max(input, 0) + min(alpha * (exp(input) - 1), 0))`` with the constants of Klambauer et al."""
    return xp.elu(input, SELU_ALPHA, SELU_SCALE, 1.0)


selu.vjp(input=lambda xp, g, input: _elu_vjp(xp, g, input, SELU_ALPHA, SELU_SCALE, 1.0))


@composite(dtype="float", pointwise=True, inplace=True, public=("function",))
def celu(xp: Xp, input: Tensor, alpha: Number = 1.0) -> Tensor:
    """Return ``max(input, 0) + min(alpha * (exp(input / alpha) - 1), 0)``.

    Raises:
        RuntimeError: when ``alpha`` is 0.
    """
    if alpha == 0:
        raise RuntimeError("celu: ZeroDivisionError: alpha cannot be 0 for CELU")
    return xp.elu(input, alpha, 1.0, 1.0 / alpha)


@composite(dtype="float", pointwise=True, inplace=True, public=())
def silu(xp: Xp, input: Tensor) -> Tensor:
    """Return ``input * sigmoid(input)``."""
    return xp.mul(input, xp.sigmoid(input))


def _silu_vjp(xp: Xp, g: Any, input: Any) -> Any:
    s = xp.sigmoid(input)
    return xp.mul(g, xp.mul(s, xp.add(xp.mul(input, xp.sub(1.0, s)), 1.0)))


silu.vjp(input=_silu_vjp)


@composite(dtype="float", pointwise=True, inplace=True, public=())
def mish(xp: Xp, input: Tensor) -> Tensor:
    """Return ``input * tanh(log(1 + exp(input)))``."""
    return xp.mul(input, xp.tanh(xp.softplus(input, 1.0, 20.0)))


def _mish_vjp(xp: Xp, g: Any, input: Any) -> Any:
    t = xp.tanh(xp.softplus(input, 1.0, 20.0))
    inner = xp.mul(xp.mul(input, xp.sigmoid(input)), xp.sub(1.0, xp.mul(t, t)))
    return xp.mul(g, xp.add(t, inner))


mish.vjp(input=_mish_vjp)

_TANH_SCALE = math.sqrt(2 / math.pi)
_TANH_CUBIC = 0.044715


@composite(dtype="float", pointwise=True, public=("functional",))
def gelu(xp: Xp, input: Tensor, approximate: str = "none") -> Tensor:
    """Return ``input * P(X <= input)``, X standard normal (Hendrycks and Gimpel, 2016).

    Args:
        approximate: ``"none"``, or ``"tanh"`` for ``input / 2 * (1 + tanh(sqrt(2 / pi) (input + 0.044715 input^3)))``.

    Raises:
        RuntimeError: for another ``approximate``.
    """
    if approximate == "none":
        twice = xp.add(xp.erf(xp.mul(input, math.sqrt(0.5))), 1.0)
    elif approximate == "tanh":
        twice = xp.add(xp.tanh(_gelu_inner(xp, input)), 1.0)
    else:
        raise RuntimeError(f"gelu: approximate argument must be either none or tanh, but got {approximate!r}")
    return xp.mul(xp.mul(input, 0.5), twice)


def _gelu_inner(xp: Xp, x: Any) -> Any:
    cubic = xp.mul(xp.mul(xp.mul(x, x), x), _TANH_CUBIC)
    return xp.mul(xp.add(x, cubic), _TANH_SCALE)


gelu.vjp(input=lambda xp, g, input, approximate: xp.gelu_backward(g, input, approximate))


@composite(pointwise=True, public=())
def gelu_backward(xp: Xp, g: Tensor, input: Tensor, approximate: str) -> Tensor:
    """Return ``g`` times the derivative of :func:`gelu`."""
    square = xp.mul(input, input)
    if approximate == "none":
        cdf = xp.mul(xp.add(xp.erf(xp.mul(input, math.sqrt(0.5))), 1.0), 0.5)
        pdf = xp.mul(xp.exp(xp.mul(square, -0.5)), 1 / math.sqrt(2 * math.pi))
        return xp.mul(g, xp.add(cdf, xp.mul(input, pdf)))
    t = xp.tanh(_gelu_inner(xp, input))
    inner_slope = xp.mul(xp.add(xp.mul(square, 3 * _TANH_CUBIC), 1.0), _TANH_SCALE)
    right = xp.mul(xp.mul(input, xp.sub(1.0, xp.mul(t, t))), inner_slope)
    return xp.mul(g, xp.mul(xp.add(xp.add(t, right), 1.0), 0.5))


@composite(dtype="float", pointwise=True, public=("functional",))
def softsign(xp: Xp, input: Tensor) -> Tensor:
    """Return ``input / (1 + |input|)``."""
    return xp.div(input, xp.add(xp.abs(input), 1.0))


@softsign.joint_vjp
def _(xp: Xp, g: Any, needs: tuple[bool, ...], input: Any) -> tuple[Any]:
    size = xp.abs(input)
    rest = xp.add(size, 1.0)
    if not xp.dtype_of(input).is_complex:
        return (xp.div(g, xp.square(rest)),)
    # The modulus moves with the input, so the function is not holomorphic.
    along = xp.div(xp.real(xp.mul(g, xp.conj(input))), xp.square(rest))
    return (xp.sub(xp.div(g, rest), xp.mul(xp.sgn(input), along)),)


@composite(dtype="float", pointwise=True, public=("functional",))
def tanhshrink(xp: Xp, input: Tensor) -> Tensor:
    """Return ``input - tanh(input)``."""
    return xp.sub(input, xp.tanh(input))


tanhshrink.vjp(input=lambda xp, g, input: xp.mul(g, conj_of(xp, xp.square(xp.tanh(input)))))


@composite(dtype="float", public=("functional",))
def glu(xp: Xp, input: Tensor, dim: Dim = -1) -> Tensor:
    """Return ``a * sigmoid(b)`` for the halves a and b of ``input`` along ``dim``.

    Raises:
        RuntimeError: when the size of ``dim`` is odd, or ``input`` has no dimensions.
    """
    if not input.shape:
        raise RuntimeError("glu: glu does not support 0-dimensional tensors")
    size = input.shape[dim]
    if size % 2:
        raise RuntimeError(f"glu: Halving dimension must be even, but dimension {dim} is size {size}")
    first = xp.slice(input, dim, 0, size // 2, 1)
    second = xp.slice(input, dim, size // 2, size, 1)
    return xp.mul(first, xp.sigmoid(second))


# -- softmax ---------------------------------------------------------------------------------------------------------


def _along(input: Any, dim: int) -> tuple[int, ...]:
    """``dim`` for a reduction; a scalar has none to reduce."""
    return (dim,) if input.shape else ()


@composite(dtype="float")
def softmax(xp: Xp, input: Tensor, dim: Dim) -> Tensor:
    """Return ``exp(input)`` divided by its sum along ``dim``; ``dtype=`` casts the input first."""
    dims = _along(input, dim)
    if 0 in input.shape:
        return xp.exp(input)
    e = xp.exp(xp.sub(input, xp.amax(input, dims, True)))
    return xp.div(e, xp.sum(e, dims, True))


softmax.vjp(input=lambda xp, g, result, dim: xp.softmax_backward(g, result, dim))


@softmax.keywords
def _(xp: Xp, input: Tensor, dim: Dim, *, dtype: DType | None = None) -> Tensor:
    return xp.softmax(input if dtype is None else xp.to_dtype(input, dtype), dim)


@composite(public=())
def softmax_backward(xp: Xp, g: Tensor, result: Tensor, dim: Dim) -> Tensor:
    """Return the cotangent of :func:`softmax`'s input: ``result * (g - sum(g * result))``."""
    return xp.mul(result, xp.sub(g, xp.sum(xp.mul(g, result), _along(g, dim), True)))


@composite(dtype="float")
def log_softmax(xp: Xp, input: Tensor, dim: Dim) -> Tensor:
    """Return ``input - log(sum(exp(input)))``, the sum along ``dim``; ``dtype=`` casts the input first."""
    dims = _along(input, dim)
    if 0 in input.shape:
        return xp.exp(input)
    shifted = xp.sub(input, xp.amax(input, dims, True))
    return xp.sub(shifted, xp.log(xp.sum(xp.exp(shifted), dims, True)))


log_softmax.vjp(input=lambda xp, g, result, dim: xp.log_softmax_backward(g, result, dim))


@log_softmax.keywords
def _(xp: Xp, input: Tensor, dim: Dim, *, dtype: DType | None = None) -> Tensor:
    return xp.log_softmax(input if dtype is None else xp.to_dtype(input, dtype), dim)


@composite(public=())
def log_softmax_backward(xp: Xp, g: Tensor, result: Tensor, dim: Dim) -> Tensor:
    """Return the cotangent of :func:`log_softmax`'s input: ``g - exp(result) * sum(g)``."""
    return xp.sub(g, xp.mul(xp.exp(result), xp.sum(g, _along(g, dim), True)))
