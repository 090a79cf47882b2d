"""Discrete Fourier transforms, not normalised; the public forms are in :mod:`flambeau.fft`.

The three are composites, so that a backend without an FFT has them all the same: their decomposition multiplies by the
matrix of the transform, in O(n^2) steps a row.
"""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import int64
from flambeau.ops.declare import composite

Tensor = Any
Xp = Any


def _matrix(xp: Xp, like: Any, n: int, columns: int, forward: bool) -> Any:
    """The (n, columns) matrix of exp(-+ 2 pi i j k / n)."""
    real = xp.dtype_of(like).to_real()
    where = xp.device_of(like)
    rows = xp.reshape(xp.arange(0, n, 1, int64, where), (n, 1))
    # j k modulo n as integers: the angles stay small, and exact for any length.
    places = xp.remainder(xp.mul(rows, xp.arange(0, columns, 1, int64, where)), n)
    angles = xp.mul(xp.to_dtype(places, real), (-2 if forward else 2) * math.pi / n)
    return xp.complex(xp.cos(angles), xp.sin(angles))


def _along(xp: Xp, input: Any, dim: int, matrix: Any) -> Any:
    """``input`` multiplied by ``matrix`` along ``dim``."""
    ndim = len(input.shape)
    order = (*(d for d in range(ndim) if d != dim), dim)
    product = xp.matmul(xp.permute(input, order), matrix)
    return xp.permute(product, tuple(order.index(d) for d in range(ndim)))


@composite(public=())
def fft_c2c(xp: Xp, input: Tensor, dims: Any, forward: bool) -> Tensor:
    """Return the complex sums over x[j] exp(-+ 2 pi i j k / n) along each of ``dims`` (non-negative)."""
    for dim in dims:
        n = input.shape[dim]
        input = _along(xp, input, dim, _matrix(xp, input, n, n, forward))
    return input


fft_c2c.vjp(input=lambda xp, g, dims, forward: xp.fft_c2c(g, dims, not forward))


@composite(public=())
def fft_r2c(xp: Xp, input: Tensor, dim: int) -> Tensor:
    """Return the n // 2 + 1 first complex sums over x[j] exp(-2 pi i j k / n) of a real array along ``dim``."""
    n = input.shape[dim]
    wide = xp.to_dtype(input, xp.dtype_of(input).to_complex())
    return _along(xp, wide, dim, _matrix(xp, input, n, n // 2 + 1, True))


def _r2c_vjp(xp: Xp, g: Any, dim: int, input_spec: Any) -> Any:
    n = input_spec.shape[dim]
    tail = list(g.shape)
    tail[dim] = n - tail[dim]
    if tail[dim]:
        g = xp.cat([g, xp.full(tuple(tail), 0, xp.dtype_of(g), xp.device_of(g))], dim)
    return xp.real(xp.fft_c2c(g, (dim,), False))


fft_r2c.vjp(input=_r2c_vjp)


def _half_weights(xp: Xp, like: Any, dim: int, n: int) -> Any:
    """How often each of the n // 2 + 1 first frequencies of a real signal occurs among all n: 1 or 2."""
    size = n // 2 + 1
    real = xp.dtype_of(like).to_real()
    where = xp.device_of(like)
    single = [xp.full((1,), 1, real, where)]
    double = size - 1 - (n % 2 == 0)
    parts = single + [xp.full((double,), 2, real, where)] * (double > 0) + single * (n % 2 == 0)
    shape = [1] * len(like.shape)
    shape[dim] = size
    return xp.to_dtype(xp.reshape(xp.cat(parts, 0), tuple(shape)), xp.dtype_of(like).to_complex())


@composite(public=())
def fft_c2r(xp: Xp, input: Tensor, dim: int, n: int) -> Tensor:
    """Return the n real sums over x[k] exp(2 pi i j k / n) of a Hermitian signal, given by its n // 2 + 1 first values.

    The imaginary parts of the frequency 0 and, for even n, n / 2 are taken as 0.
    """
    weighted = xp.mul(input, _half_weights(xp, input, dim, n))
    matrix = _matrix(xp, input, n, n // 2 + 1, False)
    return xp.real(_along(xp, weighted, dim, xp.permute(matrix, (1, 0))))


def _c2r_vjp(xp: Xp, g: Any, dim: int, n: int) -> Any:
    spectrum = xp.fft_r2c(g, dim)
    return xp.mul(spectrum, _half_weights(xp, spectrum, dim, n))


fft_c2r.vjp(input=_c2r_vjp)
