"""The dtype of a result follows from those of the operands, as on every device."""

from __future__ import annotations

from itertools import product

import numpy
import pytest

import flambeau
from flambeau.dtypes import DTYPES
from flambeau.testing.checks import held_dtypes
from flambeau.testing.comparison import from_host, host

_COMMON = ("bool", "uint8", "int32", "int64", "float16", "float32", "float64", "complex64")


@pytest.mark.parametrize(("one", "other"), list(product(_COMMON, _COMMON)))
def test_operands_are_cast_to_their_common_dtype(one: str, other: str, device: str) -> None:
    held = held_dtypes(device)
    common = flambeau.promote_types(DTYPES[one], DTYPES[other])
    if not {one, other, common.name} <= held:
        pytest.skip("the device does not hold these dtypes")
    a = from_host(numpy.array([1, 0, 1]), DTYPES[one], device)
    b = from_host(numpy.array([1, 1, 0]), DTYPES[other], device)
    added = a + b
    assert added.dtype is common
    assert host(added).tolist() == ([True, True, True] if common is flambeau.bool else [2, 1, 1])
    assert (a == b).dtype is flambeau.bool
    assert host(a == b).tolist() == [True, False, False]


@pytest.mark.parametrize("name", ["uint8", "int32", "int64", "float16", "float32", "float64"])
def test_python_numbers_do_not_widen(name: str, device: str) -> None:
    if not {name, "float32"} <= held_dtypes(device):
        pytest.skip("the device does not hold these dtypes")
    tensor = from_host(numpy.array([1, 2]), DTYPES[name], device)
    assert (tensor + 1).dtype is tensor.dtype
    assert (2 * tensor).dtype is tensor.dtype
    assert (tensor * 0.5).dtype is (tensor.dtype if tensor.is_floating_point() else flambeau.float32)
    assert host(tensor * 0.5).tolist() == [0.5, 1.0]


def test_0_dim_tensors_do_not_widen_within_their_category(device: str) -> None:
    if not {"float32", "float64", "int64"} <= held_dtypes(device):
        pytest.skip("the device does not hold these dtypes")
    row = from_host(numpy.array([1.0]), DTYPES["float32"], device)
    assert (row + from_host(numpy.array(2.0), DTYPES["float64"], device)).dtype is flambeau.float32
    count = from_host(numpy.array([1]), DTYPES["int64"], device)
    assert (count + from_host(numpy.array(2.0), DTYPES["float32"], device)).dtype is flambeau.float32


def test_reductions_of_integers_are_int64(device: str) -> None:
    for name in {"bool", "uint8", "int32"} & held_dtypes(device):
        tensor = from_host(numpy.ones(300), DTYPES[name], device)
        assert tensor.sum().dtype is flambeau.int64
        assert tensor.sum().item() == 300
