"""`save` and `load`: what comes back, what is refused, and what happens to damaged files.

`tests/parity/test_checkpoints.py` exchanges files with PyTorch; nothing here needs it.
"""

from __future__ import annotations

import collections
import contextlib
import io
import os
import pickle
import signal
import stat
import struct
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import plugins, serialization
from flambeau.hookspec import hookimpl
from flambeau.serialization._archive import ArchiveReader, ArchiveWriter

REFUSED = (RuntimeError, pickle.UnpicklingError)


def stored(obj: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    flambeau.save(obj, stream, **options)
    return stream.getvalue()


def loaded(data: bytes, **options: Any) -> Any:
    return flambeau.load(io.BytesIO(data), **options)


def archive(records: dict[str, bytes]) -> bytes:
    """A well-formed archive with any contents."""
    stream = io.BytesIO()
    writer = ArchiveWriter(stream, "archive")
    for name, content in records.items():
        writer.write(name, content)
    writer.close()
    return stream.getvalue()


def storage_id(kind: str, key: str, location: str, numel: int) -> bytes:
    """The instructions that push a storage."""
    words = [b"(", text("storage"), f"ctorch\n{kind}\n".encode(), text(key), text(location), integer(numel)]
    return b"".join(words) + b"tQ"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integer(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def tensor_pickle(storage: bytes, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(integer, values)) + b"t"

    hooks = b"ccollections\nOrderedDict\n)R"
    arguments = b"(" + storage + integer(offset) + numbers(size) + numbers(stride) + b"\x89" + hooks + b"t"
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R."


# -- what comes back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*flambeau.DTYPES])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_tensors_of_every_dtype(name: str, shape: tuple[int, ...]) -> None:
    if name == "bfloat16":
        pytest.importorskip("ml_dtypes")
    values = np.random.default_rng(0).integers(0, 2, shape)
    original = flambeau.from_numpy(np.asarray(values, getattr(flambeau, name).numpy))
    copy = loaded(stored(original))
    assert copy.dtype is original.dtype and copy.shape == original.shape and copy.device is original.device
    np.testing.assert_array_equal(copy.numpy(), original.numpy())


def test_containers_and_numbers() -> None:
    state = collections.OrderedDict(a=1, b=2.5)
    state._metadata = {"": {"version": 2}}  # type: ignore[attr-defined]
    obj = {
        "state": state,
        "nested": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {"x": None, 3: True, (1, 2): False}],
        "numbers": [0, -1, 300, 70000, -(2**40), 2**90, 1.5, float("-inf"), 3 - 4j],
        "text": ["", "naïve ☃", "a" * 70000],
        "bytes": [b"", b"\x00\xff", bytearray(b"abc"), bytearray()],
        "sets": [set(), {1, 2}, frozenset({3})],
        "counter": collections.Counter("hello"),
        "flambeau": [flambeau.Size([2, 3]), flambeau.float16, flambeau.bool, flambeau.device("cuda:1")],
    }
    for protocol in (2, 3, 4, 5):
        copy = loaded(stored(obj, pickle_protocol=protocol))
        assert copy == obj
        assert copy["state"]._metadata == state._metadata
        assert type(copy["flambeau"][0]) is flambeau.Size


def test_the_same_object_stays_the_same_object() -> None:
    t = flambeau.ones(2)
    inner: list[Any] = [t, t]
    inner.append(inner)
    copy = loaded(stored(inner))
    assert copy[0] is copy[1] and copy[2] is copy


def test_numpy_arrays_and_scalars() -> None:
    obj = [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.ones((2, 3), np.float32)),
        np.array(["ab", "c"]),
        np.float64(0.1),
        np.bool_(True),
        np.array(5, np.int8),
    ]
    for ours, original in zip(loaded(stored(obj)), obj, strict=True):
        assert ours.dtype == original.dtype
        np.testing.assert_array_equal(ours, original)


def test_gradient_flags_and_parameters() -> None:
    leaf = flambeau.ones(2).requires_grad_()
    parameter = flambeau.nn.Parameter(flambeau.ones(3))
    parameter.note = "kept"
    copy = loaded(stored([leaf, leaf * 2, parameter, flambeau.nn.Parameter(flambeau.ones(1), False)]))
    assert [t.requires_grad for t in copy] == [True, True, True, False]
    assert all(t.is_leaf for t in copy)
    assert type(copy[2]) is flambeau.nn.Parameter and copy[2].note == "kept"


