"""Tests against the real cuDNN, which is not here in most runs: ``tox -e cudnn-plans`` has it, without a GPU."""

from __future__ import annotations

from importlib.util import find_spec

found = find_spec("cudnn")
if found is None or "cudnn_on_cpu" in str(found.origin):
    collect_ignore_glob = ["test_*.py"]
