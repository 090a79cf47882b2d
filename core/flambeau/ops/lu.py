"""LU decompositions with partial pivoting, and what they solve. :mod:`flambeau.linalg` is the public face.

A decomposition is kept as LAPACK keeps it: L (below the diagonal, its own diagonal of ones left out) and U in one
matrix, and for each step k the row, counted from 1, that row k was exchanged with.
"""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import int32, int64
from flambeau.ops.declare import composite
from flambeau.ops.decomposition import check_matrix
from flambeau.ops.linalg import adjoint, as_column, as_row, check_square
from flambeau.ops.spec import broadcast_shapes

Tensor = Any


def magnitude(xp: Any, x: Any) -> Any:
    """|x|, of complex numbers |Re x| + |Im x|: what LAPACK compares pivots by."""
    return xp.add(xp.abs(xp.real(x)), xp.abs(xp.imag(x))) if xp.dtype_of(x).is_complex else xp.abs(x)


def exchanged(xp: Any, rows: Any, k: int, p: Any) -> Any:
    """The order of rows in which k and p (..., 1) have changed places."""
    return xp.where(xp.eq(rows, k), p, xp.where(xp.eq(rows, p), xp.full_like(rows, k), rows))


def take_rows(xp: Any, x: Any, order: Any) -> Any:
    """The rows of matrices (..., m, n) in the order (..., m)."""
    return xp.gather(x, len(x.shape) - 2, xp.expand(as_column(xp, order), tuple(x.shape)))


