"""The IDX file format, in which MNIST and its relatives are published (http://yann.lecun.com/exdb/mnist/).

A file is: two zero bytes, a byte for the type, a byte for the number of dimensions, the dimensions as big-endian
unsigned 32-bit numbers, and the values, big-endian too, the last dimension fastest.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from typing import IO, Any

import numpy as np

from flambeau.serialization._files import whole_file

Array = np.ndarray[Any, Any]
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Read an IDX file, plain or gzipped (told by its first bytes, not its name), into a new array.

    Returns:
        An array in the machine's byte order, of uint8, int8, int16, int32, float32 or float64.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is not an IDX file, is cut off, or holds more than its header says.
    """
    with open(path, "rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        try:
            if packed:
                with gzip.open(raw) as stream:
                    return _read(stream, path)  # type: ignore[arg-type]
            return _read(raw, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"read_idx: {os.fspath(path)!r} is a damaged gzip file: {error}") from None


def _read(stream: IO[bytes], path: str | os.PathLike[str]) -> Array:
    name = os.fspath(path)
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        raise ValueError(
            f"read_idx: {name!r} is not an IDX file: it begins with {magic.hex(' ') or 'nothing'}, not with 00 00, one "
            f"of {', '.join(f'{code:02x}' for code in _TYPES)} for the type, and the number of dimensions"
        )
    header = stream.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise ValueError(f"read_idx: {name!r} is cut off in its header, which should name {magic[3]} dimensions")
    shape = struct.unpack(f">{magic[3]}I", header)
    dtype = np.dtype(_TYPES[magic[2]])
    expected = math.prod(shape) * dtype.itemsize
    # One byte more than there should be, to see whether there is; in chunks, so that a header with absurd dimensions
    # costs no more memory than the file has.
    values = bytearray()
    while len(values) <= expected and (chunk := stream.read(min(_CHUNK, expected + 1 - len(values)))):
        values += chunk
    if len(values) != expected:
        seen = f"only {len(values)}" if len(values) < expected else "more"
        raise ValueError(
            f"read_idx: {name!r} should hold {expected} bytes of values, for the shape {shape} and the type "
            f"{dtype.newbyteorder('=').name}, but holds {seen}"
        )
    return np.frombuffer(values, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="))


def write_idx(path: str | os.PathLike[str], array: Any) -> None:
    """Write an array as an IDX file, whole or not at all; gzipped when ``path`` ends in ``.gz``.

    Args:
        path: where to.
        array: what ``numpy.asarray`` takes, of uint8, int8, int16, int32, float32 or float64.

    Raises:
        TypeError: for another dtype, which the format cannot hold.
        ValueError: for more than 255 dimensions or more than 2**32 - 1 elements along one.
    """
    array = np.asarray(array)
    codes = {np.dtype(code).newbyteorder("="): number for number, code in _TYPES.items()}
    code = codes.get(array.dtype.newbyteorder("="))
    if code is None:
        names = ", ".join(dtype.name for dtype in codes)
        raise TypeError(f"write_idx: an IDX file holds {names}, not {array.dtype}; convert with array.astype(...)")
    if array.ndim > 255 or max(array.shape, default=0) >= 1 << 32:
        raise ValueError(f"write_idx: an IDX file has no room for the shape {array.shape}")
    content = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content += array.astype(array.dtype.newbyteorder(">")).tobytes()
    name = os.fspath(path)
    if name.endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    with whole_file(name) as temporary, open(temporary, "wb") as file:
        file.write(content)
