"""Grids of images, and pictures in files."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

import flambeau
from flambeau_vision.utils import make_grid, save_image


def test_images_lie_row_by_row_with_padding_around() -> None:
    images = flambeau.arange(5, dtype=flambeau.float32).reshape(5, 1, 1, 1).expand(5, 1, 2, 3) + 1
    grid = make_grid(images, nrow=3, padding=1, pad_value=9)
    row = [9, 1, 1, 1, 9, 2, 2, 2, 9, 3, 3, 3, 9]
    last = [9, 4, 4, 4, 9, 5, 5, 5, 9, 9, 9, 9, 9]
    expected = [[9] * 13, row, row, [9] * 13, last, last, [9] * 13]
    assert grid.tolist() == [expected] * 3


@pytest.mark.parametrize(
    ("shape", "nrow", "expected"),
    [
        ((10, 3, 4, 5), 8, (3, 14, 58)),
        ((10, 3, 4, 5), 20, (3, 8, 72)),
        ((2, 2, 4, 5), 1, (2, 14, 9)),
        ((1, 1, 4, 5), 8, (3, 4, 5)),
        ((3, 4, 5), 8, (3, 4, 5)),
        ((4, 5), 8, (3, 4, 5)),
    ],
)
def test_shapes(shape: tuple[int, ...], nrow: int, expected: tuple[int, ...]) -> None:
    assert tuple(make_grid(flambeau.zeros(*shape), nrow=nrow).shape) == expected


def test_a_list_of_images_is_a_batch() -> None:
    images = [flambeau.rand(3, 4, 4) for _ in range(3)]
    np.testing.assert_array_equal(make_grid(images).numpy(), make_grid(flambeau.stack(images)).numpy())
    planes = [flambeau.rand(4, 4) for _ in range(3)]
    expected = make_grid(flambeau.stack(planes).unsqueeze(1))
    np.testing.assert_array_equal(make_grid(planes).numpy(), expected.numpy())


def test_normalize() -> None:
    images = flambeau.tensor([[-1.0, 1.0], [0.0, 8.0]]).reshape(2, 1, 1, 2)
    together = make_grid(images, padding=0, normalize=True)
    np.testing.assert_allclose(together[0].numpy(), [[0, 2 / 9, 1 / 9, 1]], rtol=1e-6)
    each = make_grid(images, padding=0, normalize=True, scale_each=True)
    np.testing.assert_allclose(each[0].numpy(), [[0, 1, 0, 1]], rtol=1e-6)
    within = make_grid(images, padding=0, normalize=True, value_range=(0, 2))
    np.testing.assert_allclose(within[0].numpy(), [[0, 0.5, 0, 1]], rtol=1e-6)
    integers = make_grid(images.to(flambeau.int32), padding=0, normalize=True)
    np.testing.assert_allclose(integers.numpy(), together.numpy(), rtol=1e-6)


def test_the_images_are_not_changed() -> None:
    images = flambeau.rand(2, 1, 3, 3)
    before = images.numpy().copy()
    make_grid(images, normalize=True, value_range=(0.4, 0.5))
    np.testing.assert_array_equal(images.numpy(), before)


def test_what_is_no_image() -> None:
    with pytest.raises(TypeError, match="tensor or list of tensors expected, got <class 'numpy.ndarray'>"):
        make_grid(np.zeros((2, 2)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there are no images in the list"):
        make_grid([])
    with pytest.raises(ValueError, match=r"no images in a batch of the shape \(0, 3, 4, 4\)"):
        make_grid(flambeau.zeros(0, 3, 4, 4))
    with pytest.raises(ValueError, match=r"expected \(N, C, H, W\), \(C, H, W\) or \(H, W\), got \(3,\)"):
        make_grid(flambeau.zeros(3))


def test_save_image(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    image = flambeau.tensor([[[0.0, 0.5], [1.0, 2.0]], [[-1.0, 0.2], [0.1, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    save_image(image, tmp_path / "image.png")
    with image_module.open(tmp_path / "image.png") as picture:
        assert picture.format == "PNG" and picture.mode == "RGB"
        pixels = np.array(picture)
    # Rounded, and kept within 0 and 255.
    assert pixels.tolist() == [[[0, 0, 0], [128, 51, 0]], [[255, 26, 0], [255, 255, 0]]]
    buffer = io.BytesIO()
    save_image(flambeau.full((1, 2, 2), 7, dtype=flambeau.uint8), buffer, format="PNG")
    with image_module.open(buffer) as picture:
        assert np.array(picture).tolist() == [[[7, 7, 7]] * 2] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


def test_save_image_with_gradient_and_grid(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    save_image(flambeau.rand(4, 1, 5, 5, requires_grad=True), str(tmp_path / "grid.jpg"), nrow=2, padding=1)
    with image_module.open(tmp_path / "grid.jpg") as picture:
        assert picture.format == "JPEG" and picture.size == (13, 13)


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    path = tmp_path / "old.bmp"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=r"unknown file extension: '.xyz'"):
        save_image(flambeau.zeros(3, 2, 2), tmp_path / "image.xyz")
    with pytest.raises((KeyError, OSError)):
        save_image(flambeau.zeros(3, 2, 2), path, format="NOSUCH")
    assert [each.name for each in tmp_path.iterdir()] == ["old.bmp"] and path.read_bytes() == b"old"


def test_without_pillow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError) as caught:
        save_image(flambeau.zeros(3, 2, 2), tmp_path / "image.png")
    assert str(caught.value) == ("save_image needs Pillow, which is not installed: pip install 'flambeau[vision]'")
