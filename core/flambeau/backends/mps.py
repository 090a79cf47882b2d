"""Apple's Metal, as PyTorch uses it (``torch.backends.mps``): not used here."""

from __future__ import annotations


def is_available() -> bool:
    """Whether it is used: never."""
    return False


def is_built() -> bool:
    """Whether it could be used on another machine: no."""
    return False
