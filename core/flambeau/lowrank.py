"""Decompositions of low rank: a few singular or eigenvalues of large matrices."""

from __future__ import annotations

from typing import Any

from flambeau import random
from flambeau.autograd.grad_mode import no_grad
from flambeau.dtypes import FLOATING, finfo
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

__all__ = ["lobpcg", "pca_lowrank", "svd_lowrank"]


# -- singular values, at random --------------------------------------------------------------------------------------


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return U (..., m, q), S (..., q) and V (..., n, q) with ``A - M`` about ``U diag(S) V^H``.

    Halko, Martinsson and Tropp, "Finding structure with randomness", 2009, algorithms 4.4 and 5.1: the result is
    random, and close to the best where singular values fall off after the q first.

    Args:
        q: how many singular values; a little more than the rank.
        niter: subspace iterations.
        M: subtracted from A, broadcast; None for 0.
    """
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    m, n = A.shape[-2:]
    if not 0 <= q <= min(m, n):
        raise ValueError(
            f"svd_lowrank: q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    if niter < 0:
        raise ValueError(f"svd_lowrank: niter(={niter}) must be non-negative integer")
    shifted = A if M is None else A - M.expand(A.shape)
    wide = m < n
    tall = shifted.mH if wide else shifted
    Q = _range_of(tall, q, niter)
    U, S, Vh = TENSORS.linalg_svd(Q.mH @ tall, False)
    left, right = Q @ U, Vh.mH
    return (right, S, left) if wide else (left, S, right)


def _range_of(A: Tensor, q: int, niter: int) -> Tensor:
    """Q (..., m, q) with orthonormal columns that about span what A maps to."""
    drawn = random.randn(A.shape[-1], q, dtype=A.dtype, device=A.device)
    Q = TENSORS.linalg_qr(A @ drawn)[0]
    for _ in range(niter):
        Q = TENSORS.linalg_qr(A.mH @ Q)[0]
        Q = TENSORS.linalg_qr(A @ Q)[0]
    return Q


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Return the principal components of rows: :func:`svd_lowrank` of A less the mean of its rows.

    The columns of V are the principal directions, ``A @ V[:, :k]`` projects on the k first, and
    ``S ** 2 / (m - 1)`` are the variances.

    Args:
        q: how many; ``min(6, m, n)`` unless given.
        center: subtract the mean.
    """
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(
            f"pca_lowrank: q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    if niter < 0:
        raise ValueError(f"pca_lowrank: niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)


# -- eigenvalues -----------------------------------------------------------------------------------------------------


def lobpcg(
    A: Tensor, k: int | None = None, B: Tensor | None = None, X: Tensor | None = None, n: int | None = None,
    iK: Tensor | None = None, niter: int | None = None, tol: float | None = None, largest: bool | None = None,
    method: str | None = None, tracker: Any = None, ortho_iparams: Any = None, ortho_fparams: Any = None,
    ortho_bparams: Any = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the k largest (smallest) eigenvalues E (..., k) and eigenvectors X (..., m, k) of ``A X = B X diag(E)``.

    By the locally optimal block preconditioned conjugate gradient method (Knyazev, 2001): eigenvectors are sought in
    the span of the last ones, their residuals and the last directions. The eigenvalues have a gradient.

    Args:
        A: symmetric, (..., m, m).
        k: how many; the columns of X, or 1.
        B: symmetric positive-definite; None for the identity.
        X: where to begin, (..., m, n); random unless given.
        n: the size of that random X, k unless given.
        iK: a preconditioner, about the inverse of A.
        niter: the most iterations; -1 for as many as are needed, None for 1000.
        tol: stop at residuals of ``tol (|A| + |E| |B|) |X|``; the root of the dtype's precision unless given.
        largest: the largest eigenvalues (the default), or the smallest.
        method: ``"basic"`` or ``"ortho"``; both mean the same here.
        tracker: called with nothing to track; must be None.
        ortho_iparams, ortho_fparams, ortho_bparams: accepted and ignored: directions are orthogonalised by QR.

    Raises:
        ValueError: when m is less than 3 k, or the arguments do not fit.
    """
    m = A.shape[-1]
    if A.dtype.category < FLOATING or A.dtype.is_complex:
        raise RuntimeError(f"lobpcg: expected a real floating-point A, got {A.dtype}")
    if tracker is not None:
        raise NotImplementedError("lobpcg: tracker is not supported; pass None")
    if method not in (None, "basic", "ortho"):
        raise ValueError(f"lobpcg: method must be 'basic' or 'ortho', got {method!r}")
    if k is None:
        k = 1 if X is None else X.shape[-1]
    if X is not None:
        n = X.shape[-1]
    elif n is None:
        n = k
    if not 1 <= k <= n or 3 * n > m:
        raise ValueError(
            f"lobpcg: the size of A, {m}, must be at least three times the size of the subspace, {n}, and that at "
            f"least k={k}"
        )
    with no_grad():
        vectors = _iterate(A, B, X, n, iK, niter, tol, True if largest is None else largest)[..., :k]
    # With B-orthonormal vectors the Rayleigh quotients have the gradient of the eigenvalues.
    quotient = (vectors * (A @ vectors)).sum(-2)
    if B is not None:
        quotient = quotient / (vectors * (B @ vectors)).sum(-2)
    return quotient, vectors


def _iterate(
    A: Tensor, B: Tensor | None, X: Tensor | None, n: int, iK: Tensor | None, niter: int | None, tol: float | None,
    largest: bool,
) -> Tensor:  # fmt: skip
    """B-orthonormal vectors (..., m, n), in the order of the eigenvalues."""
    if X is None:
        X = random.randn(*A.shape[:-1], n, dtype=A.dtype, device=A.device)
    tol = finfo(A.dtype).eps ** 0.5 if tol is None else tol
    limit = 1000 if niter is None else niter
    norm_a = TENSORS.linalg_matrix_norm(A, "fro")
    norm_b = TENSORS.new_full(A, (), 1) if B is None else TENSORS.linalg_matrix_norm(B, "fro")
    values, X = _rayleigh_ritz(A, B, X, n, largest)
    before = None
    step = 0
    while limit < 0 or step < limit:
        residual = A @ X - (X if B is None else B @ X) * values.unsqueeze(-2)
        size = TENSORS.linalg_vector_norm(residual, 2, (residual.ndim - 2,), False)
        bound = (norm_a.unsqueeze(-1) + values.abs() * norm_b.unsqueeze(-1)) * tol
        if bool((size <= bound).all()):
            break
        directions = [X, residual if iK is None else iK @ residual]
        if before is not None:
            directions.append(before)
        basis = TENSORS.linalg_qr(TENSORS.cat(directions, -1))[0]
        values, updated = _rayleigh_ritz(A, B, basis, n, largest)
        before = updated - X @ (X.mT @ (updated if B is None else B @ updated))
        X = updated
        step += 1
    return X


def _rayleigh_ritz(A: Tensor, B: Tensor | None, basis: Tensor, n: int, largest: bool) -> tuple[Tensor, Tensor]:
    """The n first eigenvalues within the span of ``basis``, and their B-orthonormal vectors."""
    basis = TENSORS.linalg_qr(basis)[0]
    if B is not None:
        lower = TENSORS.linalg_cholesky(basis.mT @ B @ basis)
        basis = TENSORS.linalg_solve_triangular(lower.mT, basis, upper=True, left=False)
    values, vectors = TENSORS.linalg_eigh(basis.mT @ A @ basis)
    if largest:
        values, vectors = values.flip(-1), vectors.flip(-1)
    return values[..., :n], basis @ vectors[..., :n]
