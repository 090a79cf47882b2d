"""Temporal convolutional networks: sequences seen through causal convolutions whose reach doubles from block to block.

Bai, Kolter and Koltun, "An empirical evaluation of generic convolutional and recurrent networks for sequence modeling"
(2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flambeau
from flambeau import Tensor, nn
from flambeau.nn.utils.parametrizations import weight_norm


class CausalConv1d(nn.Module):
    """A convolution along time that sees the present and the past only: (N, C, T) -> (N, out, T).

    Args:
        in_channels, out_channels: C and out.
        kernel_size: how many steps it sees, ``dilation`` apart.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1) -> None:
        super().__init__()
        self.past = (kernel_size - 1) * dilation
        self.conv = weight_norm(nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation))

    def forward(self, x: Tensor) -> Tensor:
        """With zeros before the first step."""
        return self.conv(nn.functional.pad(x, (self.past, 0)))


class TemporalBlock(nn.Module):
    """Two causal convolutions with ReLU and dropout, and the input added: (N, C, T) -> (N, out, T)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            CausalConv1d(in_channels, out_channels, kernel_size, dilation),
            nn.ReLU(),
            nn.Dropout(dropout),
            CausalConv1d(out_channels, out_channels, kernel_size, dilation),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        self.shortcut = nn.Identity() if in_channels == out_channels else nn.Conv1d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """What the block makes of the steps so far, at each step."""
        return flambeau.relu(self.convs(x) + self.shortcut(x))


class TCN(nn.Module):
    """A stack of blocks with dilations 1, 2, 4 ...: (N, in_features, T) -> (N, channels[-1], T).

    Args:
        in_features: the size of a step.
        channels: the channels of each block.
        kernel_size: at least 2.
        dropout: the probability of a zero, after each ReLU.

    Attributes:
        receptive_field: how many steps, the present one included, the last block sees.
    """

    def __init__(
        self, in_features: int, channels: Sequence[int] = (32, 32, 32, 32), kernel_size: int = 3, dropout: float = 0.1
    ) -> None:
        if not channels or kernel_size < 2:
            raise ValueError(
                f"TCN: there must be channels, and a kernel_size of 2 or more, got {channels}, {kernel_size}"
            )
        super().__init__()
        sizes = [in_features, *channels]
        self.blocks = nn.Sequential(
            *[TemporalBlock(sizes[i], sizes[i + 1], kernel_size, 2**i, dropout) for i in range(len(channels))]
        )
        self.receptive_field = 1 + 2 * (kernel_size - 1) * (2 ** len(channels) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """The features at each step."""
        return self.blocks(x)


class TCNForecaster(nn.Module):
    """The next steps of a series from those before: (N, T, in_features) -> (N, horizon, in_features).

    Args:
        in_features: the size of a step.
        horizon: how many steps to foretell.
        network: further arguments of :class:`TCN`.
    """

    def __init__(self, in_features: int = 1, horizon: int = 1, **network: Any) -> None:
        super().__init__()
        self.horizon = horizon
        self.tcn = TCN(in_features, **network)
        self.out = nn.Linear(_width(self.tcn), horizon * in_features)

    def forward(self, x: Tensor) -> Tensor:
        """From the features at the last step."""
        steps = self.out(self.tcn(x.transpose(1, 2))[:, :, -1])
        return steps.reshape(len(x), self.horizon, x.shape[2])


class TCNClassifier(nn.Module):
    """The class of a series: (N, T, in_features) -> (N, num_classes).

    Args:
        in_features: the size of a step.
        num_classes: how many scores come out.
        network: further arguments of :class:`TCN`.
    """

    def __init__(self, in_features: int = 1, num_classes: int = 2, **network: Any) -> None:
        super().__init__()
        self.tcn = TCN(in_features, **network)
        self.out = nn.Linear(_width(self.tcn), num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """From the mean of the features over time."""
        return self.out(self.tcn(x.transpose(1, 2)).mean(2))


def _width(tcn: TCN) -> int:
    width: int = tcn.blocks[-1].convs[3].conv.out_channels
    return width
