"""The functions that PyTorch has at its top level below those of ``torch.nn.functional``.

They take modes and reductions as numbers, and normalization returns the statistics too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.nn.functional import _ctc, _normalization, _resizing
from flambeau.ops.call import TENSORS
from flambeau.ops.normalization import check_normalized_shape
from flambeau.tensor import Tensor

_MODES = ("bilinear", "nearest", "bicubic")
_PADDING_MODES = ("zeros", "border", "reflection")
_REDUCTIONS = ("none", "mean", "sum")


def _named(op: str, argument: str, names: tuple[str, ...], number: int) -> str:
    if not 0 <= number < len(names):
        known = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
        raise RuntimeError(f"{op}: {argument} has to be one of {known}, got {number}")
    return names[number]


# -- pooling ---------------------------------------------------------------------------------------------------------


def adaptive_max_pool1d(input: Tensor, output_size: int) -> tuple[Tensor, Tensor]:
    """:func:`flambeau.nn.functional.adaptive_max_pool1d` with the indices."""
    pair: tuple[Tensor, Tensor] = TENSORS.adaptive_max_pool1d(input, output_size, True)
    return pair


# -- sampling --------------------------------------------------------------------------------------------------------


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """:func:`flambeau.nn.functional.grid_sample` with its modes by number.

    Args:
        interpolation_mode: 0 (bilinear), 1 (nearest) or 2 (bicubic).
        padding_mode: 0 (zeros), 1 (border) or 2 (reflection).
    """
    mode = _named("grid_sampler", "interpolation_mode", _MODES, interpolation_mode)
    padding = _named("grid_sampler", "padding_mode", _PADDING_MODES, padding_mode)
    return _resizing.grid_sample(input, grid, mode, padding, align_corners)


def _grid_sampler_nd(dims: int) -> Any:
    def sampler(input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
        if input.ndim != dims + 2:
            raise RuntimeError(f"grid_sampler_{dims}d: expected a {dims + 2}D input, got sizes {list(input.shape)}")
        return grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)

    sampler.__name__ = sampler.__qualname__ = f"grid_sampler_{dims}d"
    sampler.__doc__ = f":func:`grid_sampler` of an input with {dims} spatial dimensions."
    return sampler


grid_sampler_2d, grid_sampler_3d = _grid_sampler_nd(2), _grid_sampler_nd(3)


def affine_grid_generator(theta: Tensor, size: Sequence[int], align_corners: bool) -> Tensor:
    """:func:`flambeau.nn.functional.affine_grid`."""
    return _resizing.affine_grid(theta, size, align_corners)


# -- normalization, with its statistics ------------------------------------------------------------------------------


def native_layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`flambeau.nn.functional.layer_norm`, the means and the reciprocal standard deviations.

    The statistics are in the input's dtype, of size 1 in the last dimensions, and take no gradient.
    """
    shape = check_normalized_shape("native_layer_norm", input, normalized_shape, weight, bias)
    out, mean, rstd = TENSORS.native_layer_norm(input, shape, weight, bias, eps)
    return out, mean.detach().to(input.dtype), rstd.detach().to(input.dtype)


def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`flambeau.nn.functional.group_norm`, and the statistics of each sample and group, (N, group).

    Args:
        N, C, HxW: batch, channels, and the product of the other sizes.
        group: the number of groups.
    """
    out = TENSORS.group_norm(input, group, weight, bias, eps)
    if input.numel() != N * C * HxW:
        raise RuntimeError(
            f"native_group_norm: expected an input of N * C * HxW = {N} * {C} * {HxW} elements, got shape "
            f"{list(input.shape)}"
        )
    size = C // group * HxW
    _, mean, rstd = TENSORS.native_layer_norm(input.reshape(N, group, size), (size,), None, None, eps)
    return out, mean.reshape(N, group).to(input.dtype), rstd.reshape(N, group).to(input.dtype)


def native_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`flambeau.nn.functional.batch_norm`, and in training the batch's statistics, (C,); else empty ones."""
    out, mean, rstd = _normalization.normalized_batch(
        "native_batch_norm", input, running_mean, running_var, weight, bias, training, momentum, eps
    )
    given = next((t for t in (weight, bias, running_mean, running_var) if t is not None), input)
    mean, rstd = mean.detach().to(given.dtype), rstd.detach().to(given.dtype)  # of no gradient, as in PyTorch
    return (out, mean, rstd) if training else (out, mean.new_empty(0), rstd.new_empty(0))


# -- losses ----------------------------------------------------------------------------------------------------------


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: int = 1,
    zero_infinity: bool = False,
) -> Tensor:
    """:func:`flambeau.nn.functional.ctc_loss` with the reduction by number: 0 (none), 1 (mean) or 2 (sum)."""
    name = _named("ctc_loss", "reduction", _REDUCTIONS, reduction)
    return _ctc.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, name, zero_infinity)


# -- convolution -----------------------------------------------------------------------------------------------------


def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    """:func:`flambeau.conv1d` to :func:`flambeau.conv_transpose3d`, by the number of the weight's dimensions."""
    dims = weight.ndim - 2
    if not 1 <= dims <= 3:
        raise RuntimeError(f"convolution: expected a 3D, 4D or 5D weight, got size {list(weight.shape)}")
    if transposed:
        transpose = getattr(TENSORS, f"conv_transpose{dims}d")
        result: Tensor = transpose(input, weight, bias, stride, padding, output_padding, groups, dilation)
    else:
        result = getattr(TENSORS, f"conv{dims}d")(input, weight, bias, stride, padding, dilation, groups)
    return result
