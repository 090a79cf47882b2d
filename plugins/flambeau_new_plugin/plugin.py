"""The hook of ``flambeau new-plugin``."""

from __future__ import annotations

from argparse import _SubParsersAction
from typing import Any

from flambeau.hookspec import hookimpl

FLAMBEAU_PLUGIN_API = 1


@hookimpl
def flambeau_cli_commands(subparsers: _SubParsersAction[Any]) -> None:
    """The subcommand."""
    from flambeau_new_plugin.command import add_command

    add_command(subparsers)
