"""Fourier transforms, by cuFFT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy

from flambeau_array import spectral

KERNELS: dict[str, Callable[..., Any]] = spectral.kernels(cupy)
