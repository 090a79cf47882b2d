"""MNIST and the datasets that are published in its format."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import numpy as np

from flambeau_vision.datasets.idx import read_idx
from flambeau_vision.datasets.vision import ArrayDataset, Transform


class MNIST(ArrayDataset):
    """Handwritten digits, 28 x 28 pixels: 60,000 images for training and 10,000 for testing (LeCun et al., 1998).

    Nothing is downloaded. The four files (``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
    ``t10k-images-idx3-ubyte``, ``t10k-labels-idx1-ubyte``), plain or with ``.gz``, lie in ``root`` or where
    torchvision puts them, in ``root/MNIST/raw``. Any images in that format will do, of any size and number.

    Args:
        root: the folder.
        train: the training part, or the test part.
        transform: called on each image, a uint8 NumPy array (28, 28).
        target_transform: called on each class, an int.
        download: only so that calls written for torchvision work when the files are there.

    See :class:`~flambeau_vision.datasets.vision.ArrayDataset` for the items and attributes.

    Raises:
        FileNotFoundError: when a file is missing; the message says where it should be.
        ValueError: when a file is damaged, or images and labels do not fit together.
    """

    classes: ClassVar[list[str]] = [
        "0 - zero",
        "1 - one",
        "2 - two",
        "3 - three",
        "4 - four",
        "5 - five",
        "6 - six",
        "7 - seven",
        "8 - eight",
        "9 - nine",
    ]

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Transform = None,
        target_transform: Transform = None,
        download: bool = False,
    ) -> None:
        self.train = train
        part = "train" if train else "t10k"
        images_path = self._find(root, part, "images-idx3-ubyte")
        labels_path = self._find(root, part, "labels-idx1-ubyte")
        images, labels = read_idx(images_path), read_idx(labels_path)
        _check(images_path, images, 3)
        _check(labels_path, labels, 1)
        if len(images) != len(labels):
            raise ValueError(
                f"{type(self).__name__}: {images_path!r} has {len(images)} images, but "
                f"{labels_path!r} has {len(labels)} labels"
            )
        if len(labels) and labels.max() >= len(self.classes):
            raise ValueError(
                f"{type(self).__name__}: {labels_path!r} has the label {labels.max()}, but there are only "
                f"{len(self.classes)} classes"
            )
        super().__init__(root, images, labels.astype(np.int64), transform, target_transform)

    @classmethod
    def _find(cls, root: str | os.PathLike[str], part: str, kind: str) -> str:
        """The path of one of the four files."""
        folder = os.path.expanduser(os.fspath(root))
        places = (folder, os.path.join(folder, cls.__name__, "raw"))
        # Some collections write a dot for the second hyphen.
        names = (f"{part}-{kind}", f"{part}-{kind.replace('-', '.', 1)}")
        for place in places:
            for name in names:
                for path in (os.path.join(place, name), os.path.join(place, name + ".gz")):
                    if os.path.isfile(path):
                        return path
        raise FileNotFoundError(
            f"{cls.__name__}: {names[0]} (plain or .gz) is not in {places[0]!r} nor in {places[1]!r}. Nothing is "
            f"downloaded: put the four files of the dataset (train- and t10k-, images-idx3-ubyte and "
            f"labels-idx1-ubyte) into one of these folders"
        )

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


def _check(path: str, array: np.ndarray[Any, Any], dimensions: int) -> None:
    if array.dtype != np.uint8 or array.ndim != dimensions:
        what = "images, uint8 with 3 dimensions" if dimensions == 3 else "labels, uint8 with 1 dimension"
        raise ValueError(f"{path!r} should hold {what}, but holds {array.dtype} with the shape {array.shape}")


class FashionMNIST(MNIST):
    """Articles of clothing in MNIST's format (Xiao, Rasul and Vollgraf, 2017); see :class:`MNIST`."""

    classes: ClassVar[list[str]] = [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ]


class KMNIST(MNIST):
    """Cursive Japanese characters in MNIST's format (Clanuwat et al., 2018); see :class:`MNIST`."""

    classes: ClassVar[list[str]] = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
