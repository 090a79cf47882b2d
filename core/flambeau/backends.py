"""Switches of PyTorch's own libraries (``torch.backends``), so that programs that set them run.

What is set is kept and changes nothing; questions are answered truthfully: none of these libraries is used. The
backends of Flambeau are devices, see :mod:`flambeau.dispatch` and ``flambeau info``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


class AttentionSwitches(Switches):
    """The flags of ``torch.backends.cuda``, with those of its implementations of attention."""

    flash: bool
    mem_efficient: bool
    math: bool
    cudnn: bool

    def enable_flash_sdp(self, enabled: bool) -> None:
        """Allow flash attention."""
        self.flash = bool(enabled)

    def enable_mem_efficient_sdp(self, enabled: bool) -> None:
        """Allow memory-efficient attention."""
        self.mem_efficient = bool(enabled)

    def enable_math_sdp(self, enabled: bool) -> None:
        """Allow attention as a composition of ops."""
        self.math = bool(enabled)

    def enable_cudnn_sdp(self, enabled: bool) -> None:
        """Allow cuDNN's attention."""
        self.cudnn = bool(enabled)

    def flash_sdp_enabled(self) -> bool:
        """Whether flash attention is allowed."""
        return self.flash

    def mem_efficient_sdp_enabled(self) -> bool:
        """Whether memory-efficient attention is allowed."""
        return self.mem_efficient

    def math_sdp_enabled(self) -> bool:
        """Whether attention as a composition of ops is allowed."""
        return self.math

    def cudnn_sdp_enabled(self) -> bool:
        """Whether cuDNN's attention is allowed."""
        return self.cudnn

    @contextmanager
    def sdp_kernel(
        self,
        enable_flash: bool = True,
        enable_math: bool = True,
        enable_mem_efficient: bool = True,
        enable_cudnn: bool = True,
    ) -> Iterator[None]:
        """The older way to say what :func:`flambeau.nn.attention.sdpa_kernel` says."""
        names = ("flash", "math", "mem_efficient", "cudnn")
        before = {name: getattr(self, name) for name in names}
        self.__dict__.update(zip(names, (enable_flash, enable_math, enable_mem_efficient, enable_cudnn), strict=True))
        try:
            yield
        finally:
            self.__dict__.update(before)


cuda = AttentionSwitches(matmul=Switches(allow_tf32=False), flash=True, mem_efficient=True, math=True, cudnn=True)
mps = Switches()
mkl = Switches()
mkldnn = Switches(enabled=False)
openmp = Switches()
