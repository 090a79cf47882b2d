"""Forward-mode differentiation by dual tensors (``torch.autograd.forward_ad``).

    with dual_level():
        dual = make_dual(x, tangent)
        y, dy = unpack_dual(function(dual))

A dual tensor is recorded on the tape like any other that requires a gradient. Its tangent moves forward when
:func:`unpack_dual` asks: as the gradient of a gradient, since the VJP is linear in its cotangent and the VJP of that is
the JVP. So recording has to be on between the two, and each question costs two backward passes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from flambeau.autograd.engine import grad
from flambeau.autograd.grad_mode import enable_grad
from flambeau.autograd.node import Leaf
from flambeau.dtypes import FLOATING
from flambeau.func.derivatives import reaches_out
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class _Level(threading.local):
    """The duals made in the level that this thread is in, with their tangents; None outside of one."""

    duals: list[tuple[Tensor, Tensor]] | None = None


_level = _Level()


class UnpackedDualTensor(NamedTuple):
    """What :func:`unpack_dual` returns."""

    primal: Tensor
    tangent: Tensor | None


def enter_dual_level() -> int:
    """Begin a level; return its number, 0.

    Raises:
        RuntimeError: inside of another level.
    """
    if _level.duals is not None:
        raise RuntimeError("enter_dual_level: Nested forward mode AD is not supported at the moment")
    _level.duals = []
    return 0


def in_dual_level() -> bool:
    """Whether this thread is in a level."""
    return _level.duals is not None


def exit_dual_level(*, level: int | None = None) -> None:
    """End the level: tangents are forgotten.

    Raises:
        RuntimeError: when there is no such level.
    """
    if _level.duals is None or level not in (None, 0):
        raise RuntimeError(
            f"exit_dual_level: Trying to exit a forward AD level that was not the last one that was entered ({level})"
        )
    _level.duals = None


@contextmanager
def dual_level() -> Iterator[int]:
    """A level as a context manager."""
    level = enter_dual_level()
    try:
        yield level
    finally:
        exit_dual_level(level=level)


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """Return ``tensor`` with a tangent, of its shape and dtype, for the level.

    Raises:
        RuntimeError: outside of a level, or when the tangent does not fit.
        ValueError: for a tensor or tangent that is neither floating-point nor complex.
    """
    if _level.duals is None:
        raise RuntimeError(
            "make_dual: Trying to create a dual Tensor for forward AD but no level exists, make sure to use "
            "dual_level() or enter_dual_level() first"
        )
    for what, given in (("primal", tensor), ("tangent", tangent)):
        if given.dtype.category < FLOATING:
            raise ValueError(f"make_dual: Expected {what} to be floating point or complex, but got: {given.dtype}")
    if tangent.shape != tensor.shape:
        raise RuntimeError(
            f"make_dual: the tangent has the shape {list(tangent.shape)} and the primal {list(tensor.shape)}"
        )
    with enable_grad():
        recorded = tensor.requires_grad
        dual = TENSORS.view(tensor, tuple(tensor.shape)) if recorded else tensor.detach().requires_grad_()
    _level.duals.append((dual, tangent))
    return dual


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """Return ``(primal, tangent)`` of a tensor computed from dual ones; the tangent is None where it was not.

    Both are on the tape, where something that requires a gradient took part apart from the duals.
    """
    duals = _level.duals
    if not duals or not tensor.requires_grad:
        return UnpackedDualTensor(tensor, None)
    inputs = [dual for dual, _ in duals]
    with enable_grad():
        cotangent = TENSORS.full_like(tensor.detach(), 0).requires_grad_()
        pulled = grad(tensor, inputs, cotangent, True, True, allow_unused=True)
        if all(gradient is None for gradient in pulled):
            return UnpackedDualTensor(tensor, None)
        moving = [
            (gradient, tangent)
            for gradient, (_, tangent) in zip(pulled, duals, strict=True)
            if gradient is not None and gradient.requires_grad
        ]
        outer = reaches_out([tensor], inputs, [tangent for _, tangent in duals]) or any(
            type(dual._node) is not Leaf for dual in inputs
        )
        tangent: Tensor | None = TENSORS.full_like(tensor.detach(), 0)
        if moving:
            outputs, tangents = zip(*moving, strict=True)
            (tangent,) = grad(outputs, cotangent, tangents, True, outer)
    return UnpackedDualTensor(tensor if outer else tensor.detach(), tangent)
