"""Write `docs/pytorch_names.tsv`: the public documented names of PyTorch, and how often programs use them.

    python tools/list_pytorch_names.py CENSUS.tsv

Run by hand for a new version of PyTorch, in an environment that has it; `tools/make_state_table.py` reads the file and
needs no PyTorch. The lines are facts only: group, name, kind, and from the census (columns `name`, `kind`, `uses`,
`programs`) in how many places and in how many of 22 public programs the name was found. A name counts as documented
where it has a docstring, or is listed in its module's `__all__`, or a program uses it.
"""

from __future__ import annotations

import csv
import importlib
import inspect
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

TABLE = Path(__file__).resolve().parents[1] / "docs" / "pytorch_names.tsv"

#: The modules, one group each, in the order of the page.
_LISTED = """
torch nn nn.functional nn.init nn.utils nn.utils.rnn nn.utils.parametrize nn.utils.parametrizations
nn.utils.prune nn.utils.stateless nn.attention nn.parallel linalg fft special signal.windows random func
autograd autograd.functional autograd.forward_ad autograd.graph autograd.profiler optim optim.lr_scheduler
optim.swa_utils utils.data utils.data.distributed utils.checkpoint utils.dlpack utils.hooks utils.tensorboard
utils.cpp_extension utils.model_zoo utils.benchmark utils serialization amp cuda cuda.amp backends.cuda
backends.cudnn backends.mps backends.mkl backends.mkldnn backends.openmp backends.opt_einsum backends.cpu
distributions distributions.constraints distributions.transforms distributed multiprocessing testing hub library
overrides profiler compiler export jit fx onnx mps xpu cpu mtia accelerator sparse nested masked package futures
monitor
"""
MODULES = _LISTED.split()


def kind_of(value: Any) -> str:
    if isinstance(value, type):
        return "class"
    if callable(value):
        return "function"
    if isinstance(value, types.ModuleType):
        return "module"
    if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
        return type(value).__name__
    return "attribute"


def has_text(value: Any) -> bool:
    text = getattr(value, "__doc__", None)
    return isinstance(text, str) and bool(text.strip())


def is_builtin(value: Any) -> bool:
    return isinstance(value, types.BuiltinFunctionType)


def exists(name: str) -> bool:
    """Whether PyTorch has a name that programs use."""
    value: Any = torch if name.startswith("torch.") else torch.Tensor
    for part in name.split(".")[1:]:
        if part.startswith("_"):
            return False
        try:
            value = getattr(value, part)
        except (AttributeError, RuntimeError):
            return False
    return not isinstance(value, types.ModuleType)


def documented(name: str, value: Any, listed: bool) -> bool:
    if name.startswith("_") or isinstance(value, types.ModuleType):
        return False
    if isinstance(value, (type, types.FunctionType)) and not str(value.__module__).startswith("torch"):
        return False  # imported from elsewhere
    if type(value).__name__ in ("TypeVar", "ParamSpec", "_SpecialGenericAlias", "_Feature", "pybind11_type"):
        return False  # annotations, and internals of the C++ library
    if callable(value):
        return has_text(value) or (listed and isinstance(value, (type, types.FunctionType)))
    return listed or isinstance(value, (torch.dtype, torch.layout, torch.memory_format))


def names_of(group: str) -> Iterator[tuple[str, str]]:
    path = "torch" if group == "torch" else f"torch.{group}"
    module = importlib.import_module(path)
    listed = set(getattr(module, "__all__", ()))
    for name in sorted(listed | set(dir(module))):
        value = getattr(module, name, None)
        at_home = str(getattr(value, "__module__", None) or path).startswith(path)
        open_to = name in listed or (at_home and (not listed or group == "torch")) or is_builtin(value)
        if open_to and documented(name, value, name in listed):
            yield f"{path}.{name}", kind_of(value)


def tensor_names() -> Iterator[tuple[str, str]]:
    for name in sorted(dir(torch.Tensor)):
        value = inspect.getattr_static(torch.Tensor, name)
        if not name.startswith("_") and has_text(value):
            yield f"Tensor.{name}", "method" if callable(value) else "attribute"


def main(argv: list[str]) -> int:
    """Write the table; returns the exit status."""
    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    with open(argv[0], encoding="utf-8") as file:
        census = {row["name"]: row for row in csv.DictReader(file, delimiter="\t")}
    rows: dict[str, tuple[str, str]] = {}
    for group in MODULES:
        try:
            found = list(names_of(group))
        except ImportError as error:
            print(f"torch.{group} is left out: {error}")
            continue
        for name, kind in found:
            rows.setdefault(name, (group, kind))
    for name, kind in tensor_names():
        rows[name] = ("Tensor", kind)
    groups = {f"torch.{group}": group for group in MODULES}
    for name, row in census.items():
        home = name.rpartition(".")[0]
        if name.startswith(("torch.", "Tensor.")) and name not in rows and exists(name):
            rows[name] = (groups.get(home, row["kind"]), "undocumented")
    order = {group: i for i, group in enumerate(["torch", "Tensor", *MODULES[1:]])}
    with open(TABLE, "w", encoding="utf-8", newline="") as file:
        file.write(f"# PyTorch {torch.__version__.partition('+')[0]}; written by tools/list_pytorch_names.py\n")
        file.write("group\tname\tkind\tuses\tprograms\n")
        for name, (group, kind) in sorted(rows.items(), key=lambda r: (order.get(r[1][0], 999), r[1][0], r[0])):
            row = census.get(name, {"uses": "0", "programs": "0"})
            file.write(f"{group}\t{name}\t{kind}\t{row['uses']}\t{row['programs']}\n")
    print(f"wrote {TABLE.name}: {len(rows)} names")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
