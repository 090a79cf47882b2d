"""Orthogonal polynomials, by their three-term recurrences.

The degree is a number or a tensor. The recurrence runs up to the largest degree, and each element keeps the polynomial
of its own; so a call with a tensor of degrees waits for the device to tell the largest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.dtypes import float32
from flambeau.ops.declare import Op, composite
from flambeau.ops.spec import host_values

Tensor = Any
Number = Any
Xp = Any

#: k -> (a, b, c) with ``p[k+1] = (a x + b) p[k] - c p[k-1]``.
Recurrence = Callable[[int], tuple[float, float, float]]


def _chebyshev(k: int) -> tuple[float, float, float]:
    return 2.0, 0.0, 1.0


def _shifted(k: int) -> tuple[float, float, float]:
    return 4.0, -2.0, 1.0


def _declare(name: str, formula: str, first: tuple[float, float], recurrence: Recurrence) -> Op:
    """Declare a family whose polynomial of degree 0 is 1 and that of degree 1 ``first[0] x + first[1]``."""

    def body(xp: Xp, input: Tensor | Number, n: Tensor | Number, most: int = -1) -> Tensor:
        return _of_degree(xp, input, n, most, first, recurrence)

    body.__name__ = body.__qualname__ = f"special_{name}"
    body.__module__ = __name__
    body.__doc__ = (
        f"Return the polynomial {formula} at ``input``, of the degree ``n`` (without its fraction); 0 where that is "
        "negative."
    )
    op: Op = composite(dtype="float", pointwise=True, public=())(body)
    op.canonical(_with_largest_degree)
    return op


def _with_largest_degree(input: Any, n: Any, most: int) -> tuple[Any, Any, int]:
    if most >= 0:
        return input, n, most
    if not hasattr(n, "_array"):
        return input, n, max(int(n), 0)
    if n.is_meta or not n.numel():
        return input, n, 0
    largest = host_values(None, n).max().item()  # inside of vmap, of all examples
    return input, n, max(int(largest), 0) if largest == largest else 0


def _of_degree(xp: Xp, x: Any, n: Any, most: int, first: tuple[float, float], recurrence: Recurrence) -> Any:
    like = x if hasattr(x, "shape") else n
    kind = xp.dtype_of(like)
    if kind.itemsize == 2:
        x, n = (xp.to_dtype(a, float32) if hasattr(a, "shape") else a for a in (x, n))
        return xp.to_dtype(_of_degree(xp, x, n, most, first, recurrence), kind)
    if not hasattr(x, "shape"):
        x = xp.full((), x, kind, xp.device_of(like))
    one = xp.add(xp.mul(x, 0.0), 1.0)
    several = hasattr(n, "shape")
    n = xp.trunc(n) if several else int(n)
    if not several:
        if n <= 0:
            return xp.mul(one, 1.0 if n == 0 else 0.0)
        most = n
    before, current = one, xp.add(xp.mul(x, first[0]), first[1])
    # Every element has the shape of the result from here on.
    result = xp.where(xp.lt(n, 0.0), 0.0, xp.where(xp.eq(n, 0.0), one, current)) if several else current
    for k in range(1, most):
        a, b, c = recurrence(k)
        factor = xp.mul(x, a)
        factor = xp.add(factor, b) if b else factor
        before, current = current, xp.sub(xp.mul(factor, current), xp.mul(before, c))
        result = xp.where(xp.eq(n, float(k + 1)), current, result) if several else current
    return result


_declare("chebyshev_polynomial_t", "T of Chebyshev's first kind, cos(n t) at cos(t)", (1.0, 0.0), _chebyshev)
_declare(
    "chebyshev_polynomial_u", "U of Chebyshev's second kind, sin((n + 1) t) / sin(t) at cos(t)", (2.0, 0.0), _chebyshev
)
_declare(
    "chebyshev_polynomial_v",
    "V of Chebyshev's third kind, cos((n + 1/2) t) / cos(t / 2) at cos(t)",
    (2.0, -1.0),
    _chebyshev,
)
_declare(
    "chebyshev_polynomial_w",
    "W of Chebyshev's fourth kind, sin((n + 1/2) t) / sin(t / 2) at cos(t)",
    (2.0, 1.0),
    _chebyshev,
)
_declare("shifted_chebyshev_polynomial_t", "T of Chebyshev's first kind shifted to [0, 1]", (2.0, -1.0), _shifted)
_declare("shifted_chebyshev_polynomial_u", "U of Chebyshev's second kind shifted to [0, 1]", (4.0, -2.0), _shifted)
_declare("shifted_chebyshev_polynomial_v", "V of Chebyshev's third kind shifted to [0, 1]", (4.0, -3.0), _shifted)
_declare("shifted_chebyshev_polynomial_w", "W of Chebyshev's fourth kind shifted to [0, 1]", (4.0, -1.0), _shifted)
_declare("hermite_polynomial_h", "H of Hermite as physicists define it", (2.0, 0.0), lambda k: (2.0, 0.0, 2.0 * k))
_declare(
    "hermite_polynomial_he", "He of Hermite as statisticians define it", (1.0, 0.0), lambda k: (1.0, 0.0, float(k))
)
_declare(
    "laguerre_polynomial_l",
    "L of Laguerre",
    (-1.0, 1.0),
    lambda k: (-1 / (k + 1), (2 * k + 1) / (k + 1), k / (k + 1)),
)
_declare("legendre_polynomial_p", "P of Legendre", (1.0, 0.0), lambda k: ((2 * k + 1) / (k + 1), 0.0, k / (k + 1)))
