"""Averages of weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn, optim
from flambeau.optim import swa_utils


def models(count: int) -> list[Any]:
    flambeau.manual_seed(0)
    return [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(count)]


def values(model: Any) -> list[np.ndarray]:
    return [param.detach().numpy().astype("float64") for param in model.parameters()]


@pytest.mark.parametrize(
    "options", [{}, {"avg_fn": swa_utils.get_swa_avg_fn()}, {"multi_avg_fn": swa_utils.get_swa_multi_avg_fn()}]
)
def test_the_mean_of_all_models(options: dict[str, Any]) -> None:
    seen = models(4)
    averaged = swa_utils.AveragedModel(seen[0], **options)
    for model in seen:
        averaged.update_parameters(model)
    assert averaged.n_averaged.item() == 4
    for own, expected in zip(values(averaged), zip(*map(values, seen), strict=True), strict=True):
        np.testing.assert_allclose(own, np.mean(expected, 0), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "options", [{"avg_fn": swa_utils.get_ema_avg_fn(0.8)}, {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.8)}]
)
def test_exponential_averages(options: dict[str, Any]) -> None:
    seen = models(3)
    averaged = swa_utils.AveragedModel(seen[0], **options)
    for model in seen:
        averaged.update_parameters(model)
    for own, (a, b, c) in zip(values(averaged), zip(*map(values, seen), strict=True), strict=True):
        np.testing.assert_allclose(own, 0.64 * a + 0.16 * b + 0.2 * c, rtol=1e-5, atol=1e-7)


def test_buffers_are_copied_or_averaged() -> None:
    first, second = models(2)
    second[1].running_mean.fill_(4.0)
    copied = swa_utils.AveragedModel(first)
    averaged = swa_utils.AveragedModel(first, use_buffers=True)
    for average in (copied, averaged):
        average.update_parameters(first)
        average.update_parameters(second)
    assert copied.module[1].running_mean.tolist() == [4.0] * 4
    assert averaged.module[1].running_mean.tolist() == [2.0] * 4


def test_the_model_itself_is_left_alone() -> None:
    first, second = models(2)
    before = values(second)
    averaged = swa_utils.AveragedModel(first)
    averaged.update_parameters(first)
    averaged.update_parameters(second)
    for own, expected in zip(values(second), before, strict=True):
        np.testing.assert_array_equal(own, expected)
    x = flambeau.ones(2, 3)
    averaged.eval()
    np.testing.assert_array_equal(averaged(x).detach().numpy(), averaged.module(x).detach().numpy())


def test_update_bn_computes_the_statistics_of_the_data() -> None:
    random = np.random.default_rng(0)
    data = [random.normal(3, 2, (50, 4)).astype("float32") for _ in range(3)]
    model = nn.Sequential(nn.BatchNorm1d(4))
    model.eval()
    swa_utils.update_bn(([flambeau.from_numpy(batch), None] for batch in data), model)
    np.testing.assert_allclose(model[0].running_mean.numpy(), np.mean(data, (0, 1)), rtol=1e-5)
    variance = np.mean([batch.var(0, ddof=1) for batch in data], 0)
    np.testing.assert_allclose(model[0].running_var.numpy(), variance, rtol=1e-5)
    assert not model.training
    assert model[0].momentum == 0.1


def test_swalr_goes_to_its_rate_and_stays() -> None:
    optimizer = optim.SGD([nn.Parameter(flambeau.ones(1))], lr=1.0)
    scheduler = swa_utils.SWALR(optimizer, 0.2, anneal_epochs=4, anneal_strategy="linear")
    rates = []
    for _ in range(6):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(rates, [0.8, 0.6, 0.4, 0.2, 0.2, 0.2])


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"Invalid decay value 1.5 provided. .* in \[0,1\] range"):
        swa_utils.get_ema_multi_avg_fn(1.5)
    with pytest.raises(ValueError, match="Invalid decay value -1"):
        swa_utils.get_ema_avg_fn(-1)
    with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn"):
        swa_utils.AveragedModel(
            nn.Linear(1, 1), avg_fn=swa_utils.get_swa_avg_fn(), multi_avg_fn=swa_utils.get_swa_multi_avg_fn()
        )
    optimizer = optim.SGD([nn.Parameter(flambeau.ones(1))], lr=1.0)
    with pytest.raises(ValueError, match="anneal_strategy must be one of"):
        swa_utils.SWALR(optimizer, 0.1, anneal_strategy="step")
    with pytest.raises(ValueError, match="anneal_epochs must be equal or greater than 0, got -1"):
        swa_utils.SWALR(optimizer, 0.1, anneal_epochs=-1)
    with pytest.raises(ValueError, match="swa_lr must have the same length"):
        swa_utils.SWALR(optimizer, [0.1, 0.2])
