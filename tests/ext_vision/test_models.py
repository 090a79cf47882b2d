"""Models: parameters and names as published, shapes, gradients, weights from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import catalogue, nn
from flambeau.nn import functional as F
from flambeau_vision import models


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# https://docs.pytorch.org/vision/stable/models.html, column "Params"; LeNet-5 as in the paper but with all connections.
@pytest.mark.parametrize(
    ("name", "count"),
    [("lenet", 61_706), ("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032)],
)
def test_numbers_of_parameters(name: str, count: int) -> None:
    assert parameters(catalogue.get_model(name)) == count


def test_numbers_of_parameters_of_the_deep_ones() -> None:
    with flambeau.device("meta"):
        assert parameters(models.resnet101()) == 44_549_160
        assert parameters(models.resnet152()) == 60_192_808


def resnet_names(block: str, layers: tuple[int, ...]) -> list[str]:
    """The keys of torchvision's state dicts."""

    def norm(prefix: str) -> list[str]:
        return [f"{prefix}.{each}" for each in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]

    names = ["conv1.weight", *norm("bn1")]
    for stage, blocks in enumerate(layers, 1):
        for number in range(blocks):
            prefix = f"layer{stage}.{number}"
            for conv in range(1, 3 if block == "basic" else 4):
                names += [f"{prefix}.conv{conv}.weight", *norm(f"{prefix}.bn{conv}")]
            if number == 0 and (stage > 1 or block == "bottleneck"):
                names += [f"{prefix}.downsample.0.weight", *norm(f"{prefix}.downsample.1")]
    return [*names, "fc.weight", "fc.bias"]


def test_names_of_the_state_dicts() -> None:
    with flambeau.device("meta"):
        assert list(models.resnet18().state_dict()) == resnet_names("basic", (2, 2, 2, 2))
        assert list(models.resnet34().state_dict()) == resnet_names("basic", (3, 4, 6, 3))
        state = models.resnet50().state_dict()
    assert list(state) == resnet_names("bottleneck", (3, 4, 6, 3))
    assert tuple(state["conv1.weight"].shape) == (64, 3, 7, 7)
    assert tuple(state["layer2.0.conv2.weight"].shape) == (128, 128, 3, 3)
    assert tuple(state["layer4.0.downsample.0.weight"].shape) == (2048, 1024, 1, 1)
    lenet = ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert list(models.lenet().state_dict()) == [f"{layer}.{kind}" for layer in lenet for kind in ("weight", "bias")]


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (lambda: models.lenet(), (2, 1, 28, 28)),
        (lambda: models.lenet(in_channels=3, image_size=20), (2, 3, 20, 20)),
        (lambda: models.resnet18(num_classes=10), (2, 3, 40, 33)),
        (lambda: models.resnet18(num_classes=10, in_channels=1, small_images=True), (2, 1, 8, 8)),
    ],
)
def test_outputs_and_gradients(make: Any, size: tuple[int, ...]) -> None:
    model = make()
    output = model(flambeau.randn(*size))
    assert tuple(output.shape) == (2, 10) and bool(flambeau.isfinite(output).all())
    F.cross_entropy(output, flambeau.tensor([1, 7])).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(flambeau.isfinite(parameter.grad).all()), name
        assert float(parameter.grad.abs().sum()) > 0, name


def test_shapes_within_resnet50() -> None:
    shapes = {}
    model = models.resnet50()
    for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool"):
        getattr(model, name).register_forward_hook(
            lambda module, inputs, output, name=name: shapes.__setitem__(name, tuple(output.shape[1:]))
        )
    with flambeau.no_grad():
        model.eval()(flambeau.randn(1, 3, 64, 64))
    assert shapes == {
        "conv1": (64, 32, 32),
        "maxpool": (64, 16, 16),
        "layer1": (256, 16, 16),
        "layer2": (512, 8, 8),
        "layer3": (1024, 4, 4),
        "layer4": (2048, 2, 2),
        "avgpool": (2048, 1, 1),
    }


def test_dilation_in_place_of_strides() -> None:
    model = models.ResNet(models.Bottleneck, (1, 1, 1, 1), replace_stride_with_dilation=(False, True, True))
    strides = [getattr(model, f"layer{stage}")[0].conv2.stride for stage in (2, 3, 4)]
    assert strides == [(2, 2), (1, 1), (1, 1)]
    # The first block of a stage still has the dilation of the stage before.
    assert [getattr(model, f"layer{stage}")[0].conv2.dilation for stage in (2, 3, 4)] == [(1, 1), (1, 1), (2, 2)]
    with pytest.raises(ValueError, match="should be None or a 3-element tuple"):
        models.resnet50(replace_stride_with_dilation=(True,))
    with pytest.raises(NotImplementedError, match="Dilation > 1 not supported in BasicBlock"):
        models.resnet18(replace_stride_with_dilation=(False, True, True))
    with pytest.raises(ValueError, match="BasicBlock only supports groups=1 and base_width=64"):
        models.resnet18(groups=2)


def test_initialisation() -> None:
    model = models.resnet18()
    weight = model.layer3[1].conv1.weight.detach().numpy()
    # He et al., 2015: a normal distribution with the variance 2 / fan out.
    assert weight.std() == pytest.approx(np.sqrt(2 / (256 * 9)), rel=0.02)
    assert float(model.layer3[1].bn2.weight.detach().min()) == 1
    # With zero_init_residual each block is the identity behind a ReLU.
    block = models.resnet18(zero_init_residual=True).layer1[0].eval()
    image = flambeau.randn(1, 64, 5, 5)
    np.testing.assert_array_equal(block(image).detach().numpy(), np.maximum(image.numpy(), 0))


def test_lenet_of_too_small_images() -> None:
    with pytest.raises(ValueError, match="LeNet: image_size must be at least 12, got 8; resize smaller images first"):
        models.LeNet(image_size=8)


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    model = models.lenet()
    flambeau.save(model.state_dict(), tmp_path / "lenet.pt")
    again = models.lenet(weights=tmp_path / "lenet.pt")
    image = flambeau.randn(1, 1, 28, 28)
    np.testing.assert_array_equal(again(image).detach().numpy(), model(image).detach().numpy())
    with pytest.raises(
        FileNotFoundError, match="resnet18: weights='IMAGENET1K_V1' is not a file. Nothing is downloaded"
    ):
        models.resnet18(weights="IMAGENET1K_V1")
