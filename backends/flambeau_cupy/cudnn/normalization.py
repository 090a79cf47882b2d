"""Batch normalization in training by cuDNN, for images with their channels innermost (``memory_format=channels_last``).

There its kernels read the input once where ours, a reduction after the other, read it three times. For other layouts
cuDNN copies the images before and after, so that ours stay.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy
import numpy

from flambeau_cupy.cudnn import library
from flambeau_cupy.cudnn.layout import empty, is_channels_last, packed, packed_strides

Array = Any
Size = tuple[int, ...]

#: The numbers of the tensors.
INPUT, WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR, EPS, MOMENTUM = range(1, 8)
OUT, MEAN, RSTD, NEW_MEAN, NEW_VAR, COTANGENT = range(11, 17)
OF_INPUT, OF_WEIGHT, OF_BIAS = range(21, 24)


class BatchNorm(NamedTuple):
    """The normalization of (N, C, *) in training, or its gradients; statistics and weights are float32.

    Attributes:
        way: ``"training"`` or ``"backward"``.
        kind: NumPy's character of the dtype.
    """

    way: str
    kind: str
    input: Size

    def add_to(self, graph: Any) -> None:
        """Add the tensors and the operation to a graph."""
        strides = packed_strides(self.input, True)
        channels = (1, self.input[1], *[1] * (len(self.input) - 2))
        channel_strides = packed_strides(channels, True)

        def statistic(number: int) -> Any:
            return library.operand(graph, number, channels, channel_strides, "f")

        def number_of(number: int) -> Any:
            ones = (1,) * len(channels)
            return library.operand(graph, number, ones, ones, "f", by_value=True)

        x = library.operand(graph, INPUT, self.input, strides, self.kind)
        if self.way == "training":
            made = graph.batchnorm(
                input=x, scale=statistic(WEIGHT), bias=statistic(BIAS), in_running_mean=statistic(RUNNING_MEAN),
                in_running_var=statistic(RUNNING_VAR), epsilon=number_of(EPS), momentum=number_of(MOMENTUM),
                name="batch_norm",
            )  # fmt: skip
            numbers: Size = (OUT, MEAN, RSTD, NEW_MEAN, NEW_VAR)
        else:
            g = library.operand(graph, COTANGENT, self.input, strides, self.kind)
            made = graph.batchnorm_backward(
                grad=g, input=x, scale=statistic(WEIGHT), mean=statistic(MEAN), inv_variance=statistic(RSTD),
                name="batch_norm",
            )  # fmt: skip
            numbers = (OF_INPUT, OF_WEIGHT, OF_BIAS)
        library.result(made[0], numbers[0], self.input, strides, self.kind)
        for number, tensor in zip(numbers[1:], made[1:], strict=True):
            library.result(tensor, number, channels, channel_strides, "f")


def _serves(input: Array, *channels: Array | None) -> bool:
    """Whether cuDNN may be asked; what else it cannot do it says itself."""
    return (
        input.dtype.char in library.DTYPES
        and is_channels_last(input)
        and input.size // input.shape[1] > 1
        and input.size <= library.LARGEST
        and all(array is not None and array.dtype.char == "f" and array.flags.c_contiguous for array in channels)
        and library.is_on()
    )


def training(
    input: Array, weight: Array | None, bias: Array | None, mean: Array | None, var: Array | None, momentum: float,
    eps: float,
) -> tuple[Array, Array, Array] | None:  # fmt: skip
    """The normal of (N, C, *) and the batch's mean and rstd, each (C,); the running ``mean`` and ``var`` move."""
    if not _serves(input, weight, bias, mean, var):
        return None
    x = packed(input, True)
    arrays = {INPUT: x, OUT: empty(x.shape, x.dtype, True)}
    arrays |= dict(zip((WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR), (weight, bias, mean, var), strict=True))
    arrays |= {number: cupy.empty(x.shape[1], numpy.float32) for number in (MEAN, RSTD, NEW_MEAN, NEW_VAR)}
    numbers = {EPS: numpy.array(eps, numpy.float32), MOMENTUM: numpy.array(momentum, numpy.float32)}
    places = {number: array.data.ptr for number, array in arrays.items()}
    places |= {number: value.ctypes.data for number, value in numbers.items()}
    if not library.run(
        BatchNorm("training", x.dtype.char, x.shape), library.settings(input.dtype.char, trying=False), places
    ):
        return None
    mean[...], var[...] = arrays[NEW_MEAN], arrays[NEW_VAR]
    return arrays[OUT], arrays[MEAN], arrays[RSTD]


def backward(
    g: Array, input: Array, weight: Array | None, mean: Array, rstd: Array
) -> tuple[Array, Array, Array] | None:
    """The cotangents of input, weight and bias in training."""
    if not _serves(input, weight, mean, rstd) or g.dtype != input.dtype:
        return None
    x, cotangent = packed(input, True), packed(g, True)
    arrays = {INPUT: x, COTANGENT: cotangent, WEIGHT: weight, MEAN: mean, RSTD: rstd}
    arrays[OF_INPUT] = empty(x.shape, x.dtype, True)
    arrays |= {number: cupy.empty(x.shape[1], numpy.float32) for number in (OF_WEIGHT, OF_BIAS)}
    places = {number: array.data.ptr for number, array in arrays.items()}
    if not library.run(
        BatchNorm("backward", x.dtype.char, x.shape), library.settings(input.dtype.char, trying=False), places
    ):
        return None
    return arrays[OF_INPUT], arrays[OF_WEIGHT], arrays[OF_BIAS]