def test_meta_tensors_have_no_data() -> None:
    copy = loaded(stored(flambeau.empty(1000, 1000, device="meta")))
    assert copy.device.type == "meta" and copy.shape == (1000, 1000)


def test_equal_objects_make_equal_files() -> None:
    def make() -> Any:
        return {"a": flambeau.arange(5), "b": [1, 2.0]}

    assert stored(make()) == stored(make())


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mmap", [False, True])
def test_strided_views_come_back_strided_and_share_memory(tmp_path: Path, mmap: bool) -> None:
    base = flambeau.arange(24.0).reshape(2, 3, 4)
    views = [base, base.permute(2, 0, 1), base[1:, ::2, 3], base[0, 1].expand(5, 4)]
    flambeau.save(views, tmp_path / "m.pt")
    copies = flambeau.load(tmp_path / "m.pt", mmap=mmap)
    for copy, view in zip(copies, views, strict=True):
        assert tuple(copy.stride()) == tuple(view.stride())
        np.testing.assert_array_equal(copy.numpy(), view.numpy())
    copies[0][1, 2, 3] = -1.0
    assert copies[1][3, 1, 2].item() == -1.0 and copies[2][0, 1].item() == -1.0


def test_order_of_saving_does_not_matter_for_sharing() -> None:
    base = flambeau.zeros(10)
    small, whole, end = loaded(stored([base[4:6], base, base[8:]]))
    whole[5] = 1.0
    whole[9] = 2.0
    assert small[1].item() == 1.0 and end[1].item() == 2.0


def test_a_view_does_not_take_its_whole_base_along() -> None:
    base = flambeau.zeros(100_000)
    assert len(stored(base[50:60])) < 5_000
    assert len(stored([base[:10], base[:20], base[5:]])) < 450_000


def test_writes_through_one_alias_are_noticed_by_autograd() -> None:
    base = flambeau.ones(3)
    a, b = loaded(stored([base, base[:2]]))
    x = flambeau.ones(3).requires_grad_()
    product = (a * x).sum()
    b[0] = 7.0
    with pytest.raises(RuntimeError, match="modified"):
        product.backward()


def test_memory_in_unusual_layouts() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4, 6))
    for array in (np.asfortranarray(values), values.T, values[::2, 1::2], values.reshape(2, 3, 4).transpose(1, 2, 0)):
        np.testing.assert_array_equal(loaded(stored(flambeau.from_numpy(array))).numpy(), array)
    # Memory that belongs to no array, with gaps; two views of the same place are no reason to mix them up.
    memory = bytearray(values.tobytes())
    gaps = np.ndarray((3, 2), np.float64, memory, 0, (48, 16))
    other = np.ndarray((2,), np.float64, memory, 0, (24,))
    for copy, array in zip(loaded(stored([flambeau.from_numpy(gaps), flambeau.from_numpy(other)])), (gaps, other)):
        np.testing.assert_array_equal(copy.numpy(), array)


def test_two_dtypes_on_one_memory_are_refused() -> None:
    z = flambeau.tensor([1 + 2j, 3 + 4j])
    with pytest.raises(
        RuntimeError, match=r"view the same data as different types \(complex64 and float32\); save .clon"
    ):
        stored([z, flambeau.real(z)])
    np.testing.assert_array_equal(loaded(stored(flambeau.imag(z))).numpy(), [2.0, 4.0])


def test_records_begin_at_multiples_of_64_bytes() -> None:
    data = stored({f"{n}": flambeau.ones(n) for n in range(20)})
    reader = ArchiveReader(io.BytesIO(data), "it")
    assert len([name for name in reader.records if name.startswith("data/")]) == 20
    assert all(record.offset % 64 == 0 for record in reader.records.values())
    with zipfile.ZipFile(io.BytesIO(data)) as standard:
        assert standard.testzip() is None


def test_mmap_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    flambeau.save({"a": flambeau.arange(1000)}, path)
    before = path.read_bytes()
    mapped = flambeau.load(path, mmap=True)["a"]
    mapped[0] = 77
    assert mapped[0].item() == 77 and path.read_bytes() == before
    flambeau.save(mapped, path)  # in the place of the file that is mapped
    assert flambeau.load(path)[0].item() == 77 and mapped[999].item() == 999


