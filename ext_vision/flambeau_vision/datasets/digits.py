"""The handwritten digits that come with the extension."""

from __future__ import annotations

import gzip
from importlib.resources import files
from typing import Any, ClassVar

import numpy as np

from flambeau_vision.datasets.vision import ArrayDataset, Transform

Array = np.ndarray[Any, Any]
_TEST_EVERY = 5  # of each class, every fifth image is for testing


def read_digits() -> tuple[Array, Array]:
    """The bundled file as it is: the images, uint8 (1797, 8, 8) with values 0..16, and the digits, int64 (1797,)."""
    packed = files("flambeau_vision").joinpath("data", "digits.csv.gz").read_bytes()
    text = gzip.decompress(packed).decode("ascii")
    table = np.array([line.split(",") for line in text.split()], dtype=np.float64)
    return table[:, :64].astype(np.uint8).reshape(-1, 8, 8), table[:, 64].astype(np.int64)


class Digits(ArrayDataset):
    """Handwritten digits, 8 x 8 pixels: 1,797 real images, of which 1,442 for training and 355 for testing.

    They come with the extension: nothing is downloaded. Of each digit every fifth image, in the order of the file,
    is in the test part; the 13 writers are in both parts. Grey values are scaled from 0..16 to 0..255.

    Source: E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository,
    https://doi.org/10.24432/C50P49, CC BY 4.0 (``flambeau_vision/data/README.md``).

    Args:
        train: the training part, or the test part.
        transform: called on each image, a uint8 NumPy array (8, 8).
        target_transform: called on each digit, an int.

    See :class:`~flambeau_vision.datasets.vision.ArrayDataset` for the items and attributes.

        >>> image, digit = Digits(train=False, transform=ToTensor())[0]
        >>> image.shape
        flambeau.Size([1, 8, 8])
    """

    classes: ClassVar[list[str]] = [str(digit) for digit in range(10)]

    def __init__(self, train: bool = True, transform: Transform = None, target_transform: Transform = None) -> None:
        images, targets = read_digits()
        testing = np.zeros(len(targets), dtype=bool)
        for digit in range(10):
            testing[np.flatnonzero(targets == digit)[_TEST_EVERY - 1 :: _TEST_EVERY]] = True
        chosen = ~testing if train else testing
        scaled = np.rint(images[chosen] * (255 / 16)).astype(np.uint8)
        super().__init__("", scaled, targets[chosen], transform, target_transform)
        self.train = train

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"
