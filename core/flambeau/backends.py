"""Switches of PyTorch's own libraries (``torch.backends``), so that programs that set them run.

What is set is kept and changes nothing; questions are answered truthfully: none of these libraries is used. The
backends of Flambeau are devices, see :mod:`flambeau.dispatch` and ``flambeau info``.
"""

from __future__ import annotations

from typing import Any


class Switches:
    """Flags of one library, settable like PyTorch's."""

    def __init__(self, **flags: Any) -> None:
        self.__dict__.update(flags)

    def is_available(self) -> bool:
        """Whether the library is used: never."""
        return False

    is_built = is_available


cudnn = Switches(enabled=True, benchmark=False, deterministic=False, allow_tf32=True)
cuda = Switches(matmul=Switches(allow_tf32=False))
mps = Switches()
mkl = Switches()
mkldnn = Switches(enabled=False)
openmp = Switches()
