"""Bessel functions of order 0 and 1, and Airy's function."""

from __future__ import annotations

import math
from typing import Any

from flambeau.ops import series
from flambeau.ops.approximation import chebyshev, widened
from flambeau.ops.declare import composite

Tensor = Any
Xp = Any


# -- modified, of the first kind ---------------------------------------------------------------------------------------


def _scaled_i(xp: Xp, size: Any, near: Any, far: Any) -> Any:
    """The series up to 8, and beyond it the one over the square root."""
    outer = xp.maximum(size, 8.0)
    beyond = xp.div(chebyshev(xp, xp.sub(xp.div(16.0, outer), 1.0), far), xp.sqrt(outer))
    inner = chebyshev(xp, xp.sub(xp.mul(xp.minimum(size, 8.0), 0.25), 1.0), near)
    return xp.where(xp.le(size, 8.0), inner, beyond)


def _i0e(xp: Xp, x: Any) -> Any:
    return _scaled_i(xp, xp.abs(x), series.I0_NEAR, series.I0_FAR)


def _i1e(xp: Xp, x: Any) -> Any:
    size = xp.abs(x)
    scaled = _scaled_i(xp, size, series.I1_NEAR, series.I1_FAR)
    return xp.where(xp.le(size, 8.0), xp.mul(x, scaled), xp.mul(xp.sign(x), scaled))


def _unscaled(xp: Xp, x: Any, scaled: Any) -> Any:
    root = xp.exp(xp.mul(xp.abs(x), 0.5))  # in two steps, as the exponential overflows before the product does
    return xp.mul(xp.mul(scaled, root), root)


@composite(dtype="float", pointwise=True, inplace=True)
def i0(xp: Xp, input: Tensor) -> Tensor:
    """Return the modified Bessel function of the first kind, of order 0."""
    return widened(xp, lambda xp, x: _unscaled(xp, x, _i0e(xp, x)), input)


@composite(dtype="float", pointwise=True, public=())
def special_i0e(xp: Xp, input: Tensor) -> Tensor:
    """Return ``exp(-abs(input)) i0(input)``."""
    return widened(xp, _i0e, input)


@composite(dtype="float", pointwise=True, public=())
def special_i1(xp: Xp, input: Tensor) -> Tensor:
    """Return the modified Bessel function of the first kind, of order 1."""
    return widened(xp, lambda xp, x: _unscaled(xp, x, _i1e(xp, x)), input)


@composite(dtype="float", pointwise=True, public=())
def special_i1e(xp: Xp, input: Tensor) -> Tensor:
    """Return ``exp(-abs(input)) i1(input)``."""
    return widened(xp, _i1e, input)


def _over(xp: Xp, result: Any, input: Any) -> Any:
    """``result / input``, 1/2 at 0 where an odd Bessel function of order 1 starts."""
    zero = xp.eq(input, 0.0)
    return xp.where(zero, 0.5, xp.div(result, xp.where(zero, 1.0, input)))


i0.vjp(input=lambda xp, g, input: xp.mul(g, xp.special_i1(input)))
special_i0e.vjp(
    input=lambda xp, g, input, result: xp.mul(g, xp.sub(xp.special_i1e(input), xp.mul(xp.sign(input), result)))
)
special_i1.vjp(input=lambda xp, g, input, result: xp.mul(g, xp.sub(xp.i0(input), _over(xp, result, input))))
special_i1e.vjp(
    input=lambda xp, g, input, result: xp.mul(
        g, xp.sub(xp.sub(xp.special_i0e(input), _over(xp, result, input)), xp.mul(xp.sign(input), result))
    )
)


# -- modified, of the second kind --------------------------------------------------------------------------------------


def _k0_near(xp: Xp, x: Any) -> Any:
    rest = chebyshev(xp, xp.sub(xp.mul(xp.square(x), 0.5), 1.0), series.K0_NEAR)
    return xp.sub(rest, xp.mul(xp.log(xp.mul(x, 0.5)), _unscaled(xp, x, _i0e(xp, x))))


def _k1_near(xp: Xp, x: Any) -> Any:
    rest = xp.div(chebyshev(xp, xp.sub(xp.mul(xp.square(x), 0.5), 1.0), series.K1_NEAR), x)
    return xp.add(rest, xp.mul(xp.log(xp.mul(x, 0.5)), _unscaled(xp, x, _i1e(xp, x))))


def _second_kind(near: Any, far: Any, scaled: bool) -> Any:
    def function(xp: Xp, x: Any) -> Any:
        inner, outer = xp.minimum(x, 2.0), xp.maximum(x, 2.0)
        close = near(xp, inner)
        beyond = xp.div(chebyshev(xp, xp.sub(xp.div(4.0, outer), 1.0), far), xp.sqrt(outer))
        if scaled:
            close = xp.mul(close, xp.exp(inner))
        else:
            beyond = xp.mul(beyond, xp.exp(xp.neg(outer)))
        result = xp.where(xp.le(x, 2.0), close, beyond)
        return xp.where(xp.eq(x, 0.0), math.inf, xp.where(xp.lt(x, 0.0), math.nan, result))

    return function


