"""Linear algebra (``torch.linalg``). All functions work on batches: matrices are the last two dimensions."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from flambeau.dtypes import FLOATING, dtype
from flambeau.ops.call import TENSORS
from flambeau.ops.declare import OPS
from flambeau.ops.entry import entry, write_out
from flambeau.tensor import Tensor

__all__ = [
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "lstsq", "matmul",
    "matrix_norm", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve",
    "solve_triangular", "svd", "svdvals", "vander", "vecdot", "vector_norm",
]  # fmt: skip


class LinAlgError(RuntimeError):
    """A matrix is singular or not positive-definite, or no convergence (``torch.linalg.LinAlgError``)."""


matmul = entry(OPS["matmul"])
matrix_power = entry(OPS["matrix_power"])

QRResult = namedtuple("QRResult", ("Q", "R"))
SVDResult = namedtuple("SVDResult", ("U", "S", "Vh"))
EighResult = namedtuple("EighResult", ("eigenvalues", "eigenvectors"))
SlogdetResult = namedtuple("SlogdetResult", ("sign", "logabsdet"))
LstsqResult = namedtuple("LstsqResult", ("solution", "residuals", "rank", "singular_values"))


def _check(op: str, **matrices: Any) -> None:
    for name, matrix in matrices.items():
        if not isinstance(matrix, Tensor):
            raise TypeError(f"linalg.{op}(): argument '{name}' must be Tensor, not {type(matrix).__name__}")
        if matrix.dtype.category < FLOATING:
            raise RuntimeError(
                f"linalg.{op}: expected a floating point or complex tensor as {name}, got {matrix.dtype}"
            )
        if matrix.ndim < 2:
            raise RuntimeError(
                f"linalg.{op}: The input tensor {name} must have at least 2 dimensions, got {list(matrix.shape)}"
            )


def _check_square(op: str, **matrices: Any) -> None:
    _check(op, **matrices)
    for name, matrix in matrices.items():
        if matrix.shape[-1] != matrix.shape[-2]:
            raise RuntimeError(
                f"linalg.{op}: {name} must be batches of square matrices, but they are {matrix.shape[-2]} by "
                f"{matrix.shape[-1]} matrices"
            )


def _run(op: str, *arguments: Any) -> Any:
    """Run an op; what the array library says of a matrix becomes a :class:`LinAlgError`."""
    try:
        return getattr(TENSORS, op)(*arguments)
    except Exception as error:
        # Each array library has a LinAlgError of its own, which its backend may have wrapped.
        if "LinAlgError" in (type(error).__name__, type(error.__cause__).__name__):
            raise LinAlgError(f"{op.replace('linalg_', 'linalg.')}: {error}") from error
        raise


def _out(result: Any, out: Any) -> Any:
    return result if out is None else write_out(OPS["matmul"], result, out)


# -- decompositions --------------------------------------------------------------------------------------------------


def cholesky(A: Tensor, *, upper: bool = False, out: Tensor | None = None) -> Tensor:
    """Return the lower triangular L with ``A = L L^H``, A Hermitian positive-definite (``upper``: U, ``U^H U``).

    Raises:
        LinAlgError: when a matrix is not positive-definite.
    """
    _check_square("cholesky", A=A)
    lower = _run("linalg_cholesky", A)
    return _out(lower.mH if upper else lower, out)


def qr(A: Tensor, mode: str = "reduced", *, out: Any = None) -> Any:
    """Return Q with orthonormal columns and the upper triangular R, as a named tuple ``(Q, R)``.

    Args:
        mode: ``"reduced"``, Q of the shape (..., m, k) and R (..., k, n), k = min(m, n); ``"complete"``, Q square and
            without a gradient; ``"r"``, only R (Q is empty).
    """
    _check("qr", A=A)
    if mode == "reduced":
        return _out(QRResult(*_run("linalg_qr", A)), out)
    if mode == "r":
        return _out(QRResult(TENSORS.new_full(A, (0,), 0), _run("linalg_qr", A)[1]), out)
    if mode != "complete":
        raise RuntimeError(f"linalg.qr: mode must be 'reduced', 'complete' or 'r', got {mode!r}")
    m, n = A.shape[-2:]
    if m <= n:
        return _out(QRResult(*_run("linalg_qr", A)), out)
    # The columns of Q that are missing are an orthonormal basis of what those of A do not span.
    q, r = _run("linalg_qr", A.detach())
    rest = _run("linalg_svd", q, True)[0][..., n:]
    padding = TENSORS.new_full(r, (*A.shape[:-2], m - n, n), 0)
    return _out(QRResult(TENSORS.cat([q, rest], -1), TENSORS.cat([r, padding], -2)), out)


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None, out: Any = None) -> Any:
    """Return U, S (descending) and V^H of ``A = U diag(S) V^H``, as a named tuple ``(U, S, Vh)``.

    Args:
        full_matrices: U and Vh square; otherwise with min(m, n) columns and rows, which has a gradient.
        driver: accepted and ignored.
    """
    _check("svd", A=A)
    return _out(SVDResult(*_run("linalg_svd", A, full_matrices)), out)


def svdvals(A: Tensor, *, driver: str | None = None, out: Tensor | None = None) -> Tensor:
    """Return the singular values, descending."""
    _check("svdvals", A=A)
    return _out(_run("linalg_svd", A, False)[1], out)


def eigh(A: Tensor, UPLO: str = "L", *, out: Any = None) -> Any:
    """Return eigenvalues (ascending) and eigenvectors (columns) of Hermitian matrices, as a named tuple
    ``(eigenvalues, eigenvectors)``. ``UPLO`` says which triangle is read."""
    _check_square("eigh", A=A)
    if UPLO not in ("L", "U", "l", "u"):
        raise RuntimeError(f"linalg.eigh: expected UPLO to be 'L' or 'U', got {UPLO!r}")
    return _out(EighResult(*_run("linalg_eigh", A if UPLO in "Ll" else A.mH)), out)


def eigvalsh(A: Tensor, UPLO: str = "L", *, out: Tensor | None = None) -> Tensor:
    """Return the eigenvalues of Hermitian matrices, ascending."""
    return _out(eigh(A, UPLO)[0], out)


# -- solving ---------------------------------------------------------------------------------------------------------


def solve(A: Tensor, B: Tensor, *, left: bool = True, out: Tensor | None = None) -> Tensor:
    """Return X with ``A X = B`` (``X A = B`` with ``left=False``).

    Args:
        A: shape (..., n, n), invertible.
        B: shape (..., n, k); or a vector (n,), or vectors (..., n) where A is (..., n, n).

    Raises:
        LinAlgError: when a matrix is singular.
    """
    _check_square("solve", A=A)
    if A.dtype is not B.dtype:
        raise RuntimeError(f"linalg.solve: Expected A and B to have the same dtype, but found {A.dtype} and {B.dtype}")
    vectors = B.ndim == 1 or (A.ndim - 1 == B.ndim and B.shape == A.shape[:-1])
    if vectors:
        B = B.unsqueeze(-1)
    rows = B.shape[-2] if left or vectors else B.shape[-1]
    if rows != A.shape[-1]:
        raise RuntimeError(f"linalg.solve: Incompatible shapes of A and B: {list(A.shape)} and {list(B.shape)}")
    if left:
        X = _run("linalg_solve", A, B)
    elif vectors:
        raise ValueError("linalg.solve: vector-like B is not supported with left=False")
    else:
        X = _run("linalg_solve", A.mT, B.mT).mT
    return _out(X.squeeze(-1) if vectors else X, out)


def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False, out: Tensor | None = None
) -> Tensor:
    """Return X with ``A X = B`` (``X A = B`` with ``left=False``), reading one triangle of A.

    Args:
        upper: which triangle.
        unitriangular: take A's diagonal for ones.
    """
    _check_square("solve_triangular", A=A)
    _check("solve_triangular", B=B)
    X = TENSORS.linalg_solve_triangular(A, B, upper=upper, left=left, unitriangular=unitriangular)
    return _out(X, out)


def inv(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the inverses.

    Raises:
        LinAlgError: when a matrix is singular.
    """
    _check_square("inv", A=A)
    return _out(_run("linalg_inv", A), out)


