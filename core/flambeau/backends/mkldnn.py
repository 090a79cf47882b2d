"""oneDNN, as PyTorch uses it (``torch.backends.mkldnn``): not used here."""

from __future__ import annotations

enabled = False


def is_available() -> bool:
    """Whether it is used: never."""
    return False
