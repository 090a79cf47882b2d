"""Fourier transforms, by pocketfft."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

Array = Any

# NumPy before 2.0 computes them all in double precision.
_COMPLEX = {"f": numpy.complex64, "F": numpy.complex64, "d": numpy.complex128, "D": numpy.complex128}
_REAL = {"F": numpy.float32, "D": numpy.float64}


def c2c(input: Array, dims: Sequence[int], forward: bool) -> Array:
    """The complex transform along ``dims``, not normalised."""
    if forward:
        result = numpy.fft.fftn(input, axes=dims, norm="backward")
    else:
        result = numpy.fft.ifftn(input, axes=dims, norm="forward")
    return result.astype(_COMPLEX[input.dtype.char], copy=False)


def r2c(input: Array, dim: int) -> Array:
    """The first half of the transform of a real array, not normalised."""
    return numpy.fft.rfft(input, axis=dim, norm="backward").astype(_COMPLEX[input.dtype.char], copy=False)


def c2r(input: Array, dim: int, n: int) -> Array:
    """The real transform of the first half of a Hermitian signal, not normalised."""
    return numpy.fft.irfft(input, n, axis=dim, norm="forward").astype(_REAL[input.dtype.char], copy=False)


KERNELS: dict[str, Callable[..., Any]] = {"fft_c2c": c2c, "fft_r2c": r2c, "fft_c2r": c2r}
