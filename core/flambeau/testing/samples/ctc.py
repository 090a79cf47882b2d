"""Samples of connectionist temporal classification."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import Maker, Sample, case, sample


def _nll(log_probs: Any, targets: Any, steps: Any, lengths: Any, blank: int) -> Any:
    """By trying all paths."""
    classes = log_probs.shape[2]
    total = np.zeros(len(targets))
    for n, (target, count, length) in enumerate(zip(targets, steps, lengths, strict=True)):
        for path in itertools.product(range(classes), repeat=count):
            said = [label for label, _ in itertools.groupby(path) if label != blank]
            if said == list(target[:length]):
                total[n] += np.exp(sum(log_probs[t, n, label] for t, label in enumerate(path)))
    return -np.log(total)


@case("ctc_nll", _nll)
def _(make: Maker) -> Iterator[Sample]:
    labels = make.indices([[1, 2], [2, 2], [1, 0]])
    yield sample(make(4, 3, 3), labels, make.indices([4, 3, 2]), make.indices([2, 2, 1]), 0)
    yield sample(make(4, 2, 3), make.indices([[0, 1], [1, 1]]), make.indices([3, 4]), make.indices([2, 0]), 2)
    # An input that is too short: no path, no gradient.
    yield sample(make(3, 1, 3), make.indices([[1, 1]]), make.indices([2]), make.indices([2]), 0, smooth=False)
