"""What the vision extension plugs in: models and datasets for the catalogue, and ``flambeau demo``.

Imports of the extension itself are inside the hooks, so that finding the plugin costs next to nothing.
"""

from __future__ import annotations

from argparse import _SubParsersAction
from collections.abc import Callable, Mapping
from typing import Any

from flambeau.hookspec import hookimpl


@hookimpl
def flambeau_models() -> Mapping[str, Callable[..., Any]]:
    from flambeau_vision import models

    names = ("lenet", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    return {name: getattr(models, name) for name in names}


@hookimpl
def flambeau_datasets() -> Mapping[str, Callable[..., Any]]:
    from flambeau_vision import datasets

    return {
        "digits": datasets.Digits,
        "mnist": datasets.MNIST,
        "fashion_mnist": datasets.FashionMNIST,
        "kmnist": datasets.KMNIST,
        "image_folder": datasets.ImageFolder,
    }


@hookimpl
def flambeau_cli_commands(subparsers: _SubParsersAction[Any]) -> None:
    from flambeau_vision.demo.command import add_command

    add_command(subparsers)