def pinv(
    A: Tensor, *, atol: float | None = None, rtol: float | None = None, hermitian: bool = False, out: Any = None
) -> Tensor:
    """Return the Moore-Penrose pseudoinverses; singular values up to ``max(atol, rtol * largest)`` count as zero."""
    _check("pinv", A=A)
    return _out(_run("linalg_pinv", A, atol, rtol), out)


def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None) -> Any:
    """Return the least-squares solution of ``A X = B`` as a named tuple ``(solution, residuals, rank,
    singular_values)``.

    The solution of least norm, from the singular value decomposition. ``residuals`` is empty unless m > n.

    Args:
        rcond: singular values up to this times the largest count as zero.
        driver: accepted and ignored.
    """
    _check("lstsq", A=A)
    vectors = B.ndim == 1 or (A.ndim - 1 == B.ndim and B.shape == A.shape[:-1])
    right = B.unsqueeze(-1) if vectors else B
    if right.shape[-2] != A.shape[-2]:
        raise RuntimeError(f"linalg.lstsq: Incompatible shapes of A and B: {list(A.shape)} and {list(B.shape)}")
    solution = _run("linalg_pinv", A, None, rcond) @ right
    rank = matrix_rank(A.detach(), rtol=rcond)
    if A.shape[-2] > A.shape[-1]:
        difference = A @ solution - right
        residuals = (difference.abs() ** 2).sum(-2)
    else:
        residuals = TENSORS.new_full(A, (0,), 0)
    return LstsqResult(solution.squeeze(-1) if vectors else solution, residuals, rank, svdvals(A.detach()))


