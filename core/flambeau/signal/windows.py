"""Window functions (``torch.signal.windows``).

``sym=True`` gives the symmetric window, for filters; ``sym=False`` one period of the periodic one, for spectra. The
other options are those of creation: ``dtype`` (float32 or float64, else ValueError), ``layout`` (strided only),
``device`` and ``requires_grad``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy

from flambeau.conversion import tensor
from flambeau.dtypes import dtype, float32, float64, get_default_dtype
from flambeau.layouts import strided
from flambeau.tensor import Tensor

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming",
    "hann", "kaiser", "nuttall",
]  # fmt: skip


def _places(op: str, M: int, sym: bool) -> tuple[Any, int]:
    """The places 0, 1, ..., M - 1 and the last place of the symmetric window that they are in."""
    if M < 0:
        raise ValueError(f"{op}: requires non-negative window length, got M={M}")
    return numpy.arange(M, dtype=numpy.float64), max(M - 1 if sym else M, 1)


def _made(
    op: str,
    values: Any,
    dtype: dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    kind = dtype or get_default_dtype()
    if layout not in (None, strided):
        raise ValueError(f"{op}: is implemented for strided tensors only, got: {layout}")
    if kind not in (float32, float64):
        raise ValueError(f"{op}: expects float32 or float64 dtypes, got: {kind}")
    if len(values) == 1:
        values = numpy.ones(1)
    return tensor(values, dtype=kind, device=device, requires_grad=requires_grad)


def general_cosine(
    M: int, *, a: Sequence[float], sym: bool = True, **options: Any
) -> Tensor:  # fmt: skip
    """Return a[0] - a[1] cos(t) + a[2] cos(2 t) - ... with t from 0 to 2 pi."""
    if not len(a):
        raise ValueError("general_cosine: Coefficients cannot be empty")
    k, last = _places("general_cosine", M, sym)
    t = 2 * math.pi * k / last
    values = sum((-1) ** i * weight * numpy.cos(i * t) for i, weight in enumerate(a))
    return _made("general_cosine", values, **options)


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **options: Any) -> Tensor:
    """Return alpha - (1 - alpha) cos(t) with t from 0 to 2 pi."""
    return general_cosine(M, a=(alpha, 1 - alpha), sym=sym, **options)


def hamming(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Return :func:`general_hamming` with alpha = 0.54."""
    return general_hamming(M, sym=sym, **options)


def hann(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Return :func:`general_hamming` with alpha = 0.5."""
    return general_hamming(M, alpha=0.5, sym=sym, **options)


def blackman(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Return :func:`general_cosine` with the coefficients 0.42, 0.5, 0.08."""
    return general_cosine(M, a=(0.42, 0.5, 0.08), sym=sym, **options)


def nuttall(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Return the minimum 4-term Blackman-Harris window of Nuttall (1981)."""
    return general_cosine(M, a=(0.3635819, 0.4891775, 0.1365995, 0.0106411), sym=sym, **options)


def bartlett(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Return the triangle 1 - |2 k / (M - 1) - 1|."""
    k, last = _places("bartlett", M, sym)
    return _made("bartlett", 1 - abs(2 * k / last - 1), **options)


def cosine(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """Return sin(pi (k + 1/2) / M)."""
    k, last = _places("cosine", M, sym)
    return _made("cosine", numpy.sin(math.pi * (k + 0.5) / (last + 1)), **options)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, **options: Any
) -> Tensor:  # fmt: skip
    """Return exp(-|k - center| / tau); a symmetric window has its center in the middle."""
    if tau <= 0:
        raise ValueError(f"exponential: Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("exponential: Center must be None for symmetric windows")
    k, last = _places("exponential", M, sym)
    middle = last / 2 if center is None else center
    return _made("exponential", numpy.exp(-abs(k - middle) / tau), **options)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, **options: Any
) -> Tensor:  # fmt: skip
    """Return exp(-(k - (M - 1) / 2)^2 / (2 std^2))."""
    if std <= 0:
        raise ValueError(f"gaussian: Standard deviation must be positive, got: {std} instead.")
    k, last = _places("gaussian", M, sym)
    return _made("gaussian", numpy.exp(-(((k - last / 2) / std) ** 2) / 2), **options)


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, **options: Any
) -> Tensor:  # fmt: skip
    """Return I0(beta sqrt(1 - (2 k / (M - 1) - 1)^2)) / I0(beta)."""
    if beta < 0:
        raise ValueError(f"kaiser: beta must be non-negative, got: {beta} instead.")
    k, last = _places("kaiser", M, sym)
    inside = numpy.maximum(1 - (2 * k / last - 1) ** 2, 0)
    return _made("kaiser", numpy.i0(beta * numpy.sqrt(inside)) / numpy.i0(beta), **options)
