"""Attention in blocks, beside the formula over all weights at once; every division into blocks gives the same."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy
import pytest

import flambeau
from flambeau import dispatch
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau_numpy import attention as module
from flambeau_numpy.backend import NumpyBackend

dispatch.load(flambeau.device("cpu"))
K = NumpyBackend().kernels()
RNG = numpy.random.default_rng(0)

SHAPES = [  # of the query, the key, and the width of the value
    ((5, 4), (7, 4), 3),
    ((3, 5, 4), (3, 5, 4), 4),
    ((2, 3, 6, 4), (2, 3, 9, 4), 2),
    ((2, 2, 3, 9, 4), (2, 2, 3, 6, 4), 5),
]
MASKS = ["none", "causal", "bools", "numbers", "nowhere"]


def masked(kind: str, queries: int, keys: int) -> tuple[Any, bool]:
    if kind == "bools":
        return RNG.random((queries, keys)) < 0.7, False
    if kind == "numbers":
        return RNG.standard_normal((1, queries, keys))[0], False
    if kind == "nowhere":
        mask = numpy.ones((queries, keys), bool)
        mask[1] = False
        return mask, False
    return None, kind == "causal"


def weights_of(query: Any, key: Any, mask: Any, is_causal: bool, scale: float) -> Any:
    scores = scale * query @ key.swapaxes(-1, -2)
    if is_causal:
        mask = numpy.tril(numpy.ones(scores.shape[-2:], bool))
    if mask is not None:
        scores = numpy.where(mask, scores, -numpy.inf) if mask.dtype == bool else scores + mask
    largest = scores.max(-1, keepdims=True)
    shares = numpy.exp(scores - numpy.where(numpy.isinf(largest), 0, largest))
    total = shares.sum(-1, keepdims=True)
    return shares / numpy.where(total == 0, 1, total)


@pytest.fixture(params=[(1, 2), (20, 3), (1 << 18, 128)], ids=["rows", "few", "whole"], autouse=True)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", request.param[0])
    monkeypatch.setattr(module, "QUERIES", request.param[1])


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_and_gradients(dtype: str, shapes: Any, kind: str) -> None:
    shape, key_shape, width = shapes
    query, key = RNG.standard_normal(shape), RNG.standard_normal(key_shape)
    value, g = RNG.standard_normal((*key_shape[:-1], width)), RNG.standard_normal((*shape[:-1], width))
    mask, is_causal = masked(kind, shape[-2], key_shape[-2])
    weights = weights_of(query, key, mask, is_causal, 0.5)
    of_weights = g @ value.swapaxes(-1, -2)
    of_scores = weights * (of_weights - (weights * of_weights).sum(-1, keepdims=True))
    expected = (
        0.5 * of_scores @ key, 0.5 * of_scores.swapaxes(-1, -2) @ query, weights.swapaxes(-1, -2) @ g
    )  # fmt: skip
    given = [x.astype(dtype) for x in (query, key, value)]
    if kind == "numbers":
        mask = mask.astype(dtype)
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    found = K["attention"](*given, mask, is_causal, 0.5)
    assert found.dtype == dtype
    numpy.testing.assert_allclose(found, weights @ value, tolerance, tolerance)
    needs = True, True, True, False
    gradients = K["attention_backward"](g.astype(dtype), *given, mask, is_causal, 0.5, needs)
    for own, wanted in zip(gradients, expected, strict=False):
        numpy.testing.assert_allclose(own, wanted, tolerance, tolerance)
    for only in range(3):
        needs = only == 0, only == 1, only == 2, False
        alone = K["attention_backward"](g.astype(dtype), *given, mask, is_causal, 0.5, needs)
        assert [x is None for x in alone] == [not needed for needed in needs]
        numpy.testing.assert_array_equal(alone[only], gradients[only])


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_dropout(shapes: Any, kind: str) -> None:
    """The numbers are those of the stream, in the order of the weights, in whatever blocks they are drawn."""
    shape, key_shape, width = shapes
    query, key = RNG.standard_normal(shape), RNG.standard_normal(key_shape)
    value, g = RNG.standard_normal((*key_shape[:-1], width)), RNG.standard_normal((*shape[:-1], width))
    mask, is_causal = masked(kind, shape[-2], key_shape[-2])
    weights = weights_of(query, key, mask, is_causal, 0.5)
    drawn = numpy.random.Generator(numpy.random.Philox(key=5, counter=11)).random(weights.shape, numpy.float32)
    factor = (drawn >= 0.25) / 0.75
    of_weights = g @ value.swapaxes(-1, -2) * factor
    of_scores = weights * (of_weights - (weights * of_weights).sum(-1, keepdims=True))
    arguments = query, key, value, mask, is_causal, 0.5, 0.25, 5, 11
    numpy.testing.assert_allclose(K["attention_with_dropout"](*arguments), weights * factor @ value, 1e-12, 1e-12)
    needs = True, True, True, False
    gq, gk, gv, _ = K["attention_with_dropout_backward"](g, *arguments, needs)
    numpy.testing.assert_allclose(gq, 0.5 * of_scores @ key, 1e-12, 1e-12)
    numpy.testing.assert_allclose(gk, 0.5 * of_scores.swapaxes(-1, -2) @ query, 1e-12, 1e-12)
    numpy.testing.assert_allclose(gv, (weights * factor).swapaxes(-1, -2) @ g, 1e-12, 1e-12)


@pytest.mark.parametrize("kept", [0, 1 << 24])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout_takes_numbers_of_the_generator(monkeypatch: pytest.MonkeyPatch, p: float, kept: int) -> None:
    functional = flambeau.nn.functional
    monkeypatch.setattr("flambeau.nn.functional._attention.KEPT", kept)
    query, key, value = (flambeau.randn(2, 5, 4, dtype=flambeau.float64) for _ in range(3))
    flambeau.manual_seed(3)
    found = functional.scaled_dot_product_attention(query, key, value, dropout_p=p)
    following = flambeau.rand(3)
    flambeau.manual_seed(3)
    weights = functional.dropout(flambeau.softmax(query @ key.mT / 2, -1), p)
    assert flambeau.allclose(found, weights @ value)
    assert flambeau.equal(flambeau.rand(3), following)
    with pytest.raises(ValueError, match="dropout probability has to be between 0 and 1, but got -0.5"):
        functional.scaled_dot_product_attention(query, key, value, dropout_p=-0.5)


def test_views_by_heads() -> None:
    query, key, value = (RNG.standard_normal((2, 6, 3, 4)).transpose(0, 2, 1, 3) for _ in range(3))
    found = K["attention"](query, key, value, None, True, 0.5)
    numpy.testing.assert_allclose(found, weights_of(query, key, None, True, 0.5) @ value, 1e-12)


@pytest.mark.parametrize("kind", ["none", "causal", "numbers"])
def test_gradients_by_finite_differences(kind: str) -> None:
    mask, is_causal = masked(kind, 5, 4)
    tensors = [flambeau.randn(2, n, 3, dtype=flambeau.float64, requires_grad=True) for n in (5, 4, 4)]
    if mask is not None:
        tensors.append(flambeau.tensor(mask, requires_grad=True))

    def function(query: Any, key: Any, value: Any, mask: Any = None) -> Any:
        return flambeau.nn.functional.scaled_dot_product_attention(query, key, value, mask, is_causal=is_causal)

    assert gradcheck(function, tensors)
    assert gradgradcheck(function, tensors)


def test_the_weights_are_never_there_together() -> None:
    """1024 queries and keys of 8 heads: all weights would take 32 MB."""
    query, key, value, g = (RNG.standard_normal((1, 8, 1024, 16), numpy.float32) for _ in range(4))
    settings = None, False, 0.25
    tracemalloc.start()
    try:
        K["attention"](query, key, value, *settings)
        K["attention_backward"](g, query, key, value, *settings, (True, True, True, False))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 << 20
