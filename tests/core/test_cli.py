"""The command line: what it prints, and its exit statuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import flambeau
from flambeau import dispatch, plugins
from flambeau.cli import main
from flambeau.hookspec import hookimpl
from flambeau.ops.declare import OPS


class Command:
    """A plugin with the subcommand `try-it`, which does what the test says."""

    def __init__(self, run: Any) -> None:
        self.run = run

    @hookimpl
    def flambeau_cli_commands(self, subparsers: Any) -> None:
        parser = subparsers.add_parser("try-it", help="for a test")
        parser.set_defaults(run=self.run)


@pytest.fixture
def command() -> Iterator[Any]:
    """A function that registers the subcommand."""

    def register(run: Any) -> None:
        plugins.register(Command(run), name="command")

    yield register
    if plugins.manager().get_plugin("command") is not None:
        plugins.unregister("command")
    plugins._infos.pop("command", None)


def raises(error: BaseException) -> Any:
    def run(arguments: Any) -> int:
        raise error

    return run


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"flambeau {flambeau.__version__}\n"


def test_module_and_script_are_the_same() -> None:
    done = subprocess.run([sys.executable, "-m", "flambeau", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"flambeau {flambeau.__version__}\n")


def test_without_a_command_it_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "info" in printed.err


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["dance"])
    assert exit_.value.code == 2
    assert "invalid choice: 'dance'" in capsys.readouterr().err


# -- info --------------------------------------------------------------------------------------------------------------


def test_info_shows_versions_plugins_and_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"Flambeau {flambeau.__version__} (")
    assert any(line.startswith("numpy ") for line in lines)
    assert any(line.split() == ["numpy", "flambeau", flambeau.__version__, "active"] for line in lines)
    assert any(line.split()[:3] == ["cpu", "plugin", "numpy"] for line in lines)
    assert any(line.split()[:3] == ["meta", "plugin", "core"] for line in lines)
    assert "Devices (default: cpu)" in lines


def test_info_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json", "--ops"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["version"] == flambeau.__version__
    assert {found["type"] for found in report["devices"]} >= {"cpu", "meta"}
    assert {plugin["name"]: plugin["state"] for plugin in report["plugins"]}["numpy"] == "active"
    assert set(report["ops"]["origins"]) == set(OPS)


def test_info_ops_lists_every_op(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--ops", "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    rows = {line.split()[0]: line.split()[1:] for line in printed.partition("Ops on cpu")[2].splitlines()[1:]}
    assert set(rows) == set(OPS)
    assert rows["add"] == ["primitive", "numpy"]


def test_info_op_shows_whose_kernel_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "add", "exp", "--device", "meta"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Ops on meta: whose kernel runs",
        "  add  primitive  core",
        "  exp  primitive  core",
    ]


def test_info_says_what_an_op_is_computed_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "logsumexp", "--device", "meta"]) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert row.startswith("  logsumexp  composite  decomposition into ")
    assert {"amax", "exp", "log"} <= set(re.findall(r"\w+", row))


def test_info_follows_a_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    class Kernels:
        @hookimpl
        def flambeau_kernels(self, device_type: str) -> Any:
            return [(1, {"exp": lambda input: input})] if device_type == "cpu" else []

    plugins.register(Kernels(), name="kernels")
    try:
        assert main(["info", "exp"]) == 0
        assert capsys.readouterr().out.splitlines()[1].split() == ["exp", "primitive", "kernels"]
    finally:
        plugins.unregister("kernels")


def test_info_unknown_op(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "expp"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("flambeau info: error: there is no op named 'expp'; did you mean exp")


def test_info_unknown_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "exp", "--device", "abacus"]) == 1
    assert "no plugin provides the device type 'abacus'" in capsys.readouterr().err


def test_info_shows_a_broken_plugin_and_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    class Breaks:
        @hookimpl
        def flambeau_models(self) -> Any:
            raise OSError("no models today")

    plugins.register(Breaks(), name="breaks")
    try:
        assert main(["info"]) == 0
        printed = capsys.readouterr()
        (line,) = [line for line in printed.out.splitlines() if line.startswith("  breaks ")]
        assert line.split(maxsplit=1)[1].split(maxsplit=3)[3] == "broken  OSError: no models today"
        assert printed.err == ""
    finally:
        plugins._infos.pop("breaks", None)


def test_info_survives_a_backend_whose_driver_fails(capsys: pytest.CaptureFixture[str]) -> None:
    class Fails(dispatch.Backend):
        name = "fails"

        def is_available(self) -> bool:
            raise OSError("libdriver.so: cannot open")

    class Plugin:
        @hookimpl
        def flambeau_backends(self) -> Any:
            return [Fails()]

    plugins.register(Plugin(), name="fails")
    try:
        assert main(["info"]) == 0
        assert "not available  OSError: libdriver.so: cannot open" in capsys.readouterr().out
    finally:
        plugins.unregister("fails")


# -- subcommands of plugins --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("returned", "status"), [(0, 0), (None, 0), (3, 3)])
def test_command_of_a_plugin(command: Any, returned: Any, status: int) -> None:
    command(lambda arguments: returned)
    assert main(["try-it"]) == status


def test_command_that_fails(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command(raises(ValueError("the labels do not fit")))
    assert main(["try-it"]) == 1
    assert capsys.readouterr().err == "flambeau try-it: error: the labels do not fit\n"
    assert main(["--traceback", "try-it"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_command_that_is_interrupted(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    command(raises(KeyboardInterrupt()))
    assert main(["try-it"]) == 130
    assert capsys.readouterr().err == "flambeau: interrupted\n"


def test_plugin_that_breaks_while_adding_its_command_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    class Breaks:
        @hookimpl
        def flambeau_cli_commands(self, subparsers: Any) -> None:
            raise ImportError("no terminal")

    plugins.register(Breaks(), name="breaks")
    try:
        plugins.register(Command(lambda arguments: 0), name="command")
        assert main(["try-it"]) == 0
        assert capsys.readouterr().err == (
            "flambeau: warning: Flambeau leaves out the plugin 'breaks': ImportError: no terminal. Mend, upgrade or "
            "uninstall it, or silence this with FLAMBEAU_DISABLE_PLUGINS=breaks\n"
        )
    finally:
        plugins.unregister("command")
        plugins._infos.pop("breaks", None)


def test_reader_that_stops_reading() -> None:
    """`flambeau info --ops | head -1` ends without a traceback."""
    command = [sys.executable, "-u", "-m", "flambeau", "info", "--ops"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert "Traceback" not in error
    assert "BrokenPipeError" not in error
