"""Kernels that make arrays from numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy

Array = Any
DType = Any
Module = Any
Kernel = Callable[..., Any]


def kernels(xp: Module) -> dict[str, Kernel]:
    """The kernels of this module over the library ``xp``."""
    return {"arange": counting(xp), "eye": identity(xp), "complex": complex_of(xp), "clone": clone}


def counting(xp: Module) -> Kernel:
    """Make the kernel ``arange``."""

    def arange(start: float, end: float, step: float = 1, dtype: DType = None, device: Any = None) -> Array:
        """``start + i * step`` for as long as that is before ``end``.

        Floating-point values are computed in float64 from i, so that no error builds up.
        """
        if isinstance(start, int) and isinstance(end, int) and isinstance(step, int):
            own = numpy.dtype(numpy.int64) if dtype is None else dtype.numpy
            return xp.arange(start, end, step, xp.int64).astype(own, copy=False)
        own = numpy.dtype(numpy.float32) if dtype is None else dtype.numpy
        values = xp.arange(math.ceil((end - start) / step), dtype=xp.float64)
        xp.multiply(values, step, values)
        return xp.add(values, start, values).astype(own, copy=False)

    return arange


def identity(xp: Module) -> Kernel:
    """Make the kernel ``eye``."""

    def eye(n: int, m: int, dtype: DType, device: Any = None) -> Array:
        """The (n, m) array with ones on the main diagonal and zeros elsewhere."""
        return xp.eye(n, m, dtype=dtype.numpy)

    return eye


def complex_of(xp: Module) -> Kernel:
    """Make the kernel ``complex``."""

    def complex(real: Array, imag: Array) -> Array:
        """The complex array with these real and imaginary parts, which broadcast."""
        dtype = xp.complex128 if real.dtype == numpy.float64 else xp.complex64
        result = xp.empty(numpy.broadcast_shapes(real.shape, imag.shape), dtype)
        result.real = real
        result.imag = imag
        return result

    return complex


def clone(input: Array) -> Array:
    """A copy, contiguous in row-major order."""
    return input.copy()


def not_assignable(value_shape: Any, target_shape: Any) -> RuntimeError:
    """What ``assign`` raises for shapes that do not fit."""
    return RuntimeError(f"assign: the shape {list(value_shape)} does not broadcast to {list(target_shape)}")
