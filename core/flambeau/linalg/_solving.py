"""Solving and inverting."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from flambeau.dtypes import int32, int64
from flambeau.linalg._arguments import are_vectors, check, check_info, check_same_dtype, check_square, finish, run
from flambeau.linalg._properties import matrix_rank
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

__all__ = [
    "inv", "inv_ex", "ldl_solve", "lstsq", "lu_solve", "pinv", "solve", "solve_ex", "solve_triangular", "tensorinv",
    "tensorsolve",
]  # fmt: skip

LstsqResult = namedtuple("LstsqResult", ("solution", "residuals", "rank", "singular_values"))
SolveExResult = namedtuple("SolveExResult", ("result", "info"))
InvExResult = namedtuple("InvExResult", ("inverse", "info"))

_SINGULAR = "The diagonal element {k} of U is zero: the matrix is singular"


def solve(A: Tensor, B: Tensor, *, left: bool = True, out: Tensor | None = None) -> Tensor:
    """Return X with ``A X = B`` (``X A = B`` with ``left=False``).

    Args:
        A: shape (..., n, n), invertible.
        B: shape (..., n, k); or a vector (n,), or vectors (..., n) where A is (..., n, n).

    Raises:
        LinAlgError: when a matrix is singular.
    """
    return finish(_solved("solve", A, B, left, lambda A, B: run("linalg_solve", A, B)), out)


def _solved(op: str, A: Tensor, B: Tensor, left: bool, function: Any) -> Any:
    """``function`` on matrices for A and B, and X in the form of B."""
    check_square(op, A=A)
    check_same_dtype(op, A, B, "A", "B")
    vectors = are_vectors(A, B)
    if vectors and not left:
        raise ValueError(f"linalg.{op}: vector-like B is not supported with left=False")
    if vectors:
        B = B.unsqueeze(-1)
    rows = B.shape[-2] if left else B.shape[-1]
    if rows != A.shape[-1]:
        raise RuntimeError(f"linalg.{op}: Incompatible shapes of A and B: {list(A.shape)} and {list(B.shape)}")
    X = function(A, B) if left else function(A.mT, B.mT).mT
    return X.squeeze(-1) if vectors else X


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False, out: Any = None) -> Any:
    """Return :func:`solve` without raising, as a named tuple ``(result, info)``.

    ``info`` (int32, one a matrix) is 0, or the place, counted from 1, of the first zero on the diagonal of U in
    ``A = P L U``; the result is NaN then.

    Args:
        check_errors: raise as :func:`solve` does.
    """
    infos = []

    def function(A: Tensor, B: Tensor) -> Tensor:
        result, info = TENSORS.linalg_solve_ex(A, B)
        infos.append(info)
        return result

    result = _solved("solve_ex", A, B, left, function)
    if check_errors:
        check_info("solve_ex", infos[0], _SINGULAR)
    return finish(SolveExResult(result, infos[0]), out)


def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False, out: Tensor | None = None
) -> Tensor:
    """Return X with ``A X = B`` (``X A = B`` with ``left=False``), reading one triangle of A.

    A zero on the diagonal makes elements infinite or NaN; nothing is raised.

    Args:
        upper: which triangle.
        unitriangular: take A's diagonal for ones.
    """
    check_square("solve_triangular", A=A)
    check("solve_triangular", A=A, B=B)
    if B.shape[-2 if left else -1] != A.shape[-1]:
        raise RuntimeError(
            f"linalg.solve_triangular: Incompatible shapes of A and B: {list(A.shape)} and {list(B.shape)}"
        )
    X = TENSORS.linalg_solve_triangular(A, B, upper=upper, left=left, unitriangular=unitriangular)
    return finish(X, out)


def lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False, out: Tensor | None = None
) -> Tensor:
    """Return X with ``A X = B`` from what :func:`lu_factor` returned for A; the batches broadcast.

    Args:
        left: otherwise ``X A = B``.
        adjoint: with A^H in place of A.
    """
    check_square("lu_solve", LU=LU)
    check("lu_solve", LU=LU, B=B)
    _check_pivots("lu_solve", pivots)
    return finish(TENSORS.linalg_lu_solve(LU, pivots, B, left=left, adjoint=adjoint), out)


def _check_pivots(op: str, pivots: Tensor) -> None:
    if pivots.dtype not in (int32, int64):
        raise RuntimeError(f"linalg.{op}: pivots should be a Tensor of int32, got {pivots.dtype}")


def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False, out: Tensor | None = None) -> Tensor:
    """Return X with ``A X = B`` from what :func:`ldl_factor` returned for A, with the same ``hermitian``."""
    check_square("ldl_solve", LD=LD)
    check("ldl_solve", LD=LD, B=B)
    _check_pivots("ldl_solve", pivots)
    return finish(run("linalg_ldl_solve", LD, pivots, B, hermitian=hermitian), out)


def inv(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the inverses.

    Raises:
        LinAlgError: when a matrix is singular.
    """
    check_square("inv", A=A)
    return finish(run("linalg_inv", A), out)


