"""These run on a GPU, and with the stand-in for CuPy in the processes that ``test_cupy*.py`` start; else not at all."""

from __future__ import annotations

import pytest

import flambeau

if not flambeau.cuda.is_available():
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions would be in TF32, as in PyTorch; the tolerances here are those of float32."""
    monkeypatch.setattr(flambeau.backends.cudnn, "allow_tf32", False)
