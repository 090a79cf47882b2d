"""These run on a GPU, and with the stand-in for CuPy in the processes that ``test_cupy*.py`` start; else not at all."""

from __future__ import annotations

from flambeau import cuda

if not cuda.is_available():
    collect_ignore_glob = ["test_*.py"]