def inv_ex(A: Tensor, *, check_errors: bool = False, out: Any = None) -> Any:
    """Return :func:`inv` without raising, as a named tuple ``(inverse, info)``; ``info`` as for :func:`solve_ex`."""
    check_square("inv_ex", A=A)
    inverse, info = TENSORS.linalg_inv_ex(A)
    if check_errors:
        check_info("inv_ex", info, _SINGULAR)
    return finish(InvExResult(inverse, info), out)


def pinv(
    A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None, out: Any = None
) -> Tensor:
    """Return the Moore-Penrose pseudoinverses; singular values up to ``max(atol, rtol * largest)`` count as zero.

    Args:
        rcond: an older name of ``rtol``.
        hermitian: A is Hermitian; its lower triangle is read.
        atol, rtol: numbers, or tensors with one for each matrix. Without them ``rtol`` is ``max(m, n)`` times the
            dtype's precision.
    """
    check("pinv", A=A)
    if hermitian:
        check_square("pinv", A=A)
    return finish(run("linalg_pinv", A, atol, rcond if rtol is None else rtol, hermitian), out)


_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """Return the least-squares solution of ``A X = B`` as a named tuple ``(solution, residuals, rank,
    singular_values)``.

    The solution of least norm, from the singular value decomposition whatever the driver; the driver says what comes
    with it, as in PyTorch. ``residuals``, the squared norms of the columns of ``A X - B``, are empty unless m > n, the
    driver is another than ``"gelsy"`` and, but for ``"gels"``, all matrices are of full rank. ``rank`` is empty for
    ``"gels"``, ``singular_values`` except for ``"gelsd"`` and ``"gelss"``.

    Args:
        rcond: singular values up to this times the largest count as zero.
        driver: ``"gels"``, ``"gelsy"`` (the default), ``"gelsd"`` or ``"gelss"``.
    """
    check("lstsq", A=A)
    check_same_dtype("lstsq", A, B, "A", "B")
    driver = "gelsy" if driver is None else driver
    if driver not in _DRIVERS:
        raise RuntimeError(f"linalg.lstsq: parameter `driver` should be one of {', '.join(_DRIVERS)}, got {driver!r}")
    vectors = are_vectors(A, B)
    right = B.unsqueeze(-1) if vectors else B
    if right.shape[-2] != A.shape[-2]:
        raise RuntimeError(f"linalg.lstsq: Incompatible shapes of A and B: {list(A.shape)} and {list(B.shape)}")
    solution = run("linalg_lstsq", A, right, None if driver == "gels" else rcond)
    empty = TENSORS.new_full(A, (0,), 0, A.dtype.to_real())
    rank = TENSORS.new_full(A, (0,), 0, int64)
    values = residuals = empty
    if driver != "gels":
        rank = matrix_rank(A.detach(), rtol=rcond)
    if driver in ("gelsd", "gelss"):
        values = run("linalg_svd", A.detach(), False)[1]
    full = driver == "gels" or (driver != "gelsy" and bool((rank == A.shape[-1]).all()))
    if A.shape[-2] > A.shape[-1] and full:
        residuals = (A @ solution - right).abs().square().sum(-2)
    return LstsqResult(solution.squeeze(-1) if vectors else solution, residuals, rank, values)


def tensorinv(A: Tensor, ind: int = 2, *, out: Tensor | None = None) -> Tensor:
    """Return the inverse of A as a linear map from its last dimensions to its ``ind`` first ones: the X with
    ``tensordot(X, A, ind)`` the identity.

    Raises:
        RuntimeError: when ``ind`` is not positive, or the two groups of dimensions have different numbers of elements.
        LinAlgError: when the map is singular.
    """
    return finish(run("linalg_tensorinv", A, ind), out)


def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None, *, out: Tensor | None = None) -> Tensor:
    """Return X with ``tensordot(A, X, X.ndim) = B``.

    Args:
        dims: dimensions of A that are moved to its end first.

    Raises:
        RuntimeError: when A is no square map from X to B.
        LinAlgError: when the map is singular.
    """
    return finish(run("linalg_tensorsolve", A, B, dims), out)
