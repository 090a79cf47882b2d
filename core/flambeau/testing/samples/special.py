"""Samples of the special functions.

References are Python's `math` and NumPy, and integrals by the trapezoidal rule, which is exact to rounding for periodic
functions. Ops without one here are compared with SciPy in the project's own tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev, hermite, hermite_e, laguerre, legendre

from flambeau.testing.database import FLOATS, HALF, Maker, Sample, case, sample
from flambeau.testing.samples.elementwise import INF, NAN, REAL_FLOAT_RULE, SHAPES, unary

_ANGLES = np.pi * (np.arange(200) + 0.5) / 200


def _each(function: Any, pole: float = INF) -> Any:
    """A function of Python's over arrays; ``pole`` where it refuses an argument."""

    def one(x: float) -> float:
        try:
            return float(function(x))
        except ValueError:
            return NAN if math.isnan(x) else pole

    return np.vectorize(one, otypes=[np.float64])


def _mean(integrand: Any) -> Any:
    """A function of x that is the mean of ``integrand(x, t)`` over t from 0 to pi."""
    return lambda x: integrand(x[..., None], _ANGLES).mean(-1)


_i0 = _mean(lambda x, t: np.exp(x * np.cos(t)))
_i1 = _mean(lambda x, t: np.exp(x * np.cos(t)) * np.cos(t))
_ndtr = _each(lambda x: 0.5 * math.erfc(-x * math.sqrt(0.5)))
_erfcx = _each(lambda x: math.exp(x * x) * math.erfc(x))

unary("erfc", _each(math.erfc), **REAL_FLOAT_RULE)
unary("special_erfcx", _erfcx, special=False)
unary("special_ndtr", _ndtr, **REAL_FLOAT_RULE)
unary("special_log_ndtr", lambda x: np.log(_ndtr(x)))
unary("lgamma", _each(lambda x: INF if x == -INF else math.lgamma(x)), 0.2, 5.0, **REAL_FLOAT_RULE)
unary("digamma", None, 0.3, 4.0, special=False)
unary("i0", _i0, special=False)
unary("special_i1", _i1, special=False)
unary("special_i0e", lambda x: np.exp(-np.abs(x)) * _i0(x), 0.1, 2.0, special=False)
unary("special_i1e", lambda x: np.exp(-np.abs(x)) * _i1(x), 0.1, 2.0, special=False)
unary("special_bessel_j0", _mean(lambda x, t: np.cos(x * np.sin(t))), special=False)
unary("special_bessel_j1", _mean(lambda x, t: np.cos(t - x * np.sin(t))), special=False)
unary("special_spherical_bessel_j0", lambda x: np.sinc(x / np.pi), 0.2, 2.0, special=False)
for _name in ("bessel_y0", "bessel_y1", "modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0",
              "scaled_modified_bessel_k1"):  # fmt: skip
    unary(f"special_{_name}", None, 0.4, 3.0)
unary("special_airy_ai", None, -9.0, 4.0)


def _entropy(x: Any) -> Any:
    return np.where(x > 0, -x * np.log(np.where(x > 0, x, 1.0)), np.where(x < 0, -INF, x * 0.0))


unary("special_entr", _entropy, 0.2, 2.0, **REAL_FLOAT_RULE)


def _inverse(function: Any, low: float, high: float) -> Any:
    """The inverse of a growing function, by bisection."""

    def one(y: float) -> float:
        left, right = low, high
        for _ in range(100):
            middle = (left + right) / 2
            left, right = (middle, right) if function(middle) < y else (left, middle)
        return (left + right) / 2

    return np.vectorize(one, otypes=[np.float64])


unary("erfinv", _inverse(math.erf, -6.0, 6.0), -0.95, 0.95, special=False)
unary("special_ndtri", _inverse(lambda x: 0.5 * math.erfc(-x * math.sqrt(0.5)), -9.0, 9.0), 0.05, 0.95, special=False)


@case("special_xlog1py", lambda x, y: np.where(x == 0, np.where(np.isnan(y), NAN, 0.0), x * np.log1p(y)))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make(3, low=-0.5, high=2.0))
    yield sample(2, make(3, low=-0.5, high=2.0))
    yield sample(make(2, 3), 0.5)
    yield sample(make.values([0.0, 0.0, 1.0]), make.values([-1.0, NAN, -1.0]), smooth=False)


@case("polygamma", None, dtypes=FLOATS)
def _(make: Maker) -> Iterator[Sample]:
    for n in (0, 1, 2, 4):
        yield sample(make(2, 3, low=0.5, high=3.0), n)
    yield sample(make.values([-0.3, -1.6, 12.0]), 1)


