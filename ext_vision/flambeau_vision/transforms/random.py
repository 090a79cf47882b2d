"""Transforms that draw what they do anew at every call, from Flambeau's generator (``flambeau.manual_seed``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import flambeau
from flambeau import Tensor
from flambeau_vision.transforms import functional as F
from flambeau_vision.transforms import sampling
from flambeau_vision.transforms.basic import Transform
from flambeau_vision.transforms.images import size_of
from flambeau_vision.transforms.sampling import Fill, InterpolationMode

Range = Sequence[float]


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * flambeau.rand((), device="cpu").item()


def _integer(high: int) -> int:
    """From 0 to ``high``, both included."""
    return int(flambeau.randint(0, high + 1, (), device="cpu").item())


def _probability(p: float, caller: str) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"{caller}: p should be a probability between 0 and 1, got {p}")
    return p


class _Flip(Transform):
    _shown = ("p",)
    _flip: Callable[[Any], Any]

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = _probability(p, type(self).__name__)

    def forward(self, img: Any) -> Any:
        return self._flip(img) if _uniform(0, 1) < self.p else img


class RandomHorizontalFlip(_Flip):
    """Exchange left and right with probability ``p``."""

    _flip = staticmethod(F.hflip)


class RandomVerticalFlip(_Flip):
    """Exchange top and bottom with probability ``p``."""

    _flip = staticmethod(F.vflip)


class RandomApply(Transform):
    """Apply all of ``transforms`` with probability ``p``, otherwise none."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        super().__init__()
        self.transforms = transforms
        self.p = _probability(p, "RandomApply")

    def forward(self, img: Any) -> Any:
        if _uniform(0, 1) < self.p:
            for transform in self.transforms:
                img = transform(img)
        return img

    def extra_repr(self) -> str:
        return f"p={self.p}, {', '.join(map(repr, self.transforms))}"


