"""What is saved is loaded, by others too, and what is damaged is refused."""

from __future__ import annotations

import random
from pathlib import Path

import flambeau
import numpy
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import quantize

from flambeau_gguf.format import QUANTIZATIONS, metadata, save

DTYPES = ["float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64"]


@pytest.mark.parametrize("name", DTYPES)
def test_tensors_of_every_dtype_come_back(name: str, tmp_path: Path) -> None:
    kind = getattr(flambeau, name)
    saved = {
        "layer.weight": flambeau.arange(24).reshape(2, 3, 4).to(kind),
        "turned": flambeau.arange(6).reshape(2, 3).t().to(kind),
        "one": flambeau.tensor([7]).to(kind),
    }
    if kind is not flambeau.bfloat16:  # see the refusals
        saved["scalar"] = flambeau.tensor(7).to(kind)
    flambeau.save(saved, tmp_path / "tensors.gguf")
    loaded = flambeau.load(tmp_path / "tensors.gguf")
    assert list(loaded) == list(saved)
    for key, tensor in saved.items():
        assert loaded[key].dtype is kind
        assert loaded[key].shape == tensor.shape
        assert loaded[key].tolist() == tensor.tolist()


def test_weights_of_a_model_come_back(tmp_path: Path) -> None:
    first, second = (flambeau.nn.TransformerEncoderLayer(8, 2, 16) for _ in range(2))
    flambeau.save(first.state_dict(), tmp_path / "layer.gguf")
    second.load_state_dict(flambeau.load(tmp_path / "layer.gguf"))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert one.tolist() == other.tolist()
    assert flambeau.load(tmp_path / "layer.gguf", map_location="meta")["linear1.weight"].is_meta


def test_llamas_reader_reads_what_is_written(tmp_path: Path) -> None:
    weight = flambeau.randn(4, 32)
    path = tmp_path / "model.gguf"
    said = {"general.name": "small", "heads": 4, "eps": 1e-5, "tied": True, "tokens": ["a", "b"], "scales": [0.5, 2.0]}
    save({"weight": weight}, path, architecture="test", metadata=said)
    reader = GGUFReader(path)
    (entry,) = reader.tensors
    assert (entry.name, entry.shape.tolist()) == ("weight", [32, 4])
    assert numpy.array_equal(entry.data, weight.numpy())
    found = metadata(str(path))
    assert found.pop("scales") == pytest.approx(said.pop("scales"))
    assert found == {"general.architecture": "test", **said}


