"""Eigenvalues and eigenvectors. :mod:`flambeau.linalg` is the public face."""

from __future__ import annotations

from typing import Any

from flambeau.ops.declare import primitive
from flambeau.ops.decomposition import check_gauge, gaps_of
from flambeau.ops.linalg import adjoint, as_row, check_square
from flambeau.ops.spec import Spec

Tensor = Any


def _without_diagonal(xp: Any, x: Any) -> Any:
    ndim = len(x.shape)
    return xp.sub(x, xp.diag_embed(xp.diagonal(x, 0, ndim - 2, ndim - 1)))


@primitive(public=())
def linalg_eigh(A: Tensor, upper: bool = False) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues, ascending, and the eigenvectors (columns) of Hermitian matrices.

    Args:
        upper: the upper triangle is read, in place of the lower.
    """
    check_square("linalg.eigh", A)
    return Spec(A.shape[:-1], A.dtype.to_real()), A


linalg_eigh.fields = ("eigenvalues", "eigenvectors")


@linalg_eigh.joint_vjp
def _eigh_vjp(xp: Any, g: Any, needs: tuple[bool, ...], results: Any) -> tuple[Any, ...]:
    (values, vectors), (g_values, g_vectors) = results, g
    kind = xp.dtype_of(vectors)
    inner = None
    if g_vectors is not None:
        if kind.is_complex:
            check_gauge(xp, "linalg.eigh", [(vectors, g_vectors)])
        gaps = gaps_of(xp, values)
        gaps = xp.to_dtype(gaps, kind) if kind.is_complex else gaps
        inner = xp.div(_without_diagonal(xp, xp.matmul(adjoint(xp, vectors), g_vectors)), gaps)
    if g_values is not None:
        spread = xp.diag_embed(xp.to_dtype(g_values, kind) if kind.is_complex else g_values)
        inner = spread if inner is None else xp.add(inner, spread)
    result = xp.matmul(xp.matmul(vectors, inner), adjoint(xp, vectors))
    # The Hermitian part: both triangles stand for the one that is read.
    return (xp.mul(xp.add(result, adjoint(xp, result)), 0.5),)


# A primitive: the QR algorithm for matrices without symmetry iterates until it converges, which no fixed composition of
# other ops can say.
@primitive(public=())
def linalg_eig(A: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues and eigenvectors (columns of norm 1) of square matrices, always complex."""
    check_square("linalg.eig", A)
    kind = A.dtype.to_complex()
    return Spec(A.shape[:-1], kind), A.with_dtype(kind)


linalg_eig.fields = ("eigenvalues", "eigenvectors")


@linalg_eig.joint_vjp
def _eig_vjp(xp: Any, g: Any, needs: tuple[bool, ...], A_spec: Spec, results: Any) -> tuple[Any, ...]:
    # Boeddeker et al., "On the computation of complex-valued gradients with application to statistically optimum
    # beamforming", 2017; the vectors are of norm 1.
    (values, vectors), (g_values, g_vectors) = results, g
    vectors_h = adjoint(xp, vectors)
    inner = None
    if g_vectors is not None:
        check_gauge(xp, "linalg.eig", [(vectors, g_vectors)])
        product = xp.matmul(vectors_h, g_vectors)
        ndim = len(product.shape)
        along = xp.real(xp.diagonal(product, 0, ndim - 2, ndim - 1))
        along = xp.to_dtype(along, xp.dtype_of(product))
        product = xp.sub(product, xp.mul(xp.matmul(vectors_h, vectors), as_row(xp, along)))
        inner = xp.div(_without_diagonal(xp, product), xp.conj(gaps_of(xp, values)))
    if g_values is not None:
        spread = xp.diag_embed(g_values)
        inner = spread if inner is None else xp.add(inner, spread)
    result = xp.linalg_solve(vectors_h, xp.matmul(inner, vectors_h))
    return (result if A_spec.dtype.is_complex else xp.real(result),)
