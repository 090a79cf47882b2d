"""Every op of the sample database, alone in a compiled function: values, gradients, and what is written to."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import flambeau
from flambeau.dtypes import DTYPES, FLOATING
from flambeau.ops.declare import OPS
from flambeau.testing.checks import call
from flambeau.testing.database import CASES, Case, Sample, load_samples

from .test_same_as_eager import bits

load_samples()
# Random numbers have to come from a generator: test_same_as_eager.py has programs that draw some.
NAMES = [name for name, case in CASES.items() if not case.steps and "seed" not in case.op.positions]

# Ops that read values, these few in their gradients only: compiled functions with them run as they are.
READING = {
    "cumprod", "matrix_exp", "segment_reduce", *(name for name in OPS if "_polynomial_" in name),
    "nonzero", "argwhere", "nonzero_static", "masked_select", "masked_scatter", "bincount", "unique",
    "unique_consecutive", "repeat_interleave",
}  # fmt: skip


def copied(value: Any, requires_grad: bool) -> Any:
    """An argument with tensors of its own, which may need gradients."""
    if isinstance(value, flambeau.Tensor):
        copy = value.detach().clone()
        return copy.requires_grad_() if requires_grad and copy.dtype.category >= FLOATING else copy
    if type(value) in (list, tuple):
        return type(value)([copied(item, requires_grad) for item in value])
    return value


def tensors(value: Any) -> list[flambeau.Tensor]:
    if isinstance(value, flambeau.Tensor):
        return [value]
    return [t for item in value for t in tensors(item)] if isinstance(value, (list, tuple)) else []


def outcome(function: Any, given: Sample, requires_grad: bool) -> Any:
    args = [copied(value, requires_grad) for value in given.args]
    kwargs = {name: copied(value, requires_grad) for name, value in given.kwargs.items()}
    result = function(args, kwargs)
    leaves = tensors([*args, *kwargs.values()])
    losses = [(t.abs() if t.dtype.is_complex else t * t).sum() for t in tensors(result) if t.requires_grad]
    if losses:
        flambeau.autograd.backward(losses)
    return bits(tensors(result)), bits(leaves), [None if t.grad is None else bits(t.grad) for t in leaves]


@pytest.mark.parametrize("name", NAMES)
def test_op(name: str) -> None:
    case: Case = CASES[name]
    kind = "float32" if "float32" in case.dtypes else case.dtypes[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for given in case.samples("cpu", DTYPES[kind])[:4]:
            grad = given.smooth and case.gradients and case.op.differentiable and not case.mutates
            compiled = flambeau.compile(lambda args, kwargs: call(case, args, kwargs), options={"recompile_limit": 2})
            expected = outcome(lambda args, kwargs: call(case, args, kwargs), given, grad)
            for _ in range(3):
                assert outcome(compiled, given, grad) == expected, given
    refused = [str(w.message) for w in caught if "compile:" in str(w.message)]
    assert name in READING or not refused, refused[0]


def test_what_ops_write_to_is_declared() -> None:
    """Passes have to know it."""
    for name in NAMES:
        assert set(CASES[name].mutates) <= set(OPS[name].writes), name
