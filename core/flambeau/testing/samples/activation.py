"""Samples of activations, dropout and attention."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import FLOATS, HALF, Maker, Sample, case, sample

erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Any) -> Any:
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    return np.where(x * beta > threshold, x, np.logaddexp(0, x * beta) / beta)


def _elu(x: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Any:
    return scale * np.where(x > 0, x, alpha * np.expm1(x * input_scale))


def _gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def _selu(x: Any) -> Any:
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))


def pointwise(name: str, reference: Any, *variants: Any, **options: Any) -> None:
    """Samples of several shapes, and one for each further choice of arguments."""

    @case(name, reference, **{"dtypes": (*FLOATS, *HALF), **options})
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make.distinct(3, 4))
        for shape in ((), (5,), (2, 0, 3)):
            yield sample(make(*shape))
        if make.is_floating:
            yield sample(make.values([-30.0, -3.0, -0.3, 0.0, 0.3, 3.0, 30.0, math.nan]), smooth=False)
        for args in variants:
            yield sample(make.distinct(3, 4), *args)


pointwise("relu", lambda x: np.maximum(x, 0), dtypes=(*FLOATS, *HALF, "int64"))
pointwise("hardtanh", lambda x, low=-1.0, high=1.0: np.clip(x, low, high), (-0.6, 0.9), dtypes=FLOATS)
pointwise("leaky_relu", lambda x, slope=0.01: np.where(x > 0, x, slope * x), (0.2,))
pointwise("hardsigmoid", lambda x: np.clip(x / 6 + 0.5, 0, 1))
pointwise("hardswish", lambda x: x * np.clip(x + 3, 0, 6) / 6)
pointwise("hardshrink", lambda x, lambd=0.5: np.where(np.abs(x) <= lambd, 0, x), (0.9,))
pointwise(
    "softshrink", lambda x, lambd=0.5: np.where(np.isnan(x), x, np.sign(x) * np.maximum(np.abs(x) - lambd, 0)), (0.9,)
)
pointwise("sigmoid", _sigmoid)
pointwise("logsigmoid", lambda x: -np.logaddexp(0, -x))
pointwise("softplus", _softplus, (2.0, 1.0))
pointwise("elu", _elu, (0.7,), (1.2, 1.1, 0.8))
pointwise("selu", _selu)
pointwise("celu", lambda x, alpha=1.0: np.maximum(x, 0) + np.minimum(0, alpha * np.expm1(x / alpha)), (0.7,))
pointwise("silu", lambda x: x * _sigmoid(x))
pointwise("mish", lambda x: x * np.tanh(_softplus(x)))
pointwise("gelu", _gelu, ("tanh",))
pointwise("softsign", lambda x: x / (1 + np.abs(x)))
pointwise("tanhshrink", lambda x: x - np.tanh(x))


@case("threshold", lambda x, threshold, value: np.where(x > threshold, x, value))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(3, 4), 0.1, -2.0)


@case("threshold_backward", lambda g, x, threshold: np.where(x > threshold, g, 0), constant=("input",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make.distinct(3, 4), 0.1)


@case("leaky_relu_backward", lambda g, x, slope: np.where(x > 0, g, slope * g), constant=("input",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make.distinct(3, 4), 0.1)
    yield sample(make(3, 4), make.distinct(3, 4), -0.5)


@case("sigmoid_backward", lambda g, result: g * result * (1 - result))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3, 4))


@case("tanh_backward", lambda g, result: g * (1 - result * result))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3, 4))


def _gelu_backward(g: Any, x: Any, approximate: str) -> Any:
    step = 1e-5
    return g * (_gelu(x + step, approximate) - _gelu(x - step, approximate)) / (2 * step)


@case("gelu_backward", _gelu_backward, loose=1e4, dtypes=("float64",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3, 4), "none")
    yield sample(make(3, 4), make(3, 4), "tanh")


def _prelu(x: Any, weight: Any) -> Any:
    shape = [-1 if d == 1 else 1 for d in range(x.ndim)] if weight.size > 1 else [1] * x.ndim
    return np.where(x > 0, x, x * weight.reshape(shape))


@case("prelu", _prelu)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(2, 3, 4), make(3))
    yield sample(make.distinct(2, 3), make(1))


def _glu(x: Any, dim: int = -1) -> Any:
    first, second = np.split(x, 2, dim)
    return first * _sigmoid(second)


@case("glu", _glu)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4))
    yield sample(make(4, 3), 0)


# -- softmax -----------------------------------------------------------------------------------------------------------


def softmax(x: Any, dim: int) -> Any:
    if x.ndim == 0:
        return np.ones(())
    e = np.exp(x - x.max(dim, keepdims=True))
    return e / e.sum(dim, keepdims=True)


for _name, _reference in (("softmax", softmax), ("log_softmax", lambda x, dim: np.log(softmax(x, dim)))):

    @case(_name, _reference, dtypes=(*FLOATS, *HALF))
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(3, 4), 1)
        yield sample(make(2, 3, 4), 0)
        yield sample(make(2, 3, 4), -2)
        yield sample(make(), 0)
        yield sample(make(2, 3, low=50, high=60), 1, smooth=False)


@case("softmax_backward", lambda g, result, dim: result * (g - (g * result).sum(dim, keepdims=True)))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3, 4, low=0.1, high=0.5), 1)
    yield sample(make(2, 3, 4), make(2, 3, 4, low=0.1, high=0.5), 0)


@case("log_softmax_backward", lambda g, result, dim: g - np.exp(result) * g.sum(dim, keepdims=True))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3, 4, low=-3, high=-1), 1)


# -- dropout -----------------------------------------------------------------------------------------------------------


@case("apply_dropout", lambda x, u, p: np.where(u >= p, x / (1 - p) if p < 1 else 0, 0), constant=("uniform",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3, 4, low=0, high=1), 0.3)
    yield sample(make(2, 3, 4), make(2, 3, 1, low=0, high=1), 0.5)
    yield sample(make(3), make(3, low=0, high=1), 1.0)


def _alpha_dropout(x: Any, u: Any, p: float) -> Any:
    limit = -1.0507009873554805 * 1.6732632423543772
    a = ((1 - p) * (1 + p * limit**2)) ** -0.5
    return a * np.where(u >= p, x, limit) - a * p * limit


@case("apply_alpha_dropout", _alpha_dropout, constant=("uniform",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3, 4, low=0, high=1), 0.3)


@case("apply_rrelu", lambda x, u, low, high: np.where(x < 0, x * (u * (high - low) + low), x), constant=("uniform",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.distinct(3, 4), make(3, 4, low=0, high=1), 0.1, 0.4)


# -- attention ---------------------------------------------------------------------------------------------------------


def _weights(query: Any, key: Any, mask: Any, is_causal: bool, scale: float) -> Any:
    scores = query @ np.swapaxes(key, -1, -2) * scale
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if is_causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    return softmax(scores, -1)


@case("attention_weights", _weights, constant=("attn_mask",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), make(2, 5, 4), None, False, 0.5)
    yield sample(make(2, 3, 4), make(2, 3, 4), None, True, 0.5)
    yield sample(make(2, 3, 4), make(2, 5, 4), make(3, 5), False, 0.5)


@case(
    "attention", lambda q, k, v, mask, causal, scale: _weights(q, k, mask, causal, scale) @ v, constant=("attn_mask",)
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), make(2, 5, 4), make(2, 5, 6), None, False, 0.5)
    yield sample(make(2, 3, 4), make(2, 3, 4), make(2, 3, 2), None, True, 0.5)
    yield sample(make(2, 3, 4), make(2, 5, 4), make(2, 5, 6), make(3, 5), False, 0.5)
    yield sample(make(1, 2, 3, 4), make(2, 2, 5, 4), make(2, 1, 5, 6), None, True, 0.5)


def _with_dropout(
    q: Any, k: Any, v: Any, mask: Any, causal: bool, scale: float, p: float, seed: int, offset: int
) -> Any:
    weights = _weights(q, k, mask, causal, scale)
    drawn = np.random.Generator(np.random.Philox(key=seed, counter=offset)).random(weights.shape, np.float32)
    return np.where(drawn >= p, weights / (1 - p), 0) @ v


@case("attention_with_dropout", _with_dropout, constant=("attn_mask",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), make(2, 5, 4), make(2, 5, 6), None, False, 0.5, 0.25, 7, 3)
    yield sample(make(1, 2, 3, 4), make(2, 2, 5, 4), make(2, 1, 5, 6), None, True, 0.5, 0.5, 1, 0)
    yield sample(make(2, 3, 4), make(2, 5, 4), make(2, 5, 6), make(3, 5), False, 0.5, 0.25, 2**40, 2**33)


@case("attention_with_dropout_backward", None, gradients=False)
def _(make: Maker) -> Iterator[Sample]:
    for mask, is_causal in ((None, True), (make(3, 5), False)):
        tensors = make(2, 3, 4), make(2, 5, 4), make(2, 5, 6)
        settings = mask, is_causal, 0.5, 0.25, 7, 3, (True, True, True, mask is not None)
        yield sample(make(2, 3, 6), *tensors, *settings)


@case("attention_backward", None, gradients=False)
def _(make: Maker) -> Iterator[Sample]:
    for mask, is_causal in ((None, False), (None, True), (make(3, 5), False)):
        tensors = make(2, 3, 4), make(2, 5, 4), make(2, 5, 6)
        yield sample(make(2, 3, 6), *tensors, mask, is_causal, 0.5, (True, True, True, mask is not None))
    broadcast = make(1, 2, 3, 4), make(2, 2, 5, 4), make(2, 1, 5, 6)
    yield sample(make(2, 2, 3, 6), *broadcast, None, True, 0.5, (True, True, True, False))
