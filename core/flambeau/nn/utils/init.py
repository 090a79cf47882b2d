"""Modules without initial values."""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from flambeau.nn.modules.module import Module

M = TypeVar("M", bound=Module)


def skip_init(module_cls: type[M], *args: Any, **kwargs: Any) -> M:
    """Make a module whose parameters and buffers are allocated but hold no particular values.

    For modules that are about to be loaded: the time for drawing initial values is saved.

    Args:
        module_cls: a class whose ``__init__`` takes ``device`` and does nothing with the values of its parameters but
            to initialize them.
        args, kwargs: for its ``__init__``; ``device`` says where the module ends up.

    Raises:
        RuntimeError: when ``module_cls`` is no module, or takes no ``device``.
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", "cpu")
    return module_cls(*args, device="meta", **kwargs).to_empty(device=device)
