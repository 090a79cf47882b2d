"""Linear algebra, by LAPACK. Batches of matrices are in the leading dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from flambeau_array.linalg import guarded, kernels
from flambeau_numpy import elimination

KERNELS: dict[str, Callable[..., Any]] = {
    name: guarded(name, function) for name, function in {**kernels(numpy), **elimination.FUNCTIONS}.items()
}
