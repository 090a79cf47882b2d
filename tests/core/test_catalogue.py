"""The catalogue finds what plugins bring, by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flambeau import catalogue, plugins
from flambeau.hookspec import hookimpl


class Zoo:
    """A plugin with a model and a dataset, which return what they were called with."""

    @hookimpl
    def flambeau_models(self) -> dict[str, Any]:
        return {"okapi_small": lambda **arguments: ("small", arguments), "okapi_large": lambda: "large"}

    @hookimpl
    def flambeau_datasets(self) -> dict[str, Any]:
        return {"savanna": lambda root, train=True: (root, train)}


@pytest.fixture
def zoo() -> Iterator[None]:
    plugins.register(Zoo(), name="zoo")
    yield
    plugins.unregister("zoo")


@pytest.fixture
def only_the_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "collect", lambda hook: getattr(Zoo(), hook)())


def test_what_a_plugin_brings_is_listed_while_it_is_registered() -> None:
    assert "okapi_small" not in catalogue.list_models()
    plugins.register(Zoo(), name="zoo")
    try:
        assert {"okapi_large", "okapi_small"} <= set(catalogue.list_models())
        assert "savanna" in catalogue.list_datasets()
        assert catalogue.list_models() == sorted(catalogue.list_models())
    finally:
        plugins.unregister("zoo")
    assert "okapi_small" not in catalogue.list_models()


def test_arguments_go_to_the_function_that_builds(zoo: None) -> None:
    assert catalogue.get_model("okapi_small", num_classes=3) == ("small", {"num_classes": 3})
    assert catalogue.get_dataset("savanna", root="/there", train=False) == ("/there", False)


def test_an_unknown_name_is_answered_with_those_that_come_close(only_the_zoo: None) -> None:
    with pytest.raises(ValueError) as caught:
        catalogue.get_model("Okapi_smal")
    assert str(caught.value) == (
        "get_model: no model is named 'Okapi_smal'; did you mean 'okapi_small' or 'okapi_large'? "
        "There are: okapi_large, okapi_small"
    )


def test_an_unknown_name_far_from_all_is_answered_with_the_list(only_the_zoo: None) -> None:
    with pytest.raises(ValueError) as caught:
        catalogue.get_dataset("xyz")
    assert str(caught.value) == "get_dataset: no dataset is named 'xyz'; there are: savanna"


def test_an_empty_catalogue_says_that_no_plugin_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "collect", lambda hook: {})
    with pytest.raises(ValueError, match="no plugin brings any models"):
        catalogue.get_model("lenet")


def test_a_name_that_is_no_string() -> None:
    with pytest.raises(TypeError, match="the name of a model is a str, not int"):
        catalogue.get_model(18)  # type: ignore[arg-type]
