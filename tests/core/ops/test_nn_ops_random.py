"""Dropout and its relatives: how many elements fall out, what becomes of the others, and of the gradient."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from numpy.testing import assert_allclose

import flambeau
import flambeau.nn.functional as F


def ones(*shape: int) -> Any:
    return flambeau.ones(*shape, dtype=flambeau.float64)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(p: float) -> None:
    n = 40_000
    x = ones(n).requires_grad_()
    y = F.dropout(x, p)
    values, counts = numpy.unique(y.detach().numpy(), return_counts=True)
    assert_allclose(values, [0, 1 / (1 - p)])
    deviation = (n * p * (1 - p)) ** 0.5
    assert abs(counts[0] - n * p) < 5 * deviation
    (y * 3).sum().backward()
    assert_allclose(x.grad.numpy(), 3 * y.detach().numpy())


def test_dropout_follows_the_seed() -> None:
    flambeau.manual_seed(3)
    first = F.dropout(ones(50))
    assert first.tolist() != F.dropout(ones(50)).tolist()
    flambeau.manual_seed(3)
    assert first.tolist() == F.dropout(ones(50)).tolist()


def test_dropout_outside_training_and_at_the_ends() -> None:
    x = ones(5)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0).tolist() == [1.0] * 5
    assert F.dropout(x, 1.0).tolist() == [0.0] * 5
    assert F.alpha_dropout(x, 0.5).tolist() == x.tolist()


def test_dropout_in_place() -> None:
    start = ones(100).requires_grad_()
    x = start * 2
    assert F.dropout(x, 0.5, inplace=True) is x
    assert set(x.tolist()) == {0.0, 4.0}
    x.sum().backward()
    assert_allclose(start.grad.numpy(), x.detach().numpy())


@pytest.mark.parametrize(
    ("function", "shape"), [(F.dropout1d, (8, 40, 3)), (F.dropout2d, (8, 40, 3, 2)), (F.dropout3d, (8, 40, 2, 1, 2))]
)
def test_whole_channels_fall_out(function: Any, shape: tuple[int, ...]) -> None:
    y = function(ones(*shape)).numpy().reshape(320, -1)
    assert (y == y[:, :1]).all()
    assert 0 < (y[:, 0] == 0).mean() < 1
    unbatched = function(ones(*shape[1:])).numpy() if function is not F.dropout2d else y
    flat = unbatched.reshape(unbatched.shape[0], -1)
    assert (flat == flat[:, :1]).all()


@pytest.mark.parametrize("function", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_dropout_keeps_mean_and_variance(function: Any) -> None:
    x = flambeau.randn(400, 400, dtype=flambeau.float64)
    y = function(x, 0.2, True)
    assert abs(y.mean().item()) < 0.02
    assert abs(y.var().item() - 1) < 0.03


def test_rrelu_draws_slopes() -> None:
    x = (-ones(1000)).requires_grad_()
    y = F.rrelu(x, 0.2, 0.4, training=True)
    slopes = -y.detach().numpy()
    assert 0.2 <= slopes.min() < 0.22 and 0.38 < slopes.max() <= 0.4
    y.sum().backward()
    assert_allclose(x.grad.numpy(), slopes)


def test_gumbel_softmax_draws_the_classes_by_their_probabilities() -> None:
    probabilities = numpy.array([0.6, 0.3, 0.1])
    logits = flambeau.tensor(numpy.log(probabilities)).expand(20_000, 3).clone().requires_grad_()
    hard = F.gumbel_softmax(logits, tau=0.5, hard=True)
    assert_allclose(hard.detach().numpy().sum(1), 1)
    assert_allclose(hard.detach().numpy().mean(0), probabilities, atol=0.02)
    (hard * flambeau.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert logits.grad.abs().sum().item() > 0
    soft = F.gumbel_softmax(logits.detach(), tau=0.5)
    assert_allclose(soft.numpy().sum(1), 1)


def test_attention_dropout_keeps_the_mean() -> None:
    q = flambeau.zeros(1, 64, 8)
    v = flambeau.ones(1, 64, 4)
    out = F.scaled_dot_product_attention(q, q, v, dropout_p=0.5)
    assert len(set(out[0, :, 0].tolist())) > 1
    assert abs(out.mean().item() - 1) < 0.1
