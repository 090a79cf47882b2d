"""Linear algebra, by cuSOLVER. Batches of matrices are in the leading dimensions.

LU, triangular systems and the like run through their decompositions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import cupyx

from flambeau_array.linalg import guarded, kernels


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with cuSOLVER asked whether it succeeded, which waits for the device."""

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with cupyx.errstate(linalg="raise"):
            return function(*args, **kwargs)

    kernel.__doc__ = function.__doc__
    return kernel


KERNELS: dict[str, Callable[..., Any]] = {
    name: guarded(name, _checked(function)) for name, function in kernels(cupy).items()
}
