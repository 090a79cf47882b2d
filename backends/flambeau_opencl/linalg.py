"""Linear algebra. Decompositions are computed on the host, by NumPy's LAPACK: their matrices go over and come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from flambeau_opencl.array import Array, from_host, to_host


def _on_host(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` over host arrays as a kernel; NumPy's errors as the RuntimeErrors that PyTorch raises."""

    def kernel(*args: Any, **kwargs: Any) -> Any:
        where = args[0].runtime
        try:
            found = function(*[to_host(a) if isinstance(a, Array) else a for a in args], **kwargs)
        except (numpy.linalg.LinAlgError, TypeError, ValueError) as error:
            seen = ", ".join(f"{list(a.shape)} {a.dtype.name}" for a in args if isinstance(a, Array))
            raise RuntimeError(f"{name}: {error} (the input: {seen})") from error
        if isinstance(found, tuple):
            return tuple([from_host(where, numpy.asarray(part)) for part in found])
        return from_host(where, numpy.asarray(found))

    kernel.__name__ = name
    kernel.__doc__ = f"``numpy.linalg`` on the host; see ``flambeau.linalg.{name.removeprefix('linalg_')}``."
    return kernel


def solve(A: Any, B: Any) -> Any:
    """The solution X of ``A X = B``; ``B`` holds vectors where its shape is ``A``'s without the last dimension."""
    if B.ndim == 1 or B.shape == A.shape[:-1]:
        return numpy.linalg.solve(A, B[..., None])[..., 0]
    return numpy.linalg.solve(A, B)


def svd(A: Any, full_matrices: bool = True) -> tuple[Any, Any, Any]:
    """U, S, Vh with ``A = U diag(S) Vh``."""
    u, s, vh = numpy.linalg.svd(A, full_matrices)
    return u, s, vh


def eig(A: Any) -> tuple[Any, Any]:
    """Eigenvalues and eigenvectors, complex."""
    w, v = numpy.linalg.eig(A)
    kind = numpy.result_type(A.dtype, numpy.complex64)
    return w.astype(kind, copy=False), v.astype(kind, copy=False)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "linalg_solve": solve,
    "linalg_cholesky": numpy.linalg.cholesky,
    "linalg_qr": lambda A: tuple(numpy.linalg.qr(A)),
    "linalg_svd": svd,
    "linalg_eigh": lambda A, upper=False: tuple(numpy.linalg.eigh(A, "U" if upper else "L")),
    "linalg_eig": eig,
    "linalg_inv": numpy.linalg.inv,
    "linalg_det": numpy.linalg.det,
}

KERNELS: dict[str, Callable[..., Any]] = {name: _on_host(name, function) for name, function in _FUNCTIONS.items()}
