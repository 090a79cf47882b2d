"""The adaptive softmax: many classes, of which few are frequent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import flambeau
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn.modules.container import ModuleList, Sequential
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of targets among many classes, the more frequent first (Grave et al., 2017).

    The head decides between the classes below the first cutoff and the clusters between the cutoffs; a cluster decides
    between its classes from fewer features: the c-th (from 1) from ``in_features / div_value^c``. Only the clusters
    that occur in the batch are computed.

    Args:
        in_features: the number of features of the input.
        n_classes: the number of classes, sorted by falling frequency.
        cutoffs: where the clusters begin, increasing, within 1 to ``n_classes - 1``.
        div_value: by how much each cluster has fewer features than the one before.
        head_bias: whether the head has a bias.

    Shape: input (N, in_features) with a target (N,), or (in_features,) with ().

    Attributes:
        head: the linear map to the first classes and the clusters.
        tail: for each cluster the two linear maps, one after the other.

    Raises:
        ValueError: when the cutoffs do not fit.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            cutoffs != sorted(set(cutoffs))
            or cutoffs[0] <= 0
            or cutoffs[-1] > n_classes - 1
            or any(int(cutoff) != cutoff for cutoff in cutoffs)
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, each between "
                f"1 and n_classes - 1 = {n_classes - 1}, got {cutoffs}"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        made = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **made)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            features = int(in_features // (div_value ** (i + 1)))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, features, bias=False, **made), Linear(features, size, bias=False, **made)
                )
            )

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.head.reset_parameters()
        for layer in self.tail.modules():
            if isinstance(layer, Linear):
                layer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """The log-probability of each target, (N,), and minus their mean, the loss.

        Raises:
            RuntimeError: when the shapes do not fit, or a target is no class.
        """
        if target_.dim() not in (0, 1) or input_.dim() != target_.dim() + 1:
            raise RuntimeError(
                "AdaptiveLogSoftmaxWithLoss: a target of () goes with an input (in_features,), one of (N,) with "
                f"(N, in_features); got {list(target_.shape)} and {list(input_.shape)}"
            )
        if target_.dim() and input_.size(0) != target_.size(0):
            raise RuntimeError(
                f"AdaptiveLogSoftmaxWithLoss: Input and target should have the same size in the batch dimension, got "
                f"{input_.size(0)} and {target_.size(0)}"
            )
        batched = target_.dim() > 0
        input = input_ if batched else input_.unsqueeze(0)
        target = target_ if batched else target_.unsqueeze(0)
        if target.numel() and not (int(target.min()) >= 0 and int(target.max()) < self.n_classes):
            raise RuntimeError(
                f"AdaptiveLogSoftmaxWithLoss: Target values should be in [0, {self.n_classes - 1}], but values in "
                f"range [{int(target.min())}, {int(target.max())}] were found."
            )
        head = F.log_softmax(self.head(input), dim=1)
        # Which entry of the head a target is decided by: itself, or its cluster.
        entry = target
        rest: Tensor | None = None
        for i in range(self.n_clusters):
            inside = (target >= self.cutoffs[i]) & (target < self.cutoffs[i + 1])
            rows = inside.nonzero().squeeze(1)
            if not rows.numel():
                continue
            entry = entry.masked_fill(inside, self.shortlist_size + i)
            within = F.log_softmax(self.tail[i](input.index_select(0, rows)), dim=1)
            own = within.gather(1, (target[rows] - self.cutoffs[i]).unsqueeze(1)).squeeze(1)
            start = own.new_zeros(target.shape) if rest is None else rest
            rest = start.index_add(0, rows, own)
        output = head.gather(1, entry.unsqueeze(1)).squeeze(1)
        if rest is not None:
            output = output + rest
        loss = (-output).mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def _all_classes(self, input: Tensor, head: Tensor) -> Tensor:
        """The log-probabilities of all classes, from the head's scores."""
        decided = F.log_softmax(head, dim=1)
        parts = [decided[:, : self.shortlist_size]]
        for i, tail in enumerate(self.tail):
            within = F.log_softmax(tail(input), dim=1)
            parts.append(within + decided[:, self.shortlist_size + i].unsqueeze(1))
        return flambeau.cat(parts, 1)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes: (N, in_features) -> (N, n_classes)."""
        return self._all_classes(input, self.head(input))

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row: ``log_prob(input).argmax(1)``, clusters only where they are needed."""
        head = self.head(input)
        output = head.argmax(1)
        rare = (output >= self.shortlist_size).nonzero().squeeze(1)
        if rare.numel():
            found = self._all_classes(input[rare], head[rare]).argmax(1)
            output = output.index_copy(0, rare, found)
        return output
