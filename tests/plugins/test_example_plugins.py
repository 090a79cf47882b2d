"""The packages in `examples/plugins`: they build, and Flambeau finds them. Their own tests are `tox -e plugins`."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "plugins"
PACKAGES = sorted(folder.name for folder in EXAMPLES.iterdir() if (folder / "pyproject.toml").exists())


@pytest.fixture(scope="module")
def environment(fresh_environment: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An environment in which all of them are installed, without what they depend on."""
    folder = tmp_path_factory.mktemp("examples")
    leave = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    for name in PACKAGES:
        shutil.copytree(EXAMPLES / name, folder / name, ignore=leave)
    fresh_environment.install(*[folder / name for name in PACKAGES])
    return fresh_environment


@pytest.fixture(scope="module")
def report(environment: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `flambeau info` says there."""
    command = (environment.python, "-m", "flambeau", "info", "--json")
    done = environment.run(*command, cwd=tmp_path_factory.mktemp("info"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_readme_names_every_package() -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    tox = (EXAMPLES.parents[1] / "tox.ini").read_text(encoding="utf-8")
    assert len(PACKAGES) >= 4
    for name in PACKAGES:
        assert f"({name})" in readme
        assert f"examples/plugins/{name}" in tox
        assert (EXAMPLES / name / "README.md").exists()
        assert list((EXAMPLES / name / "tests").glob("test_*.py"))


@pytest.mark.parametrize("name", PACKAGES)
def test_flambeau_finds_it(name: str, report: Any) -> None:
    project = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (entry,) = project["entry-points"]["flambeau"]
    found = {plugin["name"]: plugin for plugin in report["plugins"]}[entry]
    assert (found["state"], found["distribution"], found["version"]) == ("active", name, project["version"])


def test_what_needs_no_other_package_is_used(environment: Any, tmp_path: Path) -> None:
    code = """
from flambeau.ops import poincare_distance  # before any device is used
import flambeau
point = flambeau.zeros(2)
print(poincare_distance(point, point).item(), "tcn_forecaster" in flambeau.catalogue.list_models())
try:
    flambeau.ops.absent
except AttributeError as error:
    print(error)
"""
    done = environment.run(environment.python, "-W", "error", "-c", code, cwd=tmp_path)
    said = "module 'flambeau.ops' has no attribute 'absent': there is no op of that name"
    assert done.stdout.splitlines() == ["0.0 True", said], done.stderr


def test_a_backend_without_its_library_says_how_to_install_it(environment: Any, tmp_path: Path) -> None:
    code = """
import sys
sys.modules["mlx"] = None  # as where it is not installed
import flambeau
flambeau.ones(1, device="mlx")
"""
    done = environment.run(environment.python, "-c", code, cwd=tmp_path)
    assert "RuntimeError: device 'mlx:0' is not available here" in done.stderr
    assert "pip install 'flambeau-mlx[cpu]' (on Linux), pip install flambeau-mlx (on Apple Silicon)" in done.stderr
