"""What the datasets of images have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import flambeau
from flambeau import Tensor
from flambeau.utils.data import Dataset

Transform = Callable[[Any], Any] | None


class VisionDataset(Dataset[tuple[Any, Any]]):
    """A dataset of (image, target) pairs, with a transform for each of the two.

    Args:
        root: folder of the files, ``""`` where there is none.
        transform: called on each image.
        target_transform: called on each target.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = "",
        transform: Transform = None,
        target_transform: Transform = None,
    ) -> None:
        self.root = os.path.expanduser(os.fspath(root))
        self.transform = transform
        self.target_transform = target_transform

    def __len__(self) -> int:
        raise NotImplementedError

    def _pair(self, image: Any, target: Any) -> tuple[Any, Any]:
        """The pair as the user gets it: both transforms done."""
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def extra_repr(self) -> str:
        """Further lines of the repr."""
        return ""

    def __repr__(self) -> str:
        lines = [f"Number of datapoints: {len(self)}"]
        if self.root:
            lines.append(f"Root location: {self.root}")
        lines += self.extra_repr().splitlines()
        if self.transform is not None:
            lines.append(f"Transform: {self.transform!r}".replace("\n", "\n" + " " * 15))
        if self.target_transform is not None:
            lines.append(f"Target transform: {self.target_transform!r}".replace("\n", "\n" + " " * 22))
        return "\n    ".join([f"Dataset {type(self).__name__}", *lines])


class ArrayDataset(VisionDataset):
    """Grey images that are all in memory, and their classes.

    An item is ``(image, target)``: the image as a uint8 NumPy array (H, W), which
    :class:`~flambeau_vision.transforms.ToTensor` turns into a float tensor (1, H, W) in 0..1; the target as an int.

    Attributes:
        data: the images, a uint8 tensor (N, H, W).
        targets: the classes, an int64 tensor (N,).
        classes: the names of the classes.
    """

    classes: ClassVar[list[str]]

    def __init__(
        self,
        root: str | os.PathLike[str],
        images: np.ndarray[Any, Any],
        targets: np.ndarray[Any, Any],
        transform: Transform,
        target_transform: Transform,
    ) -> None:
        super().__init__(root, transform, target_transform)
        self._images = images
        self._targets = targets
        self.data: Tensor = flambeau.from_numpy(images)
        self.targets: Tensor = flambeau.from_numpy(targets)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """The target that stands for each class."""
        return {name: index for index, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self._pair(self._images[index], int(self._targets[index]))
