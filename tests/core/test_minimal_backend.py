"""A third party's backend of less than a hundred lines, installed as a package of its own, trains a network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("array_api_strict")

SOURCE = Path(__file__).parent / "minimal_backend"


@pytest.fixture(scope="module")
def python(fresh_environment: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment in which the backend is installed."""
    project = tmp_path_factory.mktemp("third_party") / "project"
    shutil.copytree(SOURCE, project, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    fresh_environment.install(project)
    found: Path = fresh_environment.python
    return found


def test_it_is_less_than_a_hundred_lines() -> None:
    assert len((SOURCE / "flambeau_strict.py").read_text().splitlines()) < 100


def test_it_is_found_and_trains_a_network_as_the_cpu_does(python: Path, fresh_environment: Any, tmp_path: Path) -> None:
    losses = {}
    for device in ("strict", "cpu"):
        trained = fresh_environment.run(python, SOURCE / "train.py", device, cwd=tmp_path)
        assert trained.returncode == 0, trained.stderr
        losses[device] = [float(word) for word in trained.stdout.split()]
    first, last = losses["strict"]
    assert first > 0.5
    assert last < 0.01
    assert losses["strict"] == pytest.approx(losses["cpu"], rel=1e-3)


def test_what_it_lacks_is_said_by_name(python: Path, fresh_environment: Any, tmp_path: Path) -> None:
    code = "import flambeau; flambeau.erf(flambeau.ones(2, device='strict'))"
    failed = fresh_environment.run(python, "-c", code, cwd=tmp_path)
    assert "NotImplementedError: erf: the backend for 'strict' has no kernel for this primitive" in failed.stderr
    assert "pytest --pyargs flambeau.testing --device strict" in failed.stderr


def test_the_conformance_kit_runs_on_it(python: Path, fresh_environment: Any, tmp_path: Path) -> None:
    kit = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "flambeau.testing", "--device", "strict"]
    kit += ["--dtype", "float32,int64"]
    ops = "exp,mul,sum,matmul,tanh,log_softmax,linear"
    checks = (
        "test_values or test_gradients or test_inplace or test_views or test_meta or test_overrides or test_devices"
    )
    passed = fresh_environment.run(*kit, "--op", ops, "-k", checks, cwd=tmp_path)
    assert passed.returncode == 0, passed.stdout[-3000:]
    lacking = fresh_environment.run(*kit, "-k", "every_primitive", cwd=tmp_path)
    assert lacking.returncode == 1
    assert "the backend for 'strict' lacks kernels for these primitives: " in lacking.stdout
    assert "erf" in lacking.stdout
