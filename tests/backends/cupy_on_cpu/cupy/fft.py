"""``cupy.fft``."""

from __future__ import annotations

from typing import Any

import numpy

from ._array import ndarray, unwrapped


def fftn(a: ndarray, s: Any = None, axes: Any = None, norm: Any = None) -> ndarray:
    return ndarray._of(numpy.fft.fftn(unwrapped(a), s, axes, norm))


def ifftn(a: ndarray, s: Any = None, axes: Any = None, norm: Any = None) -> ndarray:
    return ndarray._of(numpy.fft.ifftn(unwrapped(a), s, axes, norm))


def rfft(a: ndarray, n: Any = None, axis: int = -1, norm: Any = None) -> ndarray:
    return ndarray._of(numpy.fft.rfft(unwrapped(a), n, axis, norm))


def irfft(a: ndarray, n: Any = None, axis: int = -1, norm: Any = None) -> ndarray:
    return ndarray._of(numpy.fft.irfft(unwrapped(a), n, axis, norm))
