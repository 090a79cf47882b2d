"""Connectionist temporal classification: against the sum over all paths."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn import functional as F

RNG = np.random.default_rng(8)


def log_probabilities(*shape: int) -> np.ndarray:
    x = RNG.normal(size=shape)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def negative_log_likelihood(log_probs: np.ndarray, target: list[int], blank: int) -> float:
    """Of one sample, by trying all paths."""
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if [label for label, _ in itertools.groupby(path) if label != blank] == target:
            total += math.exp(sum(log_probs[t, label] for t, label in enumerate(path)))
    return -math.log(total) if total else math.inf


LOG_PROBS = log_probabilities(5, 4, 3)
TARGETS = [[1, 2], [2, 2], [], [1]]
STEPS = [5, 4, 3, 1]
EXPECTED = np.array([negative_log_likelihood(LOG_PROBS[:s, n], TARGETS[n], 0) for n, s in enumerate(STEPS)])
LENGTHS = [len(target) for target in TARGETS]


def targets(form: str) -> Any:
    if form == "padded":
        return flambeau.tensor([[*target, 0, 0][:2] for target in TARGETS])
    return flambeau.tensor([label for target in TARGETS for label in target])


@pytest.mark.parametrize("form", ["padded", "joined"])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("dtype", [flambeau.float64, flambeau.float32])
def test_loss_is_that_of_all_paths(form: str, reduction: str, dtype: Any) -> None:
    expected: Any = {
        "none": EXPECTED,
        "sum": EXPECTED.sum(),
        "mean": (EXPECTED / np.maximum(LENGTHS, 1)).mean(),
    }[reduction]
    x = flambeau.from_numpy(LOG_PROBS.copy()).to(dtype)
    for lengths in (LENGTHS, flambeau.tensor(LENGTHS)):
        loss = nn.CTCLoss(reduction=reduction)(x, targets(form), STEPS, lengths)
        assert loss.dtype == dtype
        np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-5 if dtype == flambeau.float32 else 1e-12)


def test_another_blank_and_one_sample() -> None:
    x = log_probabilities(5, 3)
    loss = F.ctc_loss(
        flambeau.from_numpy(x),
        flambeau.tensor([0, 1]),
        flambeau.tensor(5),
        flambeau.tensor(2),
        blank=2,
        reduction="none",
    )
    assert loss.shape == ()
    np.testing.assert_allclose(loss.item(), negative_log_likelihood(x, [0, 1], 2))


def test_gradients() -> None:
    x = flambeau.from_numpy(LOG_PROBS.copy()).requires_grad_()

    def loss(x: Any) -> Any:
        return F.ctc_loss(x, targets("padded"), STEPS, LENGTHS, reduction="none")

    assert gradcheck(loss, (x,))
    assert gradgradcheck(loss, (x,))


def test_gradient_behind_a_log_softmax() -> None:
    """``softmax(x)`` minus how likely each label is at each time, given the target."""
    x = RNG.normal(size=(4, 1, 3))
    leaf = flambeau.from_numpy(x.copy()).requires_grad_()
    F.ctc_loss(leaf.log_softmax(2), flambeau.tensor([[1, 2]]), [4], [2], reduction="sum").backward()
    log_probs = x[:, 0] - np.log(np.exp(x[:, 0]).sum(1, keepdims=True))
    likely = np.zeros((4, 3))
    for path in itertools.product(range(3), repeat=4):
        if [label for label, _ in itertools.groupby(path) if label] == [1, 2]:
            for t, label in enumerate(path):
                likely[t, label] += math.exp(sum(log_probs[s, other] for s, other in enumerate(path)))
    np.testing.assert_allclose(leaf.grad.numpy()[:, 0], np.exp(log_probs) - likely / likely[0].sum(), atol=1e-12)


def test_long_sequences_do_not_underflow() -> None:
    x = flambeau.full((2000, 1, 20), -math.log(20.0))
    loss = F.ctc_loss(x, flambeau.arange(1, 20).reshape(1, -1), [2000], [19], reduction="sum")
    # All paths are equally likely; of those that say a target of n different labels there are C(T + n, 2 n).
    expected = 2000 * math.log(20) - math.log(math.comb(2019, 38))
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_an_input_that_is_too_short() -> None:
    x = flambeau.from_numpy(LOG_PROBS.copy()).requires_grad_()
    labels = flambeau.tensor([[1, 1]] * 4)
    arguments = (x, labels, [2, 3, 0, 5], [2, 2, 1, 2])
    assert flambeau.isinf(F.ctc_loss(*arguments, reduction="none")).tolist() == [True, False, True, False]
    F.ctc_loss(*arguments, reduction="sum", zero_infinity=True).backward()
    gradients = x.grad.numpy()
    assert np.isfinite(gradients).all()
    assert (gradients[:, [0, 2]] == 0).all()
    assert (gradients[:3, 1] != 0).any()


def test_half_precision_is_computed_in_single() -> None:
    x = flambeau.from_numpy(LOG_PROBS.copy()).half()
    loss = F.ctc_loss(x, targets("padded"), STEPS, LENGTHS, reduction="none")
    assert loss.dtype == flambeau.float16
    np.testing.assert_allclose(loss.numpy(), EXPECTED, rtol=1e-2)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"blank": 3}, RuntimeError, "blank must be in label range, 0 to 2, got 3"),
        (
            {"input_lengths": [6, 4, 3, 1]},
            RuntimeError,
            "input_lengths to have value at most 5, but got value 6",
        ),
        ({"input_lengths": [5]}, RuntimeError, "input_lengths must be of size batch_size, 4, got 1"),
        ({"target_lengths": [3, 2, 0, 1]}, RuntimeError, "Expected targets to have size at least 3 at dimension 1"),
        ({"reduction": "max"}, ValueError, "max is not a valid value for reduction"),
        ({"targets": flambeau.tensor([1, 2])}, RuntimeError, "Expected targets of shape (N, S) or (5,)"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {
        "log_probs": flambeau.from_numpy(LOG_PROBS.copy()),
        "targets": targets("padded"),
        "input_lengths": STEPS,
        "target_lengths": LENGTHS,
    }
    with pytest.raises(error) as raised:
        F.ctc_loss(**{**arguments, **change})
    assert message in str(raised.value)
