"""The meta device tells the shape and dtype that the device gives."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.devices import device as device_class
from flambeau.dtypes import dtype
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor
from flambeau.testing.checks import call, fits, on_arguments, outputs_of, over
from flambeau.testing.database import Case


@over(lambda case: not case.data_dependent)
def test_meta_agrees_in_shape_and_dtype(case: Case, kind: dtype, device: str) -> None:
    meta = device_class("meta")
    for given in case.samples(device, kind):
        actual = outputs_of(call(case, given.args, given.kwargs))
        args, kwargs = on_arguments(lambda t: t.to(meta), given)
        args = [meta if isinstance(value, device_class) else value for value in args]
        try:
            foretold = outputs_of(call(case, args, kwargs))
        except Exception as error:
            pytest.fail(f"{case.name}{given} on the meta device: {type(error).__name__}: {error}")
        described, wanted = [_spec(r) for r in foretold], [_spec(r) for r in actual]
        if described != wanted:
            pytest.fail(f"{case.name}{given}: the meta device says {described}, the result is {wanted}")


@over(lambda case: case.op.inplace)
def test_in_place_form_on_the_meta_device(case: Case, kind: dtype, device: str) -> None:
    meta = device_class("meta")
    for given in case.samples(device, kind):
        if not fits(case, given, call(case, given.args, given.kwargs)):
            continue
        args, kwargs = on_arguments(lambda t: t.to(meta), given)
        before = _spec(args[0])
        returned = getattr(TENSORS, case.name + "_")(*args, **kwargs)
        assert returned is args[0] and _spec(returned) == before, f"{case.name}_{given} on the meta device"


@over(lambda case: case.op.view)
def test_view_on_the_meta_device_belongs_to_its_base(case: Case, kind: dtype, device: str) -> None:
    meta = device_class("meta")
    for given in case.samples(device, kind):
        args, kwargs = on_arguments(lambda t: t.to(meta), given)
        for view in outputs_of(call(case, args, kwargs)):
            before = args[0]._version
            assert view is args[0] or view._version is before, f"{case.name}{given}: no view of its input"


def _spec(result: Any) -> Any:
    return f"{result.dtype.name}{list(result.shape)}" if isinstance(result, Tensor) else result
