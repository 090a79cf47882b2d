"""Random transforms: what they draw, that a seed repeats it, and that the whole range is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau_vision import transforms as T
from flambeau_vision.transforms import functional as F

BILINEAR = T.InterpolationMode.BILINEAR

EVERY: list[Callable[[], Any]] = [
    lambda: T.RandomHorizontalFlip(),
    lambda: T.RandomVerticalFlip(),
    lambda: T.RandomCrop(5, padding=2),
    lambda: T.RandomResizedCrop(6),
    lambda: T.RandomRotation(40),
    lambda: T.RandomAffine(40, translate=(0.2, 0.2), scale=(0.5, 1.5), shear=10),
    lambda: T.RandomErasing(value="random"),
    lambda: T.RandomApply([T.Pad(1), T.CenterCrop(8), T.RandomRotation(90)]),
]


@pytest.fixture
def image() -> flambeau.Tensor:
    return flambeau.arange(3 * 8 * 8, dtype=flambeau.float32).reshape(3, 8, 8) / 192


@pytest.mark.parametrize("make", EVERY)
def test_a_seed_repeats_the_draws_and_they_differ(make: Callable[[], Any], image: flambeau.Tensor) -> None:
    transform = make()

    def draw(seed: int) -> list[bytes]:
        flambeau.manual_seed(seed)
        return [transform(image).numpy().tobytes() for _ in range(12)]

    assert draw(3) == draw(3)
    assert len(set(draw(3))) > 1


@pytest.mark.parametrize("make", EVERY)
def test_the_image_itself_is_not_changed(make: Callable[[], Any], image: flambeau.Tensor) -> None:
    before = image.numpy().copy()
    for _ in range(8):
        make()(image)
    np.testing.assert_array_equal(image.numpy(), before)


@pytest.mark.parametrize(("transform", "axis"), [(T.RandomHorizontalFlip, 2), (T.RandomVerticalFlip, 1)])
def test_flips(transform: Any, axis: int, image: flambeau.Tensor) -> None:
    flipped = np.flip(image.numpy(), axis)
    np.testing.assert_array_equal(transform(p=1)(image).numpy(), flipped)
    assert transform(p=0)(image) is image
    count = sum(np.array_equal(transform(p=0.25)(image).numpy(), flipped) for _ in range(400))
    assert 65 < count < 140  # 100, give or take four standard deviations
    with pytest.raises(ValueError, match="p should be a probability between 0 and 1, got 2"):
        transform(p=2)


def test_random_crop_takes_every_place(image: flambeau.Tensor) -> None:
    array = image.numpy()
    places = {array[:, i : i + 6, j : j + 7].tobytes(): (i, j) for i in range(3) for j in range(2)}
    seen = {places[T.RandomCrop((6, 7))(image).numpy().tobytes()] for _ in range(100)}
    assert seen == set(places.values())
    np.testing.assert_array_equal(T.RandomCrop(8)(image).numpy(), array)


def test_random_crop_pads(image: flambeau.Tensor) -> None:
    padded = np.pad(image.numpy(), ((0, 0), (1, 1), (1, 1)), mode="edge")
    result = T.RandomCrop(10, padding=1, padding_mode="edge")(image)
    np.testing.assert_array_equal(result.numpy(), padded)
    assert tuple(T.RandomCrop((12, 4), pad_if_needed=True, fill=1)(image).shape) == (3, 12, 4)
    with pytest.raises(ValueError, match=r"Required crop size \(9, 9\) is larger than input image size \(8, 8\)"):
        T.RandomCrop(9)(image)


def test_random_resized_crop(image: flambeau.Tensor) -> None:
    for _ in range(50):
        top, left, height, width = T.RandomResizedCrop.get_params(flambeau.zeros(40, 50), (0.2, 0.5), (0.5, 2.0))
        assert 0 <= top <= 40 - height and 0 <= left <= 50 - width
        assert 0.17 < height * width / 2000 < 0.55 and 0.45 < width / height < 2.2
    # Nothing of that ratio fits: the widest part in the middle that comes near it.
    assert T.RandomResizedCrop.get_params(flambeau.zeros(4, 40), (1.0, 1.0), (1.0, 1.0)) == (0, 18, 4, 4)
    np.testing.assert_array_equal(T.RandomResizedCrop(8, (1, 1), (1, 1))(image).numpy(), image.numpy())
    with pytest.raises(ValueError, match=r"RandomResizedCrop: scale should be \(least, greatest\), both positive"):
        T.RandomResizedCrop(8, scale=(0.5, 0.1))


def test_random_affine_draws_from_its_ranges() -> None:
    drawn = [T.RandomAffine.get_params((-20, 10), (0.1, 0.3), (0.8, 1.5), (-5, 5, 1, 2), (100, 50)) for _ in range(300)]
    angles, shifts, scales, shears = (np.array(each) for each in zip(*drawn, strict=True))
    for values, low, high in [
        (angles, -20, 10),
        (shifts[:, 0], -10, 10),
        (shifts[:, 1], -15, 15),
        (scales, 0.8, 1.5),
        (shears[:, 0], -5, 5),
        (shears[:, 1], 1, 2),
    ]:
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high
    assert shifts.dtype.kind == "i"
    assert T.RandomAffine.get_params((0, 0), None, None, None, (100, 50)) == (0.0, (0, 0), 1.0, (0.0, 0.0))


def test_random_affine_is_affine_of_what_it_draws(image: flambeau.Tensor) -> None:
    transform = T.RandomAffine(30, (0.2, 0.2), (0.5, 1.5), (-10, 10, -5, 5), BILINEAR, fill=0.5, center=(2, 3))
    flambeau.manual_seed(11)
    drawn = transform.get_params((-30, 30), (0.2, 0.2), (0.5, 1.5), (-10, 10, -5, 5), (8, 8))
    flambeau.manual_seed(11)
    expected = F.affine(image, *drawn, interpolation=BILINEAR, fill=0.5, center=(2, 3))
    np.testing.assert_array_equal(transform(image).numpy(), expected.numpy())


def test_random_affine_of_each_image_of_a_batch(image: flambeau.Tensor) -> None:
    batch = flambeau.stack([image, image, image.flip(-1), image])
    ranges = (30, (0.2, 0.2), (0.5, 1.5), 10)
    alike = T.RandomAffine(*ranges, interpolation=BILINEAR)(batch).numpy()
    np.testing.assert_array_equal(alike[0], alike[1])

    transform = T.RandomAffine(*ranges, interpolation=BILINEAR, fill=0.25, center=(3, 5), per_image=True)
    flambeau.manual_seed(2)
    each = transform(batch).numpy()
    assert not np.array_equal(each[0], each[1])
    flambeau.manual_seed(2)
    share = flambeau.rand(4, 6).numpy().astype(np.float64)
    for number in range(4):
        at = share[number]
        angle, scale, shear = -30 + 60 * at[0], 0.5 + at[3], -10 + 20 * at[4]
        shift = (round(-1.6 + 3.2 * at[1]), round(-1.6 + 3.2 * at[2]))
        expected = F.affine(batch[number], angle, shift, scale, (shear, 0), BILINEAR, 0.25, (3, 5))
        np.testing.assert_allclose(each[number], expected.numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match="with per_image=True, a batch of images is a tensor"):
        transform(image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"degrees": -1}, "if degrees is a single number, it must not be negative, got -1"),
        ({"degrees": (1, 2, 3)}, "degrees should be a number or"),
        ({"degrees": 1, "translate": (0.5, 2)}, "translate should be two values between 0 and 1"),
        ({"degrees": 1, "scale": (0, 1)}, "scale should be .*both positive"),
        ({"degrees": 1, "shear": (1, 2, 3)}, "shear should be a number, or 2 or 4 of them"),
        ({"degrees": 1, "interpolation": T.InterpolationMode.BICUBIC}, "interpolation must be one of"),
    ],
)
def test_random_affine_with_the_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"RandomAffine: {message}"):
        T.RandomAffine(**arguments)


def test_random_rotation(image: flambeau.Tensor) -> None:
    np.testing.assert_array_equal(T.RandomRotation((90, 90))(image).numpy(), np.rot90(image.numpy(), 1, (1, 2)))
    angles = [T.RandomRotation.get_params((-10, 30)) for _ in range(200)]
    assert -10 <= min(angles) < -6 and 26 < max(angles) <= 30
    with pytest.raises(ValueError, match="RandomRotation: degrees should be a number or"):
        T.RandomRotation((1, 2, 3))


def test_random_erasing(image: flambeau.Tensor) -> None:
    for value, expected in [(0.0, [0.0] * 3), ((5.0, 6.0, 7.0), [5.0, 6.0, 7.0])]:
        result = T.RandomErasing(1, scale=(0.1, 0.4), value=value)(image).numpy()
        erased = np.all(result != image.numpy(), axis=0) | np.all(result == np.reshape(expected, (3, 1, 1)), axis=0)
        rows, columns = np.flatnonzero(erased.any(1)), np.flatnonzero(erased.any(0))
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert erased[box].all() and 4 <= erased.sum() <= 30
        np.testing.assert_array_equal(result[:, erased], np.repeat(np.reshape(expected, (3, 1)), erased.sum(), 1))
        np.testing.assert_array_equal(result[:, ~erased], image.numpy()[:, ~erased])


def test_random_erasing_now_and_then(image: flambeau.Tensor) -> None:
    assert T.RandomErasing(p=0)(image) is image
    assert T.RandomErasing(p=1, scale=(1, 1))(image) is image  # a box of the whole area never fits
    copy = image.clone()
    assert T.RandomErasing(p=1, inplace=True, value="random")(copy) is copy
    assert not np.array_equal(copy.numpy(), image.numpy())
    with pytest.raises(ValueError, match="if value is str, it should be 'random', got 'noise'"):
        T.RandomErasing(value="noise")
    with pytest.raises(ValueError, match="either a single value or 3"):
        T.RandomErasing(1, value=(1, 2))(image)


def test_random_apply() -> None:
    add = [T.Lambda(lambda image: image + 1), T.Lambda(lambda image: image + 10)]
    seen = {float(T.RandomApply(add, p=0.5)(flambeau.zeros(1, 1))) for _ in range(50)}
    assert seen == {0.0, 11.0}
