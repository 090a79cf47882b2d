"""Decompositions of matrices: Cholesky, QR, singular values. Their gradients, and products of Householder reflectors.

Gradients after Walter and Lehmann, "Algorithmic differentiation of linear algebra functions", 2010, and Murray,
"Differentiation of the Cholesky decomposition", 2016. :mod:`flambeau.linalg` is the public face.
"""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import int32, int64
from flambeau.ops.declare import composite, primitive
from flambeau.ops.linalg import adjoint, as_column, as_row, check_square
from flambeau.ops.spec import Spec, host_values

Tensor = Any


@primitive(public=())
def linalg_cholesky(A: Tensor) -> Tensor:
    """Return the lower triangular L with ``L @ L^H = A`` for Hermitian positive-definite matrices."""
    check_square("linalg.cholesky", A)
    return A


def _cholesky_vjp(xp: Any, g: Any, result: Any) -> Any:
    # L^-H sym(tril(L^H g)) L^-1
    product = xp.tril(xp.matmul(adjoint(xp, result), g))
    symmetric = xp.mul(xp.add(product, adjoint(xp, xp.tril(product, -1))), 0.5)
    half = xp.linalg_solve_triangular(result, symmetric, upper=False, left=False)
    return xp.linalg_solve_triangular(adjoint(xp, result), half, upper=True)


linalg_cholesky.vjp(A=_cholesky_vjp)


