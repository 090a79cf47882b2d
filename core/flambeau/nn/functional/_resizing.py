"""Resizing, sampling at given places, and windows as columns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy

from flambeau.conversion import tensor
from flambeau.dtypes import FLOATING, float64, int32, uint8
from flambeau.ops import upsampling
from flambeau.ops.call import TENSORS
from flambeau.ops.spec import ntuple
from flambeau.tensor import Tensor

# The number of spatial dimensions that a mode works on; None for all.
_MODES = {
    "nearest": None, "nearest-exact": None, "area": None, "linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3,
}  # fmt: skip


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resize the spatial dimensions of (N, C, *).

    Args:
        size: the new sizes, one number for all or one a dimension; or
        scale_factor: what the sizes are multiplied with (and rounded down).
        mode: ``"nearest"``, ``"nearest-exact"``, ``"area"``, or ``"linear"``, ``"bilinear"``, ``"bicubic"``,
            ``"trilinear"`` for 1, 2, 2 and 3 spatial dimensions.
        align_corners: put the centers of the corner elements, rather than their corners, at the same places; for the
            last four modes.
        recompute_scale_factor: compute with the ratio of the sizes in place of ``scale_factor``.
        antialias: widen the filter when sizes shrink; ``"bilinear"`` and ``"bicubic"``.

    Raises:
        ValueError: for arguments that contradict each other.
        NotImplementedError: for a mode that does not go with the input's dimensions.
    """
    if mode not in _MODES:
        raise NotImplementedError(f"interpolate: unknown mode {mode!r}; there are: {', '.join(_MODES)}")
    smooth = _MODES[mode] is not None
    if align_corners is not None and not smooth:
        raise ValueError(
            "interpolate: align_corners option can only be set with the interpolating modes: linear | bilinear | "
            "bicubic | "
            "trilinear"
        )
    dims = input.ndim - 2
    if not 1 <= dims <= 3:
        raise NotImplementedError(
            f"interpolate: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D input of shape "
            f"{list(input.shape)})"
        )
    if smooth and _MODES[mode] != dims:
        raise NotImplementedError(
            f"interpolate: Got {input.ndim}D input, but {mode} mode needs {_MODES[mode] + 2}D input"  # type: ignore[operator]
        )
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(
            "interpolate: Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor"
        )
    bytes_do = input._dtype is uint8 and mode in ("bilinear", "bicubic")
    if (smooth or mode == "area") and input._dtype.category < FLOATING and not bytes_do:
        raise NotImplementedError(f"interpolate: mode {mode!r} is not implemented for {input._dtype.name}")
    shape = tuple(input.shape[2:])
    out, factors = _target_sizes(shape, size, scale_factor, recompute_scale_factor)
    if mode == "area":
        return TENSORS.adaptive_avg_pool(input, out)
    if (
        mode == "nearest"
        and all(n and m % n == 0 for n, m in zip(shape, out, strict=True))
        and (all(f is None or f == m // n for f, n, m in zip(factors, shape, out, strict=True)))
    ):
        return TENSORS.repeat_each(input, tuple([m // n for n, m in zip(shape, out, strict=True)]))
    steps = list(enumerate(zip(shape, out, factors, strict=True)))
    # Bytes are rounded after each dimension, so their order matters: rows first, as PyTorch and Pillow have it.
    for i, (n, m, factor) in reversed(steps) if input._dtype is uint8 else steps:
        if n != m or (factor is not None and factor != 1.0):
            input = _resized(input, 2 + i, n, m, mode, bool(align_corners), factor, antialias)
    return input


def _target_sizes(
    shape: tuple[int, ...], size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[tuple[int, ...], list[float | None]]:
    """The sizes to make, and the factors to compute with (None for the ratio of the sizes)."""
    dims = len(shape)
    if (size is None) == (scale_factor is None):
        which = "either size or scale_factor should be defined" if size is None else "only one of size or scale_factor"
        raise ValueError(f"interpolate: {which}{'' if size is None else ' should be defined'}")
    given = size if size is not None else scale_factor
    values = list(given) if isinstance(given, (tuple, list)) else [given] * dims
    if len(values) != dims:
        raise ValueError(
            "interpolate: Input and output must have the same number of spatial dimensions, but got input with "
            "spatial "
            f"dimensions of {list(shape)} and {'output size' if size is not None else 'scale_factor'} of {values}"
        )
    factors: list[float | None] = [None] * dims
    if size is not None:
        if recompute:
            raise ValueError("interpolate: recompute_scale_factor is not meaningful with an explicit size.")
        out = tuple([int(n) for n in values])
    else:
        out = tuple([math.floor(float(n) * float(f)) for n, f in zip(shape, values, strict=True)])
        if not recompute:
            factors = [float(f) for f in values]
    if any(n <= 0 for n in (*shape, *out)):
        raise RuntimeError(
            f"interpolate: Input and output sizes should be greater than 0, but got input {list(shape)} and output "
            f"{list(out)}"
        )
    return out, factors


def _resized(
    input: Tensor, dim: int, size: int, out: int, mode: str, align_corners: bool, factor: float | None, antialias: bool
) -> Tensor:
    real = numpy.float64 if input._dtype in (float64, uint8) else numpy.float32
    if mode.startswith("nearest"):
        index, factors = upsampling.nearest_taps(size, out, factor, mode == "nearest-exact")
    elif antialias:
        index, factors = upsampling.antialiased_taps(size, out, align_corners, factor, mode == "bicubic", real)
    elif mode == "bicubic":
        index, factors = upsampling.cubic_taps(size, out, align_corners, factor, real)
    else:
        index, factors = upsampling.linear_taps(size, out, align_corners, factor, real)
    where = input._device
    places = tensor(index, device=where)
    if factors is None:
        return TENSORS.resample(input, dim, places, None)
    if input._dtype is not uint8:
        return TENSORS.resample(input, dim, places, tensor(factors, dtype=input._dtype, device=where))
    factors, bits = upsampling.fixed_point(index, factors)
    total = TENSORS.resample(input.to(int32), dim, places, tensor(factors, dtype=int32, device=where))
    return ((total + (1 << bits - 1)) >> bits).clamp(0, 255).to(uint8)


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """An older name of :func:`interpolate`."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """An older name of :func:`interpolate` with ``mode="nearest"``."""
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """An older name of :func:`interpolate` with ``mode="bilinear"`` and aligned corners."""
    return interpolate(input, size, scale_factor, "bilinear", True)


def _corners(op: str, align_corners: bool | None) -> bool:
    if align_corners is None:
        warnings.warn(
            f"Default {op} and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
            "align_corners=True if the old behavior is desired.",
            stacklevel=3,
        )
    return bool(align_corners)


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Return where affine maps put the elements of a grid, for :func:`grid_sample`.

    Args:
        theta: (N, 2, 3), or (N, 3, 4) for volumes.
        size: of the output of :func:`grid_sample`, (N, C, H, W) or (N, C, D, H, W).
        align_corners: -1 and 1 are the centers of the corner elements, rather than their corners.

    Returns:
        (N, H, W, 2) or (N, D, H, W, 3), the coordinates x, y (and z) in [-1, 1].

    Raises:
        ValueError: when the shapes do not fit.
        NotImplementedError: for another number of sizes.
    """
    if theta._dtype.category < FLOATING:
        raise ValueError(f"affine_grid: Expected theta to have floating point type, but got {theta._dtype.name}")
    spatial = len(size) - 2
    if spatial not in (2, 3):
        raise NotImplementedError(
            "affine_grid: only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size "
            f"{size}."
        )
    if tuple(theta.shape[1:]) != (spatial, spatial + 1) or theta.shape[0] != size[0]:
        raise ValueError(
            f"affine_grid: Expected a batch of {spatial}D affine matrices of shape "
            f"{size[0]}x{spatial}x{spatial + 1} for size {list(size)}. Got {list(theta.shape)}."
        )
    if min(size) <= 0:
        raise ValueError(f"affine_grid: Expected non-zero, positive output size. Got {list(size)}")
    return TENSORS.affine_grid_of(theta, tuple(size), _corners("grid_sample", align_corners))


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Return ``input`` interpolated at the places of ``grid``.

    Args:
        input: (N, C, H, W) or (N, C, D, H, W).
        grid: (N, *out, 2) or (N, *out, 3), the coordinates x, y (and z) in [-1, 1].
        mode: ``"bilinear"``, ``"nearest"``, or ``"bicubic"`` (4D only).
        padding_mode: what is outside: ``"zeros"``, the ``"border"``, or a ``"reflection"``.
        align_corners: -1 and 1 are the centers of the corner elements, rather than their corners.

    Returns:
        (N, C, *out).

    Raises:
        ValueError: for an unknown mode.
        RuntimeError: when the shapes or dtypes do not fit.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(f"grid_sample: expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            f"grid_sample: expected padding_mode to be 'zeros', 'border', or 'reflection', but got: '{padding_mode}'"
        )
    shape, places = input.shape, grid.shape
    if len(shape) not in (4, 5) or len(places) != len(shape) or places[-1] != len(shape) - 2 or places[0] != shape[0]:
        raise RuntimeError(
            "grid_sample: expected 4D or 5D input and a grid with the same number of dimensions and batch size, and "
            "one "
            f"coordinate a spatial dimension, but got input with sizes {list(shape)} and grid with sizes {list(places)}"
        )
    if mode == "bicubic" and len(shape) != 4:
        raise RuntimeError("grid_sample: bicubic interpolation only supports 4D input")
    if input._dtype is not grid._dtype:
        raise RuntimeError(
            f"grid_sample: expected input and grid to have same dtype, but input has {input._dtype.name} and grid has "
            f"{grid._dtype.name}"
        )
    return TENSORS.grid_sample_at(input, grid, mode, padding_mode, _corners("grid_sample", align_corners))


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Return the windows of (N, C, H, W) as columns, (N, C kh kw, windows); without N the same.

    Raises:
        RuntimeError: when shapes or sizes do not fit.
    """
    if input.ndim not in (3, 4):
        raise RuntimeError(f"unfold: Expected 3D or 4D (batch mode) input tensor, but got: {list(input.shape)}")
    sizes = upsampling.window_sizes(
        "unfold", kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride
    )
    kernel, spacing, around, _ = sizes
    for n, k, d, p in zip(input.shape[-2:], kernel, spacing, around, strict=True):
        if n + 2 * p < d * (k - 1) + 1:
            raise RuntimeError(
                f"unfold: the window {list(kernel)} with dilation {list(spacing)} does not fit into input of size "
                f"{list(input.shape)} with padding {list(around)}"
            )
    if input.ndim == 4:
        return TENSORS.im2col(input, *sizes)
    return TENSORS.im2col(input.unsqueeze(0), *sizes).squeeze(0)


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Return the sum of the columns (N, C kh kw, windows) at their places in (N, C, *output_size); without N the same.

    Raises:
        RuntimeError: when shapes or sizes do not fit.
    """
    if input.ndim not in (2, 3):
        raise RuntimeError(f"fold: Expected 2D or 3D (batch mode) input tensor, but got: {list(input.shape)}")
    out = ntuple("fold", "output_size", output_size, 2)
    sizes = upsampling.window_sizes("fold", kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride)
    rows, columns = input.shape[-2:]
    places = math.prod(sizes[0])
    if rows % places:
        raise RuntimeError(
            f"fold: Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={rows} and kernel_size={list(sizes[0])}"
        )
    windows = math.prod([(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(out, *sizes, strict=True)])
    if columns != windows:
        raise RuntimeError(
            f"fold: Given output_size={list(out)}, kernel_size={list(sizes[0])}, dilation={list(sizes[1])}, "
            f"padding={list(sizes[2])}, stride={list(sizes[3])}, expected size of input's dimension 2 to match the "
            f"calculated number of sliding blocks {windows}, but got input.size(2)={columns}"
        )
    if input.ndim == 3:
        return TENSORS.col2im(input, out, *sizes)
    return TENSORS.col2im(input.unsqueeze(0), out, *sizes).squeeze(0)
