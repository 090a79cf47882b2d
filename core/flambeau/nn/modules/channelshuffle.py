"""PyTorch's path of ChannelShuffle."""

from flambeau.nn.modules.upsampling import ChannelShuffle

__all__ = ["ChannelShuffle"]
