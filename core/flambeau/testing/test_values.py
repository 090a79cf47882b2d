"""Every op against its reference in NumPy, over dtypes and shapes; against the CPU where there is no reference."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.dispatch import available
from flambeau.dtypes import dtype
from flambeau.tensor import Tensor
from flambeau.testing.checks import call, check_close, on_arguments, over, strided
from flambeau.testing.comparison import from_host, host
from flambeau.testing.database import Case, expected_of, sample


@over(lambda case: case.reference is not None)
def test_op_agrees_with_numpy(case: Case, kind: dtype, device: str) -> None:
    for given in case.samples(device, kind):
        expected = expected_of(case, given)
        check_close(case, given, call(case, given.args, given.kwargs), expected, kind, "NumPy's result")


@over(lambda case: case.reference is None)
def test_op_agrees_with_the_cpu(case: Case, kind: dtype, device: str) -> None:
    if device == "cpu" or "cpu" not in available():
        pytest.skip("there is no other device to compare with")
    for given in case.samples(device, kind):
        args, kwargs = on_arguments(lambda t: from_host(host(t), t.dtype, "cpu"), given)
        actual = call(case, given.args, given.kwargs)
        check_close(case, given, actual, call(case, args, kwargs), kind, "the result on the CPU")


@over(lambda case: case.reference is not None and case.op.pointwise)
def test_pointwise_op_takes_numbers_and_nothing(case: Case, kind: dtype, device: str) -> None:
    """Tensors without dimensions, and without elements, made of the samples' first elements."""
    for given in case.samples(device, kind):
        for shape in ((), (0,), (2, 0, 3)):
            if not all(tensor.numel() for tensor in _tensors(list(given.args))):
                continue

            def small(tensor: Tensor, shape: tuple[int, ...] = shape) -> Tensor:
                value = host(tensor).reshape(-1)[:1]
                return from_host(value.reshape(()) if not shape else value[:0].reshape(shape), tensor.dtype, device)

            args, kwargs = on_arguments(lambda t: small(t) if t.ndim else t, given)
            smaller = sample(*args, rtol=given.rtol, **kwargs)
            expected = expected_of(case, smaller)
            check_close(case, smaller, call(case, args, kwargs), expected, kind, "NumPy's result")


@over(lambda case: case.strided)
def test_op_takes_tensors_that_are_not_contiguous(case: Case, kind: dtype, device: str) -> None:
    for given, again in zip(case.samples(device, kind), case.samples(device, kind), strict=True):
        args, kwargs = on_arguments(strided, again)
        expected = call(case, given.args, given.kwargs)
        check_close(case, given, call(case, args, kwargs), expected, kind, "the result for contiguous tensors")


@over()
def test_op_leaves_its_arguments_alone(case: Case, kind: dtype, device: str) -> None:
    for given, untouched in zip(case.samples(device, kind), case.samples(device, kind), strict=True):
        call(case, given.args, given.kwargs)
        for name, own, before in zip(case.op.names, given.args, untouched.args, strict=False):
            if name not in case.mutates:
                check_close(
                    case, given, _tensors(own), _tensors(before), kind, f"the argument {name!r} before the call"
                )


def _tensors(value: object) -> list[Any]:
    if hasattr(value, "_array"):
        return [value]
    return [item for item in value if hasattr(item, "_array")] if isinstance(value, (list, tuple)) else []
