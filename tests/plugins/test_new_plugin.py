"""`flambeau new-plugin`: each kind is written, installed elsewhere, passes its tests, and works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flambeau.cli import main
from flambeau_new_plugin.package import KINDS, PluginName, files_of, write

NAMES = {kind: PluginName(f"flambeau-made-{kind}") for kind in KINDS}

# What a user does with each, and what it prints.
USES = {
    "backend": ("print((flambeau.ones(2, device='made_backend') + 1).tolist())", "[2.0, 2.0]"),
    "kernels": (
        "flambeau.ones(1); from flambeau import dispatch; print(dispatch.kernel_origins('cpu')['sigmoid'])",
        "made-kernels",
    ),
    "ops": ("flambeau.ones(1); print(flambeau.ops.made_ops_log_cosh(flambeau.zeros(2)).tolist())", "[0.0, 0.0]"),
    "models": (
        "print(flambeau.catalogue.get_model('made_models', num_classes=3)(flambeau.ones(2, 64)).shape)",
        "flambeau.Size([2, 3])",
    ),
    "datasets": ("print(len(flambeau.catalogue.get_dataset('made_datasets', count=5)))", "5"),
    "format": (
        "flambeau.save({'a': flambeau.ones(1)}, 'x.made_format'); print(flambeau.load('x.made_format')['a'])",
        "tensor([1.])",
    ),
    "comm": (
        "from flambeau import plugins\n"
        "group = plugins.collect('flambeau_communication_backends')['made_comm'](0, 1); print(group.all_reduce(3))",
        "3",
    ),
    "command": ("from flambeau.cli import main; main(['made-command', '--help'])", "usage: flambeau made-command"),
}


@pytest.fixture(scope="module")
def environment(fresh_environment: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An environment in which a plugin of every kind is installed, from `environment.plugins/KIND`."""
    pytest.importorskip("array_api_strict")
    folder = tmp_path_factory.mktemp("plugins")
    for kind, name in NAMES.items():
        write(name, kind, folder / kind)
    fresh_environment.install(*[folder / kind for kind in KINDS])
    fresh_environment.plugins = folder
    return fresh_environment


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_pass(kind: str, environment: Any) -> None:
    command = (environment.python, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    done = environment.run(*command, cwd=environment.plugins / kind)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert "skipped" not in done.stdout.splitlines()[-1]


def test_info_lists_every_kind(environment: Any, tmp_path: Path) -> None:
    done = environment.run(environment.python, "-m", "flambeau", "info", "--json", cwd=tmp_path)
    report = json.loads(done.stdout)
    states = {plugin["name"]: (plugin["state"], plugin["version"]) for plugin in report["plugins"]}
    assert {name.short: states.get(name.short) for name in NAMES.values()} == {
        name.short: ("active", "0.1.0") for name in NAMES.values()
    }
    assert "made_backend" in {device["type"] for device in report["devices"]}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_used(kind: str, environment: Any, tmp_path: Path) -> None:
    code, expected = USES[kind]
    done = environment.run(environment.python, "-W", "error", "-c", f"import flambeau\n{code}", cwd=tmp_path)
    assert done.stdout.startswith(expected), done.stderr


def test_what_is_written_is_in_good_style(environment: Any) -> None:
    ruff = shutil.which("ruff", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if ruff is None:
        pytest.skip("ruff is not installed here")
    for command in (("check", "--select", "E,F,W,I,UP,B,D100,D104", "--no-cache"), ("format", "--check", "--no-cache")):
        done = subprocess.run([ruff, *command, str(environment.plugins)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


# -- the command -------------------------------------------------------------------------------------------------------


def test_command_writes_and_says_what_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", "flambeau-abacus", "--kind", "models"]) == 0
    printed = capsys.readouterr().out
    written = {str(p.relative_to(tmp_path / "flambeau-abacus")) for p in tmp_path.rglob("*") if p.is_file()}
    assert written == set(files_of(PluginName("flambeau-abacus"), "models"))
    assert {".github/workflows/tests.yml", "pyproject.toml", "README.md", "src/flambeau_abacus/plugin.py"} <= written
    assert all(f"  {file}\n" in printed for file in written)
    assert "cd flambeau-abacus\n  pip install -e '.[test]'\n  pytest\n" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["flambeau-abacus"]


def test_path_names_the_folder(tmp_path: Path) -> None:
    assert main(["new-plugin", "abacus-ops", "--kind", "ops", "--path", str(tmp_path / "here")]) == 0
    assert (tmp_path / "here" / "src" / "abacus_ops" / "ops.py").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Flambeau-Abacus", "'Flambeau-Abacus' is no name for a plugin: it is made of words of lower-case letters"),
        ("flambeau--abacus", "'flambeau--abacus' is no name for a plugin"),
        ("abacus-", "'abacus-' is no name for a plugin"),
        ("2d", "'2d' is no name for a plugin"),
        ("a/b", "'a/b' is no name for a plugin"),
        ("flambeau-lambda", "'flambeau-lambda' is no name for a plugin: 'lambda' is a word of Python's grammar"),
        ("json", "there is a module 'json' already, "),
        ("numpy", "there is a module 'numpy' already, "),
        ("flambeau-vision", "there is a module 'flambeau_vision' already, "),
        ("my-vision", None),
        ("vision", "there is a plugin 'vision' already (`flambeau info` lists them): choose another name"),
    ],
)
def test_names(name: str, message: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["new-plugin", name, "--kind", "ops", "--path", str(tmp_path / "new")])
    error = capsys.readouterr().err
    if message is None:
        assert status == 0
        return
    assert status == 1
    assert error.startswith(f"flambeau new-plugin: error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_refused_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    assert main(["new-plugin", "abacus", "--kind", "ops", "--path", str(tmp_path / "there")]) == 1
    assert f"{tmp_path / 'there'} exists already: name another folder with --path" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["mine.txt"]


def test_missing_parent_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "abacus", "--kind", "ops", "--path", str(tmp_path / "absent" / "new")]) == 1
    assert f"{tmp_path / 'absent'}, in which new would be, is no folder: make it first" in capsys.readouterr().err


def test_it_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_text
    count = 0

    def full(self: Path, *arguments: Any, **options: Any) -> int:
        nonlocal count
        count += 1
        if count == 4:
            raise OSError(28, "No space left on device")
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write(PluginName("abacus"), "ops", tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_templates_are_shipped() -> None:
    """Every kind has its own code, tests and README beside the common files."""
    for kind, name in NAMES.items():
        files = files_of(name, kind)
        assert "README.md" in files
        assert any(file.startswith("tests/") and file != "tests/test_installed.py" for file in files)
        assert not [file for file, text in files.items() if "plugin_module" in text or "{{" in text.replace("${{", "")]
