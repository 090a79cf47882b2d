"""Complex numbers: views that share memory, sums of exponentials; and products, norms and covariances of few types."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau
from flambeau.autograd.finite_differences import gradcheck, gradgradcheck

RANDOM = np.random.default_rng(0)


def normal(*shape):
    return RANDOM.standard_normal(shape) + 1j * RANDOM.standard_normal(shape)


def test_real_and_complex_views_share_memory():
    x = flambeau.tensor(normal(2, 3))
    pairs = flambeau.view_as_real(x)
    assert pairs.shape == (2, 3, 2)
    assert pairs.data_ptr() == x.data_ptr()
    pairs[0, 1, 1] = 7
    assert x[0, 1].imag.item() == 7
    again = flambeau.view_as_complex(pairs)
    again[1, 2] = 1 + 2j
    assert x[1, 2].item() == 1 + 2j
    assert x.real[1, 2].item() == 1
    x.imag[1, 2] = 5
    assert pairs[1, 2].tolist() == [1, 5]
    turned = flambeau.view_as_real(x.T)
    turned[0, 0, 0] = -1
    assert x[0, 0].real.item() == -1
    assert flambeau.view_as_complex(flambeau.tensor([1.0, 2.0])).item() == 1 + 2j
    assert flambeau.view_as_complex(flambeau.zeros(0, 2)).shape == (0,)


def test_writing_through_a_complex_view_is_differentiated():
    x = flambeau.ones(3, 2, requires_grad=True)
    y = x * 1
    flambeau.view_as_complex(y).mul_(2j)  # (a, b) becomes (-2 b, 2 a)
    (y * flambeau.tensor([1.0, 10.0])).sum().backward()
    assert x.grad.tolist() == [[20, -2]] * 3
    z = flambeau.tensor(normal(2), requires_grad=True)
    w = z * 1
    flambeau.view_as_real(w)[:, 1] = 0
    w.abs().square().sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), 2 * z.detach().real.numpy() + 0j)


def test_what_cannot_be_seen_as_complex():
    for given, message in (
        (flambeau.zeros(2, 3), "Tensor must have a last dimension of size 2, its shape is \\[2, 3\\]"),
        (flambeau.zeros(2, 4)[:, ::2], "Tensor must have a last dimension with stride 1, its stride is 2"),
        (flambeau.zeros(3, 3)[:, :2], "a stride and a storage offset divisible by 2"),
        (flambeau.zeros(3, 2, dtype=flambeau.int64), "only supported for float32 and float64 tensors"),
    ):
        with pytest.raises(RuntimeError, match=message):
            flambeau.view_as_complex(given)
    with pytest.raises(RuntimeError, match="view_as_real is only supported for complex tensors"):
        flambeau.view_as_real(flambeau.zeros(2))


def test_sums_of_exponentials():
    a, b = normal(3, 4), normal(4)
    np.testing.assert_allclose(
        flambeau.logaddexp(flambeau.tensor(a), flambeau.tensor(b)).exp().numpy(), np.exp(a) + np.exp(b)
    )
    np.testing.assert_allclose(flambeau.logsumexp(flambeau.tensor(a), 1).exp().numpy(), np.exp(a).sum(1))
    np.testing.assert_allclose(flambeau.logcumsumexp(flambeau.tensor(a), 1).exp().numpy(), np.exp(a).cumsum(1))
    large = flambeau.logsumexp(flambeau.tensor([1000 + 1j, 1000 - 1j]), 0)  # e^1000 times 2 cos 1
    np.testing.assert_allclose(large.numpy(), 1000 + np.log(2 * np.cos(1)))
    leaves = [flambeau.tensor(x).requires_grad_() for x in (a, b)]
    for function in (flambeau.logaddexp, lambda a, b: flambeau.logsumexp(a, 1) + b.sum()):
        assert gradcheck(function, leaves)
        assert gradgradcheck(function, leaves)


# -- integers and 16-bit numbers ---------------------------------------------------------------------------------------


def test_products_of_integers_stay_integers():
    one, two = flambeau.tensor([[1, 2], [3, 4]]), flambeau.tensor([[1, 0], [0, 1]])
    assert flambeau.addmm(one, one, two, beta=2.9, alpha=1.9).tolist() == [[3, 6], [9, 12]]
    assert flambeau.addmv(one[0], one, two[0], beta=0.5).tolist() == [1, 3]
    truth = flambeau.tensor([True, False])
    assert flambeau.addr(flambeau.zeros(2, 2, dtype=flambeau.bool), truth, truth, alpha=3).tolist() == [
        [True, False], [False, False]
    ]  # fmt: skip
    assert flambeau.matmul(flambeau.zeros(5, 4, 0), flambeau.zeros(0, 3)).tolist() == np.zeros((5, 4, 3)).tolist()
    wide = flambeau.tensordot(flambeau.ones(1, 2), flambeau.ones(3, 2), dims=[[0, 1], [0, 1]])
    assert wide.item() == 6


def test_norms_of_16_bit_numbers_do_not_overflow():
    for kind in (flambeau.float16, flambeau.bfloat16):
        x = flambeau.full((4,), 300.0, dtype=kind)
        assert x.norm().dtype is kind
        assert x.norm().item() == 600
        assert flambeau.linalg.vector_norm(x, 4).dtype is kind
        np.testing.assert_allclose(flambeau.linalg.vector_norm(x, 4).item(), 300 * 4**0.25, rtol=1e-2)


def test_covariance_of_integers_and_its_errors():
    a = RANDOM.integers(0, 9, (3, 5))
    np.testing.assert_allclose(flambeau.tensor(a).cov().numpy(), np.cov(a), rtol=1e-6)
    np.testing.assert_allclose(flambeau.tensor(a).corrcoef().numpy(), np.corrcoef(a), rtol=1e-6)
    z = normal(3, 5)
    np.testing.assert_allclose(flambeau.cov(flambeau.tensor(z)).numpy(), np.cov(z))
    x = flambeau.ones(5)
    for options, message in (
        ({"fweights": flambeau.ones(5)}, "expected fweights to have integral dtype"),
        ({"aweights": flambeau.ones(5, dtype=flambeau.int64)}, "expected aweights to have floating point dtype"),
        ({"aweights": flambeau.ones(4)}, "expected aweights to have the same numel as there are observations"),
        ({"aweights": flambeau.ones(5, 5)}, "expected aweights to have one or fewer dimensions"),
        ({"fweights": -flambeau.ones(5, dtype=flambeau.int64)}, "fweights cannot be negative"),
        ({"aweights": flambeau.zeros(5)}, "weights sum to zero"),
    ):
        with pytest.raises(RuntimeError, match=f"cov: {message}"):
            flambeau.cov(x, **options)


# -- renorm, pdist, integrals ------------------------------------------------------------------------------------------


def test_renorm_in_place_and_its_errors():
    x = flambeau.tensor([[3.0, 4.0], [0.3, 0.4]])
    assert x.renorm_(2, 0, 1.0) is x
    np.testing.assert_allclose(x.numpy(), [[0.6, 0.8], [0.3, 0.4]], rtol=1e-6)
    for arguments, message in (((0, 0, 1), "non-positive norm"), ((2, 0, -1), "expected maxnorm to be >= 0")):
        with pytest.raises(RuntimeError, match=f"renorm: {message}"):
            x.renorm(*arguments)


def test_pdist_of_few_rows():
    assert flambeau.pdist(flambeau.zeros(1, 3)).shape == (0,)
    assert flambeau.nn.functional.pdist(flambeau.zeros(0, 3)).shape == (0,)
    x = flambeau.zeros(3, 2, requires_grad=True)
    flambeau.pdist(x).sum().backward()
    assert x.grad.tolist() == [[0, 0]] * 3


def test_integrals():
    y = RANDOM.standard_normal((3, 6))
    x = np.sort(RANDOM.standard_normal(6))
    given = flambeau.tensor(y)
    np.testing.assert_allclose(flambeau.trapezoid(given, flambeau.tensor(x)).numpy(), np.trapezoid(y, x))
    np.testing.assert_allclose(flambeau.trapz(given, dx=0.5, dim=0).numpy(), np.trapezoid(y, dx=0.5, axis=0))
    running = flambeau.cumulative_trapezoid(given, flambeau.tensor(x))
    np.testing.assert_allclose(running[:, -1].numpy(), np.trapezoid(y, x))
    assert flambeau.trapezoid(flambeau.tensor([1, 2, 3])).item() == 4
    assert flambeau.trapezoid(flambeau.zeros(2, 0)).tolist() == [0, 0]
    with pytest.raises(RuntimeError, match="trapezoid: there must be one `x` value for each sample point: 2 and 6"):
        flambeau.trapezoid(given, flambeau.zeros(2))
    with pytest.raises(RuntimeError, match="trapezoid: received a bool input"):
        flambeau.trapezoid(flambeau.ones(2, dtype=flambeau.bool))
