"""Products, norms, decompositions and solving, against NumPy; gradients against finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import flambeau
from flambeau import linalg
from flambeau.autograd.finite_differences import gradcheck, gradgradcheck

RANDOM = np.random.default_rng(0)
F64, C128 = flambeau.float64, flambeau.complex128


def normal(*shape, dtype=np.float64):
    values = RANDOM.standard_normal(shape)
    return (
        (values + 1j * RANDOM.standard_normal(shape)).astype(dtype)
        if np.dtype(dtype).kind == "c"
        else values.astype(dtype)
    )


def leaf(array):
    return flambeau.tensor(array).requires_grad_()


def check_gradients(function, *arrays):
    leaves = [leaf(a) for a in arrays]
    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves, atol=1e-4)


# -- products -------------------------------------------------------------------------------------------------------

MATMUL_SHAPES = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((1, 2, 3), (5, 3, 4)), ((6, 1, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)),
    ((0, 3), (3, 4)), ((2, 0), (0, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), MATMUL_SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128, np.int64])
def test_matmul_and_its_gradients(a, b, dtype):
    if dtype is np.int64:
        x, y = RANDOM.integers(-5, 5, a), RANDOM.integers(-5, 5, b)
    else:
        x, y = normal(*a, dtype=dtype), normal(*b, dtype=dtype)
    np.testing.assert_allclose((flambeau.tensor(x) @ flambeau.tensor(y)).numpy(), x @ y, rtol=1e-12)
    assert flambeau.matmul(flambeau.zeros(a, device="meta"), flambeau.zeros(b, device="meta")).shape == (x @ y).shape
    if dtype is not np.int64:
        check_gradients(flambeau.matmul, x, y)


@pytest.mark.parametrize(("a", "b"), [((3, 4), (5, 6)), ((3,), (4,)), ((2, 3, 4), (3, 5)), ((2, 3), (4,))])
def test_matmul_names_shapes_that_do_not_fit(a, b):
    for device in ("cpu", "meta"):
        with pytest.raises(RuntimeError) as error:
            flambeau.zeros(a, device=device) @ flambeau.zeros(b, device=device)
        assert "matmul" in str(error.value) or "mat1 and mat2 shapes cannot be multiplied" in str(error.value)
        assert all(str(n) in str(error.value) for n in (*a[-1:], *b[-2:]))
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(3x4 and 5x6\)"):
        flambeau.zeros(3, 4).mm(flambeau.zeros(5, 6))


def test_named_products():
    a, b = normal(3, 4), normal(4, 2)
    batch1, batch2, v = normal(5, 3, 4), normal(5, 4, 2), normal(4)
    t = flambeau.tensor
    np.testing.assert_allclose(t(a).mm(t(b)).numpy(), a @ b)
    np.testing.assert_allclose(t(batch1).bmm(t(batch2)).numpy(), batch1 @ batch2)
    np.testing.assert_allclose(t(a).mv(t(v)).numpy(), a @ v)
    np.testing.assert_allclose(t(v).dot(t(v)).item(), v @ v)
    np.testing.assert_allclose(t(v).outer(t(a[:, 0])).numpy(), np.outer(v, a[:, 0]))
    np.testing.assert_allclose(flambeau.ger(t(v), t(v)).numpy(), np.outer(v, v))
    np.testing.assert_allclose(flambeau.inner(t(a), t(batch1)).numpy(), np.inner(a, batch1))
    c = normal(4, dtype=np.complex128)
    np.testing.assert_allclose(flambeau.vdot(t(c), t(c * 1j)).item(), np.vdot(c, c * 1j))
    for wrong in (lambda: t(a).mm(t(v)), lambda: t(a).bmm(t(a)), lambda: t(a).dot(t(a)), lambda: t(v).mv(t(v))):
        with pytest.raises(RuntimeError, match=r"must be a \d-dim tensor, got the shape"):
            wrong()


def test_sums_with_products():
    t = flambeau.tensor
    m, a, b = normal(3, 2), normal(3, 4), normal(4, 2)
    batch1, batch2, v, w = normal(5, 3, 4), normal(5, 4, 2), normal(4), normal(3)
    np.testing.assert_allclose(t(m).addmm(t(a), t(b), beta=0.5, alpha=2).numpy(), 0.5 * m + 2 * (a @ b))
    np.testing.assert_allclose(flambeau.addmm(t(m[0]), t(a), t(b)).numpy(), m[0] + a @ b)
    np.testing.assert_allclose(t(w).addmv(t(a), t(v), alpha=3).numpy(), w + 3 * (a @ v))
    np.testing.assert_allclose(t(a).addr(t(w), t(v), beta=2).numpy(), 2 * a + np.outer(w, v))
    np.testing.assert_allclose(flambeau.baddbmm(t(m), t(batch1), t(batch2)).numpy(), m + batch1 @ batch2)
    np.testing.assert_allclose(t(m).addbmm(t(batch1), t(batch2)).numpy(), m + (batch1 @ batch2).sum(0))
    np.testing.assert_allclose(t(m * np.nan).addmm(t(a), t(b), beta=0).numpy(), a @ b)
    x = t(m.copy())
    assert x.addmm_(t(a), t(b)) is x
    np.testing.assert_allclose(x.numpy(), m + a @ b)
    check_gradients(lambda m, a, b: flambeau.addmm(m, a, b, beta=0.5, alpha=2), m, a, b)
    check_gradients(lambda m, a, b: flambeau.baddbmm(m, a, b), m, batch1, batch2)


@pytest.mark.parametrize(
    ("dims", "expected"), [(2, 2), (0, 0), (1, 1), (([0, 2], [1, 0]), ([0, 2], [1, 0])), (([-1], [1]), ([2], [1]))]
)
def test_tensordot(dims, expected):
    a, b = normal(4, 3, 4), normal(4, 4, 2) if dims != 2 else normal(3, 4, 2)
    np.testing.assert_allclose(
        flambeau.tensordot(flambeau.tensor(a), flambeau.tensor(b), dims).numpy(),
        np.tensordot(a, b, expected),
        rtol=1e-12,
    )


def test_kron_trace_cross_and_multi_dot():
    t = flambeau.tensor
    for a, b in ((normal(2, 3), normal(4, 5)), (normal(3), normal(2, 2)), (normal(2, 1, 2), normal(3))):
        np.testing.assert_allclose(flambeau.kron(t(a), t(b)).numpy(), np.kron(a, b))
    a = normal(3, 4)
    np.testing.assert_allclose(t(a).trace().item(), np.trace(a))
    u, v = normal(5, 3), normal(5, 3)
    np.testing.assert_allclose(linalg.cross(t(u), t(v)).numpy(), np.cross(u, v))
    np.testing.assert_allclose(t(u.T.copy()).cross(t(v.T.copy())).numpy(), np.cross(u, v).T)
    chain = [normal(4), normal(4, 9), normal(9, 2), normal(2, 6), normal(6)]
    np.testing.assert_allclose(linalg.multi_dot([t(m) for m in chain]).item(), np.linalg.multi_dot(chain))
    np.testing.assert_allclose(
        flambeau.chain_matmul(*[t(m) for m in chain[1:4]]).numpy(), np.linalg.multi_dot(chain[1:4])
    )
    check_gradients(flambeau.kron, normal(2, 2), normal(1, 3))
    check_gradients(lambda u, v: linalg.cross(u, v), normal(2, 3), normal(1, 3))


@pytest.mark.parametrize("n", [-2, -1, 0, 1, 2, 5])
def test_matrix_power(n):
    a = normal(2, 3, 3)
    np.testing.assert_allclose(flambeau.tensor(a).matrix_power(n).numpy(), np.linalg.matrix_power(a, n), rtol=1e-8)
    check_gradients(lambda a: linalg.matrix_power(a, n), normal(2, 2))


# -- einsum ---------------------------------------------------------------------------------------------------------

EQUATIONS = [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,jk", [(2, 3), (3, 4)]), ("ba", [(2, 3)]),
    ("ii->i", [(3, 3)]), ("ii", [(3, 3)]),
    ("ij->", [(2, 3)]), ("i,i->i", [(3,), (3,)]), ("i,j->ij", [(3,), (2,)]), ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]), ("...ij->...ji", [(4, 5, 2, 3)]),
    ("i...,i...->...", [(3, 2), (3, 1, 2)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]), ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]),
    ("ij,ik,il->jkl", [(4, 2), (4, 3), (4, 2)]), ("iij->j", [(3, 3, 2)]), ("ab,cd->", [(2, 3), (4, 5)]),
    (" i j , j k -> k i ", [(2, 3), (3, 4)]), ("...,...", [(2, 3), (3,)]), (",i->i", [(), (3,)]),
    ("ijk,ijl->l", [(2, 3, 4), (2, 3, 5)]), ("iijj->ij", [(2, 2, 3, 3)]),
]  # fmt: skip


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_einsum_agrees_with_numpy(equation, shapes):
    arrays = [normal(*shape) for shape in shapes]
    tensors = [flambeau.tensor(a) for a in arrays]
    expected = np.einsum(equation, *arrays)
    np.testing.assert_allclose(flambeau.einsum(equation, *tensors).numpy(), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(flambeau.einsum(equation, tensors).numpy(), expected, rtol=1e-10, atol=1e-12)
    check_gradients(lambda *operands: flambeau.einsum(equation, *operands), *arrays)


def test_einsum_broadcasts_sizes_of_one_and_takes_lists_of_numbers():
    a, b = normal(2, 3), normal(1, 4)
    np.testing.assert_allclose(
        flambeau.einsum("ij,jk->ik", flambeau.tensor(a), flambeau.tensor(b)).numpy(), a.sum(1, keepdims=True) @ b
    )
    c = normal(3, 4)
    np.testing.assert_allclose(flambeau.einsum("...i->i", flambeau.tensor(c)).numpy(), c.sum(0))  # NumPy refuses
    np.testing.assert_allclose(
        flambeau.einsum(flambeau.tensor(a), [0, 1], flambeau.tensor(c), [1, 2], [0, 2]).numpy(), a @ c
    )
    np.testing.assert_allclose(
        flambeau.einsum(flambeau.tensor(a), [Ellipsis, 1], flambeau.tensor(c), [1, 26], [26, Ellipsis]).numpy(),
        (a @ c).T,
    )
    integers = RANDOM.integers(0, 5, (3, 3))
    np.testing.assert_array_equal(
        flambeau.einsum("ij,jk->ik", flambeau.tensor(integers), flambeau.tensor(integers)).numpy(), integers @ integers
    )


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ij,jk->ik", [(2, 3)], "has 2 operands, but 1 were given"),
        (
            "ij->ij",
            [(2, 3, 4)],
            r"number of subscripts in the equation \(2\) does not match the number of dimensions \(3\)",
        ),
        ("ij,jk->ik", [(2, 3), (4, 5)], "subscript j has size 4 for dimension 0 of operand 1.*previously seen size 3"),
        ("i->ii", [(2,)], "output subscript i appears more than once"),
        ("i->j", [(2,)], "output subscript j does not appear in any input"),
        ("i1->i", [(2, 2)], "invalid subscript '1'"),
        ("ii->i", [(2, 3)], "subscript i"),
    ],
)
def test_einsum_errors(equation, shapes, message):
    with pytest.raises(RuntimeError, match=message):
        flambeau.einsum(equation, *[flambeau.zeros(shape) for shape in shapes])


# -- norms and distances --------------------------------------------------------------------------------------------

ORDERS = [0, 0.5, 1, 2, 3, float("inf"), -float("inf"), -1]


@pytest.mark.parametrize("ord", ORDERS)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_vector_norm(ord, dtype):
    a = normal(3, 4, dtype=dtype)
    np.testing.assert_allclose(
        linalg.vector_norm(flambeau.tensor(a), ord, 1).numpy(), np.linalg.norm(a, ord, 1), rtol=1e-12
    )
    np.testing.assert_allclose(
        linalg.vector_norm(flambeau.tensor(a), ord).item(), np.linalg.norm(a.reshape(-1), ord), rtol=1e-12
    )
    check_gradients(lambda a: linalg.vector_norm(a, ord, (0,), True), a)


def test_the_gradient_of_a_norm_at_zero_is_zero():
    for ord in (1, 2, 3, float("inf")):
        x = leaf(np.zeros(3))
        linalg.vector_norm(x, ord).backward()
        assert x.grad.tolist() == [0, 0, 0]


@pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, float("inf"), -float("inf")])
def test_matrix_norm(ord):
    a = normal(2, 3, 4)
    np.testing.assert_allclose(
        linalg.matrix_norm(flambeau.tensor(a), ord).numpy(), np.linalg.norm(a, ord, (1, 2)), rtol=1e-10
    )
    np.testing.assert_allclose(
        linalg.norm(flambeau.tensor(a), ord, (2, 0), True).numpy(), np.linalg.norm(a, ord, (2, 0), True), rtol=1e-10
    )
    assert gradcheck(lambda a: linalg.matrix_norm(a, ord), leaf(a))


def test_norm_forms():
    a = normal(3, 4)
    t = flambeau.tensor(a)
    np.testing.assert_allclose(t.norm().item(), np.linalg.norm(a))
    np.testing.assert_allclose(t.norm(1, 0).numpy(), np.abs(a).sum(0))
    np.testing.assert_allclose(t.norm(p=2, dim=(0, 1), keepdim=True).numpy(), np.linalg.norm(a, keepdims=True))
    np.testing.assert_allclose(flambeau.norm(t, "nuc").item(), np.linalg.norm(a, "nuc"))
    np.testing.assert_allclose(linalg.norm(t, 1).item(), np.linalg.norm(a, 1))
    np.testing.assert_allclose(linalg.norm(t).item(), np.linalg.norm(a))
    np.testing.assert_allclose(flambeau.dist(t, t * 2, 3).item(), np.linalg.norm(a.ravel(), 3))
    with pytest.raises(RuntimeError, match="linalg.norm: expected a floating point or complex tensor as input, got"):
        linalg.norm(flambeau.tensor([1, 2]))


@pytest.mark.parametrize("p", [0, 1, 2, 3.5, float("inf")])
def test_cdist(p):
    a, b = normal(2, 3, 4), normal(5, 4)
    expected = np.linalg.norm(a[:, :, None] - b[None, None], p, -1)
    np.testing.assert_allclose(flambeau.cdist(flambeau.tensor(a), flambeau.tensor(b), p).numpy(), expected, rtol=1e-10)
    if p:
        check_gradients(lambda a, b: flambeau.cdist(a, b, p), a[0, :2], b[:3])


def test_cdist_by_a_matrix_product():
    a, b = normal(40, 4), normal(30, 4)
    expected = np.linalg.norm(a[:, None] - b[None], axis=-1)
    np.testing.assert_allclose(flambeau.cdist(flambeau.tensor(a), flambeau.tensor(b)).numpy(), expected, rtol=1e-8)
    check_gradients(
        lambda a, b: flambeau.cdist(a, b, compute_mode="use_mm_for_euclid_dist"), normal(3, 2), normal(2, 4, 2)
    )
    x = leaf(a)
    flambeau.cdist(x, x).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


# -- decompositions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize(("m", "n"), [(3, 3), (4, 2), (2, 4)])
def test_qr_and_svd_give_the_matrix_back(m, n, dtype):
    a = normal(2, m, n, dtype=dtype)
    t = flambeau.tensor(a)
    k = min(m, n)
    for mode in ("reduced", "complete"):
        q, r = linalg.qr(t, mode)
        size = k if mode == "reduced" else m
        assert (q.shape, r.shape) == ((2, m, size), (2, size, n))
        np.testing.assert_allclose((q @ r).numpy(), a, atol=1e-12)
        np.testing.assert_allclose((q.mH @ q).numpy(), np.broadcast_to(np.eye(size), (2, size, size)), atol=1e-12)
        np.testing.assert_allclose(r.tril(-1).abs().sum().item(), 0, atol=1e-12)
    for full in (False, True):
        u, s, vh = linalg.svd(t, full_matrices=full)
        assert (u.shape, vh.shape) == ((2, m, m if full else k), (2, n if full else k, n))
        np.testing.assert_allclose(((u[..., :k] * s.unsqueeze(-2).to(u.dtype)) @ vh[:, :k]).numpy(), a, atol=1e-12)
    np.testing.assert_allclose(linalg.svdvals(t).numpy(), np.linalg.svd(a, compute_uv=False))
    u, s, v = flambeau.svd(t)
    np.testing.assert_allclose(((u * s.unsqueeze(-2).to(u.dtype)) @ v.mH).numpy(), a, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize(("m", "n"), [(3, 3), (4, 2), (2, 4)])
def test_gradients_of_qr_and_svd(m, n, dtype):
    a = normal(m, n, dtype=dtype)
    assert gradcheck(lambda a: tuple(linalg.qr(a)), leaf(a))
    assert gradgradcheck(lambda a: tuple(linalg.qr(a)), leaf(a), atol=1e-4)

    def gauge_free(a):
        # U and Vh have a free phase; what does not depend on it is checked.
        u, s, vh = linalg.svd(a, full_matrices=False)
        return s, u.abs(), vh.abs(), (u[..., :1] @ vh[..., :1, :])

    assert gradcheck(gauge_free, leaf(a))
    assert gradgradcheck(gauge_free, leaf(a), atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_cholesky_and_eigh(dtype):
    root = normal(2, 3, 3, dtype=dtype)
    a = root @ root.conj().swapaxes(-1, -2) + 0.5 * np.eye(3)
    t = flambeau.tensor(a)
    lower = linalg.cholesky(t)
    np.testing.assert_allclose(lower.numpy(), np.linalg.cholesky(a), rtol=1e-10, atol=1e-12)
    upper = linalg.cholesky(t, upper=True)
    np.testing.assert_allclose((upper.mH @ upper).numpy(), a, rtol=1e-10)
    w, v = linalg.eigh(t)
    np.testing.assert_allclose(w.numpy(), np.linalg.eigvalsh(a), rtol=1e-10)
    np.testing.assert_allclose((t @ v).numpy(), (v * w.unsqueeze(-2).to(v.dtype)).numpy(), atol=1e-10)
    np.testing.assert_allclose(linalg.eigvalsh(t.triu(), "U").numpy(), w.numpy(), rtol=1e-10)

    def hermitian(x):
        return x @ x.mH + 0.5 * flambeau.eye(3, dtype=x.dtype)

    check_gradients(lambda x: linalg.cholesky(hermitian(x)), root[0])
    check_gradients(lambda x: linalg.eigvalsh(hermitian(x)), root[0])
    check_gradients(lambda x: linalg.eigh(hermitian(x)).eigenvectors.abs(), root[0])
    b = normal(3, 2, dtype=dtype)
    np.testing.assert_allclose(flambeau.cholesky_solve(flambeau.tensor(b), lower[0]).numpy(), np.linalg.solve(a[0], b))
    np.testing.assert_allclose(flambeau.cholesky_inverse(lower).numpy(), np.linalg.inv(a))


# -- solving --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_solve_and_inverse(dtype):
    a, b, v = normal(2, 3, 3, dtype=dtype), normal(2, 3, 4, dtype=dtype), normal(3, dtype=dtype)
    t = flambeau.tensor
    np.testing.assert_allclose(linalg.solve(t(a), t(b)).numpy(), np.linalg.solve(a, b))
    np.testing.assert_allclose(linalg.solve(t(a[0]), t(v)).numpy(), np.linalg.solve(a[0], v))
    np.testing.assert_allclose(linalg.solve(t(a), t(b[0])).numpy(), np.linalg.solve(a, np.stack([b[0]] * 2)))
    rows = b.swapaxes(-1, -2).copy()
    np.testing.assert_allclose((linalg.solve(t(a), t(rows), left=False) @ t(a)).numpy(), rows, rtol=1e-9)
    np.testing.assert_allclose(linalg.inv(t(a)).numpy(), np.linalg.inv(a))
    np.testing.assert_allclose(t(a).inverse().numpy(), np.linalg.inv(a))
    check_gradients(linalg.solve, a, b)
    check_gradients(linalg.solve, a[0], v)
    check_gradients(linalg.inv, a)
    upper = np.triu(a)
    np.testing.assert_allclose(linalg.solve_triangular(t(a), t(b), upper=True).numpy(), np.linalg.solve(upper, b))
    unit = np.tril(a, -1) + np.eye(3)
    np.testing.assert_allclose(
        linalg.solve_triangular(t(a), t(b), upper=False, unitriangular=True).numpy(), np.linalg.solve(unit, b)
    )
    check_gradients(lambda a, b: linalg.solve_triangular(a, b, upper=False), a[0] + 3 * np.eye(3), b[0])


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_determinants(dtype):
    a = normal(2, 3, 3, dtype=dtype)
    t = flambeau.tensor(a)
    np.testing.assert_allclose(linalg.det(t).numpy(), np.linalg.det(a))
    result = linalg.slogdet(t)
    expected = np.linalg.slogdet(a)
    np.testing.assert_allclose(result.sign.numpy(), expected.sign)
    np.testing.assert_allclose(result.logabsdet.numpy(), expected.logabsdet)
    check_gradients(linalg.det, a)
    check_gradients(lambda a: linalg.slogdet(a).logabsdet, a)
    if dtype is np.complex128:
        check_gradients(lambda a: linalg.slogdet(a).sign, a)
    positive = a @ a.conj().swapaxes(-1, -2)
    np.testing.assert_allclose(
        flambeau.logdet(flambeau.tensor(positive)).numpy(), np.log(np.linalg.det(positive)), atol=1e-10
    )
    singular = linalg.slogdet(flambeau.zeros(2, 2, dtype=F64))
    assert (singular.sign.item(), singular.logabsdet.item()) == (0, -np.inf)


@pytest.mark.parametrize(("m", "n"), [(3, 3), (4, 2), (2, 4)])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_pinv_lstsq_rank_and_cond(m, n, dtype):
    a, b = normal(m, n, dtype=dtype), normal(m, 2, dtype=dtype)
    t = flambeau.tensor
    np.testing.assert_allclose(linalg.pinv(t(a)).numpy(), np.linalg.pinv(a), atol=1e-12)
    check_gradients(linalg.pinv, a)
    result = linalg.lstsq(t(a), t(b), driver="gelsd")
    expected = np.linalg.lstsq(a, b, rcond=None)
    np.testing.assert_allclose(result.solution.numpy(), expected[0], atol=1e-10)
    assert result.rank.item() == expected[2]
    if m > n:
        np.testing.assert_allclose(result.residuals.numpy(), expected[1])
    deficient = a[:, :1] @ a[:1]
    assert linalg.matrix_rank(t(deficient)).item() == 1
    np.testing.assert_allclose(linalg.pinv(t(deficient)).numpy(), np.linalg.pinv(deficient, rcond=1e-12), atol=1e-10)
    np.testing.assert_allclose(linalg.cond(t(a)).item(), np.linalg.cond(a))
    if m == n:
        np.testing.assert_allclose(linalg.cond(t(a), "fro").item(), np.linalg.cond(a, "fro"))


def test_errors_are_of_the_right_kind():
    with pytest.raises(linalg.LinAlgError, match=r"linalg\.inv"):
        linalg.inv(flambeau.zeros(2, 2))
    with pytest.raises(linalg.LinAlgError, match=r"linalg\.solve"):
        linalg.solve(flambeau.zeros(2, 2), flambeau.ones(2))
    with pytest.raises(linalg.LinAlgError, match=r"linalg\.cholesky"):
        linalg.cholesky(-flambeau.eye(2))
    with pytest.raises(
        RuntimeError, match="linalg.inv: A must be batches of square matrices, but they are 2 by 3 matrices"
    ):
        linalg.inv(flambeau.zeros(2, 3))
    with pytest.raises(
        RuntimeError, match="linalg.det: expected a floating point or complex tensor as A, got flambeau.int64"
    ):
        linalg.det(flambeau.tensor([[1, 2], [3, 4]]))
    with pytest.raises(RuntimeError, match=r"linalg.solve: Incompatible shapes of A and B: \[2, 2\] and \[3, 1\]"):
        linalg.solve(flambeau.eye(2), flambeau.zeros(3, 1))


# -- statistics -----------------------------------------------------------------------------------------------------


def test_cov_and_corrcoef():
    a = normal(3, 8)
    t = flambeau.tensor(a)
    np.testing.assert_allclose(flambeau.cov(t).numpy(), np.cov(a))
    np.testing.assert_allclose(flambeau.corrcoef(t).numpy(), np.corrcoef(a))
    f, w = RANDOM.integers(1, 4, 8), RANDOM.random(8)
    for correction, options in itertools.product(
        (0, 1), ({}, {"fweights": f}, {"aweights": w}, {"fweights": f, "aweights": w})
    ):
        given = {name: flambeau.tensor(value) for name, value in options.items()}
        np.testing.assert_allclose(
            flambeau.cov(t, correction=correction, **given).numpy(), np.cov(a, ddof=correction, **options), rtol=1e-10
        )
    np.testing.assert_allclose(flambeau.cov(t[0]).item(), np.cov(a[0]))
