"""How elements lie in memory: ``flambeau.memory_format`` and ``flambeau.layout``, and what is made of them."""

from __future__ import annotations

from typing import Any

from flambeau.tensor import Tensor

__all__ = [
    "channels_last", "channels_last_3d", "contiguous_format", "layout", "memory_format", "preserve_format",
    "sparse_coo", "strided",
]  # fmt: skip


class _Constant:
    """An object that is known by its name alone."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"flambeau.{self.name}"

    def __reduce__(self) -> str:
        return self.name  # pickled by name: the same object on the other side

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self


class memory_format(_Constant):
    """The order in which the dimensions of a tensor lie in memory (``torch.memory_format``)."""

    __slots__ = ()


class layout(_Constant):
    """The kind of memory under a tensor (``torch.layout``): always ``flambeau.strided``."""

    __slots__ = ()


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")

strided = layout("strided")
#: Named so that programs can ask for it; no tensor has it.
sparse_coo = layout("sparse_coo")

_DIMENSIONS = {channels_last: 4, channels_last_3d: 5}


def _order(op: str, input: Tensor, format: Any) -> tuple[int, ...] | None:
    """The dimensions from the outermost to the innermost in memory; None for the order of the indices."""
    if format is None or format is contiguous_format or format is preserve_format:
        return None
    wanted = _DIMENSIONS.get(format)
    if wanted is None:
        raise TypeError(f"{op}(): argument 'memory_format' must be flambeau.memory_format, not {type(format).__name__}")
    if input.ndim != wanted:
        raise RuntimeError(f"{op}: required rank {wanted} tensor to use {format.name} format, got {input.ndim}")
    return (0, *range(2, wanted), 1)


def is_contiguous(input: Tensor, memory_format: Any = None) -> bool:
    """Whether the elements lie in memory in the order of the indices, or in the one of ``memory_format``."""
    shape, strides = input._array.shape, input.stride()
    if memory_format is not None and input.ndim == _DIMENSIONS.get(memory_format, -1):
        order = _order("is_contiguous", input, memory_format) or ()
        shape, strides = [shape[d] for d in order], [strides[d] for d in order]
    elif memory_format in _DIMENSIONS:
        return False
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1:
            if stride != expected:
                return input.numel() == 0
            expected *= size
    return True


def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself where it lies in memory as ``memory_format`` says, else a copy that does.

    Args:
        memory_format: ``contiguous_format`` (the default), ``channels_last`` for 4 dimensions, ``channels_last_3d`` for
            5: the values and the shape stay, the channels lie next to each other.
    """
    if memory_format is None:
        return input if is_contiguous(input) else input.clone()
    if memory_format is preserve_format:
        raise RuntimeError("contiguous: preserve memory format is unsupported by the contiguous operator")
    order = _order("contiguous", input, memory_format)
    if is_contiguous(input, memory_format):
        return input
    return input.clone() if order is None else _in_order(input, order)


def _in_order(input: Tensor, order: tuple[int, ...]) -> Tensor:
    back = [0] * len(order)
    for place, d in enumerate(order):
        back[d] = place
    return input.permute(order).clone().permute(back)


def formatted(op: str, input: Tensor, format: Any, source: Tensor) -> Tensor:
    """A new tensor as it is, or laid out as ``format`` says; ``preserve_format`` means as ``source``."""
    if format is preserve_format:
        format = next((kind for kind in _DIMENSIONS if is_contiguous(source, kind)), None)
        if format is None or is_contiguous(source):
            return input
    order = _order(op, input, format)
    return input if order is None or is_contiguous(input, format) else _in_order(input, order)
