"""How tensors look as text: PyTorch's format, to the character."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy

from flambeau import dtypes
from flambeau.autograd.node import Leaf, Slot

if TYPE_CHECKING:
    from flambeau.tensor import Tensor


@dataclasses.dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}
_options = _Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Choose how tensors are shown (``torch.set_printoptions``); what is left out stays as it is.

    Args:
        precision: digits after the point (4 at first).
        threshold: tensors with more elements are shown by their edges (1000).
        edgeitems: how many items to show at the beginning and the end of each dimension then (3).
        linewidth: characters a line (80).
        profile: ``"default"``, ``"short"`` or ``"full"``; the other arguments come after it.
        sci_mode: always (True) or never (False) in scientific notation; None, also when left out, lets the values
            decide.

    Raises:
        ValueError: when there is no such profile.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: profile is one of {', '.join(_PROFILES)}, got {profile!r}")
        for name, value in _PROFILES[profile].items():
            setattr(_options, name, value)
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    for name, value in given.items():
        if value is not None:
            setattr(_options, name, value)
    _options.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The options in force, as keyword arguments for :func:`set_printoptions`."""
    return dataclasses.asdict(_options)


@contextlib.contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Use other options inside the ``with`` block; the arguments are those of :func:`set_printoptions`."""
    before = get_printoptions()
    try:
        set_printoptions(**options)
        yield
    finally:
        set_printoptions(**before)


def _mapped_repr(tensor: Tensor) -> str:
    from flambeau.tensor import everywhere

    return f"MappedTensor(level={tensor._device.depth}, value={tensor_repr(everywhere(tensor))})"


def tensor_repr(t: Tensor, *, tensor_contents: str | None = None) -> str:
    """The text of a tensor as PyTorch shows it: ``tensor([1., 2.], grad_fn=<MulBackward0>)``.

    Args:
        t: the tensor. Its values are copied to the host when it lives elsewhere.
        tensor_contents: shown instead of the values.
    """
    if t._device.depth:
        return _mapped_repr(t)
    kind = type(t)
    # Parameters and buffers are shown as plain tensors, other subclasses under their name.
    plain = kind.__module__.partition(".")[0] == "flambeau" and kind.__name__ in ("Tensor", "Parameter", "Buffer")
    prefix = "tensor(" if plain else f"{kind.__name__}("
    default = dtypes.get_default_dtype()
    dtype, size = t._dtype, f"size={tuple(t.shape)}"
    numel = math.prod(t.shape)
    usual: tuple[dtypes.dtype, ...]
    suffixes = []
    if t._device.type != "cpu":
        suffixes.append(f"device='{t._device}'")
    if t._device.type == "meta":
        suffixes.append(size)
        usual, contents = (default,), "..."
    elif numel == 0:
        if len(t.shape) != 1:
            suffixes.append(size)
        # There are no elements to tell the type from.
        usual, contents = (default,), "[]"
    else:
        if not _options.edgeitems:
            suffixes.append(size)
        usual, contents = (default, default.to_complex(), dtypes.int64, dtypes.bool_), ""
    if dtype not in usual:
        suffixes.append(f"dtype={dtype!r}")
    if tensor_contents is not None:
        contents = tensor_contents
    elif not contents:
        contents = _contents(t, len(prefix))
    suffixes += _gradient_suffix(t)
    text = _with_suffixes(prefix + contents, suffixes, len(prefix))
    return f"Parameter({text})" if not plain and _is_parameter(t) else text


def _is_parameter(t: Tensor) -> bool:
    from flambeau.nn.parameter import Parameter

    return isinstance(t, Parameter)


def _gradient_suffix(t: Tensor) -> list[str]:
    node = t._node
    if node is None:
        return []
    if isinstance(node, Slot):
        node = node.node
    return ["requires_grad=True"] if isinstance(node, Leaf) else [f"grad_fn=<{node.name()}>"]


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    parts = [text]
    line = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if line + len(suffix) + 2 > _options.linewidth:
            parts.append(",\n" + " " * indent + suffix)
            line = indent + len(suffix)
        else:
            parts.append(", " + suffix)
            line += len(suffix) + 2
    return "".join(parts) + ")"


def _contents(t: Tensor, indent: int) -> str:
    backend = t._device.backend
    assert backend is not None  # a tensor's device is loaded
    array = numpy.asarray(backend.to_numpy(t._array))
    if t._dtype is dtypes.bfloat16:
        array = array.astype(numpy.float32)
    summarize = array.size > _options.threshold
    shown = _edges(array) if summarize else array
    if t._dtype.is_complex:
        real, imag = _Numbers(shown.real), _Numbers(shown.imag)

        def show(value: Any) -> str:
            second = (imag.show(value.imag) + "j").lstrip()
            return real.show(value.real) + (second if second[0] in "+-" else "+" + second)

        width = real.width + imag.width + 1
    else:
        numbers = _Numbers(shown)
        show, width = numbers.show, numbers.width
    return _nested(array, indent, summarize, show, width)


def _edges(array: Any) -> Any:
    """The elements that a summary shows, from which widths and notation are chosen."""
    edge = _options.edgeitems
    if not edge and array.ndim > 1:
        return array[:0]
    for axis, size in enumerate(array.shape):
        if size > 2 * edge:
            array = numpy.take(array, [*range(edge), *range(size - edge, size)], axis=axis)
    return array


class _Numbers:
    """The common form of all numbers of a tensor: integers, fixed point or scientific, all of one width."""

    def __init__(self, array: Any) -> None:
        self.floating = array.dtype.kind == "f"
        self.integers = True  # every number is an integer
        self.scientific = False
        self.width = 1
        if not self.floating:
            self.width = max((len(str(value)) for value in array.ravel().tolist()), default=1)
            return
        values = array[numpy.isfinite(array) & (array != 0)].astype(numpy.float64)
        if not values.size:
            return
        magnitudes = numpy.abs(values)
        low, high = magnitudes.min(), magnitudes.max()
        self.integers = bool((values == numpy.ceil(values)).all())
        if _options.sci_mode is None:
            with numpy.errstate(over="ignore"):
                self.scientific = bool(high / low > 1000.0 or high > 1.0e8 or low < 1.0e-4)
        else:
            self.scientific = _options.sci_mode
        if self.scientific:
            form, point = f".{_options.precision}e", 0
        elif self.integers:
            form, point = ".0f", 1
        else:
            form, point = f".{_options.precision}f", 0
        self.width = max(len(format(value, form)) for value in values.tolist()) + point

    def show(self, value: Any) -> str:
        """One number (a Python scalar), padded on the left."""
        if not self.floating:
            text = str(value)
        elif self.scientific:
            text = format(value, f".{_options.precision}e")
        elif self.integers:
            text = format(value, ".0f") + ("." if math.isfinite(value) else "")
        else:
            text = format(value, f".{_options.precision}f")
        return text.rjust(self.width)


def _nested(array: Any, indent: int, summarize: bool, show: Callable[[Any], str], width: int) -> str:
    if array.ndim == 0:
        return show(array.item())
    edge = _options.edgeitems
    cut = summarize and len(array) > 2 * edge
    if array.ndim == 1:
        if summarize and not edge:
            items = ["..."]
        elif cut:
            items = [
                *(show(value) for value in array[:edge].tolist()),
                " ...",
                *(show(value) for value in array[-edge:].tolist()),
            ]
        else:
            items = [show(value) for value in array.tolist()]
        per_line = max(1, (_options.linewidth - indent) // (width + 2))
        lines = [", ".join(items[start : start + per_line]) for start in range(0, len(items), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    rows = [*range(edge), None, *range(len(array) - edge, len(array))] if cut else range(len(array))
    slices = ["..." if i is None else _nested(array[i], indent + 1, summarize, show, width) for i in rows]
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(slices) + "]"