_k0, _k0e = (_second_kind(_k0_near, series.K0_FAR, scaled) for scaled in (False, True))
_k1, _k1e = (_second_kind(_k1_near, series.K1_FAR, scaled) for scaled in (False, True))


@composite(dtype="float", pointwise=True, public=())
def special_modified_bessel_k0(xp: Xp, input: Tensor) -> Tensor:
    """Return the modified Bessel function of the second kind, of order 0; infinite at 0, NaN below."""
    return widened(xp, _k0, input)


@composite(dtype="float", pointwise=True, public=())
def special_modified_bessel_k1(xp: Xp, input: Tensor) -> Tensor:
    """Return the modified Bessel function of the second kind, of order 1; infinite at 0, NaN below."""
    return widened(xp, _k1, input)


@composite(dtype="float", pointwise=True, public=())
def special_scaled_modified_bessel_k0(xp: Xp, input: Tensor) -> Tensor:
    """Return ``exp(input) modified_bessel_k0(input)``."""
    return widened(xp, _k0e, input)


@composite(dtype="float", pointwise=True, public=())
def special_scaled_modified_bessel_k1(xp: Xp, input: Tensor) -> Tensor:
    """Return ``exp(input) modified_bessel_k1(input)``."""
    return widened(xp, _k1e, input)


special_modified_bessel_k0.vjp(input=lambda xp, g, input: xp.neg(xp.mul(g, xp.special_modified_bessel_k1(input))))
special_modified_bessel_k1.vjp(
    input=lambda xp, g, input, result: xp.neg(
        xp.mul(g, xp.add(xp.special_modified_bessel_k0(input), xp.div(result, input)))
    )
)
special_scaled_modified_bessel_k0.vjp(
    input=lambda xp, g, input, result: xp.mul(g, xp.sub(result, xp.special_scaled_modified_bessel_k1(input)))
)
special_scaled_modified_bessel_k1.vjp(
    input=lambda xp, g, input, result: xp.mul(
        g, xp.sub(xp.sub(result, xp.special_scaled_modified_bessel_k0(input)), xp.div(result, input))
    )
)


# -- of the first and second kind --------------------------------------------------------------------------------------


def _waves(xp: Xp, size: Any, order: int) -> tuple[Any, Any]:
    """Both kinds at 8 and beyond: ``sqrt(2 / (pi x))`` times ``P cos - Q sin`` and ``P sin + Q cos`` of the phase."""
    p_series, q_series = ((series.P0, series.Q0), (series.P1, series.Q1))[order]
    x = xp.maximum(size, 8.0)
    ratio = xp.div(8.0, x)
    t = xp.sub(xp.mul(xp.square(ratio), 2.0), 1.0)
    p, q = chebyshev(xp, t, p_series), xp.mul(ratio, chebyshev(xp, t, q_series))
    sine, cosine = xp.sin(x), xp.cos(x)
    # The phase is x - pi / 4 or x - 3 pi / 4: by the sum formulas, without rounding the difference.
    plus, minus = xp.add(sine, cosine), xp.sub(sine, cosine)
    cos, sin = (plus, minus) if order == 0 else (minus, xp.neg(plus))
    scale = xp.sqrt(xp.div(1 / math.pi, x))
    first = xp.mul(scale, xp.sub(xp.mul(p, cos), xp.mul(q, sin)))
    second = xp.mul(scale, xp.add(xp.mul(p, sin), xp.mul(q, cos)))
    end = xp.isinf(x)
    return xp.where(end, 0.0, first), xp.where(end, 0.0, second)


def _within(xp: Xp, size: Any) -> tuple[Any, Any]:
    x = xp.minimum(size, 8.0)
    return x, xp.sub(xp.mul(xp.square(x), 1 / 32), 1.0)


def _j0(xp: Xp, x: Any) -> Any:
    size = xp.abs(x)
    _, t = _within(xp, size)
    return xp.where(xp.le(size, 8.0), chebyshev(xp, t, series.J0_NEAR), _waves(xp, size, 0)[0])


def _j1(xp: Xp, x: Any) -> Any:
    size = xp.abs(x)
    inner, t = _within(xp, size)
    odd = xp.where(xp.le(size, 8.0), xp.mul(inner, chebyshev(xp, t, series.J1_NEAR)), _waves(xp, size, 1)[0])
    return xp.where(xp.lt(x, 0.0), xp.neg(odd), odd)


def _y0(xp: Xp, x: Any) -> Any:
    inner, t = _within(xp, x)
    wave = xp.mul(xp.mul(xp.log(inner), 2 / math.pi), chebyshev(xp, t, series.J0_NEAR))
    near = xp.add(chebyshev(xp, t, series.Y0_NEAR), wave)
    return _right_half(xp, x, xp.where(xp.le(x, 8.0), near, _waves(xp, x, 0)[1]))


