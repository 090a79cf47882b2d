"""Which implementation attention uses (``torch.nn.attention``).

Here a device has one implementation; what is chosen is checked, kept and changes no result.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from flambeau.backends import cuda

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(enum.Enum):
    """PyTorch's implementations of :func:`flambeau.nn.functional.scaled_dot_product_attention`."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


_SWITCHES = {
    SDPBackend.MATH: "math", SDPBackend.FLASH_ATTENTION: "flash", SDPBackend.EFFICIENT_ATTENTION: "mem_efficient",
    SDPBackend.CUDNN_ATTENTION: "cudnn",
}  # fmt: skip


@contextmanager
def sdpa_kernel(backends: Sequence[SDPBackend] | SDPBackend, set_priority: bool = False) -> Iterator[None]:
    """Within, or in a function decorated with it, the implementations that attention may use.

    Args:
        backends: one of :class:`SDPBackend` or a list of them.
        set_priority: whether their order counts.

    Raises:
        AssertionError: for anything else.
    """
    listed = [backends] if isinstance(backends, SDPBackend) else backends
    if not isinstance(listed, (list, tuple)) or not all(isinstance(one, SDPBackend) for one in listed):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{type(backends).__name__}"
        )
    before = {name: getattr(cuda, f"{name}_sdp_enabled")() for name in _SWITCHES.values()}
    for backend, name in _SWITCHES.items():
        getattr(cuda, f"enable_{name}_sdp")(backend in listed)
    try:
        yield
    finally:
        for name, enabled in before.items():
            getattr(cuda, f"enable_{name}_sdp")(enabled)
