"""Flatten and Unflatten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.nn.modules.module import Module

if TYPE_CHECKING:
    from flambeau import Tensor


class Flatten(Module):
    """Make one dimension of the dimensions ``start_dim`` to ``end_dim``; by default all but the first.

    Shape: ``(N, *)`` -> ``(N, product of *)``.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Make several dimensions, of the sizes ``unflattened_size``, of the dimension ``dim``."""

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        super().__init__()
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(
                f"unflattened_size must be a tuple of ints, but found type {type(unflattened_size).__name__}"
            )
        for i, size in enumerate(unflattened_size):
            if not isinstance(size, int):
                found = type(size).__name__
                raise TypeError(f"unflattened_size must be tuple of ints, but found element of type {found} at pos {i}")
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
