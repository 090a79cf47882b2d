"""The meta device tells the shape and dtype that the device gives."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.devices import device as device_class
from flambeau.dtypes import dtype
from flambeau.tensor import Tensor
from flambeau.testing.checks import call, on_arguments, outputs_of, over
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


def _spec(result: Any) -> Any:
    return f"{result.dtype.name}{list(result.shape)}" if isinstance(result, Tensor) else result
