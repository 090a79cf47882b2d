"""A plugin's names, and writing its package from the templates."""

from __future__ import annotations

import keyword
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

import flambeau
from flambeau import hookspec

SUFFIX = ".template"


@dataclass(frozen=True)
class Kind:
    """What a kind of plugin brings, in words, and the packages that its template needs beside Flambeau."""

    summary: str
    requirements: tuple[str, ...] = ()


KINDS = {
    "backend": Kind("a device type", ("array_api_strict>=2.3", "numpy>=2.1")),
    "kernels": Kind("faster kernels for a device that exists", ("numpy>=2.1",)),
    "ops": Kind("new ops"),
    "models": Kind("models for the catalogue"),
    "datasets": Kind("datasets for the catalogue"),
    "format": Kind("a file format for save and load", ("numpy>=2.1",)),
    "comm": Kind("a communication backend", ("numpy>=2.1",)),
    "command": Kind("a subcommand of flambeau"),
}


class PluginName:
    """The names of a plugin, which follow from its package's.

    Attributes:
        distribution: ``flambeau-fast-math``, what is installed.
        module: ``flambeau_fast_math``, what is imported.
        short: ``fast-math``, the entry point: what ``flambeau info`` shows.
        identifier: ``fast_math``, for what the plugin names in Python: a device type, an op.
        title: ``FastMath``, for classes.

    Raises:
        ValueError: for what is no name of a package or of a module.
    """

    def __init__(self, distribution: str) -> None:
        self.distribution = distribution
        self.module = distribution.replace("-", "_")
        self.short = distribution.removeprefix("flambeau-").removeprefix("flambeau_").replace("_", "-")
        self.identifier = self.short.replace("-", "_")
        self.title = "".join(word.capitalize() for word in self.short.split("-"))
        if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z][a-z0-9]*)*", distribution):
            raise ValueError(
                f"{distribution!r} is no name for a plugin: it is made of words of lower-case letters and digits, each "
                "beginning with a letter, joined by '-' or '_', as in 'flambeau-fast-math'"
            )
        for word in (self.module, self.identifier):
            if keyword.iskeyword(word):
                raise ValueError(f"{distribution!r} is no name for a plugin: {word!r} is a word of Python's grammar")

    def check_free(self) -> None:
        """Raise ValueError when a module or plugin of this name is there already."""
        from flambeau import plugins

        found = find_spec(self.module)
        if found is not None and found.origin is not None:
            raise ValueError(f"there is a module {self.module!r} already, {found.origin}: choose another name")
        if self.short in {info.name for info in plugins.infos()}:
            raise ValueError(
                f"there is a plugin {self.short!r} already (`flambeau info` lists them): choose another name"
            )

    def fields(self, kind: Kind) -> dict[str, str]:
        """What stands for the ``{{name}}`` of the templates."""
        major, minor = flambeau.__version__.split(".")[:2]
        return {
            "distribution": self.distribution,
            "module": self.module,
            "short": self.short,
            "identifier": self.identifier,
            "title": self.title,
            "summary": kind.summary,
            "api": str(hookspec.FLAMBEAU_PLUGIN_API),
            "requirements": "".join(f', "{r}"' for r in (f"flambeau>={major}.{minor}", *kind.requirements))[2:],
        }


def files_of(name: PluginName, kind: str) -> dict[str, str]:
    """The contents of a plugin's files, by their paths in its package."""
    fields = name.fields(KINDS[kind])
    found: dict[str, str] = {}
    root = resources.files("flambeau_new_plugin") / "templates"
    for folder in ("common", kind):
        for path, template in _templates(root / folder, ""):
            # A wheel holds no file or folder that begins with a dot unless it is named: `dot_github` is `.github`.
            place = path.removesuffix(SUFFIX).replace("dot_", ".").replace("plugin_module", name.module)
            found[place] = re.sub(r"\{\{(\w+)\}\}", lambda match: fields[match[1]], template)
    return dict(sorted(found.items()))


def _templates(folder: Traversable, prefix: str) -> list[tuple[str, str]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(SUFFIX):
            found.append((prefix + entry.name, entry.read_text(encoding="utf-8")))
    return found


def write(name: PluginName, kind: str, folder: Path) -> list[str]:
    """Write a plugin's package into a new folder, whole or not at all; return the paths of its files in there.

    Raises:
        FileExistsError: when the folder, or a file of its name, is there.
        FileNotFoundError: when the folder that it is to be in is not.
    """
    if os.path.lexists(folder):
        raise FileExistsError(f"{folder} exists already: name another folder with --path, or remove it")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise FileNotFoundError(f"{parent}, in which {folder.name} would be, is no folder: make it first")
    files = files_of(name, kind)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=parent))
    try:
        package = unfinished / folder.name
        for path, contents in files.items():
            file = package / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(contents, encoding="utf-8", newline="\n")
        package.rename(folder)
    finally:
        shutil.rmtree(unfinished)
    return list(files)
