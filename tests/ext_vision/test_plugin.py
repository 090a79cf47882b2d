"""The extension is a plugin like any other: what it brings is in the catalogue and on the command line."""

from __future__ import annotations

import subprocess
import sys

import flambeau
from flambeau import catalogue, plugins
from flambeau_vision import datasets, models


def test_the_catalogue_has_the_models_and_datasets() -> None:
    expected = {"lenet", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"}
    assert expected <= set(catalogue.list_models())
    assert {"digits", "mnist", "fashion_mnist", "kmnist", "image_folder"} <= set(catalogue.list_datasets())
    assert isinstance(catalogue.get_model("lenet", num_classes=3), models.LeNet)
    digits = catalogue.get_dataset("digits", train=False)
    assert isinstance(digits, datasets.Digits) and len(digits) == 355


def test_the_plugin_is_active() -> None:
    states = {info.name: info.state for info in plugins.infos()}
    assert states["vision"] == "active"


def test_finding_the_plugin_imports_nothing_of_the_extension() -> None:
    program = (
        "import sys; from flambeau import plugins; plugins.manager(); "
        "loaded = sorted(name for name in sys.modules if name.startswith(('flambeau_vision.', 'PIL'))); "
        "assert loaded == ['flambeau_vision.plugin'], loaded"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_state_dict_of_a_model_has_the_default_dtype() -> None:
    state = catalogue.get_model("lenet").state_dict()
    assert {tensor.dtype for tensor in state.values()} == {flambeau.float32}
