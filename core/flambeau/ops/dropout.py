"""Dropout: the arithmetic. Where the random mask comes from is :mod:`flambeau.nn.functional`'s affair."""

from __future__ import annotations

from typing import Any

from flambeau.ops.arithmetic import cast
from flambeau.ops.declare import composite

Tensor = Any
Xp = Any


@composite(public=())
def apply_dropout(xp: Xp, input: Tensor, uniform: Tensor, p: float) -> Tensor:
    """Return ``input / (1 - p)`` where ``uniform >= p``, elsewhere 0 (Srivastava et al., 2014).

    Args:
        uniform: numbers uniform in [0, 1) of a shape that broadcasts to the input's.
    """
    if p == 1:
        return cast(xp, xp.mul(input, 0), input)
    return xp.mul(input, _kept(xp, uniform, p, input))


def _kept(xp: Xp, uniform: Any, p: float, like: Any) -> Any:
    """``1 / (1 - p)`` where an element is kept, elsewhere 0."""
    return cast(xp, xp.mul(xp.to_dtype(xp.ge(uniform, p), xp.dtype_of(like)), 1 / (1 - p)), like)


@apply_dropout.joint_vjp
def _(xp: Xp, g: Any, needs: tuple[bool, ...], uniform: Any, p: float) -> tuple[Any, None]:
    return xp.apply_dropout(g, uniform, p), None


# What SELU gives for minus infinity: -scale * alpha.
_SATURATED = -1.7580993408473766


@composite(public=())
def apply_alpha_dropout(xp: Xp, input: Tensor, uniform: Tensor, p: float) -> Tensor:
    """Return ``a * x + b`` with the x where ``uniform < p`` replaced by SELU's lower limit.

    a and b keep mean 0 and variance 1 (Klambauer et al., 2017).

    Args:
        uniform: numbers uniform in [0, 1) of a shape that broadcasts to the input's.
    """
    if p == 1:
        return cast(xp, xp.mul(input, 0), input)
    scale = ((1 - p) * (1 + p * _SATURATED**2)) ** -0.5
    kept = xp.ge(uniform, p)
    shift = -scale * p * _SATURATED
    return cast(xp, xp.add(xp.mul(xp.where(kept, input, _SATURATED), scale), shift), input)


@composite(public=())
def apply_rrelu(xp: Xp, input: Tensor, uniform: Tensor, lower: float, upper: float) -> Tensor:
    """Return ``input`` where it is not negative, elsewhere times a slope, uniform in ``[lower, upper)``."""
    slope = xp.add(xp.mul(uniform, upper - lower), lower)
    return cast(xp, xp.where(xp.lt(input, 0), xp.mul(input, slope), input), input)
