"""Samples of products, norms and decompositions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.ops.call import TENSORS
from flambeau.testing.database import COMPLEXES, FLOATS, HALF, Maker, Sample, case, sample

FIELD = (*FLOATS, *COMPLEXES)
INF = math.inf


@case("matmul", np.matmul, dtypes=(*FIELD, *HALF, "int64", "int32"))
def _(make: Maker) -> Iterator[Sample]:
    for a, b in (
        ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
        ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2)), ((0, 3), (3, 2)),
        ((2, 0), (0, 3)),
    ):  # fmt: skip
        yield sample(make(*a), make(*b))


for _name, _shapes in (
    ("mm", ((2, 3), (3, 4))), ("bmm", ((5, 2, 3), (5, 3, 4))), ("mv", ((2, 3), (3,))), ("dot", ((3,), (3,))),
):  # fmt: skip

    @case(_name, np.matmul, dtypes=(*FIELD, "int64"))
    def _(make: Maker, shapes: Any = _shapes) -> Iterator[Sample]:
        yield sample(make(*shapes[0]), make(*shapes[1]))


@case("for_products", lambda x, rows: x, dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), 4)


@case("vdot", np.vdot, dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3), make(3))


@case("inner", np.inner, dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make(4, 3))
    yield sample(make(3), make(3))


for _name in ("outer", "ger"):

    @case(_name, np.outer, dtypes=FIELD)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(3), make(4))


def _plus(product: Any) -> Any:
    return lambda x, a, b, beta=1, alpha=1: (beta * x if beta else 0) + alpha * product(a, b)


for _name, _function, _shapes in (
    ("addmm", np.matmul, ((2, 4), (2, 3), (3, 4))),
    ("addmv", np.matmul, ((2,), (2, 3), (3,))),
    ("addr", np.outer, ((3, 4), (3,), (4,))),
    ("baddbmm", np.matmul, ((5, 2, 4), (5, 2, 3), (5, 3, 4))),
    ("addbmm", lambda a, b: np.matmul(a, b).sum(0), ((2, 4), (5, 2, 3), (5, 3, 4))),
):

    @case(_name, _plus(_function), dtypes=FIELD)
    def _(make: Maker, shapes: Any = _shapes) -> Iterator[Sample]:
        yield sample(*[make(*shape) for shape in shapes])
        yield sample(*[make(*shape) for shape in shapes], beta=0.5, alpha=2)
        yield sample(make(*shapes[0][-1:]), make(*shapes[1]), make(*shapes[2]))
        yield sample(*[make(*shape) for shape in shapes], beta=0)


@case("tensordot", np.tensordot, dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), make(3, 4, 2), 2)
    yield sample(make(2, 3, 4), make(4, 2), ([0, 2], [1, 0]))


@case("kron", np.kron, dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make(3, 2))
    yield sample(make(2), make(2, 2))


@case("trace", np.trace, dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4))


for _name in ("linalg_cross", "cross"):

    @case(_name, lambda a, b, dim=-1: np.cross(a, b, axis=dim), dtypes=FIELD)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(2, 3), make(2, 3), dim=1)
        yield sample(make(3, 2), make(3, 1), dim=0)


@case("matrix_power", np.linalg.matrix_power, dtypes=FIELD, loose=10)
def _(make: Maker) -> Iterator[Sample]:
    for n in (0, 1, 3):
        yield sample(make(2, 3, 3), n)
    yield sample(invertible(make, 3), -2)


@case("linalg_multi_dot", lambda tensors: np.linalg.multi_dot(tensors), dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    yield sample([make(2, 5), make(5, 3), make(3, 2)])
    yield sample([make(2), make(2, 3), make(3)])


@case("einsum", lambda equation, operands: np.einsum(equation, *operands), dtypes=(*FIELD, "int64"))
def _(make: Maker) -> Iterator[Sample]:
    for equation, shapes in (
        ("ij,jk->ik", [(2, 3), (3, 4)]), ("ii->i", [(3, 3)]), ("ij->", [(2, 3)]), ("i,j->ij", [(3,), (2,)]),
        ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]), ("ij,jk,kl", [(2, 3), (3, 4), (4, 2)]), ("bij->bji", [(2, 3, 4)]),
    ):  # fmt: skip
        yield sample(equation, [make(*shape) for shape in shapes])


# -- norms -----------------------------------------------------------------------------------------------------------


def _vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    dims = tuple(range(x.ndim)) if dim is None else dim if isinstance(dim, tuple) else (dim,)
    return np.linalg.vector_norm(x, ord=ord, axis=dims, keepdims=keepdim)


@case("linalg_vector_norm", _vector_norm, dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    for ord in (0, 1, 2, 3.5, INF, -INF):
        yield sample(make(3, 4), ord, (1,))
    yield sample(make(2, 3, 4), 2, (0, 2), True)
    yield sample(make(3, 4))


def _matrix_norm(x: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False) -> Any:
    return np.linalg.norm(x, ord, dim, keepdim)


@case("linalg_matrix_norm", _matrix_norm, dtypes=FLOATS)
def _(make: Maker) -> Iterator[Sample]:
    for ord in ("fro", "nuc", 1, -1, 2, INF):
        yield sample(make.distinct(2, 3, 4), ord)
    yield sample(make.distinct(2, 3, 4), 1, (2, 0), True)


@case(
    "linalg_norm",
    lambda x, ord=None, dim=None, keepdim=False: np.linalg.norm(
        x if dim is not None or ord else x.ravel(), ord, dim, keepdim
    ),
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4))
    yield sample(make(3, 4), 1, 0)
    yield sample(make(3, 4), "fro")


@case("norm", lambda x, p="fro", dim=None, keepdim=False: _vector_norm(x, 2 if p == "fro" else p, dim, keepdim))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4))
    yield sample(make(3, 4), 1, 0, True)


@case("dist", lambda x, y, p=2: np.linalg.vector_norm(x - y, ord=p))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3, 4))
    yield sample(make(3, 4), make(4), 1)


def _cdist(a: Any, b: Any, p: Any = 2.0, compute_mode: str = "") -> Any:
    return np.linalg.vector_norm(a[..., :, None, :] - b[..., None, :, :], ord=p, axis=-1)


@case("cdist", _cdist)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 2), make(4, 2))
    yield sample(make(2, 3, 2), make(4, 2), 1)


def _pdist(a: Any, p: Any = 2.0) -> Any:
    return _cdist(a, a, p)[np.triu_indices(len(a), 1)]


@case("pdist", _pdist)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(4, 3))
    yield sample(make(3, 2), 1.0)
    yield sample(make(1, 2))


@case("euclidean_distance", _cdist, loose=10)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 2), make(4, 2, low=3, high=5))
    yield sample(make(2, 3, 2), make(4, 2, low=3, high=5))


@case("frobenius_norm", lambda x, dim=(), keepdim=False: _vector_norm(x, 2, dim or None, keepdim), dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4))
    yield sample(make(3, 4), (1,), True)


@case("nuclear_norm", lambda x, dim=(-2, -1), keepdim=False: np.linalg.norm(x, "nuc", dim, keepdim), dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4))
    yield sample(make(2, 3, 4), (0, 2), True)


@case("norm_except_dim", lambda v, pow=2, dim=0: _norm_except(v, pow, dim), dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4))
    yield sample(make(2, 3, 4), 1, 1)
    yield sample(make(3, 4), 2, -1)


def _norm_except(v: Any, pow: int, dim: int) -> Any:
    others = tuple(d for d in range(v.ndim) if d != dim)
    return np.linalg.vector_norm(v, ord=pow, axis=others, keepdims=dim >= 0)


def _renorm(x: Any, p: float, dim: int, maxnorm: float) -> Any:
    size = _norm_except(x, p, dim % x.ndim)
    return x * np.where(size > maxnorm, maxnorm / (size + 1e-7), 1)


@case("renorm", _renorm, dtypes=FIELD)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 2, 0, 2.0)
    yield sample(make(2, 3, 4), 1, -1, 5)
    yield sample(make(3, 4), 3, 1, 100)


# -- matrices ----------------------------------------------------------------------------------------------------------


def invertible(make: Maker, *shape: int) -> Any:
    """Well-conditioned square matrices: random ones with a heavy diagonal."""
    n = shape[-1]
    heavy = make.values(np.eye(n) * 4)
    return TENSORS.add(make(*shape, n), heavy)


def positive(make: Maker, n: int) -> Any:
    """A Hermitian positive-definite matrix."""
    root = make(n, n)
    other = TENSORS.conj(TENSORS.transpose(root, 0, 1)) if make.is_complex else TENSORS.transpose(root, 0, 1)
    return TENSORS.add(TENSORS.matmul(root, other), make.values(np.eye(n)))


MATRICES: dict[str, Any] = {"dtypes": FIELD, "loose": 30}


@case("linalg_solve", np.linalg.solve, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(invertible(make, 3), make(3, 2))
    yield sample(invertible(make, 2, 3), make(2, 3, 2))


for _name in ("linalg_inv", "inverse", "linalg_pinv", "pinverse"):

    @case(_name, lambda x, *options: np.linalg.inv(x), **MATRICES)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(invertible(make, 3))
        yield sample(invertible(make, 2, 2))


for _name in ("linalg_det", "det"):

    @case(_name, np.linalg.det, **MATRICES)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(invertible(make, 3))
        yield sample(invertible(make, 2, 2))


for _name in ("linalg_slogdet", "slogdet"):

    @case(_name, lambda x: tuple(np.linalg.slogdet(x)), **MATRICES)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(invertible(make, 3))
        yield sample(invertible(make, 2, 2))


@case("logdet", lambda x: np.log(np.linalg.det(x)), dtypes=FLOATS, loose=30)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(positive(make, 3))


def _cholesky(x: Any, upper: bool = False) -> Any:
    lower = np.linalg.cholesky(x)
    return np.swapaxes(lower, -1, -2).conj() if upper else lower


# The gradients hold for Hermitian matrices moved as such, which differences in single elements are not: they are
# checked in tests/core/ops/test_linalg.py, as are those of factors that are unique only up to a phase.
@case("linalg_cholesky", _cholesky, gradients=False, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(positive(make, 3))


@case("cholesky", _cholesky, gradients=False, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(positive(make, 3))
    yield sample(positive(make, 3), True)


def _factor(make: Maker) -> Any:
    return TENSORS.tril(invertible(make, 3))


@case(
    "cholesky_solve",
    lambda b, factor, upper=False: np.linalg.solve(factor @ factor.conj().T, b),
    constant=("input2",),
    **MATRICES,
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 2), _factor(make))


@case(
    "cholesky_inverse", lambda factor, upper=False: np.linalg.inv(factor @ factor.conj().T), gradients=False, **MATRICES
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(_factor(make))


@case("linalg_eigh", lambda x: (np.linalg.eigvalsh(x), None), gradients=False, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(positive(make, 3))


for _name in ("linalg_qr", "qr"):

    @case(_name, None, **MATRICES)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(invertible(make, 3))
        yield sample(make(4, 2))


@case("linalg_svd", lambda x, full=True: (None, np.linalg.svd(x, compute_uv=False), None), gradients=False, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 3))
    yield sample(make(4, 2), False)
    yield sample(make(2, 2, 3), True)


@case("svd", lambda x, some=True: (None, np.linalg.svd(x, compute_uv=False), None), gradients=False, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(4, 2))
    yield sample(make(2, 3), False)


@case("linalg_matrix_rank", np.linalg.matrix_rank, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make.values([[1, 2], [2, 4]]))
    yield sample(invertible(make, 3))


@case("linalg_cond", np.linalg.cond, dtypes=FLOATS, loose=30)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(invertible(make, 3))
    yield sample(invertible(make, 3), "fro")


@case("linalg_lstsq", lambda a, b: np.linalg.lstsq(a, b, rcond=None)[0], **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(4, 2), make(4, 3))


def _triangular(a: Any, b: Any, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:
    a = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        a = a - np.diag(np.diag(a)) + np.eye(len(a))
    return np.linalg.solve(a, b) if left else np.linalg.solve(a.T, b.T).T


@case("linalg_solve_triangular", _triangular, **MATRICES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(invertible(make, 3), make(3, 2), upper=True)
    yield sample(invertible(make, 3), make(2, 3), upper=False, left=False)
    yield sample(invertible(make, 3), make(3, 2), upper=False, unitriangular=True)
