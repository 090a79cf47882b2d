"""LDL decompositions of symmetric and Hermitian matrices. :mod:`flambeau.linalg` is the public face.

``A = P1 L1 P2 L2 ... D ... L2^H P2^T L1^H P1^T`` with blocks of one or two rows in D, as LAPACK keeps it (``sytrf``,
lower triangle): D on the diagonal and just below it, L below. ``pivots[k] = p > 0`` for a block of one row, exchanged
with row p (counted from 1); a block of rows k and k + 1 has twice the same negative number -p, for row k + 1 exchanged
with row p. The blocks are chosen as in Bunch and Kaufman, "Some stable methods for calculating inertia and solving
symmetric linear systems", 1977.
"""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import int32, int64
from flambeau.ops.declare import composite
from flambeau.ops.linalg import adjoint, as_column, check_square, swap
from flambeau.ops.lu import magnitude, take_rows
from flambeau.ops.spec import broadcast_shapes

Tensor = Any

_ALPHA = (1 + math.sqrt(17)) / 8  # bounds the growth of elements equally for both sizes of blocks


def _turned(xp: Any, x: Any, hermitian: bool) -> Any:
    return adjoint(xp, x) if hermitian else swap(xp, x)


def _at(xp: Any, matrix: Any, row: Any, column: Any) -> Any:
    """The elements (..., 1, 1) at rows and columns that differ from matrix to matrix (each (..., 1))."""
    line = take_row(xp, matrix, row)
    return xp.gather(line, len(matrix.shape) - 1, as_column(xp, column))


def take_row(xp: Any, matrix: Any, row: Any) -> Any:
    """One row (..., 1, n) of each matrix, at ``row`` (..., 1)."""
    shape = (*matrix.shape[:-2], 1, matrix.shape[-1])
    return xp.gather(matrix, len(matrix.shape) - 2, xp.expand(as_column(xp, row), shape))


