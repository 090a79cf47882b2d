"""Switches of PyTorch's CUDA kernels (``torch.backends.cuda``), kept and without effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

matmul = SimpleNamespace(
    allow_tf32=False, allow_fp16_reduced_precision_reduction=True, allow_bf16_reduced_precision_reduction=True
)

_attention = dict.fromkeys(("flash", "mem_efficient", "math", "cudnn"), True)


def is_built() -> bool:
    """Whether PyTorch's CUDA kernels are here: no. For CUDA devices see :func:`flambeau.cuda.is_available`."""
    return False


def enable_flash_sdp(enabled: bool) -> None:
    """Keep a switch of scaled dot-product attention."""
    _attention["flash"] = enabled


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Keep a switch of scaled dot-product attention."""
    _attention["mem_efficient"] = enabled


def enable_math_sdp(enabled: bool) -> None:
    """Keep a switch of scaled dot-product attention."""
    _attention["math"] = enabled


def enable_cudnn_sdp(enabled: bool) -> None:
    """Keep a switch of scaled dot-product attention."""
    _attention["cudnn"] = enabled


def flash_sdp_enabled() -> bool:
    """What :func:`enable_flash_sdp` has set."""
    return _attention["flash"]


def mem_efficient_sdp_enabled() -> bool:
    """What :func:`enable_mem_efficient_sdp` has set."""
    return _attention["mem_efficient"]


def math_sdp_enabled() -> bool:
    """What :func:`enable_math_sdp` has set."""
    return _attention["math"]


def cudnn_sdp_enabled() -> bool:
    """What :func:`enable_cudnn_sdp` has set."""
    return _attention["cudnn"]


@contextmanager
def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
) -> Iterator[None]:
    """The older way to say what :func:`flambeau.nn.attention.sdpa_kernel` says."""
    before = dict(_attention)
    _attention.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
    try:
        yield
    finally:
        _attention.update(before)
