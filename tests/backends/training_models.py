"""Models of the demos and the benchmarks, small, and training of them on any device: what several tests share.

LeNet, ResNet-18, an LSTM and a transformer over tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

import flambeau
from flambeau import Tensor, nn, optim
from flambeau.nn import functional as F
from flambeau_vision.models import lenet, resnet18

VOCABULARY = 19


class LSTMLanguageModel(nn.Module):
    """The next token's scores from two layers of LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 12)
        self.lstm = nn.LSTM(12, 16, num_layers=2, batch_first=True, dropout=0.1)
        self.scores = nn.Linear(16, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.scores(self.lstm(self.embedding(tokens))[0]).flatten(0, 1)


class TransformerLanguageModel(nn.Module):
    """The next token's scores from two causal layers of a transformer."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.places = nn.Parameter(flambeau.zeros(length, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.scores = nn.Linear(16, VOCABULARY)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.layers(self.embedding(tokens) + self.places, mask=self.mask, is_causal=True)
        return self.scores(hidden).flatten(0, 1)


class Training:
    """A model on a device with its optimizer and a batch on the host."""

    def __init__(self, name: str, device: str) -> None:
        # One with which none of ResNet-18's half a million units is so near 0 that rounding decides whether ReLU passes
        # it on: with one more unit the next loss differs in the fourth digit.
        flambeau.manual_seed(1)
        model, inputs, targets, optimizer = MODELS[name]()
        self.device = device
        self.model = model.to(device)
        self.optimizer = optimizer(self.model.parameters())
        self.inputs, self.targets = flambeau.from_numpy(inputs), flambeau.from_numpy(targets)

    def pin(self) -> None:
        """Move the batch into pinned memory."""
        self.inputs, self.targets = self.inputs.pin_memory(), self.targets.pin_memory()

    def step(self) -> Tensor:
        """A step, batch to the device included; the loss."""
        inputs = self.inputs.to(self.device, non_blocking=True)
        targets = self.targets.to(self.device, non_blocking=True)
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(inputs), targets)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def losses(self, steps: int) -> list[float]:
        flambeau.manual_seed(1)  # dropout's: both devices draw the same numbers
        return [self.step().item() for _ in range(steps)]


def _images(*shape: int) -> tuple[Any, Any]:
    generator = numpy.random.default_rng(0)
    return generator.standard_normal(shape).astype(numpy.float32), generator.integers(0, 10, shape[0])


def _tokens(sequences: int, length: int) -> tuple[Any, Any]:
    tokens = numpy.random.default_rng(0).integers(0, VOCABULARY, (sequences, length + 1))
    return numpy.ascontiguousarray(tokens[:, :-1]), tokens[:, 1:].reshape(-1)


def _sgd(parameters: Any) -> optim.Optimizer:
    return optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)


def _adamw(parameters: Any) -> optim.Optimizer:
    return optim.AdamW(parameters, lr=3e-3)


MODELS: dict[str, Callable[[], tuple[nn.Module, Any, Any, Callable[[Any], optim.Optimizer]]]] = {
    "lenet": lambda: (lenet(), *_images(8, 1, 28, 28), _sgd),
    "resnet18": lambda: (resnet18(num_classes=10, small_images=True), *_images(4, 3, 16, 16), _sgd),
    "lstm": lambda: (LSTMLanguageModel(), *_tokens(4, 8), _adamw),
    "transformer": lambda: (TransformerLanguageModel(8), *_tokens(4, 8), _adamw),
}
