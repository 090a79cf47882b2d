"""What pooling has in common, of maxima and of means: how many windows there are, and the checks of arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.ops.spec import ntuple

Tensor = Any
Size = Any
Xp = Any
Ints = tuple[int, ...]


def pooled_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows there are along a dimension; in ceil mode the last may hang over, but begins inside."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return span // stride + 1
    count = -(-span // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def pooled_sizes(
    shape: Sequence[int], kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool
) -> Ints:
    """:func:`pooled_size` of each dimension."""
    entries = zip(shape, kernel, stride, padding, dilation, strict=True)
    return tuple([pooled_size(*entry, ceil_mode) for entry in entries])


def hanging_over(shape: Sequence[int], count: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints) -> Ints:
    """How far beyond the padded input the last window reaches."""
    return tuple(
        [
            max((c - 1) * s + d * (k - 1) + 1 - (n + 2 * p), 0)
            for n, c, k, s, p, d in zip(shape, count, kernel, stride, padding, dilation, strict=True)
        ]
    )


def check_not_empty(op: str, dims: int, input: Any) -> None:
    """Raise a RuntimeError for channels or spatial dimensions of size 0; only the batch may be empty."""
    if 0 in input.shape[-dims - 1 :]:
        raise RuntimeError(
            f"{op}: Expected {dims + 1}D or {dims + 2}D (batch mode) tensor with optional 0 dim batch size for input, "
            f"but got: {list(input.shape)}"
        )


def batched(xp: Xp, op: str, input: Any, dims: int) -> Any:
    """The input with a batch dimension.

    Raises:
        RuntimeError: for another number of dimensions.
    """
    shape = tuple(input.shape)
    if len(shape) == dims + 2:
        return input
    if len(shape) != dims + 1:
        raise RuntimeError(
            f"{op}: Expected {dims + 1}D or {dims + 2}D (batch mode) tensor for input, but got: {list(shape)}"
        )
    return xp.reshape(input, (1, *shape))


def unbatched(xp: Xp, result: Any, input: Any) -> Any:
    return result if len(result.shape) == len(input.shape) else xp.reshape(result, tuple(result.shape[1:]))


def checked_windows(
    op: str, dims: int, input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Ints, Ints, Ints, Ints]:
    """Kernel size, stride, padding and dilation as tuples, checked."""
    kernel = ntuple(op, "kernel_size", kernel_size, dims)
    # An empty tuple is PyTorch's older way to leave the stride out.
    stride = kernel if stride is None or stride in ((), []) else ntuple(op, "stride", stride, dims)
    padding, dilation = ntuple(op, "padding", padding, dims), ntuple(op, "dilation", dilation, dims)
    for name, sizes in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        if any(n <= 0 for n in sizes):
            raise RuntimeError(f"{op}: {name} should be greater than zero, but got {name}={list(sizes)}")
    for p, k, d in zip(padding, kernel, dilation, strict=True):
        if p < 0:
            raise RuntimeError(f"{op}: pad must be non-negative, but got pad: {p}")
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"{op}: pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                f"dilation={d}"
            )
    check_not_empty(op, dims, input)
    shape = tuple(input.shape[-dims:])
    count = pooled_sizes(shape, kernel, stride, padding, dilation, ceil_mode)
    if any(n <= 0 for n in count):
        raise RuntimeError(
            f"{op}: Given input size: ({'x'.join(map(str, shape))}). Calculated output size: "
            f"({'x'.join(map(str, count))}). Output size is too small"
        )
    return kernel, stride, padding, dilation


def adaptive_sizes(op: str, dims: int, input: Any, output_size: Any) -> Ints:
    """The output's sizes; None stands for the input's."""
    several = isinstance(output_size, (tuple, list))
    given = list(output_size) if several else [output_size] * dims
    if several and dims > 1 and len(input.shape) <= len(given):
        raise ValueError(
            f"{op}: Input dimension should be at least {len(given) + 1} for an output_size of {len(given)} numbers, "
            f"got an input of shape {list(input.shape)}"
        )
    if len(given) != dims:
        raise RuntimeError(f"{op}: output_size must be a number or {dims} numbers, got {given}")
    sizes = [n if m is None else int(m) for n, m in zip(input.shape[-dims:], given, strict=True)]
    if any(n < 0 for n in sizes):
        raise RuntimeError(f"{op}: elements of output_size must be greater than or equal to 0 but received {sizes}")
    return tuple(sizes)


def regions(size: int, count: int) -> list[tuple[int, int]]:
    """``count`` regions that cover ``size`` elements; they overlap where it is not divisible."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
