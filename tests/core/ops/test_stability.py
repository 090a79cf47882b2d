"""Numerical stability: results at extreme arguments against exact arithmetic, wider floats or published values."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy
import pytest

import flambeau
import flambeau.nn.functional as F

KINDS = [flambeau.float32, flambeau.float64]
EPSILON = {flambeau.float32: 2.0**-23, flambeau.float64: 2.0**-52}


def close(found: Any, expected: Any, units: float = 4.0) -> None:
    """Equal within some units of the last place of the result's dtype."""
    values = numpy.asarray(found.detach().tolist(), numpy.longdouble)
    wanted = numpy.asarray(expected, numpy.longdouble)
    assert values.shape == wanted.shape
    bound = units * EPSILON[found.dtype] * numpy.abs(wanted)
    finite = numpy.isfinite(wanted)
    assert (values[~finite] == wanted[~finite]).all()
    assert (numpy.abs(values - wanted)[finite] <= bound[finite]).all(), (values, wanted)


# -- sums of exponentials --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_logsumexp_of_huge_values(kind: Any, shift: float) -> None:
    x = flambeau.tensor([shift, shift + 1.0, shift + 2.0], dtype=kind)
    exact = shift + math.log(math.fsum([1.0, math.e, math.e**2]))
    close(flambeau.logsumexp(x, 0), exact)


@pytest.mark.parametrize("kind", KINDS)
def test_logsumexp_of_infinities(kind: Any) -> None:
    rows = [[-math.inf, -math.inf], [-math.inf, 3.0], [math.inf, 3.0]]
    assert flambeau.logsumexp(flambeau.tensor(rows, dtype=kind), 1).tolist() == [-math.inf, 3.0, math.inf]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_softmax_does_not_see_the_size_of_scores(kind: Any, shift: float) -> None:
    x = flambeau.tensor([shift, shift + 1.0, shift - 8.0], dtype=kind)
    weights = [1.0, math.e, math.exp(-8)]
    total = math.fsum(weights)
    close(F.softmax(x, 0), [w / total for w in weights])
    close(F.log_softmax(x, 0), [math.log(w / total) for w in weights], 8)


@pytest.mark.parametrize("kind", KINDS)
def test_log_softmax_keeps_what_softmax_rounds_to_nothing(kind: Any) -> None:
    x = flambeau.tensor([0.0, -2000.0], dtype=kind)
    assert F.softmax(x, 0).tolist() == [1.0, 0.0]
    assert F.log_softmax(x, 0).tolist() == [0.0, -2000.0]


@pytest.mark.parametrize("kind", KINDS)
def test_cross_entropy_of_huge_logits(kind: Any) -> None:
    logits = flambeau.tensor([[3e4, 0.0, -3e4], [-3e4, -3e4, 0.0]], dtype=kind, requires_grad=True)
    loss = F.cross_entropy(logits, flambeau.tensor([2, 0]), reduction="none")
    assert loss.tolist() == [6e4, 3e4]
    loss.sum().backward()
    assert logits.grad.tolist() == [[1.0, 0.0, -1.0], [-1.0, 0.0, 1.0]]


@pytest.mark.parametrize("kind", KINDS)
def test_cross_entropy_close_to_certainty(kind: Any) -> None:
    """-log(1 / (1 + exp(-30))) = log1p(exp(-30)), which 1 - softmax has lost."""
    logits = flambeau.tensor([[30.0, 0.0]], dtype=kind, requires_grad=True)
    loss = F.cross_entropy(logits, flambeau.tensor([0]))
    if kind is flambeau.float64:
        assert math.isclose(loss.item(), math.log1p(math.exp(-30)), rel_tol=0.02)
    loss.backward()
    close(logits.grad[0, 1], math.exp(-30) / (1 + math.exp(-30)), 32)


# -- logistic functions ----------------------------------------------------------------------------------------------


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


TAILS = [-700.0, -90.0, -30.0, -1.0, 0.0, 1.0, 17.0, 30.0, 90.0, 700.0]


@pytest.mark.parametrize("kind", KINDS)
def test_logsigmoid_in_both_tails(kind: Any) -> None:
    values = [x for x in TAILS if kind is flambeau.float64 or abs(x) <= 80]
    close(F.logsigmoid(flambeau.tensor(values, dtype=kind)), [-softplus(-x) for x in values])


