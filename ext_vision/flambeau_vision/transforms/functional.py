"""Transforms as functions, under the names of ``torchvision.transforms.functional``.

An image is a tensor (..., H, W), a NumPy array (H, W) or (H, W, C), or a picture of Pillow's; the result has the same
form, and the same dtype, unless said otherwise. Tensors may have any number of leading dimensions: a whole batch is
transformed alike. Every function raises TypeError for what is no image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import flambeau
from flambeau import Tensor
from flambeau_vision.pillow import is_picture, require_pillow
from flambeau_vision.transforms import sampling
from flambeau_vision.transforms.images import on_tensor, planes_first, size_of, to_picture
from flambeau_vision.transforms.sampling import Fill, InterpolationMode

_NEAREST, _BILINEAR = InterpolationMode.NEAREST, InterpolationMode.BILINEAR


def to_tensor(pic: Any) -> Tensor:
    """A float tensor (C, H, W) from a picture or a NumPy array (H, W) or (H, W, C); uint8 is scaled to 0..1.

    Raises:
        TypeError: for anything else.
        ValueError: for an array with another number of dimensions.
    """
    array = pic
    if is_picture(pic):
        array = np.array(pic.convert("RGB") if pic.mode == "P" else pic)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"to_tensor: pic should be a picture of Pillow's or an ndarray. Got {type(pic)}")
    if array.ndim not in (2, 3):
        raise ValueError(f"to_tensor: pic should be 2/3 dimensional. Got {array.ndim} dimensions.")
    tensor = flambeau.from_numpy(planes_first(array))
    return tensor.to(flambeau.get_default_dtype()).div(255) if array.dtype == np.uint8 else tensor


def to_pil_image(pic: Any) -> Any:
    """A picture from a tensor (H, W) or (C, H, W), or a NumPy array (H, W) or (H, W, C).

    Floating-point values are taken as 0..1 and become 0..255; C is 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA).

    Raises:
        ImportError: when Pillow is not installed.
        ValueError: for another number of dimensions or channels.
    """
    if isinstance(pic, Tensor):
        array = pic.detach().cpu().numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    elif isinstance(pic, np.ndarray):
        array = pic
    else:
        raise TypeError(f"to_pil_image: pic should be a tensor or an ndarray. Got {type(pic)}.")
    if array.ndim not in (2, 3):
        raise ValueError(f"to_pil_image: pic should be 2/3 dimensional. Got {array.ndim} dimensions.")
    if array.ndim == 3 and not 1 <= array.shape[2] <= 4:
        raise ValueError(f"to_pil_image: pic should have 1 to 4 channels. Got {array.shape[2]} channels.")
    if np.issubdtype(array.dtype, np.floating):
        array = (np.clip(array, 0, 1) * 255).astype(np.uint8)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    return to_picture(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array)


def normalize(tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Tensor:
    """``(tensor - mean) / std`` for each channel of a float tensor (..., C, H, W).

    Raises:
        TypeError: for what is no tensor, or one of integers.
        ValueError: for fewer than 3 dimensions, or a ``std`` of 0.
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"normalize: tensor should be a tensor. Got {type(tensor)}; use ToTensor() before")
    if not tensor.is_floating_point():
        raise TypeError(f"normalize: tensor should be a float tensor. Got {tensor.dtype}.")
    if tensor.dim() < 3:
        raise ValueError(f"normalize: tensor should be of the shape (..., C, H, W). Got {tuple(tensor.shape)}")
    means = flambeau.tensor(mean, dtype=tensor.dtype, device=tensor.device).reshape(-1, 1, 1)
    deviations = flambeau.tensor(std, dtype=tensor.dtype, device=tensor.device).reshape(-1, 1, 1)
    if (deviations == 0).any():
        raise ValueError(f"normalize: std has a 0 (as {tensor.dtype}), which would be divided by: {std}")
    if inplace:
        return tensor.sub_(means).div_(deviations)
    return (tensor - means) / deviations


def hflip(img: Any) -> Any:
    """``img`` with left and right exchanged."""
    return on_tensor(lambda image: flambeau.flip(image, (-1,)), img, "hflip")


def vflip(img: Any) -> Any:
    """``img`` with top and bottom exchanged."""
    return on_tensor(lambda image: flambeau.flip(image, (-2,)), img, "vflip")


