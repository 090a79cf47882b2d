"""Activation functions and softmax, each one kernel, in the precision of the dtype, 16-bit floats in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.dtypes import FLOATING, INTEGER, float32, float64
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import contiguous
from flambeau_opencl.elements import ELEMENTS
from flambeau_opencl.elementwise import in_place, pointwise
from flambeau_opencl.maps import Number, run
from flambeau_opencl.rows import each, run_rows

relu = pointwise("relu", {FLOATING: "a > 0 || a != a ? a : 0", INTEGER: "a > 0 ? a : ({T})0"})
sigmoid = pointwise("sigmoid", {FLOATING: "1 / (1 + exp(-a))"})
silu = pointwise("silu", {FLOATING: "a / (1 + exp(-a))"})
_threshold = pointwise("threshold_backward", {FLOATING: "a <= t ? 0 : g"}, "gat")

# Phi(a) = (1 + erf(a / sqrt 2)) / 2, and the approximation by a hyperbolic tangent.
_ERF = "({T})0.5 * (1 + erf(a * ({T})0.7071067811865476))"
_TANH = "tanh(({T})0.7978845608028654 * a * (1 + ({T})0.044715 * a * a))"
_gelu = {
    "none": pointwise("gelu", {FLOATING: f"a * {_ERF}"}),
    "tanh": pointwise("gelu", {FLOATING: f"({{T}})0.5 * a * (1 + {_TANH})"}),
}
_gelu_backward = {
    "none": pointwise(
        "gelu_backward", {FLOATING: f"g * ({_ERF} + a * exp(({{T}})-0.5 * a * a) * ({{T}})0.3989422804014327)"}, "ga"
    ),
    "tanh": pointwise(
        "gelu_backward",
        {
            FLOATING: f"g * (({{T}})0.5 * (1 + {_TANH}) + ({{T}})0.5 * a * (1 - {_TANH} * {_TANH}) * "
            "(({T})0.7978845608028654 + ({T})0.1070322244089 * a * a))"
        },
        "ga",
    ),
}


def threshold_backward(g: Array, input: Array, threshold: float) -> Array:
    """``g`` where ``input > threshold`` or is NaN, elsewhere 0, whatever ``g`` is there."""
    return _threshold(g, input, threshold)


def _variant(approximate: str) -> str:
    if approximate not in _gelu:
        raise RuntimeError(f"gelu: approximate argument must be either none or tanh, but got {approximate!r}")
    return approximate


def gelu(input: Array, approximate: str = "none") -> Array:
    """``input`` times the probability that a standard normal number is smaller."""
    return _gelu[_variant(approximate)](input)


def gelu_backward(g: Array, input: Array, approximate: str = "none") -> Array:
    """``g`` times the derivative of :func:`gelu`."""
    return _gelu_backward[_variant(approximate)](g, input)


# -- softmax -------------------------------------------------------------------------------------------------------

_LOOP = "for (long j = 0; j < n0; ++j)"
_LARGEST = f"{{T}} m = -INFINITY; {_LOOP} {{{{ {{T}} v = IN0(x0 + j * n1); m = v > m || v != v ? v : m; }}}} "
_EXPONENTIALS = f"{{T}} s = 0; {_LOOP} s += exp(IN0(x0 + j * n1) - m); "

_BODIES = {
    "softmax": f"{_LARGEST}{_EXPONENTIALS}{_LOOP} OUT0(y0 + j * n2, exp(IN0(x0 + j * n1) - m) / s);",
    "log_softmax": f"{_LARGEST}{_EXPONENTIALS}s = log(s); {_LOOP} OUT0(y0 + j * n2, IN0(x0 + j * n1) - m - s);",
    "softmax_backward": (
        f"{{T}} s = 0; {_LOOP} s += IN0(x0 + j * n1) * IN1(x1 + j * n3); "
        f"{_LOOP} OUT0(y0 + j * n2, (IN0(x0 + j * n1) - s) * IN1(x1 + j * n3));"
    ),
    "log_softmax_backward": (
        f"{{T}} s = 0; {_LOOP} s += IN0(x0 + j * n1); "
        f"{_LOOP} OUT0(y0 + j * n2, IN0(x0 + j * n1) - exp(IN1(x1 + j * n3)) * s);"
    ),
}


# The same along rows in one piece. The maximum passes over NaN, which comes back with the sum.
_TOP = each("V v = L1; @m = v > @m ? v : @m;", "m:MAX", 4)
_ROWS = {
    "softmax": (
        f"{_TOP} T m = MAX(m); {each('V e = exp_nonpositive(L1 - m); @s += e; S0(e);', 's:SUM')} "
        f"T share = 1 / SUM(s); {each('S0(L0 * share);')}"
    ),
    "log_softmax": (
        f"{_TOP} T m = MAX(m); {each('@s += exp_nonpositive(L1 - m);', 's:SUM', 2)} T s = log(SUM(s)); "
        f"{each('S0(L1 - m - s);')}"
    ),
    "softmax_backward": f"{each('@s += L1 * L2;', 's:SUM', 4)} T s = SUM(s); {each('S0((L1 - s) * L2);')}",
    "log_softmax_backward": (
        f"{each('@s += L1;', 's:SUM', 4)} T s = SUM(s); {each('S0(L1 - exp_nonpositive(L2) * s);')}"
    ),
}


def without(array: Array, dim: int) -> Array:
    """A window on the first elements along ``dim``, without that dimension."""
    keep = [d for d in range(len(array.shape)) if d != dim]
    return array.window([array.shape[d] for d in keep], [array.strides[d] for d in keep], array.offset)


def _in_rows(name: str) -> Callable[..., Array]:
    def kernel(*arguments: Any) -> Array:
        *arrays, dim = arguments
        first = arrays[0]
        result = empty(first.runtime, first.shape, first.dtype)
        if not result.size:
            return result
        if first.shape and dim % len(first.shape) == len(first.shape) - 1 and first.dtype in (float32, float64):
            width = first.shape[-1]
            flat = [contiguous(array).reshaped(first.size // width, width) for array in arrays]
            run_rows(name, _ROWS[name], [result.reshaped(first.size // width, width)], flat)
            return result
        if not first.shape:
            arrays = [array.window((1,), (0,), array.offset) for array in arrays]
            own = result.window((1,), (1,), 0)
        else:
            own = result
        numbers: list[Number] = [("long", arrays[0].shape[dim]), ("long", arrays[0].strides[dim])]
        numbers += [("long", own.strides[dim])] + [("long", array.strides[dim]) for array in arrays[1:]]
        real = ELEMENTS[first.dtype].compute
        body = _BODIES[name].replace("{{", "{").replace("}}", "}").replace("{T}", real)
        raw = "r0 " + " ".join(f"a{i}" for i in range(len(arrays)))
        run(name, body, [without(own, dim)], [without(array, dim) for array in arrays], numbers, raw)
        return result

    kernel.__name__ = name
    kernel.__doc__ = f"``{name}`` along the dimension that is the last argument."
    return kernel


KERNELS: dict[str, Callable[..., Any]] = {
    "relu": relu,
    "relu_": in_place(relu),
    "threshold_backward": threshold_backward,
    "sigmoid": sigmoid,
    "sigmoid_": in_place(sigmoid),
    "silu": silu,
    "gelu": gelu,
    "gelu_backward": gelu_backward,
    **{name: _in_rows(name) for name in _BODIES},
}