@pytest.mark.parametrize("kind", KINDS)
def test_softplus_in_both_tails(kind: Any) -> None:
    values = [x for x in TAILS if kind is flambeau.float64 or abs(x) <= 80]
    close(F.softplus(flambeau.tensor(values, dtype=kind), threshold=1e9), [softplus(x) for x in values])


@pytest.mark.parametrize("kind", KINDS)
def test_sigmoid_does_not_overflow(kind: Any) -> None:
    x = flambeau.tensor([-1e4, -20.0, 20.0, 1e4], dtype=kind, requires_grad=True)
    y = flambeau.sigmoid(x)
    close(y, [0.0, 1 / (1 + math.exp(20)), 1 / (1 + math.exp(-20)), 1.0])
    y.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", [0.0, 0.25, 1.0])
def test_bce_with_logits_at_huge_logits(kind: Any, target: float) -> None:
    values = [-1e4, -40.0, 0.0, 40.0, 1e4]
    logits = flambeau.tensor(values, dtype=kind, requires_grad=True)
    targets = flambeau.full((5,), target, dtype=kind)
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    expected = [target * softplus(-x) + (1 - target) * softplus(x) for x in values]
    close(loss, expected)
    loss.sum().backward()
    probabilities = [1 / (1 + math.exp(-x)) if x > -700 else 0.0 for x in values]
    numpy.testing.assert_allclose(logits.grad.tolist(), [p - target for p in probabilities], atol=1e-7, rtol=1e-6)


