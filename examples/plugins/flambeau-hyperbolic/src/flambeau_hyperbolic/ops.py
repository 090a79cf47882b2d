"""Ops of hyperbolic geometry, in the Poincaré ball of curvature ``-curvature``: the vectors shorter than
``1 / sqrt(curvature)``.

Trees fit into it as they don't into flat space, so that embeddings of hierarchies need few dimensions (Nickel and
Kiela, "Poincaré embeddings for learning hierarchical representations", 2017). The formulas are those of Ganea,
Bécigneul and Hofmann, "Hyperbolic neural networks" (2018). Vectors are along the last dimension.

A body computes with nothing but ``xp.OP(...)``, so that it runs on every device, on tensors and on shapes alone.
"""

from __future__ import annotations

from typing import Any

from flambeau.ops.declare import Op, composite

Tensor = Any
Number = Any
Xp = Any


def _dot(xp: Xp, a: Any, b: Any) -> Any:
    """The inner product over the last dimension, which is kept."""
    product = xp.mul(a, b)
    return xp.sum(product, (len(product.shape) - 1,), True)


def _dropped(xp: Xp, x: Any) -> Any:
    """``x`` without its last dimension, of size 1."""
    return xp.reshape(x, tuple(x.shape[:-1]))


def _check(op: Op) -> None:
    """Have calls refused whose vectors have no dimension or whose curvature is not positive."""

    def check(*values: Any) -> None:
        for name, value in zip(op.names, values, strict=True):
            if hasattr(value, "shape") and not len(value.shape):
                raise RuntimeError(
                    f"{op.name}: expected {name} to hold vectors, of shape (..., D), but it has no dimension"
                )
        if not values[-1] > 0:
            raise RuntimeError(f"{op.name}: expected a positive curvature, got {values[-1]}")

    op.check(check)


# -- two functions that are smooth at 0, though their formulas divide by it --------------------------------------------

#: Below this a slope is taken from the first terms of its series: there the quotient loses digits, and further up the
#: series does.
_SMALL = 0.02


def _of_root(xp: Xp, function: Any, input: Any) -> Any:
    """``function(sqrt(input)) / sqrt(input)``, and 1 at 0."""
    zero = xp.eq(input, 0.0)
    root = xp.sqrt(xp.where(zero, 1.0, input))
    return xp.where(zero, 1.0, xp.div(function(root), root))


def _slope(xp: Xp, q: Any, series: tuple[float, ...], exact: Any) -> Any:
    """The series where ``q`` is small, otherwise ``exact(q)``, which is not asked for small ones."""
    near = xp.lt(q, _SMALL)
    total: Any = series[-1]
    for coefficient in series[-2::-1]:
        total = xp.add(xp.mul(q, total), coefficient)
    return xp.where(near, total, exact(xp.where(near, 0.5, q)))


@composite(dtype="float", pointwise=True, public=())
def tanhc(xp: Xp, input: Tensor) -> Tensor:
    """Return ``tanh(sqrt(q)) / sqrt(q)`` for each element q >= 0, and 1 for 0."""
    return _of_root(xp, xp.tanh, input)


@composite(dtype="float", pointwise=True, public=())
def atanhc(xp: Xp, input: Tensor) -> Tensor:
    """Return ``artanh(sqrt(q)) / sqrt(q)`` for each element 0 <= q < 1, and 1 for 0."""
    return _of_root(xp, xp.atanh, input)


def _tanhc_slope(xp: Xp, q: Any) -> Any:
    """``(1 - tanh(r)^2 - tanh(r) / r) / (2 q)`` with r = sqrt(q)."""

    def exact(q: Any) -> Any:
        root = xp.sqrt(q)
        tanh = xp.tanh(root)
        return xp.div(xp.sub(xp.sub(1.0, xp.square(tanh)), xp.div(tanh, root)), xp.mul(q, 2.0))

    return _slope(xp, q, (-1 / 3, 4 / 15, -17 / 105, 248 / 2835), exact)


def _atanhc_slope(xp: Xp, q: Any) -> Any:
    """``(1 / (1 - q) - artanh(r) / r) / (2 q)`` with r = sqrt(q)."""

    def exact(q: Any) -> Any:
        root = xp.sqrt(q)
        return xp.div(xp.sub(xp.reciprocal(xp.sub(1.0, q)), xp.div(xp.atanh(root), root)), xp.mul(q, 2.0))

    return _slope(xp, q, (1 / 3, 2 / 5, 3 / 7, 4 / 9), exact)


tanhc.vjp(input=lambda xp, g, input: xp.mul(g, _tanhc_slope(xp, input)))
atanhc.vjp(input=lambda xp, g, input: xp.mul(g, _atanhc_slope(xp, input)))


