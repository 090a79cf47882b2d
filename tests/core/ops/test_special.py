"""Special functions against SciPy over wide ranges: near zero, in the tails, at poles, infinite, NaN."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special as scipy

import flambeau
from flambeau import special

INF, NAN = np.inf, np.nan
TINY = np.array([1e-300, 1e-30, 1e-10, 1e-5, 1e-3, 0.1])
EVERYWHERE = np.concatenate([np.linspace(-12, 12, 401), -TINY, TINY, [0.0, -0.0, INF, -INF, NAN]])
POSITIVE = np.concatenate([np.logspace(-8, 5, 400), TINY, [0.0, INF, NAN]])


def check(name, x, expected, rtol, atol=0.0):
    found = getattr(special, name)(flambeau.tensor(x)).numpy()
    np.testing.assert_allclose(found, expected, rtol, atol)
    single = getattr(special, name)(flambeau.tensor(x, dtype=flambeau.float32))
    assert single.dtype is flambeau.float32


@pytest.mark.parametrize(
    ("name", "x", "rtol", "atol"),
    [
        ("erfcx", EVERYWHERE, 2e-14, 0),
        ("erfcx", np.logspace(-5, 300, 200), 1e-14, 0),
        ("ndtr", np.linspace(-38, 9, 301), 5e-13, 1e-310),
        ("ndtr", EVERYWHERE, 5e-14, 0),
        ("log_ndtr", EVERYWHERE, 2e-14, 0),
        ("log_ndtr", -np.logspace(0, 10, 100), 1e-14, 0),
        ("erfinv", np.linspace(-1, 1, 501), 2e-14, 0),
        ("erfinv", np.array([1 - 1e-15, -1 + 1e-12, 1.5, NAN, 1e-200, -1e-9]), 2e-14, 0),
        ("ndtri", np.linspace(0, 1, 501), 2e-14, 1e-16),
        ("ndtri", np.logspace(-307, -0.01, 300), 2e-14, 0),
        ("i0", EVERYWHERE, 1e-14, 0),
        ("i0", np.linspace(-700, 700, 99), 1e-13, 0),
        ("i0e", np.concatenate([EVERYWHERE, POSITIVE]), 1e-14, 0),
        ("i1", EVERYWHERE, 1e-14, 0),
        ("i1e", np.concatenate([EVERYWHERE, POSITIVE]), 1e-14, 0),
        ("entr", EVERYWHERE, 1e-14, 1e-320),
        ("expit", EVERYWHERE, 1e-14, 0),
        ("exp2", EVERYWHERE, 1e-14, 0),
        ("gammaln", np.concatenate([EVERYWHERE[np.abs(EVERYWHERE) < 1e3], POSITIVE]), 2e-14, 2e-14),
        ("gammaln", np.concatenate([1 + np.linspace(-0.7, 2, 300), 1 + TINY, 2 - TINY]), 1e-14, 5e-16),
        ("digamma", np.concatenate([np.linspace(-12.3, 12.3, 398), POSITIVE]), 1e-13, 2e-14),
    ],
)
def test_agrees_with_scipy(name, x, rtol, atol):
    with np.errstate(all="ignore"):
        check(name, x, getattr(scipy, name)(x), rtol, atol)


@pytest.mark.parametrize(
    ("name", "theirs", "rtol", "atol"),
    [
        ("modified_bessel_i0", "i0", 1e-14, 0),
        ("modified_bessel_i1", "i1", 1e-14, 0),
        ("modified_bessel_k0", "k0", 3e-14, 0),
        ("modified_bessel_k1", "k1", 3e-14, 0),
        ("scaled_modified_bessel_k0", "k0e", 3e-14, 0),
        ("scaled_modified_bessel_k1", "k1e", 3e-14, 0),
        ("bessel_j0", "j0", 1e-13, 1e-15),
        ("bessel_j1", "j1", 1e-13, 1e-15),
        ("bessel_y0", "y0", 1e-13, 1e-14),
        ("bessel_y1", "y1", 1e-13, 1e-14),
        ("airy_ai", lambda x: scipy.airy(x)[0], 1e-12, 1e-15),
    ],
)
@pytest.mark.parametrize("side", [1, -1])
def test_bessel_functions_agree_with_scipy(name, theirs, rtol, atol, side):
    theirs = getattr(scipy, theirs) if isinstance(theirs, str) else theirs
    x = side * np.concatenate([np.linspace(0, 30, 601), np.logspace(-8, 2.5, 200)])
    check(name, x, theirs(x), rtol, atol)


def test_spherical_bessel():
    x = np.concatenate([np.linspace(-20, 20, 101), TINY])
    check("spherical_bessel_j0", x, np.sinc(x / np.pi), 1e-13, 1e-16)
    assert special.spherical_bessel_j0(flambeau.tensor([0.0, INF])).tolist() == [1.0, 0.0]


def test_erfc_agrees_with_the_c_library():
    # SciPy loses two digits in the tail; the C library does not.
    x = np.concatenate([EVERYWHERE, np.linspace(0, 27.2, 300)])
    check("erfc", x, np.vectorize(math.erfc)(x), 2e-15, 1e-310)


def test_lgamma_beside_its_zeros():
    # Its power series there: -gamma e + pi^2/12 e^2 at 1 + e, (1 - gamma) e at 2 + e.
    near_one, near_two = 1 + np.array([1e-9, -3e-10, 2e-12]), 2 + np.array([1e-9, -3e-10, 2e-12])
    check("gammaln", near_one, -np.euler_gamma * (near_one - 1) + np.pi**2 / 12 * (near_one - 1) ** 2, 1e-15)
    check("gammaln", near_two, (1 - np.euler_gamma) * (near_two - 2), 1e-9)


def test_digamma_and_lgamma_at_their_poles():
    poles = flambeau.tensor([0.0, -0.0, -1.0, -2.0], dtype=flambeau.float64)
    np.testing.assert_array_equal(special.digamma(poles).numpy(), [-INF, INF, NAN, NAN])
    np.testing.assert_array_equal(special.gammaln(poles).numpy(), [INF] * 4)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 9])
def test_polygamma(n):
    x = np.concatenate([np.linspace(0.05, 30, 200), np.logspace(0, 5, 50)])
    np.testing.assert_allclose(special.polygamma(n, flambeau.tensor(x)).numpy(), scipy.polygamma(n, x), 1e-12)


def test_polygamma_of_negative_numbers_is_the_derivative():
    x = np.linspace(-7.7, -0.2, 37)
    for n in range(4):
        h = 1e-5
        ends = [special.polygamma(n, flambeau.tensor(x + d)).numpy() for d in (-h, h)]
        slope = special.polygamma(n + 1, flambeau.tensor(x)).numpy()
        np.testing.assert_allclose((ends[1] - ends[0]) / (2 * h), slope, 1e-5, 1e-3)


def test_zeta():
    s = np.array([1.0, 1.0001, 1.5, 2.0, 3.0, 7.5, 20.0, 90.0, 0.5])[:, None]
    q = np.concatenate([np.logspace(-4, 5, 60), [1.0, 2.0, 0.0, -1.0, -3.0]])
    expected = scipy.zeta(s, q)
    np.testing.assert_allclose(special.zeta(flambeau.tensor(s), flambeau.tensor(q)).numpy(), expected, 2e-13, 1e-300)
    left = np.array([-0.3, -1.7, -8.2])
    for order in (2.0, 3.0, 4.0):
        terms = sum((left + k) ** -order for k in range(200000)) + (200000 + left) ** (1 - order) / (order - 1)
        np.testing.assert_allclose(special.zeta(order, flambeau.tensor(left)).numpy(), terms, 1e-9)


def test_multigammaln():
    a = np.linspace(2.1, 20, 33)
    expected = [scipy.multigammaln(value, 4) for value in a]
    np.testing.assert_allclose(special.multigammaln(flambeau.tensor(a), 4).numpy(), expected, 1e-13)


def shapes_and_places():
    random = np.random.default_rng(0)
    a = 10 ** random.uniform(-3, 5, 4000)
    near = np.abs(a * (1 + random.normal(size=a.size) * 2 / np.sqrt(a)))
    return a, np.where(random.random(a.size) < 0.5, near, 10 ** random.uniform(-4, 5, a.size))


@pytest.mark.parametrize("name", ["gammainc", "gammaincc"])
def test_incomplete_gamma(name):
    a, x = shapes_and_places()
    expected = getattr(scipy, name)(a, x)
    found = getattr(special, name)(flambeau.tensor(a), flambeau.tensor(x)).numpy()
    kept = expected > 1e-250
    np.testing.assert_allclose(found[kept], expected[kept], 2e-11, 3e-16)
    single = getattr(special, name)(flambeau.tensor(a).float(), flambeau.tensor(x).float()).numpy()
    exact = getattr(scipy, name)(a.astype(np.float32).astype(float), x.astype(np.float32).astype(float))
    np.testing.assert_allclose(single, exact, 1e-4, 3e-5)
    edges = np.array([[0, 1], [1, 0], [0, 0], [INF, 1], [1, INF], [INF, INF], [-1, 1], [1, -1], [NAN, 1]], float)
    found = getattr(special, name)(*[flambeau.tensor(np.ascontiguousarray(e)) for e in edges.T]).numpy()
    np.testing.assert_array_equal(found, getattr(scipy, name)(*edges.T))


def test_incomplete_gamma_moves_with_its_shape():
    a = np.array([0.02, 0.3, 1.0, 4.0, 25.0, 900.0])
    for factor in (0.2, 0.9, 1.1, 3.0):
        x = a * factor
        shape = flambeau.tensor(a).requires_grad_()
        special.gammainc(shape, flambeau.tensor(x)).sum().backward()
        h = 1e-5 * a
        slope = (scipy.gammainc(a + h, x) - scipy.gammainc(a - h, x)) / (2 * h)
        np.testing.assert_allclose(shape.grad.numpy(), slope, 1e-5, 1e-9)


POLYNOMIALS = {
    "chebyshev_polynomial_t": scipy.eval_chebyt,
    "chebyshev_polynomial_u": scipy.eval_chebyu,
    "chebyshev_polynomial_v": lambda n, x: scipy.eval_chebyu(n, x) - scipy.eval_chebyu(n - 1, x) * (n > 0),
    "chebyshev_polynomial_w": lambda n, x: scipy.eval_chebyu(n, x) + scipy.eval_chebyu(n - 1, x) * (n > 0),
    "shifted_chebyshev_polynomial_t": scipy.eval_sh_chebyt,
    "shifted_chebyshev_polynomial_u": scipy.eval_sh_chebyu,
    "hermite_polynomial_h": scipy.eval_hermite,
    "hermite_polynomial_he": scipy.eval_hermitenorm,
    "laguerre_polynomial_l": scipy.eval_laguerre,
    "legendre_polynomial_p": scipy.eval_legendre,
}


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials(name):
    n, x = np.arange(0, 12)[:, None], np.concatenate([np.linspace(-1, 1, 21), [-3.0, 2.5]])
    expected = POLYNOMIALS[name](n, x)
    function = getattr(special, name)
    found = function(flambeau.tensor(x), flambeau.tensor(n)).numpy()
    np.testing.assert_allclose(found, expected, 1e-11, 1e-9)
    for degree in (0, 1, 2, 7):
        np.testing.assert_allclose(function(flambeau.tensor(x), degree).numpy(), expected[degree], 1e-11, 1e-9)
    assert function(flambeau.tensor(x), -1).tolist() == [0.0] * len(x)
    assert function(2, flambeau.tensor([0, 3])).dtype is flambeau.float32


def test_shifted_polynomials_of_third_and_fourth_kind():
    x = flambeau.linspace(0, 1, 11, dtype=flambeau.float64)
    for kind in "vw":
        plain = getattr(special, f"chebyshev_polynomial_{kind}")(2 * x - 1, 5)
        shifted = getattr(special, f"shifted_chebyshev_polynomial_{kind}")(x, 5)
        np.testing.assert_allclose(shifted.numpy(), plain.numpy(), 1e-12, 1e-12)


def test_xlog1py():
    x, y = np.array([0.0, 0.0, 0.0, 2.0, 1.0]), np.array([-1.0, NAN, -3.0, 1e-20, -1.0])
    np.testing.assert_allclose(special.xlog1py(flambeau.tensor(x), flambeau.tensor(y)).numpy(), scipy.xlog1py(x, y))


def test_integers_become_floats_and_halves_stay():
    for name in ("erfc", "gammaln", "digamma", "i0", "i1e", "bessel_j0", "ndtr", "entr"):
        function = getattr(special, name)
        assert function(flambeau.tensor([1, 2])).dtype is flambeau.float32
        assert function(flambeau.tensor([1, 2]).half()).dtype is flambeau.float16


def test_refusals():
    with pytest.raises(RuntimeError, match="does not support negative n"):
        special.polygamma(-1, flambeau.ones(2))
    with pytest.raises(RuntimeError, match="p has to be greater than or equal to 1"):
        special.multigammaln(flambeau.ones(2), 0)
