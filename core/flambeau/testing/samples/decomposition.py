"""Samples of LU, LDL and Householder decompositions, of what is solved with them, and of functions of matrices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.ops.call import TENSORS
from flambeau.testing.database import COMPLEXES, FLOATS, Maker, Sample, case, sample
from flambeau.testing.samples.linalg import FIELD, MATRICES, invertible, positive

# -- LU --------------------------------------------------------------------------------------------------------------


def _lu(a: Any, pivot: bool = True) -> tuple[Any, Any, Any]:
    """The decomposition of each matrix, row by row; pivots are compared as LAPACK does."""
    *lead, m, n = a.shape
    k = min(m, n)
    packed = a.copy().reshape(int(np.prod(lead)), m, n)
    pivots = np.zeros((len(packed), k), np.int32)
    info = np.zeros(len(packed), np.int32)
    for matrix, order, number in zip(packed, pivots, range(len(packed)), strict=True):
        for i in range(k):
            p = i + int(np.argmax(abs(matrix[i:, i].real) + abs(matrix[i:, i].imag))) if pivot else i
            order[i] = p + 1
            matrix[[i, p]] = matrix[[p, i]]
            if matrix[i, i] == 0:
                info[number] = info[number] or i + 1
                continue
            matrix[i + 1 :, i] /= matrix[i, i]
            matrix[i + 1 :, i + 1 :] -= np.outer(matrix[i + 1 :, i], matrix[i, i + 1 :])
    return packed.reshape(a.shape), pivots.reshape(*lead, k), info.reshape(lead)


@case("linalg_lu_factor_ex", _lu, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    for shape in ((3, 3), (2, 4, 2), (2, 2, 4), (0, 3), (2, 0, 0)):
        yield sample(make(*shape))
    yield sample(invertible(make, 3), False)
    yield sample(make.values([[1, 2], [2, 4]]), smooth=False)
    yield sample(make.values([[0, 2], [0, 4]]), smooth=False)


def _order(pivots: Any, m: int) -> Any:
    orders: list[Any] = []
    for row in pivots.reshape(-1, pivots.shape[-1]):
        order = np.arange(m)
        for i, p in enumerate(row):
            order[[i, p - 1]] = order[[p - 1, i]]
        orders.append(order)
    return np.array(orders).reshape(*pivots.shape[:-1], m)


@case("lu_order", _order, dtypes=("int32", "int64"), gradients=False)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.values([3, 2, 3]), 4)
    yield sample(make.values([[2, 2], [1, 3]]), 3)


def _unpacked(lu: Any, pivots: Any, unpack_data: bool = True, unpack_pivots: bool = True) -> tuple[Any, Any, Any]:
    m, n = lu.shape[-2:]
    k = min(m, n)
    p, lower, upper = (
        np.swapaxes(np.eye(m)[_order(pivots, m)], -1, -2),
        np.tril(lu[..., :k], -1),
        np.triu(lu[..., :k, :]),
    )
    return (
        p if unpack_pivots else np.zeros(0),
        lower + np.eye(m, k) if unpack_data else np.zeros(0),
        (upper if unpack_data else np.zeros(0)),
    )


@case("lu_unpack", _unpacked, dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    pivots = make.of("int32")
    yield sample(make(3, 3), pivots.values([3, 2, 3]))
    yield sample(make(2, 3, 2), pivots.values([[3, 2], [1, 3]]))
    yield sample(make(2, 4), pivots.values([2, 2]), False, True)
    yield sample(make(2, 4), pivots.values([2, 2]), True, False)


def _solved_with_lu(lu: Any, pivots: Any, b: Any, left: bool = True, adjoint: bool = False) -> Any:
    p, lower, upper = _unpacked(lu, pivots)
    a = p @ lower @ upper
    a = np.swapaxes(a, -1, -2).conj() if adjoint else a
    return (
        np.linalg.solve(a, b)
        if left
        else np.swapaxes(np.linalg.solve(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2)), -1, -2)
    )


@case("linalg_lu_solve", _solved_with_lu, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    pivots = make.of("int32").values([3, 2, 3])
    yield sample(invertible(make, 3), pivots, make(3, 2))
    yield sample(invertible(make, 3), pivots, make(2, 3, 2), adjoint=True)
    yield sample(invertible(make, 3), pivots, make(2, 3), left=False)


@case("lu_solve", lambda b, lu, pivots: _solved_with_lu(lu, pivots, b), **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 2), invertible(make, 3), make.of("int32").values([3, 2, 3]))


# -- LDL -------------------------------------------------------------------------------------------------------------


def indefinite(make: Maker, *shape: int, hermitian: bool = False) -> Any:
    """Symmetric (Hermitian) matrices with small numbers on the diagonal, so that blocks of two rows occur."""
    x = make(*shape, shape[-1])
    turned = TENSORS.transpose(TENSORS.conj(x) if hermitian and make.is_complex else x, -2, -1)
    heavy = make.values(np.eye(shape[-1]) * 0.2)
    return TENSORS.add(
        TENSORS.sub(TENSORS.add(x, turned), TENSORS.diag_embed(TENSORS.diagonal(x, 0, -2, -1) * 2)), heavy
    )


# No reference but what is solved with it: the decomposition is checked in tests/core/ops/test_linalg_lu.py.
@case("linalg_ldl_factor_ex", None, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(indefinite(make, 4))
    yield sample(indefinite(make, 2, 3))
    yield sample(make(0, 0))
    if make.is_complex:
        yield sample(indefinite(make, 3, hermitian=True), True)


def _solved_with_ldl(ld: Any, pivots: Any, b: Any, hermitian: bool = False) -> Any:
    lower = np.tril(ld, -1) + np.eye(ld.shape[-1])
    turned = lower.T.conj() if hermitian else lower.T
    return np.linalg.solve(lower @ np.diag(np.diag(ld)) @ turned, b)


@case("linalg_ldl_solve", _solved_with_ldl, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    pivots = make.of("int32").values([1, 2, 3])
    factor = make.values([[2, 0, 0], [1, -3, 0], [0.5, 0.25, 1]])
    yield sample(factor, pivots, make(3, 2))
    yield sample(factor, pivots, make(3, 2), hermitian=True)


# -- Householder reflectors ------------------------------------------------------------------------------------------


def _reflected(vectors: Any, tau: Any) -> Any:
    m, _ = vectors.shape
    q = np.eye(m, dtype=vectors.dtype)
    for i, factor in enumerate(tau):
        v = np.zeros(m, vectors.dtype)
        v[i], v[i + 1 :] = 1, vectors[i + 1 :, i]
        q = q @ (np.eye(m) - factor * np.outer(v, v.conj()))
    return q


@case("geqrf", lambda a: tuple(np.swapaxes(p, -1, -2) if p.ndim > 1 else p for p in np.linalg.qr(a, "raw")), **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    for shape in ((3, 3), (4, 2), (2, 4), (3, 1)):
        yield sample(make(*shape))


for _name in ("linalg_householder_product", "orgqr"):

    @case(_name, lambda a, tau: _reflected(a, tau)[:, : a.shape[1]], **MATRICES)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(4, 3), make(3))
        yield sample(make(4, 3), make(2))
        yield sample(make(3, 3), make(3))
        yield sample(make(3, 2), make(0))


def _times_q(a: Any, tau: Any, c: Any, left: bool = True, transpose: bool = False) -> Any:
    q = _reflected(a, tau)
    q = q.T.conj() if transpose else q
    return q @ c if left else c @ q


@case("ormqr", _times_q, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(4, 3), make(3), make(4, 2))
    yield sample(make(4, 3), make(3), make(2, 4), False)
    yield sample(make(4, 2), make(2), make(4, 2), True, True)


# -- Cholesky and eigenvalues ----------------------------------------------------------------------------------------


# As for linalg_cholesky, the gradient is that of Hermitian matrices: see tests/core/ops/test_linalg_lu.py.
@case(
    "linalg_cholesky_ex",
    lambda a: (np.linalg.cholesky(a), np.zeros(a.shape[:-2], np.int32)),
    gradients=False,
    **MATRICES,
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(positive(make, 3))
    yield sample(make(0, 0))


@case("linalg_eig", None, gradients=False, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 3))
    yield sample(make(2, 2, 2))
    yield sample(make(0, 0))


def _adjugate(a: Any) -> Any:
    n = a.shape[-1]
    result = np.empty_like(a)
    for i in range(n):
        for j in range(n):
            minor = np.delete(np.delete(a, j, -2), i, -1)
            result[..., i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    return result


@case("linalg_adjugate", _adjugate, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(invertible(make, 3))
    # Third derivatives of complex determinants divide by singular values.
    yield sample(make.values([[1, 2, 3], [2, 4, 6], [1, 0, 1]]), smooth=not make.is_complex)
    yield sample(make(2, 2, 2))
    yield sample(make(1, 1))


# -- solving ---------------------------------------------------------------------------------------------------------


def _triangular_solve(b: Any, a: Any, upper: bool = True, transpose: bool = False, unitriangular: bool = False) -> Any:
    read = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        read = read - np.diag(np.diag(read)) + np.eye(len(a))
    return np.linalg.solve(read.T if transpose else read, b), a


@case("triangular_solve", _triangular_solve, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 2), invertible(make, 3))
    yield sample(make(3, 2), invertible(make, 3), False, True)
    yield sample(make(3, 2), invertible(make, 3), True, False, True)


def _info(a: Any) -> Any:
    return np.zeros(a.shape[:-2], np.int32)


@case("linalg_solve_ex", lambda a, b: (np.linalg.solve(a, b), _info(a)), **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(invertible(make, 3), make(3, 2))
    yield sample(invertible(make, 2, 3), make(2, 3, 2))


@case("linalg_inv_ex", lambda a: (np.linalg.inv(a), _info(a)), **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(invertible(make, 3))


@case("linalg_tensorinv", lambda a, ind=2: np.linalg.tensorinv(a, ind), **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(TENSORS.reshape(invertible(make, 4), (2, 2, 4)))
    yield sample(TENSORS.reshape(invertible(make, 4), (4, 2, 2)), 1)


@case("linalg_tensorsolve", lambda a, b, dims=None: np.linalg.tensorsolve(a, b, dims), **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(TENSORS.reshape(invertible(make, 4), (2, 2, 4)), make(2, 2))
    yield sample(TENSORS.reshape(invertible(make, 4), (2, 2, 4)), make(2, 2), (2,))


# -- the exponential -------------------------------------------------------------------------------------------------


def _exponential(a: Any) -> Any:
    """By the Taylor series of the matrix divided by 1024, squared ten times."""
    term = result = np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape)
    for i in range(1, 12):
        term = term @ a / 1024 / i
        result = result + term
    for _ in range(10):
        result = result @ result
    return result


@case("matrix_exp", _exponential, dtypes=(*FLOATS, *COMPLEXES), loose=100)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 3))
    yield sample(make(2, 2, 2, low=-0.1, high=0.1))
    yield sample(make(2, 3, 3, low=-4, high=4), rtol=1e-4)
    yield sample(make(2, 0, 0))
