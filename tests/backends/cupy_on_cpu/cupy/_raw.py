"""``RawModule`` by g++: a source becomes a shared library, which is kept by its hash.

The fibers of ``threads.cpp`` serve one kernel at a time, so that libraries are called with the interpreter locked.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy

from ._array import ndarray

HERE = Path(__file__).parent
FOLDER = Path(tempfile.gettempdir()) / f"cupy-on-cpu-{os.getuid()}"
_POINTED = {
    "bool": "?", "unsigned char": "B", "signed char": "b", "short": "h", "unsigned short": "H", "int": "i",
    "unsigned int": "I", "long long": "q", "unsigned long long": "Q", "half_bits": "e", "bfloat_bits": "E",
    "float": "f", "double": "d", "complex<float>": "F", "complex<double>": "D",
}  # fmt: skip
#: A folder that gets the source of every kernel, for a real compiler; then none is run.
SOURCES = os.environ.get("CUPY_ON_CPU_SOURCES")
#: How often each kernel was launched, by name.
launches: dict[str, int] = {}


class CompileException(Exception):
    """What a compiler that refuses a source raises."""


def _library(text: str, *options: str) -> Path:
    """The shared library of a source."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}.so"
    if path.exists():
        return path
    own = f"{path}.{os.getpid()}"
    command = ["g++", "-x", "c++", "-", "-o", own, "-shared", "-fPIC", "-std=c++14", "-w", *options]
    made = subprocess.run(command, input=text, capture_output=True, text=True)
    if made.returncode:
        raise CompileException(made.stderr)
    Path(own).replace(path)
    return path


@cache
def _threads() -> Any:
    path = _library((HERE / "threads.cpp").read_text(), "-O2")
    return ctypes.PyDLL(str(path), mode=ctypes.RTLD_GLOBAL)


@cache
def _header() -> str:
    return (HERE / "host.h").read_text()


class RawModule:
    """A source of kernels."""

    def __init__(self, code: str | None = None, *, options: tuple[str, ...] = (), backend: str = "nvrtc") -> None:
        assert code is not None and isinstance(options, tuple) and backend == "nvrtc"
        self.code = code
        self.options = options

    def get_function(self, name: str) -> RawKernel:
        return RawKernel(self.code, name)


class RawKernel:
    """A kernel, compiled when it is first launched."""

    def __init__(self, code: str, name: str) -> None:
        found = re.search(
            rf'extern "C" __global__ void (?:__launch_bounds__\([^)]*\)\s*)?{re.escape(name)}\(([^)]*)\)', code
        )
        assert found, f"no kernel {name} in the source"
        if SOURCES:
            (Path(SOURCES) / f"{name}.cu").write_text(code)
        self.name = name
        self.code = code
        self.parameters = [" ".join(p.split()) for p in found[1].split(",")]
        self._launch: Any = None

    def _compiled(self) -> Any:
        if self._launch is None:
            types = [p.rsplit(" ", 1)[0] + ("*" if "*" in p else "") for p in self.parameters]
            values = ", ".join(f"*({kind} *)a[{i}]" for i, kind in enumerate(types))
            waits = int("__syncthreads" in self.code or "__shfl" in self.code)
            text = (
                f"{_header()}\n{self.code}\n"
                f'extern "C" const char *launch(const unsigned *grid, const unsigned *block, void **args) {{\n'
                f"    return cpu_launch([](void **a) {{ {self.name}({values}); }}, grid, block, args, {waits});\n}}\n"
            )
            _threads()
            self._launch = ctypes.PyDLL(str(_library(text, "-O1", "-fno-builtin", "-ffp-contract=off"))).launch
            self._launch.restype = ctypes.c_char_p
        return self._launch

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
        assert len(args) == len(self.parameters), f"{self.name}: {len(args)} arguments for {self.parameters}"
        held = [self._argument(p, value) for p, value in zip(self.parameters, args, strict=True)]
        pointers = (ctypes.c_void_p * len(held))(*[ctypes.cast(ctypes.byref(h), ctypes.c_void_p) for h in held])
        threads = int(numpy.prod(block))
        assert 0 < threads <= 1024 and all(0 < n < 1 << 31 for n in grid), f"{self.name}: grid {grid}, block {block}"
        sizes = [(ctypes.c_uint * 3)(*dims, *(1,) * (3 - len(dims))) for dims in (grid, block)]
        if SOURCES:
            return
        launches[self.name] = launches.get(self.name, 0) + 1
        problem = self._compiled()(*sizes, pointers)
        if problem:
            raise RuntimeError(f"{self.name}: {problem.decode()}")
        for value in args:
            if isinstance(value, ndarray):
                value.data.mem.check(self.name)

    def _argument(self, parameter: str, value: Any) -> Any:
        """The argument as a C value, of just the type that the kernel declares."""
        kind = parameter.rsplit(" ", 1)[0].removeprefix("const ").strip()
        expected = _POINTED[kind.rstrip("* ")]
        if "*" in parameter:
            assert isinstance(value, ndarray), f"{self.name}: {parameter} is given {type(value).__name__}"
            own = {"l": "q", "L": "Q"}.get(value.dtype.char, value.dtype.char)
            assert own == expected, f"{self.name}: {parameter} is given {value.dtype}"
            return ctypes.c_void_p(value.data.ptr)
        assert isinstance(value, numpy.generic), f"{self.name}: {parameter} is given a {type(value).__name__}"
        own = {"l": "q", "L": "Q"}.get(value.dtype.char, value.dtype.char)
        assert own == expected, f"{self.name}: {parameter} is given {value.dtype}"
        return (ctypes.c_char * value.itemsize).from_buffer_copy(value.tobytes())
