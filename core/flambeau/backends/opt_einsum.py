"""The library opt_einsum, as PyTorch uses it (``torch.backends.opt_einsum``): not used here."""

from __future__ import annotations

enabled = False
strategy: str | None = None


def is_available() -> bool:
    """Whether it is used: never."""
    return False
