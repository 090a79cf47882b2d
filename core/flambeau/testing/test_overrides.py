"""Kernels that replace a composite, against the composite's decomposition over the same device."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.dispatch import kernel_origins
from flambeau.dtypes import dtype
from flambeau.ops.call import wrap_result
from flambeau.tensor import Tensor
from flambeau.testing.checks import check_close, mapped, over, raw_arguments
from flambeau.testing.database import Case


@over(lambda case: not case.op.primitive and not case.op.inline, steps=True)
def test_kernel_agrees_with_decomposition(case: Case, kind: dtype, device: str) -> None:
    if kernel_origins(device.partition(":")[0])[case.name] == "decomposition":
        pytest.skip("the device runs the decomposition")
    for given, again in zip(case.samples(device, kind), case.samples(device, kind), strict=True):
        results, arguments = [], []
        for one, by_kernel in ((given, True), (again, False)):
            values = raw_arguments(case, one.args, one.kwargs)
            where = next((v.device for v in _leaves(values)), None)
            if where is None:
                pytest.skip("there is no tensor argument to take the device from")
            raw = [mapped(lambda t: t._array, value) for value in values]
            run = where.table[case.op.index] if by_kernel else lambda *a, xp=where.xp: case.op.body(xp, *a)
            result = run(*raw)
            several = isinstance(result, (tuple, list))
            flat = list(result) if several else [] if result is None else [result]
            results.append([None if array is None else wrap_result(array, where) for array in flat])
            arguments.append(_leaves(values))
        check_close(case, given, results[0], results[1], kind, "the decomposition's result")
        check_close(case, given, arguments[0], arguments[1], kind, "the argument that the decomposition leaves behind")


def _leaves(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    mapped(lambda tensor: found.append(tensor), list(values))
    return found
