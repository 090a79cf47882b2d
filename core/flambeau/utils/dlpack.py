"""Exchange of memory with other libraries (``torch.utils.dlpack``)."""

from __future__ import annotations

from typing import Any

from flambeau.conversion import from_dlpack
from flambeau.tensor import Tensor

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule of a tensor's memory, for :func:`from_dlpack` of another library."""
    return tensor.__dlpack__()
