"""Tensors of the device are saved and loaded, copied and pickled."""

from __future__ import annotations

import copy
import io
import pickle

import numpy
import pytest

import flambeau
from flambeau import nn
from flambeau.dispatch import load
from flambeau.dtypes import DTYPES
from flambeau.testing.checks import held_dtypes
from flambeau.testing.comparison import host, make_tensor


@pytest.mark.parametrize("name", ["bool", "uint8", "int64", "float16", "bfloat16", "float32", "float64", "complex64"])
def test_saved_tensor_is_loaded_on_its_device(name: str, device: str) -> None:
    if name not in held_dtypes(device):
        pytest.skip(f"the device does not hold {name}")
    for shape in ((), (3, 2), (0, 2)):
        tensor = make_tensor(shape, dtype=DTYPES[name], device=device)
        file = io.BytesIO()
        flambeau.save({"tensor": tensor}, file)
        file.seek(0)
        loaded = flambeau.load(file)["tensor"]
        assert loaded.device is tensor.device
        assert loaded.dtype is tensor.dtype
        assert loaded.shape == tensor.shape
        numpy.testing.assert_array_equal(host(loaded), host(tensor))
        file.seek(0)
        assert flambeau.load(file, map_location="cpu")["tensor"].device.type == "cpu"


def test_weights_go_from_one_device_to_the_other(device: str) -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2).to(device)
    file = io.BytesIO()
    flambeau.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(flambeau.load(file))
    assert other.weight.device is load(flambeau.device(device))
    numpy.testing.assert_array_equal(host(other.weight), host(model.weight))


def test_copies_have_memory_of_their_own(device: str) -> None:
    tensor = flambeau.ones(3, device=device)
    for made in (copy.deepcopy(tensor), pickle.loads(pickle.dumps(tensor))):
        assert made.device is tensor.device
        made.fill_(5)
        assert host(tensor).tolist() == [1, 1, 1]
