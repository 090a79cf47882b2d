"""Neural networks: modules, their functions, initializers and what works on parameters (``torch.nn``)."""

from flambeau.nn import functional, init, modules, parameter, utils
from flambeau.nn.modules import *  # noqa: F403
from flambeau.nn.modules.lazy import UninitializedBuffer, UninitializedParameter
from flambeau.nn.parameter import Buffer, Parameter

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "functional",
    "init",
    "modules",
    "parameter",
    "utils",
]
__all__ += modules.__all__
