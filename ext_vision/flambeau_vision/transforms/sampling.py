"""Resampling of images: resizing by two matrix products, affine maps by gathering of pixels.

All of it is made of tensor ops, so that it runs on the device where the image lies, and is differentiable.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import flambeau
from flambeau import Tensor

Array = np.ndarray[Any, Any]
Fill = float | Sequence[float] | None


class InterpolationMode(enum.Enum):
    """How a value between pixels is found."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


def mode_of(
    interpolation: InterpolationMode | str, caller: str, allowed: Sequence[InterpolationMode]
) -> InterpolationMode:
    """``interpolation`` as a member of the enumeration.

    Raises:
        ValueError: when it is not one of those ``allowed``.
    """
    for mode in allowed:
        if interpolation in (mode, mode.value):
            return mode
    names = ", ".join(f"InterpolationMode.{mode.name}" for mode in allowed)
    raise ValueError(f"{caller}: interpolation must be one of {names}, got {interpolation!r}")


def frame(image: Tensor, left: int, top: int, right: int, bottom: int, fill: Fill) -> Tensor:
    """``image`` (..., H, W) in the middle of a larger one that is ``fill`` elsewhere: a number, or one a channel.

    Raises:
        ValueError: when ``fill`` has neither 1 value nor one a channel.
    """
    *lead, height, width = image.shape
    size = (*lead, top + height + bottom, left + width + right)
    if fill is None or isinstance(fill, (int, float)):
        framed = flambeau.full(size, fill or 0, dtype=image.dtype, device=image.device)
    else:
        channels = image.shape[-3] if image.dim() > 2 else 1
        if len(fill) not in (1, channels):
            raise ValueError(f"fill must have 1 or {channels} values, one a channel, got {len(fill)}")
        values = flambeau.tensor(list(fill), dtype=image.dtype, device=image.device).reshape(-1, 1, 1)
        values = values if image.dim() > 2 else values.reshape(1, 1)
        framed = values.expand(size).clone()
    framed[..., top : top + height, left : left + width] = image
    return framed


def _working_dtype(image: Tensor) -> Any:
    return image.dtype if image.dtype in (flambeau.float32, flambeau.float64) else flambeau.float32


def _back_to(dtype: Any, values: Tensor) -> Tensor:
    """``values`` in the dtype of the image, rounded and kept in its range where that is one of integers."""
    if dtype is flambeau.bool:
        return values > 0.5
    if not dtype.is_floating_point:
        limits = flambeau.iinfo(dtype)
        values = values.round().clamp(limits.min, limits.max)
    return values.to(dtype)


# Resizing ------------------------------------------------------------------------------------------------------------


def _triangle(x: Array) -> Array:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _cubic(a: float) -> Callable[[Array], Array]:
    """The cubic convolution kernel of Keys (1981) with the slope ``a`` at 1."""

    def kernel(x: Array) -> Array:
        x = np.abs(x)
        inner = ((a + 2) * x - (a + 3)) * x * x + 1
        outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return np.where(x < 1, inner, np.where(x < 2, outer, 0.0))

    return kernel


@functools.lru_cache(maxsize=16)  # a dataset's images are mostly of one size
def _resizing_matrix(size: int, new_size: int, mode: InterpolationMode, antialias: bool) -> Array:
    """The matrix (new_size, size) that resamples one dimension.

    With ``antialias`` the kernel is stretched over all pixels that fall into a new one, and cut off at the edges, as
    in Pillow; without, it spans its nearest pixels, and the edge pixels are repeated.
    """
    ratio = size / new_size
    centres = (np.arange(new_size) + 0.5) * ratio
    if antialias:
        kernel = _triangle if mode is InterpolationMode.BILINEAR else _cubic(-0.5)
        weights = kernel((np.arange(size) + 0.5 - centres[:, None]) / max(ratio, 1.0))
        return weights / weights.sum(axis=1, keepdims=True)
    kernel = _triangle if mode is InterpolationMode.BILINEAR else _cubic(-0.75)
    taps = np.floor(centres - 0.5)[:, None] + np.arange(-1, 3)
    weights = np.zeros((new_size, size))
    rows = np.broadcast_to(np.arange(new_size)[:, None], taps.shape)
    np.add.at(weights, (rows, np.clip(taps, 0, size - 1).astype(np.intp)), kernel(taps + 0.5 - centres[:, None]))
    return weights


def resize(image: Tensor, size: tuple[int, int], mode: InterpolationMode, antialias: bool) -> Tensor:
    """``image`` (..., H, W) resampled to ``size``."""
    for dim, new_size in ((-1, size[1]), (-2, size[0])):
        old_size = image.shape[dim]
        if mode is InterpolationMode.NEAREST and new_size != old_size:
            chosen = np.minimum(np.floor(np.arange(new_size) * (old_size / new_size)), old_size - 1)
            image = flambeau.index_select(image, dim, flambeau.from_numpy(chosen.astype(np.int64)).to(image.device))
    if mode is InterpolationMode.NEAREST or tuple(image.shape[-2:]) == size:
        return image
    dtype = _working_dtype(image)

    def matrix(dim: int) -> Tensor:
        weights = _resizing_matrix(image.shape[dim], size[dim], mode, antialias)
        return flambeau.from_numpy(weights).to(device=image.device, dtype=dtype)

    values = image.to(dtype)
    if size[1] != image.shape[-1]:
        values = values @ matrix(-1).T
    if size[0] != image.shape[-2]:
        values = matrix(-2) @ values
    return _back_to(image.dtype, values)


