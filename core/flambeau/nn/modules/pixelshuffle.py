"""PyTorch's path of PixelShuffle and PixelUnshuffle."""

from flambeau.nn.modules.upsampling import PixelShuffle, PixelUnshuffle

__all__ = ["PixelShuffle", "PixelUnshuffle"]
