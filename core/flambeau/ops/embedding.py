"""Looking up rows of a table, and classes as unit vectors."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import int64
from flambeau.ops.arithmetic import cast, computed
from flambeau.ops.declare import composite

Tensor = Any
Xp = Any


@composite(public=())
def embedding(xp: Xp, weight: Tensor, indices: Tensor) -> Tensor:
    """Return the rows of ``weight`` at ``indices``.

    Shape: weight (rows, ...), indices any shape of integers -> (*indices, ...).
    """
    return xp.index(weight, [indices])


@embedding.joint_vjp
def _(xp: Xp, g: Any, needs: tuple[bool, ...], weight_spec: Any, indices: Any) -> tuple[Any, None]:
    return (xp.embedding_backward(g, indices, weight_spec.shape[0], -1) if needs[0] else None), None


@composite(public=())
def embedding_backward(xp: Xp, g: Tensor, indices: Tensor, num_weights: int, padding_idx: int) -> Tensor:
    """Return the (num_weights, ...) array with, in each row, the sum of ``g`` over the places that looked it up.

    Args:
        padding_idx: a row that stays 0; -1 for none.
    """
    lead = len(indices.shape)
    rest = tuple(g.shape[lead:])
    if padding_idx >= 0:
        counts = xp.reshape(xp.ne(indices, padding_idx), tuple(indices.shape) + (1,) * len(rest))
        g = xp.where(counts, g, 0)
    return xp.index_put(xp.new_full(g, (num_weights, *rest), 0), [indices], g, True)


embedding_backward.vjp(
    g=lambda xp, g, indices, padding_idx: _without_padding(xp, xp.embedding(g, indices), indices, padding_idx)
)


def _without_padding(xp: Xp, rows: Any, indices: Any, padding_idx: int) -> Any:
    if padding_idx < 0:
        return rows
    counts = xp.reshape(
        xp.ne(indices, padding_idx), tuple(indices.shape) + (1,) * (len(rows.shape) - len(indices.shape))
    )
    return xp.where(counts, rows, 0)


@composite(public=())
def embedding_trained(xp: Xp, weight: Tensor, indices: Tensor, padding_idx: int, scale_grad_by_freq: bool) -> Tensor:
    """Return :func:`embedding`, whose gradient is another one.

    Args:
        padding_idx: a row that takes no gradient; -1 for none.
        scale_grad_by_freq: divide each row's gradient by the number of times that it was looked up.
    """
    return xp.embedding(weight, indices)


@embedding_trained.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    weight_spec: Any,
    indices: Any,
    padding_idx: int,
    scale_grad_by_freq: bool,
) -> tuple[Any, None]:
    rows = weight_spec.shape[0]
    if scale_grad_by_freq:
        one = xp.new_full(g, tuple(indices.shape), 1)
        times = xp.index(xp.index_put(xp.new_full(g, (rows,), 0), [indices], one, True), [indices])
        g = xp.div(g, xp.reshape(times, (*indices.shape, *(1,) * (len(g.shape) - len(indices.shape)))))
    return xp.embedding_backward(g, indices, rows, padding_idx), None


@composite(public=())
def embedding_bag_sum(
    xp: Xp, weight: Tensor, indices: Tensor, bags: Tensor, num_bags: int, factors: Tensor | None, padding_idx: int
) -> Tensor:
    """Return for each bag the sum of the rows of ``weight`` at its indices, each times its factor.

    Args:
        indices, bags: (n,) int64, the row and the bag of each entry. factors: (n,) or None for 1.
        padding_idx: a row that does not count; -1 for none.
    """
    rows = computed(xp, xp.embedding(weight, indices))
    if factors is not None:
        rows = xp.mul(rows, xp.reshape(computed(xp, factors), (indices.shape[0], 1)))
    rows = _without_padding(xp, rows, indices, padding_idx)
    return cast(xp, xp.index_put(xp.new_full(rows, (num_bags, weight.shape[1]), 0), [bags], rows, True), weight)


@composite(public=())
def embedding_bag_max(xp: Xp, weight: Tensor, indices: Tensor, bags: Tensor, num_bags: int, padding_idx: int) -> Tensor:
    """Return for each bag the largest elements of the rows of ``weight`` at its indices, 0 for an empty bag."""
    count = indices.shape[0]
    if count == 0:
        return xp.new_full(weight, (num_bags, weight.shape[1]), 0)
    rows = xp.embedding(weight, indices)
    # (bags, entries): which entry belongs to which bag.
    member = xp.eq(xp.reshape(xp.new_arange(indices, 0, num_bags), (num_bags, 1)), xp.reshape(bags, (1, count)))
    if padding_idx >= 0:
        member = xp.logical_and(member, xp.ne(indices, padding_idx))
    spread = xp.where(xp.reshape(member, (num_bags, count, 1)), xp.reshape(rows, (1, *rows.shape)), -float("inf"))
    empty = xp.logical_not(xp.any(member, (1,), True))
    return xp.where(empty, 0, xp.amax(spread, (1,), False))


@composite(differentiable=False, public=())
def one_hot_of(xp: Xp, indices: Tensor, num_classes: int) -> Tensor:
    """Return int64 unit vectors: 1 at the index along a new last dimension of size ``num_classes``."""
    column = xp.reshape(indices, (*indices.shape, 1))
    return xp.to_dtype(xp.eq(column, xp.new_arange(indices, 0, num_classes)), int64)
