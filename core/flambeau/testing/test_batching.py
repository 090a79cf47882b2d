"""``vmap`` of every op against a loop over the examples: values, and gradients of each example."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

from flambeau.dtypes import FLOATING, dtype
from flambeau.func import grad, vmap
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor
from flambeau.testing.checks import call, check_close, for_gradients, mapped, on_arguments, outputs_of, over
from flambeau.testing.comparison import from_host, host
from flambeau.testing.database import Case, Sample

#: Results whose shape, or whose very computation, depends on values: they cannot be one computation for all examples.
DATA_DEPENDENT = {
    "argwhere", "bincount", "masked_scatter", "masked_select", "nonzero", "nonzero_static", "repeat_interleave",
    "segment_reduce", "unique",
    "unique_consecutive",
}  # fmt: skip


def one_dtype(case: Case, held: frozenset[str]) -> tuple[str, ...]:
    """The most precise dtype: rules move dimensions about, whatever the elements are."""
    wanted = ("float64", "float32", "complex128", "int64", "bool")
    return tuple(name for name in wanted if name in case.dtypes and name in held)[:1]


class Batch:
    """A sample as a function of some of its tensors, which come in three versions."""

    def __init__(self, case: Case, given: Sample, which: tuple[int, ...], tensors: list[Tensor]) -> None:
        self.case, self.given, self.which, self.tensors = case, given, which, tensors
        self.batches = [TENSORS.stack(_versions(tensors[i]), 0) for i in which]

    def __call__(self, *examples: Tensor) -> Any:
        own = list(self.tensors)
        for i, example in zip(self.which, examples, strict=True):
            own[i] = example
        remaining = iter(own)
        args, kwargs = on_arguments(lambda _: next(remaining), self.given)
        return [result for result in outputs_of(call(self.case, args, kwargs)) if result is not None]

    def loop(self, function: Callable[..., Any]) -> list[Any]:
        rows = [function(*[TENSORS.clone(batch[i]) for batch in self.batches]) for i in range(3)]
        return [TENSORS.stack(list(column), 0) for column in zip(*rows, strict=True)]


def _versions(tensor: Tensor) -> list[Tensor]:
    """A tensor, the same with its elements in reverse order (indices stay, so that they fit), and itself again."""
    values = host(tensor)
    other = values if tensor.dtype.category < FLOATING else numpy.flip(values)
    return [tensor, from_host(other.copy(), tensor.dtype, tensor.device), tensor]


def _batches(case: Case, kind: dtype, device: str) -> Iterator[Batch]:
    """Each sample with all its tensors mapped, and with one of them."""
    for given in case.samples(device, kind):
        tensors: list[Tensor] = []
        for value in (*given.args, *given.kwargs.values()):
            mapped(tensors.append, value)
        choices = {tuple(range(len(tensors))), *[(i,) for i in range(len(tensors))]} - {()}
        for which in sorted(choices):
            yield Batch(case, given, which, tensors)


@over(lambda case: not case.mutates and case.name not in DATA_DEPENDENT, one_dtype)
def test_vmap_is_a_loop_over_the_examples(case: Case, kind: dtype, device: str) -> None:
    for batch in _batches(case, kind, device):
        expected = batch.loop(batch)
        actual = vmap(lambda *examples, batch=batch: batch(*examples))(*batch.batches)
        check_close(case, batch.given, actual, expected, kind, f"a loop over the tensors {list(batch.which)}")


@over(
    lambda case: case.gradients and case.op.differentiable and not case.mutates and case.name not in DATA_DEPENDENT,
    lambda case, held: for_gradients(case, held)[:1],
)
def test_vmap_of_the_gradient_is_a_loop_over_the_examples(case: Case, kind: dtype, device: str) -> None:
    done = 0
    for batch in _batches(case, kind, device):
        if not batch.given.smooth or any(batch.tensors[i].dtype.category < FLOATING for i in batch.which):
            continue

        def total(*examples: Tensor, batch: Batch = batch) -> Tensor:
            parts = [r.abs().square().sum() for r in batch(*examples) if r.dtype.category >= FLOATING]
            return sum(parts, examples[0].abs().sum() * 0.0)

        gradient = grad(total, tuple(range(len(batch.which))))
        expected = batch.loop(gradient)
        check_close(case, batch.given, list(vmap(gradient)(*batch.batches)), expected, kind, "the loop's gradient")
        done += 1
    if not done:
        pytest.skip("no sample has anything to differentiate")
