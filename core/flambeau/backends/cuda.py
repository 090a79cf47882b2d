"""Switches of CUDA's kernels (``torch.backends.cuda``).

``matmul.allow_tf32`` is :func:`flambeau.set_float32_matmul_precision` by another name, which backends read. The others
are kept and change nothing: which kernel computes is decided by plugins, see ``flambeau info``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau import settings

_SWITCHES = {
    "allow_fp16_accumulation": False,
    "allow_fp16_reduced_precision_reduction": True,
    "allow_bf16_reduced_precision_reduction": True,
}


class _Matmul:
    """Switches of matrix products (``torch.backends.cuda.matmul``).

    Attributes:
        allow_tf32: whether float32 products may be computed in TF32, with 10 bits of the fraction. It is so unless
            :func:`flambeau.get_float32_matmul_precision` is ``"highest"``.
        fp32_precision: the same as a word, ``"tf32"`` or ``"ieee"``.
        allow_fp16_accumulation, allow_fp16_reduced_precision_reduction, allow_bf16_reduced_precision_reduction: kept.
    """

    def __init__(self) -> None:
        vars(self).update(_SWITCHES)

    @property
    def allow_tf32(self) -> bool:
        return settings.get_float32_matmul_precision() != "highest"

    @property
    def fp32_precision(self) -> str:
        return "tf32" if self.allow_tf32 else "ieee"

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "fp32_precision":
            if value not in ("tf32", "ieee", "none"):
                raise RuntimeError(f"matmul.fp32_precision: expected 'tf32', 'ieee' or 'none', got {value!r}")
            name, value = "allow_tf32", value == "tf32"
        if name == "allow_tf32":
            settings.set_float32_matmul_precision("high" if value else "highest")
        elif name in _SWITCHES:
            vars(self)[name] = value
        else:
            raise AttributeError(f"matmul has no switch {name!r}; there are: allow_tf32, {', '.join(_SWITCHES)}")


matmul = _Matmul()

_attention = dict.fromkeys(("flash", "mem_efficient", "math", "cudnn"), True)
_reduced_math = False


def is_built() -> bool:
    """Whether a plugin for CUDA devices is installed. Whether there is one, :func:`flambeau.cuda.is_available` says."""
    from flambeau.dispatch import backends

    return "cuda" in backends()


def is_flash_attention_available() -> bool:
    """Whether PyTorch's FlashAttention is here: no."""
    return False


def allow_fp16_bf16_reduction_math_sdp(enabled: bool) -> None:
    """Keep a switch of scaled dot-product attention."""
    global _reduced_math
    _reduced_math = enabled


def fp16_bf16_reduction_math_sdp_allowed() -> bool:
    """What :func:`allow_fp16_bf16_reduction_math_sdp` has set."""
    return _reduced_math


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
