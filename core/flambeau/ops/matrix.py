"""Solving, inverting and decomposing matrices, and what follows from that.

All work on batches: the matrices are the last two dimensions. Gradients are the standard ones (Giles, "Collected
matrix derivative results for forward and reverse mode algorithmic differentiation", 2008; Walter and Lehmann,
"Algorithmic differentiation of linear algebra functions", 2010). :mod:`flambeau.linalg` is the public face.
"""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import finfo
from flambeau.ops.arithmetic import conj_of as conj
from flambeau.ops.declare import composite, primitive
from flambeau.ops.linalg import adjoint, check_square, swap
from flambeau.ops.norm import scale, unit
from flambeau.ops.spec import Spec, broadcast_shapes

Tensor = Any
Number = Any


def _column(xp: Any, x: Any) -> Any:
    return xp.reshape(x, (*x.shape, 1))


def _row(xp: Any, x: Any) -> Any:
    return xp.reshape(x, (*x.shape[:-1], 1, x.shape[-1]))


# -- solving and inverting -------------------------------------------------------------------------------------------


@primitive(public=())
def linalg_solve(A: Tensor, B: Tensor) -> Tensor:
    """Return X with ``A @ X = B``: (..., n, n) (..., n, k) -> (..., n, k); the batches broadcast."""
    check_square("linalg.solve", A)
    if len(B.shape) < 2 or B.shape[-2] != A.shape[-1]:
        raise RuntimeError(f"linalg.solve: incompatible shapes of A and B: {list(A.shape)} and {list(B.shape)}")
    return Spec((*broadcast_shapes("linalg.solve", A.shape[:-2], B.shape[:-2]), *B.shape[-2:]), B.dtype)


@linalg_solve.joint_vjp
def _solve_vjp(xp: Any, g: Any, needs: tuple[bool, ...], A: Any, B_spec: Spec, result: Any) -> tuple[Any, ...]:
    g_b = xp.linalg_solve(adjoint(xp, A), g)
    g_a = xp.sum_to_size(xp.neg(xp.matmul(g_b, adjoint(xp, result))), A.shape) if needs[0] else None
    return g_a, xp.sum_to_size(g_b, B_spec.shape) if needs[1] else None


@primitive(public=())
def linalg_inv(A: Tensor) -> Tensor:
    """Return the inverse matrices."""
    check_square("linalg.inv", A)
    return A


def _inv_vjp(xp: Any, g: Any, result: Any) -> Any:
    transposed = adjoint(xp, result)
    return xp.neg(xp.matmul(transposed, xp.matmul(g, transposed)))


linalg_inv.vjp(A=_inv_vjp)


@primitive(public=())
def linalg_det(A: Tensor) -> Tensor:
    """Return the determinants. The gradient needs invertible matrices."""
    check_square("linalg.det", A)
    return Spec(A.shape[:-2], A.dtype)


linalg_det.vjp(
    A=lambda xp, g, A, result: xp.mul(
        _column(xp, _column(xp, xp.mul(g, conj(xp, result)))), xp.linalg_inv(adjoint(xp, A))
    )
)


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
        return (xp.full_like(A, 0) if g_log is None else xp.mul(_column(xp, _column(xp, g_log)), inverse),)
    total = None if g_log is None else xp.complex(g_log, xp.full_like(g_log, 0))
    if g_sign is not None:
        turn = xp.imag(xp.mul(conj(xp, g_sign), results[0]))
        turn = xp.complex(xp.full_like(turn, 0), xp.neg(turn))
        total = turn if total is None else xp.add(total, turn)
    return (xp.mul(_column(xp, _column(xp, total)), inverse),)


# -- decompositions --------------------------------------------------------------------------------------------------


@primitive(public=())
def linalg_cholesky(A: Tensor) -> Tensor:
    """Return the lower triangular L with ``L @ L^H = A`` for Hermitian positive-definite matrices."""
    check_square("linalg.cholesky", A)
    return A


def _cholesky_vjp(xp: Any, g: Any, result: Any) -> Any:
    transposed = adjoint(xp, result)
    product = _halved_diagonal(xp, xp.tril(xp.matmul(transposed, g)))
    # S = L^-H P L^-1
    inner = xp.linalg_solve(transposed, product)
    solved = adjoint(xp, xp.linalg_solve(transposed, adjoint(xp, inner)))
    return xp.mul(xp.add(solved, adjoint(xp, solved)), 0.5)