def _y1(xp: Xp, x: Any) -> Any:
    inner, t = _within(xp, x)
    wave = xp.mul(xp.mul(xp.log(inner), inner), chebyshev(xp, t, series.J1_NEAR))
    wave = xp.mul(xp.sub(wave, xp.div(1.0, inner)), 2 / math.pi)
    near = xp.add(xp.mul(inner, chebyshev(xp, t, series.Y1_NEAR)), wave)
    return _right_half(xp, x, xp.where(xp.le(x, 8.0), near, _waves(xp, x, 1)[1]))


def _right_half(xp: Xp, x: Any, result: Any) -> Any:
    return xp.where(xp.eq(x, 0.0), -math.inf, xp.where(xp.lt(x, 0.0), math.nan, result))


@composite(dtype="float", pointwise=True, public=())
def special_bessel_j0(xp: Xp, input: Tensor) -> Tensor:
    """Return the Bessel function of the first kind, of order 0."""
    return widened(xp, _j0, input)


@composite(dtype="float", pointwise=True, public=())
def special_bessel_j1(xp: Xp, input: Tensor) -> Tensor:
    """Return the Bessel function of the first kind, of order 1."""
    return widened(xp, _j1, input)


@composite(dtype="float", pointwise=True, public=())
def special_bessel_y0(xp: Xp, input: Tensor) -> Tensor:
    """Return the Bessel function of the second kind, of order 0; -inf at 0, NaN below."""
    return widened(xp, _y0, input)


@composite(dtype="float", pointwise=True, public=())
def special_bessel_y1(xp: Xp, input: Tensor) -> Tensor:
    """Return the Bessel function of the second kind, of order 1; -inf at 0, NaN below."""
    return widened(xp, _y1, input)


special_bessel_j0.vjp(input=lambda xp, g, input: xp.neg(xp.mul(g, xp.special_bessel_j1(input))))
special_bessel_j1.vjp(
    input=lambda xp, g, input, result: xp.mul(g, xp.sub(xp.special_bessel_j0(input), _over(xp, result, input)))
)
special_bessel_y0.vjp(input=lambda xp, g, input: xp.neg(xp.mul(g, xp.special_bessel_y1(input))))
special_bessel_y1.vjp(
    input=lambda xp, g, input, result: xp.mul(g, xp.sub(xp.special_bessel_y0(input), xp.div(result, input)))
)


@composite(dtype="float", pointwise=True, public=())
def special_spherical_bessel_j0(xp: Xp, input: Tensor) -> Tensor:
    """Return the spherical Bessel function of the first kind, of order 0: ``sin(input) / input``, 1 at 0."""
    zero = xp.eq(input, 0.0)
    safe = xp.where(zero, 1.0, input)
    wave = xp.where(xp.isinf(input), 0.0, xp.div(xp.sin(safe), safe))
    return xp.where(zero, 1.0, wave)


# -- Airy --------------------------------------------------------------------------------------------------------------

_LEFT, _RIGHT = 2 / 3 * 5**1.5, 2 / 3 * 2**1.5


def _airy(xp: Xp, x: Any) -> Any:
    middle = chebyshev(xp, xp.mul(xp.add(xp.mul(xp.clamp(x, -5.0, 2.0), 2.0), 3.0), 1 / 7), series.AIRY)
    size = xp.where(xp.gt(x, 0.0), xp.maximum(x, 2.0), xp.maximum(xp.neg(x), 5.0))
    root = xp.sqrt(size)
    u = xp.mul(xp.mul(size, root), 2 / 3)
    quarter = xp.sqrt(xp.mul(root, math.pi))
    t = xp.sub(xp.mul(xp.div(_RIGHT, u), 2.0), 1.0)
    decay = xp.div(xp.mul(chebyshev(xp, t, series.AIRY_DECAY), xp.mul(xp.exp(xp.neg(u)), 0.5)), quarter)
    ratio = xp.div(_LEFT, u)
    t = xp.sub(xp.mul(xp.square(ratio), 2.0), 1.0)
    sine, cosine = xp.sin(u), xp.cos(u)
    even = xp.mul(chebyshev(xp, t, series.AIRY_COS), xp.add(sine, cosine))
    odd = xp.mul(xp.mul(ratio, chebyshev(xp, t, series.AIRY_SIN)), xp.sub(sine, cosine))
    waves = xp.div(xp.mul(xp.add(even, odd), math.sqrt(0.5)), quarter)
    waves = xp.where(xp.isinf(u), 0.0, waves)
    return xp.where(xp.gt(x, 2.0), decay, xp.where(xp.lt(x, -5.0), waves, middle))


@composite(dtype="float", pointwise=True, differentiable=False, public=())
def special_airy_ai(xp: Xp, input: Tensor) -> Tensor:
    """Return Airy's function Ai, the solution of ``y'' = x y`` that falls for growing x."""
    return widened(xp, _airy, input)
