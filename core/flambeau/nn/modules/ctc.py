"""Connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Sequence

from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module


class CTCLoss(Module):
    """Minus the logarithm of the probability that the input says the target (Graves et al., 2006).

    Args:
        blank: the class that stands for no label.
        reduction: ``"mean"`` divides each loss by the target's length and averages over the batch; ``"sum"``;
            ``"none"``.
        zero_infinity: count a loss of infinity, which an input too short for its target has, and its gradient as 0.

    Shape: log-probabilities ``(T, N, C)`` or ``(T, C)``, targets ``(N, S)`` or ``(sum of the lengths,)``, lengths of
    inputs and targets ``(N,)``.
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__()
        self.reduction = reduction
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor | Sequence[int],
        target_lengths: Tensor | Sequence[int],
    ) -> Tensor:
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
