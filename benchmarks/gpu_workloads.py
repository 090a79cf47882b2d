"""What `benchmarks/gpu.py` measures: steps of real models on one device, in any library with PyTorch's names.

A workload prepares everything on a device and returns the step to be timed. It is given in two sizes: the one that is
measured, and a tiny one, with which the program itself is tested on any machine.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workloads import Step, training


@dataclass(frozen=True)
class Workload:
    """Attributes:
    prepare: makes the step, of the library, the device and the sizes.
    precision: ``"bf16"``, autocast, or ``"tf32"``, float32 with products in TF32.
    sizes, tiny: the sizes that are measured, and those for a test.
    """

    prepare: Callable[..., Step]
    precision: str
    sizes: dict[str, int]
    tiny: dict[str, int]


WORKLOADS: dict[str, Workload] = {}


def workload(name: str, tiny: dict[str, int], precisions: tuple[str, ...] = ("bf16", "tf32"), **sizes: int) -> Any:
    """Register a workload, once a precision, under the name that the table shows."""

    def register(prepare: Callable[..., Step]) -> Callable[..., Step]:
        for precision in precisions:
            WORKLOADS[f"{name}, {precision}"] = Workload(prepare, precision, sizes, tiny)
        return prepare

    return register


def make_step(torch: Any, name: str, device: str, tiny: bool) -> Step:
    """The step of a workload, with its precision set."""
    chosen = WORKLOADS[name]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = chosen.precision == "tf32"
    torch.manual_seed(0)

    def precision() -> Any:
        if chosen.precision != "bf16":
            return contextlib.nullcontext()
        return torch.autocast(device.partition(":")[0], dtype=torch.bfloat16)

    return chosen.prepare(torch, device, precision, **(chosen.tiny if tiny else chosen.sizes))


# -- matrix products: what the card can do ---------------------------------------------------------------------------


@workload("matrix product of 8192", {"n": 64}, n=8192)
def matmul(torch: Any, device: str, precision: Callable[[], Any], n: int) -> Step:
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)

    def step() -> Any:
        return a @ b

    with precision():
        # What autocast would cast in every step is cast once.
        kind = (a @ b).dtype
    a, b = a.to(kind), b.to(kind)
    return step


# -- images ----------------------------------------------------------------------------------------------------------


def resnet50(torch: Any, width: int, classes: int) -> Any:
    """He et al., 2015, with the stride in the middle of a block."""
    nn = torch.nn

    class Bottleneck(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, inputs: int, inner: int, stride: int) -> None:
            super().__init__()
            outputs = 4 * inner
            self.conv1, self.bn1 = nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner)
            self.conv2, self.bn2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner)
            self.conv3, self.bn3 = nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU(inplace=True)
            self.shortcut = None
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Any) -> Any:
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(out)))))
            out += x if self.shortcut is None else self.shortcut(x)
            return self.relu(out)

    layers = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    layers.append(nn.MaxPool2d(3, 2, 1))
    inputs = width
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width << stage, 2 if stage and not block else 1))
            inputs = 4 * width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


@workload(
    "ResNet-50 training", {"batch": 2, "side": 32, "width": 4, "classes": 10},
    batch=128, side=224, width=64, classes=1000,
)  # fmt: skip
def resnet_training(
    torch: Any, device: str, precision: Callable[[], Any], batch: int, side: int, width: int, classes: int
) -> Step:
    model = resnet50(torch, width, classes).to(device)
    x, y = torch.randn(batch, 3, side, side, device=device), torch.randint(0, classes, (batch,), device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    def loss() -> Any:
        with precision():
            return torch.nn.functional.cross_entropy(model(x), y)

    return training(torch, model, loss, optimizer)


# -- transformers ----------------------------------------------------------------------------------------------------


def transformer(torch: Any, layers: int, width: int, vocabulary: int, length: int, causal: bool) -> Any:
    """BERT's encoder (Devlin et al., 2018) or, causal, GPT-2 (Radford et al., 2019), with the scores of every token.

    ``model(tokens, cache)`` with a list of a pair a layer appends keys and values to it and attends to all of them.
    """
    nn, functional = torch.nn, torch.nn.functional

    class Layer(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def attend(self, x: Any, cache: Any) -> Any:
            batch, length, _ = x.shape
            heads = max(width // 64, 1)
            q, k, v = (
                part.view(batch, length, heads, width // heads).transpose(1, 2)
                for part in self.qkv(x).split(width, dim=-1)
            )
            is_causal = causal and length > 1
            if cache is not None:
                if cache:
                    k, v = torch.cat([cache[0], k], dim=2), torch.cat([cache[1], v], dim=2)
                cache[:] = k, v
            attended = functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
            return self.out(attended.transpose(1, 2).reshape(batch, length, width))

        def forward(self, x: Any, cache: Any = None) -> Any:
            x = x + self.attend(self.norm1(x), cache)
            return x + self.down(functional.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Model(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.layers = nn.ModuleList([Layer() for _ in range(layers)])
            self.norm = nn.LayerNorm(width)
            self.scores = nn.Linear(width, vocabulary, bias=False)
            self.scores.weight = self.tokens.weight

        def forward(self, tokens: Any, caches: Any = None, start: int = 0) -> Any:
            places = torch.arange(start, start + tokens.shape[1], device=tokens.device)
            x = self.tokens(tokens) + self.places(places)
            for i, layer in enumerate(self.layers):
                x = layer(x, None if caches is None else caches[i])
            return self.scores(self.norm(x))

    return Model()


def _language_training(
    torch: Any, device: str, precision: Callable[[], Any], causal: bool, batch: int, length: int, **sizes: int
) -> Step:
    model = transformer(torch, length=length, causal=causal, **sizes).to(device)
    tokens = torch.randint(0, sizes["vocabulary"], (batch, length), device=device)
    following = torch.randint(0, sizes["vocabulary"], (batch * length,), device=device)

    def loss() -> Any:
        with precision():
            return torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1), following)

    return training(torch, model, loss, torch.optim.AdamW(model.parameters(), lr=1e-4))


_TINY = {"batch": 2, "length": 8, "layers": 1, "width": 64, "vocabulary": 50}


@workload("BERT-base training", _TINY, batch=32, length=128, layers=12, width=768, vocabulary=30522)
def bert_training(torch: Any, device: str, precision: Callable[[], Any], **sizes: int) -> Step:
    return _language_training(torch, device, precision, False, **sizes)


@workload("GPT-2-small training", _TINY, batch=8, length=1024, layers=12, width=768, vocabulary=50257)
def gpt_training(torch: Any, device: str, precision: Callable[[], Any], **sizes: int) -> Step:
    return _language_training(torch, device, precision, True, **sizes)


@workload(
    "GPT-2-small, 64 tokens after 128, cached", {**_TINY, "new": 3}, ("tf32",),
    batch=1, length=128, new=64, layers=12, width=768, vocabulary=50257,
)  # fmt: skip
def gpt_generation(
    torch: Any, device: str, precision: Callable[[], Any], batch: int, length: int, new: int, **sizes: int
) -> Step:
    model = transformer(torch, length=length + new, causal=True, **sizes).to(device).eval()
    prompt = torch.randint(0, sizes["vocabulary"], (batch, length), device=device)

    def step() -> Any:
        with torch.no_grad(), precision():
            caches: list[list[Any]] = [[] for _ in model.layers]
            tokens, start = prompt, 0
            made = []
            for _ in range(new):
                scores = model(tokens, caches, start)
                start += tokens.shape[1]
                tokens = scores[:, -1].argmax(-1, keepdim=True)
                made.append(tokens)
            return torch.cat(made, dim=1)

    return step


# -- recurrent -------------------------------------------------------------------------------------------------------


@workload(
    "LSTM language model training", {"batch": 2, "length": 4, "width": 8, "vocabulary": 20}, ("tf32",),
    batch=64, length=35, width=1024, vocabulary=10000,
)  # fmt: skip
def lstm(
    torch: Any, device: str, precision: Callable[[], Any], batch: int, length: int, width: int, vocabulary: int
) -> Step:
    nn = torch.nn
    embed, cell, head = nn.Embedding(vocabulary, width), nn.LSTM(width, width, 2), nn.Linear(width, vocabulary)
    model = nn.ModuleList([embed, cell, head]).to(device)
    words = torch.randint(0, vocabulary, (length, batch), device=device)
    following = torch.randint(0, vocabulary, (length * batch,), device=device)

    def loss() -> Any:
        with precision():
            out, _ = cell(embed(words) * math.sqrt(width))
            return nn.functional.cross_entropy(head(out.reshape(-1, width)), following)

    return training(torch, model, loss, torch.optim.SGD(model.parameters(), lr=0.1))
