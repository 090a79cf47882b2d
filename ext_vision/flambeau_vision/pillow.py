"""Pillow, which is optional: asked for in one place, with one message where it is missing."""

from __future__ import annotations

import sys
from typing import Any


def require_pillow(caller: str) -> Any:
    """The module ``PIL.Image``.

    Raises:
        ImportError: when Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(f"{caller} needs Pillow, which is not installed: pip install 'flambeau[vision]'") from None
    return Image


def is_picture(value: Any) -> bool:
    """Whether ``value`` is a picture of Pillow's; does not import Pillow, since without it there are none."""
    image_module = sys.modules.get("PIL.Image")
    return image_module is not None and isinstance(value, image_module.Image)