def test_mmap_does_not_copy(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    flambeau.save([flambeau.zeros(1_000_000) for _ in range(4)], path)
    flambeau.load(path, mmap=True)
    tracemalloc.start()
    flambeau.load(path, mmap=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_mmap_needs_a_path() -> None:
    with pytest.raises(ValueError, match="f must be a file path in order to use mmap=True"):
        loaded(stored(1), mmap=True)


def test_files_of_the_other_byte_order() -> None:
    other = "big" if sys.byteorder == "little" else "little"
    kind = ">f4" if other == "big" else "<f4"
    data = archive({
        "data.pkl": tensor_pickle(storage_id("FloatStorage", "0", "cpu", 3), 0, (3,), (1,)),
        "byteorder": other.encode(),
        "data/0": np.array([1.5, -2.0, 3.0], kind).tobytes(),
    })  # fmt: skip
    np.testing.assert_array_equal(loaded(data).numpy(), [1.5, -2.0, 3.0])


# -- where it goes -----------------------------------------------------------------------------------------------------


def from_gpu(numel: int = 2) -> bytes:
    return archive({
        "data.pkl": tensor_pickle(storage_id("FloatStorage", "0", "opencl:7", numel), 0, (numel,), (1,)),
        "data/0": np.arange(numel, dtype=np.float32).tobytes(),
    })  # fmt: skip


@pytest.mark.parametrize(
    "map_location",
    [
        "cpu",
        flambeau.device("cpu"),
        {"opencl:7": "cpu"},
        {"opencl:7": flambeau.device("cpu")},
        lambda storage, location: storage,
        lambda storage, location: storage.cpu(),
        lambda storage, location: storage.to("cpu") if location == "opencl:7" else None,
    ],
)
def test_map_location(map_location: Any) -> None:
    t = loaded(from_gpu(), map_location=map_location)
    assert t.device is flambeau.device("cpu")
    np.testing.assert_array_equal(t.numpy(), [0, 1])


@pytest.fixture
def other_device() -> Any:
    """A device type of its own, whose arrays do not tell where in memory they are."""
    from flambeau.dispatch import Backend
    from flambeau_numpy.backend import NumpyBackend

    class OtherBackend(NumpyBackend):
        name = "other"
        data_ptr = Backend.data_ptr
        storage_offset = Backend.storage_offset

        def from_numpy(self, array: Any, device: Any) -> Any:
            return np.array(array)

        def to_numpy(self, array: Any) -> Any:
            return np.array(array)

    class OtherPlugin:
        @hookimpl
        def flambeau_backends(self) -> Any:
            return [OtherBackend()]

    plugins.register(OtherPlugin(), "other")
    yield flambeau.device("other:0")
    plugins.unregister("other")


def test_tensors_of_another_device(other_device: Any) -> None:
    t = flambeau.full((2, 3), 2.5, device=other_device)
    tied = t.detach()
    data = stored([t, tied, t.permute(1, 0)])
    a, b, c = loaded(data)
    assert a.device is b.device is c.device is other_device
    for copy in (a, b, loaded(data, map_location="cpu")[0]):
        np.testing.assert_array_equal(copy.numpy(force=True), np.full((2, 3), 2.5, np.float32))
    a[1, 2] = 9.0
    assert b[1, 2].item() == 9.0 and c.shape == (3, 2)
    assert loaded(stored(flambeau.ones(2)), map_location=other_device).device is other_device
    moved = loaded(stored(flambeau.ones(2)), map_location=lambda storage, location: storage.to(other_device))
    assert moved.device is other_device


@pytest.mark.parametrize("map_location", [None, {"cuda:0": "cpu"}, lambda storage, location: None])
def test_a_device_that_is_not_there_is_named(map_location: Any) -> None:
    with pytest.raises(RuntimeError, match="device 'opencl:7'"):
        loaded(from_gpu(), map_location=map_location)


def test_the_way_out_of_a_missing_device_is_said() -> None:
    with pytest.raises(RuntimeError, match="Pass map_location='cpu' to load it to the CPU"):
        loaded(from_gpu())


def test_a_map_location_that_returns_something_else() -> None:
    with pytest.raises(TypeError, match="should return the storage, moved, or None; it returned a str"):
        loaded(from_gpu(), map_location=lambda storage, location: "cpu")


def test_errors_of_a_map_location_function_are_its_own() -> None:
    def fails(storage: Any, location: str) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        loaded(from_gpu(), map_location=fails)


def test_on_meta_no_data_is_read() -> None:
    data = bytearray(stored([flambeau.ones(1000), flambeau.ones(2, 3).permute(1, 0)]))
    place = data.index(np.ones(1000, np.float32).tobytes())
    data[place] ^= 1
    with pytest.raises(RuntimeError, match="does not match its checksum"):
        loaded(bytes(data))
    first, second = loaded(bytes(data), map_location="meta")
    assert first.device.type == "meta" and first.shape == (1000,) and second.shape == (3, 2)


# -- paths and streams -------------------------------------------------------------------------------------------------


class CannotBePickled:
    def __reduce__(self) -> Any:
        raise pickle.PicklingError("not me")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.pt"
    flambeau.save([1, 2], path)
    with pytest.raises(pickle.PicklingError, match="not me"):
        flambeau.save([flambeau.ones(3), CannotBePickled()], path)
    assert flambeau.load(path) == [1, 2] and os.listdir(tmp_path) == ["m.pt"]

    from flambeau.serialization._pickler import Span

    def disk_full(self: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Span, "content", disk_full)
    with pytest.raises(OSError, match="No space left"):
        flambeau.save([flambeau.ones(3)], path)
    assert flambeau.load(path) == [1, 2] and os.listdir(tmp_path) == ["m.pt"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    flambeau.save("old", path)
    program = """
        import sys, time
        import flambeau
        from flambeau.serialization._pickler import Span
        content = Span.content
        def slow(self):
            print("writing", flush=True)
            time.sleep(60)
            return content(self)
        Span.content = slow
        flambeau.save([flambeau.ones(10)], sys.argv[1])
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "writing":
            assert process.poll() is None
        process.kill()
    assert flambeau.load(path) == "old"


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "m.pt", tmp_path / "link.pt"
    before = os.umask(0o022)
    try:
        flambeau.save(1, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    finally:
        os.umask(before)
    path.chmod(0o600)
    link.symlink_to(path)
    flambeau.save(2, link)
    assert link.is_symlink() and flambeau.load(path) == 2 and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"save: Parent directory .*nowhere does not exist\."):
        flambeau.save(1, tmp_path / "nowhere" / "m.pt")


def test_missing_files_and_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        flambeau.load(tmp_path / "m.pt")
    with pytest.raises(TypeError, match="save: expected 'f' to be a path or an object with a write method, got int"):
        flambeau.save(1, 3)
    with pytest.raises(AttributeError, match="Read it into an io.BytesIO first"):
        flambeau.load(object())


def test_streams_that_can_only_write() -> None:
    class Sink:
        def __init__(self) -> None:
            self.parts: list[bytes] = []

        def write(self, data: Any) -> int:
            # Like an unbuffered file, it may take less than it is given.
            self.parts.append(bytes(data[:1000]))
            return min(len(data), 1000)

    sink = Sink()
    flambeau.save(flambeau.arange(5000), sink)
    assert b"".join(sink.parts) == stored(flambeau.arange(5000))


def test_streams_that_cannot_seek() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    expected = pytest.raises(io.UnsupportedOperation, match="read this one into an io.BytesIO first")
    with os.fdopen(reading, "rb") as stream, expected:
        flambeau.load(stream)


def test_streams_without_readinto_and_with_something_before() -> None:
    class Plain:
        def __init__(self, data: bytes) -> None:
            self._stream = io.BytesIO(data)
            self.read, self.seek, self.tell = self._stream.read, self._stream.seek, self._stream.tell

    np.testing.assert_array_equal(flambeau.load(Plain(stored(flambeau.arange(9)))).numpy(), np.arange(9))
    stream = io.BytesIO(b"preface" + stored([1, flambeau.ones(2)]))
    stream.seek(7)
    assert flambeau.load(stream)[0] == 1


# -- damaged files -----------------------------------------------------------------------------------------------------


def sample() -> Any:
    base = flambeau.arange(12.0)
    state = collections.OrderedDict(weight=base.reshape(3, 4), bias=base[4:8], steps=flambeau.tensor(7))
    state._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    return {"model": state, "epoch": 3, "lr": [0.1, 0.01], "name": "é"}


def plain(obj: Any) -> Any:
    """The object in values that are compared by ==, signs of zeros and NaNs included."""
    if isinstance(obj, flambeau.Tensor):
        return "tensor", obj.dtype, tuple(obj.shape), tuple(obj.stride()), obj.requires_grad, obj.numpy().tobytes()
    if isinstance(obj, dict):
        return type(obj), [(plain(k), plain(v)) for k, v in obj.items()], getattr(obj, "_metadata", None)
    if isinstance(obj, (list, tuple)):
        return type(obj), [plain(item) for item in obj]
    return type(obj), obj


def outcome(load: Callable[..., Any], source: Any, expected: Any, **options: Any) -> str:
    """ "same" or "error"; anything else fails the test."""
    try:
        result = load(source, **options)
    except REFUSED as error:
        assert str(error).startswith("load: "), f"the message does not say what failed: {error}"
        return "error"
    assert plain(result) == expected
    return "same"


def test_cut_off_at_any_byte_is_an_error(tmp_path: Path) -> None:
    whole = stored(sample())
    expected = plain(loaded(whole))
    assert expected == plain(sample())
    path = tmp_path / "m.pt"
    for length in range(len(whole)):
        assert outcome(loaded, whole[:length], expected) == "error", length
    for length in range(0, len(whole), 61):
        path.write_bytes(whole[:length])
        assert outcome(flambeau.load, path, expected, mmap=True) == "error", length


@pytest.mark.parametrize("change", ["lowest bit", "highest bit", "all bits", "zero", "random"])
def test_a_changed_byte_is_an_error_or_changes_nothing(change: str) -> None:
    whole = stored(sample())
    expected = plain(sample())
    rng = np.random.default_rng(0)
    outcomes = collections.Counter[str]()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        old = damaged[place]
        damaged[place] = {
            "lowest bit": old ^ 1,
            "highest bit": old ^ 128,
            "all bits": old ^ 255,
            "zero": 0,
            "random": int(rng.integers(256)),
        }[change]
        outcomes[outcome(loaded, bytes(damaged), expected)] += 1
    # Padding and dates may change; what counts may not. (Much of a file is zeros already.)
    assert outcomes["error"] > (0 if change == "zero" else len(whole) // 3)


def test_changed_bytes_of_a_mapped_file_never_shift_a_tensor(tmp_path: Path) -> None:
    """With mmap the tensors' own bytes are not checked; all that says where they are is."""
    whole = stored(sample())
    expected = plain(sample())
    reader = ArchiveReader(io.BytesIO(whole), "it")
    contents = [range(r.offset, r.offset + r.size) for name, r in reader.records.items() if name.startswith("data/")]
    path = tmp_path / "m.pt"
    for place in range(len(whole)):
        if any(place in content for content in contents):
            continue
        for flip in (1, 4, 255):
            damaged = bytearray(whole)
            damaged[place] ^= flip
            path.write_bytes(damaged)
            outcome(flambeau.load, path, expected, mmap=True)


def test_pieces_taken_out_or_put_in_are_errors_or_change_nothing() -> None:
    whole = stored(sample())
    expected = plain(sample())
    rng = np.random.default_rng(0)
    for _ in range(500):
        start = int(rng.integers(len(whole)))
        count = int(rng.integers(1, 200))
        shorter = whole[:start] + whole[start + count :]
        longer = whole[:start] + rng.bytes(count) + whole[start:]
        zeroed = whole[:start] + bytes(count) + whole[start + count :]
        for damaged in (shorter, longer, zeroed):
            outcome(loaded, damaged, expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"PK", "not a checkpoint; expected the zip archive that save writes"),
        (b"hello world", "not a checkpoint; expected the zip archive that save writes"),
        (pickle.dumps({"a": 1}, 2), "not a checkpoint but some other pickle"),
        (b"PK\x03\x04" + bytes(100), "cannot read the zip directory at the end"),
        (bytes(257) + b"ustar\x00" + bytes(300), "the tar format of PyTorch before 0.1.10"),
        (archive({"other": b"1"}), "the zip archive has no record 'data.pkl'"),
        (archive({"data.pkl": b"\x80\x02N.", "byteorder": b"middle"}), "unknown byte order 'middle'"),
    ],
)
def test_what_is_no_checkpoint(content: bytes, message: str) -> None:
    with pytest.raises(REFUSED, match=message):
        loaded(content)


def test_storages_that_are_missing_or_too_short() -> None:
    pickled = tensor_pickle(storage_id("FloatStorage", "0", "cpu", 2), 0, (2,), (1,))
    with pytest.raises(RuntimeError, match="the record 'data/0' is missing"):
        loaded(archive({"data.pkl": pickled}))
    with pytest.raises(RuntimeError, match="'0' has 4 bytes, and 2 elements of float32 take 8"):
        loaded(archive({"data.pkl": pickled, "data/0": bytes(4)}))


# -- hostile files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [((5,), (1,), 0), ((2,), (1,), 3), ((2, 3), (4, 1), 0), ((2,), (-1,), 3), ((-2,), (1,), 0), ((2,), (1,), -1)]
    + [((2**62,), (1,), 0), ((2**40, 2**40), (2**40, 1), 0), ((2,), (2**62,), 0)],
)
def test_tensors_outside_of_their_storage(size: Any, stride: Any, offset: int) -> None:
    pickled = tensor_pickle(storage_id("FloatStorage", "0", "cpu", 4), offset, size, stride)
    with pytest.raises(RuntimeError, match="out of bounds for its storage of 4 elements"):
        loaded(archive({"data.pkl": pickled, "data/0": bytes(16)}))


