"""LU, LDL, reflectors, eigenvalues, the exponential and what is solved with them, against NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau import linalg
from flambeau.autograd.finite_differences import gradcheck, gradgradcheck

RANDOM = np.random.default_rng(0)
FIELD = [np.float64, np.complex128]


def normal(*shape, dtype=np.float64):
    values = RANDOM.standard_normal(shape)
    return values + 1j * RANDOM.standard_normal(shape) if dtype is np.complex128 else values


def leaf(array):
    return flambeau.tensor(array).requires_grad_()


def check_gradients(function, *arrays):
    leaves = [leaf(a) for a in arrays]
    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves, atol=1e-4)


# -- LU --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELD)
@pytest.mark.parametrize("shape", [(3, 3), (2, 5, 3), (2, 3, 5), (70, 70), (2, 40, 90), (0, 3), (2, 0, 0)])
def test_lu_gives_the_matrix_back(shape, dtype):
    a = normal(*shape, dtype=dtype)
    P, L, U = linalg.lu(flambeau.tensor(a))
    np.testing.assert_allclose((P @ L @ U).numpy(), a, atol=1e-12)
    np.testing.assert_allclose(L.tril().numpy(), L.numpy())
    np.testing.assert_allclose(U.triu().numpy(), U.numpy())
    assert (L.abs() <= 2**0.5 + 1e-12).all()  # what partial pivoting is for


@pytest.mark.parametrize("dtype", FIELD)
def test_lu_agrees_with_scipy(dtype):
    scipy_linalg = pytest.importorskip("scipy.linalg")
    a = normal(50, 50, dtype=dtype)
    expected, order = scipy_linalg.lu_factor(a)
    packed, pivots = linalg.lu_factor(flambeau.tensor(a))
    np.testing.assert_array_equal(pivots.numpy(), order + 1)
    np.testing.assert_allclose(packed.numpy(), expected, rtol=1e-8, atol=1e-10)
    for old in (flambeau.lu(flambeau.tensor(a)), flambeau.tensor(a).lu()):
        np.testing.assert_array_equal(old[1].numpy(), order + 1)


@pytest.mark.parametrize("dtype", FIELD)
@pytest.mark.parametrize(("m", "n"), [(3, 3), (4, 2), (2, 4)])
def test_gradients_of_lu(m, n, dtype):
    a = normal(2, m, n, dtype=dtype)
    check_gradients(lambda a: linalg.lu_factor_ex(a).LU, a)
    check_gradients(lambda a: tuple(linalg.lu(a))[1:], a)


def test_singular_matrices_are_named():
    singular = flambeau.tensor([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 2.0], [2.0, 4.0]]])
    assert linalg.lu_factor_ex(singular).info.tolist() == [0, 2]
    with pytest.raises(linalg.LinAlgError, match=r"linalg.lu_factor: \(Batch element 1\): U\[2,2\] is zero"):
        linalg.lu_factor(singular)
    result, info = linalg.inv_ex(singular)
    assert info.tolist() == [0, 2]
    assert result[0].tolist() == [[1, 0], [0, 1]]
    assert result[1].isnan().all()
    with pytest.raises(linalg.LinAlgError, match=r"linalg.inv_ex: \(Batch element 1\): The diagonal element 2 of U"):
        linalg.inv_ex(singular, check_errors=True)
    assert linalg.solve_ex(singular, flambeau.ones(2, 2)).info.tolist() == [0, 2]
    assert linalg.cond(singular[1], 1).item() == float("inf")
    _, info = linalg.cholesky_ex(flambeau.tensor([[4.0, 2.0], [2.0, -3.0]]))
    assert info.item() == 2
    with pytest.raises(linalg.LinAlgError, match="the leading minor of order 2 is not positive-definite"):
        linalg.cholesky_ex(flambeau.tensor([[4.0, 2.0], [2.0, -3.0]]), check_errors=True)


@pytest.mark.parametrize("dtype", FIELD)
@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("adjoint", [True, False])
def test_lu_solve(left, adjoint, dtype):
    a, b = normal(2, 3, 3, dtype=dtype), normal(3, 3, dtype=dtype)
    packed, pivots = linalg.lu_factor(flambeau.tensor(a))
    x = linalg.lu_solve(packed, pivots, flambeau.tensor(b), left=left, adjoint=adjoint).numpy()
    turned = a.conj().swapaxes(-1, -2) if adjoint else a
    np.testing.assert_allclose(turned @ x if left else x @ turned, np.broadcast_to(b, (2, 3, 3)), atol=1e-10)

    def function(a, b):
        return linalg.lu_solve(*linalg.lu_factor(a), b, left=left, adjoint=adjoint)

    check_gradients(function, a, b)
    if left and not adjoint:
        old = flambeau.lu_solve(flambeau.tensor(b), packed[0], pivots[0])
        np.testing.assert_allclose(old.numpy(), np.linalg.solve(a[0], b))


# -- LDL -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "hermitian"), [(np.float64, False), (np.complex128, False), (np.complex128, True)])
@pytest.mark.parametrize("heavy", [0, 20])
def test_ldl(dtype, hermitian, heavy):
    scipy_lapack = pytest.importorskip("scipy.linalg.lapack")
    a = normal(4, 7, 7, dtype=dtype)
    a = a + (a.conj() if hermitian else a).swapaxes(-1, -2) + heavy * np.eye(7)
    b = normal(7, 2, dtype=dtype)
    LD, pivots = linalg.ldl_factor(flambeau.tensor(a), hermitian=hermitian)
    x = linalg.ldl_solve(LD, pivots, flambeau.tensor(b), hermitian=hermitian)
    np.testing.assert_allclose(a @ x.numpy(), np.broadcast_to(b, (4, 7, 2)), atol=1e-9)
    name = "dsytrf" if dtype is np.float64 else "zhetrf" if hermitian else "zsytrf"
    for matrix, own, order in zip(a, LD.numpy(), pivots.numpy(), strict=True):
        expected, expected_order, info = getattr(scipy_lapack, name)(matrix, lower=1)
        assert info == 0
        np.testing.assert_array_equal(order, expected_order)
        np.testing.assert_allclose(own, np.tril(expected), rtol=1e-8, atol=1e-9)


def test_ldl_of_a_singular_matrix():
    assert linalg.ldl_factor_ex(flambeau.zeros(2, 2)).info.item() == 1
    with pytest.raises(linalg.LinAlgError, match=r"D\[1,1\] is exactly 0"):
        linalg.ldl_factor(flambeau.zeros(2, 2))


# -- Householder reflectors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELD)
@pytest.mark.parametrize(("m", "n"), [(4, 4), (5, 3)])
def test_householder_products(m, n, dtype):
    a, c = normal(2, m, n, dtype=dtype), normal(2, m, 3, dtype=dtype)
    packed, tau = flambeau.geqrf(flambeau.tensor(a))
    q = linalg.householder_product(packed, tau)
    np.testing.assert_allclose((q @ packed.triu()[:, :n]).numpy(), a, atol=1e-12)
    np.testing.assert_allclose((q.mH @ q).numpy(), np.broadcast_to(np.eye(n), (2, n, n)), atol=1e-12)
    whole = flambeau.ormqr(packed, tau, flambeau.eye(m, dtype=packed.dtype).expand(2, m, m))
    for left in (True, False):
        for transpose in (True, False):
            t = flambeau.tensor(c if left else c.swapaxes(-1, -2).copy())
            turned = whole.mH if transpose else whole
            expected = turned @ t if left else t @ turned
            found = flambeau.ormqr(packed, tau, t, left, transpose)
            np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-12)
    check_gradients(linalg.householder_product, normal(m, n, dtype=dtype), normal(n, dtype=dtype))
    check_gradients(flambeau.ormqr, normal(m, n, dtype=dtype), normal(n, dtype=dtype), normal(m, 2, dtype=dtype))


def test_householder_errors():
    with pytest.raises(RuntimeError, match="input.shape\\[-1\\] must be greater than or equal to tau.shape\\[-1\\]"):
        linalg.householder_product(flambeau.zeros(3, 2), flambeau.zeros(3))
    with pytest.raises(
        RuntimeError, match="ormqr: other.shape\\[-2\\] must be equal to input.shape\\[-2\\], got 2 and 3"
    ):
        flambeau.ormqr(flambeau.zeros(3, 2), flambeau.zeros(2), flambeau.zeros(2, 3))


# -- eigenvalues -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELD)
def test_eig(dtype):
    a = normal(2, 3, 3, dtype=dtype)
    values, vectors = linalg.eig(flambeau.tensor(a))
    assert values.dtype is vectors.dtype is flambeau.complex128
    np.testing.assert_allclose(a @ vectors.numpy(), (vectors * values.unsqueeze(-2)).numpy(), atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(vectors.numpy(), axis=-2), 1)
    np.testing.assert_allclose(np.sort(linalg.eigvals(flambeau.tensor(a)).numpy()), np.sort(np.linalg.eigvals(a)))
    check_gradients(linalg.eigvals, a)
    check_gradients(lambda a: linalg.eig(a).eigenvectors.abs(), a)
    assert linalg.eigvals(flambeau.eye(2)).dtype is flambeau.complex64


@pytest.mark.parametrize("name", ["eig", "eigh", "svd"])
def test_losses_that_depend_on_a_phase_are_refused(name):
    a = leaf(normal(3, 3, dtype=np.complex128))
    given = a + a.mH if name == "eigh" else a
    vectors = getattr(linalg, name)(given)[0 if name == "svd" else 1]
    with pytest.raises(RuntimeError, match=f"linalg.{name}: the vectors of a complex matrix are determined up to"):
        vectors.real.sum().backward()


@pytest.mark.parametrize("UPLO", ["L", "U"])
def test_eigh_reads_one_triangle(UPLO):
    a = normal(3, 3)
    values, _ = linalg.eigh(flambeau.tensor(a), UPLO)
    np.testing.assert_allclose(values.numpy(), np.linalg.eigvalsh(a, UPLO))
    given = leaf(a)
    linalg.eigh(given, UPLO).eigenvectors.abs().sum().backward()
    np.testing.assert_allclose(given.grad.numpy(), given.grad.mT.numpy(), atol=1e-12)


def test_lobpcg():
    root, other = normal(30, 30), normal(30, 30)
    a, b = root @ root.T, other @ other.T + 5 * np.eye(30)
    flambeau.manual_seed(0)
    values, vectors = flambeau.lobpcg(flambeau.tensor(a), 3)
    np.testing.assert_allclose(values.numpy(), np.linalg.eigvalsh(a)[::-1][:3], rtol=1e-7)
    np.testing.assert_allclose(a @ vectors.numpy(), vectors.numpy() * values.numpy(), atol=1e-4)
    values, vectors = flambeau.lobpcg(
        flambeau.tensor(a), 2, flambeau.tensor(b), largest=False, iK=flambeau.tensor(np.linalg.inv(a))
    )
    expected = np.sort(np.linalg.eigvals(np.linalg.solve(b, a)).real)[:2]
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-5)
    given = leaf(a)
    flambeau.lobpcg(given, 1)[0].sum().backward()
    top = np.linalg.eigh(a)[1][:, -1]
    np.testing.assert_allclose(given.grad.numpy(), np.outer(top, top), atol=1e-4)
    with pytest.raises(ValueError, match="must be at least three times the size of the subspace"):
        flambeau.lobpcg(flambeau.eye(5), 2)


def test_decompositions_of_low_rank():
    flambeau.manual_seed(0)
    a = normal(2, 30, 4) @ normal(2, 4, 20)
    for given in (a, a.swapaxes(-1, -2).copy()):
        U, S, V = flambeau.svd_lowrank(flambeau.tensor(given), 5)
        np.testing.assert_allclose((U * S.unsqueeze(-2) @ V.mT).numpy(), given, atol=1e-10)
        np.testing.assert_allclose(S.numpy()[:, :4], np.linalg.svd(given, compute_uv=False)[:, :4])
        U, S, V = flambeau.pca_lowrank(flambeau.tensor(given), 5)
        centred = given - given.mean(-2, keepdims=True)
        np.testing.assert_allclose((U * S.unsqueeze(-2) @ V.mT).numpy(), centred, atol=1e-10)
    with pytest.raises(ValueError, match=r"q\(=7\) must be non-negative integer and not greater than min\(m, n\)=3"):
        flambeau.svd_lowrank(flambeau.zeros(3, 9), 7)


# -- determinants where they are 0 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELD)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_gradient_of_a_determinant_at_any_rank(rank, dtype):
    a = normal(2, 4, rank, dtype=dtype) @ normal(2, rank, 4, dtype=dtype)
    check_gradients(flambeau.det, a)
    given = leaf(a[0])
    flambeau.det(given).real.backward()
    minors = [
        [np.linalg.det(np.delete(np.delete(a[0], i, 0), j, 1)) * (-1) ** (i + j) for j in range(4)] for i in range(4)
    ]
    np.testing.assert_allclose(given.grad.numpy(), np.conj(minors), atol=1e-10)


# -- triangles -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELD)
@pytest.mark.parametrize("n", [3, 150])
def test_triangular_systems(n, dtype):
    a, b = normal(n, n, dtype=dtype) / n + np.eye(n), normal(2, n, 2, dtype=dtype)
    for upper in (True, False):
        for unit in (True, False):
            read = np.triu(a, int(unit)) if upper else np.tril(a, -int(unit))
            read = read + np.eye(n) if unit else read
            options = {"upper": upper, "unitriangular": unit}
            x = linalg.solve_triangular(flambeau.tensor(a), flambeau.tensor(b), **options)
            np.testing.assert_allclose(read @ x.numpy(), b, atol=1e-10)
            right = b.swapaxes(-1, -2).copy()
            x = linalg.solve_triangular(flambeau.tensor(a), flambeau.tensor(right), left=False, **options)
            np.testing.assert_allclose(x.numpy() @ read, right, atol=1e-10)
            old = flambeau.triangular_solve(flambeau.tensor(b), flambeau.tensor(a), upper, True, unit)
            np.testing.assert_allclose(read.T @ old.solution.numpy(), b, atol=1e-10)
            if n == 3:
                check_gradients(lambda a, b: linalg.solve_triangular(a, b, **options), a, b)  # noqa: B023
    zero = linalg.solve_triangular(flambeau.zeros(2, 2), flambeau.ones(2, 1), upper=True)
    assert np.isnan(zero[0].item())
    assert zero[1].item() == float("inf")


# -- the exponential -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, *FIELD])
@pytest.mark.parametrize("scale", [1e-3, 1, 30])
def test_matrix_exp(scale, dtype):
    scipy_linalg = pytest.importorskip("scipy.linalg")
    a = (normal(3, 4, 4, dtype=dtype) * scale * np.array([1, 0.1, 0.01])[:, None, None]).astype(dtype)
    expected = scipy_linalg.expm(a.astype(np.result_type(a.dtype, np.float64)))
    found = linalg.matrix_exp(flambeau.tensor(a)).numpy()
    assert found.dtype == a.dtype
    tolerance = 1e-4 if dtype is np.float32 else 1e-11
    for one, other in zip(found, expected, strict=True):
        assert np.linalg.norm(one - other) <= tolerance * np.linalg.norm(other)
    if dtype is not np.float32 and scale == 1:
        check_gradients(flambeau.matrix_exp, a[0])


def test_matrix_exp_of_what_is_not_finite():
    given = flambeau.tensor([[[0.0, 0.0], [0.0, 0.0]], [[float("inf"), 0.0], [0.0, 1.0]]])
    assert flambeau.matrix_exp(given)[0].tolist() == [[1, 0], [0, 1]]
    assert not flambeau.matrix_exp(given)[1].isfinite().all()


# -- tensors as matrices ---------------------------------------------------------------------------------------------


def test_tensorinv_and_tensorsolve():
    a = normal(4, 6, 8, 3)
    inverse = linalg.tensorinv(flambeau.tensor(a), ind=2)
    np.testing.assert_allclose(inverse.numpy(), np.linalg.tensorinv(a, 2), rtol=1e-6, atol=1e-8)
    b = normal(2, 3)
    c = normal(2, 3, 6)
    np.testing.assert_allclose(
        linalg.tensorsolve(flambeau.tensor(c), flambeau.tensor(b)).numpy(), np.linalg.tensorsolve(c, b), rtol=1e-8
    )
    moved = np.moveaxis(c, 2, 0).copy()
    np.testing.assert_allclose(
        linalg.tensorsolve(flambeau.tensor(moved), flambeau.tensor(b), dims=(0,)).numpy(), np.linalg.tensorsolve(c, b)
    )
    with pytest.raises(RuntimeError, match="but got 3 != 2"):
        linalg.tensorinv(flambeau.zeros(2, 3), ind=1)
    with pytest.raises(RuntimeError, match="Expected a strictly positive integer for 'ind', got 0"):
        linalg.tensorinv(flambeau.zeros(2, 2), ind=0)


# -- tolerances, drivers, Hermitian matrices -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FIELD)
def test_pinv_and_rank_of_hermitian_matrices(dtype):
    a = normal(2, 4, 2, dtype=dtype)
    a = a @ a.conj().swapaxes(-1, -2) * np.array([1, -1])[:, None, None]
    read = np.tril(a) + np.triu(RANDOM.standard_normal((4, 4)), 1)
    given = flambeau.tensor(read)
    np.testing.assert_allclose(
        linalg.pinv(given, hermitian=True, rtol=1e-10).numpy(), np.linalg.pinv(a, 1e-10), atol=1e-8
    )
    assert linalg.matrix_rank(given, hermitian=True, rtol=1e-10).tolist() == [2, 2]


def test_tolerances_are_numbers_or_tensors():
    given = flambeau.diag_embed(flambeau.tensor([[4.0, 1.0, 0.1], [4.0, 1.0, 0.1]]))
    assert linalg.matrix_rank(given, atol=0.5).tolist() == [2, 2]
    assert linalg.matrix_rank(given, 0.5).tolist() == [2, 2]
    assert linalg.matrix_rank(given, rtol=0.5).tolist() == [1, 1]
    assert linalg.matrix_rank(given, atol=flambeau.tensor([0.5, 0.0])).tolist() == [2, 3]
    assert linalg.matrix_rank(given, rtol=flambeau.tensor([0.5, 0.05])).tolist() == [1, 2]
    assert linalg.matrix_rank(flambeau.zeros(2, 0, 3)).tolist() == [0, 0]
    np.testing.assert_allclose(linalg.pinv(given, atol=flambeau.tensor([0.5, 2.0])).diagonal(0, -2, -1).tolist(),
                               [[0.25, 1, 0], [0.25, 0, 0]])  # fmt: skip


@pytest.mark.parametrize(
    ("driver", "sizes"),
    [(None, (0, 1, 0)), ("gelsy", (0, 1, 0)), ("gels", (2, 0, 0)), ("gelsd", (2, 1, 3)), ("gelss", (2, 1, 3))],
)
def test_lstsq_returns_what_the_driver_computes(driver, sizes):
    a, b = normal(5, 3), normal(5, 2)
    result = linalg.lstsq(flambeau.tensor(a), flambeau.tensor(b), driver=driver)
    np.testing.assert_allclose(result.solution.numpy(), np.linalg.lstsq(a, b, rcond=None)[0])
    assert tuple(part.numel() for part in result[1:]) == sizes
    with pytest.raises(RuntimeError, match="parameter `driver` should be one of gels, gelsy, gelsd, gelss, got 'svd'"):
        linalg.lstsq(flambeau.tensor(a), flambeau.tensor(b), driver="svd")