@pytest.mark.parametrize("kind", ["Q4_0", "Q5_1", "Q8_0", "Q4_K", "Q6_K", "TQ1_0", "BF16"])
def test_what_llama_quantized_is_loaded(kind: str, tmp_path: Path) -> None:
    """The bytes are llama.cpp's own: those that its Python package writes, or blocks of zeros."""
    wanted = GGMLQuantizationType[kind]
    values = numpy.random.default_rng(0).uniform(-1, 1, (3, 256)).astype(numpy.float32)
    try:
        data, close = quantize(values, wanted), {"Q4_0": 0.13, "Q5_1": 0.05}.get(kind, 0.01)
    except NotImplementedError:  # the package reads it only
        from gguf.quants import quant_shape_to_byte_shape

        values, close = numpy.zeros_like(values), 0.0
        data = numpy.zeros(quant_shape_to_byte_shape(values.shape, wanted), numpy.uint8)
    if kind == "TQ1_0":
        values, close = values * 0, 1.0
    writer = GGUFWriter(tmp_path / "llama.gguf", "llama")
    writer.add_tensor("weight", data, raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    loaded = flambeau.load(tmp_path / "llama.gguf")["weight"]
    assert loaded.dtype is (flambeau.bfloat16 if kind == "BF16" else flambeau.float32)
    assert loaded.shape == (3, 256)
    assert numpy.abs(loaded.float().numpy() - values).max() <= close


@pytest.mark.parametrize("kind", QUANTIZATIONS)
def test_weights_are_quantized_and_the_rest_is_kept(kind: str, tmp_path: Path) -> None:
    saved = {"weight": flambeau.rand(8, 64) - 0.5, "odd": flambeau.rand(8, 3), "bias": flambeau.rand(64)}
    save(saved, tmp_path / "small.gguf", quantization=kind)
    save(saved, tmp_path / "large.gguf")
    assert (tmp_path / "small.gguf").stat().st_size < (tmp_path / "large.gguf").stat().st_size
    loaded = flambeau.load(tmp_path / "small.gguf")
    assert loaded["bias"].tolist() == saved["bias"].tolist()
    assert (loaded["odd"].tolist() == saved["odd"].tolist()) == kind.startswith("Q")
    step = {"Q4": 1 / 15, "Q5": 1 / 31, "Q8": 1 / 254, "F1": 2**-11, "BF": 2**-8}[kind[:2]]
    assert (loaded["weight"].float() - saved["weight"]).abs().max() <= step * 1.1


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (flambeau.ones(2), TypeError, "a mapping from names to tensors, not a Tensor"),
        ({"a": 1}, TypeError, "holds tensors by name, not 'a': int"),
        ({1: flambeau.ones(2)}, TypeError, "holds tensors by name, not 1: Tensor"),
        ({"a": flambeau.ones(2).bool()}, TypeError, "'a' is of flambeau.bool, and .gguf holds float16, bfloat16"),
        ({"a": flambeau.tensor(1.0).bfloat16()}, TypeError, "'a' is a bfloat16 without dimensions"),
        ({"a": flambeau.ones(1, 1, 1, 1, 1)}, ValueError, "'a' has 5 dimensions, and ggml reads 4"),
        ({"ä" * 32: flambeau.ones(1)}, ValueError, "has 64 bytes, and ggml reads 63"),
    ],
)
def test_what_it_cannot_hold_is_refused_and_nothing_written(
    value: object, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        flambeau.save(value, tmp_path / "wrong.gguf")
    assert list(tmp_path.iterdir()) == []


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"quantization has to be one of F16, BF16, .*, not 'Q9'"):
        save({}, tmp_path / "wrong.gguf", quantization="Q9")
    with pytest.raises(TypeError, match="the metadata 'a' has to be a bool"):
        save({}, tmp_path / "wrong.gguf", metadata={"a": [1, "b"]})


def test_an_old_file_is_kept_when_saving_fails(tmp_path: Path) -> None:
    flambeau.save({"a": flambeau.ones(2)}, tmp_path / "kept.gguf")
    with pytest.raises(TypeError):
        flambeau.save({"a": flambeau.zeros(2), "b": 1}, tmp_path / "kept.gguf")
    assert flambeau.load(tmp_path / "kept.gguf")["a"].tolist() == [1.0, 1.0]
    assert [path.name for path in tmp_path.iterdir()] == ["kept.gguf"]


def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "whole.gguf"
    save({"a": flambeau.randn(3, 5), "b": flambeau.randn(40)}, path, metadata={"name": "x", "tokens": ["a", "b"]})
    whole = path.read_bytes()
    cut = tmp_path / "cut.gguf"
    for keep in range(len(whole) - 40):  # the last bytes may be padding
        cut.write_bytes(whole[:keep])
        with pytest.raises(RuntimeError, match=r"cut\.gguf' is damaged or no \.gguf file"):
            flambeau.load(cut)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_flipped_bytes_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "whole.gguf"
    save({"a": flambeau.randn(3, 5), "b": flambeau.randn(40)}, path, metadata={"name": "x", "tokens": ["a", "b"]})
    whole = path.read_bytes()
    numbers = random.Random(0)
    refused = 0
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(numbers.randint(1, 4)):
            damaged[numbers.randrange(300)] = numbers.randrange(256)
        path.write_bytes(damaged)
        try:
            loaded = flambeau.load(path)
            assert all(isinstance(tensor, flambeau.Tensor) for tensor in loaded.values())
        except RuntimeError as error:
            assert "is damaged or no .gguf file" in str(error) or "cannot dequantize" in str(error)
            refused += 1
    assert refused > 250


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        flambeau.load(tmp_path / "absent.gguf")
