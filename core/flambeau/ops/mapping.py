"""The ways into and out of a batch that :func:`flambeau.func.vmap` maps over.

Inside of ``vmap`` a raw array is a single example to whoever computes with it, and holds the whole batch; the device
that it is on is a *level* (:mod:`flambeau.levels`). These ops move between levels, and are recorded like any
other, which is how gradients cross: what every example shares gets the sum of all examples' gradients. They have their
results on other devices than their inputs, so :mod:`~flambeau.levels` calls them, not the general path.
"""

from __future__ import annotations

from typing import Any

from flambeau.ops.declare import composite

Tensor = Any
Xp = Any


@composite(public=())
def enter_level(xp: Xp, input: Tensor, dim: int, level: Any) -> Tensor:
    """Return ``input`` on ``level``, dimension ``dim`` being the batch."""
    return level.entered(input, dim)


@composite(public=())
def leave_level(xp: Xp, input: Tensor, dim: int, level: Any) -> Tensor:
    """Return ``input`` off ``level``, with its batch as dimension ``dim``."""
    return level.left(input, dim)


@composite(public=())
def add_levels(xp: Xp, input: Tensor, levels: Any) -> Tensor:
    """Return ``input`` on more ``levels``, the same for every example there."""
    return levels[0].added(input, levels)


@composite(public=())
def sum_levels(xp: Xp, input: Tensor, levels: Any) -> Tensor:
    """Return the sum of ``input`` over the examples of ``levels``, off them."""
    return levels[0].summed(input, levels)


enter_level.vjp(input=lambda xp, g, dim, level: xp.leave_level(g, dim, level))
leave_level.vjp(input=lambda xp, g, dim, level: xp.enter_level(g, dim, level))
add_levels.vjp(input=lambda xp, g, levels: xp.sum_levels(g, levels))
sum_levels.vjp(input=lambda xp, g, levels: xp.add_levels(g, levels))

#: The ops whose result lives on another device than their input.
CROSSING = frozenset(("enter_level", "leave_level", "add_levels", "sum_levels"))
