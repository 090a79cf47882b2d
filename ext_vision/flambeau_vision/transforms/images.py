"""The three forms an image comes in, and the way from each to a tensor (..., H, W) and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau
from flambeau import Tensor
from flambeau_vision.pillow import is_picture, require_pillow

_MODES = ("L", "LA", "RGB", "RGBA", "F", "I")
_KINDS = "a tensor (..., H, W), a NumPy array (H, W) or (H, W, C), or a picture of Pillow's"


def size_of(image: Any, caller: str) -> tuple[int, int]:
    """Height and width."""
    if is_picture(image):
        width, height = image.size
        return height, width
    if isinstance(image, Tensor):
        if image.dim() >= 2:
            return image.shape[-2], image.shape[-1]
    elif isinstance(image, np.ndarray) and image.ndim in (2, 3):
        return image.shape[0], image.shape[1]
    raise _wrong_image(image, caller)


def on_tensor(function: Callable[[Tensor], Tensor], image: Any, caller: str) -> Any:
    """``function``, which maps a tensor (..., H, W) to another, applied to an image of any form, which it keeps.

    Raises:
        TypeError: when ``image`` is none of them.
    """
    if isinstance(image, Tensor) and image.dim() >= 2:
        return function(image)
    if is_picture(image):
        if image.mode not in _MODES:
            raise TypeError(
                f"{caller}: a picture of the mode {image.mode!r} must be converted first, "
                f"with .convert('RGB') or .convert('L')"
            )
        return to_picture(_through(function, np.array(image)))
    if isinstance(image, np.ndarray) and image.ndim in (2, 3):
        return _through(function, image)
    raise _wrong_image(image, caller)


def planes_first(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A new array (C, H, W) from one of (H, W) or (H, W, C)."""
    array = array[:, :, None] if array.ndim == 2 else array
    return np.array(array.transpose(2, 0, 1), order="C")


def to_picture(array: np.ndarray[Any, Any]) -> Any:
    """A picture from an array (H, W) or (H, W, C) of the dtype that its mode has."""
    return require_pillow("ToPILImage").fromarray(np.ascontiguousarray(array))


def _through(function: Callable[[Tensor], Tensor], array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    result = function(flambeau.from_numpy(planes_first(array))).cpu().numpy()
    return np.ascontiguousarray(result[0] if array.ndim == 2 else result.transpose(1, 2, 0))


def _wrong_image(image: Any, caller: str) -> TypeError:
    shape = f" of the shape {tuple(image.shape)}" if isinstance(image, (Tensor, np.ndarray)) else ""
    return TypeError(f"{caller}: an image is {_KINDS}, not {type(image).__name__}{shape}")
