"""Elimination, which NumPy has no functions for: LU, triangular systems, Cholesky decompositions that fail.

Loops go over columns and blocks of them; the matrices of a batch are done together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

Array = Any

_BLOCK = 32  # columns that are eliminated one by one, before one product brings the rest up to date


def lu_factor_ex(A: Array, pivot: bool = True) -> tuple[Array, Array, Array]:
    """LU, pivots (from 1) and info, by blocked elimination with partial pivoting (Golub and Van Loan, 3.2.11)."""
    *lead, m, n = A.shape
    count = int(numpy.prod(lead))
    lu = numpy.array(A).reshape(count, m, n)
    k = min(m, n)
    pivots = numpy.empty((count, k), numpy.int32)
    pivots[:] = numpy.arange(1, k + 1)
    for start in range(0, k, _BLOCK):
        end = min(start + _BLOCK, k)
        _eliminate(lu, pivots, start, end, pivot)
        if end < n:
            block = numpy.tril(lu[:, start:end, start:end], -1) + numpy.eye(end - start, dtype=lu.dtype)
            right = lu[:, start:end, end:] = numpy.linalg.solve(block, lu[:, start:end, end:])
            lu[:, end:, end:] -= lu[:, end:, start:end] @ right
    zero = numpy.diagonal(lu, 0, 1, 2) == 0
    info = numpy.where(zero.any(1), zero.argmax(1) + 1, 0) if k else numpy.zeros(count)
    return lu.reshape(A.shape), pivots.reshape(*lead, k), info.astype(numpy.int32).reshape(lead)


def _eliminate(lu: Array, pivots: Array, start: int, end: int, pivot: bool) -> None:
    """The columns from ``start`` to ``end``; rows are exchanged as a whole."""
    matrices = numpy.arange(len(lu))
    for j in range(start, end):
        if pivot:
            column = lu[:, j:, j]
            size = abs(column.real) + abs(column.imag) if lu.dtype.kind == "c" else abs(column)
            p = size.argmax(1) + j
            pivots[:, j] = p + 1
            row = lu[:, j].copy()
            lu[:, j] = lu[matrices, p]
            lu[matrices, p] = row
        head = lu[:, j : j + 1, j]
        lu[:, j + 1 :, j] /= numpy.where(head == 0, 1, head)
        lu[:, j + 1 :, j + 1 : end] -= lu[:, j + 1 :, j, None] * lu[:, j, None, j + 1 : end]


def lu_order(pivots: Array, m: int) -> Array:
    """The order in which the decomposition took the rows."""
    flat = pivots.reshape(int(numpy.prod(pivots.shape[:-1])), pivots.shape[-1]) - 1
    order = numpy.empty((len(flat), m), numpy.int64)
    order[:] = numpy.arange(m)
    matrices = numpy.arange(len(flat))
    for k in range(flat.shape[1]):
        p = flat[:, k]
        own = order[:, k].copy()
        order[:, k] = order[matrices, p]
        order[matrices, p] = own
    return order.reshape(*pivots.shape[:-1], m)


# -- triangles -------------------------------------------------------------------------------------------------------

_WHOLE = 64  # up to this size LAPACK's solver for general matrices is the fastest for triangles, too


def solve_triangular(A: Array, B: Array, upper: bool, left: bool = True, unitriangular: bool = False) -> Array:
    """The solution X of ``A X = B`` (``X A = B``), by blocks; infinite or NaN where the diagonal of A has zeros."""
    if not left:
        turned = solve_triangular(A.swapaxes(-1, -2), B.swapaxes(-1, -2), not upper, True, unitriangular)
        return turned.swapaxes(-1, -2)
    n = A.shape[-1]
    if n > _WHOLE:
        h = n // 2
        first, last = slice(None, h), slice(h, None)
        one, two = (last, first) if upper else (first, last)  # the part that stands alone, and the one that needs it
        x = solve_triangular(A[..., one, one], B[..., one, :], upper, True, unitriangular)
        rest = B[..., two, :] - A[..., two, one] @ x
        y = solve_triangular(A[..., two, two], rest, upper, True, unitriangular)
        return numpy.concatenate((y, x) if upper else (x, y), -2)
    triangle = numpy.triu(A) if upper else numpy.tril(A)
    if unitriangular:
        triangle[..., range(n), range(n)] = 1
    try:
        return numpy.linalg.solve(triangle, B)
    except numpy.linalg.LinAlgError:
        return _substitute(triangle, B, upper)


def _substitute(A: Array, B: Array, upper: bool) -> Array:
    """Row by row: what division by zero gives is kept."""
    lead = numpy.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    x = numpy.zeros((*lead, *B.shape[-2:]), B.dtype)
    n = A.shape[-1]
    with numpy.errstate(all="ignore"):
        for i in reversed(range(n)) if upper else range(n):
            done = slice(i + 1, None) if upper else slice(None, i)
            known = (A[..., i : i + 1, done] @ x[..., done, :])[..., 0, :]
            x[..., i, :] = (B[..., i, :] - known) / A[..., i, i, None]
    return x


# -- Cholesky --------------------------------------------------------------------------------------------------------


def cholesky_ex(A: Array) -> tuple[Array, Array]:
    """L, and the order of the first leading minor that is not positive-definite, 0 where all are."""
    try:
        return numpy.linalg.cholesky(A), numpy.zeros(A.shape[:-2], numpy.int32)
    except numpy.linalg.LinAlgError:
        pass
    n = A.shape[-1]
    lower = numpy.tril(A).reshape(-1, n, n)
    info = numpy.zeros(len(lower), numpy.int32)
    for i, matrix in enumerate(A.reshape(-1, n, n)):
        factored, failing = 0, n + 1  # between them the first minor that fails is sought by halving
        while failing - factored > 1:
            half = n if failing > n else (factored + failing) // 2
            try:
                lower[i, :half, :half] = numpy.linalg.cholesky(matrix[:half, :half])
                factored = half
            except numpy.linalg.LinAlgError:
                failing = half
        info[i] = failing if failing <= n else 0
    return lower.reshape(A.shape), info.reshape(A.shape[:-2])


def geqrf(input: Array) -> tuple[Array, Array]:
    """R and the Householder vectors in one matrix, and their factors."""
    packed, tau = numpy.linalg.qr(input, "raw")
    return packed.swapaxes(-1, -2), tau


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "linalg_lu_factor_ex": lu_factor_ex,
    "lu_order": lu_order,
    "linalg_solve_triangular": solve_triangular,
    "linalg_cholesky_ex": cholesky_ex,
    "geqrf": geqrf,
}
