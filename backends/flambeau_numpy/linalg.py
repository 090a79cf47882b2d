"""Linear algebra, by LAPACK. Batches of matrices are in the leading dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from flambeau_numpy import elimination

Array = Any


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with NumPy's errors as the RuntimeErrors that PyTorch raises, which name the op and the shapes."""

    def kernel(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (numpy.linalg.LinAlgError, TypeError, ValueError) as error:
            seen = ", ".join(f"{list(a.shape)} {a.dtype}" for a in args if isinstance(a, numpy.ndarray))
            raise RuntimeError(f"{name}: {error} (the input: {seen})") from error

    kernel.__name__ = name
    kernel.__doc__ = function.__doc__
    return kernel


def solve(A: Array, B: Array) -> Array:
    """The solution X of ``A X = B``; ``B`` holds vectors where its shape is ``A``'s without the last dimension."""
    if B.ndim == 1 or B.shape == A.shape[:-1]:
        return numpy.linalg.solve(A, B[..., None])[..., 0]
    return numpy.linalg.solve(A, B)


def qr(A: Array) -> tuple[Array, Array]:
    """The reduced QR decomposition."""
    q, r = numpy.linalg.qr(A)
    return q, r


def svd(A: Array, full_matrices: bool = True) -> tuple[Array, Array, Array]:
    """The singular value decomposition U, S, Vh with ``A = U diag(S) Vh``."""
    u, s, vh = numpy.linalg.svd(A, full_matrices)
    return u, s, vh


def eigh(A: Array, upper: bool = False) -> tuple[Array, Array]:
    """Eigenvalues, in ascending order, and eigenvectors of Hermitian matrices, from one of their triangles."""
    w, v = numpy.linalg.eigh(A, "U" if upper else "L")
    return w, v


def eig(A: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of square matrices, complex."""
    w, v = numpy.linalg.eig(A)
    kind = numpy.result_type(A.dtype, numpy.complex64)
    return w.astype(kind, copy=False), v.astype(kind, copy=False)


KERNELS: dict[str, Callable[..., Any]] = {
    name: _guarded(name, function)
    for name, function in {
        "linalg_solve": solve,
        "linalg_cholesky": numpy.linalg.cholesky,
        "linalg_qr": qr,
        "linalg_svd": svd,
        "linalg_eigh": eigh,
        "linalg_eig": eig,
        "linalg_inv": numpy.linalg.inv,
        "linalg_det": numpy.linalg.det,
        **elimination.FUNCTIONS,
    }.items()
}
