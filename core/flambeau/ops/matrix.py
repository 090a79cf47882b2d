"""What follows from decompositions: pseudoinverse, rank, condition number, exponential. See :mod:`flambeau.linalg`."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import finfo, float32, int64
from flambeau.ops.declare import composite
from flambeau.ops.decomposition import check_matrix
from flambeau.ops.linalg import adjoint, as_column, as_row, check_square
from flambeau.ops.norm import scale
from flambeau.ops.spec import host_values

Tensor = Any
Number = Any


# -- singular values that count as zero ------------------------------------------------------------------------------


def _large_values(xp: Any, s: Any, shape: tuple[int, ...], atol: Any, rtol: Any) -> Any:
    """Which singular values do not count as 0: those above ``max(atol, rtol * the largest)``."""
    standard = max(shape[-2:]) * finfo(xp.dtype_of(s)).eps
    if rtol is None:
        if atol is None or isinstance(atol, (int, float)):
            rtol = 0.0 if atol else standard
        else:
            rtol = xp.where(xp.gt(atol, 0), 0.0, standard)
    largest = xp.amax(s, (len(s.shape) - 1,), True)
    return xp.gt(s, xp.maximum(_each(xp, atol, s, 0.0), xp.mul(largest, _each(xp, rtol, s, 0.0))))


def _each(xp: Any, value: Any, s: Any, default: float) -> Any:
    """A tolerance as an array that broadcasts against singular values (..., k)."""
    if value is None or isinstance(value, (int, float)):
        return xp.new_full(s, (1,), default if value is None else value)
    return as_column(xp, xp.to_dtype(value, xp.dtype_of(s)))


@composite(public=())
def linalg_pinv(
    xp: Any, A: Tensor, atol: Tensor | Number | None = None, rtol: Tensor | Number | None = None,
    hermitian: bool = False,
) -> Tensor:  # fmt: skip
    """Return the Moore-Penrose pseudoinverse.

    Args:
        atol, rtol: singular values up to ``max(atol, rtol * the largest)`` count as zero; ``rtol`` is
            ``max(m, n) * eps`` unless one of them is given. Numbers, or one for each matrix.
        hermitian: A is Hermitian; its lower triangle is read.
    """
    check_matrix("linalg.pinv", A)
    if 0 in A.shape[-2:]:
        return xp.new_full(A, (*A.shape[:-2], A.shape[-1], A.shape[-2]), 0)
    if hermitian:
        values, u = xp.linalg_eigh(A)
        s, vh = xp.abs(values), adjoint(xp, u)
        signs = xp.sign(values)
    else:
        u, s, vh = xp.linalg_svd(A, False)
        signs = xp.full_like(s, 1)
    large = _large_values(xp, s, tuple(A.shape), atol, rtol)
    inverted = xp.where(large, xp.div(signs, xp.where(large, s, xp.full_like(s, 1))), xp.full_like(s, 0))
    return xp.matmul(scale(xp, adjoint(xp, vh), as_row(xp, inverted)), adjoint(xp, u))


@linalg_pinv.joint_vjp
def _pinv_vjp(xp: Any, g: Any, needs: tuple[bool, ...], A: Any, result: Any) -> tuple[Any, ...]:
    # Golub and Pereyra, 1973: dP = -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P
    p, p_h, g_h = result, adjoint(xp, result), adjoint(xp, g)
    through = xp.matmul(xp.matmul(g_h, p), p_h)
    left = xp.sub(through, xp.matmul(A, xp.matmul(p, through)))
    through = xp.matmul(p_h, xp.matmul(p, g_h))
    right = xp.sub(through, xp.matmul(xp.matmul(through, p), A))
    middle = xp.matmul(p_h, xp.matmul(g, p_h))
    return xp.sub(xp.add(left, right), middle), None, None


@composite(inline=True, differentiable=False, public=())
def linalg_matrix_rank(
    xp: Any, A: Tensor, atol: Tensor | Number | None = None, rtol: Tensor | Number | None = None,
    hermitian: bool = False,
) -> Tensor:  # fmt: skip
    """Return the number of singular values that do not count as zero (``atol``, ``rtol`` as for ``pinv``)."""
    check_matrix("linalg.matrix_rank", A)
    if 0 in A.shape[-2:]:
        return xp.new_full(A, tuple(A.shape[:-2]), 0, int64)
    s = xp.abs(xp.linalg_eigh(A)[0]) if hermitian else xp.linalg_svd(A, False)[1]
    return xp.sum(_large_values(xp, s, tuple(A.shape), atol, rtol), (len(s.shape) - 1,), False)


@composite(inline=True, public=())
def linalg_cond(xp: Any, A: Tensor, p: Any = None) -> Tensor:
    """Return the condition number ``norm(A) * norm(inv(A))`` in the matrix norm ``p``, 2 unless given.

    Of singular matrices it is infinite.
    """
    check_matrix("linalg.cond", A)
    if p in (None, 2, -2):
        if 0 in A.shape[-2:]:
            return xp.new_full(A, tuple(A.shape[:-2]), 0, xp.dtype_of(A).to_real())
        s = xp.linalg_svd(A, False)[1]
        last = (len(s.shape) - 1,)
        largest, smallest = xp.amax(s, last, False), xp.amin(s, last, False)
        return xp.div(smallest, largest) if p == -2 else xp.div(largest, smallest)
    check_square("linalg.cond", A)
    size = xp.linalg_matrix_norm(A, p)
    if not A.shape[-1]:
        return size
    inverse, info = xp.linalg_inv_ex(A)
    product = xp.mul(size, xp.linalg_matrix_norm(inverse, p))
    return xp.where(xp.eq(info, 0), product, xp.full_like(product, math.inf))


# -- solving, with a word on what went wrong -------------------------------------------------------------------------


@composite(inline=True, public=())
def linalg_solve_ex(xp: Any, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """Return X with ``A X = B``, and info (int32): 0, or the first zero on the diagonal of U in ``A = P L U``.

    X is NaN where a matrix is singular.
    """
    check_square("linalg.solve_ex", A)
    info = xp.linalg_lu_factor_ex(A)[2]
    singular = as_column(xp, as_column(xp, xp.ne(info, 0)))
    identity = xp.eye(A.shape[-1], A.shape[-1], xp.dtype_of(A), xp.device_of(A))
    X = xp.linalg_solve(xp.where(singular, identity, A), B)
    return xp.where(singular, xp.full_like(X, math.nan), X), info


linalg_solve_ex.fields = ("result", "info")


@composite(inline=True, public=())
def linalg_inv_ex(xp: Any, A: Tensor) -> tuple[Tensor, Tensor]:
    """Return the inverses, NaN of singular matrices, and info as :func:`linalg_solve_ex` does."""
    check_square("linalg.inv_ex", A)
    identity = xp.eye(A.shape[-1], A.shape[-1], xp.dtype_of(A), xp.device_of(A))
    inverse, info = xp.linalg_solve_ex(A, xp.expand(identity, tuple(A.shape)))
    return inverse, info


linalg_inv_ex.fields = ("inverse", "info")


@composite(inline=True, public=())
def linalg_lstsq(xp: Any, A: Tensor, B: Tensor, rcond: Number | None = None) -> Tensor:
    """Return the X with the least ``|A X - B|``, of several the smallest: (..., m, n) (..., m, k) -> (..., n, k).

    Args:
        rcond: singular values up to this times the largest count as zero, ``max(m, n) * eps`` unless given.
    """
    return xp.matmul(xp.linalg_pinv(A, None, rcond), B)


@composite(inline=True)
def pinverse(xp: Any, input: Tensor, rcond: Number = 1e-15) -> Tensor:
    """Return the pseudoinverses; singular values up to ``rcond`` times the largest count as zero."""
    return xp.linalg_pinv(input, 0.0, rcond)


# -- the exponential -------------------------------------------------------------------------------------------------

# Higham, "The scaling and squaring method for the matrix exponential revisited", 2005: the coefficients of the Pade
# approximants p(A) / p(-A) of degrees 7 and 13, and up to which norm they are exact to single and double precision.
_SINGLE = ([17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1], 3.925724783138660)
_DOUBLE = (
    [
        64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
        670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
    ],
    5.371920351148152,
)  # fmt: skip


@composite()
def matrix_exp(xp: Any, input: Tensor) -> Tensor:
    """Return the exponentials of square matrices, ``I + A + A^2 / 2! + A^3 / 3! + ...``.

    By scaling and squaring (Higham, 2005): each matrix is halved until its 1-norm is small.
    """
    check_square("linalg.matrix_exp", input)
    if not input.shape[-1]:
        return input
    kind = xp.dtype_of(input)
    coefficients, bound = _SINGLE if kind.to_real().itemsize < 8 else _DOUBLE
    A = input if kind.to_real().itemsize >= 4 else xp.to_dtype(input, float32)
    times = _halvings(xp, A, bound)
    A = scale(xp, A, as_column(xp, as_column(xp, xp.exp2(xp.neg(times)))))
    result = _pade(xp, A, coefficients)
    for i in range(_most(xp, times)):
        again = as_column(xp, as_column(xp, xp.gt(times, i)))
        result = xp.where(again, xp.matmul(result, result), result)
    return xp.to_dtype(result, kind)


def _halvings(xp: Any, A: Any, bound: float) -> Any:
    """How often to halve each matrix, as floats."""
    last = len(A.shape) - 1
    size = xp.amax(xp.sum(xp.abs(A), (last - 1,), False), (last - 1,), False)
    usable = xp.logical_and(xp.isfinite(size), xp.gt(size, bound))  # NaN and infinity come out as NaN
    return xp.ceil(xp.log2(xp.div(xp.where(usable, size, xp.full_like(size, bound)), bound)))


def _most(xp: Any, times: Any) -> int:
    """The largest number, 0 where there are only shapes."""
    if 0 in times.shape:
        return 0
    try:
        return int(host_values(xp, times).max())
    except NotImplementedError:
        return 0


def _pade(xp: Any, A: Any, coefficients: list[int]) -> Any:
    n = A.shape[-1]
    identity = xp.expand(xp.eye(n, n, xp.dtype_of(A), xp.device_of(A)), tuple(A.shape))
    square = xp.matmul(A, A)
    # Powers of the square times the even and the odd coefficients; Horner's scheme.
    even = odd = None
    for c, d in zip(reversed(coefficients[0::2]), reversed(coefficients[1::2]), strict=True):
        # Divided by the first coefficient: in single precision they would be large numbers.
        c, d = xp.mul(identity, c / coefficients[0]), xp.mul(identity, d / coefficients[0])
        even = c if even is None else xp.add(xp.matmul(even, square), c)
        odd = d if odd is None else xp.add(xp.matmul(odd, square), d)
    odd = xp.matmul(A, odd)
    return xp.linalg_solve(xp.sub(even, odd), xp.add(even, odd))


def _matrix_exp_vjp(xp: Any, g: Any, input: Any) -> Any:
    # exp of ((A^H, G), (0, A^H)) has the derivative of exp in the direction G above its diagonal (Mathias, 1996).
    n, last = input.shape[-1], len(input.shape) - 1
    A = adjoint(xp, input)
    upper = xp.cat([A, g], last)
    lower = xp.cat([xp.full_like(A, 0), A], last)
    whole = xp.matrix_exp(xp.cat([upper, lower], last - 1))
    return xp.slice(xp.slice(whole, last - 1, 0, n, 1), last, n, 2 * n, 1)


matrix_exp.vjp(input=_matrix_exp_vjp)
