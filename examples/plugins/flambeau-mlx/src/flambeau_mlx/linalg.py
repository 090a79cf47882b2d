"""Products of matrices, by MLX, and their decompositions, by LAPACK on the host.

MLX has decompositions on the CPU only, of real float32, and some of them say nothing of a matrix that has none. NumPy
has them in the same memory, complex ones too, and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy
from flambeau.dtypes import INTEGER

from flambeau_mlx.array import Array, fresh
from flambeau_mlx.evaluation import evaluate


def matmul(input: Array, other: Array) -> Array:
    """The matrix product, with NumPy's rules for vectors and batches; of integers on the host, for MLX has none.

    Raises:
        RuntimeError: when the shapes do not fit, or an operand has no dimension.
    """
    if input.dtype.category <= INTEGER:
        _check(input.shape, other.shape)
        return fresh(mx.array(numpy.matmul(*_on_host(input, other))))
    try:
        return fresh(mx.matmul(input.value, other.value))
    except ValueError:
        _check(input.shape, other.shape)
        raise


def _check(shape: tuple[int, ...], other: tuple[int, ...]) -> None:
    """Raise RuntimeError unless matrices of these shapes can be multiplied."""
    if not shape or not other:
        raise RuntimeError(
            f"matmul: both arguments to matmul need to be at least 1D, but they are {len(shape)}D and {len(other)}D"
        )
    inner = other[-2] if len(other) > 1 else other[0]
    if shape[-1] != inner:
        if len(shape) == len(other) == 2:
            sizes = f"({shape[0]}x{shape[1]} and {other[0]}x{other[1]})"
            raise RuntimeError(f"matmul: mat1 and mat2 shapes cannot be multiplied {sizes}")
        raise RuntimeError(
            f"matmul: the shapes {list(shape)} and {list(other)} cannot be multiplied: size {shape[-1]} does not match "
            f"size {inner}"
        )
    try:
        mx.broadcast_shapes(shape[:-2], other[:-2])
    except ValueError:
        raise RuntimeError(
            f"matmul: the batch dimensions of the shapes {list(shape)} and {list(other)} do not broadcast"
        ) from None


def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    """``input @ weight.T + bias``: (..., in), (out, in), (out,) -> (..., out); with a weight (in,) no out."""
    if input.dtype.category <= INTEGER:
        product = matmul(input, fresh(weight.value.T)).value
        return fresh(product if bias is None else product + bias.value)
    x, w = input.value, weight.value.T
    if bias is None or len(weight.shape) == 1 or len(input.shape) == 1:
        product = mx.matmul(x, w)
        return fresh(product if bias is None else product + bias.value)
    return fresh(mx.addmm(bias.value, x, w))


# -- decompositions --------------------------------------------------------------------------------------------------


def _on_host(*arrays: Array) -> list[Any]:
    values = [array.value for array in arrays]
    evaluate(*values)
    return [numpy.array(value) for value in values]


def on_host(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel from a function over ``numpy.ndarray``, whose errors name the op and the shapes."""

    def kernel(*args: Any) -> Any:
        arrays = [a for a in args if isinstance(a, Array)]
        rest = args[len(arrays) :]
        try:
            found = function(*_on_host(*arrays), *rest)
        except (numpy.linalg.LinAlgError, TypeError, ValueError) as error:
            seen = ", ".join(f"{list(a.shape)} {a.dtype.name}" for a in arrays)
            raise RuntimeError(f"{name}: {error} (the input: {seen})") from error
        return tuple([_back(part) for part in found]) if isinstance(found, tuple) else _back(found)

    kernel.__doc__ = function.__doc__
    return kernel


def _back(part: Any) -> Array:
    part = numpy.asarray(part)
    return fresh(mx.array(part.astype(numpy.complex64) if part.dtype == numpy.complex128 else part))


def _solve(A: Any, B: Any) -> Any:
    """The solution X of ``A X = B``; ``B`` holds vectors where its shape is ``A``'s without the last dimension."""
    if B.ndim == 1 or B.shape == A.shape[:-1]:
        return numpy.linalg.solve(A, B[..., None])[..., 0]
    return numpy.linalg.solve(A, B)


def _eig(A: Any) -> tuple[Any, Any]:
    """Eigenvalues and eigenvectors of square matrices, complex."""
    values, vectors = numpy.linalg.eig(A)
    return values.astype(numpy.complex64), vectors.astype(numpy.complex64)


KERNELS: dict[str, Callable[..., Any]] = {
    "matmul": matmul,
    "linear": linear,
    **{
        name: on_host(name, function)
        for name, function in {
            "linalg_solve": _solve,
            "linalg_inv": numpy.linalg.inv,
            "linalg_det": numpy.linalg.det,
            "linalg_cholesky": numpy.linalg.cholesky,
            "linalg_qr": lambda A: tuple(numpy.linalg.qr(A)),
            "linalg_svd": lambda A, full_matrices=True: tuple(numpy.linalg.svd(A, full_matrices)),
            "linalg_eigh": lambda A, upper=False: tuple(numpy.linalg.eigh(A, "U" if upper else "L")),
            "linalg_eig": _eig,
        }.items()
    },
}