@pytest.mark.parametrize(
    "pickled",
    [
        tensor_pickle(storage_id("FloatStorage", "0", "cpu", 2**60), 0, (2,), (1,)),
        tensor_pickle(storage_id("FloatStorage", "0", "cpu", 2**34), 0, (2**34,), (1,)),
        b"\x80\x02X\xff\xff\xff\xffab.",
        b"\x80\x04\x8d" + b"\xff" * 7 + b"\x0f.",
        b"\x80\x02\x8b\xff\xff\xff\x7f1.",
        b"\x80\x02Nr\xff\xff\xff\xff" + b"0N.",
        b"\x80\x02c__builtin__\nbytearray\n" + integer(2**40) + b"\x85R.",
        b"\x80\x02c__builtin__\nbytes\n" + integer(2**40) + b"\x85R.",
        b"\x80\x02ctorch\nTensor\n" + integer(2**40) + b"\x85R.",
        b"\x80\x02cnumpy\nndarray\n" + integer(2**40) + b"\x85R.",
    ],
)
def test_large_claims_allocate_nothing(pickled: bytes) -> None:
    data = archive({"data.pkl": pickled, "data/0": bytes(64)})
    flambeau.load(io.BytesIO(stored(flambeau.ones(1))))  # what is imported on first use is not counted
    tracemalloc.start()
    with contextlib.suppress(*REFUSED):
        loaded(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_compressed_archives_are_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", b"\x80\x02N.")
        bomb.writestr("archive/data/0", bytes(1_000_000))
    with pytest.raises(RuntimeError, match=r"is compressed; records of a checkpoint are stored as they are .* zip -0"):
        loaded(stream.getvalue())


def test_archives_packed_by_others_are_read() -> None:
    ours = stored(sample())
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(ours)) as before, zipfile.ZipFile(stream, "w") as after:
        for name in before.namelist():
            after.writestr(name, before.read(name))
    assert plain(loaded(stream.getvalue())) == plain(sample())


