"""The device type conforms, and trains networks as the CPU does."""

from __future__ import annotations

import subprocess
import sys

import flambeau
import pytest
from flambeau import Tensor, nn

KIT = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "flambeau.testing"]


def test_it_passes_the_conformance_kit() -> None:
    """The quick part, without ``vmap``, which runs the same kernels; the whole is a command in the README."""
    done = subprocess.run([*KIT, "--device", "mlx", "--quick", "-k", "not batching"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]


def image_classifier() -> tuple[nn.Module, Tensor, Tensor]:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5)
    )
    return model, flambeau.randn(16, 1, 8, 8), flambeau.randint(0, 5, (16,))


class Recurrent(nn.Module):
    """The classes of sequences, from the last state of an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(6, 10, batch_first=True), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0][:, -1])


class Attentive(nn.Module):
    """The classes of sequences of tokens, from a transformer's layer."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(20, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.out = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(self.tokens(x)).mean(1))


MODELS = {
    "image": image_classifier,
    "recurrent": lambda: (Recurrent(), flambeau.randn(8, 5, 6), flambeau.randint(0, 4, (8,))),
    "attentive": lambda: (Attentive(), flambeau.randint(0, 20, (8, 7)), flambeau.randint(0, 4, (8,))),
}


def losses(name: str, device: str) -> list[float]:
    """Of ten steps, with equal weights and data on every device."""
    flambeau.manual_seed(0)
    model, inputs, targets = MODELS[name]()
    model, inputs, targets = model.to(device), inputs.to(device), targets.to(device)
    optimizer = flambeau.optim.AdamW(model.parameters(), lr=0.01)
    found = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        found.append(loss.detach())
    return [loss.item() for loss in found]


@pytest.mark.parametrize("name", list(MODELS))
def test_it_trains_as_the_cpu_does(name: str) -> None:
    own, other = losses(name, "mlx"), losses(name, "cpu")
    assert own[-1] < own[0]
    assert own == pytest.approx(other, rel=2e-3)


def test_a_seed_gives_the_cpus_numbers() -> None:
    draws = {
        "rand": lambda device: flambeau.rand(1000, device=device),
        "half": lambda device: flambeau.rand(1000, device=device, dtype=flambeau.float16),
        "randint": lambda device: flambeau.randint(-5, 1000, (1000,), device=device),
        "wide": lambda device: flambeau.empty(1000, dtype=flambeau.int64, device=device).random_(),
        "randperm": lambda device: flambeau.randperm(1000, device=device),
    }
    for name, draw in draws.items():
        drawn = []
        for device in ("mlx", "cpu"):
            flambeau.manual_seed(7)
            drawn.append(draw(device).tolist())
        assert drawn[0] == drawn[1], name
