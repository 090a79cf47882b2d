"""Fourier transforms: pocketfft under NumPy, cuFFT under CuPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

Array = Any
Module = Any
Kernel = Callable[..., Any]

# NumPy computes some of them in double precision whatever the input.
_COMPLEX = {"f": numpy.complex64, "F": numpy.complex64, "d": numpy.complex128, "D": numpy.complex128}
_REAL = {"F": numpy.float32, "D": numpy.float64}


def kernels(xp: Module) -> dict[str, Kernel]:
    """The kernels of this module over the library ``xp``."""
    return {"fft_c2c": complex_transform(xp), "fft_r2c": real_transform(xp), "fft_c2r": hermitian_transform(xp)}


def complex_transform(xp: Module) -> Kernel:
    """Make the kernel ``fft_c2c``."""

    def c2c(input: Array, dims: Sequence[int], forward: bool) -> Array:
        """The complex transform along ``dims``, not normalised."""
        if forward:
            result = xp.fft.fftn(input, axes=dims, norm="backward")
        else:
            result = xp.fft.ifftn(input, axes=dims, norm="forward")
        return result.astype(_COMPLEX[input.dtype.char], copy=False)

    return c2c


def real_transform(xp: Module) -> Kernel:
    """Make the kernel ``fft_r2c``."""

    def r2c(input: Array, dim: int) -> Array:
        """The first half of the transform of a real array, not normalised."""
        return xp.fft.rfft(input, axis=dim, norm="backward").astype(_COMPLEX[input.dtype.char], copy=False)

    return r2c


def hermitian_transform(xp: Module) -> Kernel:
    """Make the kernel ``fft_c2r``."""

    def c2r(input: Array, dim: int, n: int) -> Array:
        """The real transform of the first half of a Hermitian signal, not normalised."""
        return xp.fft.irfft(input, n, axis=dim, norm="forward").astype(_REAL[input.dtype.char], copy=False)

    return c2r
