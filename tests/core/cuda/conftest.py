"""The device type ``cuda`` as a toy: nothing here needs a GPU."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flambeau
from flambeau import devices, dispatch


def _toy() -> Any:
    # Test modules are imported by path, so that they cannot import each other by name.
    spec = importlib.util.spec_from_file_location("flambeau_toy_cuda", Path(__file__).with_name("toy.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The toy as the one backend of ``cuda``; its runtime."""
    backend = _toy().ToyBackend()
    known = {name: pair for name, pair in dispatch.backends().items() if name != "cuda"}
    monkeypatch.setattr(dispatch, "_known", {**known, "cuda": (backend, "toy")})
    loaded = dispatch._types.pop("cuda", None)
    assert loaded is None, "a test before this one has left the device type cuda behind"
    yield backend.runtime
    devices.set_current_index("cuda", 0)
    if dispatch.is_loaded("cuda"):
        dispatch._unload("cuda")
    flambeau.cuda.graph.default_capture_stream = None


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No backend of ``cuda``."""
    known = {name: pair for name, pair in dispatch.backends().items() if name != "cuda"}
    monkeypatch.setattr(dispatch, "_known", known)
