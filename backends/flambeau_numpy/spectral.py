"""Fourier transforms, by pocketfft."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from flambeau_array import spectral

KERNELS: dict[str, Callable[..., Any]] = spectral.kernels(numpy)
