"""Determinants. :mod:`flambeau.linalg` is the public face."""

from __future__ import annotations

from typing import Any

from flambeau.ops.arithmetic import conj_of as conj
from flambeau.ops.declare import composite, primitive
from flambeau.ops.linalg import adjoint, as_column, as_row, check_square
from flambeau.ops.norm import scale, unit
from flambeau.ops.spec import Spec

Tensor = Any


@primitive(public=())
def linalg_det(A: Tensor) -> Tensor:
    """Return the determinants. The gradient holds for singular matrices, too."""
    check_square("linalg.det", A)
    return Spec(A.shape[:-2], A.dtype)


linalg_det.vjp(
    A=lambda xp, g, A: xp.mul(as_column(xp, as_column(xp, g)), adjoint(xp, xp.linalg_adjugate(A))),
)


# The derivative of the determinant is the adjugate, which is a polynomial in the elements: it exists where the inverse
# does not. With A = U S V^H it is det(U) det(V^H) V adj(S) U^H, and adj(S) is made of products of singular values.
@composite(public=())
def linalg_adjugate(xp: Any, A: Tensor) -> Tensor:
    """Return the adjugate matrices, ``det(A) inv(A)`` where there is an inverse: (..., n, n) -> (..., n, n)."""
    check_square("linalg.adjugate", A)
    if not A.shape[-1]:
        return A
    u, s, vh = xp.linalg_svd(A, False)
    turn = as_column(xp, as_column(xp, xp.mul(xp.linalg_det(u), xp.linalg_det(vh))))
    return xp.mul(turn, xp.matmul(scale(xp, adjoint(xp, vh), as_row(xp, _others(xp, s))), adjoint(xp, u)))


def _others(xp: Any, s: Any) -> Any:
    """The product of all elements but one, for each along the last dimension."""
    last = len(s.shape) - 1
    return xp.mul(_shifted_product(xp, s), xp.flip(_shifted_product(xp, xp.flip(s, (last,))), (last,)))


def _shifted_product(xp: Any, s: Any) -> Any:
    """The products of all elements before each along the last dimension."""
    last = len(s.shape) - 1
    ahead = xp.cat([xp.new_full(s, (*s.shape[:-1], 1), 1), xp.slice(s, last, 0, s.shape[-1] - 1, 1)], last)
    return xp.cumprod(ahead, last)


def _pairs(xp: Any, s: Any) -> Any:
    """The products of all elements but two, for each pair of the last dimension; 0 on the diagonal."""
    n = s.shape[-1]
    size = (*s.shape[:-1], n, n)
    before = _shifted_product(xp, s)
    after = xp.flip(_shifted_product(xp, xp.flip(s, (len(s.shape) - 1,))), (len(s.shape) - 1,))
    # between[i, j] for j > i: s[i + 1] * ... * s[j - 1], a running product along rows that begin with ones
    ones = xp.new_full(s, size, 1)
    rows = xp.add(xp.triu(xp.expand(as_row(xp, s), size), 1), xp.tril(ones))
    between = _shifted_product(xp, rows)
    upper = xp.triu(xp.mul(xp.mul(as_column(xp, before), between), as_row(xp, after)), 1)
    return xp.add(upper, xp.permute(upper, (*range(len(size) - 2), len(size) - 1, len(size) - 2)))


@linalg_adjugate.joint_vjp
def _adjugate_vjp(xp: Any, g: Any, needs: tuple[bool, ...], A: Any) -> tuple[Any, ...]:
    # To first order adj(S + E) has -E[i, j] times the product of the others off the diagonal, and on it the sum over j
    # of E[j, j] times the product of all but i and j.
    if not A.shape[-1]:
        return (g,)
    u, s, vh = xp.linalg_svd(A, False)
    turn = as_column(xp, as_column(xp, conj(xp, xp.mul(xp.linalg_det(u), xp.linalg_det(vh)))))
    inner = xp.mul(turn, xp.matmul(xp.matmul(vh, g), u))
    pairs = _pairs(xp, s)
    ndim = len(inner.shape)
    on = scale(xp, as_row(xp, xp.diagonal(inner, 0, ndim - 2, ndim - 1)), pairs)
    spread = xp.sub(xp.diag_embed(xp.sum(on, (ndim - 1,), False)), scale(xp, inner, pairs))
    return (xp.matmul(xp.matmul(u, spread), vh),)


@composite(public=())
def linalg_slogdet(xp: Any, A: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sign of the determinant (0 for a singular matrix) and the logarithm of its modulus.

    From the QR decomposition: the modulus is the product of the moduli on R's diagonal.
    """
    check_square("linalg.slogdet", A)
    ndim = len(A.shape)
    q, r = xp.linalg_qr(A)
    diagonal = xp.diagonal(r, 0, ndim - 2, ndim - 1)
    last = (ndim - 2,)
    sign = xp.mul(unit(xp, xp.linalg_det(q)), xp.prod(unit(xp, diagonal), last, False))
    return sign, xp.sum(xp.log(xp.abs(diagonal)), last, False)


linalg_slogdet.fields = ("sign", "logabsdet")


@linalg_slogdet.joint_vjp
def _slogdet_vjp(xp: Any, g: Any, needs: tuple[bool, ...], A: Any, results: Any) -> tuple[Any, ...]:
    g_sign, g_log = g
    inverse = xp.linalg_inv(adjoint(xp, A))
    if not xp.dtype_of(A).is_complex:
        # The sign is constant.
        return (xp.full_like(A, 0) if g_log is None else xp.mul(as_column(xp, as_column(xp, g_log)), inverse),)
    total = None if g_log is None else xp.complex(g_log, xp.full_like(g_log, 0))
    if g_sign is not None:
        turn = xp.imag(xp.mul(conj(xp, g_sign), results[0]))
        turn = xp.complex(xp.full_like(turn, 0), xp.neg(turn))
        total = turn if total is None else xp.add(total, turn)
    return (xp.mul(as_column(xp, as_column(xp, total)), inverse),)


# -- under PyTorch's older names --------------------------------------------------------------------------------------


@composite(inline=True)
def det(xp: Any, input: Tensor) -> Tensor:
    """Return the determinants of square matrices. The gradient holds for singular matrices, too."""
    check_square("det", input)
    return xp.linalg_det(input)


@composite(inline=True)
def slogdet(xp: Any, input: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs of the determinants and the logarithms of their moduli."""
    return xp.linalg_slogdet(input)


slogdet.fields = ("sign", "logabsdet")


@composite(inline=True)
def logdet(xp: Any, input: Tensor) -> Tensor:
    """Return the logarithms of the determinants; NaN where a determinant is negative."""
    sign, log = xp.linalg_slogdet(input)
    if xp.dtype_of(input).is_complex:
        return xp.add(xp.log(sign), xp.complex(log, xp.full_like(log, 0)))
    return xp.where(xp.lt(sign, 0), xp.full_like(log, float("nan")), log)
