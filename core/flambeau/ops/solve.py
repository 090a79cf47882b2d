"""Solving and inverting. Batches of matrices are in the leading dimensions; :mod:`flambeau.linalg` is the public face.

Gradients are the standard ones (Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation", 2008).
"""

from __future__ import annotations

from typing import Any

from flambeau.ops.declare import composite, primitive
from flambeau.ops.linalg import adjoint, check_square, swap
from flambeau.ops.spec import Spec, broadcast_shapes, numel

Tensor = Any


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


# -- triangles -------------------------------------------------------------------------------------------------------


@composite(public=())
def linalg_solve_triangular(
    xp: Any, A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """Return X with ``A X = B`` (``X A = B`` with ``left=False``), reading one triangle of A only.

    Args:
        unitriangular: take A's diagonal for ones.
    """
    check_square("linalg.solve_triangular", A)
    A = _triangle(xp, A, upper, unitriangular)
    if unitriangular:
        A = xp.add(A, xp.diag_embed(xp.new_full(A, tuple(A.shape[:-1]), 1)))
    if left:
        return xp.linalg_solve(A, B)
    return swap(xp, xp.linalg_solve(swap(xp, A), swap(xp, B)))


def _triangle(xp: Any, A: Any, upper: bool, unitriangular: bool) -> Any:
    """The part of A that is read."""
    return xp.triu(A, int(unitriangular)) if upper else xp.tril(A, -int(unitriangular))


@linalg_solve_triangular.joint_vjp
def _solve_triangular_vjp(
    xp: Any, g: Any, needs: tuple[bool, ...], A: Any, B_spec: Spec, upper: bool, left: bool, unitriangular: bool,
    result: Any,
) -> tuple[Any, ...]:  # fmt: skip
    g_b = xp.linalg_solve_triangular(adjoint(xp, A), g, upper=not upper, left=left, unitriangular=unitriangular)
    g_a = None
    if needs[0]:
        product = xp.matmul(g_b, adjoint(xp, result)) if left else xp.matmul(adjoint(xp, result), g_b)
        g_a = xp.sum_to_size(xp.neg(_triangle(xp, product, upper, unitriangular)), A.shape)
    return g_a, xp.sum_to_size(g_b, B_spec.shape) if needs[1] else None


@composite(inline=True)
def triangular_solve(
    xp: Any, input: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> tuple[Tensor, Tensor]:
    """Return X with ``A X = input``, or with ``A^T X = input``, and a copy of A (see ``linalg.solve_triangular``).

    Args:
        upper: the triangle of A that is read.
        transpose: solve with A transposed (not conjugated).
        unitriangular: take A's diagonal for ones.

    Raises:
        RuntimeError: when A is not square or the shapes do not fit.
    """
    check_square("triangular_solve", A)
    if len(input.shape) < 2 or input.shape[-2] != A.shape[-1]:
        raise RuntimeError(f"triangular_solve: incompatible shapes of b and A: {list(input.shape)} and {list(A.shape)}")
    turned = swap(xp, A) if transpose else A
    solution = xp.linalg_solve_triangular(turned, input, upper=upper != transpose, unitriangular=unitriangular)
    lead = broadcast_shapes("triangular_solve", input.shape[:-2], A.shape[:-2])
    return solution, xp.clone(xp.expand(A, (*lead, *A.shape[-2:])))


triangular_solve.fields = ("solution", "cloned_coefficient")


@composite(inline=True)
def cholesky_solve(xp: Any, input: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
    """Return X with ``A X = input``, where ``input2`` is the Cholesky factor of A.

    Args:
        upper: ``A = U^H U`` with U = ``input2``, in place of ``A = L L^H``.
    """
    check_square("cholesky_solve", input2)
    if len(input.shape) < 2 or input.shape[-2] != input2.shape[-1]:
        raise RuntimeError(
            f"cholesky_solve: incompatible matrix sizes: each A matrix is {input2.shape[-1]} by {input2.shape[-1]} "
            f"but b has the shape {list(input.shape)}"
        )
    lower = adjoint(xp, input2) if upper else input2
    half = xp.linalg_solve_triangular(lower, input, upper=False)
    return xp.linalg_solve_triangular(adjoint(xp, lower), half, upper=True)


@composite(inline=True)
def cholesky_inverse(xp: Any, input: Tensor, upper: bool = False) -> Tensor:
    """Return the inverse of A from its Cholesky factor ``input``, ``A = L L^H`` (``upper``: ``A = U^H U``)."""
    check_square("cholesky_inverse", input)
    lower = adjoint(xp, input) if upper else input
    identity = xp.diag_embed(xp.new_full(input, tuple(input.shape[:-1]), 1))
    inverted = xp.linalg_solve_triangular(lower, identity, upper=False)
    return xp.matmul(adjoint(xp, inverted), inverted)


@composite(inline=True)
def inverse(xp: Any, input: Tensor) -> Tensor:
    """Return the inverses of square matrices."""
    check_square("inverse", input)
    return xp.linalg_inv(input)


# -- tensors as matrices ---------------------------------------------------------------------------------------------


@composite(inline=True, public=())
def linalg_tensorinv(xp: Any, A: Tensor, ind: int = 2) -> Tensor:
    """Return the inverse of the matrix whose rows are the first ``ind`` dimensions of A, its columns the others.

    Shapes: (*rows, *columns) -> (*columns, *rows), where both have the same number of elements.
    """
    if ind <= 0:
        raise RuntimeError(f"linalg.tensorinv: Expected a strictly positive integer for 'ind', got {ind}")
    rows, columns = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    size = numel(rows)
    if numel(columns) != size:
        raise RuntimeError(
            f"linalg.tensorinv: Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            f"prod(self.shape[:ind]), but got {numel(columns)} != {size}"
        )
    return xp.reshape(xp.linalg_inv(xp.reshape(A, (size, size))), (*columns, *rows))


@composite(inline=True, public=())
def linalg_tensorsolve(xp: Any, A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """Return X with ``tensordot(A, X, X.ndim) = B``: (*B.shape, *X.shape) (*B.shape) -> X.

    Args:
        dims: dimensions of A that are moved to its end first.
    """
    if dims is not None:
        ndim = len(A.shape)
        moved = [d % ndim for d in ([dims] if isinstance(dims, int) else dims)]
        A = xp.permute(A, (*(d for d in range(ndim) if d not in moved), *moved))
    shape = tuple(A.shape[len(B.shape) :])
    size = numel(shape)
    if numel(tuple(B.shape)) != size or numel(tuple(A.shape)) != size * size:
        raise RuntimeError(
            f"linalg.tensorsolve: Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got the shapes {list(A.shape)} and {list(B.shape)}"
        )
    return xp.reshape(xp.linalg_solve(xp.reshape(A, (size, size)), xp.reshape(B, (size, 1))), shape)
