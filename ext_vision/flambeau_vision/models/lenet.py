"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, 1998, *Gradient-based learning applied to document recognition*)."""

from __future__ import annotations

import os

import flambeau
from flambeau import Tensor, nn
from flambeau.nn import functional as F
from flambeau_vision.models._weights import load_weights


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max pooling: two convolutions of 5 x 5 and three linear layers.

    Args:
        num_classes: number of outputs.
        in_channels: number of channels of the images.
        image_size: height and width of the images, at least 12; 28 (MNIST) gives the layer sizes of the paper.

    Shape: ``(N, in_channels, image_size, image_size)`` -> ``(N, num_classes)``, unnormalised log-probabilities.

    Raises:
        ValueError: for images too small for the second convolution.
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28) -> None:
        super().__init__()
        if image_size < 12:
            raise ValueError(f"LeNet: image_size must be at least 12, got {image_size}; resize smaller images first")
        self.conv1 = nn.Conv2d(in_channels, 6, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        side = (image_size // 2 - 4) // 2
        self.fc1 = nn.Linear(16 * side * side, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = flambeau.flatten(x, 1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


def lenet(
    *,
    weights: str | os.PathLike[str] | None = None,
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 28,
) -> LeNet:
    """A :class:`LeNet`; ``weights`` is the path of a saved state dict, or None."""
    return load_weights(LeNet(num_classes, in_channels, image_size), weights, "lenet")
