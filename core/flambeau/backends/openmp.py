"""OpenMP, as PyTorch uses it (``torch.backends.openmp``): not used here."""

from __future__ import annotations


def is_available() -> bool:
    """Whether it is used: never."""
    return False
