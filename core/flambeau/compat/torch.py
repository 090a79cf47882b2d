"""``python -m flambeau.compat.torch script.py args...`` runs a PyTorch program on Flambeau.

``-m module args...`` runs a module. ``sys.argv``, ``__main__``, tracebacks and exit codes are those of ``python
script.py``. When the program dies because Flambeau lacks a name, the last line of its output says which.
"""

from __future__ import annotations

import builtins
import io
import os
import runpy
import sys
from types import ModuleType, TracebackType
from typing import Any

from flambeau.compat.binding import install
from flambeau.compat.names import STAND_INS, missing, pytorch_name

USAGE = "usage: python -m flambeau.compat.torch [-m MODULE | SCRIPT] [ARGUMENT ...]"


def main(arguments: list[str]) -> None:
    """Run what a command line names, as ``python`` would."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"{USAGE}\n\nRuns a PyTorch program with torch, torchvision ... bound to Flambeau's modules.")
        sys.exit(0 if arguments else 2)
    if arguments[0].startswith("-") and arguments[0] != "-m":
        sys.exit(f"{USAGE}\nflambeau.compat.torch: unknown option {arguments[0]}")
    if arguments == ["-m"]:
        sys.exit(f"{USAGE}\nflambeau.compat.torch: -m needs the name of a module")
    install()
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = list(arguments)
            run_script(arguments[0])
    except Exception as error:
        error.with_traceback(_within_program(error.__traceback__))
        sys.excepthook(type(error), error, error.__traceback__)  # the program's own, where it has set one
        name = missing_name(error)
        if name is not None and missing(name) not in str(error):
            print(f"\nflambeau.compat: the program stopped: {missing(name)}", file=sys.stderr)
        sys.exit(1)


def run_script(path: str) -> None:
    """Run a file as the main module of this process."""
    try:
        with io.open_code(os.path.abspath(path)) as file:
            source = file.read()
    except OSError as error:
        print(f"flambeau.compat.torch: can't open file {path!r}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    program = ModuleType("__main__")
    program.__file__ = os.path.abspath(path)
    program.__dict__.update(__builtins__=builtins, __spec__=None, __cached__=None)
    sys.modules["__main__"] = program
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    exec(compile(source, path, "exec", dont_inherit=True), program.__dict__)


def _within_program(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without its outer frames, which are ours."""
    outer = {function.__code__.co_filename for function in (main, runpy.run_module)}
    while trace is not None and trace.tb_frame.f_code.co_filename in outer:
        trace = trace.tb_next
    return trace


# -- what was missing --------------------------------------------------------------------------------------------------


def missing_name(error: BaseException) -> str | None:
    """The name, as PyTorch has it, for want of which an error was raised; None where it has another reason."""
    if isinstance(error, ImportError):
        return _missing_import(error)
    if isinstance(error, AttributeError) and error.name is not None:
        owner = _owner(error.obj)
        return f"{owner}.{error.name}" if owner else None
    return None


def _missing_import(error: ImportError) -> str | None:
    module = error.name or ""
    if pytorch_name(module).partition(".")[0] not in STAND_INS:
        return None
    # `from module import name`: the interpreter keeps the name since Python 3.12, its message has it before.
    name = getattr(error, "name_from", None)
    if name is None and error.msg.startswith("cannot import name "):
        name = error.msg.split("'")[1]
    return f"{pytorch_name(module)}.{name}" if name else pytorch_name(module)


def _owner(value: Any) -> str | None:
    """PyTorch's name of the module or class of ours that an attribute was asked of."""
    if isinstance(value, ModuleType):
        name = pytorch_name(value.__name__)
        return name if name.partition(".")[0] in STAND_INS else None
    kind = value if isinstance(value, type) else type(value)
    if any(base.__name__ == "Module" for base in kind.__mro__):
        return None  # what a layer has is the program's affair
    package = kind.__module__.partition(".")[0]
    if package not in STAND_INS.values():
        return None
    public = next((theirs for theirs, own in STAND_INS.items() if own == package))
    return f"{public}.{kind.__name__}" if kind.__name__ in dir(sys.modules[package]) else _full_name(kind)


def _full_name(kind: type) -> str:
    return f"{pytorch_name(kind.__module__)}.{kind.__qualname__}"


if __name__ == "__main__":
    main(sys.argv[1:])
