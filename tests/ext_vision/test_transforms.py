"""Transforms against NumPy, Pillow and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import flambeau
from flambeau import nn
from flambeau_vision import transforms as T
from flambeau_vision.transforms import functional as F

NEAREST, BILINEAR, BICUBIC = T.InterpolationMode.NEAREST, T.InterpolationMode.BILINEAR, T.InterpolationMode.BICUBIC


def random_image(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(seed).random(shape)
    return (values * 255).astype("uint8") if dtype == "uint8" else values.astype(dtype)


def tensor(array: np.ndarray[Any, Any]) -> flambeau.Tensor:
    return flambeau.from_numpy(array.copy())


# Conversions ----------------------------------------------------------------------------------------------------------


def test_to_tensor_scales_uint8_and_puts_channels_first() -> None:
    image = random_image(5, 4, 3, dtype="uint8")
    result = T.ToTensor()(image)
    assert result.dtype is flambeau.float32
    np.testing.assert_array_equal(result.numpy(), image.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    assert tuple(T.ToTensor()(image[:, :, 0]).shape) == (1, 5, 4)


def test_to_tensor_leaves_other_dtypes_alone() -> None:
    image = random_image(5, 4, dtype="float64") * 1000
    result = F.to_tensor(image)
    assert result.dtype is flambeau.float64
    np.testing.assert_array_equal(result.numpy()[0], image)
    result[0, 0, 0] = -1.0
    assert image[0, 0] != -1.0


def test_to_tensor_follows_the_default_dtype() -> None:
    flambeau.set_default_dtype(flambeau.float64)
    assert F.to_tensor(np.full((2, 2), 51, np.uint8)).tolist() == [[[0.2, 0.2], [0.2, 0.2]]]


def test_to_tensor_of_the_wrong_thing() -> None:
    with pytest.raises(TypeError, match="pic should be a picture of Pillow's or an ndarray. Got <class 'list'>"):
        T.ToTensor()([[1]])
    with pytest.raises(ValueError, match="pic should be 2/3 dimensional. Got 4 dimensions."):
        T.ToTensor()(np.zeros((1, 2, 3, 4)))


@pytest.mark.parametrize(("mode", "shape"), [("L", (5, 4)), ("LA", (5, 4, 2)), ("RGB", (5, 4, 3)), ("RGBA", (5, 4, 4))])
def test_pictures_there_and_back(mode: str, shape: tuple[int, ...]) -> None:
    image_module = pytest.importorskip("PIL.Image")
    pixels = random_image(*shape, dtype="uint8")
    picture = image_module.fromarray(pixels)
    assert picture.mode == mode
    as_tensor = T.ToTensor()(picture)
    assert as_tensor.shape[0] == (1 if mode == "L" else shape[2])
    back = T.ToPILImage()(as_tensor)
    assert back.mode == mode and back.size == (4, 5)
    np.testing.assert_allclose(np.array(back), pixels, atol=1)  # the way back cuts fractions off, as in torchvision
    np.testing.assert_array_equal(np.array(T.ToPILImage()(pixels)), pixels)


def test_pictures_with_a_palette_become_rgb() -> None:
    image_module = pytest.importorskip("PIL.Image")
    picture = image_module.new("RGB", (2, 2), (255, 0, 0)).convert("P")
    assert F.to_tensor(picture)[:, 0, 0].tolist() == [1, 0, 0]
    with pytest.raises(TypeError, match="a picture of the mode 'P' must be converted first"):
        F.hflip(picture)


def test_to_pil_image_of_the_wrong_thing() -> None:
    pytest.importorskip("PIL.Image")
    with pytest.raises(ValueError, match="should have 1 to 4 channels. Got 5 channels."):
        F.to_pil_image(flambeau.zeros(5, 2, 2))
    with pytest.raises(ValueError, match="should be 2/3 dimensional. Got 1 dimensions."):
        F.to_pil_image(np.zeros(3))
    with pytest.raises(TypeError, match="Got <class 'str'>"):
        F.to_pil_image("picture")


# Normalize ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [(), (2,)])
def test_normalize(lead: tuple[int, ...]) -> None:
    image = random_image(*lead, 3, 4, 5)
    mean, std = [0.1, 0.2, 0.3], [1.0, 0.5, 2.0]
    expected = (image - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    original = tensor(image)
    np.testing.assert_allclose(T.Normalize(mean, std)(original).numpy(), expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(original.numpy(), image)
    result = T.Normalize(mean, std, inplace=True)(original)
    assert result is original
    np.testing.assert_allclose(original.numpy(), expected, rtol=1e-6, atol=1e-7)


def test_normalize_of_the_wrong_thing() -> None:
    with pytest.raises(TypeError, match=r"should be a float tensor. Got .*uint8"):
        T.Normalize([0], [1])(flambeau.zeros(1, 2, 2, dtype=flambeau.uint8))
    with pytest.raises(TypeError, match="should be a tensor. Got <class 'numpy.ndarray'>"):
        T.Normalize([0], [1])(np.zeros((1, 2, 2)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"of the shape \(..., C, H, W\). Got \(2, 2\)"):
        T.Normalize([0], [1])(flambeau.zeros(2, 2))
    with pytest.raises(ValueError, match="std has a 0"):
        T.Normalize([0, 0], [1, 0])(flambeau.zeros(2, 2, 2))


# Flips, padding, crops ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_flips(dtype: str) -> None:
    image = random_image(2, 3, 4, 5, dtype=dtype)
    np.testing.assert_array_equal(F.hflip(tensor(image)).numpy(), image[..., ::-1])
    np.testing.assert_array_equal(F.vflip(tensor(image)).numpy(), image[..., ::-1, :])


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize(
    ("padding", "widths"),
    [(2, (2, 2, 2, 2)), ((1, 2), (1, 2, 1, 2)), ((1, 0, 3, 2), (1, 0, 3, 2)), ([3], (3, 3, 3, 3))],
)
def test_pad(mode: str, padding: Any, widths: tuple[int, ...]) -> None:
    image = random_image(3, 4, 5)
    left, top, right, bottom = widths
    expected = np.pad(image, ((0, 0), (top, bottom), (left, right)), mode=mode)  # type: ignore[call-overload]
    np.testing.assert_array_equal(T.Pad(padding, padding_mode=mode)(tensor(image)).numpy(), expected)


def test_pad_with_a_color() -> None:
    image = random_image(3, 2, 2, dtype="uint8")
    result = F.pad(tensor(image), 1, fill=(10, 20, 30)).numpy()
    np.testing.assert_array_equal(result[:, 1:3, 1:3], image)
    assert result[:, 0, :].tolist() == [[10] * 4, [20] * 4, [30] * 4] and result[:, 2, 3].tolist() == [10, 20, 30]
    assert F.pad(np.zeros((1, 1), np.uint8), (1, 0), fill=7).tolist() == [[7, 0, 7]]
    with pytest.raises(ValueError, match="fill must have 1 or 3 values, one a channel, got 2"):
        F.pad(tensor(image), 1, fill=(1, 2))


def test_pad_of_the_wrong_size() -> None:
    image = flambeau.zeros(1, 4, 5)
    with pytest.raises(ValueError, match="must be an int or have 1, 2, or 4 elements, not 3"):
        F.pad(image, (1, 2, 3))
    with pytest.raises(ValueError, match="must not be negative, got -1; crop instead"):
        F.pad(image, -1)
    with pytest.raises(ValueError, match="'reflect' can add at most 3 to a size of 4"):
        F.pad(image, (0, 4), padding_mode="reflect")
    with pytest.raises(ValueError, match="should be constant, edge, reflect or symmetric, got 'wrap'"):
        F.pad(image, 1, padding_mode="wrap")


def test_crop_inside_and_over_the_edge() -> None:
    image = random_image(3, 6, 7)
    np.testing.assert_array_equal(F.crop(tensor(image), 1, 2, 3, 4).numpy(), image[:, 1:4, 2:6])
    padded = np.pad(image, ((0, 0), (2, 5), (1, 9)))
    np.testing.assert_array_equal(F.crop(tensor(image), -2, -1, 13, 17).numpy(), padded)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(4, np.s_[1:5, 2:6]), ((2, 7), np.s_[2:4, 0:7]), ((6, 4), np.s_[0:6, 2:6]), ((5, 7), np.s_[0:5, 0:7])],
)
def test_center_crop(size: Any, expected: Any) -> None:
    # Halves of a pixel are rounded to the even number, as in torchvision: (7 - 4) / 2 to 2, (6 - 5) / 2 to 0.
    image = random_image(6, 7)
    np.testing.assert_array_equal(T.CenterCrop(size)(tensor(image)).numpy(), image[expected])


def test_center_crop_of_a_small_image_pads_it() -> None:
    image = np.ones((2, 3), np.float32)
    expected = np.zeros((5, 5), np.float32)
    expected[1:3, 1:4] = 1
    np.testing.assert_array_equal(T.CenterCrop(5)(tensor(image)).numpy(), expected)


@pytest.mark.parametrize("size", [0, (3, -1), (1, 2, 3), (2.5, 2)])
def test_sizes_that_are_none(size: Any) -> None:
    with pytest.raises(ValueError, match="CenterCrop: size must be an int or"):
        T.CenterCrop(size)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_arrays_and_pictures_keep_their_form(shape: tuple[int, ...]) -> None:
    image = random_image(*shape, dtype="uint8")
    flipped = F.hflip(image)
    assert isinstance(flipped, np.ndarray) and flipped.dtype == np.uint8
    np.testing.assert_array_equal(flipped, image[:, ::-1])
    np.testing.assert_array_equal(F.crop(image, 1, 1, 2, 3), image[1:3, 1:4])
    image_module = pytest.importorskip("PIL.Image")
    picture = F.pad(image_module.fromarray(image), 1)
    assert isinstance(picture, image_module.Image) and picture.size == (7, 6)
    np.testing.assert_array_equal(np.array(picture)[1:-1, 1:-1], image)


@pytest.mark.parametrize("thing", [[[1, 2]], flambeau.float32, np.zeros(3), np.zeros((1, 2, 3, 4))])
def test_what_is_no_image(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"hflip: an image is a tensor \(..., H, W\), a NumPy array \(H, W\) or"):
        F.hflip(thing)
    with pytest.raises(TypeError, match=r"hflip: an image is .* not Tensor of the shape \(3,\)"):
        F.hflip(flambeau.zeros(3))


# Resize ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(3, 4), (20, 25), (11, 3), (4, 14), (12, 14)])
@pytest.mark.parametrize("mode", [BILINEAR, BICUBIC])
def test_resize_is_pillows(size: tuple[int, int], mode: Any) -> None:
    image_module = pytest.importorskip("PIL.Image")
    image = random_image(12, 14)
    resampling = getattr(image_module.Resampling, mode.name)
    expected = np.array(image_module.fromarray(image, mode="F").resize(size[::-1], resampling))
    result = T.Resize(size, interpolation=mode)(tensor(image[None, None]))
    assert tuple(result.shape) == (1, 1, *size)
    np.testing.assert_allclose(result.numpy()[0, 0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [(3, 4), (20, 25), (11, 3)])
def test_resize_without_antialias_is_linear_between_neighbours(size: tuple[int, int]) -> None:
    image = random_image(12, 14, dtype="float64")
    rows = np.clip((np.arange(size[0]) + 0.5) * 12 / size[0] - 0.5, 0, 11)
    columns = np.clip((np.arange(size[1]) + 0.5) * 14 / size[1] - 0.5, 0, 13)
    expected = ndimage.map_coordinates(image, np.meshgrid(rows, columns, indexing="ij"), order=1)
    np.testing.assert_allclose(F.resize(tensor(image), size, antialias=False).numpy(), expected, rtol=1e-12)


def test_resize_by_nearest_pixels() -> None:
    image = random_image(2, 4, 6, dtype="uint8")
    doubled = F.resize(tensor(image), (8, 12), NEAREST).numpy()
    np.testing.assert_array_equal(doubled, image.repeat(2, axis=1).repeat(2, axis=2))
    np.testing.assert_array_equal(
        F.resize(tensor(image), (2, 4), NEAREST).numpy(), image[:, [0, 2]][:, :, [0, 1, 3, 4]]
    )


def test_resize_rounds_and_keeps_to_the_range_of_integers() -> None:
    edge = np.array([[0, 255, 0, 255]], np.uint8)
    result = F.resize(tensor(edge), (1, 40), BICUBIC)
    assert result.dtype is flambeau.uint8
    exact = F.resize(tensor(edge.astype(np.float64)), (1, 40), BICUBIC).numpy()
    assert exact.min() < 0 and exact.max() > 255
    np.testing.assert_allclose(result.numpy(), np.clip(exact, 0, 255), atol=0.501)


@pytest.mark.parametrize(
    ("size", "max_size", "expected"),
    [
        (6, None, (6, 9)),
        ([8], None, (8, 12)),
        (6, 8, (5, 8)),
        (6, 9, (6, 9)),
        ((5, 5), None, (5, 5)),
        (4, None, (4, 6)),
    ],
)
def test_sizes_for_the_smaller_edge(size: Any, max_size: int | None, expected: tuple[int, int]) -> None:
    assert tuple(T.Resize(size, max_size=max_size)(flambeau.zeros(3, 4, 6)).shape) == (3, *expected)
    assert tuple(T.Resize(size, max_size=max_size)(flambeau.zeros(3, 6, 4)).shape) == (3, *expected[::-1])


def test_resize_of_the_wrong_size() -> None:
    image = flambeau.zeros(1, 4, 6)
    with pytest.raises(ValueError, match="max_size = 6 must be greater than the size of the smaller edge, 6"):
        F.resize(image, 6, max_size=6)
    with pytest.raises(ValueError, match="max_size should only be passed if size is one number"):
        F.resize(image, (6, 6), max_size=9)
    with pytest.raises(ValueError, match=r"resize: interpolation must be one of .*BICUBIC, got 'lanczos'"):
        F.resize(image, 6, "lanczos")  # type: ignore[arg-type]


def test_resize_of_a_picture_weighs_colors_with_alpha() -> None:
    image_module = pytest.importorskip("PIL.Image")
    picture = image_module.new("RGBA", (4, 4), (0, 255, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 2, 4))
    small = F.resize(picture, (1, 1))
    assert small.mode == "RGBA" and small.getpixel((0, 0))[:2] == (255, 0)


def test_gradients_go_through_resize_and_warp() -> None:
    image = flambeau.rand(1, 4, 5, dtype=flambeau.float64, requires_grad=True)

    def change(image: flambeau.Tensor) -> flambeau.Tensor:
        return F.affine(F.resize(image, (6, 7)), 20, (1, 0), 1.1, 5, BILINEAR)

    weights = flambeau.rand(1, 6, 7, dtype=flambeau.float64)
    (change(image) * weights).sum().backward()
    basis = np.eye(20).reshape(20, 4, 5)
    # The maps are linear, so that the gradient is what they do to each unit image.
    expected = [float((change(tensor(unit[None])) * weights).sum()) for unit in basis]
    np.testing.assert_allclose(image.grad.numpy().ravel(), expected, rtol=1e-10, atol=1e-12)


# Affine maps ----------------------------------------------------------------------------------------------------------


def forward_matrix(angle: float, scale: float, shear: tuple[float, float]) -> np.ndarray[Any, Any]:
    """R(angle) Shear_y Shear_x scale, of (x, y), as torchvision documents it."""
    a, sx, sy = np.radians([angle, *shear])
    rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return scale * rotation @ np.array([[1, 0], [-np.tan(sy), 1]]) @ np.array([[1, -np.tan(sx)], [0, 1]])


def by_scipy(
    image: np.ndarray[Any, Any], matrix: np.ndarray[Any, Any], shift: Any, center: Any, fill: float
) -> np.ndarray[Any, Any]:
    """The warped plane: output (x, y) shows the input at M^-1 (out - center - shift) + center, pixel centres at 0.5."""
    height, width = image.shape
    y, x = np.mgrid[:height, :width] + 0.5
    out = np.stack([x.ravel(), y.ravel()])
    middle = np.reshape(center, (2, 1))
    source = np.linalg.inv(matrix) @ (out - middle - np.reshape(shift, (2, 1))) + middle - 0.5
    return ndimage.map_coordinates(image, source[::-1], order=1, mode="grid-constant", cval=fill).reshape(image.shape)


@pytest.mark.parametrize("shape", [(9, 12), (8, 8), (5, 3)])
@pytest.mark.parametrize(
    ("angle", "shift", "scale", "shear", "center"),
    [
        (0, (0, 0), 1.0, (0, 0), None),
        (30, (0, 0), 1.0, (0, 0), None),
        (-100, (2, -1), 0.7, (0, 0), None),
        (15, (-1, 3), 1.4, (10, -20), None),
        (45, (0, 0), 1.0, (0, 0), (2, 4)),
        (10, (1, 1), 1.2, (5, 5), (0, 0)),
    ],
)
@pytest.mark.parametrize("fill", [None, 0.5])
def test_affine_against_scipy(
    shape: Any, angle: float, shift: Any, scale: float, shear: Any, center: Any, fill: Any
) -> None:
    image = random_image(2, *shape, dtype="float64")
    middle = (shape[1] / 2, shape[0] / 2) if center is None else center
    expected = [by_scipy(plane, forward_matrix(angle, scale, shear), shift, middle, fill or 0) for plane in image]
    result = F.affine(tensor(image), angle, shift, scale, shear, BILINEAR, fill, center)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_shifts_by_whole_pixels_and_quarter_turns_are_exact() -> None:
    image = random_image(3, 6, 6, dtype="uint8")
    for mode in (NEAREST, BILINEAR):
        moved = F.affine(tensor(image), 0, (2, -1), 1.0, 0, mode, fill=9).numpy()
        expected = np.full_like(image, 9)
        expected[:, :5, 2:] = image[:, 1:, :4]
        np.testing.assert_array_equal(moved, expected)
        for turns in range(-3, 4):
            np.testing.assert_array_equal(
                F.rotate(tensor(image), 90 * turns, mode).numpy(), np.rot90(image, turns, axes=(1, 2))
            )


def test_nearest_takes_the_nearest_pixel() -> None:
    image = np.arange(63, dtype=np.float64).reshape(7, 9)
    matrix = np.linalg.inv(forward_matrix(37, 1.3, (0, 0)))
    expected = np.zeros_like(image)
    for row in range(7):
        for column in range(9):
            x, y = matrix @ [column - 4, row - 3]
            if -4.5 <= x < 4.5 and -3.5 <= y < 3.5:
                expected[row, column] = image[round(y + 3), round(x + 4)]
    np.testing.assert_array_equal(F.affine(tensor(image), 37, (0, 0), 1.3, 0, NEAREST).numpy(), expected)


def test_rotation_is_counter_clockwise_and_can_expand() -> None:
    image = random_image(4, 7, dtype="uint8")
    for turns in (1, 2, 3):
        expanded = F.rotate(tensor(image), 90 * turns, expand=True)
        np.testing.assert_array_equal(expanded.numpy(), np.rot90(image, turns))
    ones = F.rotate(flambeau.ones(1, 10, 10), 45, BILINEAR, expand=True)
    assert tuple(ones.shape) == (1, 16, 16)  # from 5 - 5 sqrt(2) to 5 + 5 sqrt(2)
    assert float(ones.sum()) == pytest.approx(100, rel=1e-2)


def test_affine_with_a_color_and_with_fill_where_the_image_ends() -> None:
    result = F.affine(flambeau.ones(3, 4, 4), 0, (1, 0), 1.0, 0, BILINEAR, fill=(0.0, 0.25, 1.0)).numpy()
    np.testing.assert_array_equal(result[:, :, 0], [[0] * 4, [0.25] * 4, [1] * 4])
    np.testing.assert_array_equal(result[:, :, 1:], np.ones((3, 4, 3)))


def test_affine_of_the_wrong_arguments() -> None:
    image = flambeau.zeros(1, 4, 4)
    for arguments, message in [
        ((0, (1,), 1.0, 0), "translate should be a sequence of length 2, got 1"),
        ((0, (1, 1), 0.0, 0), "scale should be positive, got 0.0"),
        ((0, (1, 1), 1.0, (1, 2, 3)), "shear should have 1 or 2 values, got 3"),
        ((0, (1, 1), 1.0, 0, BICUBIC), "interpolation must be one of InterpolationMode.NEAREST, .*BILINEAR, got"),
        ((0, (1, 1), 1.0, 0, NEAREST, 0, (1,)), "center should be a sequence of length 2, got 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            F.affine(image, *arguments)  # type: ignore[arg-type]


def test_erase() -> None:
    image = tensor(random_image(2, 3, 5, 6))
    expected = image.numpy().copy()
    expected[..., 1:3, 2:6] = 7
    result = F.erase(image, 1, 2, 2, 4, 7)
    np.testing.assert_array_equal(result.numpy(), expected)
    assert not np.array_equal(image.numpy(), expected)
    assert F.erase(image, 1, 2, 2, 4, 7, inplace=True) is image
    np.testing.assert_array_equal(image.numpy(), expected)


# Combinations ---------------------------------------------------------------------------------------------------------


def test_compose_and_lambda() -> None:
    transform = T.Compose([T.ToTensor(), T.Lambda(lambda image: image * 2), T.Pad(1)])
    assert transform(np.full((1, 1), 255, np.uint8)).tolist() == [[[0, 0, 0], [0, 2, 0], [0, 0, 0]]]
    with pytest.raises(TypeError, match="Argument lambd should be callable, got 'int'"):
        T.Lambda(3)  # type: ignore[arg-type]


def test_transforms_are_modules() -> None:
    pipeline = nn.Sequential(T.CenterCrop(4), T.Normalize([0.5], [0.5]))
    assert pipeline(flambeau.ones(2, 1, 6, 6)).tolist() == [[[[1.0] * 4] * 4]] * 2


def test_repr() -> None:
    transform = T.Compose([T.ToTensor(), T.Resize(8), T.RandomCrop(4, padding=1), T.Normalize([0.1], [0.3])])
    assert repr(transform) == (
        "Compose(\n    ToTensor()\n    Resize(size=8, interpolation=bilinear, max_size=None, antialias=True)\n"
        "    RandomCrop(size=(4, 4), padding=1)\n    Normalize(mean=[0.1], std=[0.3])\n)"
    )
