"""Creation, sorting and linear algebra side by side with PyTorch: results, dtypes, shapes and kinds of errors."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

RANDOM = np.random.default_rng(0)
MATRIX = RANDOM.standard_normal((4, 5))
SQUARE = RANDOM.standard_normal((3, 3))
POSITIVE = SQUARE @ SQUARE.T + np.eye(3)
BATCH = RANDOM.standard_normal((2, 3, 4))
INTEGERS = RANDOM.integers(0, 4, (4, 6))
VECTOR = RANDOM.standard_normal(6)
WITH_NAN = np.array([2.0, np.nan, -1.0, np.inf, 0.5])


def both(call):
    """The outcome of a call in either library, the results flattened into a list."""
    outcomes = []
    for library in (flambeau, torch):
        result = call(library, lambda array, library=library: library.tensor(array))
        outcomes.append(list(result) if isinstance(result, (tuple, list)) else [result])
    return outcomes


CALLS = {
    # creation
    "zeros": lambda t, of: t.zeros(2, 3),
    "zeros in a tuple": lambda t, of: t.zeros((2, 3), dtype=t.int32),
    "full of an int": lambda t, of: t.full((2,), 3),
    "full of a bool": lambda t, of: t.full((2,), True),
    "full of a complex number": lambda t, of: t.full((2,), 1j),
    "arange of ints": lambda t, of: t.arange(2, 9, 3),
    "arange of floats": lambda t, of: t.arange(0.0, 1.0, 0.25),
    "arange of a float end": lambda t, of: t.arange(4.5),
    "linspace": lambda t, of: t.linspace(-1, 2, 7),
    "linspace of ints": lambda t, of: t.linspace(0, 10, 4, dtype=t.int64),
    "logspace": lambda t, of: t.logspace(0, 2, 5),
    "eye": lambda t, of: t.eye(2, 3),
    "tril": lambda t, of: of(BATCH).tril(-1),
    "triu": lambda t, of: t.triu(of(MATRIX), 2),
    "tril_indices": lambda t, of: t.tril_indices(3, 4, 1),
    "diag of a vector": lambda t, of: t.diag(of(VECTOR), -1),
    "diag of a matrix": lambda t, of: of(MATRIX).diag(1),
    "diag_embed": lambda t, of: t.diag_embed(of(BATCH), 1, 0, 2),
    "diagflat": lambda t, of: t.diagflat(of(SQUARE), 1),
    "meshgrid": lambda t, of: t.meshgrid(of(VECTOR), of(VECTOR[:2]), indexing="xy"),
    "combinations": lambda t, of: t.combinations(of(VECTOR[:4]), 3),
    "cartesian_prod": lambda t, of: t.cartesian_prod(of(VECTOR[:2]), of(VECTOR[2:5])),
    "block_diag": lambda t, of: t.block_diag(of(SQUARE), of(VECTOR)),
    "vander": lambda t, of: t.vander(of(VECTOR[:3]), 4),
    "polar": lambda t, of: t.polar(of(VECTOR), of(VECTOR)),
    # sorting
    "sort": lambda t, of: of(MATRIX).sort(0),
    "sort descending, stable": lambda t, of: of(INTEGERS).sort(dim=1, descending=True, stable=True),
    "sort with NaN": lambda t, of: of(WITH_NAN).sort(descending=True),
    "argsort": lambda t, of: of(MATRIX).argsort(1, descending=True),
    "topk": lambda t, of: of(MATRIX).topk(2, 0, largest=False),
    "topk with NaN": lambda t, of: of(WITH_NAN).topk(2),
    "kthvalue": lambda t, of: of(MATRIX).kthvalue(2, 1, True),
    "median": lambda t, of: of(MATRIX).median(),
    "median along": lambda t, of: of(MATRIX).median(1),
    "median with NaN": lambda t, of: of(WITH_NAN[None]).median(1),
    "nanmedian": lambda t, of: of(WITH_NAN[None]).nanmedian(1),
    "mode": lambda t, of: of(INTEGERS).mode(1)[0],
    "quantile": lambda t, of: of(MATRIX).quantile(of(np.array([0.1, 0.6])), 1, keepdim=True),
    "quantile, nearest": lambda t, of: of(MATRIX).quantile(0.35, interpolation="nearest"),
    "nanquantile": lambda t, of: of(WITH_NAN).nanquantile(0.5),
    "unique": lambda t, of: of(INTEGERS).unique(return_inverse=True, return_counts=True),
    "unique along": lambda t, of: t.unique(of(INTEGERS % 2), return_inverse=True, return_counts=True, dim=1),
    "unique_consecutive": lambda t, of: t.unique_consecutive(of(INTEGERS[0]), return_inverse=True, return_counts=True),
    "searchsorted": lambda t, of: t.searchsorted(of(np.sort(VECTOR)), of(MATRIX), right=True),
    "searchsorted of a number": lambda t, of: t.searchsorted(of(np.sort(VECTOR)), 0.3),
    "bucketize": lambda t, of: t.bucketize(of(MATRIX), of(np.array([-1.0, 0.0, 1.0])), out_int32=True),
    "isin": lambda t, of: t.isin(of(INTEGERS), of(np.array([0, 3]))),
    "bincount": lambda t, of: of(INTEGERS[0]).bincount(of(VECTOR), minlength=6),
    "histc": lambda t, of: t.histc(of(VECTOR), 4),
    "histogram": lambda t, of: t.histogram(of(VECTOR), 4, range=(-1.0, 1.0), density=True),
    # linear algebra
    "addmm": lambda t, of: t.addmm(of(VECTOR[:4]), of(MATRIX), of(RANDOM_RIGHT), beta=0.5, alpha=2),
    "tensordot": lambda t, of: t.tensordot(of(BATCH), of(BATCH), ([1, 2], [1, 2])),
    "kron": lambda t, of: t.kron(of(SQUARE), of(BATCH)),
    "einsum": lambda t, of: t.einsum("b...j,bkj->...kb", of(BATCH), of(BATCH)),
    "einsum of sublists": lambda t, of: t.einsum(of(SQUARE), [0, 1], of(SQUARE), [1, 2], [2, 0]),
    "norm": lambda t, of: of(MATRIX).norm(),
    "norm of columns": lambda t, of: t.norm(of(MATRIX), 3, 0, True),
    "linalg.norm": lambda t, of: t.linalg.norm(of(MATRIX), float("inf")),
    "linalg.vector_norm": lambda t, of: t.linalg.vector_norm(of(BATCH), 1, (0, 2)),
    "linalg.matrix_norm": lambda t, of: t.linalg.matrix_norm(of(BATCH), "nuc", (0, 2), True),
    "cdist": lambda t, of: t.cdist(of(BATCH), of(BATCH), 1.0),
    "cross": lambda t, of: t.cross(of(SQUARE), of(SQUARE.T.copy()), dim=1),
    "matrix_power": lambda t, of: of(SQUARE).matrix_power(-2),
    "multi_dot": lambda t, of: t.linalg.multi_dot([of(MATRIX), of(RANDOM_RIGHT), of(VECTOR[:4])]),
    "det": lambda t, of: t.det(of(SQUARE)),
    "slogdet": lambda t, of: t.linalg.slogdet(of(SQUARE)),
    "inv": lambda t, of: t.linalg.inv(of(SQUARE)),
    "solve": lambda t, of: t.linalg.solve(of(SQUARE), of(VECTOR[:3])),
    "solve from the left": lambda t, of: t.linalg.solve(of(SQUARE), of(MATRIX[:2, :3]), left=False),
    "cholesky": lambda t, of: t.linalg.cholesky(of(POSITIVE), upper=True),
    "eigvalsh": lambda t, of: t.linalg.eigvalsh(of(POSITIVE)),
    "svdvals": lambda t, of: t.linalg.svdvals(of(BATCH)),
    "pinv": lambda t, of: t.linalg.pinv(of(MATRIX)),
    "matrix_rank": lambda t, of: t.linalg.matrix_rank(of(np.outer(VECTOR, VECTOR))),
    "cond": lambda t, of: t.linalg.cond(of(SQUARE)),
    "cov": lambda t, of: t.cov(of(MATRIX), correction=0),
    "corrcoef": lambda t, of: t.corrcoef(of(MATRIX)),
}
RANDOM_RIGHT = RANDOM.standard_normal((5, 4))


@pytest.mark.parametrize("name", list(CALLS))
def test_results_agree(name):
    ours, theirs = both(CALLS[name])
    assert len(ours) == len(theirs)
    for own, other in zip(ours, theirs, strict=True):
        assert tuple(own.shape) == tuple(other.shape)
        assert str(own.dtype).removeprefix("flambeau.") == str(other.dtype).removeprefix("torch.")
        np.testing.assert_allclose(own.detach().numpy(), other.detach().numpy(), rtol=1e-6, atol=1e-9)


GRADIENTS = {
    "sort": lambda t, x: t.sort(x, 1)[0],
    "topk": lambda t, x: t.topk(x, 2, 0)[0],
    "median": lambda t, x: t.median(x, 1)[0],
    "quantile": lambda t, x: t.quantile(x, 0.3, 1),
    "tril": lambda t, x: t.tril(x),
    "diag_embed": lambda t, x: t.diag_embed(x, 1),
    "einsum": lambda t, x: t.einsum("ij,kj->ik", x, x),
    "norm": lambda t, x: t.linalg.norm(x),
    "cdist": lambda t, x: t.cdist(x, x),
    "svdvals": lambda t, x: t.linalg.svdvals(x),
    "qr": lambda t, x: t.linalg.qr(x.mT)[1],
    "pinv": lambda t, x: t.linalg.pinv(x),
    "inv": lambda t, x: t.linalg.inv(x @ x.mT),
    "slogdet": lambda t, x: t.linalg.slogdet(x @ x.mT)[1],
    "cholesky": lambda t, x: t.linalg.cholesky(x @ x.mT),
    "eigvalsh": lambda t, x: t.linalg.eigvalsh(x @ x.mT),
    "solve": lambda t, x: t.linalg.solve(x @ x.mT, x),
}


@pytest.mark.parametrize("name", list(GRADIENTS))
def test_gradients_agree(name):
    gradients = []
    for library in (flambeau, torch):
        x = library.tensor(MATRIX, requires_grad=True)
        result = GRADIENTS[name](library, x)
        (result * result).sum().backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_allclose(*gradients, rtol=1e-7, atol=1e-8)


ERRORS = {
    "matmul": lambda t: t.zeros(3, 4) @ t.zeros(5, 6),
    "mm of a vector": lambda t: t.zeros(3, 4).mm(t.zeros(4)),
    "bmm": lambda t: t.zeros(2, 3, 4).bmm(t.zeros(3, 4, 5)),
    "negative size": lambda t: t.zeros(-1),
    "arange without a way": lambda t: t.arange(1, 0, 1),
    "zeros of floats": lambda t: t.zeros(2.5),
    "topk of too many": lambda t: t.zeros(3).topk(4),
    "sort out of range": lambda t: t.zeros(3).sort(1),
    "quantile of ints": lambda t: t.tensor([1, 2]).quantile(0.5),
    "inv of a rectangle": lambda t: t.linalg.inv(t.zeros(2, 3)),
    "inv of zeros": lambda t: t.linalg.inv(t.zeros(2, 2)),
    "cholesky": lambda t: t.linalg.cholesky(-t.eye(2)),
    "einsum": lambda t: t.einsum("ij,jk->ik", t.zeros(2, 3), t.zeros(4, 5)),
    "randint of nothing": lambda t: t.randint(3, 3, (2,)),
    "multinomial of too many": lambda t: t.multinomial(t.ones(2), 3),
    "bernoulli": lambda t: t.bernoulli(t.full((2,), 2.0)),
    "tril of a vector": lambda t: t.zeros(3).tril(),
}


@pytest.mark.parametrize("name", list(ERRORS))
def test_errors_are_of_the_same_kind(name):
    with pytest.raises(Exception) as theirs:
        ERRORS[name](torch)
    with pytest.raises(theirs.type if theirs.type.__module__ == "builtins" else RuntimeError):
        ERRORS[name](flambeau)
