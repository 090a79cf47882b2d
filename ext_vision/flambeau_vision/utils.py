"""Pictures from tensors (``torchvision.utils``)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import IO, Any

import flambeau
from flambeau import Tensor
from flambeau.serialization._files import whole_file
from flambeau_vision.pillow import require_pillow
from flambeau_vision.transforms.functional import to_pil_image

__all__ = ["make_grid", "save_image"]


def make_grid(
    tensor: Tensor | Sequence[Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """Images side by side, in one.

    Args:
        tensor: a batch (N, C, H, W), one image (C, H, W) or (H, W), or a sequence of images of one size. A single
            channel is repeated to three.
        nrow: images in a row.
        padding: pixels between them and around the grid.
        normalize: bring the values into 0..1, from ``value_range`` or, when that is None, their own range.
        value_range: (least, greatest).
        scale_each: take each image's own range, not that of all.
        pad_value: value of the padding.

    Returns:
        A tensor (3, rows * (H + padding) + padding, columns * (W + padding) + padding), or the image itself (with
        three channels) when there is just one. (C stays where it is neither 1 nor 3.)

    Raises:
        TypeError: for what is neither a tensor nor a sequence of them.
        ValueError: for another number of dimensions, or no image.
    """
    if not isinstance(tensor, Tensor):
        if not isinstance(tensor, (list, tuple)) or not all(isinstance(each, Tensor) for each in tensor):
            raise TypeError(f"make_grid: tensor or list of tensors expected, got {type(tensor)}")
        if not tensor:
            raise ValueError("make_grid: there are no images in the list")
        tensor = flambeau.stack(list(tensor))
        tensor = tensor.unsqueeze(1) if tensor.dim() == 3 else tensor
    if not 2 <= tensor.dim() <= 4:
        raise ValueError(f"make_grid: expected (N, C, H, W), (C, H, W) or (H, W), got {tuple(tensor.shape)}")
    batch = tensor if tensor.dim() == 4 else tensor.reshape(1, -1, *tensor.shape[-2:])
    if len(batch) == 0:
        raise ValueError(f"make_grid: there are no images in a batch of the shape {tuple(batch.shape)}")
    if batch.shape[1] == 1:
        batch = batch.expand(-1, 3, -1, -1)
    if normalize:
        batch = _normalized(batch, value_range, scale_each)
    if len(batch) == 1:
        return batch[0]
    columns = min(nrow, len(batch))
    rows = math.ceil(len(batch) / columns)
    height, width = batch.shape[2] + padding, batch.shape[3] + padding
    size = (batch.shape[1], rows * height + padding, columns * width + padding)
    grid = flambeau.full(size, pad_value, dtype=batch.dtype, device=batch.device)
    for number in range(len(batch)):
        top, left = number // columns * height + padding, number % columns * width + padding
        grid[:, top : top + batch.shape[2], left : left + batch.shape[3]] = batch[number]
    return grid


def _normalized(batch: Tensor, value_range: tuple[float, float] | None, scale_each: bool) -> Tensor:
    if not batch.is_floating_point():
        batch = batch.to(flambeau.get_default_dtype())
    dims = (1, 2, 3) if scale_each else (0, 1, 2, 3)
    if value_range is not None:
        low, high = (flambeau.tensor(float(bound), dtype=batch.dtype, device=batch.device) for bound in value_range)
    else:
        low, high = batch.amin(dims, keepdim=True), batch.amax(dims, keepdim=True)
    return (batch.clamp(min=low, max=high) - low) / (high - low).clamp(min=1e-5)


def save_image(
    tensor: Tensor | Sequence[Tensor],
    fp: str | os.PathLike[str] | IO[bytes],
    format: str | None = None,
    **kwargs: Any,
) -> None:
    """Save an image, or several as a grid, with Pillow; a file is written whole or not at all.

    Args:
        tensor: as for :func:`make_grid`, floating-point values in 0..1 (rounded to 256 steps) or uint8.
        fp: path, or a file open for writing.
        format: as Pillow names it (``"PNG"``); by the path's extension when None.
        kwargs: arguments of :func:`make_grid`.

    Raises:
        ImportError: when Pillow is not installed.
        ValueError: when the format is not known.
    """
    require_pillow("save_image")
    grid = make_grid(tensor, **kwargs).detach()
    if grid.dtype is not flambeau.uint8:
        grid = grid.mul(255).add(0.5).clamp(0, 255).to(flambeau.uint8)
    save_picture(to_pil_image(grid), fp, format)


def save_picture(picture: Any, fp: str | os.PathLike[str] | IO[bytes], format: str | None = None) -> None:
    """Save a picture of Pillow's; a file is written whole or not at all."""
    image_module = require_pillow("save_picture")
    if not isinstance(fp, (str, os.PathLike)):
        picture.save(fp, format=format)
        return
    if format is None:
        extension = os.path.splitext(os.fspath(fp))[1].lower()
        format = image_module.registered_extensions().get(extension)
        if format is None:
            raise ValueError(f"unknown file extension: {extension!r} of {os.fspath(fp)!r}; give format='PNG' or such")
    with whole_file(os.fspath(fp)) as temporary:
        picture.save(temporary, format=format)
