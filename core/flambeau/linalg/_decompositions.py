"""Decompositions."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from flambeau.linalg._arguments import check, check_info, check_square, finish, run
from flambeau.ops.call import TENSORS
from flambeau.ops.decomposition import complete_qr
from flambeau.tensor import Tensor

__all__ = [
    "cholesky", "cholesky_ex", "eig", "eigh", "eigvals", "eigvalsh", "householder_product", "ldl_factor",
    "ldl_factor_ex", "lu", "lu_factor", "lu_factor_ex", "qr", "svd", "svdvals",
]  # fmt: skip

QRResult = namedtuple("QRResult", ("Q", "R"))
SVDResult = namedtuple("SVDResult", ("U", "S", "Vh"))
EigResult = namedtuple("EigResult", ("eigenvalues", "eigenvectors"))
EighResult = namedtuple("EighResult", ("eigenvalues", "eigenvectors"))
CholeskyExResult = namedtuple("CholeskyExResult", ("L", "info"))
LUResult = namedtuple("LUResult", ("P", "L", "U"))
LUFactorResult = namedtuple("LUFactorResult", ("LU", "pivots"))
LUFactorExResult = namedtuple("LUFactorExResult", ("LU", "pivots", "info"))
LDLFactorResult = namedtuple("LDLFactorResult", ("LD", "pivots"))
LDLFactorExResult = namedtuple("LDLFactorExResult", ("LD", "pivots", "info"))

_NOT_POSITIVE = (
    "The factorization could not be completed because the input is not positive-definite (the leading minor of order "
    "{k} is not positive-definite)."
)


# -- Cholesky --------------------------------------------------------------------------------------------------------


def cholesky(A: Tensor, *, upper: bool = False, out: Tensor | None = None) -> Tensor:
    """Return the lower triangular L with ``A = L L^H``, A Hermitian positive-definite (``upper``: U, ``U^H U``).

    The lower triangle of A is read (``upper``: the upper one).

    Raises:
        LinAlgError: when a matrix is not positive-definite.
    """
    check_square("cholesky", A=A)
    lower = run("linalg_cholesky", A.mH if upper else A)
    return finish(lower.mH if upper else lower, out)


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False, out: Any = None) -> Any:
    """Return :func:`cholesky` without raising, as a named tuple ``(L, info)``.

    ``info`` (int32, one a matrix) is 0, or the order of the first leading minor that is not positive-definite; what is
    in L then is not specified.

    Args:
        check_errors: raise as :func:`cholesky` does.
    """
    check_square("cholesky_ex", A=A)
    lower, info = TENSORS.linalg_cholesky_ex(A.mH if upper else A)
    if check_errors:
        check_info("cholesky_ex", info, _NOT_POSITIVE)
    return finish(CholeskyExResult(lower.mH if upper else lower, info), out)


# -- QR and singular values ------------------------------------------------------------------------------------------


def qr(A: Tensor, mode: str = "reduced", *, out: Any = None) -> Any:
    """Return Q with orthonormal columns and the upper triangular R, as a named tuple ``(Q, R)``.

    Args:
        mode: ``"reduced"``, Q of the shape (..., m, k) and R (..., k, n), k = min(m, n); ``"complete"``, Q square and
            without a gradient where m > n; ``"r"``, only R (Q is empty), without a gradient.
    """
    check("qr", A=A)
    if mode == "reduced":
        return finish(QRResult(*run("linalg_qr", A)), out)
    if mode == "r":
        return finish(QRResult(TENSORS.new_full(A, (0,), 0), run("linalg_qr", A)[1]), out)
    if mode != "complete":
        raise RuntimeError(f"linalg.qr: mode must be 'reduced', 'complete' or 'r', got {mode!r}")
    return finish(QRResult(*complete_qr(TENSORS, A.detach() if A.shape[-2] > A.shape[-1] else A)), out)


def householder_product(A: Tensor, tau: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the first n columns of a product of Householder reflectors: (..., m, n) (..., k) -> (..., m, n).

    Reflector i is ``I - tau[i] v v^H``; v is column i of A below the diagonal, with 1 on it and 0 above. With what
    :func:`flambeau.geqrf` returns it is Q.

    Raises:
        RuntimeError: unless m >= n >= k, and for other shapes or dtypes that do not fit.
    """
    check("householder_product", input=A)
    return finish(TENSORS.linalg_householder_product(A, tau), out)


def _check_driver(op: str, driver: str | None) -> None:
    if driver is not None:
        raise RuntimeError(f"linalg.{op}: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER "
                           f"backend, got {driver!r}")  # fmt: skip


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None, out: Any = None) -> Any:
    """Return U, S (descending) and V^H of ``A = U diag(S) V^H``, as a named tuple ``(U, S, Vh)``.

    The gradient is finite where no two singular values are equal; it ignores the columns of U and the rows of Vh beyond
    min(m, n), which are arbitrary. Complex vectors are determined up to a phase: a loss that depends on it raises in
    the backward pass.

    Args:
        full_matrices: U and Vh square; otherwise with min(m, n) columns and rows.
        driver: None; others are for cuSOLVER.
    """
    check("svd", A=A)
    _check_driver("svd", driver)
    return finish(SVDResult(*run("linalg_svd", A, full_matrices)), out)


def svdvals(A: Tensor, *, driver: str | None = None, out: Tensor | None = None) -> Tensor:
    """Return the singular values, descending."""
    check("svdvals", A=A)
    _check_driver("svdvals", driver)
    return finish(run("linalg_svd", A, False)[1], out)


