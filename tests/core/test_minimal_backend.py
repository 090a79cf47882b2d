"""A third party's backend of less than a hundred lines, installed as a package of its own, trains a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import flambeau
import flambeau_numpy
import flambeau_pytest

pytest.importorskip("array_api_strict")
pytest.importorskip("setuptools")

SOURCE = Path(__file__).parent / "minimal_backend"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    # Where this interpreter finds our packages (a checkout's folders, where they are not installed as a wheel), without
    # the settings of the pytest that runs this test.
    packages = (flambeau, flambeau_numpy, flambeau_pytest)
    roots = dict.fromkeys(str(Path(str(package.__file__)).parents[1]) for package in packages)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*roots, os.environ.get("PYTHONPATH", "")])}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment in which the backend is installed, beside what this one has."""
    folder = tmp_path_factory.mktemp("third_party")
    project = folder / "project"
    shutil.copytree(SOURCE, project, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    made = run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    assert made.returncode == 0, made.stderr
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    asked = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    # The packages of this environment, in which the new one shall not install.
    (Path(asked.stdout.strip()) / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    installed = run(sys.executable, "-m", "pip", "--python", python, "install", *options, project, cwd=folder)
    if "No module named pip" in installed.stderr:
        pytest.skip("pip is not installed here")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    return python


def test_it_is_less_than_a_hundred_lines() -> None:
    assert len((SOURCE / "flambeau_strict.py").read_text().splitlines()) < 100


def test_it_is_found_and_trains_a_network_as_the_cpu_does(python: Path, tmp_path: Path) -> None:
    losses = {}
    for device in ("strict", "cpu"):
        trained = run(python, SOURCE / "train.py", device, cwd=tmp_path)
        assert trained.returncode == 0, trained.stderr
        losses[device] = [float(word) for word in trained.stdout.split()]
    first, last = losses["strict"]
    assert first > 0.5
    assert last < 0.01
    assert losses["strict"] == pytest.approx(losses["cpu"], rel=1e-3)


def test_what_it_lacks_is_said_by_name(python: Path, tmp_path: Path) -> None:
    code = "import flambeau; flambeau.erf(flambeau.ones(2, device='strict'))"
    failed = run(python, "-c", code, cwd=tmp_path)
    assert "NotImplementedError: erf: the backend for 'strict' has no kernel for this primitive" in failed.stderr
    assert "pytest --pyargs flambeau.testing --device strict" in failed.stderr


def test_the_conformance_kit_runs_on_it(python: Path, tmp_path: Path) -> None:
    kit = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "flambeau.testing", "--device", "strict"]
    kit += ["--dtype", "float32,int64"]
    ops = "exp,mul,sum,matmul,tanh,log_softmax,linear"
    passed = run(*kit, "--op", ops, "-k", "not every_primitive", cwd=tmp_path)
    assert passed.returncode == 0, passed.stdout[-3000:]
    lacking = run(*kit, "-k", "every_primitive", cwd=tmp_path)
    assert lacking.returncode == 1
    assert "the backend for 'strict' lacks kernels for these primitives: " in lacking.stdout
    assert "erf" in lacking.stdout
