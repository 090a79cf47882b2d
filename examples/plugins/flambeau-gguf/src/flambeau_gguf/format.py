"""GGUF, the format of llama.cpp and its kin: named tensors, many of them quantized, and metadata.

The package ``gguf``, from llama.cpp's own repository, knows the layout and the quantizations; here they become tensors.
Quantized tensors are loaded as float32, for nothing in Flambeau computes with blocks of 4 or 8 bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import flambeau
import numpy
from flambeau import Tensor
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize

#: The longest name that ggml keeps, in bytes, and the most dimensions.
LONGEST_NAME = 63
MOST_DIMENSIONS = 4

#: The types that are arrays of numbers, by dtype.
PLAIN = {
    flambeau.float16: GGMLQuantizationType.F16,
    flambeau.bfloat16: GGMLQuantizationType.BF16,
    flambeau.float32: GGMLQuantizationType.F32,
    flambeau.float64: GGMLQuantizationType.F64,
    flambeau.int8: GGMLQuantizationType.I8,
    flambeau.int16: GGMLQuantizationType.I16,
    flambeau.int32: GGMLQuantizationType.I32,
    flambeau.int64: GGMLQuantizationType.I64,
}

#: What :func:`save` can quantize to.
QUANTIZATIONS = ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
_BLOCK = 32  # elements along the last dimension that are quantized together, of those that begin with Q


# -- reading -----------------------------------------------------------------------------------------------------------


@contextmanager
def _reading(path: str) -> Iterator[GGUFReader]:
    """A reader of a file, and what it says of a damaged one as a RuntimeError that names the file."""
    try:
        yield GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError, TypeError) as error:
        raise RuntimeError(f"load: {path!r} is damaged or no .gguf file: {error}") from error


def load(path: str) -> dict[str, Tensor]:
    """Read the tensors of a file, by name, on the CPU. Nothing in it is run.

    Returns:
        Plain types in their dtype, quantized ones as float32. Shapes are in Flambeau's order; the file has them in
        reverse.

    Raises:
        RuntimeError: when the file is damaged or not of this format, or a tensor is of a type that ``gguf`` cannot
            dequantize.
    """
    with _reading(path) as reader:
        return {entry.name: _tensor(path, entry) for entry in reader.tensors}


def _tensor(path: str, entry: Any) -> Tensor:
    kind = entry.tensor_type
    shape = tuple([int(n) for n in reversed(entry.shape)])
    if entry.data.nbytes != entry.n_bytes:
        raise ValueError(f"{entry.name!r} takes {entry.n_bytes} bytes, and the file has {entry.data.nbytes} of them")
    data = numpy.array(entry.data)  # the file is mapped; this reads it
    if kind is GGMLQuantizationType.BF16:
        return flambeau.from_numpy(data.reshape(-1).view(numpy.int16)).view(flambeau.bfloat16).reshape(shape)
    if kind in PLAIN.values():
        return flambeau.from_numpy(data.reshape(shape))
    try:
        return flambeau.from_numpy(dequantize(data, kind).reshape(shape))
    except NotImplementedError:
        raise RuntimeError(
            f"load: {path!r}: {entry.name!r} is of the type {kind.name}, which gguf cannot dequantize"
        ) from None


def metadata(path: str) -> dict[str, Any]:
    """What a file says of itself: ``{"general.architecture": "llama", ...}``, numbers, text and lists of them.

    Raises:
        RuntimeError: when the file is damaged or not of this format.
    """
    with _reading(path) as reader:
        return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}


# -- writing -----------------------------------------------------------------------------------------------------------


def save(
    tensors: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    *,
    architecture: str = "flambeau",
    metadata: Mapping[str, Any] | None = None,
    quantization: str | None = None,
) -> None:
    """Write tensors to a file. ``flambeau.save`` calls it with the first two arguments.

    Args:
        tensors: by name, as a state dict has them.
        architecture: what ``general.architecture`` says.
        metadata: more to write: bools, ints, floats, text, and lists of one of these.
        quantization: for floating-point tensors of two dimensions and more, one of :data:`QUANTIZATIONS`; with those
            that begin with Q, tensors whose last dimension is no multiple of 32 are written as they are.

    Raises:
        TypeError: for what the format cannot hold: anything but tensors by name, and other dtypes than it has.
        ValueError: for names of more than 63 bytes and tensors of more than four dimensions, which ggml does not read.
    """
    if not isinstance(tensors, Mapping):
        raise TypeError(f"save: .gguf holds a mapping from names to tensors, not a {type(tensors).__name__}")
    if quantization is not None and quantization not in QUANTIZATIONS:
        raise ValueError(f"save: quantization has to be one of {', '.join(QUANTIZATIONS)}, not {quantization!r}")
    writer = GGUFWriter(path, architecture)
    try:
        for name, value in (metadata or {}).items():
            _add_field(writer, name, value)
        for name, tensor in tensors.items():
            _check(name, tensor)
            _add_tensor(writer, name, tensor.detach().cpu(), quantization)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _check(name: Any, tensor: Any) -> None:
    if not isinstance(name, str) or not isinstance(tensor, Tensor):
        raise TypeError(f"save: .gguf holds tensors by name, not {name!r}: {type(tensor).__name__}")
    if tensor.dtype not in PLAIN:
        held = ", ".join(str(kind).removeprefix("flambeau.") for kind in PLAIN)
        raise TypeError(f"save: {name!r} is of {tensor.dtype}, and .gguf holds {held}")
    if tensor.dtype is flambeau.bfloat16 and not tensor.ndim:
        raise TypeError(f"save: {name!r} is a bfloat16 without dimensions, which gguf does not read: make it float32")
    if len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"save: the name {name!r} has {len(name.encode())} bytes, and ggml reads {LONGEST_NAME}")
    if tensor.ndim > MOST_DIMENSIONS:
        raise ValueError(f"save: {name!r} has {tensor.ndim} dimensions, and ggml reads {MOST_DIMENSIONS}")


def _add_tensor(writer: GGUFWriter, name: str, tensor: Tensor, quantization: str | None) -> None:
    wanted = PLAIN[tensor.dtype]
    if quantization is not None and tensor.is_floating_point() and tensor.ndim > 1:
        blocked = quantization.startswith("Q")
        if tensor.numel() and not (blocked and tensor.shape[-1] % _BLOCK):
            wanted = GGMLQuantizationType[quantization]
    tensor = tensor.contiguous()
    if wanted is not PLAIN[tensor.dtype]:
        writer.add_tensor(name, quantize(tensor.float().numpy(), wanted), raw_dtype=wanted)
    elif tensor.dtype is flambeau.bfloat16:
        writer.add_tensor(name, tensor.view(flambeau.int16).numpy(), raw_dtype=wanted)
    else:
        writer.add_tensor(name, tensor.numpy())


def _add_field(writer: GGUFWriter, name: str, value: Any) -> None:
    adders = {bool: writer.add_bool, int: writer.add_int64, float: writer.add_float64, str: writer.add_string}
    kind = type(value)
    if kind in adders:
        adders[kind](name, value)
    elif kind in (list, tuple) and value and len({type(item) for item in value}) == 1 and type(value[0]) in adders:
        writer.add_array(name, list(value))
    else:
        raise TypeError(f"save: the metadata {name!r} has to be a bool, int, float, str, or a list of one of these")
