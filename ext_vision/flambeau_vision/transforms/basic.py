"""Transforms that do the same to every image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import Tensor, nn
from flambeau_vision.transforms import functional as F
from flambeau_vision.transforms.sampling import Fill, InterpolationMode


class Transform(nn.Module):
    """A transform as a module: it may stand in a :class:`Compose` or, for tensors, in ``nn.Sequential``.

    A subclass names the attributes that its repr shows in ``_shown``.
    """

    _shown: tuple[str, ...] = ()

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={_show(getattr(self, name))}" for name in self._shown)


def _show(value: Any) -> str:
    return value.value if isinstance(value, InterpolationMode) else repr(value)


class Compose:
    """One transform after the other.

    Args:
        transforms: callables, each of one argument.
    """

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return "\n    ".join(["Compose(", *map(repr, self.transforms)]) + "\n)"


class ToTensor(Transform):
    """A float tensor (C, H, W) from a picture or a NumPy array; uint8 is scaled to 0..1.

    See :func:`~flambeau_vision.transforms.functional.to_tensor`.
    """

    def forward(self, pic: Any) -> Tensor:
        return F.to_tensor(pic)


class ToPILImage(Transform):
    """A picture of Pillow's; see :func:`~flambeau_vision.transforms.functional.to_pil_image`."""

    def forward(self, pic: Any) -> Any:
        return F.to_pil_image(pic)


class Lambda(Transform):
    """Any function as a transform."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        super().__init__()
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def forward(self, img: Any) -> Any:
        return self.lambd(img)


class Normalize(Transform):
    """``(tensor - mean) / std`` for each channel of a float tensor (..., C, H, W).

    Args:
        mean, std: one value a channel.
        inplace: change the tensor itself.
    """

    _shown = ("mean", "std")

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def forward(self, tensor: Tensor) -> Tensor:
        return F.normalize(tensor, self.mean, self.std, self.inplace)


class Resize(Transform):
    """Resample to another size; see :func:`~flambeau_vision.transforms.functional.resize`.

    Args:
        size: (height, width), or one number for the smaller edge.
        interpolation: nearest, bilinear or bicubic.
        max_size: most that the larger edge may become.
        antialias: average over all pixels that fall into one of the result.
    """

    _shown = ("size", "interpolation", "max_size", "antialias")

    def __init__(
        self,
        size: int | Sequence[int],
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool = True,
    ) -> None:
        super().__init__()
        F.size_pair(size, "Resize")
        self.size = size
        self.interpolation = interpolation
        self.max_size = max_size
        self.antialias = antialias

    def forward(self, img: Any) -> Any:
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(Transform):
    """The middle of the image, of the size (height, width); 0 where that reaches over its edge."""

    _shown = ("size",)

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        self.size = F.size_pair(size, "CenterCrop")

    def forward(self, img: Any) -> Any:
        return F.center_crop(img, self.size)


class Pad(Transform):
    """A border around the image; see :func:`~flambeau_vision.transforms.functional.pad`.

    Args:
        padding: width of the border: one for all, (left and right, top and bottom), or (left, top, right, bottom).
        fill: its value, or one a channel.
        padding_mode: ``"constant"``, ``"edge"``, ``"reflect"`` or ``"symmetric"``.
    """

    _shown = ("padding", "fill", "padding_mode")

    def __init__(self, padding: int | Sequence[int], fill: Fill = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_mode

    def forward(self, img: Any) -> Any:
        return F.pad(img, self.padding, self.fill, self.padding_mode)
