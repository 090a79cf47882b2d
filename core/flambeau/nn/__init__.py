"""Neural networks: modules, their functions, initializers and what works on parameters (``torch.nn``)."""

from __future__ import annotations

from typing import Any

from flambeau.nn import attention, functional, init, modules, parallel, parameter, utils
from flambeau.nn.modules import *  # noqa: F403
from flambeau.nn.modules.lazy import UninitializedBuffer, UninitializedParameter
from flambeau.nn.parallel import DataParallel
from flambeau.nn.parameter import Buffer, Parameter


def factory_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """Return the arguments for making tensors: ``device``, ``dtype`` and ``memory_format``, wherever they are given.

    Args:
        kwargs: arguments of a module's constructor: these three, or ``factory_kwargs`` with a dict of them, or both.

    Raises:
        TypeError: for another argument, or one given twice.
    """
    if kwargs is None:
        return {}
    names = {"device", "dtype", "memory_format"}
    unknown = set(kwargs) - names - {"factory_kwargs"}
    if unknown:
        raise TypeError(f"factory_kwargs: unexpected arguments {sorted(unknown)}; there are: {sorted(names)}")
    found = dict(kwargs.get("factory_kwargs", {}))
    for name in names & set(kwargs):
        if name in found:
            raise TypeError(f"factory_kwargs: {name} specified twice, in **kwargs and in factory_kwargs")
        found[name] = kwargs[name]
    return found


__all__ = [
    "Buffer",
    "DataParallel",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "attention",
    "factory_kwargs",
    "functional",
    "init",
    "modules",
    "parallel",
    "parameter",
    "utils",
]
__all__ += modules.__all__
