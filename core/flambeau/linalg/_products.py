"""Products, powers and the exponential."""

from __future__ import annotations

from collections.abc import Sequence

from flambeau.dtypes import promote_types
from flambeau.linalg._arguments import check_square, finish, run
from flambeau.ops.call import TENSORS
from flambeau.ops.declare import OPS
from flambeau.ops.entry import entry
from flambeau.tensor import Tensor

__all__ = ["cross", "diagonal", "matmul", "matrix_exp", "matrix_power", "multi_dot", "vander", "vecdot"]

matmul = entry(OPS["matmul"])
matrix_power = entry(OPS["matrix_power"])


def matrix_exp(A: Tensor) -> Tensor:
    """Return the exponentials of square matrices, ``I + A + A^2 / 2! + A^3 / 3! + ...``; see ``ops.matrix``."""
    check_square("matrix_exp", A=A)
    return run("matrix_exp", A)


def cross(input: Tensor, other: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """Return the cross products of 3-vectors along ``dim``."""
    return finish(TENSORS.linalg_cross(input, other, dim=dim), out)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1, out: Tensor | None = None) -> Tensor:
    """Return the dot products along ``dim``, the first argument conjugated; other dimensions broadcast."""
    first = TENSORS.conj(x) if x.is_complex() else x
    return finish(TENSORS.to_dtype(TENSORS.sum(TENSORS.mul(first, y), dim), promote_types(x.dtype, y.dtype)), out)


def multi_dot(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Return the product of matrices, in the order that takes the fewest operations."""
    return finish(TENSORS.linalg_multi_dot(list(tensors)), out)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return a view of the diagonals of matrices."""
    return TENSORS.diagonal(A, offset, dim1, dim2)


def vander(x: Tensor, N: int | None = None) -> Tensor:
    """Return Vandermonde matrices: the powers 0, 1, ..., N - 1 of each element, (..., n) -> (..., n, N).

    Raises:
        RuntimeError: when N is less than 1.
    """
    from flambeau.creation import arange

    if N is not None and N < 1:
        raise RuntimeError(f"linalg.vander: N must be greater than 1, got {N}")
    x = x if x.ndim else x.reshape(1)
    return x.unsqueeze(-1) ** arange(x.shape[-1] if N is None else N, device=x.device)
