"""Checkpoints go both ways between PyTorch and Flambeau."""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64",
    "complex128",
]  # fmt: skip


def bits(t: Any) -> np.ndarray:
    """The bytes of a tensor of either library, in the order of the indices."""
    if isinstance(t, torch.Tensor):
        return t.detach().resolve_conj().contiguous().reshape(-1).view(torch.uint8).numpy()
    return np.ascontiguousarray(t.detach().numpy()).reshape(-1).view(np.uint8)


def assert_same(ours: Any, theirs: Any) -> None:
    """The same object, but for the library that its tensors, dtypes and sizes belong to."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, flambeau.Tensor)
        assert isinstance(ours, flambeau.nn.Parameter) == isinstance(theirs, torch.nn.Parameter)
        assert str(ours.dtype).removeprefix("flambeau.") == str(theirs.dtype).removeprefix("torch.")
        assert tuple(ours.shape) == tuple(theirs.shape)
        assert ours.requires_grad == theirs.requires_grad
        np.testing.assert_array_equal(bits(ours), bits(theirs))
    elif isinstance(theirs, torch.Size):
        assert isinstance(ours, flambeau.Size) and tuple(ours) == tuple(theirs)
    elif isinstance(theirs, (torch.dtype, torch.device)):
        assert str(ours).replace("flambeau", "torch") == str(theirs)
    elif isinstance(theirs, np.ndarray):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    elif isinstance(theirs, dict):
        assert type(ours) is type(theirs) and list(ours) == list(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
        assert_same(getattr(ours, "__dict__", None), getattr(theirs, "__dict__", None))
    elif isinstance(theirs, (list, tuple)):
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert_same(mine, other)
    else:
        assert type(ours) is type(theirs) and ours == theirs


def from_torch(obj: Any, **options: Any) -> Any:
    stream = io.BytesIO()
    torch.save(obj, stream, **options)
    stream.seek(0)
    return flambeau.load(stream)


def to_torch(obj: Any) -> Any:
    stream = io.BytesIO()
    flambeau.save(obj, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=True)


def plain_objects() -> Any:
    state = collections.OrderedDict(a=1, b=[2.5, (None, True, {"deep": [1j, ()]})])
    state._metadata = collections.OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    return {
        "state": state,
        "numbers": [0, -1, 255, 256, 65536, -(2**31), 2**31, 2**70, -(2**300), 0.1, float("inf"), 1 - 2j],
        "text": ["", "é\n\ud800", "x" * 300],
        "bytes": [b"abc\xff", bytearray(b"\x00xyz")],
        "sets": {1, "two", (3, 4)},
        "counter": collections.Counter("abracadabra"),
        7: [],
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_containers_from_torch(protocol: int, legacy: bool) -> None:
    obj = plain_objects()
    loaded = from_torch(obj, pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    assert_same(loaded, obj)


def test_containers_to_torch() -> None:
    obj = plain_objects()
    loaded = to_torch(obj)
    assert_same(loaded, obj)
    assert loaded["state"]._metadata == obj["state"]._metadata


def many_tensors(library: Any) -> dict[str, Any]:
    """The same tensors in either library."""
    rng = np.random.default_rng(0)
    made = {}
    for name in DTYPES:
        kind = getattr(library, name)
        for shape in ((), (0,), (1,), (3, 4), (2, 0, 3), (2, 3, 4)):
            values = rng.integers(0, 2 if name == "bool" else 100, shape)
            made[f"{name} {shape}"] = library.tensor(values.tolist(), dtype=kind).reshape(shape)
    base = library.arange(60.0).reshape(3, 4, 5)
    made["base"] = base
    made["permuted"] = base.permute(2, 0, 1)
    made["sliced"] = base[1:, ::2, 3]
    made["expanded"] = base[:1].expand(6, 4, 5)
    made["alone"] = library.arange(100.0)[10:50:3]
    made["grad"] = library.ones(2).requires_grad_()
    made["result"] = made["grad"] * 2
    made["parameter"] = library.nn.Parameter(library.ones(2, 2))
    made["frozen"] = library.nn.Parameter(library.ones(2, 2), requires_grad=False)
    made["dtype"], made["size"], made["device"] = library.float16, base.shape, library.device("cpu")
    made["gpu"] = library.device("cuda", 1)
    return made


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_from_torch(legacy: bool) -> None:
    theirs = many_tensors(torch)
    ours = from_torch(theirs, _use_new_zipfile_serialization=not legacy)
    assert_same(ours, theirs)
    assert tuple(ours["permuted"].stride()) == theirs["permuted"].stride()


def test_tensors_to_torch() -> None:
    ours = many_tensors(flambeau)
    theirs = to_torch(ours)
    assert_same(ours, theirs)
    assert tuple(ours["permuted"].stride()) == theirs["permuted"].stride()


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_from_torch_share_memory_as_before(legacy: bool) -> None:
    base = torch.zeros(6)
    ours = from_torch([base, base.view(2, 3).t(), base[2:]], _use_new_zipfile_serialization=not legacy)
    ours[0][2] = 5.0
    assert ours[1][2, 0].item() == 5.0 and ours[2][0].item() == 5.0


def test_tensors_to_torch_share_memory_as_before() -> None:
    base = flambeau.zeros(6)
    theirs = to_torch([base[2:], base.reshape(2, 3).permute(1, 0), base, base])
    theirs[2][2] = 5.0
    assert theirs[0][0] == 5.0 and theirs[1][2, 0] == 5.0
    assert theirs[2] is theirs[3]


def model() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.Linear(4 * 4 * 4, 5)
    )


def test_state_dicts_make_the_round_trip(tmp_path: Path) -> None:
    original = model()
    torch.save(original.state_dict(), tmp_path / "a.pt")
    ours = flambeau.load(tmp_path / "a.pt")
    assert_same(ours, original.state_dict())
    assert ours._metadata == original.state_dict()._metadata
    flambeau.save(ours, tmp_path / "b.pt")
    again = torch.load(tmp_path / "b.pt", weights_only=True)
    assert again._metadata == ours._metadata
    other = model()
    other.load_state_dict(again)
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(other.eval()(x), original.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_optimizer_states_make_the_round_trip(name: str) -> None:
    net = model()
    optimizer = getattr(torch.optim, name)(net.parameters(), lr=0.1, **({"momentum": 0.9} if name == "SGD" else {}))
    for _ in range(2):
        net(torch.randn(2, 3, 6, 6)).sum().backward()
        optimizer.step()
    ours = from_torch({"optimizer": optimizer.state_dict(), "epoch": 3})
    assert_same(ours["optimizer"], optimizer.state_dict())
    back = to_torch(ours)
    getattr(torch.optim, name)(model().parameters()).load_state_dict(back["optimizer"])
    assert back["epoch"] == 3


def test_the_pickle_is_pytorchs_to_the_byte(tmp_path: Path) -> None:
    state = model().state_dict()
    torch.save({"model": state, "step": 7, "shape": torch.Size([2]), "dtype": torch.int8}, tmp_path / "a.pt")
    flambeau.save(flambeau.load(tmp_path / "a.pt"), tmp_path / "b.pt")
    theirs, ours = (zipfile.ZipFile(tmp_path / name) for name in ("a.pt", "b.pt"))
    assert ours.read("b/data.pkl") == theirs.read("a/data.pkl")


def test_the_archive_is_laid_out_as_pytorchs(tmp_path: Path) -> None:
    state = {"a": torch.ones(3), "b": torch.ones(70, 70), "c": torch.empty(0), "d": torch.ones((), dtype=torch.int8)}
    (tmp_path / "x").mkdir()  # the name of the file is in the archive
    torch.save(state, tmp_path / "m.pt")
    flambeau.save(flambeau.load(tmp_path / "m.pt"), tmp_path / "x" / "m.pt")
    theirs, ours = (zipfile.ZipFile(path) for path in (tmp_path / "m.pt", tmp_path / "x" / "m.pt"))

    def layout(archive: zipfile.ZipFile) -> list[Any]:
        return [(i.filename, i.file_size, i.header_offset, i.flag_bits, i.extra) for i in archive.infolist()]

    assert layout(ours) == layout(theirs)
    assert ours.testzip() is None
    skip = slice(None, ours.getinfo("m/.data/serialization_id").header_offset)
    assert (tmp_path / "x" / "m.pt").read_bytes()[skip] == (tmp_path / "m.pt").read_bytes()[skip]


def test_pytorch_maps_our_files(tmp_path: Path) -> None:
    from torch.utils.serialization import config

    ours = {str(n): flambeau.arange(float(n)) for n in (5, 1, 0, 1000, 17)}
    flambeau.save(ours, tmp_path / "m.pt")
    before = config.load.calculate_storage_offsets
    try:
        for config.load.calculate_storage_offsets in (False, True):
            assert_same(ours, torch.load(tmp_path / "m.pt", mmap=True, weights_only=True))
    finally:
        config.load.calculate_storage_offsets = before


def test_our_mmap_of_pytorchs_files(tmp_path: Path) -> None:
    theirs = many_tensors(torch)
    torch.save(theirs, tmp_path / "m.pt")
    assert_same(flambeau.load(tmp_path / "m.pt", mmap=True), theirs)


def test_conjugated_and_negated_views() -> None:
    z = torch.tensor([1 + 2j, 3 - 4j])
    ours = from_torch([z.conj(), z.clone().conj().imag])
    np.testing.assert_array_equal(ours[0].numpy(), z.conj().resolve_conj().numpy())
    np.testing.assert_array_equal(ours[1].numpy(), [-2.0, 4.0])


def test_meta_tensors() -> None:
    ours = from_torch(torch.empty(2, 3, dtype=torch.float64, device="meta"))
    assert ours.device.type == "meta" and tuple(ours.shape) == (2, 3) and ours.dtype is flambeau.float64
    theirs = to_torch(flambeau.empty(2, 3, dtype=flambeau.float64, device="meta"))
    assert theirs.is_meta and theirs.shape == (2, 3) and theirs.dtype is torch.float64


def test_numpy_values_of_checkpoints() -> None:
    obj = {
        "scalar": np.float64(0.5),
        "int": np.int32(7),
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "names": np.array(["ab", "c"]),
        "complex": np.array([1 + 2j]),
        "bool": np.array([True, False]),
    }
    other_order = from_torch(np.arange(3, dtype=">f4"))
    np.testing.assert_array_equal(other_order, [0.0, 1.0, 2.0])
    for legacy in (False, True):
        assert_same(from_torch(obj, _use_new_zipfile_serialization=not legacy), obj)


def test_attributes_of_parameters() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.note = "kept"
    assert from_torch(parameter).note == "kept"
    ours = flambeau.nn.Parameter(flambeau.ones(2))
    ours.note = "kept"
    assert to_torch(ours).note == "kept"


def test_attributes_of_plain_tensors_are_left_out_with_a_warning() -> None:
    t = torch.ones(2)
    t.note = "lost"
    with pytest.warns(UserWarning, match="a tensor has the attributes note"):
        np.testing.assert_array_equal(from_torch(t).numpy(), [1, 1])


@pytest.mark.parametrize("name", ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e5m2fnuz"])
def test_dtypes_without_a_storage_class_go_both_ways(name: str) -> None:
    theirs = torch.tensor([0, 1, 3]).to(getattr(torch, name))
    ours = from_torch({"x": theirs})["x"]
    assert ours.dtype is getattr(flambeau, name)
    np.testing.assert_array_equal(ours.view(flambeau.uint8).numpy(), theirs.view(torch.uint8).numpy())
    back = to_torch({"x": ours})["x"]
    assert back.dtype is theirs.dtype
    assert torch.equal(back.view(torch.uint8), theirs.view(torch.uint8))


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda: torch.ones(2).to(torch.float8_e8m0fnu), "a tensor of the type torch.float8_e8m0fnu"),
        (lambda: torch.ones(2, 2).to_sparse(), "a sparse tensor"),
        (
            lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
            "a storage of the type torch.QInt8Storage",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_we_do_not_have_is_named(make: Any, seen: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match=f"the checkpoint holds {seen}, which Flambeau does not have"):
        from_torch({"x": make()})


@pytest.mark.filterwarnings("ignore")
def test_torchscript_archives_are_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "m.pt")
    with pytest.raises(RuntimeError, match="a TorchScript archive holds a program, not a checkpoint"):
        flambeau.load(tmp_path / "m.pt")


def test_whole_modules_need_the_word(tmp_path: Path) -> None:
    torch.save(model(), tmp_path / "m.pt")
    with pytest.raises(
        pickle.UnpicklingError, match=r"Unsupported global: 'torch\.nn\.modules\.container\.Sequential'"
    ):
        flambeau.load(tmp_path / "m.pt")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_whole_modules_of_pytorch_become_ours(tmp_path: Path, legacy: bool) -> None:
    theirs = model().eval()
    torch.save(theirs, tmp_path / "m.pt", _use_new_zipfile_serialization=not legacy)
    ours = flambeau.load(tmp_path / "m.pt", weights_only=False)
    assert type(ours).__module__.startswith("flambeau.nn")
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)
    with torch.no_grad(), flambeau.no_grad():
        np.testing.assert_allclose(
            ours(flambeau.from_numpy(x)).numpy(), theirs(torch.from_numpy(x)).numpy(), rtol=1e-5, atol=1e-6
        )


def test_legacy_files_cut_off_anywhere_are_errors() -> None:
    stream = io.BytesIO()
    torch.save({"a": torch.arange(5.0), "b": [1, torch.ones(2)]}, stream, _use_new_zipfile_serialization=False)
    whole = stream.getvalue()
    assert_same(flambeau.load(io.BytesIO(whole)), torch.load(io.BytesIO(whole), weights_only=True))
    for length in range(len(whole)):
        with pytest.raises((RuntimeError, pickle.UnpicklingError), match="load: the given file object: "):
            flambeau.load(io.BytesIO(whole[:length]))


def test_safetensors_go_both_ways(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    ours = {
        name: flambeau.tensor([[1, 0], [3, 4]], dtype=getattr(flambeau, name))
        for name in DTYPES
        if not name.startswith("complex")
    }
    flambeau.save(ours, tmp_path / "m.safetensors")
    theirs = safetensors.load_file(tmp_path / "m.safetensors")
    assert_same({name: ours[name] for name in sorted(ours)}, {name: theirs[name] for name in sorted(theirs)})
    safetensors.save_file(theirs, tmp_path / "n.safetensors")
    again = flambeau.load(tmp_path / "n.safetensors")
    assert_same({name: again[name] for name in sorted(again)}, {name: theirs[name] for name in sorted(theirs)})


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("checksums", [True, False])
def test_files_without_checksums_go_both_ways(checksums: bool) -> None:
    for one, other, values in ((torch, flambeau, torch.arange(5.0)), (flambeau, torch, flambeau.arange(5.0))):
        stream = io.BytesIO()
        one.serialization.set_crc32_options(checksums)
        try:
            one.save({"x": values}, stream)
        finally:
            one.serialization.set_crc32_options(True)
        stream.seek(0)
        assert other.load(stream, weights_only=True)["x"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", flambeau.DTYPES)
def test_every_dtype_goes_both_ways(name: str) -> None:
    """Whole, as a view that is not contiguous, empty, 0-dim, and twice on one storage."""
    theirs = torch.tensor([[0, 1, 2], [3, 4, 5]]).to(getattr(torch, name))
    samples = {
        "whole": theirs,
        "view": theirs.t()[1:],
        "empty": theirs[:0],
        "scalar": theirs[0, 1],
        "dtype": theirs.dtype,
    }
    stream = io.BytesIO()
    torch.save(samples, stream)
    stream.seek(0)
    ours = flambeau.load(stream)
    again = io.BytesIO()
    flambeau.save(ours, again)
    again.seek(0)
    back = torch.load(again, weights_only=True)
    for key, value in samples.items():
        if key == "dtype":
            assert back[key] is value
            assert ours[key] is getattr(flambeau, name)
            continue
        assert (back[key].dtype, back[key].shape, back[key].stride()) == (value.dtype, value.shape, value.stride())
        assert back[key].double().tolist() == value.double().tolist() if not value.is_complex() else True
        assert ours[key].dtype is getattr(flambeau, name)
    assert back["whole"].untyped_storage().data_ptr() == back["view"].untyped_storage().data_ptr()


def test_every_optimizer_s_state_goes_both_ways() -> None:
    for name in flambeau.optim.__all__:
        kind = getattr(flambeau.optim, name)
        if not isinstance(kind, type) or name == "Optimizer":
            continue
        states = []
        for library in (torch, flambeau):
            parameter = library.nn.Parameter(library.arange(6.0).reshape(2, 3))
            optimizer = getattr(library.optim, name)([parameter], lr=0.1)

            def closure(parameter: Any = parameter) -> Any:
                parameter.grad = None
                loss = (parameter**2).sum()
                loss.backward()
                return loss

            for _ in range(3):
                optimizer.step(closure)
            stream = io.BytesIO()
            library.save({"optimizer": optimizer.state_dict()}, stream)
            stream.seek(0)
            states.append((optimizer, stream))
        (their, their_file), (our, our_file) = states
        our.load_state_dict(flambeau.load(their_file)["optimizer"])
        their.load_state_dict(torch.load(our_file, weights_only=True)["optimizer"])
        assert our.state_dict()["param_groups"] == their.state_dict()["param_groups"], name
