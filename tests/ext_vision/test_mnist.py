"""IDX files: read back as written, and refused with a reason when they are damaged."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau_vision.datasets import KMNIST, MNIST, FashionMNIST, read_idx, write_idx

# Two images of 2 x 3 pixels, byte by byte as the format's description has it.
KNOWN = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(12))


@pytest.mark.parametrize("name", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_round_trip(tmp_path: Path, name: str, suffix: str) -> None:
    values = (np.arange(24).reshape(2, 3, 4) * 5 - (0 if name == "uint8" else 60)).astype(name)
    write_idx(tmp_path / f"values{suffix}", values)
    again = read_idx(tmp_path / f"values{suffix}")
    assert again.dtype == values.dtype and again.dtype.isnative
    np.testing.assert_array_equal(again, values)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,)])
def test_round_trip_of_odd_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    write_idx(tmp_path / "values", np.ones(shape, np.uint8))
    assert read_idx(tmp_path / "values").shape == shape


def test_the_format_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_bytes(KNOWN)
    np.testing.assert_array_equal(read_idx(path), np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    write_idx(path, np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    assert path.read_bytes() == KNOWN
    (tmp_path / "shorts").write_bytes(bytes([0, 0, 0x0B, 1, 0, 0, 0, 2, 0xFF, 0xFE, 0x01, 0x00]))
    assert read_idx(tmp_path / "shorts").tolist() == [-2, 256]


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    (tmp_path / "packed-idx3-ubyte").write_bytes(gzip.compress(KNOWN, mtime=0))
    assert read_idx(tmp_path / "packed-idx3-ubyte").shape == (2, 2, 3)
    (tmp_path / "plain.gz").write_bytes(KNOWN)
    assert read_idx(tmp_path / "plain.gz").shape == (2, 2, 3)


def test_a_file_cut_off_anywhere_is_an_error(tmp_path: Path) -> None:
    for number, whole in enumerate((KNOWN, gzip.compress(KNOWN, mtime=0))):
        for length in range(len(whole)):
            path = tmp_path / f"cut-{number}-{length}"
            path.write_bytes(whole[:length])
            with pytest.raises(ValueError, match="read_idx: .*cut-"):
                read_idx(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not an IDX file: it begins with nothing"),
        (b"\x89PNG\r\n", "is not an IDX file: it begins with 89 50 4e 47"),
        (b"\0\0\x07\x01\0\0\0\0", "is not an IDX file: it begins with 00 00 07 01"),
        (KNOWN[:10], "is cut off in its header, which should name 3 dimensions"),
        (
            KNOWN[:-1],
            r"should hold 12 bytes of values, for the shape \(2, 2, 3\) and the type uint8, but holds only 11",
        ),
        (KNOWN + b"\0", "but holds more"),
        (b"\0\0\x08\x04" + b"\xff" * 16 + b"123", "but holds only 3"),
        (gzip.compress(KNOWN, mtime=0)[:-6], "is a damaged gzip file"),
        (gzip.compress(KNOWN, mtime=0)[:10] + b"\xff" * 20, "is a damaged gzip file"),
        (gzip.compress(b"\0\0\x08\x02" + b"\xff" * 8 + b"12345", mtime=0), "but holds only 5"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read_idx(path)


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="an IDX file holds uint8, int8, int16, int32, float32, float64, not int64"):
        write_idx(tmp_path / "values", np.arange(3, dtype=np.int64))
    assert list(tmp_path.iterdir()) == []


def write_mnist(folder: Path, suffix: str = "", dot: bool = False, **changes: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The four files with a few random images; ``changes`` replace the content of single ones."""
    random = np.random.default_rng(5)
    contents = {
        "train-images-idx3-ubyte": random.integers(0, 256, (7, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte": random.integers(0, 10, 7, dtype=np.uint8),
        "t10k-images-idx3-ubyte": random.integers(0, 256, (3, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": random.integers(0, 10, 3, dtype=np.uint8),
    }
    contents |= {name.replace("_", "-"): content for name, content in changes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_idx(folder / ((name.replace("-idx", ".idx") if dot else name) + suffix), content)
    return contents


@pytest.mark.parametrize("dataset", [MNIST, FashionMNIST, KMNIST])
@pytest.mark.parametrize("place", ["", "{name}/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_four_files(tmp_path: Path, dataset: type[MNIST], place: str, suffix: str) -> None:
    contents = write_mnist(tmp_path / place.format(name=dataset.__name__), suffix)
    train, test = dataset(tmp_path), dataset(str(tmp_path), train=False, target_transform=str)
    np.testing.assert_array_equal(train.data.numpy(), contents["train-images-idx3-ubyte"])
    assert train.targets.dtype is flambeau.int64
    assert train.targets.tolist() == contents["train-labels-idx1-ubyte"].tolist()
    assert (len(train), len(test), len(train.classes)) == (7, 3, 10)
    np.testing.assert_array_equal(test[2][0], contents["t10k-images-idx3-ubyte"][2])
    assert test[2][1] == str(contents["t10k-labels-idx1-ubyte"][2])


def test_names_with_a_dot(tmp_path: Path) -> None:
    contents = write_mnist(tmp_path, dot=True)
    assert (tmp_path / "train-images.idx3-ubyte").exists()
    np.testing.assert_array_equal(MNIST(tmp_path).data.numpy(), contents["train-images-idx3-ubyte"])


def test_a_missing_file_says_where_it_should_be(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert len(MNIST(tmp_path)) == 7
    with pytest.raises(FileNotFoundError) as caught:
        MNIST(tmp_path, train=False, download=True)
    assert str(caught.value) == (
        f"MNIST: t10k-labels-idx1-ubyte (plain or .gz) is not in {str(tmp_path)!r} nor in "
        f"{str(tmp_path / 'MNIST' / 'raw')!r}. Nothing is downloaded: put the four files of the dataset (train- and "
        f"t10k-, images-idx3-ubyte and labels-idx1-ubyte) into one of these folders"
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("train_labels_idx1_ubyte", np.zeros(6, np.uint8), "has 7 images, but .* has 6 labels"),
        ("train_labels_idx1_ubyte", np.full(7, 10, np.uint8), "has the label 10, but there are only 10 classes"),
        ("train_labels_idx1_ubyte", np.zeros((7, 1), np.uint8), "should hold labels, uint8 with 1 dimension"),
        ("train_images_idx3_ubyte", np.zeros((7, 784), np.uint8), "should hold images, uint8 with 3 dimensions"),
        ("train_images_idx3_ubyte", np.zeros((7, 28, 28), np.float32), "but holds float32"),
    ],
)
def test_files_that_do_not_fit_together(tmp_path: Path, name: str, content: Any, reason: str) -> None:
    write_mnist(tmp_path, **{name: content})
    with pytest.raises(ValueError, match=reason):
        MNIST(tmp_path)


def test_struct_of_the_header_is_big_endian(tmp_path: Path) -> None:
    write_idx(tmp_path / "wide", np.zeros((1, 300), np.uint8))
    assert struct.unpack(">2I", (tmp_path / "wide").read_bytes()[4:12]) == (1, 300)
