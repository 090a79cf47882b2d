"""Linear algebra: LAPACK under NumPy, cuSOLVER under CuPy. Batches of matrices are in the leading dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

Array = Any
Module = Any
Kernel = Callable[..., Any]


def kernels(xp: Module) -> dict[str, Kernel]:
    """The kernels of this module over the library ``xp``."""
    return {
        "linalg_solve": solver(xp),
        "linalg_cholesky": xp.linalg.cholesky,
        "linalg_qr": orthogonal(xp),
        "linalg_svd": singular_values(xp),
        "linalg_eigh": hermitian_eigenvalues(xp),
        "linalg_eig": eigenvalues(xp),
        "linalg_inv": xp.linalg.inv,
        "linalg_det": xp.linalg.det,
    }


def guarded(name: str, function: Kernel) -> Kernel:
    """``function`` with the library's errors as the RuntimeErrors that PyTorch raises, which name op and shapes."""

    def kernel(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (numpy.linalg.LinAlgError, TypeError, ValueError) as error:
            seen = ", ".join(f"{list(a.shape)} {a.dtype}" for a in args if hasattr(a, "dtype"))
            raise RuntimeError(f"{name}: {error} (the input: {seen})") from error

    kernel.__name__ = name
    kernel.__doc__ = function.__doc__
    return kernel


def solver(xp: Module) -> Kernel:
    """Make the kernel ``linalg_solve``."""

    def solve(A: Array, B: Array) -> Array:
        """The solution X of ``A X = B``; ``B`` holds vectors where its shape is ``A``'s without the last dimension."""
        if B.ndim == 1 or B.shape == A.shape[:-1]:
            return xp.linalg.solve(A, B[..., None])[..., 0]
        return xp.linalg.solve(A, B)

    return solve


def orthogonal(xp: Module) -> Kernel:
    """Make the kernel ``linalg_qr``."""

    def qr(A: Array) -> tuple[Array, Array]:
        """The reduced QR decomposition."""
        q, r = xp.linalg.qr(A)
        return q, r

    return qr


def singular_values(xp: Module) -> Kernel:
    """Make the kernel ``linalg_svd``."""

    def svd(A: Array, full_matrices: bool = True) -> tuple[Array, Array, Array]:
        """The singular value decomposition U, S, Vh with ``A = U diag(S) Vh``."""
        u, s, vh = xp.linalg.svd(A, full_matrices)
        return u, s, vh

    return svd


def hermitian_eigenvalues(xp: Module) -> Kernel:
    """Make the kernel ``linalg_eigh``."""

    def eigh(A: Array, upper: bool = False) -> tuple[Array, Array]:
        """Eigenvalues, in ascending order, and eigenvectors of Hermitian matrices, from one of their triangles."""
        w, v = xp.linalg.eigh(A, "U" if upper else "L")
        return w, v

    return eigh


def eigenvalues(xp: Module) -> Kernel:
    """Make the kernel ``linalg_eig``."""

    def eig(A: Array) -> tuple[Array, Array]:
        """Eigenvalues and eigenvectors of square matrices, complex."""
        w, v = xp.linalg.eig(A)
        kind = numpy.result_type(A.dtype, numpy.complex64)
        return w.astype(kind, copy=False), v.astype(kind, copy=False)

    return eig