# -- eigenvalues -----------------------------------------------------------------------------------------------------


def eigh(A: Tensor, UPLO: str = "L", *, out: Any = None) -> Any:
    """Return eigenvalues (ascending) and eigenvectors (columns) of Hermitian matrices, as a named tuple
    ``(eigenvalues, eigenvectors)``.

    The gradient of the vectors is finite where no two eigenvalues are equal; one that depends on their phase raises.

    Args:
        UPLO: which triangle is read, ``"L"`` or ``"U"``.
    """
    check_square("eigh", A=A)
    if UPLO not in ("L", "U", "l", "u"):
        raise RuntimeError(f"linalg.eigh: expected UPLO to be 'L' or 'U', got {UPLO!r}")
    return finish(EighResult(*run("linalg_eigh", A, UPLO in "Uu")), out)


def eigvalsh(A: Tensor, UPLO: str = "L", *, out: Tensor | None = None) -> Tensor:
    """Return the eigenvalues of Hermitian matrices, ascending."""
    return finish(eigh(A, UPLO)[0], out)


def eig(A: Tensor, *, out: Any = None) -> Any:
    """Return eigenvalues and eigenvectors (columns of norm 1) of square matrices, complex, as a named tuple
    ``(eigenvalues, eigenvectors)``; in no particular order.

    The gradient is finite where no two eigenvalues are equal; one that depends on the phase of the vectors raises.

    Raises:
        LinAlgError: when the iteration does not converge.
    """
    check_square("eig", A=A)
    return finish(EigResult(*run("linalg_eig", A)), out)


def eigvals(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the eigenvalues of square matrices, complex, in no particular order."""
    check_square("eigvals", A=A)
    return finish(run("linalg_eig", A)[0], out)


# -- LU and LDL ------------------------------------------------------------------------------------------------------


def lu(A: Tensor, *, pivot: bool = True, out: Any = None) -> Any:
    """Return P, L and U of ``A = P L U``, as a named tuple ``(P, L, U)``.

    P (..., m, m) permutes rows, L (..., m, k) is lower triangular with ones on its diagonal, U (..., k, n) is upper
    triangular, k = min(m, n).

    Args:
        pivot: exchange rows for the largest pivots; otherwise P is empty, and a pivot of 0 makes L and U useless.
    """
    check("lu", A=A)
    packed, pivots, _ = TENSORS.linalg_lu_factor_ex(A, pivot)
    return finish(LUResult(*TENSORS.lu_unpack(packed, pivots, True, pivot)), out)


def lu_factor(A: Tensor, *, pivot: bool = True, out: Any = None) -> Any:
    """Return the LU decomposition in the form that :func:`lu_solve` takes, as a named tuple ``(LU, pivots)``.

    LU (..., m, n) holds L below the diagonal and U from it on; row k was exchanged with row ``pivots[k] - 1``.

    Raises:
        RuntimeError: when an element on the diagonal of U is 0, where :func:`lu_solve` would divide by it.
    """
    packed, pivots, info = lu_factor_ex(A, pivot=pivot)
    check_info("lu_factor", info, _ZERO_PIVOT)
    return finish(LUFactorResult(packed, pivots), out)


_ZERO_PIVOT = (
    "U[{k},{k}] is zero and using it on lu_solve would result in a division by zero. For the factorization all the "
    "same, call linalg.lu(A) or linalg.lu_factor_ex(A)"
)


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False, out: Any = None) -> Any:
    """Return :func:`lu_factor` without raising, as a named tuple ``(LU, pivots, info)``.

    ``info`` (int32, one a matrix) is 0, or the first k, counted from 1, for which U[k, k] is 0.

    Args:
        check_errors: raise as :func:`lu_factor` does.
    """
    check("lu_factor", A=A)
    result = LUFactorExResult(*TENSORS.linalg_lu_factor_ex(A, pivot))
    if check_errors:
        check_info("lu_factor_ex", result.info, _ZERO_PIVOT)
    return finish(result, out)


def ldl_factor(A: Tensor, *, hermitian: bool = False, out: Any = None) -> Any:
    """Return the LDL decomposition of symmetric matrices in the form that :func:`ldl_solve` takes, as a named tuple
    ``(LD, pivots)``.

    The lower triangle is read. Bunch and Kaufman, 1977; see :mod:`flambeau.ops.ldl` for the form. No gradient.

    Args:
        hermitian: complex matrices are Hermitian instead of symmetric.

    Raises:
        LinAlgError: when D is singular.
    """
    result = ldl_factor_ex(A, hermitian=hermitian)
    check_info("ldl_factor", result.info, "The factorization has been completed, but D[{k},{k}] is exactly 0")
    return finish(LDLFactorResult(result.LD, result.pivots), out)


def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False, out: Any = None) -> Any:
    """Return :func:`ldl_factor` without raising, as a named tuple ``(LD, pivots, info)``.

    ``info`` (int32, one a matrix) is 0, or the first k, counted from 1, for which D[k, k] is 0.

    Args:
        check_errors: raise as :func:`ldl_factor` does.
    """
    check_square("ldl_factor", A=A)
    result = LDLFactorExResult(*TENSORS.linalg_ldl_factor_ex(A, hermitian))
    if check_errors:
        check_info("ldl_factor_ex", result.info, "The factorization has been completed, but D[{k},{k}] is exactly 0")
    return finish(result, out)
