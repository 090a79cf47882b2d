"""The command line of ``flambeau new-plugin``."""

from __future__ import annotations

from argparse import Namespace, _SubParsersAction
from pathlib import Path
from typing import Any

from flambeau_new_plugin.package import KINDS, PluginName, write


def add_command(subparsers: _SubParsersAction[Any]) -> None:
    """Add the subcommand to Flambeau's."""
    parser = subparsers.add_parser(
        "new-plugin",
        help="write a package that is a plugin: code, tests, CI and README",
        description="Write a package that is a Flambeau plugin and passes its tests as it is, to start from. Kinds: "
        + "; ".join(f"{name}, {kind.summary}" for name, kind in KINDS.items()),
    )
    parser.add_argument("name", metavar="NAME", help="the name of the package, as on PyPI: flambeau-abacus")
    parser.add_argument("--kind", required=True, choices=list(KINDS), help="what the plugin brings")
    parser.add_argument(
        "--path", metavar="DIR", type=Path, help="the folder to write, which must not exist (default: ./NAME)"
    )
    parser.set_defaults(run=_run)


def _run(arguments: Namespace) -> int:
    name = PluginName(arguments.name)
    name.check_free()
    folder = arguments.path if arguments.path is not None else Path(name.distribution)
    files = write(name, arguments.kind, folder)
    print(f"{folder}: a plugin of the kind {arguments.kind!r}, {len(files)} files:")
    for file in files:
        print(f"  {file}")
    print(f"Next:\n  cd {folder}\n  pip install -e '.[test]'\n  pytest\n  flambeau info")
    return 0