# Affine maps ---------------------------------------------------------------------------------------------------------


def inverse_affine(angle: Any, translate: Any, scale: Any, shear: Any, center: Any = (0.0, 0.0)) -> Array:
    """The maps from a pixel of the result to the one it shows, as matrices (..., 2, 3).

    Both are measured in pixels from the middle of the image, x to the right and y down. The map forward shears,
    scales and turns around ``center``, and then moves. Every argument may have leading dimensions.

    Args:
        angle: degrees, clockwise.
        translate: (x, y).
        scale: factor.
        shear: degrees (x, y).
        center: (x, y).
    """
    angle, translate, scale, shear = (np.asarray(value, dtype=np.float64) for value in (angle, translate, scale, shear))
    turn, tilt = np.radians(angle), np.tan(np.radians(shear))
    cos, sin, one = np.cos(turn), np.sin(turn), np.ones_like(turn)
    rotation = _matrix(cos, -sin, sin, cos)
    shear_x, shear_y = _matrix(one, -tilt[..., 0], 0 * one, one), _matrix(one, 0 * one, -tilt[..., 1], one)
    inverse = np.linalg.inv(scale[..., None, None] * (rotation @ shear_y @ shear_x))
    center = np.asarray(center, dtype=np.float64)
    moved = center[..., None] - inverse @ (center + translate)[..., None]
    return np.concatenate([inverse, moved], axis=-1)


def _matrix(a: Array, b: Array, c: Array, d: Array) -> Array:
    return np.stack([np.stack([a, b], axis=-1), np.stack([c, d], axis=-1)], axis=-2)


def warp(
    image: Tensor, inverse: Array, mode: InterpolationMode, fill: Fill, size: tuple[int, int] | None = None
) -> Tensor:
    """``image`` seen through the maps of :func:`inverse_affine`.

    Args:
        image: (..., H, W) for one map (2, 3), (N, C, H, W) for a map an image (N, 2, 3).
        inverse: the maps.
        mode: nearest or bilinear.
        fill: what is seen outside of the image.
        size: height and width of the result, those of the image when None.
    """
    *_, height, width = image.shape
    rows, columns = size or (height, width)
    dtype = _working_dtype(image)
    device = image.device
    # A border of fill, and coordinates that stay on it: so nothing needs to be masked.
    values = frame(image.to(dtype), 1, 1, 1, 1, fill)
    batch = len(inverse) if inverse.ndim == 3 else 1
    values = values.reshape(batch, -1, (height + 2) * (width + 2))

    y = flambeau.arange(rows, dtype=dtype, device=device).reshape(-1, 1).expand(rows, columns) + (0.5 - rows / 2)
    x = flambeau.arange(columns, dtype=dtype, device=device).expand(rows, columns) + (0.5 - columns / 2)
    seen = flambeau.stack([x.reshape(-1), y.reshape(-1), flambeau.ones(rows * columns, dtype=dtype, device=device)])
    source = flambeau.from_numpy(inverse.reshape(batch, 2, 3)).to(device=device, dtype=dtype) @ seen
    x = (source[:, 0] + (width / 2 - 0.5)).clamp(-1, width)
    y = (source[:, 1] + (height / 2 - 0.5)).clamp(-1, height)

    def pixels(row: Tensor, column: Tensor) -> Tensor:
        """The values of the framed image there, as (batch, channels, pixels)."""
        index = (row.to(flambeau.int64) + 1) * (width + 2) + column.to(flambeau.int64) + 1
        return flambeau.gather(values, 2, index.unsqueeze(1).expand(batch, values.shape[1], rows * columns))

    if mode is InterpolationMode.NEAREST:
        result = pixels(y.round(), x.round())
    else:
        top, left = y.floor().clamp(max=height - 1), x.floor().clamp(max=width - 1)
        down, right = (y - top).unsqueeze(1), (x - left).unsqueeze(1)
        upper = flambeau.lerp(pixels(top, left), pixels(top, left + 1), right)
        lower = flambeau.lerp(pixels(top + 1, left), pixels(top + 1, left + 1), right)
        result = flambeau.lerp(upper, lower, down)
    return _back_to(image.dtype, result.reshape(*image.shape[:-2], rows, columns))


def rotated_size(angle: float, height: int, width: int) -> tuple[int, int]:
    """Height and width, in whole pixels of the image, of what it fits into when turned by ``angle`` degrees."""
    if angle % 90 == 0:
        return (height, width) if angle % 180 == 0 else (width, height)
    turn = math.radians(angle)
    cos, sin = abs(math.cos(turn)), abs(math.sin(turn))

    def pixels(size: float, extent: float) -> int:
        return math.ceil((size + extent) / 2) - math.floor((size - extent) / 2)

    return pixels(height, width * sin + height * cos), pixels(width, width * cos + height * sin)
