"""The house keeps its own rules: generated files are up to date, what the README says is so, imports point one way."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import shlex
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

import flambeau

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGE_FOLDERS = [
    path
    for where in PROJECT["tool"]["setuptools"]["packages"]["find"]["where"]
    for path in sorted((ROOT / where).glob("flambeau*"))
    if (path / "__init__.py").exists()
]
SOURCES = [source for folder in PACKAGE_FOLDERS for source in sorted(folder.rglob("*.py"))]


def run(*command: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **options)  # type: ignore[call-overload]


# -- generated files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["make_stubs", "make_reference", "make_state_table"])
def test_generated_files_are_up_to_date(tool: str) -> None:
    done = run(sys.executable, f"tools/{tool}.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def names_in(body: list[ast.stmt]) -> set[str]:
    """What a stub declares in a module or class."""
    named: set[str] = set()
    for node in body:
        if isinstance(node, ast.ImportFrom):
            named |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            named.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            named.add(node.target.id)
        elif isinstance(node, ast.Assign):
            named |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return named


def stub(name: str) -> list[ast.stmt]:
    return ast.parse((ROOT / "core" / "flambeau" / name).read_text()).body


def test_stub_names_everything_that_the_package_has() -> None:
    # In a process of its own: submodules that other tests import are attributes from then on.
    listed = run(sys.executable, "-c", "import flambeau; print(*dir(flambeau))").stdout.split()
    public = {name for name in listed if not name.startswith("_")}
    own_imports = {"Any", "annotations", "import_module"}
    assert sorted(public - own_imports - names_in(stub("__init__.pyi"))) == []


def test_stub_of_functional_names_everything() -> None:
    public = set(flambeau.nn.functional.__all__)
    assert sorted(public - names_in(stub("nn/functional/__init__.pyi"))) == []


def test_stub_of_tensor_has_every_method() -> None:
    tensor = next(node for node in stub("tensor.pyi") if isinstance(node, ast.ClassDef) and node.name == "Tensor")
    public = {name for name in vars(flambeau.Tensor) if not name.startswith("_")}
    assert sorted(public - names_in(tensor.body)) == []


def test_names_that_programs_use_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What two of the census's programs use exists, or `tools/pytorch_exclusions.txt` says why not."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    table = importlib.import_module("make_state_table")
    listed = table.names()
    assert sum(name.programs >= 2 for name in listed) > 400
    assert [name.name for name in table.wanted_and_missing(listed).get("", [])] == []


# -- what the README and the project file say --------------------------------------------------------------------------


def readme_commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line[2:].partition("#")[0].strip() for block in blocks for line in block.splitlines() if line[:2] == "$ "]
    return [command.strip() for line in lines for command in line.split("&&")]


def test_readme_has_the_two_commands() -> None:
    assert readme_commands() == ["pip install '.[vision]'", "flambeau demo", "pip install tox", "tox"]


def test_readme_commands_exist() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert {"vision"} <= set(extras)
    assert (ROOT / "tox.ini").exists()
    done = run(sys.executable, "-m", "flambeau", "demo", "--help")
    assert done.returncode == 0, done.stderr
    for option in ("--device", "--model", "--epochs", "--data", "--out"):
        assert option in done.stdout


def test_environments_that_documents_name_are_in_tox_ini() -> None:
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini")
    environments = {section.removeprefix("testenv:") for section in tox.sections()}
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for command in re.findall(r"tox -e (\w+)", document.read_text()):
            assert command in environments, f"{document.name} names the tox environment {command!r}"


def test_ci_runs_the_readme_test_command() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert run("bash", "-n", ".ci/run").returncode == 0
    assert shlex.split(script.strip().splitlines()[-1])[:3] == ["exec", "$tox", "run"]


def test_version_is_the_same_everywhere() -> None:
    version = PROJECT["project"]["version"]
    assert flambeau.__version__ == version
    assert importlib.metadata.version("flambeau") == version
    assert re.search(rf"^## \[(Unreleased|{re.escape(version)})\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_base_install_needs_numpy_and_pluggy_only() -> None:
    needed = {re.match(r"[\w-]+", requirement).group() for requirement in PROJECT["project"]["dependencies"]}  # type: ignore[union-attr]
    assert needed == {"numpy", "pluggy"}


def test_entry_points_are_plugins() -> None:
    """Each names a module with hooks, and the hooks fit their specifications."""
    import pluggy

    from flambeau import hookspec

    manager = pluggy.PluginManager(hookspec.PROJECT)
    manager.add_hookspecs(hookspec)
    for name, target in PROJECT["project"]["entry-points"]["flambeau"].items():
        manager.register(importlib.import_module(target), name=name)
        assert manager.get_hookcallers(manager.get_plugin(name)), f"{target} has no hooks"
    manager.check_pending()


# -- imports -----------------------------------------------------------------------------------------------------------


def modules_after(statement: str) -> set[str]:
    done = run(sys.executable, "-c", f"{statement}\nimport sys; print('\\n'.join(sys.modules))")
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.split()} | set(done.stdout.split())


def test_import_is_light() -> None:
    """What numpy does not load either and nobody needs before the first tensor stays out."""
    added = modules_after("import flambeau") - modules_after("import numpy, pluggy")
    heavy = {
        "torch", "scipy", "PIL", "tqdm", "ml_dtypes", "safetensors", "multiprocessing", "concurrent.futures",
        "importlib.metadata", "inspect", "asyncio", "tempfile", "unittest", "http", "socket", "zipfile", "tarfile",
        "argparse", "difflib", "flambeau_numpy", "flambeau_vision", "flambeau.cli", "flambeau.testing",
    }  # fmt: skip
    assert sorted(added & heavy) == []


def test_backend_is_loaded_when_first_used() -> None:
    assert "flambeau_numpy.backend" not in modules_after("import flambeau")
    assert "flambeau_numpy.backend" in modules_after("import flambeau; flambeau.ones(1)")


def test_nothing_imports_pytorch() -> None:
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not any(name.split(".")[0] in ("torch", "torchvision") for name in names), source


def test_import_contract_covers_every_package() -> None:
    """A package that nobody added to the import-linter configuration would be free to import anything."""
    configuration = PROJECT["tool"]["importlinter"]
    found = sorted(folder.name for folder in PACKAGE_FOLDERS)
    assert sorted(configuration["root_packages"]) == found
    layers = configuration["contracts"][0]["layers"]
    assert sorted(name for layer in layers for name in re.split(r"\W+", layer)) == found
    assert layers[-1] == "flambeau"
    assert sorted(PROJECT["tool"]["mypy"]["packages"]) == found
    assert sorted(PROJECT["tool"]["ruff"]["lint"]["isort"]["known-first-party"]) == found


# -- source ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_says_what_it_is(source: Path) -> None:
    tree = ast.parse(source.read_text())
    assert ast.get_docstring(tree), "the module has no docstring"
    if any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree)):
        future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
        assert future, "from __future__ import annotations is missing"


def test_packages_ship_their_types() -> None:
    for folder in PACKAGE_FOLDERS:
        assert (folder / "py.typed").exists(), f"{folder.name} has no py.typed"