@composite(differentiable=False, public=())
def linalg_ldl_factor_ex(xp: Any, A: Tensor, hermitian: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Return LD, pivots (int32) and info (int32): 0, or the first k for which D[k, k] is 0, counted from 1.

    Args:
        hermitian: complex matrices are Hermitian, not symmetric.
    """
    check_square("linalg.ldl_factor", A)
    *lead, n, _ = A.shape
    rows = xp.arange(0, n, 1, int64, xp.device_of(A))
    work = _whole(xp, A, hermitian)
    pivots = xp.new_full(A, (*lead, n), 0, int64)
    info = xp.new_full(A, (*lead, 1), 0, int64)
    inside = xp.ne(info, info)  # whether k is the second row of a block
    for k in range(n):
        p, two, dead = _choice(xp, work, k, rows)
        fresh = xp.logical_not(inside)
        two = xp.logical_and(two, fresh)
        info = xp.where(xp.logical_and(xp.logical_and(dead, fresh), xp.eq(info, 0)), xp.full_like(info, k + 1), info)
        # Rows and columns of what is left are exchanged; the columns of L that are there stay as they are.
        target = xp.where(two, xp.full_like(p, min(k + 1, n - 1)), xp.full_like(p, k))
        p = xp.where(fresh, p, target)
        order = _exchanged_at(xp, xp.expand(rows, (*lead, n)), target, p)
        rest = xp.ge(rows, k)
        moved = swap(xp, take_rows(xp, swap(xp, take_rows(xp, work, order)), order))
        work = xp.where(xp.logical_and(rest, as_column(xp, rest)), moved, work)
        place = xp.logical_or(xp.eq(rows, k), xp.logical_and(two, xp.eq(rows, k + 1)))
        number = xp.where(two, xp.sub(xp.neg(p), 1), xp.add(p, 1))
        pivots = xp.where(xp.logical_and(place, fresh), number, pivots)
        one = xp.logical_and(fresh, xp.logical_not(xp.logical_or(two, dead)))
        updated = _one_row(xp, work, k, rows, hermitian)
        work = xp.where(as_column(xp, one), updated, work)
        if k + 1 < n:
            work = xp.where(as_column(xp, two), _two_rows(xp, work, k, rows, hermitian), work)
        inside = two
    info = xp.reshape(xp.to_dtype(info, int32), tuple(lead))
    return xp.tril(work), xp.to_dtype(pivots, int32), info


linalg_ldl_factor_ex.fields = ("LD", "pivots", "info")


def _whole(xp: Any, A: Any, hermitian: bool) -> Any:
    """Both triangles, from the lower one."""
    work = xp.add(xp.tril(A), _turned(xp, xp.tril(A, -1), hermitian))
    if not (hermitian and xp.dtype_of(A).is_complex):
        return work
    ndim = len(A.shape)
    imaginary = xp.imag(xp.diagonal(work, 0, ndim - 2, ndim - 1))
    return xp.sub(work, xp.diag_embed(xp.complex(xp.full_like(imaginary, 0), imaginary)))


def _exchanged_at(xp: Any, rows: Any, target: Any, p: Any) -> Any:
    """The order of rows in which ``target`` and ``p`` (each (..., 1)) have changed places."""
    return xp.where(xp.eq(rows, target), p, xp.where(xp.eq(rows, p), target, rows))


def _choice(xp: Any, work: Any, k: int, rows: Any) -> tuple[Any, Any, Any]:
    """The row to exchange, whether the block has two rows, and whether there is nothing to divide by; each (..., 1)."""
    *lead, n, _ = work.shape
    last = len(work.shape) - 1
    size = magnitude(xp, work)
    column = xp.reshape(xp.slice(size, last, k, k + 1, 1), (*lead, n))
    own = xp.slice(column, last - 1, k, k + 1, 1)
    below = xp.where(xp.gt(rows, k), column, xp.full_like(column, -1))
    highest = xp.clamp(xp.amax(below, (last - 1,), True), 0, None)
    candidate = xp.argmax(below, last - 1, True)
    candidate = xp.clamp(candidate, k, None)
    line = xp.reshape(take_row(xp, size, candidate), (*lead, n))
    others = xp.logical_and(xp.ge(rows, k), xp.ne(rows, candidate))
    in_row = xp.amax(xp.where(others, line, xp.full_like(line, 0)), (last - 1,), True)
    diagonal = xp.reshape(_at(xp, size, candidate, candidate), (*lead, 1))
    stay = xp.logical_or(
        xp.ge(own, xp.mul(highest, _ALPHA)), xp.ge(xp.mul(own, in_row), xp.mul(xp.square(highest), _ALPHA))
    )
    single = xp.ge(diagonal, xp.mul(in_row, _ALPHA))
    p = xp.where(stay, xp.full_like(candidate, k), candidate)
    two = xp.logical_not(xp.logical_or(stay, single))
    return p, two, xp.eq(xp.maximum(own, highest), 0)


def _one_row(xp: Any, work: Any, k: int, rows: Any, hermitian: bool) -> Any:
    last = len(work.shape) - 1
    column = xp.slice(work, last, k, k + 1, 1)
    head = xp.slice(column, last - 1, k, k + 1, 1)
    below = as_column(xp, xp.gt(rows, k))
    factors = xp.where(
        below, xp.div(column, xp.where(xp.eq(head, 0), xp.full_like(head, 1), head)), xp.full_like(column, 0)
    )
    reduced = xp.sub(work, xp.mul(factors, _turned(xp, xp.where(below, column, xp.full_like(column, 0)), hermitian)))
    return xp.where(xp.logical_and(below, xp.eq(rows, k)), factors, reduced)


def _two_rows(xp: Any, work: Any, k: int, rows: Any, hermitian: bool) -> Any:
    last = len(work.shape) - 1
    pair = xp.slice(work, last, k, k + 2, 1)
    block = xp.slice(pair, last - 1, k, k + 2, 1)
    a, b, c, d = (
        xp.slice(xp.slice(block, last - 1, i, i + 1, 1), last, j, j + 1, 1) for i in range(2) for j in range(2)
    )
    determinant = xp.sub(xp.mul(a, d), xp.mul(b, c))
    determinant = xp.where(xp.eq(determinant, 0), xp.full_like(determinant, 1), determinant)
    below = as_column(xp, xp.gt(rows, k + 1))
    pair = xp.where(below, pair, xp.full_like(pair, 0))
    first, second = xp.slice(pair, last, 0, 1, 1), xp.slice(pair, last, 1, 2, 1)
    # pair times the inverse of the block
    left = xp.div(xp.sub(xp.mul(first, d), xp.mul(second, c)), determinant)
    right = xp.div(xp.sub(xp.mul(second, a), xp.mul(first, b)), determinant)
    factors = xp.cat([left, right], last)
    reduced = xp.sub(work, xp.matmul(factors, _turned(xp, pair, hermitian)))
    reduced = xp.where(xp.logical_and(below, xp.eq(rows, k)), left, reduced)
    return xp.where(xp.logical_and(below, xp.eq(rows, k + 1)), right, reduced)


@composite(differentiable=False, public=())
def linalg_ldl_solve(xp: Any, LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """Return X with ``A X = B`` from A's decomposition: (..., n, n) (..., n) (..., n, k) -> (..., n, k)."""
    check_square("linalg.ldl_solve", LD)
    if len(B.shape) < 2 or B.shape[-2] != LD.shape[-1] or tuple(pivots.shape) != tuple(LD.shape[:-1]):
        raise RuntimeError(
            f"linalg.ldl_solve: Incompatible shapes of LD, pivots and B: {list(LD.shape)}, {list(pivots.shape)} and "
            f"{list(B.shape)}"
        )
    n = LD.shape[-1]
    lead = broadcast_shapes("linalg.ldl_solve", LD.shape[:-2], B.shape[:-2])
    lower, block, order = _unpacked(xp, LD, pivots, hermitian)
    order = xp.expand(order, (*lead, n))
    X = take_rows(xp, xp.expand(B, (*lead, n, B.shape[-1])), order)
    X = xp.linalg_solve_triangular(lower, X, upper=False, unitriangular=True)
    X = xp.linalg_solve(block, X)
    X = xp.linalg_solve_triangular(_turned(xp, lower, hermitian), X, upper=True, unitriangular=True)
    return take_rows(xp, X, xp.argsort(order, len(lead)))


def _unpacked(xp: Any, LD: Any, pivots: Any, hermitian: bool) -> tuple[Any, Any, Any]:
    """L, D and the order of rows with ``A[order][:, order] = L D L^H``: later exchanges move the rows of earlier L."""
    *lead, n, _ = LD.shape
    last = len(LD.shape) - 1
    rows = xp.arange(0, n, 1, int64, xp.device_of(LD))
    double = xp.lt(pivots, 0)
    ndim = len(LD.shape)
    # The second row of each block: where an odd number of the negative pivots up to it are behind.
    count = xp.cumsum(xp.to_dtype(double, int64), last - 1)
    second = xp.logical_and(double, xp.eq(xp.remainder(count, 2), 0))
    first = xp.logical_and(double, xp.logical_not(second))
    under = xp.diagonal(LD, -1, ndim - 2, ndim - 1) if n > 1 else xp.new_full(LD, (*lead, 0), 0)
    under = xp.where(xp.slice(first, last - 1, 0, max(n - 1, 0), 1), under, xp.full_like(under, 0))
    off = xp.diag_embed(under, -1) if n else LD
    block = xp.add(xp.add(xp.diag_embed(xp.diagonal(LD, 0, ndim - 2, ndim - 1)), off), _turned(xp, off, hermitian))
    lower = xp.sub(xp.tril(LD, -1), off)
    order = xp.expand(rows, (*lead, n))
    for k in range(n):
        p = xp.sub(xp.abs(xp.to_dtype(xp.slice(pivots, last - 1, k, k + 1, 1), int64)), 1)
        # A block of two rows exchanges its second row, before either of its columns of L.
        is_first = xp.slice(first, last - 1, k, k + 1, 1)
        is_second = xp.slice(second, last - 1, k, k + 1, 1)
        here = xp.full_like(p, k)
        target = xp.where(is_first, xp.add(here, 1), here)
        p = xp.where(is_second, here, p)
        moved = _exchanged_at(xp, xp.expand(rows, (*lead, n)), target, p)
        order = xp.gather(order, last - 1, moved)
        earlier = xp.lt(rows, k)
        lower = xp.where(earlier, take_rows(xp, lower, moved), lower)
    return lower, block, order
