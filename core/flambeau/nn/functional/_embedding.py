"""Looking up rows of a table, and classes as unit vectors."""

from __future__ import annotations

from typing import Any

import numpy

from flambeau.autograd.grad_mode import no_grad
from flambeau.dtypes import INTEGER, int64
from flambeau.nn.functional._values import examined_where_near
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

_embedding = TENSORS.embedding


def _row_indices(op: str, input: Tensor, rows: int) -> Tensor:
    """Indices as int64, checked against the number of rows."""
    if input._dtype is not int64:
        if input._dtype.category != INTEGER:
            raise RuntimeError(
                f"{op}: Expected tensor for argument #1 'indices' to have one of the following scalar types: int64, "
                "int32; "
                f"but got {input._dtype.name} instead"
            )
        input = input.to(int64)
    examined_where_near(input, _check_indices, op, rows)
    return input


def _check_indices(values: Any, op: str, rows: int) -> None:
    # Negative numbers are huge as unsigned ones: one pass finds both kinds of wrong index.
    if values.size and int(values.view(numpy.uint64).max()) >= rows:
        wrong = int(values[(values < 0) | (values >= rows)].flat[0])
        raise IndexError(f"{op}: index out of range in self: index {wrong}, but the weight has {rows} rows")


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return the rows of ``weight`` at the indices ``input``: (*) and (rows, D) -> (*, D).

    Args:
        padding_idx: a row that takes no gradient.
        max_norm: scale each row that is looked up down to this norm, in place, where its ``norm_type``-norm is larger.
        scale_grad_by_freq: divide each row's gradient by the number of times that it was looked up.
        sparse: accepted; gradients are dense.

    Raises:
        IndexError: for an index outside the rows.
        RuntimeError: when ``input`` is not of integers.
        AssertionError: for a ``padding_idx`` outside the rows.
    """
    if len(weight._array.shape) != 2:
        raise RuntimeError(f"embedding: 'weight' must be 2-D, got shape {list(weight.shape)}")
    rows = weight._array.shape[0]
    input = _row_indices("embedding", input, rows)
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise AssertionError(f"embedding: Padding_idx must be within num_embeddings, got {padding_idx} of {rows}")
        padding_idx %= rows
    if max_norm is not None:
        _renormalize(weight, input, max_norm, norm_type)
    if padding_idx is None and not scale_grad_by_freq:
        return _embedding(weight, input)
    place = -1 if padding_idx is None else padding_idx
    return TENSORS.embedding_trained(weight, input, place, scale_grad_by_freq)


def embedding_renorm_(input: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Scale the rows of ``input`` at ``indices`` down to ``max_norm``, in place, where their norm is larger."""
    _renormalize(input, _row_indices("embedding_renorm_", indices, input.shape[0]), max_norm, norm_type)
    return input


def _renormalize(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows at ``indices`` down to ``max_norm``, in place."""
    with no_grad():
        index = indices.reshape(-1)
        rows = _embedding(weight.detach(), index)
        norms = TENSORS.pairwise_distance(rows, TENSORS.full_like(rows, 0), norm_type, 0.0, True)
        scale = TENSORS.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)
        weight.copy_(TENSORS.index_put(weight.detach(), [index], rows * scale, False))


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Return the sum, mean or maximum of the rows of ``weight`` of each bag of indices.

    Args:
        input: (bags, n) indices, or (n,) with ``offsets``.
        offsets: (bags,), where each bag begins; with ``include_last_offset`` also where the last one ends.
        mode: ``"sum"``, ``"mean"`` or ``"max"``.
        per_sample_weights: a factor an index, with ``"sum"`` only.
        padding_idx: a row that does not count.

    Returns:
        (bags, D); 0 for an empty bag.

    Raises:
        ValueError: for shapes or a mode that do not fit.
        IndexError: for an index outside the rows.
    """
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError("embedding_bag: if input is 2D, then offsets has to be None, as input is treated as bags")
        num_bags, size = input.shape
        bags = TENSORS.floor_divide(TENSORS.new_arange(input, 0, num_bags * size), max(size, 1))
    elif input.ndim == 1 and offsets is not None:
        if offsets.ndim != 1:
            raise ValueError(f"embedding_bag: offsets has to be a 1D Tensor, got {offsets.ndim}D")
        starts = offsets.to(int64)
        if include_last_offset:
            starts = starts[:-1]
        num_bags = starts.shape[0]
        bags = TENSORS.searchsorted(starts, TENSORS.new_arange(input, 0, input.shape[0]), True) - 1
    else:
        raise ValueError(f"embedding_bag: input has to be 1D with offsets or 2D without, got {input.ndim}D Tensor")
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"embedding_bag: mode has to be one of sum, mean or max, got {mode!r}")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            f"embedding_bag: per_sample_weights is only supported for mode='sum', got mode={mode!r}"
        )
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({list(per_sample_weights.shape)}) is not None, then it must have "
            "the "
            f"same shape as the input ({list(input.shape)})"
        )
    rows = weight.shape[0]
    index = _row_indices("embedding_bag", input, rows).reshape(-1)
    place = -1 if padding_idx is None else padding_idx % rows
    if max_norm is not None:
        _renormalize(weight, index, max_norm, norm_type)
    if mode == "max":
        return TENSORS.embedding_bag_max(weight, index, bags, num_bags, place)
    factors = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    total = TENSORS.embedding_bag_sum(weight, index, bags, num_bags, factors, place)
    if mode == "sum":
        return total
    members = TENSORS.full_like(index, 1) if place < 0 else (index != place).to(int64)
    counts = TENSORS.index_put(TENSORS.new_full(index, (num_bags,), 0), [bags], members, True)
    return total / counts.clamp(min=1).reshape(num_bags, 1).to(weight._dtype)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return int64 unit vectors: 1 at the index along a new last dimension.

    Args:
        tensor: int64 class indices.
        num_classes: the size of that dimension; one more than the largest index when it is -1.

    Raises:
        RuntimeError: when ``tensor`` is not int64, or an index is negative or not below ``num_classes``.
    """
    if tensor._dtype is not int64:
        raise RuntimeError(f"one_hot is only applicable to index tensor of type int64, got {tensor._dtype.name}")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("one_hot: Can not infer total number of classes from empty tensor.")
    elif not tensor.is_meta:
        lowest, highest = int(tensor.min()), int(tensor.max())
        if lowest < 0:
            raise RuntimeError(f"one_hot: Class values must be non-negative, got {lowest}")
        if num_classes == -1:
            num_classes = highest + 1
        elif highest >= num_classes:
            raise RuntimeError(
                f"one_hot: Class values must be smaller than num_classes, got {highest} with num_classes={num_classes}"
            )
    return TENSORS.one_hot_of(tensor, num_classes)
