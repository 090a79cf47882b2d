"""The cross-entropy of a linear layer's scores, in pieces of the batch where the scores of all would be too many."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

from flambeau.dtypes import dtype as dtype_class
from flambeau.dtypes import float32, int64
from flambeau.nn.functional._classification_loss import cross_entropy
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

_OP = "linear_cross_entropy"


@dataclasses.dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How :func:`linear_cross_entropy` goes through the batch in pieces (``torch.nn.LinearCrossEntropyOptions``).

    The scores of a piece are computed again in the backward pass rather than kept, so that there is never more than
    one piece of them: what a head with a large vocabulary needs.

    Attributes:
        allow_retain_graph: accepted; the graph may always be kept.
        batch_chunk_size: rows of a piece.
        chunking_method: where ``batch_chunk_size`` is not given, how it is found: ``"aspect_ratio"`` takes as many rows
            (a power of 2) as make the scores of a piece about as large as the whole input; ``"aspect_ratio:N"`` an N-th
            of them; ``"auto"`` is ``"aspect_ratio:2"``; None takes all rows.
        acc_policy: ``"auto"``, ``"accurate"``, ``"balanced"`` or ``"compact"``; accepted, all are accurate here.
        acc_dtype: the dtype of scores and losses; float32 for 16-bit inputs, otherwise the input's, when left out.

    Raises:
        ValueError: for an unknown choice.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: dtype_class | None = None

    def __post_init__(self) -> None:
        policies = ("auto", "accurate", "balanced", "compact")
        if self.acc_policy not in policies:
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}; it is one of {', '.join(policies)}")
        if self.chunking_method not in (None, "auto"):
            name, colon, divisor = str(self.chunking_method).partition(":")
            if name != "aspect_ratio" or (colon and not (divisor.isdigit() and int(divisor))):
                raise ValueError(
                    f"invalid chunking_method: {self.chunking_method!r}; it is 'auto', 'aspect_ratio', "
                    "'aspect_ratio:N' or None"
                )
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size!r}")
        if self.acc_dtype is not None and not self.acc_dtype.is_floating_point:
            raise ValueError(f"acc_dtype must be a floating-point dtype or None, got {self.acc_dtype!r}")

    def rows_of(self, batch: int, in_features: int, classes: int) -> int:
        """How many rows a piece has.

        Raises:
            ValueError: when ``chunking_method`` is given beside ``batch_chunk_size`` and says another number.
        """
        method, given = self.chunking_method, self.batch_chunk_size
        if method is None or (method == "auto" and given is not None):
            return max(min(given or batch, batch), 1)
        divisor = 2 if method == "auto" else int(method.partition(":")[2] or 1)
        least = math.ceil(batch / math.ceil(classes / in_features))
        found = max(min((1 << max(least - 1, 0).bit_length()) // divisor, batch), 1)
        if given is not None and given != found:
            raise ValueError(
                f"{_OP}: batch_chunk_size (={given}) and chunking_method ({method!r}) give different sizes of a piece "
                f"({given} and {found}); pass only one"
            )
        return found


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:
    """Return :func:`cross_entropy` of ``linear(input, linear_weight, linear_bias)``.

    Args:
        input: (N, in_features) or (in_features,).
        linear_weight: (C, *, in_features); with further dimensions ``*`` the target has them too, and the input an N.
        target: class indices, (N, *) or (); or probabilities, (N, C, *) or (C,).
        linear_bias: (C, *).
        weight, reduction, label_smoothing: as in :func:`cross_entropy`.
        ignore_index: a class index that does not count, -100 when left out.
        options: go through the batch in pieces; for class indices, without smoothing and further dimensions.

    Raises:
        RuntimeError: when shapes do not fit, or ``ignore_index`` is given with probabilities.
    """
    _check_shapes(input, linear_weight, linear_bias)
    classes, further = linear_weight.shape[0], tuple(linear_weight.shape[1:-1])
    shape = (*input.shape[:-1], classes, *further)
    if tuple(target.shape) == shape:
        if ignore_index is not None:
            raise RuntimeError(f"{_OP}: ignore_index cannot be specified when target contains probabilities")
        if not target.is_floating_point():
            raise RuntimeError(
                f"{_OP}: Expected floating point type for target with class probabilities, got {target.dtype}"
            )
    ignored = -100 if ignore_index is None else ignore_index
    if options is not None:
        if not further and label_smoothing == 0 and target.dtype is int64 and reduction in ("none", "mean", "sum"):
            return _in_pieces(input, linear_weight, target, linear_bias, weight, reduction, ignored, options)
        warnings.warn(
            f"{_OP}: options are ignored: the batch is taken in pieces for a reduction of 'mean', 'sum' or 'none', "
            f"label_smoothing 0, int64 targets and a 2D linear_weight only; got reduction={reduction!r}, "
            f"label_smoothing={label_smoothing}, {target.dtype} and {linear_weight.ndim}D",
            stacklevel=2,
        )
    flat_weight = linear_weight.reshape(-1, linear_weight.shape[-1])
    flat_bias = None if linear_bias is None else linear_bias.reshape(-1)
    scores = TENSORS.linear(input, flat_weight, flat_bias).reshape(shape)
    return cross_entropy(
        scores, target, weight, ignore_index=ignored, reduction=reduction, label_smoothing=label_smoothing
    )


def _check_shapes(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if input.ndim not in (1, 2):
        raise RuntimeError(f"{_OP}: expected input with dimensionality 1 or 2, got {input.ndim}")
    if weight.ndim < 2:
        raise RuntimeError(f"{_OP}: expected linear_weight with dimensionality at least 2, got {weight.ndim}")
    if input.shape[-1] != weight.shape[-1]:
        raise RuntimeError(
            f"{_OP}: expected equal input and linear_weight last dimensions (in_features), got {input.shape[-1]} and "
            f"{weight.shape[-1]}, respectively"
        )
    if bias is not None and bias.shape != weight.shape[:-1]:
        raise RuntimeError(f"{_OP}: expected linear_bias shape {tuple(weight.shape[:-1])}, got {tuple(bias.shape)}")
    if weight.ndim > 2 and input.ndim == 1:
        raise RuntimeError(
            f"{_OP}: K-dimensional loss defined by linear_weight shape {tuple(weight.shape)} requires batched input, "
            f"(N, {weight.shape[-1]}), got unbatched input with shape {tuple(input.shape)}"
        )


def _in_pieces(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    reduction: str,
    ignored: int,
    options: LinearCrossEntropyOptions,
) -> Tensor:
    from flambeau.utils.checkpoint import checkpoint

    if input.ndim == 1:
        input, target, alone = input.unsqueeze(0), target.unsqueeze(0), True
    else:
        alone = False
    batch, features = input.shape
    if tuple(target.shape) != (batch,):
        raise ValueError(f"{_OP}: Expected input batch_size ({batch}) to match target batch_size ({target.shape[0]}).")
    computed = options.acc_dtype or (float32 if input.dtype.itemsize < 4 else input.dtype)

    def losses(rows: Tensor, labels: Tensor, matrix: Tensor, bias: Any) -> Tensor:
        scores = TENSORS.linear(rows.to(computed), matrix.to(computed), None if bias is None else bias.to(computed))
        factors = None if weight is None else weight.to(computed)
        return cross_entropy(scores, labels, factors, ignore_index=ignored, reduction="none")

    size = options.rows_of(batch, features, linear_weight.shape[0])
    parts = [
        checkpoint(
            losses, input[start : start + size], target[start : start + size], linear_weight, linear_bias,
            use_reentrant=False, preserve_rng_state=False,
        )
        for start in range(0, batch, size)
    ]  # fmt: skip
    loss = TENSORS.cat(parts) if parts else input.sum(1)
    if reduction == "none":
        loss = loss.squeeze(0) if alone else loss
    else:
        loss = loss.sum()
        if reduction == "mean":
            counts = target != ignored
            kept = counts.to(computed) if weight is None else weight.to(computed)[target.where(counts, 0)] * counts
            loss = loss / kept.sum()
    return loss.to(input.dtype)