class RandomCrop(Transform):
    """A part of the image, from a place drawn uniformly.

    Args:
        size: (height, width), or one number for both.
        padding: border added first, as for :func:`~flambeau_vision.transforms.functional.pad`.
        pad_if_needed: also add what an image is too small by, on both sides.
        fill, padding_mode: of the border.

    Raises:
        ValueError: when called with an image that is too small.
    """

    _shown = ("size", "padding")

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Fill = 0,
        padding_mode: str = "constant",
    ) -> None:
        super().__init__()
        self.size = F.size_pair(size, "RandomCrop")
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode

    @staticmethod
    def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(top, left, height, width), drawn."""
        rows, columns = size_of(img, "RandomCrop")
        height, width = output_size
        if rows < height or columns < width:
            raise ValueError(
                f"Required crop size {(height, width)} is larger than input image size {(rows, columns)}; "
                f"pad_if_needed=True pads smaller images"
            )
        return _integer(rows - height), _integer(columns - width), height, width

    def forward(self, img: Any) -> Any:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        if self.pad_if_needed:
            rows, columns = size_of(img, "RandomCrop")
            missing = (max(self.size[1] - columns, 0), max(self.size[0] - rows, 0))
            if any(missing):
                img = F.pad(img, missing, self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))


class RandomResizedCrop(Transform):
    """A part of the image of random area and aspect ratio, resized (the augmentation of Szegedy et al., 2014).

    Args:
        size: (height, width) of the result, or one number for both.
        scale: least and greatest share of the image's area.
        ratio: least and greatest width / height.
        interpolation, antialias: as for :func:`~flambeau_vision.transforms.functional.resize`.
    """

    _shown = ("size", "scale", "ratio", "interpolation", "antialias")

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Range = (0.08, 1.0),
        ratio: Range = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: InterpolationMode = InterpolationMode.BILINEAR,
        antialias: bool = True,
    ) -> None:
        super().__init__()
        self.size = F.size_pair(size, "RandomResizedCrop")
        self.scale = _range(scale, "RandomResizedCrop", "scale")
        self.ratio = _range(ratio, "RandomResizedCrop", "ratio")
        self.interpolation = interpolation
        self.antialias = antialias

    @staticmethod
    def get_params(img: Any, scale: Range, ratio: Range) -> tuple[int, int, int, int]:
        """(top, left, height, width), drawn; the middle of the image when ten draws do not fit into it."""
        rows, columns = size_of(img, "RandomResizedCrop")
        for _ in range(10):
            area = rows * columns * _uniform(*scale)
            aspect = math.exp(_uniform(math.log(ratio[0]), math.log(ratio[1])))
            width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < width <= columns and 0 < height <= rows:
                return _integer(rows - height), _integer(columns - width), height, width
        aspect = min(max(columns / rows, ratio[0]), ratio[1])
        width, height = min(columns, round(rows * aspect)), min(rows, round(columns / aspect))
        return (rows - height) // 2, (columns - width) // 2, height, width

    def forward(self, img: Any) -> Any:
        place = self.get_params(img, self.scale, self.ratio)
        return F.resized_crop(img, *place, self.size, self.interpolation, self.antialias)


def _range(values: Range, caller: str, name: str) -> tuple[float, float]:
    if len(values) != 2 or not 0 < values[0] <= values[1]:
        raise ValueError(f"{caller}: {name} should be (least, greatest), both positive, got {values!r}")
    return values[0], values[1]


def _symmetric_range(value: float | Range, caller: str, name: str) -> tuple[float, ...]:
    """``value`` itself, or (-value, value) for a number."""
    if isinstance(value, (int, float)):
        if value < 0:
            raise ValueError(f"{caller}: if {name} is a single number, it must not be negative, got {value}")
        return -float(value), float(value)
    return tuple(float(each) for each in value)


class RandomAffine(Transform):
    """The image turned, moved, scaled and sheared at random; its size stays.

    Args:
        degrees: range of the angle: (least, greatest), or a number for (-degrees, degrees).
        translate: greatest shift to either side, as a share of (width, height); None for no shift.
        scale: (least, greatest) factor; None for 1.
        shear: range of the angle along x, as for ``degrees``; four numbers for x and y; None for no shear.
        interpolation: nearest or bilinear.
        fill: what is seen outside of the image: a number, or one a channel.
        center: (x, y) in pixels of the point that stays; the middle when None.
        per_image: draw anew for each image of a batch (N, C, H, W), and transform all of them in one go. (Not in
            torchvision, where a batch is always transformed alike.)
    """

    _shown = ("degrees", "translate", "scale", "shear", "interpolation", "fill")

    def __init__(
        self,
        degrees: float | Range,
        translate: Range | None = None,
        scale: Range | None = None,
        shear: float | Range | None = None,
        interpolation: InterpolationMode = InterpolationMode.NEAREST,
        fill: Fill = 0,
        center: Range | None = None,
        per_image: bool = False,
    ) -> None:
        super().__init__()
        self.degrees = _symmetric_range(degrees, "RandomAffine", "degrees")
        if len(self.degrees) != 2:
            raise ValueError(f"RandomAffine: degrees should be a number or (least, greatest), got {degrees!r}")
        if translate is not None and not (len(translate) == 2 and all(0 <= share <= 1 for share in translate)):
            raise ValueError(f"RandomAffine: translate should be two values between 0 and 1, got {translate!r}")
        self.translate = None if translate is None else tuple(translate)
        self.scale = None if scale is None else _range(scale, "RandomAffine", "scale")
        self.shear = None if shear is None else _symmetric_range(shear, "RandomAffine", "shear")
        if self.shear is not None and len(self.shear) not in (2, 4):
            raise ValueError(f"RandomAffine: shear should be a number, or 2 or 4 of them, got {shear!r}")
        allowed = (InterpolationMode.NEAREST, InterpolationMode.BILINEAR)
        self.interpolation = sampling.mode_of(interpolation, "RandomAffine", allowed)
        self.fill = fill
        self.center = center
        self.per_image = per_image

    @staticmethod
    def get_params(
        degrees: Range,
        translate: Range | None,
        scale_ranges: Range | None,
        shears: Range | None,
        img_size: Sequence[int],
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """(angle, shift in pixels, factor, shear), drawn for an image of the size (width, height)."""
        angle, shift, factor, shear = _draw_affine(1, degrees, translate, scale_ranges, shears, img_size)
        return float(angle[0]), (int(shift[0, 0]), int(shift[0, 1])), float(factor[0]), (shear[0, 0], shear[0, 1])

    def forward(self, img: Any) -> Any:
        height, width = size_of(img, "RandomAffine")
        if self.per_image:
            if not isinstance(img, Tensor) or img.dim() != 4:
                raise TypeError("RandomAffine: with per_image=True, a batch of images is a tensor (N, C, H, W)")
            drawn = _draw_affine(len(img), self.degrees, self.translate, self.scale, self.shear, (width, height))
            center = (0.0, 0.0) if self.center is None else (self.center[0] - width / 2, self.center[1] - height / 2)
            return sampling.warp(img, sampling.inverse_affine(*drawn, center), self.interpolation, self.fill)
        drawn = self.get_params(self.degrees, self.translate, self.scale, self.shear, (width, height))
        return F.affine(img, *drawn, interpolation=self.interpolation, fill=self.fill, center=self.center)


def _draw_affine(
    count: int,
    degrees: Range,
    translate: Range | None,
    scale: Range | None,
    shear: Range | None,
    size: Sequence[int],
) -> tuple[Any, Any, Any, Any]:
    """The arguments of ``count`` affine maps: angles (n,), shifts (n, 2), factors (n,), shears (n, 2)."""
    shift_x, shift_y = (0.0, 0.0) if translate is None else (translate[0] * size[0], translate[1] * size[1])
    shears = (0.0, 0.0, 0.0, 0.0) if shear is None else (*shear, 0.0, 0.0)[:4]
    factors = (1.0, 1.0) if scale is None else scale
    ranges = np.array([degrees, (-shift_x, shift_x), (-shift_y, shift_y), factors, shears[:2], shears[2:]])
    share = flambeau.rand(count, 6, device="cpu").numpy()
    drawn = ranges[:, 0] + share * (ranges[:, 1] - ranges[:, 0])
    return drawn[:, 0], np.rint(drawn[:, 1:3]), drawn[:, 3], drawn[:, 4:6]


class RandomRotation(Transform):
    """The image turned at random.

    Args:
        degrees: range of the angle, counter-clockwise: (least, greatest), or a number for (-degrees, degrees).
        interpolation: nearest or bilinear.
        expand: make the result as large as the whole turned image needs.
        center: (x, y) in pixels of the point that stays; the middle when None.
        fill: what is seen outside of the image: a number, or one a channel.
    """

    _shown = ("degrees", "interpolation", "expand", "fill")

    def __init__(
        self,
        degrees: float | Range,
        interpolation: InterpolationMode = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Range | None = None,
        fill: Fill = 0,
    ) -> None:
        super().__init__()
        self.degrees = _symmetric_range(degrees, "RandomRotation", "degrees")
        if len(self.degrees) != 2:
            raise ValueError(f"RandomRotation: degrees should be a number or (least, greatest), got {degrees!r}")
        self.interpolation = interpolation
        self.expand = expand
        self.center = center
        self.fill = fill

    @staticmethod
    def get_params(degrees: Range) -> float:
        """The angle, drawn."""
        return _uniform(degrees[0], degrees[1])

    def forward(self, img: Any) -> Any:
        return F.rotate(img, self.get_params(self.degrees), self.interpolation, self.expand, self.center, self.fill)


class RandomErasing(Transform):
    """Erase a rectangle of a tensor (..., C, H, W) with probability ``p`` (Zhong et al., 2017).

    Args:
        p: the probability.
        scale: least and greatest share of the image's area.
        ratio: least and greatest height / width.
        value: what is put there: a number, one a channel, or ``"random"`` for normal noise.
        inplace: change the tensor itself.

    An image in which ten rectangles drawn do not fit stays as it is.
    """

    _shown = ("p", "scale", "ratio", "value", "inplace")

    def __init__(
        self,
        p: float = 0.5,
        scale: Range = (0.02, 0.33),
        ratio: Range = (0.3, 3.3),
        value: float | Sequence[float] | str = 0,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        self.p = _probability(p, "RandomErasing")
        self.scale = _range(scale, "RandomErasing", "scale")
        self.ratio = _range(ratio, "RandomErasing", "ratio")
        if self.scale[1] > 1:
            raise ValueError(f"RandomErasing: scale should be between 0 and 1, got {scale!r}")
        if isinstance(value, str) and value != "random":
            raise ValueError(f"RandomErasing: if value is str, it should be 'random', got {value!r}")
        self.value = value
        self.inplace = inplace

    @staticmethod
    def get_params(img: Tensor, scale: Range, ratio: Range) -> tuple[int, int, int, int] | None:
        """(top, left, height, width), drawn; None when ten draws do not fit."""
        rows, columns = size_of(img, "RandomErasing")
        for _ in range(10):
            area = rows * columns * _uniform(*scale)
            aspect = math.exp(_uniform(math.log(ratio[0]), math.log(ratio[1])))
            height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < height < rows and 0 < width < columns:
                return _integer(rows - height), _integer(columns - width), height, width
        return None

    def forward(self, img: Tensor) -> Tensor:
        if _uniform(0, 1) >= self.p:
            return img
        place = self.get_params(img, self.scale, self.ratio)
        if place is None:
            return img
        return F.erase(img, *place, self._values(img, place[2], place[3]), self.inplace)

    def _values(self, img: Tensor, height: int, width: int) -> Any:
        if self.value == "random":
            return flambeau.randn(*img.shape[:-2], height, width, dtype=img.dtype, device=img.device)
        if isinstance(self.value, (int, float)):
            return self.value
        channels = img.shape[-3]
        if len(self.value) not in (1, channels):
            raise ValueError(
                f"If value is a sequence, it should have either a single value or {channels} (number of input channels)"
            )
        return flambeau.tensor(list(self.value), dtype=img.dtype, device=img.device).reshape(-1, 1, 1)
