"""Samples of losses and distances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import Maker, Sample, case, sample

REDUCTIONS = ("mean", "sum", "none")


def reduced(values: Any, reduction: str) -> Any:
    return values.mean() if reduction == "mean" else values.sum() if reduction == "sum" else values


def pairwise(
    name: str, loss: Callable[..., Any], *variants: dict[str, Any],
    inputs: Callable[[Maker], tuple[Any, ...]] = lambda make: (make(3, 4), make(3, 4)), **options: Any,
) -> None:  # fmt: skip
    """A loss that is computed element by element (or row by row) and then reduced."""

    def reference(*tensors: Any, reduction: str = "mean", **arguments: Any) -> Any:
        return reduced(loss(*tensors, **arguments), reduction)

    @case(name, reference, **options)
    def _(make: Maker) -> Iterator[Sample]:
        for reduction in REDUCTIONS:
            yield sample(*inputs(make), reduction=reduction)
        for arguments in variants:
            yield sample(*inputs(make), **arguments)


def _smooth_l1(x: Any, y: Any, beta: float = 1.0) -> Any:
    d = np.abs(x - y)
    return np.where(d < beta, 0.5 * d * d / beta, d - 0.5 * beta) if beta else d


def _huber(x: Any, y: Any, delta: float = 1.0) -> Any:
    d = np.abs(x - y)
    return np.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta))


def _log_sigmoid(x: Any) -> Any:
    return -np.logaddexp(0, -x)


def _with_logits(x: Any, y: Any, pos_weight: Any = None) -> Any:
    return -(y * _log_sigmoid(x) * (1 if pos_weight is None else pos_weight) + (1 - y) * _log_sigmoid(-x))


def _signs(make: Maker, *shape: int) -> Any:
    return make.values(np.sign(np.arange(np.prod(shape)) % 3 - 0.5).reshape(shape))


pairwise("mse_loss", lambda x, y: (x - y) ** 2)
pairwise("l1_loss", lambda x, y: np.abs(x - y))
pairwise("smooth_l1_loss", _smooth_l1, {"beta": 0.4})
pairwise("huber_loss", _huber, {"delta": 0.4})
pairwise(
    "binary_cross_entropy",
    lambda x, y: -(y * np.log(x) + (1 - y) * np.log(1 - x)),
    inputs=lambda make: (make(3, 4, low=0.1, high=0.9), make(3, 4, low=0.1, high=0.9)),
)


@case(
    "binary_cross_entropy_with_logits",
    lambda x, y, w=None, reduction="mean": reduced(_with_logits(x, y, w), reduction),
    constant=("pos_weight",),
)
def _(make: Maker) -> Iterator[Sample]:
    for reduction in REDUCTIONS:
        yield sample(make(3, 4), make(3, 4, low=0.1, high=0.9), None, reduction)
    yield sample(make(3, 4), make(3, 4, low=0.1, high=0.9), make(4, low=0.5, high=2), "sum")


pairwise(
    "soft_margin_loss",
    lambda x, y: np.log1p(np.exp(-y * x)),
    inputs=lambda make: (make(3, 4), _signs(make, 3, 4)),
    constant=("target",),
)


def _multilabel_soft_margin(x: Any, y: Any, weight: Any = None) -> Any:
    loss = -(y * _log_sigmoid(x) + (1 - y) * _log_sigmoid(-x))
    return (loss if weight is None else loss * weight).mean(-1)


pairwise(
    "multilabel_soft_margin_loss", _multilabel_soft_margin,
    inputs=lambda make: (make(3, 4), make.values(np.eye(3, 4))), constant=("target",),
)  # fmt: skip
pairwise(
    "kl_div",
    lambda x, y, log_target=False: np.exp(y) * (y - x) if log_target else y * (np.log(y) - x),
    {"log_target": True},
    inputs=lambda make: (make(3, 4), make(3, 4, low=0.1, high=0.9)),
)  # fmt: skip
pairwise(
    "poisson_nll_loss",
    lambda x, y, log_input=True, eps=1e-8: np.exp(x) - y * x if log_input else x - y * np.log(x + eps),
    {"log_input": False},
    inputs=lambda make: (make(3, 4, low=0.2, high=2), make(3, 4, low=0, high=3)), constant=("target",),
)  # fmt: skip
pairwise(
    "gaussian_nll_loss", lambda x, y, var: 0.5 * (np.log(var) + (x - y) ** 2 / var),
    inputs=lambda make: (make(3, 4), make(3, 4), make(3, 4, low=0.5, high=2)),
)  # fmt: skip
pairwise(
    "hinge_embedding_loss", lambda x, y, margin=1.0: np.where(y == 1, x, np.maximum(0, margin - x)), {"margin": 0.5},
    inputs=lambda make: (make(3, 4), _signs(make, 3, 4)), constant=("target",),
)  # fmt: skip
pairwise(
    "margin_ranking_loss", lambda a, b, y, margin=0.0: np.maximum(0, -y * (a - b) + margin), {"margin": 0.3},
    inputs=lambda make: (make(6), make(6), _signs(make, 6)), constant=("target",),
)  # fmt: skip


def _cosine(a: Any, b: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    return (a * b).sum(dim) / (
        np.maximum(np.linalg.norm(a, axis=dim), eps) * np.maximum(np.linalg.norm(b, axis=dim), eps)
    )


@case("cosine_similarity", _cosine)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3, 4))
    yield sample(make(2, 3, 4), make(2, 3, 4), -1)


pairwise(
    "cosine_embedding_loss",
    lambda a, b, y, margin=0.0: np.where(y == 1, 1 - _cosine(a, b), np.maximum(0, _cosine(a, b) - margin)),
    {"margin": 0.1},
    inputs=lambda make: (make(4, 3), make(4, 3), _signs(make, 4)), constant=("target",), loose=1e3,
)  # fmt: skip


def _distance(a: Any, b: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Any:
    return np.linalg.vector_norm(a - b + eps, ord=p, axis=-1, keepdims=keepdim)


@case("pairwise_distance", _distance)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3, 4))
    yield sample(make(3, 4), make(3, 4), 1.0, keepdim=True)


pairwise(
    "triplet_margin_loss",
    lambda a, p, n, margin=1.0: np.maximum(0, _distance(a, p) - _distance(a, n) + margin),
    {"margin": 0.5},
    inputs=lambda make: (make(4, 3), make(4, 3), make(4, 3)),
)  # fmt: skip


@case("normalize", lambda x, p=2.0, dim=1, eps=1e-12: x / np.maximum(np.linalg.norm(x, p, dim, True), eps))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4))
    yield sample(make(3, 4), 1.0, 0)


# -- classes -----------------------------------------------------------------------------------------------------------


def log_softmax(x: Any, dim: int = 1) -> Any:
    shifted = x - x.max(dim, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(dim, keepdims=True))


def _nll(x: Any, target: Any, weight: Any = None, reduction: str = "mean", ignore_index: int | None = -100) -> Any:
    return _classes(-x, target, weight, reduction, ignore_index)


def _classes(
    losses: Any, target: Any, weight: Any, reduction: str, ignore_index: int | None, smoothing: float = 0.0
) -> Any:
    """The loss of (N, C, ...) at targets (N, ...), the mean weighted."""
    count = losses.shape[1]
    kept = target != ignore_index
    at = np.where(kept, target, 0)
    weight = np.ones(count) if weight is None else weight
    chosen = np.take_along_axis(losses, at[:, None], 1)[:, 0] * weight[at] * kept
    smooth = (losses * weight.reshape([-1 if d == 1 else 1 for d in range(losses.ndim)])).sum(1) * kept
    total = (weight[at] * kept).sum()
    values = (1 - smoothing) * chosen + smoothing / count * smooth
    return values.sum() / total if reduction == "mean" else reduced(values, reduction)


def _cross_entropy(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean", ignore_index: int | None = -100,
    label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    return _classes(-log_softmax(x), target, weight, reduction, ignore_index, label_smoothing), log_softmax(x)


for _name, _reference in (("nll_loss", _nll), ("cross_entropy", _cross_entropy)):

    @case(_name, _reference, constant=("weight",))
    def _(make: Maker, name: str = _name) -> Iterator[Sample]:
        for reduction in REDUCTIONS:
            yield sample(make(4, 3), make.indices([0, 2, 1, 2]), None, reduction)
        yield sample(make(4, 3), make.indices([0, 2, 1, 2]), make(3, low=0.5, high=2))
        yield sample(make(4, 3), make.indices([0, 2, 1, 2]), ignore_index=2)
        yield sample(make(2, 3, 2), make.indices([[0, 2], [1, 1]]))
        if name == "cross_entropy":
            yield sample(make(4, 3), make.indices([0, 2, 1, 2]), label_smoothing=0.2)
            yield sample(make(4, 3), make.indices([0, 2, 1, 2]), make(3, low=0.5, high=2), label_smoothing=0.2)


@case("cross_entropy_backward", None, gradients=False)
def _(make: Maker) -> Iterator[Sample]:
    target = make.indices([0, 2, 1, 2])
    yield sample(make(), make(4, 3, low=-3, high=-1), target, None, "mean", -100, 0.0)
    yield sample(make(), make(4, 3, low=-3, high=-1), target, make(3, low=0.5, high=2), "sum", 2, 0.1)
    yield sample(make(4), make(4, 3, low=-3, high=-1), target, None, "none", None, 0.0)


def _with_probabilities(
    x: Any, target: Any, weight: Any = None, reduction: str = "mean", smoothing: float = 0.0
) -> Any:
    target = target * (1 - smoothing) + smoothing / x.shape[1]
    values = -(log_softmax(x) * target * (1 if weight is None else weight)).sum(1)
    return values.sum() / len(x) if reduction == "mean" else reduced(values, reduction)


@case("cross_entropy_with_probabilities", _with_probabilities, constant=("weight",))
def _(make: Maker) -> Iterator[Sample]:
    for reduction in REDUCTIONS:
        yield sample(make(4, 3), make(4, 3, low=0.1, high=0.5), None, reduction)
    yield sample(make(4, 3), make(4, 3, low=0.1, high=0.5), make(3, low=0.5, high=2), "sum", 0.1)


def _multi_margin(
    x: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Any:
    own = x[np.arange(len(x)), target]
    gaps = np.maximum(0, margin - own[:, None] + x) ** p * (1 if weight is None else weight[target][:, None])
    gaps[np.arange(len(x)), target] = 0
    return reduced(gaps.sum(1) / x.shape[1], reduction)


@case("multi_margin_loss", _multi_margin, constant=("weight",))
def _(make: Maker) -> Iterator[Sample]:
    for reduction in REDUCTIONS:
        yield sample(make(4, 3), make.indices([0, 2, 1, 2]), reduction=reduction)
    yield sample(make(4, 3), make.indices([0, 2, 1, 2]), 2, 0.7, make(3, low=0.5, high=2))


def _multilabel_margin(x: Any, target: Any, reduction: str = "mean") -> Any:
    losses = np.zeros(len(x))
    for row in range(len(x)):
        labels = target[row][: np.argmax(np.append(target[row], -1) == -1)].tolist()
        others = [c for c in range(x.shape[1]) if c not in labels]
        losses[row] = sum(max(0, 1 - (x[row, label] - x[row, c])) for label in labels for c in others) / x.shape[1]
    return reduced(losses, reduction)


@case("multilabel_margin_loss", _multilabel_margin)
def _(make: Maker) -> Iterator[Sample]:
    for reduction in REDUCTIONS:
        yield sample(make(2, 4), make.indices([[3, 0, -1, 1], [1, -1, -1, -1]]), reduction)