# -- the ball ----------------------------------------------------------------------------------------------------------


@composite(dtype="float", public=())
def poincare_exp(xp: Xp, input: Tensor, curvature: Number = 1.0) -> Tensor:
    """Return the point of the ball that lies in the direction and at half the distance ``|input|`` from its center.

    The exponential map at the center, ``tanh(sqrt(c) |v|) v / (sqrt(c) |v|)``. Shape: (..., D) -> (..., D).
    """
    return xp.mul(xp.tanhc(xp.mul(_dot(xp, input, input), curvature)), input)


@composite(dtype="float", public=())
def poincare_log(xp: Xp, input: Tensor, curvature: Number = 1.0) -> Tensor:
    """Return the vector that :func:`poincare_exp` sends to a point of the ball; NaN for what lies outside.

    ``artanh(sqrt(c) |x|) x / (sqrt(c) |x|)``. Shape: (..., D) -> (..., D).
    """
    return xp.mul(xp.atanhc(xp.mul(_dot(xp, input, input), curvature)), input)


@composite(dtype="float", public=())
def mobius_add(xp: Xp, input: Tensor, other: Tensor, curvature: Number = 1.0) -> Tensor:
    """Return the sum of points of the ball, which takes the place of the vectors' sum there.

        ((1 + 2 c <x, y> + c |y|^2) x + (1 - c |x|^2) y) / (1 + 2 c <x, y> + c^2 |x|^2 |y|^2)

    Shape: (..., D) and (..., D), broadcast -> (..., D).
    """
    mixed = xp.add(xp.mul(_dot(xp, input, other), 2.0 * curvature), 1.0)
    of_input, of_other = (xp.mul(_dot(xp, x, x), curvature) for x in (input, other))
    total = xp.add(xp.mul(xp.add(mixed, of_other), input), xp.mul(xp.sub(1.0, of_input), other))
    return xp.div(total, xp.add(mixed, xp.mul(of_input, of_other)))


@composite(dtype="float", public=())
def poincare_distance(xp: Xp, input: Tensor, other: Tensor, curvature: Number = 1.0) -> Tensor:
    """Return the distances of points of the ball.

        2 / sqrt(c) arsinh(sqrt(c) |x - y| / sqrt((1 - c |x|^2) (1 - c |y|^2)))

    which, unlike the form with arcosh, keeps its digits where points are close. The gradient of the distance of a point
    from itself is 0. Shape: (..., D) and (..., D), broadcast -> (...).
    """
    difference = xp.sub(input, other)
    spread = xp.div(xp.mul(_dot(xp, difference, difference), curvature), _room(xp, input, other, curvature))
    return _dropped(xp, xp.mul(xp.asinh(xp.sqrt(spread)), 2.0 * curvature**-0.5))


def _room(xp: Xp, input: Any, other: Any, curvature: float) -> Any:
    """``(1 - c |x|^2) (1 - c |y|^2)``"""
    one, two = (xp.sub(1.0, xp.mul(_dot(xp, x, x), curvature)) for x in (input, other))
    return xp.mul(one, two)


@poincare_distance.joint_vjp
def _(xp: Xp, g: Any, needs: tuple[bool, ...], input: Any, other: Any, curvature: float) -> tuple[Any, ...]:
    # With s = sqrt(c) |x - y| / sqrt(room): d' = 2 / sqrt(c) s' / sqrt(1 + s^2), and
    # s' = sqrt(c) (x - y) / (|x - y| sqrt(room)) + s c x / (1 - c |x|^2) for x, with the first sign turned for y.
    difference = xp.sub(input, other)
    square = _dot(xp, difference, difference)
    same = xp.eq(square, 0.0)
    length = xp.sqrt(xp.where(same, 1.0, square))
    room = _room(xp, input, other, curvature)
    # sqrt(1 + s^2) sqrt(room), without dividing by it first
    width = xp.sqrt(xp.add(room, xp.mul(xp.where(same, 0.0, square), curvature)))
    share = xp.reshape(g, (*g.shape, 1))
    share = xp.where(same, 0.0, xp.div(xp.mul(share, 2.0), width))
    direction = xp.mul(xp.div(share, length), difference)
    along = xp.mul(xp.mul(share, length), curvature)

    def of(x: Any, sign: float) -> Any:
        margin = xp.sub(1.0, xp.mul(_dot(xp, x, x), curvature))
        cotangent = xp.add(xp.mul(direction, sign), xp.mul(xp.div(along, margin), x))
        return xp.sum_to_size(cotangent, tuple(x.shape))

    return of(input, 1.0) if needs[0] else None, of(other, -1.0) if needs[1] else None


for _op in (poincare_exp, poincare_log, mobius_add, poincare_distance):
    _check(_op)
