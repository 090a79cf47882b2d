"""What the operations of a graph compute, on arrays of float64; each returns a list."""

from __future__ import annotations

import itertools
from typing import Any

import numpy

Array = Any


def _windows(shape: Any, out: Any, padding: Any, stride: Any, dilation: Any, kernel: Any) -> Any:
    """For each place in the kernel the part of the padded image that it meets."""
    for offset in itertools.product(*map(range, kernel)):
        yield (
            offset,
            tuple(
                slice(o * d, o * d + (n - 1) * s + 1, s)
                for o, d, s, n in zip(offset, dilation, stride, out, strict=True)
            ),
        )


def _padded(shape: Any, padding: Any) -> tuple[int, ...]:
    return (*shape[:2], *[n + 2 * p for n, p in zip(shape[2:], padding, strict=True)])


def _inner(shape: Any, padding: Any) -> Any:
    return (..., *[slice(p, p + n) for n, p in zip(shape[2:], padding, strict=True)])


def fprop(shapes: Any, image: Array, weight: Array, padding: Any, stride: Any, dilation: Any) -> list[Array]:
    wide = numpy.zeros(_padded(image.shape, padding))
    wide[_inner(image.shape, padding)] = image
    out = numpy.zeros(shapes[0])
    groups = image.shape[1] // weight.shape[1]
    for group in range(groups):
        outs = slice(group * len(weight) // groups, (group + 1) * len(weight) // groups)
        ins = slice(group * weight.shape[1], (group + 1) * weight.shape[1])
        for offset, window in _windows(image.shape, out.shape[2:], padding, stride, dilation, weight.shape[2:]):
            out[:, outs] += numpy.einsum("nc...,oc->no...", wide[:, ins][(..., *window)], weight[outs][(..., *offset)])
    return [out]


def dgrad(shapes: Any, loss: Array, weight: Array, padding: Any, stride: Any, dilation: Any) -> list[Array]:
    wide = numpy.zeros(_padded(shapes[0], padding))
    groups = shapes[0][1] // weight.shape[1]
    for group in range(groups):
        outs = slice(group * len(weight) // groups, (group + 1) * len(weight) // groups)
        ins = slice(group * weight.shape[1], (group + 1) * weight.shape[1])
        for offset, window in _windows(shapes[0], loss.shape[2:], padding, stride, dilation, weight.shape[2:]):
            part = numpy.einsum("no...,oc->nc...", loss[:, outs], weight[outs][(..., *offset)])
            wide[:, ins][(..., *window)] += part
    return [wide[_inner(shapes[0], padding)]]


def wgrad(shapes: Any, image: Array, loss: Array, padding: Any, stride: Any, dilation: Any) -> list[Array]:
    wide = numpy.zeros(_padded(image.shape, padding))
    wide[_inner(image.shape, padding)] = image
    out = numpy.zeros(shapes[0])
    groups = image.shape[1] // out.shape[1]
    for group in range(groups):
        outs = slice(group * len(out) // groups, (group + 1) * len(out) // groups)
        ins = slice(group * out.shape[1], (group + 1) * out.shape[1])
        for offset, window in _windows(image.shape, loss.shape[2:], padding, stride, dilation, out.shape[2:]):
            found = wide[:, ins][(..., *window)].reshape(len(image), out.shape[1], -1)
            flat = loss[:, outs].reshape(len(image), len(out) // groups, -1)
            out[outs][(..., *offset)] = numpy.einsum("nop,ncp->oc", flat, found)
    return [out]


def _weights(q: Array, k: Array, scale: float, causal: bool) -> tuple[Array, Array]:
    """The weights, and the logarithm of each row's sum."""
    scores = q @ k.swapaxes(-1, -2) * scale
    if causal:
        scores = numpy.where(numpy.tri(*scores.shape[-2:], dtype=bool), scores, -numpy.inf)
    largest = scores.max(-1, keepdims=True)
    sums = numpy.log(numpy.exp(scores - largest).sum(-1, keepdims=True)) + largest
    return numpy.exp(scores - sums), sums


def sdpa(shapes: Any, q: Array, k: Array, v: Array, scale: float, causal: bool) -> list[Array]:
    weights, sums = _weights(q, k, scale, causal)
    return [weights @ v, sums][: len(shapes)]


def sdpa_backward(
    shapes: Any, q: Array, k: Array, v: Array, o: Array, g: Array, stats: Array, scale: float, causal: bool
) -> list[Array]:
    weights, sums = _weights(q, k, scale, causal)
    assert numpy.allclose(sums, stats, atol=1e-2) and numpy.allclose(weights @ v, o, atol=5e-2)
    of_scores = weights * (g @ v.swapaxes(-1, -2) - (g * o).sum(-1, keepdims=True))
    return [of_scores @ k * scale, of_scores.swapaxes(-1, -2) @ q * scale, weights.swapaxes(-1, -2) @ g]


def batchnorm(
    shapes: Any, x: Array, scale: Array, bias: Array, mean: Array, var: Array, epsilon: Array, momentum: Array
) -> list[Array]:
    dims = (0, *range(2, x.ndim))
    own, spread = x.mean(dims, keepdims=True), x.var(dims, keepdims=True)
    rstd = 1 / numpy.sqrt(spread + epsilon.item())
    count = x.size // x.shape[1]
    m = momentum.item()
    moved = (1 - m) * mean + m * own, (1 - m) * var + m * spread * count / (count - 1)
    return [(x - own) * rstd * scale + bias, own, rstd, *moved]


def batchnorm_backward(shapes: Any, g: Array, x: Array, scale: Array, mean: Array, rstd: Array) -> list[Array]:
    dims = (0, *range(2, x.ndim))
    normal = (x - mean) * rstd
    of_weight, of_bias = (g * normal).sum(dims, keepdims=True), g.sum(dims, keepdims=True)
    count = x.size // x.shape[1]
    return [scale * rstd * (g - (of_bias + normal * of_weight) / count), of_weight, of_bias]
