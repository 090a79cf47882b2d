"""The models are in the catalogue, see the past only, learn, and are saved and loaded."""

from __future__ import annotations

import math
from pathlib import Path

import flambeau
import numpy
import pytest
from flambeau import Tensor, catalogue, nn

from flambeau_tcn.models import TCN, CausalConv1d


def test_they_are_in_the_catalogue() -> None:
    assert {"tcn_forecaster", "tcn_classifier"} <= set(catalogue.list_models())
    forecaster = catalogue.get_model("tcn_forecaster", in_features=3, horizon=5)
    assert forecaster(flambeau.zeros(2, 20, 3)).shape == (2, 5, 3)
    classifier = catalogue.get_model("tcn_classifier", in_features=3, num_classes=4, channels=(8, 6))
    assert classifier(flambeau.zeros(2, 20, 3)).shape == (2, 4)


def test_a_causal_convolution_is_the_sum_over_the_past() -> None:
    flambeau.manual_seed(0)
    conv = CausalConv1d(2, 3, kernel_size=3, dilation=2)
    x = flambeau.randn(1, 2, 10)
    weight, bias = conv.conv.weight.detach().numpy(), conv.conv.bias.detach().numpy()
    expected = numpy.zeros((3, 10))
    for t in range(10):
        for k in range(3):
            past = t - 2 * (2 - k)
            if past >= 0:
                expected[:, t] += weight[:, :, k] @ x[0, :, past].numpy()
        expected[:, t] += bias
    numpy.testing.assert_allclose(conv(x)[0].detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("blocks", "kernel"), [(1, 2), (2, 3), (3, 2)])
def test_nothing_of_the_future_and_no_more_than_the_receptive_field_is_seen(blocks: int, kernel: int) -> None:
    flambeau.manual_seed(0)
    tcn = TCN(1, channels=(4,) * blocks, kernel_size=kernel).eval()
    x = flambeau.randn(1, 1, 40, requires_grad=True)
    tcn(x)[0, :, 30].sum().backward()
    assert x.grad is not None
    seen = [t for t in range(40) if x.grad[0, 0, t].item() != 0]
    assert max(seen) == 30
    assert min(seen) >= 30 - tcn.receptive_field + 1
    flambeau.manual_seed(1)
    # A ReLU may have hidden the earliest step; among several networks one shows it.
    reached = []
    for _ in range(10):
        tcn = TCN(1, channels=(4,) * blocks, kernel_size=kernel).eval()
        x.grad = None
        tcn(x)[0, :, 30].sum().backward()
        reached.append(min(t for t in range(40) if x.grad[0, 0, t].item() != 0))
    assert min(reached) == 30 - tcn.receptive_field + 1


def waves(count: int) -> tuple[Tensor, Tensor]:
    """Sums of two waves with random phases, 48 steps and the 4 after them."""
    phase = flambeau.rand(count, 2, 1) * 2 * math.pi
    time = flambeau.arange(52.0)
    series = (time * 0.3 + phase[:, 0]).sin() + 0.5 * (time * 0.7 + phase[:, 1]).sin()
    return series[:, :48, None], series[:, 48:, None]


def test_the_forecaster_learns_and_beats_the_last_value(tmp_path: Path) -> None:
    flambeau.manual_seed(0)
    settings = {"horizon": 4, "channels": (12, 12, 12), "dropout": 0.0}
    model = catalogue.get_model("tcn_forecaster", **settings)
    past, future = waves(96)
    optimizer = flambeau.optim.AdamW(model.parameters(), lr=0.02)
    for _ in range(50):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(past), future).backward()
        optimizer.step()
    unseen, wanted = waves(32)
    model.eval()
    with flambeau.no_grad():
        error = nn.functional.mse_loss(model(unseen), wanted).item()
        naive = nn.functional.mse_loss(unseen[:, -1:].expand(-1, 4, -1), wanted).item()
    assert error < naive / 10
    flambeau.save(model.state_dict(), tmp_path / "forecaster.pt")
    again = catalogue.get_model("tcn_forecaster", weights=tmp_path / "forecaster.pt", **settings).eval()
    assert again(unseen).tolist() == model(unseen).tolist()


def test_the_classifier_tells_rising_from_falling() -> None:
    flambeau.manual_seed(0)
    model = catalogue.get_model("tcn_classifier", channels=(8, 8))
    slope = flambeau.randn(200, 1, 1)
    x = slope * flambeau.linspace(-1, 1, 24)[:, None] + 0.1 * flambeau.randn(200, 24, 1)
    classes = (slope[:, 0, 0] > 0).long()
    optimizer = flambeau.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), classes).backward()
        optimizer.step()
    assert (model.eval()(x).argmax(1) == classes).float().mean().item() > 0.95


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"TCN: there must be channels, and a kernel_size of 2 or more, got \(\), 3"):
        TCN(1, channels=())
    flambeau.save(catalogue.get_model("tcn_classifier").state_dict(), tmp_path / "two.pt")
    with pytest.raises(RuntimeError, match=r"size mismatch for out\.weight"):
        catalogue.get_model("tcn_classifier", num_classes=3, weights=tmp_path / "two.pt")
