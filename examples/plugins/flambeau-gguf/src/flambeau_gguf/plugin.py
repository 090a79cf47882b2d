"""The hooks. Flambeau calls them when a path has an extension that it does not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flambeau.hookspec import hookimpl

FLAMBEAU_PLUGIN_API = 1


@hookimpl
def flambeau_file_formats() -> Mapping[str, tuple[Callable[..., None], Callable[..., Any]]]:
    """The formats by extension: how to save, how to load."""
    return {".gguf": (_save, _load)}


# The package `gguf` is imported when the first such file is.


def _save(obj: Any, path: Any) -> None:
    from flambeau_gguf.format import save

    save(obj, path)


def _load(path: Any) -> Any:
    from flambeau_gguf.format import load

    return load(path)