def _log_multigamma(x: Any, p: int) -> Any:
    gammas = sum(_each(math.lgamma)(x - j / 2) for j in range(p))
    return p * (p - 1) / 4 * math.log(math.pi) + gammas


@case("mvlgamma", _log_multigamma, dtypes=(*FLOATS, "int64"))
def _(make: Maker) -> Iterator[Sample]:
    for p in (1, 3):
        yield sample(make(2, 3, low=2.0, high=5.0), p)


@case("special_zeta", None, constant=("input",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, low=1.5, high=4.0), make(3, low=0.5, high=3.0))
    yield sample(2.0, make(3, low=0.5, high=3.0))
    yield sample(make.values([1.0, 0.5, 2.0, 3.0]), make.values([1.0, 1.0, -1.0, -1.5]), smooth=False)


def _lower_gamma(a: Any, x: Any) -> Any:
    """By its power series: positive terms, for moderate arguments."""
    a, x = np.broadcast_arrays(a, x)
    term = np.ones(a.shape)
    total = np.ones(a.shape)
    for k in range(1, 200):
        term = term * x / (a + k)
        total = total + term
    return total * np.exp(a * np.log(x) - x - _each(math.lgamma)(a + 1))


for _name, _reference in (("igamma", _lower_gamma), ("igammac", lambda a, x: 1 - _lower_gamma(a, x))):

    @case(_name, _reference, dtypes=(*FLOATS, *HALF))
    def _(make: Maker) -> Iterator[Sample]:
        for shape in SHAPES:
            yield sample(make(*shape, low=0.3, high=9.0), make(*shape, low=0.3, high=9.0))
        yield sample(make(2, 1, low=0.3, high=20.0), make(3, low=0.3, high=20.0))


@case("standard_gamma_grad", None)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, low=0.2, high=9.0), make(2, 3, low=0.2, high=9.0))
    # In single precision differences over 1e-2 are too coarse for this.
    yield sample(make(2, 1, low=0.01, high=0.1), make(3, low=0.001, high=2.0), smooth=make.dtype.name == "float64")


@case("moving_gamma", lambda a, x: x, gradients=False)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, low=0.2, high=9.0), make(2, 3, low=0.2, high=9.0))


# -- polynomials -------------------------------------------------------------------------------------------------------


def _evaluated(evaluate: Any) -> Any:
    def one(x: float, n: float) -> float:
        degree = math.trunc(n)
        return 0.0 if degree < 0 else float(evaluate(x, [0.0] * degree + [1.0]))

    return np.vectorize(one, otypes=[np.float64])


def _by_recurrence(first: tuple[float, float], factor: tuple[float, float] = (2.0, 0.0)) -> Any:
    def evaluate(x: float, coefficients: list[float]) -> float:
        before, current = 1.0, first[0] * x + first[1]
        for _ in range(len(coefficients) - 1):
            before, current = current, (factor[0] * x + factor[1]) * current - before
        return before

    return evaluate


for _name, _polynomial in (
    ("chebyshev_polynomial_t", chebyshev.chebval),
    ("chebyshev_polynomial_u", _by_recurrence((2.0, 0.0))),
    ("chebyshev_polynomial_v", _by_recurrence((2.0, -1.0))),
    ("chebyshev_polynomial_w", _by_recurrence((2.0, 1.0))),
    ("shifted_chebyshev_polynomial_t", lambda x, c: chebyshev.chebval(2 * x - 1, c)),
    ("shifted_chebyshev_polynomial_u", _by_recurrence((4.0, -2.0), (4.0, -2.0))),
    ("shifted_chebyshev_polynomial_v", _by_recurrence((4.0, -3.0), (4.0, -2.0))),
    ("shifted_chebyshev_polynomial_w", _by_recurrence((4.0, -1.0), (4.0, -2.0))),
    ("hermite_polynomial_h", hermite.hermval),
    ("hermite_polynomial_he", hermite_e.hermeval),
    ("laguerre_polynomial_l", laguerre.lagval),
    ("legendre_polynomial_p", legendre.legval),
):

    @case(f"special_{_name}", _evaluated(_polynomial), constant=("n",))
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(2, 5), make.values([0.0, 1.0, 2.0, 3.0, 6.0]))
        yield sample(make(2, 1, low=-1.0, high=1.0), make.indices([4, -1, 1]))
        for degree in (0, 1, 5):
            yield sample(make(3), degree)
        yield sample(make(0), make(0))
        yield sample(0.5, make.values([0.0, 3.0]))
