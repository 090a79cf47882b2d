"""Switches of cuDNN (``torch.backends.cudnn``), which the backend for CUDA devices reads.

Attributes:
    enabled: whether cuDNN's kernels are used where they are there.
    benchmark: try several kernels for a convolution of sizes that are new, and keep the fastest one.
    benchmark_limit: how many; 0 or None for all.
    deterministic: only kernels whose results do not depend on the order in which threads run; so it is too after
        :func:`flambeau.use_deterministic_algorithms`.
    allow_tf32: whether convolutions of float32 may be computed in TF32, with 10 bits of the fraction.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

enabled = True
benchmark = False
benchmark_limit: int | None = 10
deterministic = False
allow_tf32 = True


def set_flags(
    _enabled: bool | None = None,
    _benchmark: bool | None = None,
    _benchmark_limit: int | None = None,
    _deterministic: bool | None = None,
    _allow_tf32: bool | None = None,
) -> tuple[bool, bool, int | None, bool, bool]:
    """Set the switches that are given, and return what all of them were."""
    before = (enabled, benchmark, benchmark_limit, deterministic, allow_tf32)
    new = {"enabled": _enabled, "benchmark": _benchmark, "benchmark_limit": _benchmark_limit,
           "deterministic": _deterministic, "allow_tf32": _allow_tf32}  # fmt: skip
    globals().update({name: value for name, value in new.items() if value is not None})
    return before


def is_available() -> bool:
    """Whether there is a CUDA device, and cuDNN for it; ``flambeau info`` says what is missing."""
    return version() is not None


def version() -> int | None:
    """The version of cuDNN, as 90800; None where it is not used."""
    from flambeau.dispatch import backends

    registered = backends().get("cuda")
    if registered is None or not registered[0].is_available():
        return None
    return registered[0].libraries().get("cudnn")


@contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int | None = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
) -> Iterator[None]:
    """Set the switches inside a ``with`` block (``torch.backends.cudnn.flags``)."""
    new = {
        "enabled": enabled, "benchmark": benchmark, "benchmark_limit": benchmark_limit, "deterministic": deterministic,
        "allow_tf32": allow_tf32,
    }  # fmt: skip
    before = {name: globals()[name] for name in new}
    globals().update(new)
    try:
        yield
    finally:
        globals().update(before)
