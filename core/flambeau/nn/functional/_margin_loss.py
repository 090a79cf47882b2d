"""Losses that keep distances or scores apart by a margin: checks of the shapes, PyTorch's older arguments."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.nn.functional._reduction import reduction_of
from flambeau.ops.call import TENSORS
from flambeau.ops.loss import reduce as reduce_loss
from flambeau.tensor import Tensor


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``input`` where the target is 1, ``max(0, margin - input)`` where it is -1, reduced."""
    reduction = reduction_of(size_average, reduce, reduction)
    return TENSORS.hinge_embedding_loss(input, target, margin, reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``max(0, -target (input1 - input2) + margin)``, the target 1 or -1, reduced.

    Raises:
        RuntimeError: when the tensors have different numbers of dimensions.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            "margin_ranking_loss: All input tensors should have same dimension but got sizes: input1: "
            f"{list(input1.shape)}, input2: {list(input2.shape)}, target: {list(target.shape)}"
        )
    return TENSORS.margin_ranking_loss(input1, input2, target, margin, reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``1 - cos(input1, input2)`` where the target is 1, ``max(0, cos - margin)`` where it is -1, reduced.

    Shape: inputs (N, D) with a target (N,), or (D,) with ().

    Raises:
        RuntimeError: for other shapes.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if target.ndim not in (0, 1) or input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1:
        raise RuntimeError(
            f"cosine_embedding_loss: a {target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but "
            "found "
            f"inputs with sizes {list(input1.shape)} and {list(input2.shape)}"
        )
    return TENSORS.cosine_embedding_loss(input1, input2, target, margin, reduction)


def _check_triplet(op: str, anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> None:
    if margin <= 0:
        raise ValueError(f"{op}: margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            f"{op}: The anchor, positive, and negative tensors are expected to have the same number of dimensions, but "
            f"got: anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``max(d(anchor, positive) - d(anchor, negative) + margin, 0)``, d the :func:`pairwise_distance`, reduced.

    Args:
        swap: use ``d(positive, negative)`` where it is smaller than ``d(anchor, negative)``.

    Raises:
        ValueError: unless ``margin`` is positive.
        RuntimeError: when the tensors have different numbers of dimensions.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    _check_triplet("triplet_margin_loss", anchor, positive, negative, margin)
    return TENSORS.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """:func:`triplet_margin_loss` with any distance, :func:`pairwise_distance` when left out."""
    _check_triplet("triplet_margin_with_distance_loss", anchor, positive, negative, margin)
    distance = TENSORS.pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = TENSORS.minimum(far, distance(positive, negative))
    return reduce_loss(TENSORS, (near - far + margin).clamp(min=0), reduction)