def test_records_that_overlap_are_refused() -> None:
    """One stretch of bytes under many names is how small files become large."""
    data = archive({"data.pkl": b"\x80\x02N.", "data/0": bytes(100), "data/1": bytes(100)})
    directory = data.index(b"PK\x01\x02")
    entries = data[directory : data.index(b"PK\x06\x06")].split(b"PK\x01\x02")[1:]
    first, second = (i for i, entry in enumerate(entries) if b"archive/data/" in entry)
    entries[second] = entries[first]
    damaged = (
        data[:directory] + b"".join(b"PK\x01\x02" + entry for entry in entries) + data[data.index(b"PK\x06\x06") :]
    )
    with pytest.raises(RuntimeError, match="overlaps another"):
        loaded(damaged)


class Exploit:
    ran = False

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def explode() -> None:
    Exploit.ran = True


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("true",), f"{os.system.__module__}.system"),
        (eval, ("1",), "eval"),
        (explode, (), "explode"),
        (getattr, ("a", "upper"), "getattr"),
        (subprocess.Popen, (["true"],), "subprocess.Popen"),
    ],
)
def test_no_code_of_a_file_runs(function: Any, arguments: Any, name: str) -> None:
    for protocol in (2, 4):
        data = archive({"data.pkl": pickle.dumps({"x": Exploit(function, *arguments)}, protocol)})
        with pytest.raises(pickle.UnpicklingError, match=name.replace(".", r"\.")):
            loaded(data)
    assert not Exploit.ran


