"""PyTorch's names bound to our modules: imports, identity, what is missing, processes, the command line."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flambeau.compat.version import TorchVersion


def run(tmp_path: Path, source: str, *arguments: str, module: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a program through ``python -m flambeau.compat.torch``."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(source))
    what = ["-m", "program"] if module else [str(script)]
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "flambeau.compat.torch", *what, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )


def prints(tmp_path: Path, source: str, expected: str, *arguments: str) -> None:
    done = run(tmp_path, source, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout == textwrap.dedent(expected)


# -- names -------------------------------------------------------------------------------------------------------------


#: A statement that binds ``x``, and what it is of ours.
NAMES = [
    ("import torch.nn as x", "flambeau.nn"),
    ("from torch import nn as x", "flambeau.nn"),
    ("import torch.nn.functional as x", "flambeau.nn.functional"),
    ("from torch.nn import functional as x", "flambeau.nn.functional"),
    ("import torch; x = torch.nn.utils.prune", "flambeau.nn.utils.prune"),
    ("import torch; x = torch.Tensor", "flambeau.Tensor"),
    ("from torch.utils.data import DataLoader as x", "flambeau.utils.data.DataLoader"),
    ("from torch.utils.data.dataloader import default_collate as x", "flambeau.utils.data.default_collate"),
    ("from torch.optim.lr_scheduler import _LRScheduler as x", "flambeau.optim.lr_scheduler.LRScheduler"),
    ("from torch.nn.modules.batchnorm import BatchNorm1d as x", "flambeau.nn.BatchNorm1d"),
    ("from torch.nn.modules.instancenorm import InstanceNorm2d as x", "flambeau.nn.InstanceNorm2d"),
    ("from torch.autograd import Variable as x", "flambeau.autograd.Variable"),
    ("from torch.autograd.profiler import record_function as x", "flambeau.profiler.record_function"),
    ("from torch.utils.model_zoo import load_url as x", "flambeau.hub.load_state_dict_from_url"),
    ("from torch.utils._pytree import tree_map as x", "flambeau.utils.pytree.tree_map"),
    ("import torch.backends.cudnn as x", "flambeau.backends.cudnn"),
    ("from torch.cuda.amp import autocast as x", "flambeau.cuda.amp.autocast"),
    ("import torch.multiprocessing as x", "flambeau.multiprocessing"),
    ("import torch.nn.parallel as x", "flambeau.nn.parallel"),
    ("import torchvision.transforms as x", "flambeau_vision.transforms"),
    ("from torchvision import datasets as x", "flambeau_vision.datasets"),
]


def test_names_are_ours(tmp_path: Path) -> None:
    source = f"""
    from importlib import import_module
    for statement, same in {NAMES!r}:
        found = {{}}
        exec(statement, found)
        module, _, name = same.rpartition(".")
        home = import_module(module)
        if found["x"] is not (getattr(home, name, None) or import_module(same)):
            print(statement, found["x"])
    """
    prints(tmp_path, source, "")


def test_modules_stay_what_they_are(tmp_path: Path) -> None:
    source = """
    import torch.nn, sys, flambeau
    print(torch.nn.__name__, torch.nn.__spec__.name, sys.modules["torch.nn"] is flambeau.nn)
    print(isinstance(torch.nn.Linear(1, 1), flambeau.nn.Module), torch.__name__)
    """
    prints(tmp_path, source, "flambeau.nn flambeau.nn True\nTrue torch\n")


def test_everything_is_there_by_attribute() -> None:
    """``import flambeau as torch`` is enough for a program that imports submodules by attribute."""
    names = (
        "accelerator amp autograd.functional autograd.profiler backends.cudnn cpu cuda.amp fft func hub jit linalg "
        "multiprocessing nn.functional nn.init nn.parallel nn.utils.rnn optim.lr_scheduler optim.swa_utils profiler "
        "random signal testing utils.checkpoint utils.data utils.deterministic utils.dlpack utils.flop_counter "
        "utils.model_zoo version"
    )
    source = "import flambeau as torch\n" + "\n".join(f"torch.{name}" for name in names.split())
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- what is missing ---------------------------------------------------------------------------------------------------

LISTED = "docs/pytorch.md lists the names that it has"


@pytest.mark.parametrize(
    ("statement", "kind", "name"),
    [
        ("import torch; torch.frobnicate", "AttributeError", "torch.frobnicate"),
        ("import torch; torch.nn.Frobnicator", "AttributeError", "torch.nn.Frobnicator"),
        ("import torchvision.models as m; m.frobnet", "AttributeError", "torchvision.models.frobnet"),
        ("from torch import frobnicate", "ModuleNotFoundError", "torch.frobnicate"),
        ("from torch.nn import Frobnicator", "ImportError", "torch.nn.Frobnicator"),
        ("import torch.frobs.inner", "ModuleNotFoundError", "torch.frobs"),
    ],
)
def test_missing_names_are_said(tmp_path: Path, statement: str, kind: str, name: str) -> None:
    done = run(tmp_path, statement)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"{kind}: Flambeau has no {name}; {LISTED}"
    assert "flambeau/compat/torch.py" not in done.stderr


def test_missing_method_is_said_after_the_traceback(tmp_path: Path) -> None:
    done = run(tmp_path, "import torch\ntorch.ones(2).frobnicate()\n")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert "AttributeError: 'Tensor' object has no attribute 'frobnicate'" in lines
    assert lines[-1] == f"flambeau.compat: the program stopped: Flambeau has no torch.Tensor.frobnicate; {LISTED}"


def test_missing_names_can_be_asked_for(tmp_path: Path) -> None:
    source = """
    import torch
    print(hasattr(torch, "frobnicate"), hasattr(torch.nn, "Frobnicator"), getattr(torch.nn, "Frobnicator", 3))
    try:
        from torch.nn import Frobnicator
    except ImportError:
        print("caught")
    """
    prints(tmp_path, source, "False False 3\ncaught\n")


def test_errors_of_the_program_are_the_programs(tmp_path: Path) -> None:
    done = run(tmp_path, "import torch\nclass Net(torch.nn.Module): pass\nNet().layer\n")
    assert "flambeau.compat:" not in done.stderr
    done = run(tmp_path, "import nowhere\n")
    assert "flambeau.compat:" not in done.stderr


def test_stand_in_that_is_not_installed(tmp_path: Path) -> None:
    source = """
    from flambeau.compat import names
    names.STAND_INS["torchtext"] = "flambeau_nowhere"
    import torchtext
    """
    done = run(tmp_path, source)
    last = "ModuleNotFoundError: flambeau_nowhere, which stands in for torchtext, is not installed"
    assert last in done.stderr.splitlines()


# -- as python would ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [False, True])
def test_runs_as_python_would(tmp_path: Path, module: bool) -> None:
    source = """
    import os, sys, __main__
    print(__name__, os.path.basename(__file__), os.path.basename(sys.argv[0]), sys.argv[1:])
    print(__main__.__dict__ is globals(), "torch" in sys.modules)
    sys.exit(7)
    """
    done = run(tmp_path, source, "--lr", "1", module=module)
    assert done.returncode == 7, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first == "__main__ program.py program.py ['--lr', '1']"
    assert last == "True False"


def test_modules_beside_the_script_are_found(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("import torch\nvalue = torch.ones(2)\n")
    prints(tmp_path, "import beside\nprint(beside.value.tolist())", "[1.0, 1.0]\n")


def test_traceback_begins_in_the_script(tmp_path: Path) -> None:
    done = run(tmp_path, "def f():\n    raise ValueError('no')\nf()\n")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith('program.py", line 3, in <module>')
    assert lines[-1] == "ValueError: no"


def test_syntax_errors(tmp_path: Path) -> None:
    done = run(tmp_path, "x =\n")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "SyntaxError: invalid syntax"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "usage: python -m flambeau.compat.torch"),
        (["nowhere.py"], 2, "can't open file 'nowhere.py': No such file or directory"),
        (["--frob"], 1, "unknown option --frob"),
        (["-m"], 1, "-m needs the name of a module"),
        (["--help"], 0, "usage: python -m flambeau.compat.torch"),
    ],
)
def test_wrong_command_lines(tmp_path: Path, arguments: list[str], code: int, text: str) -> None:
    command = [sys.executable, "-m", "flambeau.compat.torch", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == code
    assert text in done.stdout + done.stderr


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_are_bound_too(tmp_path: Path, method: str) -> None:
    source = f"""
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Numbers(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            import sys
            import torch.nn
            assert torch.nn is sys.modules["flambeau.nn"]
            return torch.tensor([i])

    if __name__ == "__main__":
        loader = DataLoader(Numbers(), 2, num_workers=2, multiprocessing_context={method!r})
        print([batch.flatten().tolist() for batch in loader])
    """
    prints(tmp_path, source, "[[0, 1], [2, 3]]\n")


# -- in a program ------------------------------------------------------------------------------------------------------


def test_installed_for_a_while() -> None:
    source = """
import sys
import flambeau, flambeau.compat
with flambeau.compat.installed():
    import torch.nn
    assert torch.nn is flambeau.nn and flambeau.compat.is_installed()
    with flambeau.compat.installed():
        pass
    assert flambeau.compat.is_installed()
assert not flambeau.compat.is_installed() and "torch" not in sys.modules and "torch.nn" not in sys.modules
assert "__getattr__" not in vars(flambeau.nn) and torch.nn is flambeau.nn
sys.modules["torch"] = torch
try:
    flambeau.compat.install()
except RuntimeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.stdout == "flambeau.compat: torch is imported already; call install() before\n", done.stderr


# -- versions ----------------------------------------------------------------------------------------------------------


def test_version_compares_as_a_version() -> None:
    version = TorchVersion("2.13.0+flambeau")
    assert isinstance(version, str) and version.split("+")[0] == "2.13.0"
    assert version >= "2.9" and version > "2.13.0" and version >= (1, 10) and version < "2.14.0a0" and version != "2.13"
    assert not version < "1.10.1" and version > "2.2" and version > "2.13.0rc2" and version == "2.13.0+flambeau"
    assert TorchVersion("2.13.0.dev20260101") < "2.13.0a0" < TorchVersion("2.13.0rc1")
    assert version != "no version" and {version: 1}["2.13.0+flambeau"] == 1


def test_versions_of_the_packages(tmp_path: Path) -> None:
    source = """
    import torch, torchvision
    print(torch.__version__, torchvision.__version__, type(torch.__version__).__name__, torch.version.cuda)
    """
    prints(tmp_path, source, "2.13.0+flambeau 0.28.0+flambeau TorchVersion None\n")
