"""Tests against the real CuPy, which is not here in most runs: ``tox -e cuda-compile`` has it, without a GPU."""

from __future__ import annotations

from importlib.util import find_spec

found = find_spec("cupy")
if found is None or "cupy_on_cpu" in str(found.origin):
    collect_ignore_glob = ["test_*.py"]
