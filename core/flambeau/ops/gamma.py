"""The gamma function's logarithm, its derivatives, and Hurwitz' zeta function."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import BOOL
from flambeau.ops import series
from flambeau.ops.approximation import chebyshev, fraction, horner, widened
from flambeau.ops.declare import composite

Tensor = Any
Number = Any
Xp = Any

#: The Bernoulli numbers B_2, B_4 ...
BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330,
    854513 / 138, -236364091 / 2730,
)  # fmt: skip


def stirling(xp: Xp, x: Any) -> Any:
    """``lgamma(x) - (x - 1/2) log(x) + x - log(2 pi) / 2`` for ``x >= 8``, by Stirling's series."""
    coefficients = [b / (2 * k * (2 * k - 1)) for k, b in enumerate(BERNOULLI[:8], 1)]
    inverse = xp.div(1.0, x)
    return xp.mul(inverse, horner(xp, xp.square(inverse), coefficients[::-1]))


def _lgamma_of_positive(xp: Xp, x: Any) -> Any:
    large = xp.maximum(x, 8.0)
    far = xp.mul(xp.sub(large, 0.5), xp.sub(xp.log(large), 1.0))
    far = xp.add(xp.add(far, 0.5 * math.log(2 * math.pi) - 0.5), stirling(xp, large))
    # Below 8, by the recurrence to within 1/2 of 2, where the series has the zero as a factor.
    rest = xp.minimum(x, 8.0)
    product = xp.add(xp.mul(rest, 0.0), 1.0)
    for _ in range(6):
        over = xp.ge(rest, 2.5)
        less = xp.sub(rest, 1.0)
        product = xp.where(over, xp.mul(product, less), product)
        rest = xp.where(over, less, rest)
    low, middle = xp.lt(x, 0.5), xp.lt(x, 1.5)
    factor = xp.where(low, xp.mul(x, xp.add(x, 1.0)), xp.where(middle, x, product))
    z = xp.where(low, x, xp.where(middle, xp.sub(x, 1.0), xp.sub(rest, 2.0)))
    near = xp.mul(z, chebyshev(xp, xp.mul(z, 2.0), series.LGAMMA))
    logarithm = xp.log(factor)
    near = xp.add(near, xp.where(middle, xp.neg(logarithm), logarithm))
    return xp.where(xp.lt(x, 8.0), near, far)


def _reflected(xp: Xp, x: Any) -> tuple[Any, Any]:
    """Where x is negative, and x or there ``1 - x``."""
    negative = xp.lt(x, 0.0)
    return negative, xp.where(negative, xp.sub(1.0, x), x)


def log_gamma(xp: Xp, x: Any) -> Any:
    """The logarithm of the absolute value of the gamma function."""
    negative, y = _reflected(xp, x)
    right = _lgamma_of_positive(xp, y)
    sine = xp.abs(xp.sin(xp.mul(fraction(xp, x), math.pi)))
    left = xp.sub(xp.sub(math.log(math.pi), xp.log(sine)), right)
    return xp.where(xp.isinf(x), math.inf, xp.where(negative, left, right))


def psi(xp: Xp, x: Any) -> Any:
    """The derivative of :func:`log_gamma`."""
    negative, y = _reflected(xp, x)
    result, y = _raised(xp, y, 1, lambda inverse: xp.neg(inverse))
    inverse = xp.div(1.0, y)
    tail = horner(xp, xp.square(inverse), [b / (2 * k) for k, b in enumerate(BERNOULLI[:8], 1)][::-1])
    tail = xp.mul(inverse, xp.add(xp.mul(tail, inverse), 0.5))
    result = xp.add(result, xp.sub(xp.log(y), tail))
    part = fraction(xp, x)
    left = xp.sub(result, xp.div(math.pi, xp.tan(xp.mul(part, math.pi))))
    left = xp.where(xp.eq(part, 0.0), math.nan, left)  # a pole with different signs on its sides
    return xp.where(negative, left, result)


def _trigamma(xp: Xp, x: Any) -> Any:
    negative, y = _reflected(xp, x)
    result, y = _raised(xp, y, 1, lambda inverse: xp.square(inverse))
    inverse = xp.div(1.0, y)
    squared = xp.square(inverse)
    tail = xp.add(xp.mul(horner(xp, squared, BERNOULLI[7::-1]), inverse), 0.5)
    result = xp.add(result, xp.add(inverse, xp.mul(tail, squared)))
    sine = xp.sin(xp.mul(fraction(xp, x), math.pi))
    return xp.where(negative, xp.sub(xp.div(math.pi**2, xp.square(sine)), result), result)


def _raised(xp: Xp, y: Any, step: int, term: Any) -> tuple[Any, Any]:
    """The sum of ``term(1 / y)`` while y is raised in steps up to 10, and y then."""
    total = xp.mul(y, 0.0)
    total = xp.where(xp.isfinite(total), total, 0.0)
    for _ in range(10):
        low = xp.lt(y, 10.0)
        total = xp.where(low, xp.add(total, term(xp.div(1.0, y))), total)
        y = xp.where(low, xp.add(y, float(step)), y)
    return total, y


@composite(dtype="float", pointwise=True, inplace=True)
def lgamma(xp: Xp, input: Tensor) -> Tensor:
    """Return the logarithm of the absolute value of the gamma function; infinite at 0, -1, -2 ..."""
    return widened(xp, log_gamma, input)


@composite(dtype="float", pointwise=True, inplace=True)
def digamma(xp: Xp, input: Tensor) -> Tensor:
    """Return the derivative of :func:`lgamma`; -inf at 0, NaN at -1, -2 ..."""
    return widened(xp, psi, input)


