"""The command-line options of the conformance kit: a pytest plugin (entry point ``pytest11``).

pytest reads the options of a package that is named with ``--pyargs`` only from plugins, not from its ``conftest.py``.
This is loaded in every pytest session where Flambeau is installed, so it imports nothing of Flambeau, and adds nothing
unless the kit is what is run: other test suites have a ``--device`` of their own.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

_KIT = "flambeau.testing"
_OPTIONS = {
    "--device": ("cpu", "the device to test, 'cpu', 'opencl:0' ... (default: cpu)"),
    "--dtype": ("", "only these dtypes, separated by commas (default: all that the device holds)"),
    "--op": ("", "only these ops, separated by commas (default: all)"),
    "--samples": ("", "a module with samples of a plugin's ops to import, or several separated by commas"),
}


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: Any, parser: Any, args: list[str]) -> None:
    """Add the options, before pytest reads the command line for good."""
    if not any(_KIT in argument or _KIT.replace(".", "/") in argument for argument in args):
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
