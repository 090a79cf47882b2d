"""The command-line options of the conformance kit: a pytest plugin (entry point ``pytest11``).

pytest reads the options of a package that is named with ``--pyargs`` only from plugins, not from its ``conftest.py``.
This is loaded in every pytest session where Flambeau is installed, so it imports nothing of Flambeau, and adds nothing
unless the kit is what is run: other test suites have a ``--device`` of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest

_KIT = "flambeau.testing"
_OPTIONS = {
    "--device": ("cpu", "the device to test, 'cpu', 'opencl:0' ... (default: cpu)"),
    "--dtype": ("", "only these dtypes, separated by commas (default: all that the device holds)"),
    "--op": ("", "only these ops, separated by commas (default: all)"),
    "--report": ("", "write what holds, what is missing, what is slow and what to do next to FILE.html or FILE.json"),
    "--samples": ("", "a module with samples of a plugin's ops to import, or several separated by commas"),
}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: Any, parser: Any, args: list[str]) -> None:
    """Add the options, before pytest reads the command line for good."""
    if not _runs_the_kit(args):
        return
    group = parser.getgroup("flambeau", "conformance of a Flambeau backend (pytest --pyargs flambeau.testing)")
    for name, (default, text) in _OPTIONS.items():
        # Another plugin may have an option of this name already; then its value is read.
        with suppress(ValueError):
            group.addoption(name, default=default, help=text)
    with suppress(ValueError):
        group.addoption(
            "--decompose",
            action="store_true",
            help="compute composites from primitives alone, whatever kernels the device has for them",
        )
    with suppress(ValueError):
        group.addoption("--native", action="store_true", help="only ops for which the device has kernels of its own")
    with suppress(ValueError):
        group.addoption("--quick", action="store_true", help="one dtype an op and no second gradients: under a minute")


def _runs_the_kit(args: Iterable[str]) -> bool:
    return any(_KIT in argument or _KIT.replace(".", "/") in argument for argument in args)


def pytest_configure(config: Any) -> None:
    """Gather the outcomes: here, since pytest-xdist's main process never sees the kit's own ``conftest.py``."""
    if not _runs_the_kit(config.invocation_params.args) or hasattr(config, "workerinput"):
        return
    device = config.getoption("--device", default="") or "cpu"
    from flambeau.devices import device as device_class
    from flambeau.dispatch import load

    try:
        load(device_class(device))
    except RuntimeError:
        return  # the kit's `conftest.py` says so
    from flambeau.testing.report import Report

    path = config.getoption("--report", default="")
    quick = config.getoption("--quick", default=False)
    config.pluginmanager.register(Report(device, path, quick), "flambeau-report")
