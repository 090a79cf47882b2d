"""What `benchmarks/run.py` measures: steps of small and middling programs, in any library with PyTorch's names.

A workload is a function of the library that prepares everything and returns the step to be timed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

Step = Callable[[], Any]
WORKLOADS: dict[str, Callable[[Any], Step]] = {}


def workload(name: str) -> Callable[[Callable[[Any], Step]], Callable[[Any], Step]]:
    """Register a workload under the name that the table shows."""

    def register(prepare: Callable[[Any], Step]) -> Callable[[Any], Step]:
        WORKLOADS[name] = prepare
        return prepare

    return register


def training(torch: Any, model: Any, loss: Callable[[], Any], optimizer: Any = None) -> Step:
    """One step: gradients to None, loss, backward, optimizer."""
    optimizer = torch.optim.Adam(model.parameters()) if optimizer is None else optimizer

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def mlp(torch: Any, *sizes: int) -> Any:
    nn = torch.nn
    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# -- overhead --------------------------------------------------------------------------------------------------------


@workload("100 small ops")
def small_ops(torch: Any) -> Step:
    a, b = torch.randn(4, 4, requires_grad=True), torch.randn(4, 4)

    def step() -> Any:
        x = a
        for _ in range(25):
            x = (x * b + a).tanh().relu()
        return x

    return step


@workload("25 small ops, backward")
def small_backward(torch: Any) -> Step:
    a, b = torch.randn(4, 4, requires_grad=True), torch.randn(4, 4)

    def step() -> None:
        a.grad = None
        x = a
        for _ in range(6):
            x = (x * b + a).tanh().relu()
        x.sum().backward()

    return step


@workload("MLP 4-64-64-2, batch 8")
def tiny_mlp(torch: Any) -> Step:
    model, x, y = mlp(torch, 4, 64, 64, 2), torch.randn(8, 4), torch.randn(8, 2)
    return training(torch, model, lambda: torch.nn.functional.mse_loss(model(x), y))


@workload("MLP 784-256-10, batch 64")
def digit_mlp(torch: Any) -> Step:
    model, x, y = mlp(torch, 784, 256, 10), torch.randn(64, 784), torch.randint(0, 10, (64,))
    return training(torch, model, lambda: torch.nn.functional.cross_entropy(model(x), y))


@workload("PPO update, 64 x 8 observations")
def ppo(torch: Any) -> Step:
    nn, functional = torch.nn, torch.nn.functional
    body = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
    policy, value = nn.Linear(64, 4), nn.Linear(64, 1)
    model = nn.ModuleList([body, policy, value])
    states, actions = torch.randn(64, 8), torch.randint(0, 4, (64,))
    before, advantages, returns = torch.full((64,), -1.386), torch.randn(64), torch.randn(64)

    def loss() -> Any:
        hidden = body(states)
        scores = functional.log_softmax(policy(hidden), dim=-1)
        chosen = scores.gather(1, actions.unsqueeze(1)).squeeze(1)
        ratio = (chosen - before).exp()
        clipped = ratio.clamp(0.8, 1.2)
        gain = torch.min(ratio * advantages, clipped * advantages).mean()
        entropy = -(scores.exp() * scores).sum(-1).mean()
        return functional.mse_loss(value(hidden).squeeze(-1), returns) * 0.5 - gain - 0.01 * entropy

    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()

    return step


@workload("Adam, 200 tensors of 64 x 16")
def many_tensors(torch: Any) -> Step:
    parameters = [torch.nn.Parameter(torch.randn(64, 16)) for _ in range(200)]
    for parameter in parameters:
        parameter.grad = torch.randn(64, 16)
    return torch.optim.Adam(parameters).step


# -- convolutional ---------------------------------------------------------------------------------------------------


@workload("LeNet, batch 64 of 28 x 28")
def lenet(torch: Any) -> Step:
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    x, y = torch.randn(64, 1, 28, 28), torch.randint(0, 10, (64,))
    return training(torch, model, lambda: nn.functional.cross_entropy(model(x), y))


@workload("DCGAN generator and discriminator, batch 32 of 32 x 32")
def dcgan(torch: Any) -> Step:
    nn = torch.nn
    generator = nn.Sequential(
        nn.ConvTranspose2d(64, 128, 4, 1, 0, bias=False), nn.BatchNorm2d(128), nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    critic = nn.Sequential(
        nn.Conv2d(3, 32, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),
        nn.Conv2d(128, 1, 4, 1, 0, bias=False),
    )  # fmt: skip
    noise, real = torch.randn(32, 64, 1, 1), torch.randn(32, 3, 32, 32)
    ones, zeros = torch.ones(32), torch.zeros(32)
    entropy = nn.BCEWithLogitsLoss()
    steps = [torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999)) for m in (generator, critic)]

    def step() -> None:
        fake = generator(noise)
        critic.zero_grad()
        (entropy(critic(real).view(-1), ones) + entropy(critic(fake.detach()).view(-1), zeros)).backward()
        steps[1].step()
        generator.zero_grad()
        entropy(critic(fake).view(-1), ones).backward()
        steps[0].step()

    return step


def resnet18(torch: Any) -> Any:
    """He et al., 2015, written out, since it has to run in either library."""
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU(inplace=True)
            self.shortcut = None
            if stride != 1 or inputs != outputs:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Any) -> Any:
            out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            out += x if self.shortcut is None else self.shortcut(x)
            return self.relu(out)

    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for outputs, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        layers.append(Block(inputs, outputs, stride))
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))


@workload("ResNet-18 training, batch 8 of 224 x 224")
def resnet_training(torch: Any) -> Step:
    model = resnet18(torch)
    x, y = torch.randn(8, 3, 224, 224), torch.randint(0, 1000, (8,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    return training(torch, model, lambda: torch.nn.functional.cross_entropy(model(x), y), optimizer)


@workload("ResNet-18 inference, batch 8 of 224 x 224")
def resnet_inference(torch: Any) -> Step:
    model = resnet18(torch).eval()
    x = torch.randn(8, 3, 224, 224)

    def step() -> Any:
        with torch.no_grad():
            return model(x)

    return step


# -- sequences -------------------------------------------------------------------------------------------------------


@workload("LSTM language model, 2 x 256, batch 20 of 35")
def lstm(torch: Any) -> Step:
    nn = torch.nn
    embed, cell, head = nn.Embedding(2000, 128), nn.LSTM(128, 256, 2), nn.Linear(256, 2000)
    model = nn.ModuleList([embed, cell, head])
    words, following = torch.randint(0, 2000, (35, 20)), torch.randint(0, 2000, (700,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loss() -> Any:
        out, _ = cell(embed(words))
        return nn.functional.cross_entropy(head(out.reshape(-1, 256)), following)

    return training(torch, model, loss, optimizer)


@workload("Transformer, 4 layers of 256, batch 16 of 64")
def transformer(torch: Any) -> Step:
    nn = torch.nn
    layer = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.1, batch_first=True, activation="gelu")
    encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
    embed, head = nn.Embedding(2000, 256), nn.Linear(256, 2000)
    model = nn.ModuleList([embed, encoder, head])
    words, following = torch.randint(0, 2000, (16, 64)), torch.randint(0, 2000, (1024,))
    mask = nn.Transformer.generate_square_subsequent_mask(64)

    def loss() -> Any:
        out = encoder(embed(words) * math.sqrt(256), mask=mask, is_causal=True)
        return nn.functional.cross_entropy(head(out).view(-1, 2000), following)

    return training(torch, model, loss, torch.optim.AdamW(model.parameters()))


@workload("BERT-base width inference, 2 layers, batch 8 of 128")
def bert(torch: Any) -> Step:
    nn = torch.nn

    class Layer(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value, self.out = (nn.Linear(768, 768) for _ in range(4))
            self.up, self.down = nn.Linear(768, 3072), nn.Linear(3072, 768)
            self.norm1, self.norm2 = nn.LayerNorm(768), nn.LayerNorm(768)

        def forward(self, x: Any) -> Any:
            def heads(y: Any) -> Any:
                return y.view(8, 128, 12, 64).transpose(1, 2)

            attended = nn.functional.scaled_dot_product_attention(
                heads(self.query(x)), heads(self.key(x)), heads(self.value(x))
            )
            x = self.norm1(x + self.out(attended.transpose(1, 2).reshape(8, 128, 768)))
            return self.norm2(x + self.down(nn.functional.gelu(self.up(x))))

    model = nn.Sequential(Layer(), Layer()).eval()
    x = torch.randn(8, 128, 768)

    def step() -> Any:
        with torch.no_grad():
            return model(x)

    return step


# -- kernels ---------------------------------------------------------------------------------------------------------


@workload("layer norm, GELU, softmax of 4096 x 768, backward")
def chain(torch: Any) -> Step:
    functional = torch.nn.functional
    x = torch.randn(4096, 768, requires_grad=True)
    weight = torch.ones(768, requires_grad=True)
    cotangent = torch.randn(4096, 768)

    def step() -> None:
        x.grad = weight.grad = None
        y = functional.softmax(functional.gelu(functional.layer_norm(x, (768,), weight)), dim=-1)
        y.backward(cotangent)

    return step


@workload("matmul 1024 x 1024")
def matmul(torch: Any) -> Step:
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return lambda: a @ b


@workload("elementwise and sums of 4M")
def elementwise(torch: Any) -> Step:
    a, b = torch.randn(4_000_000), torch.randn(4_000_000)
    return lambda: ((a * b + a).relu().sum(), (a - b).abs().mean())