def pad(img: Any, padding: int | Sequence[int], fill: Fill = 0, padding_mode: str = "constant") -> Any:
    """``img`` with a border.

    Args:
        img: the image.
        padding: width of the border: one for all, (left and right, top and bottom), or (left, top, right, bottom).
        fill: its value, or one a channel, for ``"constant"``.
        padding_mode: ``"constant"``; ``"edge"`` (repeats the last pixel), ``"reflect"`` (mirrors at the last pixel),
            ``"symmetric"`` (mirrors behind it).

    Raises:
        ValueError: for a ``padding`` that is negative or does not have 1, 2 or 4 elements, an unknown mode, or a
            reflection wider than the image.
    """
    widths = [padding] if isinstance(padding, int) else list(padding)
    if len(widths) not in (1, 2, 4):
        raise ValueError(f"pad: padding must be an int or have 1, 2, or 4 elements, not {len(widths)}")
    if min(widths) < 0:
        raise ValueError(f"pad: padding must not be negative, got {padding}; crop instead")
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError(f"pad: padding_mode should be constant, edge, reflect or symmetric, got {padding_mode!r}")
    left, top, right, bottom = (widths * 4)[:4]

    def padded(image: Tensor) -> Tensor:
        if padding_mode == "constant":
            return sampling.frame(image, left, top, right, bottom, fill)
        for dim, before, after in ((-2, top, bottom), (-1, left, right)):
            size = image.shape[dim]
            most = {"edge": before + after, "reflect": size - 1, "symmetric": size}[padding_mode]
            if max(before, after) > most:
                raise ValueError(f"pad: padding_mode {padding_mode!r} can add at most {most} to a size of {size}")
            shown = np.pad(np.arange(size), (before, after), mode=padding_mode)  # type: ignore[call-overload]
            image = flambeau.index_select(image, dim, flambeau.from_numpy(shown).to(image.device))
        return image

    return on_tensor(padded, img, "pad")


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """The part of ``img`` of that height and width at (top, left); 0 where that reaches over the edge."""
    rows, columns = size_of(img, "crop")
    over = (max(-left, 0), max(-top, 0), max(left + width - columns, 0), max(top + height - rows, 0))
    if any(over):
        img = pad(img, over)
        left, top = left + over[0], top + over[1]
    return on_tensor(lambda image: image[..., top : top + height, left : left + width], img, "crop")


def center_crop(img: Any, output_size: int | Sequence[int]) -> Any:
    """The middle of ``img``, of the size (height, width); 0 where that reaches over the edge."""
    height, width = size_pair(output_size, "center_crop")
    rows, columns = size_of(img, "center_crop")
    if rows < height or columns < width:
        before_x, before_y = max(width - columns, 0) // 2, max(height - rows, 0) // 2
        after_x, after_y = max(width - columns + 1, 0) // 2, max(height - rows + 1, 0) // 2
        img = pad(img, (before_x, before_y, after_x, after_y))
        rows, columns = max(rows, height), max(columns, width)
    return crop(img, round((rows - height) / 2), round((columns - width) / 2), height, width)


def resize(
    img: Any,
    size: int | Sequence[int],
    interpolation: InterpolationMode = _BILINEAR,
    max_size: int | None = None,
    antialias: bool = True,
) -> Any:
    """``img`` resampled to another size.

    Args:
        img: the image.
        size: (height, width), or one number for the smaller of the two.
        interpolation: nearest, bilinear or bicubic.
        max_size: most that the larger one may become, when ``size`` is one number.
        antialias: average over all pixels that fall into one of the result, as Pillow does (always, for its pictures).

    Raises:
        ValueError: for sizes below 1, or a ``max_size`` that does not fit.
    """
    mode = sampling.mode_of(interpolation, "resize", tuple(InterpolationMode))
    target = _target_size(size_of(img, "resize"), size, max_size)
    if is_picture(img):  # Pillow's own way weighs colours with the alpha channel
        return img.resize(target[::-1], getattr(require_pillow("resize").Resampling, mode.name))
    return on_tensor(lambda image: sampling.resize(image, target, mode, antialias), img, "resize")