def test_the_whole_message_for_a_refused_global() -> None:
    data = archive({"data.pkl": pickle.dumps(Exploit(explode), 2)})
    name = f"{explode.__module__}.explode"
    with pytest.raises(pickle.UnpicklingError) as caught:
        loaded(data)
    assert str(caught.value) == (
        f"load: the given file object: Unsupported global: '{name}' is not on the list of what is safe to load. "
        f"If you trust it, allow it: `flambeau.serialization.add_safe_globals([{name}])`, or `with "
        f"flambeau.serialization.safe_globals([{name}])` around the load. Loading with weights_only=False takes "
        "anything, and runs whatever code the file contains: only for files from a source you trust"
    )


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x02X\x01\x00\x00\x00a)R.",  # calls a string
        b"\x80\x02]q\x00h\x00)R.",  # calls a list
        b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00a1sb.",  # sets attributes of a class
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aNsb.",  # ... of a function
        b"\x80\x02ctorch\nfloat32\n}X\x01\x00\x00\x00aNsb.",  # ... of a dtype
        b"\x80\x02ctorch\nTensor\n)\x81.",  # makes an instance without __init__
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",  # leaves arguments out
        b"\x80\x02c_codecs\nencode\n" + text("a") + text("zip") + b"\x86R.",  # another codec
        b"\x80\x02(i__main__\nfoo\n.",  # INST
        b"\x80\x02\x82\x01.",  # an extension code
        b"\x80\x02Pabc\n.",  # a persistent id as text
        b"\x80\x02" + text("storage") + b"Q.",  # a persistent id that is no tuple
        b"\x80\x02(" + text("storage") + text("a") + text("b") + text("c") + b"NtQ.",
        b"\x80\x02h\x05.",  # an empty memo
        b"\x80\x020.",  # an empty stack
        b"\x80\x02.",
        b"\x80\x02t.",
        b"\x80\x02\x87.",
        b"\x80\x02K\x01K\x02a.",  # appends to a number
        b"\x80\x02}]Ns.",  # an unhashable key
        b"\x80\x02cnumpy\ndtype\n" + text("O8") + b"\x85R.",  # an array of objects
        b"\x80\x02cnumpy\ndtype\n" + text("f8,i4") + b"\x85R.",
        b"\x80\x09N.",
        b"\x80\x02cos\nsystem\n.",
        b"\x80\x02cbuiltins\n__import__\n.",
        b"\x80\x02ccollections\nOrderedDict.__init__.__globals__\n.",
    ],
)
def test_malformed_pickles(pickled: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError, match="load: the given file object: "):
        loaded(archive({"data.pkl": pickled}))


