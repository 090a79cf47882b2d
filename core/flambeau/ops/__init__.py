"""The ops. Importing this package declares them all and attaches the methods to :class:`~flambeau.Tensor`.

One file a theme; see :mod:`flambeau.ops.declare` for how an op is declared and ``docs/architecture.md`` for the way
of a call.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from flambeau.ops import (  # noqa: F401 - a theme declares its ops when it is imported
    activation,
    addition_of_products,
    arithmetic,
    attention,
    average_pooling,
    bessel,
    bits,
    classification_loss,
    clipping,
    comparison,
    convolution,
    convolution_forms,
    copying,
    counting,
    creation,
    ctc,
    cumulative,
    decomposition,
    determinant,
    differences,
    distance,
    dropout,
    eigen,
    einsum,
    embedding,
    error_functions,
    gamma,
    gathering,
    householder,
    incomplete_gamma,
    indexing,
    joining,
    ldl,
    linalg,
    linear,
    loss,
    lu,
    mapping,
    matrix,
    max_pooling,
    norm,
    normalization,
    optimizer,
    optimizer_adaptive,
    optimizer_matrix,
    padding,
    polynomials,
    random,
    rearranging,
    recurrent,
    reduction,
    shape,
    solve,
    sorting,
    spectral,
    statistics,
    subscript,
    transcendental,
    upsampling,
    view_copies,
    views,
)
from flambeau.ops.declare import OPS, Op
from flambeau.ops.mapping import CROSSING

# Their results live on other devices than their inputs.
_CROSSING = {"to_device", *CROSSING}


def _install() -> dict[str, Callable[..., Any]]:
    """Make the entry points of the ops declared so far; return the public functions by name."""
    from flambeau.ops import entry, fast, fast_views
    from flambeau.ops.call import TENSORS
    from flambeau.tensor import Tensor

    functions: dict[str, Callable[..., Any]] = {}
    for op in OPS.values():
        if op.name in _installed:
            continue
        _installed.add(op.name)
        operator = function = entry.entry(op)
        if len(op.parameters) == 1 and op.rule and op.pointwise:
            operator = function = fast.unary(op)
        elif op.primitive and op.rule and len(op.tensor_positions) == len(op.parameters) == 2:
            function, operator = fast.binary(op)
        elif op.tensor_positions == (0,) and not op.has_sequence and op.name not in _CROSSING:
            if op.view or (op.inline and op.theme in fast_views.THEMES):
                operator = function = fast_views.viewing(op)
            elif not op.inline:
                operator = function = fast.single(op)
        setattr(TENSORS, op.name, function)
        names = (op.name, *op.aliases)
        if "function" in op.public:
            functions.update(dict.fromkeys(names, function))
        if "method" in op.public:
            for name in names:
                setattr(Tensor, name, function)
        if op.inplace:
            in_place = entry.inplace_entry(op)
            setattr(TENSORS, op.name + "_", in_place)
            for name in names:
                setattr(Tensor, name + "_", in_place)
            if "function" in op.public:
                functions.update({name + "_": in_place for name in names})
        for dunder, reflected, inplace_dunder in _OPERATORS.get(op.name, ()):
            setattr(Tensor, dunder, operator)
            if reflected:
                setattr(Tensor, reflected, operator if op.name in _COMMUTATIVE else _reflected(function, op.name))
            if inplace_dunder:
                setattr(Tensor, inplace_dunder, getattr(Tensor, op.name + "_"))
    return functions


_installed: set[str] = set()

# op: (operator, reflected operator, in-place operator)
_OPERATORS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "add": (("__add__", "__radd__", "__iadd__"),),
    "sub": (("__sub__", "__rsub__", "__isub__"),),
    "mul": (("__mul__", "__rmul__", "__imul__"),),
    "div": (("__truediv__", "__rtruediv__", "__itruediv__"),),
    "floor_divide": (("__floordiv__", "__rfloordiv__", "__ifloordiv__"),),
    "remainder": (("__mod__", "__rmod__", "__imod__"),),
    "pow": (("__pow__", "__rpow__", "__ipow__"),),
    "matmul": (("__matmul__", "__rmatmul__", ""),),
    "bitwise_and": (("__and__", "__rand__", "__iand__"),),
    "bitwise_or": (("__or__", "__ror__", "__ior__"),),
    "bitwise_xor": (("__xor__", "__rxor__", "__ixor__"),),
    "bitwise_left_shift": (("__lshift__", "__rlshift__", "__ilshift__"),),
    "bitwise_right_shift": (("__rshift__", "__rrshift__", "__irshift__"),),
    "lt": (("__lt__", "", ""),),
    "le": (("__le__", "", ""),),
    "gt": (("__gt__", "", ""),),
    "ge": (("__ge__", "", ""),),
    "neg": (("__neg__", "", ""),),
    "abs": (("__abs__", "", ""),),
    "bitwise_not": (("__invert__", "", ""),),
}
_COMMUTATIVE = {"add", "mul", "bitwise_and", "bitwise_or", "bitwise_xor"}

# PyTorch's second names for ops.
_ALIASES = {
    "absolute": "abs", "negative": "neg", "subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div",
    "arccos": "acos", "arcsin": "asin", "arctan": "atan", "arctan2": "atan2", "arccosh": "acosh", "arcsinh": "asinh",
    "arctanh": "atanh", "clip": "clamp", "fix": "trunc", "greater": "gt", "greater_equal": "ge", "less": "lt",
    "less_equal": "le", "not_equal": "ne",
}  # fmt: skip


def _reflected(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    def operator(self: Any, other: Any) -> Any:
        return function(other, self)

    operator.__name__ = operator.__qualname__ = f"__r{name}__"
    return operator


def install() -> dict[str, Callable[..., Any]]:
    """Make the entry points of every op declared so far that has none; return the public functions by name."""
    for alias, name in _ALIASES.items():
        if name in OPS and alias not in OPS[name].aliases:
            OPS[name].aliases += (alias,)
    return _install()


def install_new() -> None:
    """Make the entry points of ops that plugins have declared, as ``flambeau.ops.NAME`` too."""
    from flambeau.ops.call import TENSORS

    before = set(_installed)
    _install()
    for name in _installed - before:
        globals().setdefault(name, getattr(TENSORS, name))


__all__ = ["OPS", "Op", "install", "install_new"]


def __getattr__(name: str) -> Any:
    """An op of a plugin; these are declared when one is first asked for, or a device first used."""
    # A submodule that is being imported is asked for here first.
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is None:
        from flambeau.dispatch import backends

        backends()
        if name in globals():
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}: there is no op of that name")
