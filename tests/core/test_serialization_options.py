"""What can be set about saving and loading, and the arguments that PyTorch's functions have."""

from __future__ import annotations

import io
import mmap
import os
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flambeau
from flambeau import serialization
from flambeau.serialization import _options
from flambeau.serialization._archive import ArchiveReader, ArchiveWriter


def saved(obj: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    flambeau.save(obj, stream, **options)
    return stream.getvalue()


def loaded(content: bytes, **options: Any) -> Any:
    return flambeau.load(io.BytesIO(content), **options)


def repacked(content: bytes, leave_out: str = "", **replaced: bytes) -> bytes:
    """The archive with other records."""
    archive = ArchiveReader(io.BytesIO(content), "test")
    stream = io.BytesIO()
    writer = ArchiveWriter(stream, "archive")
    for name in archive.records:
        if name not in (leave_out, "version", ".data/serialization_id"):
            writer.write(name, replaced.get(name, archive.read(name).tobytes()))
    writer.close()
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = dict(vars(_options.options))
    yield
    vars(_options.options).clear()
    vars(_options.options).update(before)
    _options._packages.clear()


# -- byte order ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [None, *serialization.LoadEndianness])
def test_files_that_do_not_say_their_byte_order(order: Any) -> None:
    content = saved(flambeau.tensor([1, 256], dtype=flambeau.int16))
    silent = repacked(content, leave_out="byteorder")
    serialization.set_default_load_endianness(order)
    assert serialization.get_default_load_endianness() is order
    expected = [256, 1] if order is serialization.LoadEndianness.BIG else [1, 256]
    assert loaded(silent).tolist() == expected
    assert loaded(content).tolist() == [1, 256]  # this one says it


def test_a_byte_order_that_is_none() -> None:
    with pytest.raises(TypeError, match="expected a LoadEndianness or None, got str"):
        serialization.set_default_load_endianness("little")  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="unknown byte order 'middle'"):
        loaded(repacked(saved(flambeau.ones(1)), byteorder=b"middle"))


# -- checksums -----------------------------------------------------------------------------------------------------


def test_checksums_can_be_left_out() -> None:
    assert serialization.get_crc32_options() is True
    serialization.set_crc32_options(False)
    assert serialization.get_crc32_options() is False
    content = saved({"x": flambeau.arange(100)})
    assert {entry.CRC for entry in zipfile.ZipFile(io.BytesIO(content)).infolist()} == {0}
    assert loaded(content)["x"].tolist() == list(range(100))
    serialization.set_crc32_options(True)
    assert loaded(content)["x"].tolist() == list(range(100))


# -- mmap ----------------------------------------------------------------------------------------------------------


def test_shared_maps_write_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    flambeau.save({"x": flambeau.zeros(4)}, path)
    private = flambeau.load(path, mmap=True)["x"]
    private[0] = 7
    assert serialization.get_default_mmap_options() == mmap.MAP_PRIVATE
    with serialization.set_default_mmap_options(mmap.MAP_SHARED):
        shared = flambeau.load(path, mmap=True)["x"]
    assert serialization.get_default_mmap_options() == mmap.MAP_PRIVATE
    assert shared.tolist() == [0, 0, 0, 0]
    shared[1] = 5
    del shared
    assert flambeau.load(path, mmap=True)["x"].tolist() == [0, 5, 0, 0]
    with pytest.raises(ValueError, match=r"expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, but got 77"):
        serialization.set_default_mmap_options(77)


# -- without data --------------------------------------------------------------------------------------------------


def test_skipped_data_leaves_room_for_it() -> None:
    state = {"w": flambeau.randn(5, 3), "n": 3}
    with serialization.skip_data():
        content = saved(state)
    assert len(content) == len(saved(state))
    found = loaded(content)
    assert found["n"] == 3
    assert found["w"].tolist() == [[0.0] * 3] * 5
    assert loaded(saved(state))["w"].tolist() == state["w"].tolist()  # type: ignore[attr-defined]


# -- packages ------------------------------------------------------------------------------------------------------


def test_registered_packages_name_and_place_storages() -> None:
    seen: list[Any] = []

    def tag(storage: Any) -> str | None:
        return "lab" if storage.dtype is flambeau.float64 else None

    def place(storage: Any, location: str) -> Any:
        seen.append((location, storage.size()))
        return storage if location == "lab" else None

    serialization.register_package(5, lambda storage: None, lambda storage, location: None)
    serialization.register_package(1, tag, place)
    content = saved([flambeau.ones(3, dtype=flambeau.float64), flambeau.ones(2)])
    double, single = loaded(content)
    assert (double.tolist(), single.tolist()) == ([1.0] * 3, [1.0] * 2)
    assert seen == [("lab", 3), ("cpu", 2)]
    assert loaded(content, map_location={"lab": "cpu"})[0].tolist() == [1.0] * 3
    assert seen[2:] == [("cpu", 3), ("cpu", 2)]
    _options._packages.clear()
    with pytest.raises(RuntimeError, match="saved on the device 'lab', which is not available here"):
        loaded(content)


# -- arguments of PyTorch's functions --------------------------------------------------------------------------------


def test_pickle_modules() -> None:
    content = saved({"a": 1})
    assert loaded(content, pickle_module=pickle) == {"a": 1}
    assert loaded(content, pickle_module=pickle, weights_only=False, encoding="latin1") == {"a": 1}
    with pytest.raises(RuntimeError, match="Can not safely load weights when explicit pickle_module is specified"):
        loaded(content, pickle_module=pickle, weights_only=True)
    with pytest.raises(ValueError, match="pickle_module should be pickle, got <module 'os'"):
        saved(1, pickle_module=os)


def test_the_old_format_is_not_written() -> None:
    with pytest.warns(UserWarning, match="the format of PyTorch before 1.6 is not written; the file gets the zip"):
        content = saved({"a": 1}, _use_new_zipfile_serialization=False)
    assert loaded(content, weights_only=True, mmap=None) == {"a": 1}
