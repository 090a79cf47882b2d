"""The stand-in for CuPy promises nothing that CuPy does not have: names, arguments, the loops of ufuncs."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import cupy
import cupy_backends
import cupyx
import pytest

STAND_IN = Path(__file__).parents[1] / "cupy_on_cpu"
UFUNCS = [line.split("\t") for line in (STAND_IN / "cupy" / "ufuncs.tsv").read_text().splitlines()]
#: Modules of the stand-in and what they stand for; the last two are its private parts of ``cupy`` itself.
MODULES = {
    "cupy/linalg.py": cupy.linalg, "cupy/fft.py": cupy.fft, "cupy/cuda/__init__.py": cupy.cuda,
    "cupy/cuda/runtime.py": cupy.cuda.runtime, "cupy/cuda/stream.py": cupy.cuda, "cupyx/__init__.py": cupyx,
    "cupy/_functions.py": cupy, "cupy/__init__.py": cupy,
}  # fmt: skip


def parsed(file: str) -> ast.Module:
    return ast.parse((STAND_IN / file).read_text())


def public(module: ast.Module) -> dict[str, ast.AST]:
    """What a module defines, assigns or imports under another's name, without what begins with an underscore."""
    found: dict[str, ast.AST] = {}
    for node in module.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                found.update({name.id: node for name in ast.walk(target) if isinstance(name, ast.Name)})
        elif isinstance(node, ast.ImportFrom):
            found.update({alias.asname: node for alias in node.names if alias.asname == alias.name})
    return {name: node for name, node in found.items() if not name.startswith("_")}


#: The stand-in's own helpers.
OWN = {"failing"}


@pytest.mark.parametrize("file", MODULES)
def test_the_names_are_cupys(file: str) -> None:
    names = public(parsed(file)).keys() - OWN
    assert names
    assert [name for name in sorted(names) if not hasattr(MODULES[file], name)] == []


@pytest.mark.parametrize("file", ["cupy/_functions.py", "cupy/fft.py"])
def test_the_arguments_are_cupys(file: str) -> None:
    for name, node in public(parsed(file)).items():
        if name in OWN or not isinstance(node, ast.FunctionDef):
            continue
        try:
            theirs = list(inspect.signature(getattr(MODULES[file], name)).parameters)
        except ValueError:  # compiled, without a signature
            continue
        if theirs[:1] == ["args"]:  # whatever its ufunc takes
            continue
        ours = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
        assert ours == theirs[: len(ours)], name


def test_the_methods_of_arrays_are_cupys() -> None:
    classes = {node.name: node for node in parsed("cupy/_array.py").body if isinstance(node, ast.ClassDef)}
    members: Any = classes["ndarray"].body
    names = {n.name for n in members if isinstance(n, ast.FunctionDef)}
    names |= {n.targets[0].id for n in members if isinstance(n, ast.Assign)}
    names = {name for name in names if not name.startswith("_") or name.endswith("__")}
    assert [name for name in sorted(names) if not hasattr(cupy.ndarray, name)] == []


@pytest.mark.parametrize(("name", "loops"), UFUNCS)
def test_the_loops_of_ufuncs_are_cupys(name: str, loops: str) -> None:
    assert loops.split() == getattr(cupy, name).types


def test_the_arguments_of_cublas() -> None:
    """From the compiled module's text: without cuBLAS itself it cannot be imported."""
    (node,) = [
        n
        for n in parsed("cupy_backends/cuda/libs/cublas.py").body
        if isinstance(n, ast.FunctionDef) and n.name[0] != "_"
    ]
    (binary,) = (Path(next(iter(cupy_backends.__path__))) / "cuda" / "libs").glob("cublas.*.so")
    text = binary.read_bytes()
    start = text.index(f"{node.name}(intptr_t handle".encode())
    arguments = text[start : text.index(b")", start)].decode().partition("(")[2].split(", ")
    assert [a.rsplit(" ", 1)[1] for a in arguments] == [a.arg for a in node.args.args]


def test_errors_are_where_we_look_for_them() -> None:
    assert issubclass(cupy.cuda.runtime.CUDARuntimeError, RuntimeError)
    assert importlib.import_module("cupy_backends.cuda.libs.nvrtc").NVRTCError
