"""Intel's MKL, as PyTorch uses it (``torch.backends.mkl``): not used here."""

from __future__ import annotations


def is_available() -> bool:
    """Whether it is used: never."""
    return False
