"""Sums of a tensor and products: ``addmm`` and its kin."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import BOOL, FLOATING
from flambeau.ops.declare import composite
from flambeau.ops.linalg import check_batches, check_dims, check_matrices, matmul_shape
from flambeau.ops.spec import broadcast_shapes

Tensor = Any
Number = Any


def _weighted(xp: Any, op: str, input: Any, product: Any, beta: Any, alpha: Any) -> Any:
    own, shape = tuple(input.shape), tuple(product.shape)
    if own != shape[len(shape) - len(own) :] and broadcast_shapes(op, own, shape) != shape:
        raise RuntimeError(f"{op}: input of the shape {list(own)} cannot be expanded to the product's {list(shape)}")
    kind = xp.dtype_of(product)
    ignored = beta == 0  # whatever the input holds then, NaN included
    if kind.category == BOOL:
        beta, alpha = bool(beta), bool(alpha)
    elif kind.category < FLOATING:
        beta, alpha = int(beta), int(alpha)
    if alpha != 1:
        product = xp.mul(product, alpha)
    if ignored:
        return product
    return xp.add(input if beta == 1 else xp.mul(input, beta), product)


@composite(dtype="same", inplace=True)
def addmm(xp: Any, input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """Return ``beta * input + alpha * (mat1 @ mat2)`` for matrices; ``input`` broadcasts to the product's shape."""
    check_matrices("addmm", mat1, mat2, ("mat1", "mat2"))
    return _weighted(xp, "addmm", input, xp.matmul(mat1, mat2), beta, alpha)


@composite(dtype="same", inplace=True)
def addmv(xp: Any, input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """Return ``beta * input + alpha * (mat @ vec)`` for a matrix and a vector."""
    check_dims("addmv", mat=(mat, 2), vec=(vec, 1))
    matmul_shape("addmv", mat.shape, vec.shape)
    return _weighted(xp, "addmv", input, xp.matmul(mat, vec), beta, alpha)


@composite(dtype="same", inplace=True)
def addr(xp: Any, input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """Return ``beta * input + alpha * outer(vec1, vec2)``."""
    return _weighted(xp, "addr", input, xp.outer(vec1, vec2), beta, alpha)


@composite(dtype="same", inplace=True)
def baddbmm(xp: Any, input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """Return ``beta * input + alpha * bmm(batch1, batch2)``."""
    check_batches("baddbmm", batch1, batch2)
    return _weighted(xp, "baddbmm", input, xp.matmul(batch1, batch2), beta, alpha)


@composite(dtype="same", inplace=True)
def addbmm(xp: Any, input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """Return ``beta * input + alpha * (sum over the batch of batch1[i] @ batch2[i])``."""
    check_batches("addbmm", batch1, batch2)
    return _weighted(xp, "addbmm", input, _summed_products(xp, batch1, batch2), beta, alpha)


def _summed_products(xp: Any, a: Any, b: Any) -> Any:
    """The sum of a batch of products, as one product: (b, m, k) (b, k, n) -> (m, b k) (b k, n)."""
    batch, m, k = a.shape
    wide = xp.reshape(xp.permute(a, (1, 0, 2)), (m, batch * k))
    return xp.matmul(wide, xp.reshape(b, (batch * k, b.shape[2])))
