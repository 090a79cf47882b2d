"""Activation functions and softmax, each one kernel; 16-bit floats are computed with in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy

from flambeau_cupy.decomposition import decomposed
from flambeau_cupy.elements import compute, own_dtype
from flambeau_cupy.elementwise import has_expression, pointwise
from flambeau_cupy.layout import empty_like
from flambeau_cupy.maps import run
from flambeau_cupy.rows import run_rows

Array = Any
Kernel = Callable[..., Any]

# Phi(a) = (1 + erf(a / sqrt 2)) / 2, and the approximation by a hyperbolic tangent.
_ERF = "({T})0.5 * (1 + erf({0} * ({T})0.7071067811865476))"
_TANH = "tanh(({T})0.7978845608028654 * {0} * (1 + ({T})0.044715 * {0} * {0}))"

_GELU = {"none": f"{{0}} * {_ERF}", "tanh": f"({{T}})0.5 * {{0}} * (1 + {_TANH})"}
_GELU_BACKWARD = {
    "none": f"{{1}} * ({_ERF} + {{0}} * exp(({{T}})-0.5 * {{0}} * {{0}}) * ({{T}})0.3989422804014327)",
    "tanh": (
        f"{{1}} * (({{T}})0.5 * (1 + {_TANH}) + ({{T}})0.5 * {{0}} * (1 - {_TANH} * {_TANH}) * "
        "(({T})0.7978845608028654 + ({T})0.1070322244089 * {0} * {0}))"
    ),
}
# Of the cotangent, then the input, as the op's operands come.
_GELU_BACKWARD = {
    name: text.replace("{0}", "{x}").replace("{1}", "{0}").replace("{x}", "{1}")
    for name, text in _GELU_BACKWARD.items()
}


def _fused(name: str, expression: str, doc: str) -> Kernel:
    def kernel(input: Array) -> Array:
        return decomposed(name, input) if input.dtype.kind == "c" else pointwise(name, expression, (input,))

    kernel.__name__ = name
    kernel.__doc__ = doc
    return has_expression(expression)(kernel)


def _in_place(kernel: Kernel) -> Kernel:
    """The kernel that writes the result of an elementwise one over its argument."""

    def into(target: Array) -> Array:
        target[...] = kernel(target)
        return target

    return into


relu = _fused("relu", "{0} > 0 || {0} != {0} ? {0} : ({T})0", "``max(input, 0)``; NaN stays.")
sigmoid = _fused("sigmoid", "1 / (1 + exp(-{0}))", "``1 / (1 + exp(-input))``.")
silu = _fused("silu", "{0} / (1 + exp(-{0}))", "``input * sigmoid(input)``.")


_THRESHOLD_BACKWARD = "{1} <= {2} ? ({T})0 : {0}"


@has_expression(_THRESHOLD_BACKWARD)
def threshold_backward(g: Array, input: Array, threshold: float) -> Array:
    """``g`` where ``input > threshold`` or is NaN, elsewhere 0, whatever ``g`` is there."""
    return pointwise("threshold_backward", _THRESHOLD_BACKWARD, (g, input, threshold))


_LEAKY_RELU = "{0} > 0 ? {0} : {0} * {1}"


@has_expression(_LEAKY_RELU)
def leaky_relu(input: Array, negative_slope: float = 0.01) -> Array:
    """``input`` where it is positive, elsewhere ``negative_slope * input``."""
    return pointwise("leaky_relu", _LEAKY_RELU, (input, float(negative_slope)))


_LEAKY_RELU_BACKWARD = "{1} > 0 ? {0} : {0} * {2}"


@has_expression(_LEAKY_RELU_BACKWARD)
def leaky_relu_backward(g: Array, input: Array, negative_slope: float) -> Array:
    """``g`` where ``input`` is positive, elsewhere ``negative_slope * g``."""
    return pointwise("leaky_relu_backward", _LEAKY_RELU_BACKWARD, (g, input, float(negative_slope)))


def _variant(approximate: str) -> str:
    if approximate not in _GELU:
        raise RuntimeError(f"gelu: approximate argument must be either none or tanh, but got {approximate!r}")
    return approximate


@has_expression(_GELU)
def gelu(input: Array, approximate: str = "none") -> Array:
    """``input`` times the probability that a standard normal number is smaller."""
    return pointwise("gelu", _GELU[_variant(approximate)], (input,))


@has_expression(_GELU_BACKWARD)
def gelu_backward(g: Array, input: Array, approximate: str = "none") -> Array:
    """``g`` times the derivative of :func:`gelu`."""
    return pointwise("gelu_backward", _GELU_BACKWARD[_variant(approximate)], (g, input))


def apply_dropout(input: Array, uniform: Array, p: float) -> Array:
    """``input / (1 - p)`` where ``uniform >= p``, elsewhere 0."""
    if p == 1 or input.dtype.kind == "c":
        return decomposed("apply_dropout", input, uniform, p)
    out = empty_like(input.shape, input.dtype, [input])
    numbers = [(compute(own_dtype(uniform)), p), (compute(own_dtype(input)), 1 / (1 - p))]
    run("dropout", "r0 = a0 * (a1 >= n0 ? n1 : 0);", [out], [input, uniform], numbers)
    return out


# -- softmax -------------------------------------------------------------------------------------------------------

_LARGEST = "{A} m = -INF; EACH(j) m = larger(m, ({A})IN0(j)); m = row_largest(m); "
_EXPONENTIALS = f"{_LARGEST}{{A}} s = 0; EACH(j) s += exp(({{A}})IN0(j) - m); s = row_sum(s); "

_BODIES = {
    "softmax": f"{_EXPONENTIALS}EACH(j) OUT0(j, exp(({{A}})IN0(j) - m) / s);",
    "log_softmax": f"{_EXPONENTIALS}s = log(s); EACH(j) OUT0(j, ({{A}})IN0(j) - m - s);",
    "softmax_backward": (
        "{A} s = 0; EACH(j) s += ({A})IN0(j) * IN1(j); s = row_sum(s); EACH(j) OUT0(j, (IN0(j) - s) * IN1(j));"
    ),
    "log_softmax_backward": (
        "{A} s = 0; EACH(j) s += IN0(j); s = row_sum(s); EACH(j) OUT0(j, IN0(j) - exp(({A})IN1(j)) * s);"
    ),
}


def _in_rows(name: str) -> Kernel:
    def kernel(*arguments: Any) -> Array:
        *arrays, dim = arguments
        first = arrays[0]
        if first.dtype.kind == "c":
            return decomposed(name, *arguments)
        result = cupy.empty(first.shape, first.dtype)
        body = _BODIES[name].replace("{A}", compute(own_dtype(first)))
        run_rows(name, body, [result], arrays, (dim,) if first.shape else ())
        return result

    kernel.__name__ = name
    kernel.__doc__ = f"``{name}`` along the dimension that is the last argument."
    return kernel


KERNELS: dict[str, Kernel] = {
    "relu": relu,
    "relu_": _in_place(relu),
    "threshold_backward": threshold_backward,
    "leaky_relu": leaky_relu,
    "leaky_relu_backward": leaky_relu_backward,
    "sigmoid": sigmoid,
    "sigmoid_": _in_place(sigmoid),
    "silu": silu,
    "gelu": gelu,
    "gelu_backward": gelu_backward,
    "apply_dropout": apply_dropout,
    **{name: _in_rows(name) for name in _BODIES},
}
