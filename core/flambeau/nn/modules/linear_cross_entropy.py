"""The cross-entropy of a linear layer's scores as a module."""

from __future__ import annotations

import math
from typing import Any

from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn.functional._linear_cross_entropy import LinearCrossEntropyOptions
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.loss import _WeightedLoss

__all__ = ["LinearCrossEntropyLoss", "LinearCrossEntropyOptions"]


class LinearCrossEntropyLoss(_WeightedLoss):
    """``cross_entropy(linear(input), target)``, with the linear layer a part of the loss.

    Args:
        in_features: the number of features of the input.
        num_classes: the number of classes, C.
        out_features: further dimensions of scores and target.
        bias: whether the linear layer has one.
        reduction, weight, label_smoothing: as in :class:`CrossEntropyLoss`.
        ignore_index: a class index that does not count, -100 when left out.
        options: go through the batch in pieces, see :class:`LinearCrossEntropyOptions`.

    Shape: input (N, in_features) or (in_features,); target as in :func:`flambeau.nn.functional.linear_cross_entropy`.

    Raises:
        RuntimeError: for a weight that is not (C,), or a label smoothing outside [0, 1].
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
    ) -> None:
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}")
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(f"expected label_smoothing to be in range [0, 1], got {label_smoothing}")
        super().__init__(weight=weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.linear = Linear(in_features, num_classes * math.prod(out_features), bias, device, dtype)
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        shape = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape((*shape, self.linear.in_features)),
            target,
            linear_bias=None if bias is None else bias.reshape(shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, out_features={self.out_features}, "
            f"bias={self.linear.bias is not None}, reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )
