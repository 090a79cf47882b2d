"""Datasets from folders of files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from flambeau_vision.datasets import DatasetFolder, ImageFolder
from flambeau_vision.transforms import ToTensor


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Two classes with three pictures and a text file; each picture has the colour of its class."""
    image_module = pytest.importorskip("PIL.Image")
    for name, color, files in (("dog", (0, 0, 255), ["b.PNG", "sub/c.png"]), ("cat", (255, 0, 0), ["a.bmp"])):
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            image_module.new("RGB", (4, 3), color).save(path)
    (tmp_path / "cat" / "notes.txt").write_text("not a picture")
    (tmp_path / "readme.txt").write_text("no class")
    return tmp_path


def test_classes_and_samples(animals: Path) -> None:
    folder = ImageFolder(animals, transform=ToTensor(), target_transform=lambda number: number + 100)
    assert folder.classes == ["cat", "dog"] and folder.class_to_idx == {"cat": 0, "dog": 1}
    assert folder.imgs == [
        (str(animals / "cat" / "a.bmp"), 0),
        (str(animals / "dog" / "b.PNG"), 1),
        (str(animals / "dog" / "sub" / "c.png"), 1),
    ]
    assert folder.targets == [0, 1, 1] and len(folder) == 3
    image, target = folder[2]
    assert target == 101
    np.testing.assert_array_equal(image.numpy(), np.broadcast_to(np.array([0, 0, 1.0])[:, None, None], (3, 3, 4)))


def test_a_picture_of_another_mode_comes_as_rgb(animals: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    image_module.new("L", (2, 2), 7).save(animals / "cat" / "z.png")
    picture, _ = ImageFolder(animals)[1]
    assert picture.mode == "RGB" and picture.getpixel((0, 0)) == (7, 7, 7)


def test_any_kind_of_file(animals: Path) -> None:
    folder = DatasetFolder(animals, lambda path: Path(path).read_text(), extensions=(".txt",), allow_empty=True)
    assert [folder[i] for i in range(len(folder))] == [("not a picture", 0)]
    chosen = DatasetFolder(animals, str, is_valid_file=lambda path: Path(path).name in ("a.bmp", "b.PNG"))
    assert [Path(path).name for path, _ in chosen.samples] == ["a.bmp", "b.PNG"]


def test_errors(animals: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(FileNotFoundError, match=r"the class 'dog' in .* has no valid file \(with one of .* \.txt\)"):
        DatasetFolder(animals, str, extensions=[".txt"])
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        ImageFolder(animals / "nowhere")
    with pytest.raises(FileNotFoundError, match="has no folders in it; there should be one for each class"):
        ImageFolder(tmp_path_factory.mktemp("empty"))
    with pytest.raises(ValueError, match="give either extensions or is_valid_file"):
        DatasetFolder(animals, str)


def test_without_pillow(animals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"ImageFolder needs Pillow, .*: pip install 'flambeau\[vision\]'"):
        ImageFolder(animals)
    assert ImageFolder(animals, loader=lambda path: Path(path).name)[0] == ("a.bmp", 0)
