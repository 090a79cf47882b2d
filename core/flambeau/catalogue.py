"""The catalogue: models and datasets by name, from every plugin that brings some.

    >>> from flambeau import catalogue
    >>> catalogue.list_models()
    ['lenet', 'resnet101', 'resnet152', 'resnet18', 'resnet34', 'resnet50']
    >>> model = catalogue.get_model("resnet18", num_classes=10)

Plugins add to it with the hooks ``flambeau_models`` and ``flambeau_datasets`` (see :mod:`flambeau.hookspec`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from flambeau import plugins

__all__ = ["get_dataset", "get_model", "list_datasets", "list_models"]


def list_models() -> list[str]:
    """The names that :func:`get_model` takes, sorted."""
    return sorted(plugins.collect("flambeau_models"))


def get_model(name: str, **arguments: Any) -> Any:
    """Build the model ``name``; ``arguments`` go to the function that builds it.

    Raises:
        ValueError: when no plugin brings a model of that name; the message names those that come close.
    """
    return _find("get_model", "model", name, plugins.collect("flambeau_models"))(**arguments)


def list_datasets() -> list[str]:
    """The names that :func:`get_dataset` takes, sorted."""
    return sorted(plugins.collect("flambeau_datasets"))


def get_dataset(name: str, **arguments: Any) -> Any:
    """Open the dataset ``name``; ``arguments`` (``root=``, ``train=`` ...) go to its class.

    Raises:
        ValueError: when no plugin brings a dataset of that name; the message names those that come close.
    """
    return _find("get_dataset", "dataset", name, plugins.collect("flambeau_datasets"))(**arguments)


def _find(caller: str, kind: str, name: str, entries: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    if not isinstance(name, str):
        raise TypeError(f"{caller}: the name of a {kind} is a str, not {type(name).__name__}")
    if name in entries:
        return entries[name]
    if not entries:
        raise ValueError(
            f"{caller}: no {kind} is named {name!r}: no plugin brings any {kind}s (`flambeau info` lists the plugins)"
        )
    close = difflib.get_close_matches(name.lower(), entries, n=3)
    hint = f"did you mean {' or '.join(map(repr, close))}? There" if close else "there"
    raise ValueError(f"{caller}: no {kind} is named {name!r}; {hint} are: {', '.join(sorted(entries))}")
