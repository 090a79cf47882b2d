"""Residual networks (He, Zhang, Ren and Sun, 2015, *Deep Residual Learning for Image Recognition*).

Layers, names and initialisation are torchvision's, so that its state dicts load here and ours there. As there, the
stride of a bottleneck sits in its 3 x 3 convolution ("ResNet v1.5").
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau_vision.models._weights import load_weights

NormLayer = Callable[[int], nn.Module]


def _conv3x3(in_channels: int, out_channels: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels, out_channels, 3, stride=stride, padding=dilation, groups=groups, bias=False, dilation=dilation
    )


def _conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and the shortcut: the block of ResNet-18 and ResNet-34.

    Shape: ``(N, inplanes, H, W)`` -> ``(N, planes, ceil(H / stride), ceil(W / stride))``.
    """

    expansion = 1  # output channels / planes

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: NormLayer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if groups != 1 or base_width != 64:
            raise ValueError("BasicBlock only supports groups=1 and base_width=64")
        if dilation != 1:
            raise NotImplementedError("Dilation > 1 not supported in BasicBlock")
        self.conv1 = _conv3x3(inplanes, planes, stride)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += shortcut
        return self.relu(x)


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions and the shortcut: the block of the deeper networks.

    Shape: ``(N, inplanes, H, W)`` -> ``(N, 4 planes, ceil(H / stride), ceil(W / stride))``.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: NormLayer = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1 = _conv1x1(inplanes, width)
        self.bn1 = norm_layer(width)
        self.conv2 = _conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm_layer(width)
        self.conv3 = _conv1x1(width, planes * self.expansion)
        self.bn3 = norm_layer(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x += shortcut
        return self.relu(x)


class ResNet(nn.Module):
    """A residual network: a stem, four stages of blocks, an average over the plane, a linear layer.

    Args:
        block: :class:`BasicBlock` or :class:`Bottleneck`.
        layers: number of blocks of each of the four stages.
        num_classes: number of outputs.
        zero_init_residual: start every block as the identity, by a 0 in its last normalisation.
        groups, width_per_group: of the bottlenecks' 3 x 3 convolutions (ResNeXt, wide ResNets).
        replace_stride_with_dilation: for the stages 2 to 4, whether dilation takes the place of the stride of 2.
        norm_layer: builds a normalisation from a number of channels; :class:`~flambeau.nn.BatchNorm2d` when None.
        in_channels: number of channels of the images (not in torchvision, where it is 3).
        small_images: a stem for images of 32 x 32 and less, as in the paper's section 4.2: a 3 x 3 convolution that
            keeps their size instead of 7 x 7 with stride 2 and pooling (not in torchvision).

    Shape: ``(N, in_channels, H, W)`` -> ``(N, num_classes)``, unnormalised log-probabilities, for any H and W.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: NormLayer | None = None,
        in_channels: int = 3,
        small_images: bool = False,
    ) -> None:
        super().__init__()
        dilate = (False, False, False) if replace_stride_with_dilation is None else replace_stride_with_dilation
        if len(dilate) != 3:
            raise ValueError(
                f"replace_stride_with_dilation should be None or a 3-element tuple, got {replace_stride_with_dilation}"
            )
        self._norm_layer = norm_layer = nn.BatchNorm2d if norm_layer is None else norm_layer
        self.inplanes = 64
        self.dilation = 1
        self.groups = groups
        self.base_width = width_per_group
        if small_images:
            self.conv1 = _conv3x3(in_channels, self.inplanes)
        else:
            self.conv1 = nn.Conv2d(in_channels, self.inplanes, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = norm_layer(self.inplanes)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_images else nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], stride=2, dilate=dilate[0])
        self.layer3 = self._make_layer(block, 256, layers[2], stride=2, dilate=dilate[1])
        self.layer4 = self._make_layer(block, 512, layers[3], stride=2, dilate=dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        self._initialise(zero_init_residual)

    def _initialise(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
                for parameter, value in ((module.weight, 1.0), (module.bias, 0.0)):
                    if parameter is not None:
                        nn.init.constant_(parameter, value)
        for module in self.modules() if zero_init_residual else ():
            if isinstance(module, (BasicBlock, Bottleneck)):
                last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
                if last.weight is not None:
                    nn.init.constant_(last.weight, 0)

    def _make_layer(
        self, block: type[BasicBlock | Bottleneck], planes: int, blocks: int, stride: int = 1, dilate: bool = False
    ) -> nn.Sequential:
        norm_layer = self._norm_layer
        previous_dilation = self.dilation
        if dilate:
            self.dilation *= stride
            stride = 1
        downsample = None
        if stride != 1 or self.inplanes != planes * block.expansion:
            downsample = nn.Sequential(
                _conv1x1(self.inplanes, planes * block.expansion, stride), norm_layer(planes * block.expansion)
            )
        width = (self.groups, self.base_width)
        stage = [block(self.inplanes, planes, stride, downsample, *width, previous_dilation, norm_layer)]
        self.inplanes = planes * block.expansion
        stage += [block(self.inplanes, planes, 1, None, *width, self.dilation, norm_layer) for _ in range(1, blocks)]
        return nn.Sequential(*stage)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(flambeau.flatten(self.avgpool(x), 1))


_Weights = str | os.PathLike[str] | None


def _resnet(
    name: str, block: type[BasicBlock | Bottleneck], layers: Sequence[int], weights: _Weights, kwargs: Any
) -> ResNet:
    return load_weights(ResNet(block, layers, **kwargs), weights, name)


def resnet18(*, weights: _Weights = None, **kwargs: Any) -> ResNet:
    """ResNet-18, 11.7 million parameters at 1000 classes.

    Args:
        weights: path of a saved state dict (torchvision's fit), or None for a new model; nothing is downloaded.
        kwargs: arguments of :class:`ResNet`: ``num_classes``, ``in_channels``, ``small_images`` ...
    """
    return _resnet("resnet18", BasicBlock, (2, 2, 2, 2), weights, kwargs)


def resnet34(*, weights: _Weights = None, **kwargs: Any) -> ResNet:
    """ResNet-34, 21.8 million parameters at 1000 classes; arguments as for :func:`resnet18`."""
    return _resnet("resnet34", BasicBlock, (3, 4, 6, 3), weights, kwargs)


def resnet50(*, weights: _Weights = None, **kwargs: Any) -> ResNet:
    """ResNet-50, 25.6 million parameters at 1000 classes; arguments as for :func:`resnet18`."""
    return _resnet("resnet50", Bottleneck, (3, 4, 6, 3), weights, kwargs)


def resnet101(*, weights: _Weights = None, **kwargs: Any) -> ResNet:
    """ResNet-101, 44.5 million parameters at 1000 classes; arguments as for :func:`resnet18`."""
    return _resnet("resnet101", Bottleneck, (3, 4, 23, 3), weights, kwargs)


def resnet152(*, weights: _Weights = None, **kwargs: Any) -> ResNet:
    """ResNet-152, 60.2 million parameters at 1000 classes; arguments as for :func:`resnet18`."""
    return _resnet("resnet152", Bottleneck, (3, 8, 36, 3), weights, kwargs)