@composite(public=())
def linalg_cholesky_ex(xp: Any, A: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Cholesky factor L and ``info``: 0, or the order of the first leading minor that is not positive.

    One column after the other, in n steps; a column whose pivot is not positive is left as it is.
    """
    check_square("linalg.cholesky_ex", A)
    n, last = A.shape[-1], len(A.shape) - 1
    rows = xp.arange(0, n, 1, int64, xp.device_of(A))
    A = xp.tril(A)
    info = xp.new_full(A, tuple(A.shape[:-2]), 0, int32)
    for k in range(n):
        column = xp.slice(A, last, k, k + 1, 1)
        pivot = xp.slice(column, last - 1, k, k + 1, 1)
        pivot = xp.real(pivot) if xp.dtype_of(A).is_complex else pivot
        good = xp.gt(pivot, 0)
        failed = xp.logical_and(xp.logical_not(xp.reshape(good, tuple(info.shape))), xp.eq(info, 0))
        info = xp.where(failed, xp.full_like(info, k + 1), info)
        root = xp.to_dtype(xp.sqrt(xp.where(good, pivot, xp.full_like(pivot, 1))), xp.dtype_of(A))
        scaled = xp.where(good, xp.div(column, root), column)
        below = xp.where(as_column(xp, xp.gt(rows, k)), scaled, xp.full_like(scaled, 0))
        update = xp.where(good, xp.tril(xp.matmul(below, adjoint(xp, below))), xp.full_like(A, 0))
        here = xp.logical_and(xp.eq(rows, k), as_column(xp, xp.ge(rows, k)))
        A = xp.where(here, scaled, xp.sub(A, update))
    return A, info


linalg_cholesky_ex.fields = ("L", "info")


@linalg_cholesky_ex.joint_vjp
def _cholesky_ex_vjp(xp: Any, g: Any, needs: tuple[bool, ...], result_0: Any) -> tuple[Any, ...]:
    return (None if g[0] is None else _cholesky_vjp(xp, g[0], result_0),)


@composite(inline=True)
def cholesky(xp: Any, input: Tensor, upper: bool = False) -> Tensor:
    """Return the lower triangular L with ``L L^H = input``, or the upper triangular U with ``U^H U = input``."""
    check_square("cholesky", input)
    lower = xp.linalg_cholesky(input)
    return adjoint(xp, lower) if upper else lower


# -- QR --------------------------------------------------------------------------------------------------------------


@primitive(public=())
def linalg_qr(A: Tensor) -> tuple[Tensor, Tensor]:
    """Return Q (..., m, k) with orthonormal columns and the upper triangular R (..., k, n), k = min(m, n)."""
    check_matrix("linalg.qr", A)
    m, n = A.shape[-2:]
    k = min(m, n)
    return Spec((*A.shape[:-2], m, k), A.dtype), Spec((*A.shape[:-2], k, n), A.dtype)


linalg_qr.fields = ("Q", "R")


def check_matrix(op: str, x: Any) -> None:
    """Raise RuntimeError unless ``x`` has at least two dimensions."""
    if len(x.shape) < 2:
        raise RuntimeError(f"{op}: the input tensor A must have at least 2 dimensions, got the shape {list(x.shape)}")


def _columns(xp: Any, x: Any, start: int, end: int) -> Any:
    return xp.slice(x, len(x.shape) - 1, start, end, 1)


@linalg_qr.joint_vjp
def _qr_vjp(xp: Any, g: Any, needs: tuple[bool, ...], A: Any, results: Any) -> tuple[Any, ...]:
    (q, r), (g_q, g_r) = results, g
    g_q = xp.full_like(q, 0) if g_q is None else g_q
    g_r = xp.full_like(r, 0) if g_r is None else g_r
    m, n = A.shape[-2:]
    if m >= n:
        return (_qr_tall_vjp(xp, q, r, g_q, g_r),)
    # A = (X, Y), R = (U, V): X = Q U is decomposed, V = Q^H Y follows.
    u, g_u = _columns(xp, r, 0, m), _columns(xp, g_r, 0, m)
    g_v, y = _columns(xp, g_r, m, n), _columns(xp, A, m, n)
    g_x = _qr_tall_vjp(xp, q, u, xp.add(g_q, xp.matmul(y, adjoint(xp, g_v))), g_u)
    return (xp.cat([g_x, xp.matmul(q, g_v)], len(A.shape) - 1),)


def _qr_tall_vjp(xp: Any, q: Any, r: Any, g_q: Any, g_r: Any) -> Any:
    mixed = xp.sub(xp.matmul(r, adjoint(xp, g_r)), xp.matmul(adjoint(xp, g_q), q))
    hermitian = xp.add(xp.tril(mixed), adjoint(xp, xp.tril(mixed, -1)))
    if xp.dtype_of(r).is_complex:
        # R's diagonal is real: nothing comes from its imaginary part.
        hermitian = xp.mul(xp.add(hermitian, adjoint(xp, hermitian)), 0.5)
    numerator = xp.add(g_q, xp.matmul(q, hermitian))
    # times R^-H from the right
    return xp.linalg_solve_triangular(adjoint(xp, r), numerator, upper=False, left=False)


@composite(inline=True)
def qr(xp: Any, input: Tensor, some: bool = True) -> tuple[Tensor, Tensor]:
    """Return Q and R of the QR decomposition, reduced, or with a square Q unless ``some``; see ``linalg.qr``."""
    return xp.linalg_qr(input) if some else complete_qr(xp, input)


qr.fields = ("Q", "R")


def complete_qr(xp: Any, A: Any) -> tuple[Any, Any]:
    """Q (..., m, m) and R (..., m, n). There is no gradient where m > n: the added columns of Q are not unique."""
    m, n = A.shape[-2:]
    q, r = xp.linalg_qr(A)
    if m <= n:
        return q, r
    # The missing columns of Q are an orthonormal basis of what those of A do not span.
    rest = _columns(xp, xp.linalg_svd(q, True)[0], n, m)
    padding = xp.new_full(r, (*A.shape[:-2], m - n, n), 0)
    ndim = len(A.shape)
    return xp.cat([q, rest], ndim - 1), xp.cat([r, padding], ndim - 2)


# -- singular values -------------------------------------------------------------------------------------------------


@primitive(public=())
def linalg_svd(A: Tensor, full_matrices: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, S and V^H of the singular value decomposition ``A = U diag(S) V^H``, S descending.

    Args:
        full_matrices: whether U and V^H are square, or have k = min(m, n) columns and rows.
    """
    check_matrix("linalg.svd", A)
    *lead, m, n = A.shape
    k = min(m, n)
    u, v = (m, n) if full_matrices else (k, k)
    return Spec((*lead, m, u), A.dtype), Spec((*lead, k), A.dtype.to_real()), Spec((*lead, v, n), A.dtype)


linalg_svd.fields = ("U", "S", "Vh")


@linalg_svd.joint_vjp
def _svd_vjp(
    xp: Any, g: Any, needs: tuple[bool, ...], A_spec: Spec, full_matrices: bool, results: Any
) -> tuple[Any, ...]:
    (u, s, vh), (g_u, g_s, g_vh) = results, g
    m, n = A_spec.shape[-2:]
    k = min(m, n)
    # The vectors beyond the first k are any basis of what is left: as in PyTorch their gradients are ignored.
    g_u = g_u if g_u is None else _columns(xp, g_u, 0, k)
    g_vh = g_vh if g_vh is None else xp.slice(g_vh, len(g_vh.shape) - 2, 0, k, 1)
    u, vh = _columns(xp, u, 0, k), xp.slice(vh, len(vh.shape) - 2, 0, k, 1)
    kind = A_spec.dtype
    sigma = xp.to_dtype(s, kind) if kind.is_complex else s
    if g_u is None and g_vh is None:
        return (xp.matmul(xp.mul(u, as_row(xp, xp.to_dtype(g_s, kind))), vh),)
    if kind.is_complex:
        check_gauge(xp, "linalg.svd", [(u, g_u), (adjoint(xp, vh), None if g_vh is None else adjoint(xp, g_vh))])
    # (s[j] - s[i]) (s[j] + s[i]): squares would cancel where two singular values are close.
    gaps = xp.mul(gaps_of(xp, s), xp.add(as_row(xp, s), as_column(xp, s)))
    gaps = xp.add(xp.sub(gaps, xp.diag_embed(xp.mul(s, 2))), xp.diag_embed(xp.full_like(s, 1)))
    gaps = xp.to_dtype(gaps, kind) if kind.is_complex else gaps
    inner = None
    if g_u is not None:
        product = xp.matmul(adjoint(xp, u), g_u)
        inner = xp.mul(xp.div(xp.sub(product, adjoint(xp, product)), gaps), as_row(xp, sigma))
        if kind.is_complex:
            # The phase of the singular vectors.
            turned = xp.div(xp.imag(xp.diagonal(product, 0, len(u.shape) - 2, len(u.shape) - 1)), s)
            inner = xp.add(inner, xp.diag_embed(xp.complex(xp.full_like(turned, 0), turned)))
    if g_vh is not None:
        product = xp.matmul(vh, adjoint(xp, g_vh))
        part = xp.mul(as_column(xp, sigma), xp.div(xp.sub(product, adjoint(xp, product)), gaps))
        inner = part if inner is None else xp.add(inner, part)
    if g_s is not None:
        inner = xp.add(inner, xp.diag_embed(xp.to_dtype(g_s, kind) if kind.is_complex else g_s))
    result = xp.matmul(xp.matmul(u, inner), vh)
    if m > k and g_u is not None:
        scaled = xp.div(g_u, as_row(xp, sigma))
        outside = xp.sub(scaled, xp.matmul(u, xp.matmul(adjoint(xp, u), scaled)))
        result = xp.add(result, xp.matmul(outside, vh))
    if n > k and g_vh is not None:
        scaled = xp.div(g_vh, as_column(xp, sigma))
        outside = xp.sub(scaled, xp.matmul(xp.matmul(scaled, adjoint(xp, vh)), vh))
        result = xp.add(result, xp.matmul(u, outside))
    return (result,)


def gaps_of(xp: Any, values: Any) -> Any:
    """The matrix of ``values[j] - values[i]``, with ones on the diagonal."""
    gaps = xp.sub(as_row(xp, values), as_column(xp, values))
    return xp.add(gaps, xp.diag_embed(xp.full_like(values, 1)))


def check_gauge(xp: Any, op: str, pairs: list[tuple[Any, Any]]) -> None:
    """Raise RuntimeError where a loss depends on the phases of complex vectors, which are arbitrary.

    Args:
        pairs: the vectors (columns) and their cotangents, which turn with one phase a column.
    """
    if not hasattr(xp, "backend") or isinstance(pairs[0][0], Spec):
        return  # over tensors their values may be those of a batch or of a trace; on the meta device there are none
    turned = None
    for vectors, g in pairs:
        if g is not None:
            product = xp.sum(xp.mul(xp.conj(vectors), g), (len(g.shape) - 2,), False)
            turned = product if turned is None else xp.add(turned, product)
    if turned is None or 0 in turned.shape:
        return
    largest = host_values(xp, xp.abs(xp.imag(turned))).max().item()
    if largest > 1e-2:
        raise RuntimeError(
            f"{op}: the vectors of a complex matrix are determined up to multiplication by e^(i phi), and the loss "
            f"depends on phi (its derivative is up to {largest:.3g}): its gradient is not defined"
        )


@composite(inline=True)
def svd(xp: Any, input: Tensor, some: bool = True, compute_uv: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, S and V (not its adjoint) of ``input = U diag(S) V^H``.

    Args:
        some: U and V with min(m, n) columns instead of square.
        compute_uv: otherwise U and V are zeros.
    """
    u, s, vh = xp.linalg_svd(input, not some)
    if not compute_uv:
        return xp.full_like(u, 0), s, xp.full_like(adjoint(xp, vh), 0)
    return u, s, adjoint(xp, vh)


svd.fields = ("U", "S", "V")
