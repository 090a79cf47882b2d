"""Tensors come to the device and back unharmed, and devices do not mix."""

from __future__ import annotations

import numpy
import pytest

import flambeau
from flambeau.dispatch import available, load
from flambeau.dtypes import DTYPES
from flambeau.func import vmap
from flambeau.testing.checks import held_dtypes
from flambeau.testing.comparison import host, make_tensor


@pytest.mark.parametrize("name", list(DTYPES))
def test_values_survive_the_way_to_the_device_and_back(name: str, device: str) -> None:
    if name not in held_dtypes(device):
        pytest.skip(f"the device does not hold {name}")
    kind, where = DTYPES[name], load(flambeau.device(device))
    for shape in ((), (3,), (2, 3), (0, 4)):
        tensor = make_tensor(shape, dtype=kind, device=device)
        assert tensor.shape == shape
        assert tensor.dtype is kind
        assert tensor.device is where
        values = host(tensor)
        again = flambeau.from_numpy(numpy.array(values)).to(device)
        assert again.dtype is kind
        numpy.testing.assert_array_equal(host(again), values)
        if "cpu" in available():
            numpy.testing.assert_array_equal(tensor.cpu().numpy(), values)


def test_tensors_are_created_on_the_device(device: str) -> None:
    where = load(flambeau.device(device))
    for tensor in (
        flambeau.zeros(2, device=device), flambeau.arange(3, device=device), flambeau.rand(2, device=device),
        flambeau.randn(2, device=where), flambeau.tensor([1.0], device=device), flambeau.eye(2, device=device),
    ):  # fmt: skip
        assert tensor.device is where
    with where:
        assert flambeau.zeros(1).device is where
    assert flambeau.zeros_like(flambeau.ones(2, device=device)).device is where
    assert (flambeau.ones(2, device=device) + 1).device is where


def test_gradients_are_on_the_device(device: str) -> None:
    x = flambeau.ones(3, device=device, requires_grad=True)
    (x * x).sum().backward()
    assert x.grad is not None
    assert x.grad.device is x.device
    assert host(x.grad).tolist() == [2.0, 2.0, 2.0]


def test_0_dim_cpu_tensors_mix_and_others_do_not(device: str) -> None:
    if device == "cpu" or "cpu" not in available():
        pytest.skip("there is no other device")
    here = flambeau.ones(3, device=device)
    two = flambeau.tensor(2.0, device="cpu")
    assert host(here * two).tolist() == [2.0, 2.0, 2.0]
    assert host(vmap(lambda one: two * one)(here)).tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
        here + flambeau.ones(3, device="cpu")