@composite(public=())
def linalg_lu_factor_ex(xp: Any, A: Tensor, pivot: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Return LU, pivots (int32) and info (int32): 0, or the first k for which U[k, k] is 0, counted from 1.

    Args:
        pivot: exchange rows so that the largest element of a column comes first.
    """
    check_matrix("linalg.lu_factor", A)
    *lead, m, n = A.shape
    last, where = len(A.shape) - 1, xp.device_of(A)
    rows, columns = xp.arange(0, m, 1, int64, where), xp.arange(0, n, 1, int64, where)
    pivots = []
    for k in range(min(m, n)):
        if pivot:
            size = xp.reshape(magnitude(xp, xp.slice(A, last, k, k + 1, 1)), (*lead, m))
            p = xp.argmax(xp.where(xp.ge(rows, k), size, xp.full_like(size, -1)), last - 1, True)
            A = take_rows(xp, A, exchanged(xp, xp.expand(rows, (*lead, m)), k, p))
        else:
            p = xp.new_full(A, (*lead, 1), k, int64)
        pivots.append(p)
        below = as_column(xp, xp.gt(rows, k))
        column, row = xp.slice(A, last, k, k + 1, 1), xp.slice(A, last - 1, k, k + 1, 1)
        head = xp.slice(column, last - 1, k, k + 1, 1)
        factors = xp.div(column, xp.where(xp.eq(head, 0), xp.full_like(head, 1), head))
        right = xp.where(xp.gt(columns, k), row, xp.full_like(row, 0))
        # Where below the diagonal: column k becomes the factors, what is to the right loses its share of row k.
        changed = xp.where(xp.eq(columns, k), factors, xp.sub(A, xp.mul(factors, right)))
        A = xp.where(below, changed, A)
    found = xp.cat(pivots, last - 1) if pivots else xp.new_full(A, (*lead, 0), 0, int64)
    return A, xp.to_dtype(xp.add(found, 1), int32), _first_zero(xp, A)


linalg_lu_factor_ex.fields = ("LU", "pivots", "info")


def _first_zero(xp: Any, lu: Any) -> Any:
    """The first zero on the diagonal, counted from 1; 0 where there is none."""
    ndim = len(lu.shape)
    zero = xp.to_dtype(xp.eq(xp.diagonal(lu, 0, ndim - 2, ndim - 1), 0), int32)
    if not zero.shape[-1]:
        return xp.new_full(lu, tuple(lu.shape[:-2]), 0, int32)
    first = xp.add(xp.argmax(zero, ndim - 2, False), 1)
    return xp.to_dtype(xp.mul(first, xp.amax(zero, (ndim - 2,), False)), int32)


@linalg_lu_factor_ex.joint_vjp
def _lu_factor_vjp(xp: Any, g: Any, needs: tuple[bool, ...], result_0: Any, result_1: Any) -> tuple[Any, ...]:
    if g[0] is None:
        return (None,)
    lu, (m, n) = result_0, result_0.shape[-2:]
    k, last = min(m, n), len(lu.shape) - 1
    square = xp.slice(xp.slice(lu, last, 0, k, 1), last - 1, 0, k, 1)
    g_square = xp.slice(xp.slice(g[0], last, 0, k, 1), last - 1, 0, k, 1)
    unit_lower = xp.add(xp.tril(square, -1), xp.diag_embed(xp.new_full(lu, tuple(square.shape[:-1]), 1)))
    upper = xp.triu(square)
    left = xp.matmul(adjoint(xp, unit_lower), xp.tril(g_square, -1))
    right = xp.matmul(xp.triu(g_square), adjoint(xp, upper))
    rest = None
    if n > k:  # U = (U1, U2): U2 follows from L
        g_rest, u_rest = xp.slice(g[0], last, k, n, 1), xp.slice(lu, last, k, n, 1)
        left = xp.sub(left, xp.matmul(g_rest, adjoint(xp, u_rest)))
        rest = xp.linalg_solve_triangular(adjoint(xp, unit_lower), g_rest, upper=True, unitriangular=True)
    elif m > k:  # L = (L1; L2): L2 follows from U
        g_rest, l_rest = xp.slice(g[0], last - 1, k, m, 1), xp.slice(lu, last - 1, k, m, 1)
        right = xp.sub(right, xp.matmul(adjoint(xp, l_rest), g_rest))
        rest = xp.linalg_solve_triangular(adjoint(xp, upper), g_rest, upper=False, left=False)
    inner = xp.add(xp.tril(left, -1), xp.triu(right))
    inner = xp.linalg_solve_triangular(adjoint(xp, unit_lower), inner, upper=True, unitriangular=True)
    inner = xp.linalg_solve_triangular(adjoint(xp, upper), inner, upper=False, left=False)
    if rest is not None:
        inner = xp.cat([inner, rest], last if n > k else last - 1)
    return (take_rows(xp, inner, xp.argsort(xp.lu_order(result_1, m), last - 1)),)


@composite(differentiable=False, public=())
def lu_order(xp: Any, pivots: Tensor, m: int) -> Tensor:
    """Return the order (..., m) in which the decomposition took the rows of its matrix, int64."""
    lead, last = tuple(pivots.shape[:-1]), len(pivots.shape) - 1
    rows = xp.arange(0, m, 1, int64, xp.device_of(pivots))
    order = xp.expand(rows, (*lead, m))
    for k in range(pivots.shape[-1]):
        p = xp.sub(xp.to_dtype(xp.slice(pivots, last, k, k + 1, 1), int64), 1)
        at_p = xp.gather(order, last, p)
        at_k = xp.slice(order, last, k, k + 1, 1)
        order = xp.where(xp.eq(rows, k), at_p, xp.where(xp.eq(rows, p), at_k, order))
    return order


@composite(inline=True, public=("function",))
def lu_unpack(
    xp: Any, LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Return P, L and U of ``A = P L U``, as a named tuple ``(P, L, U)``, from what ``linalg.lu_factor`` returns.

    Args:
        unpack_data: otherwise L and U are empty.
        unpack_pivots: otherwise P is empty.

    Raises:
        RuntimeError: when the pivots are not int32.
    """
    m, n = LU_data.shape[-2:]
    k, last = min(m, n), len(LU_data.shape) - 1
    if xp.dtype_of(LU_pivots) is not int32:
        raise RuntimeError(
            f"lu_unpack: LU_pivots must be of dtype int32, got "
            f"{xp.dtype_of(LU_pivots)}; use what linalg.lu_factor returns"
        )
    permutation = lower = upper = xp.new_full(LU_data, (0,), 0)
    if unpack_pivots:
        order = xp.lu_order(LU_pivots, m)
        rows = as_column(xp, xp.arange(0, m, 1, int64, xp.device_of(LU_data)))
        permutation = xp.to_dtype(xp.eq(as_row(xp, order), rows), xp.dtype_of(LU_data))
    if unpack_data:
        ones = xp.eye(m, k, xp.dtype_of(LU_data), xp.device_of(LU_data))
        lower = xp.add(xp.tril(xp.slice(LU_data, last, 0, k, 1), -1), ones)
        upper = xp.triu(xp.slice(LU_data, last - 1, 0, k, 1))
    return permutation, lower, upper


lu_unpack.fields = ("P", "L", "U")


@composite(inline=True, public=())
def linalg_lu_solve(
    xp: Any, LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """Return X with ``A X = B`` from A's decomposition; the batches broadcast.

    Args:
        left: otherwise ``X A = B``.
        adjoint: with A^H in place of A.
    """
    check_square("linalg.lu_solve", LU)
    side = B.shape[-2 if left else -1] if len(B.shape) > 1 else -1
    if side != LU.shape[-1] or tuple(pivots.shape) != tuple(LU.shape[:-1]):
        raise RuntimeError(
            f"linalg.lu_solve: Incompatible shapes of LU, pivots and B: {list(LU.shape)}, {list(pivots.shape)} and "
            f"{list(B.shape)}"
        )
    if not left:
        return _adjoint(xp, _lu_solve(xp, LU, pivots, _adjoint(xp, B), not adjoint))
    return _lu_solve(xp, LU, pivots, B, adjoint)


_adjoint = adjoint  # the op has a parameter of that name


def _lu_solve(xp: Any, lu: Any, pivots: Any, B: Any, conjugate: bool) -> Any:
    lead = broadcast_shapes("linalg.lu_solve", lu.shape[:-2], B.shape[:-2])
    order = xp.expand(xp.lu_order(pivots, lu.shape[-1]), (*lead, lu.shape[-1]))
    B = xp.expand(B, (*lead, *B.shape[-2:]))
    if conjugate:
        lu = _adjoint(xp, lu)
        X = xp.linalg_solve_triangular(lu, B, upper=False)
        X = xp.linalg_solve_triangular(lu, X, upper=True, unitriangular=True)
        return take_rows(xp, X, xp.argsort(order, len(lead)))
    X = xp.linalg_solve_triangular(lu, take_rows(xp, B, order), upper=False, unitriangular=True)
    return xp.linalg_solve_triangular(lu, X, upper=True)


@composite(inline=True)
def lu_solve(xp: Any, input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """Return X with ``A X = input`` from A's decomposition (see :func:`flambeau.linalg.lu_factor`)."""
    return xp.linalg_lu_solve(LU_data, LU_pivots, input)