@composite(dtype="float", pointwise=True, inplace=True, public=("method",))
def polygamma(xp: Xp, input: Tensor, n: int) -> Tensor:
    """Return the derivative of order ``n`` of :func:`digamma`.

    Raises:
        RuntimeError: for a negative ``n``.
    """
    if n == 0:
        return xp.digamma(input)
    if n == 1:
        return widened(xp, _trigamma, input)
    scale = math.factorial(n) if n <= 170 else math.inf
    return xp.mul(xp.special_zeta(float(n + 1), input), float(scale if n % 2 else -scale))


lgamma.vjp(input=lambda xp, g, input: xp.mul(g, xp.digamma(input)))
digamma.vjp(input=lambda xp, g, input: xp.mul(g, xp.polygamma(input, 1)))
polygamma.vjp(input=lambda xp, g, input, n: xp.mul(g, xp.polygamma(input, n + 1)))


@polygamma.canonical
def _(input: Any, n: Any) -> Any:
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"polygamma(): argument 'n' must be int, not {type(n).__name__}")
    if n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n, and n is {n}")
    return input, n


@composite(dtype="float", pointwise=True, inplace=True)
def mvlgamma(xp: Xp, input: Tensor, p: int) -> Tensor:
    """Return the logarithm of the multivariate gamma function of dimension ``p``::

        p (p - 1) / 4 log(pi) + sum of lgamma(input - j / 2) for j = 0 ... p - 1

    Raises:
        RuntimeError: when ``p`` is less than 1.
    """
    result = xp.lgamma(input)
    for j in range(1, p):
        result = xp.add(result, xp.lgamma(xp.sub(input, j / 2)))
    return xp.add(result, p * (p - 1) / 4 * math.log(math.pi))


@mvlgamma.check
def _(input: Any, p: Any) -> None:
    if p < 1:
        raise RuntimeError(f"mvlgamma: p has to be greater than or equal to 1, and it is {p}")
    if input._dtype.category == BOOL:
        raise RuntimeError("mvlgamma: The input tensor may not be bool")


# -- zeta --------------------------------------------------------------------------------------------------------------

_TERMS = 10  # summed before the Euler-Maclaurin formula takes over


def _zeta_of_positive(xp: Xp, s: Any, q: Any) -> Any:
    """The sum of ``(q + k)^-s`` over k = 0, 1 ... by the Euler-Maclaurin formula, for q > 0."""
    exponent = xp.neg(s)
    total = xp.pow(q, exponent)
    for k in range(1, _TERMS):
        total = xp.add(total, xp.pow(xp.add(q, float(k)), exponent))
    w = xp.add(q, float(_TERMS))
    power = xp.pow(w, exponent)
    total = xp.add(total, xp.add(xp.div(xp.mul(power, w), xp.sub(s, 1.0)), xp.mul(power, 0.5)))
    inverse = xp.div(1.0, w)
    factor = xp.mul(xp.mul(power, s), inverse)
    for k, number in enumerate(BERNOULLI, 1):
        total = xp.add(total, xp.mul(factor, number / math.factorial(2 * k)))
        rising = xp.mul(xp.add(s, float(2 * k - 1)), xp.add(s, float(2 * k)))
        factor = xp.mul(xp.mul(factor, rising), xp.square(inverse))
    # With an overflow in between the sum has long converged to its first term.
    return xp.where(xp.isnan(total), xp.pow(q, exponent), total)


def _zeta(xp: Xp, s: Any, q: Any) -> Any:
    negative, y = _reflected(xp, q)
    right = _zeta_of_positive(xp, s, y)
    # Left of 0: the sum over all integers, which depends on the fraction of q only, less what 1 - q, 2 - q ... give.
    part = xp.where(negative, fraction(xp, q), 0.5)
    sign = xp.sub(1.0, xp.mul(xp.remainder(s, 2.0), 2.0))
    own = xp.mul(xp.pow(xp.abs(part), xp.neg(s)), xp.where(xp.lt(part, 0.0), sign, 1.0))
    after = _zeta_of_positive(xp, s, xp.add(part, 1.0))
    before = xp.sub(_zeta_of_positive(xp, s, xp.sub(1.0, part)), right)
    left = xp.add(xp.add(own, after), xp.mul(sign, before))
    left = xp.where(xp.eq(xp.floor(s), s), left, math.nan)
    result = xp.where(negative, left, right)
    result = xp.where(xp.logical_and(xp.le(q, 0.0), xp.eq(xp.floor(q), q)), math.inf, result)
    return xp.where(xp.eq(s, 1.0), math.inf, xp.where(xp.lt(s, 1.0), math.nan, result))


@composite(dtype="float", pointwise=True, public=())
def special_zeta(xp: Xp, input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """Return Hurwitz' zeta function, the sum of ``(other + k)^-input`` over k = 0, 1, 2 ...

    Infinite where ``input`` is 1 and where ``other`` is 0 or a negative integer; NaN where ``input`` is less than 1,
    and where ``other`` is negative and ``input`` no integer.
    """
    return widened(xp, _zeta, *_as_arrays(xp, input, other))


special_zeta.vjp(
    other=lambda xp, g, input, other: xp.neg(
        xp.mul(g, xp.mul(input, xp.special_zeta(xp.add(input, 1.0) if hasattr(input, "shape") else input + 1.0, other)))
    )
)


def _as_arrays(xp: Xp, *operands: Any) -> list[Any]:
    """Operands, of which one may be a number, as arrays."""
    like = next(operand for operand in operands if hasattr(operand, "shape"))
    kind, device = xp.dtype_of(like), xp.device_of(like)
    return [operand if hasattr(operand, "shape") else xp.full((), operand, kind, device) for operand in operands]
