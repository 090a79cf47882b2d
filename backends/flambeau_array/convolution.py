"""What convolutions say of channels, groups and sizes that do not fit."""

from __future__ import annotations

from typing import Any

Array = Any
Size = tuple[int, ...]


def check_operands(input: Array, weight: Array, bias: Array | None, transposed: bool, groups: int) -> None:
    """RuntimeError unless the channels of input, weight and bias fit together."""
    shape, kernel = input.shape, weight.shape
    name = "conv_transpose" if transposed else "conv"
    name = f"{name}{len(kernel) - 2}d"
    if len(shape) != len(kernel):
        raise RuntimeError(
            f"{name}: expected an input of {len(kernel)} dimensions (samples, channels, sizes) for the weight of shape "
            f"{list(kernel)}, but got {list(shape)}"
        )
    expected = kernel[0] if transposed else kernel[1] * groups
    if shape[1] != expected:
        raise RuntimeError(
            f"{name}: Given groups={groups}, weight of size {list(kernel)}, expected input{list(shape)} to have "
            f"{expected} channels, but got {shape[1]} channels instead"
        )
    if kernel[0] % groups:
        raise RuntimeError(f"{name}: the first size of the weight {list(kernel)} is not divisible by groups={groups}")
    out_channels = kernel[1] * groups if transposed else kernel[0]
    if bias is not None and bias.shape != (out_channels,):
        raise RuntimeError(
            f"{name}: Given weight of size {list(kernel)}, expected bias to be 1-dimensional with {out_channels} "
            f"elements, but got bias of size {list(bias.shape)} instead"
        )


def check_size(size: Size, input: Array, weight: Array) -> None:
    """RuntimeError where the output would have no elements."""
    if min(size, default=1) <= 0:
        raise RuntimeError(
            f"convolution: the kernel does not fit into the padded input: the input {list(input.shape)} with the "
            f"weight {list(weight.shape)} gives an output of size {list(size)}"
        )
