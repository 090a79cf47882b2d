"""Samples of normalization layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import Maker, Sample, case, sample


def _affine(x: Any, weight: Any, bias: Any, shape: Any) -> Any:
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _layer_norm(x: Any, size: Any, weight: Any, bias: Any, eps: float) -> Any:
    dims = tuple(range(x.ndim - len(size), x.ndim))
    mean, rstd = x.mean(dims, keepdims=True), 1 / np.sqrt(x.var(dims, keepdims=True) + eps)
    return _affine((x - mean) * rstd, weight, bias, size), None, None


@case("native_layer_norm", _layer_norm, loose=10)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), (4,), make(4), make(4), 1e-3)
    yield sample(make(2, 3, 4), (3, 4), None, None, 1e-3)
    yield sample(make(3, 4), (4,), make(4), None, 1e-3)


@case("native_layer_norm_backward", None, gradients=False, loose=10)
def _(make: Maker) -> Iterator[Sample]:
    mean, rstd = make(3, 1), make(3, 1, low=0.5, high=2)
    yield sample(make(3, 4), make(3, 4), mean, rstd, make(4), (4,), (True, True, True))
    yield sample(make(3, 4), make(3, 4), mean, rstd, None, (4,), (True, False, False))


@case(
    "layer_norm", lambda x, size, weight=None, bias=None, eps=1e-5: _layer_norm(x, size, weight, bias, eps)[0], loose=10
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), (4,), make(4), make(4))
    yield sample(make(2, 3, 4), (3, 4))


def _rms_norm(x: Any, size: Any, weight: Any, eps: float) -> Any:
    dims = tuple(range(x.ndim - len(size), x.ndim))
    return _affine(x / np.sqrt((x * x).mean(dims, keepdims=True) + eps), weight, None, size)


@case("native_rms_norm", _rms_norm, loose=10)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), (4,), make(4), 1e-3)
    yield sample(make(2, 3, 4), (3, 4), None, 1e-3)


@case("native_rms_norm_backward", None, gradients=False, loose=10)
def _(make: Maker) -> Iterator[Sample]:
    for affine in (False, True):
        weight = make(4, low=0.5, high=1.5) if affine else None
        yield sample(make(3, 4), make(3, 4), weight, (4,), 1e-5, (True, affine))
    yield sample(make(2, 3, 4), make(2, 3, 4), make(3, 4), (3, 4), 1e-5, (True, True))
    yield sample(make(4), make(4), make(4), (4,), 1e-5, (False, True))


@case("rms_norm", lambda x, size, weight=None, eps=None: _rms_norm(x, size, weight, eps or 0.0), loose=10)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), (4,), make(4), 1e-3)
    yield sample(make(3, 4), (4,), eps=1e-2)


def _channels(x: Any) -> Any:
    return [-1 if d == 1 else 1 for d in range(x.ndim)]


def _batch_norm(
    x: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, momentum: float, eps: float
) -> Any:
    dims = tuple(d for d in range(x.ndim) if d != 1)
    mean, var = (x.mean(dims), x.var(dims)) if training else (running_mean, running_var)
    shape = _channels(x)
    normal = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)
    return _affine(normal, weight, bias, shape), mean, 1 / np.sqrt(var + eps)


@case(
    "native_batch_norm",
    _batch_norm,
    constant=("running_mean", "running_var"),
    mutates=("running_mean", "running_var"),
    loose=10,
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(4, 3), make(3), make(3), None, None, True, 0.1, 1e-3)
    yield sample(make(2, 3, 2, 2), None, None, make(3), make(3, low=0.5, high=2), True, 0.3, 1e-3)
    yield sample(make(2, 3, 2), make(3), make(3), make(3), make(3, low=0.5, high=2), False, 0.1, 1e-3)


@case("native_batch_norm_backward", None, gradients=False, loose=10)
def _(make: Maker) -> Iterator[Sample]:
    for training in (True, False):
        yield sample(
            make(2, 3, 2), make(2, 3, 2), make(3), make(3), make(3, low=0.5, high=2), training, (True, True, True)
        )
    yield sample(make(4, 3), make(4, 3), None, make(3), make(3, low=0.5, high=2), True, (True, False, False))


def _group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    rows = x.reshape(x.shape[0], groups, -1)
    normal = (rows - rows.mean(2, keepdims=True)) / np.sqrt(rows.var(2, keepdims=True) + eps)
    return _affine(normal.reshape(x.shape), weight, bias, _channels(x))


@case("group_norm", _group_norm, loose=10)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 4, 3), 2, make(4), make(4))
    yield sample(make(2, 4, 2, 2), 4)


@case("native_instance_norm", lambda x, w, b, eps: _group_norm(x, x.shape[1], w, b, eps), loose=10)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), make(3), make(3), 1e-3)
    yield sample(make(2, 3, 2, 2), None, None, 1e-3)


def _local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    channels = x.shape[1]
    mean = np.zeros_like(x)
    for c in range(channels):
        first = c - size // 2
        mean[:, c] = (x[:, max(first, 0) : min(first + size, channels)] ** 2).sum(1) / size
    return x / (k + alpha * mean) ** beta


@case("local_response_norm", _local_response_norm)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 5, 3), 3, 0.5)
    yield sample(make(2, 5, 3), 2, 0.5, 0.6, 1.2)
