"""How tensors look; `tests/parity/test_printing.py` compares more of it with PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau
from flambeau.printing import get_printoptions, printoptions, set_printoptions, tensor_repr


@pytest.fixture(autouse=True)
def _default_options() -> Any:
    yield
    set_printoptions(profile="default")


def test_values_are_padded_to_one_width() -> None:
    assert (
        repr(flambeau.tensor([[1.0, -2.0], [10.5, 4.0]])) == "tensor([[ 1.0000, -2.0000],\n        [10.5000,  4.0000]])"
    )
    assert repr(flambeau.tensor([[1, -2], [10, 4]])) == "tensor([[ 1, -2],\n        [10,  4]])"
    assert repr(flambeau.tensor([True, False])) == "tensor([ True, False])"


def test_whole_numbers_keep_their_point() -> None:
    assert repr(flambeau.tensor([1.0, 2.0, float("inf")])) == "tensor([1., 2., inf])"
    assert repr(flambeau.tensor(3.0)) == "tensor(3.)"


def test_scientific_notation_when_magnitudes_differ() -> None:
    assert repr(flambeau.tensor([1.0, 2e9])) == "tensor([1.0000e+00, 2.0000e+09])"


def test_what_is_unusual_is_said() -> None:
    assert repr(flambeau.tensor([1, 2], dtype=flambeau.int32)) == "tensor([1, 2], dtype=flambeau.int32)"
    assert repr(flambeau.tensor([1.0], requires_grad=True)) == "tensor([1.], requires_grad=True)"
    assert repr(flambeau.empty(0, 3)) == "tensor([], size=(0, 3))"
    assert repr(flambeau.empty(2, 3, device="meta")) == "tensor(..., device='meta', size=(2, 3))"


def test_the_operation_that_made_a_tensor() -> None:
    x = flambeau.tensor([1.0, 2.0], requires_grad=True)
    assert repr(x * x) == "tensor([1., 4.], grad_fn=<MulBackward0>)"


def test_a_parameter() -> None:
    parameter = flambeau.nn.Parameter(flambeau.tensor([1.0]))
    assert repr(parameter) == "Parameter containing:\ntensor([1.], requires_grad=True)"


def test_a_subclass_shows_its_name() -> None:
    class Measured(flambeau.Tensor):
        pass

    assert repr(flambeau.Tensor._make_subclass(Measured, flambeau.tensor([1.0]))) == "Measured([1.])"


def test_more_than_a_thousand_elements_are_summarised() -> None:
    assert repr(flambeau.arange(1001)) == "tensor([   0,    1,    2,  ...,  998,  999, 1000])"
    assert "..." not in repr(flambeau.arange(1000))


def test_options_change_and_come_back() -> None:
    before = get_printoptions()
    with printoptions(precision=1, sci_mode=False):
        assert repr(flambeau.tensor([0.123, 1e6])) == "tensor([      0.1, 1000000.0])"
    assert get_printoptions() == before
    with pytest.raises(RuntimeError, match="stop"), printoptions(precision=1):
        raise RuntimeError("stop")
    assert get_printoptions() == before


def test_an_unknown_profile_is_an_error() -> None:
    with pytest.raises(ValueError, match="set_printoptions: profile is one of default, short, full, got 'long'"):
        set_printoptions(profile="long")


def test_other_contents() -> None:
    assert tensor_repr(flambeau.tensor([1.0]), tensor_contents="<one number>") == "tensor(<one number>)"
