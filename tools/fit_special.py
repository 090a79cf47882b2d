"""Fit the Chebyshev series in `core/flambeau/ops/series.py` (needs `pip install mpmath`).

python tools/fit_special.py            write the file

Each function is divided by its known behaviour at the ends of an interval (a factor x, a square root, an exponential),
which leaves something smooth. That is interpolated in mpmath's arithmetic with 40 digits at the 96 Chebyshev points of
the interval, mapped to [-1, 1] as noted beside it, and the series is cut where its coefficients have fallen below
2e-17 of the largest. Interpolation at Chebyshev points is within a small factor of the best approximation (Trefethen,
"Approximation Theory and Approximation Practice", 2013, chapter 16).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mpmath import (
    airyai,
    airybi,
    besseli,
    besselj,
    besselk,
    bessely,
    cos,
    erf,
    erfc,
    exp,
    findroot,
    log,
    loggamma,
    mp,
    mpf,
    pi,
    sin,
    sqrt,
)  # fmt: skip

PAGE = Path(__file__).resolve().parents[1] / "core" / "flambeau" / "ops" / "series.py"
POINTS = 96
HEAD = '''"""Chebyshev series of special functions, written by `tools/fit_special.py`, which says how they come about.

The comment beside a series says what it is of, and which ``t`` within [-1, 1] it is a series in.
"""

from __future__ import annotations

'''

mp.dps = 40
Function = Callable[[Any], Any]


def series(function: Function) -> list[Any]:
    """The coefficients of the interpolant of a function on [-1, 1]."""
    angles = [pi * (2 * k + 1) / (2 * POINTS) for k in range(POINTS)]
    values = [function(cos(angle)) for angle in angles]
    coefficients = [
        2 * sum(v * cos(j * a) for v, a in zip(values, angles, strict=True)) / POINTS for j in range(POINTS)
    ]
    coefficients[0] /= 2
    largest = max(map(abs, coefficients))
    last = max(j for j, c in enumerate(coefficients) if abs(c) > mpf("2e-17") * largest)
    return coefficients[: last + 1]


def to_infinity(t: Any, least: Any) -> Any:
    """From x = inf at t = -1 to ``least`` at t = 1, linear in 1/x."""
    return 2 * mpf(least) / (1 + t)


def square(t: Any, most: Any) -> Any:
    """From x = 0 at t = -1 to ``most`` at t = 1, linear in x ** 2."""
    return mpf(most) * sqrt((1 + t) / 2)


def scaled_erfc(t: Any) -> Any:
    x = mpf("3.75") * (1 + t) / (1 - t)
    return (1 + 2 * x) * exp(x * x) * erfc(x)


def inverse_near_zero(t: Any) -> Any:
    x = square(t, 0.75)
    return findroot(lambda y: erf(y) - x, x * sqrt(pi) / 2) / x


def inverse_tail(t: Any) -> Any:
    s = TAIL_A * (1 + TAIL_R * t) / (1 - t * TAIL_Q)
    return findroot(lambda y: log(erfc(y)) + s * s, s) / s


# s runs from 1.15 at t = -1 to 28 at t = 1, linear in 1 / (s + 1.6): (s - a) / (s + b) with both ends fixed.
def _tail_map() -> tuple[Any, Any, Any]:
    low, high, pole = mpf("1.15"), mpf(28), mpf("1.6")
    first, last = 1 / (low + pole), 1 / (high + pole)
    # 1 / (s + pole) = m - h t
    m, h = (first + last) / 2, (first - last) / 2
    # s = (1 - pole m + pole h t) / (m - h t)
    return (1 - pole * m) / m, pole * h / (1 - pole * m), h / m


TAIL_A, TAIL_R, TAIL_Q = _tail_map()


def log_gamma(t: Any) -> Any:
    z = t / 2
    return loggamma(2 + z) / z


def modulus(order: int, part: str) -> Function:
    """The slowly varying P and Q of J = sqrt(2 / (pi x)) (P cos - Q sin), Y = sqrt(2 / (pi x)) (P sin + Q cos)."""

    def function(t: Any) -> Any:
        x = 8 / sqrt((1 + t) / 2)
        angle = x - (2 * order + 1) * pi / 4
        j, y = besselj(order, x), bessely(order, x)
        scale = sqrt(pi * x / 2)
        if part == "p":
            return scale * (j * cos(angle) + y * sin(angle))
        return scale * (y * cos(angle) - j * sin(angle)) * x / 8

    return function


def airy_oscillation(part: str) -> Function:
    def function(t: Any) -> Any:
        angle = AIRY_LEFT / sqrt((1 + t) / 2)
        x = (3 * angle / 2) ** (mpf(2) / 3)
        a, b = airyai(-x), airybi(-x)
        shifted, scale = angle - pi / 4, sqrt(pi) * x ** mpf("0.25")
        if part == "f":
            return scale * (a * cos(shifted) - b * sin(shifted))
        return scale * (a * sin(shifted) + b * cos(shifted)) * angle / AIRY_LEFT

    return function


AIRY_LEFT = 2 * mpf(5) ** mpf("1.5") / 3
AIRY_RIGHT = 2 * mpf(2) ** mpf("1.5") / 3


def airy_decay(t: Any) -> Any:
    angle = to_infinity(t, AIRY_RIGHT)
    x = (3 * angle / 2) ** (mpf(2) / 3)
    return 2 * sqrt(pi) * x ** mpf("0.25") * exp(angle) * airyai(x)


def at(function: Function, place: Callable[..., Any], *bounds: Any) -> Function:
    return lambda t: function(place(t, *bounds))


def linear(t: Any, low: Any, high: Any) -> Any:
    return low + (mpf(high) - low) * (1 + t) / 2


#: name: (what it is of, the function of t)
SERIES: dict[str, tuple[str, Function]] = {
    "ERFCX": ("(1 + 2 x) exp(x^2) erfc(x), x >= 0; t = (x - 3.75) / (x + 3.75)", scaled_erfc),
    "ERFINV": ("erfinv(x) / x, |x| <= 0.75; t = 2 (x / 0.75)^2 - 1", inverse_near_zero),
    "ERFCINV": (
        "erfcinv(q) / s, s = sqrt(-log(q)) from 1.15 to 28; t is linear in 1 / (s + 1.6) and grows with s",
        inverse_tail,
    ),
    "LGAMMA": ("lgamma(2 + z) / z, |z| <= 0.5; t = 2 z", log_gamma),
    "I0_NEAR": ("exp(-x) I0(x), 0 <= x <= 8; t = x / 4 - 1", at(lambda x: exp(-x) * besseli(0, x), linear, 0, 8)),
    "I0_FAR": (
        "sqrt(x) exp(-x) I0(x), x >= 8; t = 16 / x - 1",
        at(lambda x: sqrt(x) * exp(-x) * besseli(0, x), to_infinity, 8),
    ),
    "I1_NEAR": (
        "exp(-x) I1(x) / x, 0 <= x <= 8; t = x / 4 - 1",
        at(lambda x: exp(-x) * besseli(1, x) / x, linear, 0, 8),
    ),
    "I1_FAR": (
        "sqrt(x) exp(-x) I1(x), x >= 8; t = 16 / x - 1",
        at(lambda x: sqrt(x) * exp(-x) * besseli(1, x), to_infinity, 8),
    ),
    "K0_NEAR": (
        "K0(x) + log(x / 2) I0(x), x <= 2; t = x^2 / 2 - 1",
        at(lambda x: besselk(0, x) + log(x / 2) * besseli(0, x), square, 2),
    ),
    "K0_FAR": (
        "sqrt(x) exp(x) K0(x), x >= 2; t = 4 / x - 1",
        at(lambda x: sqrt(x) * exp(x) * besselk(0, x), to_infinity, 2),
    ),
    "K1_NEAR": (
        "x (K1(x) - log(x / 2) I1(x)), x <= 2; t = x^2 / 2 - 1",
        at(lambda x: x * (besselk(1, x) - log(x / 2) * besseli(1, x)), square, 2),
    ),
    "K1_FAR": (
        "sqrt(x) exp(x) K1(x), x >= 2; t = 4 / x - 1",
        at(lambda x: sqrt(x) * exp(x) * besselk(1, x), to_infinity, 2),
    ),
    "J0_NEAR": ("J0(x), x <= 8; t = x^2 / 32 - 1", at(lambda x: besselj(0, x), square, 8)),
    "J1_NEAR": ("J1(x) / x, x <= 8; t = x^2 / 32 - 1", at(lambda x: besselj(1, x) / x, square, 8)),
    "Y0_NEAR": (
        "Y0(x) - 2 / pi log(x) J0(x), x <= 8; t = x^2 / 32 - 1",
        at(lambda x: bessely(0, x) - 2 / pi * log(x) * besselj(0, x), square, 8),
    ),
    "Y1_NEAR": (
        "(Y1(x) - 2 / pi (log(x) J1(x) - 1 / x)) / x, x <= 8; t = x^2 / 32 - 1",
        at(lambda x: (bessely(1, x) - 2 / pi * (log(x) * besselj(1, x) - 1 / x)) / x, square, 8),
    ),
    "P0": ("P of order 0, x >= 8; t = 2 (8 / x)^2 - 1", modulus(0, "p")),
    "Q0": ("Q of order 0 times x / 8, x >= 8; t = 2 (8 / x)^2 - 1", modulus(0, "q")),
    "P1": ("P of order 1, x >= 8; t = 2 (8 / x)^2 - 1", modulus(1, "p")),
    "Q1": ("Q of order 1 times x / 8, x >= 8; t = 2 (8 / x)^2 - 1", modulus(1, "q")),
    "AIRY": ("Ai(x), -5 <= x <= 2; t = (2 x + 3) / 7", at(airyai, linear, -5, 2)),
    "AIRY_DECAY": (
        "2 sqrt(pi) x^(1/4) exp(u) Ai(x), x >= 2; u = 2/3 x^(3/2), t = 2 (2/3 2^(3/2)) / u - 1",
        airy_decay,
    ),
    "AIRY_COS": (
        "the factor of cos(u - pi / 4) in sqrt(pi) x^(1/4) Ai(-x), x >= 5; u = 2/3 x^(3/2), "
        "t = 2 (2/3 5^(3/2) / u)^2 - 1",
        airy_oscillation("f"),
    ),
    "AIRY_SIN": ("the factor of sin(u - pi / 4), times u / (2/3 5^(3/2)); x, u, t as above", airy_oscillation("g")),
}  # fmt: skip


def page() -> str:
    parts = [HEAD]
    for name, (meaning, function) in SERIES.items():
        numbers = [repr(float(c)) for c in series(function)]
        parts.append(f"# {meaning}\n{name} = (\n" + "".join(_rows(numbers)) + ")  # fmt: skip\n")
    return "".join(parts)


def _rows(numbers: list[str]) -> list[str]:
    rows, row = [], "   "
    for number in numbers:
        if len(row) + len(number) + 2 > 118:
            rows.append(row + "\n")
            row = "   "
        row += f" {number},"
    return [*rows, row + "\n"]


if __name__ == "__main__":
    PAGE.write_text(page())
