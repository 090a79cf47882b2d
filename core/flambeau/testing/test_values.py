"""Every op against its reference in NumPy, over dtypes and shapes; against the CPU where there is no reference."""

from __future__ import annotations

import pytest

from flambeau.dispatch import available
from flambeau.dtypes import dtype
from flambeau.testing.checks import call, check_close, on_arguments, over, strided
from flambeau.testing.comparison import from_host, host
from flambeau.testing.database import Case, expected_of


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


def _tensors(value: object) -> list[object]:
    if hasattr(value, "_array"):
        return [value]
    return [item for item in value if hasattr(item, "_array")] if isinstance(value, (list, tuple)) else []