def _target_size(old: tuple[int, int], size: int | Sequence[int], max_size: int | None) -> tuple[int, int]:
    if not isinstance(size, int) and len(size) == 2:
        if max_size is not None:
            raise ValueError("resize: max_size should only be passed if size is one number, for the smaller edge")
        return size_pair(size, "resize")
    edge, _ = size_pair(size, "resize")
    short, long = min(old), max(old)
    new_short, new_long = edge, int(edge * long / short)
    if max_size is not None:
        if max_size <= edge:
            raise ValueError(f"resize: max_size = {max_size} must be greater than the size of the smaller edge, {edge}")
        if new_long > max_size:
            new_short, new_long = int(max_size * new_short / new_long), max_size
    return (new_short, new_long) if old[0] <= old[1] else (new_long, new_short)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: int | Sequence[int],
    interpolation: InterpolationMode = _BILINEAR,
    antialias: bool = True,
) -> Any:
    """:func:`crop`, then :func:`resize`."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def affine(
    img: Any,
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: float | Sequence[float],
    interpolation: InterpolationMode = _NEAREST,
    fill: Fill = None,
    center: Sequence[float] | None = None,
) -> Any:
    """``img`` sheared, scaled and turned around its centre, then moved; its size stays.

    Args:
        img: the image.
        angle: degrees, clockwise.
        translate: pixels (to the right, down).
        scale: factor, positive.
        shear: degrees along x, or (x, y).
        interpolation: nearest or bilinear.
        fill: what is seen outside of the image: a number, or one a channel; 0 when None.
        center: (x, y) in pixels from the top left corner; the middle when None.

    Raises:
        ValueError: for a scale that is not positive, or sequences of the wrong length.
    """
    mode = sampling.mode_of(interpolation, "affine", (_NEAREST, _BILINEAR))
    if len(translate) != 2:
        raise ValueError(f"affine: translate should be a sequence of length 2, got {len(translate)} values")
    if scale <= 0:
        raise ValueError(f"affine: scale should be positive, got {scale}")
    shears = (shear, 0.0) if isinstance(shear, (int, float)) else (*shear, 0.0)[: max(len(shear), 2)]
    if len(shears) != 2:
        raise ValueError(f"affine: shear should have 1 or 2 values, got {len(shears)}")
    inverse = sampling.inverse_affine(angle, translate, scale, shears, _from_middle(img, center, "affine"))
    return on_tensor(lambda image: sampling.warp(image, inverse, mode, fill), img, "affine")


def _from_middle(img: Any, center: Sequence[float] | None, caller: str) -> tuple[float, float]:
    height, width = size_of(img, caller)
    if center is None:
        return 0.0, 0.0
    if len(center) != 2:
        raise ValueError(f"{caller}: center should be a sequence of length 2, got {len(center)} values")
    return center[0] - width / 2, center[1] - height / 2


def rotate(
    img: Any,
    angle: float,
    interpolation: InterpolationMode = _NEAREST,
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: Fill = None,
) -> Any:
    """``img`` turned counter-clockwise.

    Args:
        img: the image.
        angle: degrees.
        interpolation: nearest or bilinear.
        expand: make the result as large as the whole turned image needs (``center`` is then left aside).
        center: (x, y) in pixels from the top left corner; the middle when None.
        fill: what is seen outside of the image: a number, or one a channel; 0 when None.
    """
    mode = sampling.mode_of(interpolation, "rotate", (_NEAREST, _BILINEAR))
    middle = _from_middle(img, None if expand else center, "rotate")
    inverse = sampling.inverse_affine(-angle, (0.0, 0.0), 1.0, (0.0, 0.0), middle)
    size = sampling.rotated_size(angle, *size_of(img, "rotate")) if expand else None
    return on_tensor(lambda image: sampling.warp(image, inverse, mode, fill, size), img, "rotate")


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Tensor:
    """A tensor (..., C, H, W) with the value(s) ``v`` in the rectangle at row i, column j, h high and w wide."""
    if not isinstance(img, Tensor):
        raise TypeError(f"erase: img should be a tensor. Got {type(img)}; use ToTensor() before")
    img = img if inplace else img.clone()
    img[..., i : i + h, j : j + w] = v
    return img


def size_pair(size: int | Sequence[int], caller: str) -> tuple[int, int]:
    """``size`` as (height, width).

    Raises:
        ValueError: when it is neither a number nor one or two of them, or below 1.
    """
    pair = (size,) if isinstance(size, int) else tuple(size)
    if len(pair) not in (1, 2) or not all(isinstance(edge, int) and edge >= 1 for edge in pair):
        raise ValueError(f"{caller}: size must be an int or (height, width), at least 1, got {size!r}")
    return pair[0], pair[-1]
