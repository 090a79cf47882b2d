"""The bundled digits are the published ones, whole, and split as documented."""

from __future__ import annotations

import hashlib

import numpy as np

import flambeau
from flambeau.utils.data import DataLoader
from flambeau_vision.datasets import Digits
from flambeau_vision.datasets.digits import read_digits
from flambeau_vision.transforms import ToTensor

# The first line of the file at UCI (optdigits.tes).
FIRST = """
    0 0 5 13 9 1 0 0   0 0 13 15 10 15 5 0   0 3 15 2 0 11 8 0   0 4 12 0 0 8 8 0
    0 5 8 0 0 9 8 0    0 4 11 0 1 12 7 0     0 2 14 5 10 12 0 0  0 0 6 13 10 0 0 0
"""
# The numbers of images of each digit that optdigits.names gives for the test part.
COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_file_is_the_published_one() -> None:
    images, targets = read_digits()
    assert images.shape == (1797, 8, 8) and images.dtype == np.uint8
    assert targets.shape == (1797,) and targets.dtype == np.int64
    assert images[0].ravel().tolist() == [int(value) for value in FIRST.split()]
    assert targets[:10].tolist() == list(range(10))
    assert np.bincount(targets).tolist() == COUNTS
    assert (images.min(), images.max(), int(images.sum())) == (0, 16, 561718)
    table = np.concatenate([images.reshape(1797, 64), targets[:, None].astype(np.uint8)], axis=1)
    expected = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"
    assert hashlib.sha256(table.tobytes()).hexdigest() == expected


def test_the_two_parts_make_up_the_whole() -> None:
    images, _ = read_digits()
    train, test = Digits(train=True), Digits(train=False)
    assert (len(train), len(test)) == (1442, 355)
    both = np.concatenate([train.data.numpy(), test.data.numpy()])
    scaled = np.rint(images * 15.9375).astype(np.uint8)
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in scaled)
    assert np.bincount(np.concatenate([train.targets.numpy(), test.targets.numpy()])).tolist() == COUNTS


def test_every_fifth_image_of_a_digit_is_for_testing() -> None:
    images, targets = read_digits()
    test = Digits(train=False)
    assert np.bincount(test.targets.numpy()).tolist() == [count // 5 for count in COUNTS]
    sevens = np.rint(images[targets == 7] * 15.9375).astype(np.uint8)
    assert np.array_equal(test.data.numpy()[test.targets.numpy() == 7], sevens[4::5])


def test_items_and_attributes() -> None:
    digits = Digits()
    image, target = digits[0]
    assert isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.shape == (8, 8)
    assert image[0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]  # 0 0 5 13 9 1 0 0, times 255 / 16
    assert type(target) is int and target == 0
    assert digits.data.dtype is flambeau.uint8 and digits.targets.dtype is flambeau.int64
    assert digits.classes == list("0123456789") and digits.class_to_idx["7"] == 7
    assert repr(digits) == "Dataset Digits\n    Number of datapoints: 1442\n    Split: Train"


def test_transforms_and_batches() -> None:
    digits = Digits(train=False, transform=ToTensor(), target_transform=lambda digit: digit * 10)
    image, target = digits[3]
    assert image.dtype is flambeau.float32 and tuple(image.shape) == (1, 8, 8)
    assert target == int(digits.targets[3]) * 10
    np.testing.assert_allclose(image.numpy()[0], digits.data[3].numpy() / 255, rtol=1e-6)
    images, targets = next(iter(DataLoader(digits, batch_size=50)))
    assert tuple(images.shape) == (50, 1, 8, 8) and targets.dtype is flambeau.int64
    assert targets.tolist() == (digits.targets[:50] * 10).tolist()
