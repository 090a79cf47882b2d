"""The norm of many tensors together, and scaling them to one: what :mod:`flambeau.nn.utils` clips gradients with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.dtypes import float32, promote_types
from flambeau.ops.declare import composite

if TYPE_CHECKING:
    from collections.abc import Sequence

Tensor = Any
Number = Any


@composite(differentiable=False, public=())
def total_norm(xp: Any, tensors: Sequence[Tensor], ord: Number = 2) -> Tensor:
    """Return the norm of several tensors: the norm of the vector of their norms, 0-dim.

    Args:
        tensors: at least one, of any shapes and floating-point or complex dtypes.
        ord: as for :func:`flambeau.linalg.vector_norm`.

    Returns:
        Tensor: of the widest of the real dtypes, at least float32.
    """
    norms = []
    kind = float32
    for tensor in tensors:
        own = xp.dtype_of(tensor)
        if own.itemsize < 4:  # squares of half precision overflow
            tensor = xp.to_dtype(tensor, float32)
        else:
            kind = promote_types(kind, own.to_real())
        norms.append(xp.linalg_vector_norm(tensor, ord, tuple(range(len(tensor.shape))), False))
    return xp.linalg_vector_norm(xp.stack([xp.to_dtype(norm, kind) for norm in norms], 0), ord, (0,), False)


@composite(differentiable=False, public=())
def clip_to_norm(xp: Any, tensors: Sequence[Tensor], norm: Tensor, max_norm: Number) -> None:
    """Multiply tensors in place by ``max_norm / (norm + 1e-6)`` where that is below 1, or NaN.

    Args:
        tensors: of any shapes and floating-point or complex dtypes.
        norm: 0-dim, of a real dtype: the tensors' norm.
        max_norm: the norm not to be exceeded.
    """
    factor = xp.clamp(xp.div(xp.full_like(norm, max_norm), xp.add(norm, 1e-6)), None, 1.0)
    for tensor in tensors:
        xp.mul_(tensor, xp.to_dtype(factor, xp.dtype_of(tensor).to_real()))
