"""PyTorch's path of Fold and Unfold."""

from flambeau.nn.modules.upsampling import Fold, Unfold

__all__ = ["Fold", "Unfold"]