# -- numbers that describe a matrix ----------------------------------------------------------------------------------


def det(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the determinants. The gradient needs invertible matrices."""
    _check_square("det", A=A)
    return _out(_run("linalg_det", A), out)


def slogdet(A: Tensor, *, out: Any = None) -> Any:
    """Return the determinants' signs and the logarithms of their moduli, as a named tuple ``(sign, logabsdet)``."""
    _check_square("slogdet", A=A)
    return _out(SlogdetResult(*_run("linalg_slogdet", A)), out)


def matrix_rank(
    A: Tensor, *, atol: float | None = None, rtol: float | None = None, hermitian: bool = False, out: Any = None
) -> Tensor:
    """Return the number of singular values larger than ``max(atol, rtol * largest)``."""
    _check("matrix_rank", A=A)
    return _out(_run("linalg_matrix_rank", A, atol, rtol, hermitian), out)


def cond(A: Tensor, p: Any = None, *, out: Tensor | None = None) -> Tensor:
    """Return the condition numbers in the matrix norm ``p`` (2 unless given)."""
    _check("cond", A=A)
    return _out(_run("linalg_cond", A, p), out)


def _as_floating(op: str, x: Tensor, kind: dtype | None) -> Tensor:
    if kind is not None:
        x = x.to(kind)
    if x.dtype.category < FLOATING:
        raise RuntimeError(f"linalg.{op}: expected a floating point or complex tensor as input, got {x.dtype}")
    return x


def vector_norm(
    x: Tensor, ord: float = 2, dim: int | Sequence[int] | None = None, keepdim: bool = False, *,
    dtype: dtype | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the ``ord``-norm of the elements over ``dim``, or of all; see ``ops.matrix.linalg_vector_norm``."""
    x = _as_floating("vector_norm", x, dtype)
    return _out(TENSORS.linalg_vector_norm(x, ord, dim, keepdim), out)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: tuple[int, int] = (-2, -1), keepdim: bool = False, *,
    dtype: dtype | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return a matrix norm: ``"fro"``, ``"nuc"``, inf, -inf, 1, -1, 2 or -2."""
    A = _as_floating("matrix_norm", A, dtype)
    _check("matrix_norm", A=A)
    return _out(_run("linalg_matrix_norm", A, ord, dim, keepdim), out)


def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return a vector norm (one ``dim``, or ``ord`` None) or a matrix norm (two)."""
    A = _as_floating("norm", A, dtype)
    return _out(_run("linalg_norm", A, ord, dim, keepdim), out)


# -- products --------------------------------------------------------------------------------------------------------


def cross(input: Tensor, other: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """Return the cross products of 3-vectors along ``dim``."""
    return _out(TENSORS.linalg_cross(input, other, dim=dim), out)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """Return the dot products along ``dim``, the first argument conjugated."""
    first = TENSORS.conj(x) if x.is_complex() else x
    return _out(TENSORS.sum(TENSORS.mul(first, y), dim), out)


def multi_dot(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Return the product of matrices, in the order that takes the fewest operations."""
    return _out(TENSORS.linalg_multi_dot(list(tensors)), out)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return a view of the diagonals of matrices."""
    return TENSORS.diagonal(A, offset, dim1, dim2)


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """Return Vandermonde matrices: the powers 0, 1, ..., N - 1 of each element, (..., n) -> (..., n, N)."""
    from flambeau.creation import arange

    return x.unsqueeze(-1) ** arange(x.shape[-1] if N is None else N, device=x.device)