def test_random_pickles_are_harmless() -> None:
    """Any bytes end in an error or in plain objects, and always end."""
    pickled = zipfile.ZipFile(io.BytesIO(stored(sample()))).read("archive/data.pkl")
    rng = np.random.default_rng(0)
    contents = {"data/0": bytes(48), "data/1": bytes(8)}
    for _ in range(2000):
        changed = bytearray(pickled)
        for place in rng.integers(len(changed), size=rng.integers(1, 6)):
            changed[place] = rng.integers(256)
        with contextlib.suppress(*REFUSED):
            loaded(archive({"data.pkl": bytes(changed), **contents}))


# -- more than weights -------------------------------------------------------------------------------------------------


class Settings:
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, depth: int) -> None:
        self.depth = depth

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and vars(self) == vars(other)


def test_classes_that_the_user_allows() -> None:
    data = stored({"settings": Settings(3), "w": flambeau.ones(1)})
    with pytest.raises(pickle.UnpicklingError, match="Settings"):
        loaded(data)
    with serialization.safe_globals([Settings]):
        assert loaded(data)["settings"] == Settings(3)
    with pytest.raises(pickle.UnpicklingError, match="Settings"):
        loaded(data)
    try:
        serialization.add_safe_globals([(Settings, f"{Settings.__module__}.Settings")])
        assert serialization.get_safe_globals() == [Settings]
        assert loaded(data)["settings"].depth == 3
    finally:
        serialization.clear_safe_globals()
    assert serialization.get_safe_globals() == []


def test_dangerous_modules_cannot_be_allowed() -> None:
    data = archive({"data.pkl": pickle.dumps(Exploit(os.system, "true"), 2)})
    with serialization.safe_globals([os.system]), pytest.raises(pickle.UnpicklingError, match="is blocked"):
        loaded(data)


