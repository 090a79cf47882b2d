"""Numbers that describe matrices: determinants, ranks, condition numbers, norms."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from flambeau.dtypes import dtype
from flambeau.linalg._arguments import as_floating, check, check_square, finish, run
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

__all__ = ["cond", "det", "matrix_norm", "matrix_rank", "norm", "slogdet", "vector_norm"]

SlogdetResult = namedtuple("SlogdetResult", ("sign", "logabsdet"))


def det(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the determinants. The gradient holds for singular matrices, too."""
    check_square("det", A=A)
    return finish(run("linalg_det", A), out)


def slogdet(A: Tensor, *, out: Any = None) -> Any:
    """Return the determinants' signs and the logarithms of their moduli, as a named tuple ``(sign, logabsdet)``."""
    check_square("slogdet", A=A)
    return finish(SlogdetResult(*run("linalg_slogdet", A)), out)


def matrix_rank(
    A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None, out: Any = None
) -> Tensor:
    """Return the number of singular values larger than ``max(atol, rtol * largest)``.

    Args:
        tol: an older name of ``atol``, which leaves ``rtol`` at 0.
        hermitian: A is Hermitian; its lower triangle is read, and the moduli of its eigenvalues are counted.
        atol, rtol: numbers, or tensors with one for each matrix. Without them ``rtol`` is ``max(m, n)`` times the
            dtype's precision.
    """
    check("matrix_rank", A=A)
    if hermitian:
        check_square("matrix_rank", A=A)
    if tol is not None:
        atol, rtol = tol, 0.0
    return finish(run("linalg_matrix_rank", A, atol, rtol, hermitian), out)


def cond(A: Tensor, p: Any = None, *, out: Tensor | None = None) -> Tensor:
    """Return the condition numbers in the matrix norm ``p`` (2 unless given)."""
    check("cond", A=A)
    return finish(run("linalg_cond", A, p), out)


def vector_norm(
    x: Tensor, ord: float = 2, dim: int | Sequence[int] | None = None, keepdim: bool = False, *,
    dtype: dtype | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the ``ord``-norm of the elements over ``dim``, or of all; see ``ops.norm.linalg_vector_norm``."""
    x = as_floating("vector_norm", x, dtype)
    return finish(TENSORS.linalg_vector_norm(x, ord, dim, keepdim), out)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: tuple[int, int] = (-2, -1), keepdim: bool = False, *,
    dtype: dtype | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return a matrix norm: ``"fro"``, ``"nuc"``, inf, -inf, 1, -1, 2 or -2."""
    A = as_floating("matrix_norm", A, dtype)
    check("matrix_norm", A=A)
    return finish(run("linalg_matrix_norm", A, ord, dim, keepdim), out)


def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return a vector norm (one ``dim``, or ``ord`` None) or a matrix norm (two)."""
    A = as_floating("norm", A, dtype)
    return finish(run("linalg_norm", A, ord, dim, keepdim), out)
