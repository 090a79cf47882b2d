"""What all tests share: a process-wide state that no test leaves changed."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if not any(entry.name == "numpy" for entry in importlib.metadata.entry_points(group="flambeau")):
        pytest.exit("Flambeau's plugins are not found, it is not installed: pip install -e '.[dev]'", returncode=4)


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    """A seed for each test; the defaults and the recording mode as they were, afterwards."""
    import flambeau
    from flambeau import devices, dtypes
    from flambeau.autograd.grad_mode import state, switch

    flambeau.manual_seed(0)
    before = dtypes.get_default_dtype(), devices._process_default, devices._defaults.stack, state.enabled
    yield
    dtypes.set_default_dtype(before[0])
    devices._process_default = before[1]
    devices._defaults.stack = before[2]
    switch(before[3])


class FreshEnvironment:
    """A virtual environment with what this one has, in which plugins are installed without touching this one."""

    def __init__(self, folder: Path) -> None:
        made = self.run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
        assert made.returncode == 0, made.stderr
        self.python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        asked = self.run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
        outer = dict.fromkeys([sysconfig.get_path("purelib"), *(p for p in sys.path if p.endswith("-packages"))])
        (Path(asked.stdout.strip()) / "outer.pth").write_text("\n".join(outer) + "\n")

    def run(self, *command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command where our packages are found, installed or in a checkout, without this pytest's settings."""
        import flambeau
        import flambeau_new_plugin
        import flambeau_numpy
        import flambeau_pytest
        import flambeau_vision

        packages = (flambeau, flambeau_new_plugin, flambeau_numpy, flambeau_pytest, flambeau_vision)
        roots = dict.fromkeys(str(Path(str(package.__file__)).parents[1]) for package in packages)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*roots, os.environ.get("PYTHONPATH", "")])}
        environment.pop("PYTEST_ADDOPTS", None)
        return subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True)

    def install(self, *projects: Path) -> None:
        """Install packages from their folders, without a network."""
        options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
        pip = [sys.executable, "-m", "pip", "--python", self.python, "install", *options, *projects]
        installed = self.run(*pip, cwd=self.python.parents[1])
        if "No module named pip" in installed.stderr:
            pytest.skip("pip is not installed here")
        assert installed.returncode == 0, installed.stdout + installed.stderr


@pytest.fixture(scope="module")
def fresh_environment(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    """An environment of the test module's own."""
    pytest.importorskip("setuptools")
    return FreshEnvironment(tmp_path_factory.mktemp("fresh") / "venv")
