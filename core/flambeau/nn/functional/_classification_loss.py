"""Losses of classification: checks of the targets, label smoothing, PyTorch's older arguments."""

from __future__ import annotations

from typing import Any

import numpy

from flambeau.dtypes import FLOATING, INTEGER, int64
from flambeau.nn.functional._reduction import reduction_of
from flambeau.nn.functional._values import examined_where_near
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

_cross_entropy = TENSORS.cross_entropy  # looked up once: it is called in the inner loops of small models


def _class_targets(
    op: str, input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int
) -> tuple[Tensor, int | None]:
    """Class indices as int64, checked; and ``ignore_index``, None where it is known not to occur."""
    shape, own = input._array.shape, target._array.shape
    if not shape:
        raise RuntimeError(f"{op}: input tensor should be 1D or more, (C,) or (N, C, ...), got a 0-dim tensor")
    if len(shape) == 1:
        classes = shape[0]
        if own not in ((), (1,)):
            raise ValueError(f"{op}: an input of shape {list(shape)} takes a target of shape [], got {list(own)}")
        if own:
            target = target.reshape(())
    else:
        classes = shape[1]
        if own != (shape[0], *shape[2:]):
            if own and own[0] != shape[0]:
                raise ValueError(f"{op}: Expected input batch_size ({shape[0]}) to match target batch_size ({own[0]}).")
            raise RuntimeError(
                f"{op}: Expected target size {[shape[0], *shape[2:]]} for an input of size {list(shape)}, got "
                f"{list(own)}"
            )
    if target._dtype is not int64:
        if target._dtype.category != INTEGER:
            raise RuntimeError(f"{op}: expected class indices of type int64 as target, got {target._dtype.name}")
        target = target.to(int64)
    if weight is not None and tuple(weight._array.shape) != (classes,):
        raise RuntimeError(
            f"{op}: weight tensor should be defined either for all {classes} classes or no classes but got weight "
            "tensor of "
            f"shape: {list(weight._array.shape)}"
        )
    none_ignored = examined_where_near(target, _check_classes, op, classes, ignore_index)
    return target, None if none_ignored else ignore_index


def _check_classes(values: Any, op: str, classes: int, ignore_index: int) -> bool:
    """Whether no target is ``ignore_index``, which is no class."""
    if not values.size or int(values.view(numpy.uint64).max()) < classes:
        return not 0 <= ignore_index < classes
    wrong = values[((values < 0) | (values >= classes)) & (values != ignore_index)]
    if wrong.size:
        raise IndexError(
            f"{op}: Target {int(wrong.flat[0])} is out of bounds: there are {classes} classes, 0 to {classes - 1}, and "
            f"ignore_index is {ignore_index}"
        )
    return False


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return ``-log softmax(input)[target]``, reduced.

    Args:
        input: scores, (N, C, ...) or (C,).
        target: class indices, (N, ...) or (); or probabilities of the input's shape.
        weight: a weight a class, (C,). A mean is divided by the weights' sum, with probabilities by the number of
            samples.
        ignore_index: an index that does not count.
        label_smoothing: the share of the target's probability that is spread over all classes.

    Raises:
        IndexError: for an index that is no class.
        ValueError, RuntimeError: when shapes or dtypes do not fit.
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"cross_entropy: label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if target._dtype.category >= FLOATING:
        if ignore_index >= 0:
            raise RuntimeError(
                f"cross_entropy: ignore_index is not supported for floating point target, got ignore_index="
                f"{ignore_index} with a target of type {target._dtype.name}"
            )
        if target.shape != input.shape:
            if input.ndim > 1 and target.ndim and target.shape[0] != input.shape[0]:
                raise ValueError(
                    f"cross_entropy: Expected input batch_size ({input.shape[0]}) to match target batch_size "
                    f"({target.shape[0]})."
                )
            raise RuntimeError(
                f"cross_entropy: a target of type {target._dtype.name} holds class probabilities and must have the "
                "shape of "
                f"the input, {list(input.shape)}, got {list(target.shape)}; class indices are int64"
            )
        return TENSORS.cross_entropy_with_probabilities(input, target, weight, reduction, label_smoothing)
    target, ignored = _class_targets("cross_entropy", input, target, weight, ignore_index)
    return _cross_entropy(input, target, weight, reduction, ignored, label_smoothing)[0]


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``-weight[target] * input[target]`` for log-probabilities ``input``, reduced; as :func:`cross_entropy`."""
    reduction = reduction_of(size_average, reduce, reduction)
    target, ignored = _class_targets("nll_loss", input, target, weight, ignore_index)
    return TENSORS.nll_loss(input, target, weight, reduction, ignored)


def _labels(
    op: str, input: Tensor, target: Tensor, shape: tuple[int, ...], least: int, reduction: str
) -> tuple[Tensor, Tensor]:
    """Scores (a single one as a vector), and int64 labels of ``shape`` from ``least`` to the number of classes."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{op}: {reduction} is not a valid value for reduction; it is 'none', 'mean' or 'sum'")
    if target._dtype.category != INTEGER or tuple(target.shape) != shape:
        raise RuntimeError(
            f"{op}: expected an int64 target of size {list(shape)} for an input of size {list(input.shape)}, got "
            f"{target._dtype.name} of size {list(target.shape)}"
        )
    target = target.to(int64)
    if not input.ndim:
        input, target = input.reshape(1), target.reshape((1,) if shape == input.shape and least < 0 else ())
    classes = input.shape[-1]
    examined_where_near(target, _check_labels, op, classes, least)
    return input, target


def _check_labels(values: Any, op: str, classes: int, least: int) -> None:
    if values.size and (values.min() < least or values.max() >= classes):
        raise RuntimeError(f"{op}: target is out of range: from {values.min()} to {values.max()}, of {classes} classes")


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``sum_i max(0, margin - input[target] + input[i])^p / C`` over the classes i but the target, reduced.

    Shape: (N, C) with a target (N,), or (C,) with ().

    Raises:
        ValueError: when ``p`` is neither 1 nor 2, or the weight is not 1-D.
        RuntimeError: for a target of the wrong shape, or out of range.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError(f"multi_margin_loss: only p == 1 and p == 2 supported, got {p}")
    if weight is not None and weight.ndim != 1:
        raise ValueError(f"multi_margin_loss: weight must be one-dimensional, got {weight.ndim} dimensions")
    if input.ndim == 1 and target.shape == (1,):
        target = target.reshape(())
    input, target = _labels("multi_margin_loss", input, target, tuple(input.shape[:-1]), 0, reduction)
    return TENSORS.multi_margin_loss(input, target, p, margin, weight, reduction)


def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return ``sum_ij max(0, 1 - (input[target[j]] - input[i])) / C`` over the targets j and all other i, reduced.

    Shape: (N, C) or (C,), the target too: classes, of which those after the first -1 do not count.
    """
    reduction = reduction_of(size_average, reduce, reduction)
    scores, target = _labels("multilabel_margin_loss", input, target, tuple(input.shape), -1, reduction)
    return TENSORS.multilabel_margin_loss(scores, target, reduction)
