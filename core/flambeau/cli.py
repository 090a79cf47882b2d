"""The command ``flambeau``: ``info``, and the subcommands that plugins add through ``flambeau_cli_commands``.

Exit statuses: 0 for success, 1 when a command failed, 2 for a wrong command line, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import traceback
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import flambeau
from flambeau import devices, dispatch, plugins
from flambeau.ops.declare import OPS, Op
from flambeau.ops.parts import parts_of

#: Packages whose versions `info` shows where they are installed: what we need, then what the extras bring.
_PACKAGES = ("numpy", "pluggy", "ml_dtypes", "safetensors", "pillow", "tqdm", "pyopencl", "cupy-cuda12x")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments after the program's name, by default the process's own.

    Returns:
        The exit status.
    """
    with warnings.catch_warnings(record=True) as caught:
        # What is wrong with a plugin is part of `info`; the other commands say it on one line each, below.
        warnings.simplefilter("always", RuntimeWarning)
        parser = _parser()
        arguments = parser.parse_args(argv)
    if arguments.run is None:
        parser.print_help(sys.stderr)
        return 2
    if arguments.command != "info":
        for warning in caught:
            print(f"flambeau: warning: {warning.message}", file=sys.stderr)
    try:
        return int(arguments.run(arguments) or 0)
    except KeyboardInterrupt:
        print("flambeau: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (`head`, a pager) has gone. Python would complain again when it closes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if arguments.traceback:
            traceback.print_exc()
        else:
            message = str(error) or type(error).__name__
            print(f"flambeau {arguments.command}: error: {message}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flambeau",
        description="Flambeau, a deep-learning framework whose devices, models and file formats are plugins.",
    )
    parser.add_argument("--version", action="version", version=f"flambeau {flambeau.__version__}")
    parser.add_argument("--traceback", action="store_true", help="show the whole traceback when a command fails")
    parser.set_defaults(run=None)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_info(subparsers)
    plugins.call("flambeau_cli_commands", subparsers=subparsers)
    return parser


# -- flambeau info ---------------------------------------------------------------------------------------------------


def _add_info(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "info",
        help="show versions, plugins, devices, and which plugin computes each op",
        description="Show versions, plugins and devices; with OP or --ops, whose kernel runs on a device.",
    )
    parser.add_argument("op", nargs="*", metavar="OP", help="show whose kernel runs for these ops only")
    parser.add_argument("--ops", action="store_true", help="show whose kernel runs for every op")
    parser.add_argument("--device", metavar="DEVICE", help="the device to look up ops on (default: the default device)")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=_info)


def _info(arguments: argparse.Namespace) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # shown in the report as the plugin's state
        report: dict[str, Any] = {}
        if not arguments.op:
            report = _overview()
        if arguments.op or arguments.ops:
            report["ops"] = _origins(arguments.device, arguments.op)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(_as_text(report)))
    return 0


def _overview() -> dict[str, Any]:
    """Everything about this installation, as plain data."""
    # Calling their hooks is what shows that a plugin is broken, so the plugins come last.
    found = [_describe_backend(backend, plugin) for backend, plugin in dispatch.backends().values()]
    for hook in ("flambeau_models", "flambeau_datasets", "flambeau_file_formats", "flambeau_communication_backends"):
        plugins.collect(hook)
    return {
        "version": flambeau.__version__,
        "location": os.path.dirname(flambeau.__file__),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in _PACKAGES if (version := _version_of(name))},
        "default_device": str(devices.get_default_device()),
        "devices": found,
        "plugins": [
            {
                "name": info.name,
                "distribution": info.distribution,
                "version": info.version,
                "state": info.state,
                "error": info.error,
            }
            for info in plugins.infos()
        ],
    }


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _describe_backend(backend: dispatch.Backend, plugin: str) -> dict[str, Any]:
    described: dict[str, Any] = {"type": backend.name, "plugin": plugin, "available": False, "names": [], "hint": ""}
    try:
        described["available"] = backend.is_available()
        if described["available"]:
            described["names"] = [backend.device_name(i) for i in range(backend.device_count())]
        else:
            described["hint"] = backend.install
    except Exception as error:  # a driver may fail in ways that its plugin did not foresee; `info` is how one finds out
        described["available"] = False
        described["hint"] = f"{type(error).__name__}: {error}"
    return described


def _origins(device: str | None, names: Sequence[str]) -> dict[str, Any]:
    """Whose kernels run on a device, for the ops named or for all."""
    where = devices.device(device) if device else devices.get_default_device()
    origins = dispatch.kernel_origins(where.type)
    unknown = [name for name in names if name not in OPS]
    if unknown:
        import difflib

        close = difflib.get_close_matches(unknown[0], OPS, n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else "; `flambeau info --ops` lists them all"
        raise ValueError(f"there is no op named {unknown[0]!r}{hint}")
    chosen: Iterable[str] = names or sorted(origins)
    return {"device": where.type, "origins": {name: _origin(OPS[name], origins[name]) for name in chosen}}


def _origin(op: Op, plugin: str) -> dict[str, Any]:
    # An inline op is expanded before any table is asked: no kernel of its own ever runs.
    decomposed = op.inline or plugin == "decomposition"
    return {
        "kind": "primitive" if op.primitive else "composite",
        "kernel": "decomposition" if decomposed else plugin,
        "made_of": sorted(parts_of(op)) if decomposed else [],
    }


def _as_text(report: dict[str, Any]) -> Iterable[str]:
    if "version" in report:
        yield f"Flambeau {report['version']} ({report['location']})"
        yield f"Python {report['python']} on {report['platform']}"
        yield ", ".join(f"{name} {version}" for name, version in report["packages"].items())
        yield ""
        yield "Plugins"
        yield from _plugin_lines(report["plugins"])
        yield ""
        yield f"Devices (default: {report['default_device']})"
        yield from _table([_device_row(found) for found in report["devices"]])
    if "ops" in report:
        if "version" in report:
            yield ""
        yield f"Ops on {report['ops']['device']}: whose kernel runs"
        yield from _table([_op_row(name, op) for name, op in report["ops"]["origins"].items()])


def _op_row(name: str, op: dict[str, Any]) -> tuple[str, ...]:
    parts = op["made_of"]
    into = f" into {', '.join(parts[:8])}{' ...' if len(parts) > 8 else ''}" if parts else ""
    return name, op["kind"], op["kernel"] + into


def _plugin_lines(found: list[dict[str, str]]) -> Iterable[str]:
    if not found:
        return ["  none. Is Flambeau installed (pip install .), or only on PYTHONPATH? Entry points need the former."]
    rows = []
    for plugin in found:
        package = f"{plugin['distribution']} {plugin['version']}".strip() or "registered by hand"
        rows.append((plugin["name"], package, plugin["state"], " ".join(plugin["error"].split())))
    return _table(rows)


def _device_row(found: dict[str, Any]) -> tuple[str, ...]:
    if not found["available"]:
        return found["type"], f"plugin {found['plugin']}", "not available", found["hint"]
    names = found["names"]
    count = "1 device" if len(names) == 1 else f"{len(names)} devices"
    described = ", ".join(name for name in names if name != found["type"])
    return found["type"], f"plugin {found['plugin']}", count, described


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with aligned columns; the last column is not padded."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return [("  " + "  ".join(cells)).rstrip() for cells in padded]
