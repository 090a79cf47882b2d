"""Versions (``torch.version``)."""

from __future__ import annotations

import flambeau

__version__ = flambeau.__version__

#: The versions of CUDA and its kin that this was built with: none, device types are plugins.
cuda: str | None = None
hip: str | None = None
xpu: str | None = None
git_version: str | None = None
debug = False