def _halved_diagonal(xp: Any, x: Any) -> Any:
    """A lower triangle with half its diagonal."""
    return xp.mul(xp.add(x, xp.tril(x, -1)), 0.5)


linalg_cholesky.vjp(A=_cholesky_vjp)


@primitive(public=())
def linalg_qr(A: Tensor) -> tuple[Tensor, Tensor]:
    """Return Q (..., m, k) with orthonormal columns and the upper triangular R (..., k, n), k = min(m, n)."""
    _check_matrix("linalg.qr", A)
    m, n = A.shape[-2:]
    k = min(m, n)
    return Spec((*A.shape[:-2], m, k), A.dtype), Spec((*A.shape[:-2], k, n), A.dtype)


linalg_qr.fields = ("Q", "R")


def _check_matrix(op: str, x: Any) -> None:
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
    return adjoint(xp, xp.linalg_solve(r, adjoint(xp, numerator)))


@primitive(public=())
def linalg_svd(A: Tensor, full_matrices: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Return U, S and V^H of the singular value decomposition ``A = U diag(S) V^H``, S descending.

    Args:
        full_matrices: whether U and V^H are square, or have k = min(m, n) columns and rows.
    """
    _check_matrix("linalg.svd", A)
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
    if full_matrices and m != n and (g_u is not None or g_vh is not None):
        raise RuntimeError(
            "linalg.svd: the gradient with respect to U and Vh of the full decomposition is not defined, as they are "
            "not unique; use full_matrices=False"
        )
    u, vh = _columns(xp, u, 0, k), xp.slice(vh, len(vh.shape) - 2, 0, k, 1)
    kind = A_spec.dtype
    sigma = xp.to_dtype(s, kind) if kind.is_complex else s
    if g_u is None and g_vh is None:
        return (xp.matmul(xp.mul(u, _row(xp, xp.to_dtype(g_s, kind))), vh),)
    gaps = _gaps(xp, xp.mul(s, s))
    gaps = xp.to_dtype(gaps, kind) if kind.is_complex else gaps
    inner = None
    if g_u is not None:
        product = xp.matmul(adjoint(xp, u), g_u)
        inner = xp.mul(xp.div(xp.sub(product, adjoint(xp, product)), gaps), _row(xp, sigma))
        if kind.is_complex:
            # The phase of the singular vectors.
            turned = xp.div(xp.imag(xp.diagonal(product, 0, len(u.shape) - 2, len(u.shape) - 1)), s)
            inner = xp.add(inner, xp.diag_embed(xp.complex(xp.full_like(turned, 0), turned)))
    if g_vh is not None:
        product = xp.matmul(vh, adjoint(xp, g_vh))
        part = xp.mul(_column(xp, sigma), xp.div(xp.sub(product, adjoint(xp, product)), gaps))
        inner = part if inner is None else xp.add(inner, part)
    if g_s is not None:
        inner = xp.add(inner, xp.diag_embed(xp.to_dtype(g_s, kind) if kind.is_complex else g_s))
    result = xp.matmul(xp.matmul(u, inner), vh)
    if m > k and g_u is not None:
        scaled = xp.div(g_u, _row(xp, sigma))
        outside = xp.sub(scaled, xp.matmul(u, xp.matmul(adjoint(xp, u), scaled)))
        result = xp.add(result, xp.matmul(outside, vh))
    if n > k and g_vh is not None:
        scaled = xp.div(g_vh, _column(xp, sigma))
        outside = xp.sub(scaled, xp.matmul(xp.matmul(scaled, adjoint(xp, vh)), vh))
        result = xp.add(result, xp.matmul(u, outside))
    return (result,)


def _gaps(xp: Any, values: Any) -> Any:
    """The matrix of ``values[j] - values[i]``, with ones on the diagonal."""
    gaps = xp.sub(_row(xp, values), _column(xp, values))
    return xp.add(gaps, xp.diag_embed(xp.full_like(values, 1)))


@primitive(public=())
def linalg_eigh(A: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues, ascending, and the eigenvectors (columns) of Hermitian matrices (the lower triangle is
    read)."""
    check_square("linalg.eigh", A)
    return Spec(A.shape[:-1], A.dtype.to_real()), A


linalg_eigh.fields = ("eigenvalues", "eigenvectors")


@linalg_eigh.joint_vjp
def _eigh_vjp(xp: Any, g: Any, needs: tuple[bool, ...], results: Any) -> tuple[Any, ...]:
    (values, vectors), (g_values, g_vectors) = results, g
    kind = xp.dtype_of(vectors)
    inner = None
    if g_vectors is not None:
        gaps = _gaps(xp, values)
        gaps = xp.to_dtype(gaps, kind) if kind.is_complex else gaps
        product = xp.matmul(adjoint(xp, vectors), g_vectors)
        off_diagonal = xp.sub(
            product, xp.diag_embed(xp.diagonal(product, 0, len(product.shape) - 2, len(product.shape) - 1))
        )
        inner = xp.div(off_diagonal, gaps)
    if g_values is not None:
        spread = xp.diag_embed(xp.to_dtype(g_values, kind) if kind.is_complex else g_values)
        inner = spread if inner is None else xp.add(inner, spread)
    return (xp.matmul(xp.matmul(vectors, inner), adjoint(xp, vectors)),)


# -- what follows from the decompositions ----------------------------------------------------------------------------


def _small_singular_values(xp: Any, s: Any, shape: tuple[int, ...], atol: Any, rtol: Any) -> Any:
    """Which singular values count as 0: at most ``max(atol, rtol * the largest)``."""
    if rtol is None:
        rtol = max(shape[-2:]) * finfo(xp.dtype_of(s)).eps if not atol else 0.0
    largest = xp.amax(s, (len(s.shape) - 1,), True)
    return xp.le(s, xp.clamp(xp.mul(largest, rtol), atol or 0.0, None))


@composite(public=())
def linalg_pinv(xp: Any, A: Tensor, atol: Number | None = None, rtol: Number | None = None) -> Tensor:
    """Return the Moore-Penrose pseudoinverse.

    Args:
        atol, rtol: singular values up to ``max(atol, rtol * the largest)`` count as zero; ``rtol`` is
            ``max(m, n) * eps`` unless one of them is given.
    """
    _check_matrix("linalg.pinv", A)
    if 0 in A.shape[-2:]:
        return xp.new_full(A, (*A.shape[:-2], A.shape[-1], A.shape[-2]), 0)
    u, s, vh = xp.linalg_svd(A, False)
    small = _small_singular_values(xp, s, tuple(A.shape), atol, rtol)
    inverted = xp.where(small, xp.full_like(s, 0), xp.div(1.0, xp.where(small, xp.full_like(s, 1), s)))
    return xp.matmul(scale(xp, adjoint(xp, vh), _row(xp, inverted)), adjoint(xp, u))


@linalg_pinv.joint_vjp
def _pinv_vjp(xp: Any, g: Any, needs: tuple[bool, ...], A: Any, result: Any) -> tuple[Any, ...]:
    # Golub and Pereyra, 1973: dP = -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P
    p, p_h, g_h = result, adjoint(xp, result), adjoint(xp, g)
    through = xp.matmul(xp.matmul(g_h, p), p_h)
    left = xp.sub(through, xp.matmul(A, xp.matmul(p, through)))
    through = xp.matmul(p_h, xp.matmul(p, g_h))
    right = xp.sub(through, xp.matmul(xp.matmul(through, p), A))
    middle = xp.matmul(p_h, xp.matmul(g, p_h))
    return (xp.sub(xp.add(left, right), middle),)


@composite(inline=True, differentiable=False, public=())
def linalg_matrix_rank(
    xp: Any, A: Tensor, atol: Number | None = None, rtol: Number | None = None, hermitian: bool = False
) -> Tensor:
    """Return the number of singular values that do not count as zero (``atol``, ``rtol`` as for ``pinv``)."""
    _check_matrix("linalg.matrix_rank", A)
    s = xp.abs(xp.linalg_eigh(A)[0]) if hermitian else xp.linalg_svd(A, False)[1]
    large = xp.logical_not(_small_singular_values(xp, s, tuple(A.shape), atol, rtol))
    return xp.sum(large, (len(s.shape) - 1,), False)


@composite(inline=True, public=())
def linalg_cond(xp: Any, A: Tensor, p: Any = None) -> Tensor:
    """Return the condition number ``norm(A) * norm(inv(A))`` in the matrix norm ``p``, 2 unless given."""
    _check_matrix("linalg.cond", A)
    if p in (None, 2, -2):
        s = xp.linalg_svd(A, False)[1]
        last = (len(s.shape) - 1,)
        largest, smallest = xp.amax(s, last, False), xp.amin(s, last, False)
        return xp.div(smallest, largest) if p == -2 else xp.div(largest, smallest)
    check_square("linalg.cond", A)
    return xp.mul(xp.linalg_matrix_norm(A, p), xp.linalg_matrix_norm(xp.linalg_inv(A), p))


@composite(inline=True, public=())
def linalg_lstsq(xp: Any, A: Tensor, B: Tensor) -> Tensor:
    """Return the X with the least ``|A X - B|``, of several the smallest: (..., m, n) (..., m, k) -> (..., n, k)."""
    return xp.matmul(xp.linalg_pinv(A), B)


@composite(inline=True, public=())
def linalg_solve_triangular(
    xp: Any, A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """Return X with ``A X = B`` (``X A = B`` with ``left=False``), reading one triangle of A only.

    Args:
        unitriangular: take A's diagonal for ones.
    """
    check_square("linalg.solve_triangular", A)
    if unitriangular:
        ones = xp.diag_embed(xp.new_full(A, tuple(A.shape[:-1]), 1))
        A = xp.add(xp.triu(A, 1) if upper else xp.tril(A, -1), ones)
    else:
        A = xp.triu(A) if upper else xp.tril(A)
    if left:
        return xp.linalg_solve(A, B)
    return swap(xp, xp.linalg_solve(swap(xp, A), swap(xp, B)))


# -- PyTorch's older names --------------------------------------------------------------------------------------------


@composite(inline=True)
def det(xp: Any, input: Tensor) -> Tensor:
    """Return the determinants of square matrices. The gradient needs invertible matrices."""
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


@composite(inline=True)
def inverse(xp: Any, input: Tensor) -> Tensor:
    """Return the inverses of square matrices."""
    check_square("inverse", input)
    return xp.linalg_inv(input)


@composite(inline=True)
def pinverse(xp: Any, input: Tensor, rcond: Number = 1e-15) -> Tensor:
    """Return the pseudoinverses; singular values up to ``rcond`` times the largest count as zero."""
    return xp.linalg_pinv(input, 0.0, rcond)


@composite(inline=True)
def cholesky(xp: Any, input: Tensor, upper: bool = False) -> Tensor:
    """Return the lower triangular L with ``L L^H = input``, or the upper triangular U with ``U^H U = input``."""
    check_square("cholesky", input)
    lower = xp.linalg_cholesky(input)
    return adjoint(xp, lower) if upper else lower


@composite(inline=True)
def cholesky_solve(xp: Any, input: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
    """Return X with ``A X = input``, where ``input2`` is the Cholesky factor of A."""
    check_square("cholesky_solve", input2)
    factor = adjoint(xp, xp.triu(input2)) if upper else xp.tril(input2)
    return xp.linalg_solve(adjoint(xp, factor), xp.linalg_solve(factor, input))


@composite(inline=True)
def cholesky_inverse(xp: Any, input: Tensor, upper: bool = False) -> Tensor:
    """Return the inverse of A from its Cholesky factor ``input``."""
    check_square("cholesky_inverse", input)
    factor = adjoint(xp, xp.triu(input)) if upper else xp.tril(input)
    inverted = xp.linalg_inv(factor)
    return xp.matmul(adjoint(xp, inverted), inverted)


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


@composite(inline=True)
def qr(xp: Any, input: Tensor, some: bool = True) -> tuple[Tensor, Tensor]:
    """Return Q and R of the reduced QR decomposition; :func:`flambeau.linalg.qr` has the complete one."""
    if not some:
        raise NotImplementedError("qr: use flambeau.linalg.qr(input, mode='complete') in place of some=False")
    return xp.linalg_qr(input)


qr.fields = ("Q", "R")