# -- the error function's tails --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_gelu_tails(kind: Any) -> None:
    """``x (1 + erf(x / sqrt(2))) / 2`` is as exact as erf, and 0 far on the left, not x times a rounding error."""
    values = [-12.0, -8.0, -6.0, -4.0, -2.0, 2.0, 6.0, 12.0]
    exact = numpy.array([x * 0.5 * math.erfc(-x / math.sqrt(2)) for x in values])
    found = F.gelu(flambeau.tensor(values, dtype=kind))
    assert (numpy.abs(found.tolist() - exact) <= 4 * EPSILON[kind] * numpy.abs(values)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gelu_slope_in_the_tail(kind: Any) -> None:
    values = [-8.0, -5.0, 5.0, 8.0]
    x = flambeau.tensor(values, dtype=kind, requires_grad=True)
    F.gelu(x).sum().backward()
    exact = numpy.array(
        [0.5 * math.erfc(-v / math.sqrt(2)) + v * math.exp(-v * v / 2) / math.sqrt(2 * math.pi) for v in values]
    )
    assert (numpy.abs(x.grad.tolist() - exact) <= 4 * EPSILON[kind]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_of_huge_numbers(kind: Any, approximate: str) -> None:
    x = flambeau.tensor([-1e12, 1e12], dtype=kind, requires_grad=True)
    found = F.gelu(x, approximate=approximate)
    assert found.tolist() == [0.0, x[1].item()]
    found.sum().backward()
    assert x.grad.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_erf_is_one_far_out(kind: Any) -> None:
    assert flambeau.erf(flambeau.tensor([-1e30, -7.0, 7.0, 1e30], dtype=kind)).tolist() == [-1.0, -1.0, 1.0, 1.0]


# -- statistics of large means ---------------------------------------------------------------------------------------


def exact_variance(values: Any, correction: int) -> float:
    """In rational arithmetic."""
    exact = [Fraction(float(v)) for v in values]
    mean = sum(exact) / len(exact)
    return float(sum((v - mean) ** 2 for v in exact) / (len(exact) - correction))


@pytest.mark.parametrize(("kind", "mean"), [(flambeau.float32, 1e4), (flambeau.float32, 1e8), (flambeau.float64, 1e8)])
@pytest.mark.parametrize("correction", [0, 1])
def test_variance_of_large_means(kind: Any, mean: float, correction: int) -> None:
    random = numpy.random.default_rng(0)
    spacing = float(numpy.spacing(numpy.float32(mean))) if kind is flambeau.float32 else 0.0
    x = flambeau.tensor(mean + random.normal(size=1000) * max(1.0, 100 * spacing), dtype=kind)
    exact = exact_variance(x.tolist(), correction)
    # The mean itself is rounded; its error enters squared.
    tolerance = 1e-3 if kind is flambeau.float32 else 1e-9
    assert math.isclose(flambeau.var(x, correction=correction).item(), exact, rel_tol=tolerance)
    assert math.isclose(flambeau.std(x, correction=correction).item(), math.sqrt(exact), rel_tol=tolerance)
    assert math.isclose(flambeau.var_mean(x, correction=correction)[0].item(), exact, rel_tol=tolerance)


def normalized(values: Any, eps: float) -> list[float]:
    exact = [Fraction(float(v)) for v in values]
    mean = sum(exact) / len(exact)
    scale = 1 / math.sqrt(float(sum((v - mean) ** 2 for v in exact) / len(exact)) + eps)
    return [float(v - mean) * scale for v in exact]


@pytest.mark.parametrize(("kind", "mean"), [(flambeau.float32, 1e5), (flambeau.float64, 1e8)])
@pytest.mark.parametrize("which", ["layer", "group", "instance", "batch"])
def test_normalization_of_large_means(kind: Any, mean: float, which: str) -> None:
    random = numpy.random.default_rng(1)
    x = flambeau.tensor(mean + random.normal(size=64), dtype=kind)
    if which == "layer":
        found = F.layer_norm(x.reshape(1, 64), (64,))
    elif which == "group":
        found = F.group_norm(x.reshape(1, 2, 32), 1)
    elif which == "instance":
        found = F.instance_norm(x.reshape(1, 1, 64))
    else:
        found = F.batch_norm(x.reshape(64, 1), None, None, training=True)
    expected = normalized(x.tolist(), 1e-5)
    numpy.testing.assert_allclose(found.reshape(-1).tolist(), expected, atol=2e-2 if kind is flambeau.float32 else 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_constant_rows_are_normalized_to_zero(kind: Any) -> None:
    x = flambeau.full((2, 7), 123456.0, dtype=kind)
    assert F.layer_norm(x, (7,)).abs().max().item() <= 1e-2 if kind is flambeau.float32 else 1e-9


# -- norms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "size"), [(flambeau.float32, 1e15), (flambeau.float64, 1e120)])
@pytest.mark.parametrize("sign", [1, -1])
def test_norms_of_values_whose_squares_are_still_numbers(kind: Any, size: float, sign: int) -> None:
    scale = size**sign
    x = flambeau.tensor([3 * scale, -4 * scale], dtype=kind)
    close(flambeau.linalg.vector_norm(x), 5 * float(x[0]) / 3, 4)
    close(flambeau.norm(x), 5 * float(x[0]) / 3, 4)
    close(flambeau.linalg.vector_norm(x, math.inf), abs(float(x[1])), 1)
    close(flambeau.linalg.vector_norm(x, 1), abs(float(x[0])) + abs(float(x[1])), 2)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_norms_at_zero_are_zero(kind: Any) -> None:
    x = flambeau.zeros(3, dtype=kind, requires_grad=True)
    (flambeau.norm(x) + F.pairwise_distance(x, x.detach(), eps=0.0) + F.normalize(x, dim=0).sum()).backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_cosine_similarity_of_huge_and_tiny_vectors(kind: Any) -> None:
    scale = 1e15 if kind is flambeau.float32 else 1e120
    a = flambeau.tensor([[3 * scale, 4 * scale]], dtype=kind)
    b = flambeau.tensor([[4e-3, 3e-3]], dtype=kind)
    close(F.cosine_similarity(a, b), [24 / 25], 8)


# -- small differences -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("x", [1e-30, 1e-10, -1e-10, 1e-3])
def test_expm1_and_log1p_near_zero(kind: Any, x: float) -> None:
    value = flambeau.tensor(x, dtype=kind)
    close(flambeau.expm1(value), math.expm1(value.item()))
    close(flambeau.log1p(value), math.log1p(value.item()))


@pytest.mark.parametrize("kind", KINDS)
def test_tanhshrink_and_mish_far_out_are_finite(kind: Any) -> None:
    x = flambeau.tensor([-1e4, 1e4], dtype=kind, requires_grad=True)
    total = F.tanhshrink(x) + F.mish(x) + F.silu(x) + F.elu(x) + F.selu(x) + F.celu(x)
    total.sum().backward()
    assert total.isfinite().all()
    assert x.grad.isfinite().all()
