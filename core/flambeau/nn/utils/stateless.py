"""PyTorch's older path of :func:`flambeau.func.functional_call`."""

from __future__ import annotations

import warnings
from typing import Any


def functional_call(
    module: Any,
    parameters_and_buffers: dict[str, Any],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """:func:`flambeau.func.functional_call`, with the warning that it is to be called there."""
    from flambeau.func import functional_call as call  # it imports the modules

    warnings.warn(
        "nn.utils.stateless.functional_call is deprecated in favour of func.functional_call",
        FutureWarning,
        stacklevel=2,
    )
    return call(
        module, parameters_and_buffers, () if args is None else args, kwargs, tie_weights=tie_weights, strict=strict
    )