def test_everything_when_asked_for() -> None:
    data = stored([Settings(4), flambeau.arange(3), range(5)])
    settings, t, numbers = loaded(data, weights_only=False)
    assert settings == Settings(4) and numbers == range(5)
    np.testing.assert_array_equal(t.numpy(), [0, 1, 2])


def test_whole_modules() -> None:
    net = flambeau.nn.Sequential(flambeau.nn.Linear(3, 4), flambeau.nn.ReLU(), flambeau.nn.Linear(4, 2))
    data = stored(net)
    with pytest.raises(pickle.UnpicklingError, match=r"flambeau\.nn\.modules\.container\.Sequential"):
        loaded(data)
    copy = loaded(data, weights_only=False)
    x = flambeau.ones(5, 3)
    np.testing.assert_array_equal(copy(x).detach().numpy(), net(x).detach().numpy())
    assert [name for name, _ in copy.named_parameters()] == [name for name, _ in net.named_parameters()]


def test_what_is_unsafe_in_a_file_can_be_listed(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    flambeau.save({"a": Settings(1), "b": flambeau.ones(1), "c": [range(3)]}, path)
    names = serialization.get_unsafe_globals_in_checkpoint(path)
    assert f"{Settings.__module__}.Settings" in names and any(name.endswith("range") for name in names)
    assert not any("torch" in name for name in names)


# -- other formats -----------------------------------------------------------------------------------------------------


def test_safetensors(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "m.safetensors"
    base = flambeau.arange(6.0).reshape(2, 3)
    flambeau.save({"b": base, "a": base.permute(1, 0), "n": flambeau.tensor(3), "e": flambeau.empty(0, 2)}, path)
    copy = flambeau.load(path)
    assert set(copy) == {"a", "b", "n", "e"} and copy["n"].dtype is flambeau.int64 and copy["e"].shape == (0, 2)
    np.testing.assert_array_equal(copy["a"].numpy(), base.numpy().T)
    assert flambeau.load(path, map_location="meta")["b"].device.type == "meta"
    with pytest.raises(RuntimeError, match="with a .safetensors file map_location is a device or its name"):
        flambeau.load(path, map_location={"cpu": "cpu"})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(RuntimeError, match="the .safetensors file is cut off or damaged"):
            flambeau.load(path)


def test_what_safetensors_cannot_hold(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "m.safetensors"
    flambeau.save({"a": flambeau.ones(1)}, path)
    with pytest.raises(TypeError, match="a .safetensors file holds a dict from str to Tensor, got 'step': int"):
        flambeau.save({"step": 3}, path)
    with pytest.raises(TypeError, match="got Tensor"):
        flambeau.save(flambeau.ones(1), path)
    with pytest.raises(ValueError, match="complex128"):
        flambeau.save({"z": flambeau.zeros(2, dtype=flambeau.complex128)}, path)
    assert list(flambeau.load(path)) == ["a"] and os.listdir(tmp_path) == ["m.safetensors"]


def test_safetensors_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for call in (lambda p: flambeau.save({}, p), flambeau.load):
        with pytest.raises(ImportError, match=r"pip install 'flambeau\[safetensors\]'"):
            call(tmp_path / "m.safetensors")


class LinesFormat:
    """A plugin for ``.lines``: one number a line."""

    @hookimpl
    def flambeau_file_formats(self) -> Any:
        return {".lines": (self.save, self.load)}

    @staticmethod
    def save(obj: Any, path: str) -> None:
        with open(path, "w") as stream:
            for value in obj.tolist():
                stream.write(f"{value!r}\n")

    @staticmethod
    def load(path: str) -> Any:
        with open(path) as stream:
            return {"values": [flambeau.tensor([float(line) for line in stream])]}


def test_formats_of_plugins(tmp_path: Path) -> None:
    path = tmp_path / "values.LINES"
    plugins.register(LinesFormat(), "lines")
    try:
        flambeau.save(flambeau.tensor([1.5, 2.0]), path)
        assert path.read_text() == "1.5\n2.0\n"
        np.testing.assert_array_equal(flambeau.load(path)["values"][0].numpy(), [1.5, 2.0])
        assert flambeau.load(path, map_location="meta")["values"][0].device.type == "meta"
        with pytest.raises(AttributeError):
            flambeau.save(3, path)
        assert path.read_text() == "1.5\n2.0\n" and os.listdir(tmp_path) == ["values.LINES"]
    finally:
        plugins.unregister("lines")
    flambeau.save([1], path)  # nobody knows the extension any more: a checkpoint like any other
    assert flambeau.load(path) == [1]
