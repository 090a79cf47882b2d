"""The zip archive of a checkpoint: records stored uncompressed, each beginning at a multiple of 64 bytes.

Byte for byte what PyTorch's ``PyTorchFileWriter`` lays out (sizes in data descriptors, padding in an extra field
``FB``, ZIP64 directory), so that its readers, and what they calculate about offsets, work.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy

from flambeau.serialization._options import options

ALIGNMENT = 64
MAGIC = b"PK\x03\x04"
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_DESCRIPTOR, _DESCRIPTOR64 = struct.Struct("<4sIII"), struct.Struct("<4sIQQ")
_UTF8, _HAS_DESCRIPTOR = 0x0800, 0x0008
_MAX32 = 0xFFFFFFFF


class ArchiveWriter:
    """Writes records one after another to a stream that need not be seekable.

    Args:
        stream: an object with ``write``.
        folder: the name that precedes the records' names.
    """

    def __init__(self, stream: Any, folder: str) -> None:
        self._stream = stream
        self._folder = folder
        self._position = 0
        self._directory: list[bytes] = []
        self._digest = hashlib.sha256()

    def write(self, name: str, data: Any) -> None:
        """Add the record ``name`` with ``data``, a contiguous bytes-like object."""
        content = memoryview(data).cast("B") if len(data) else memoryview(b"")
        size, start = len(content), self._position
        crc = zlib.crc32(content) if options.crc32 else 0
        raw_name = f"{self._folder}/{name}".encode()
        flags = _UTF8 | (_HAS_DESCRIPTOR if size else 0)
        long = [value for value in (size, size) if size >= _MAX32] + [start] * (start >= _MAX32)
        zip64 = struct.pack(f"<HH{len(long)}Q", 1, 8 * len(long), *long) if long else b""
        unpadded = start + _LOCAL.size + len(raw_name) + len(zip64) + 4
        padding = -unpadded % ALIGNMENT
        extra = zip64 + b"FB" + struct.pack("<H", padding) + b"Z" * padding
        self._put(_LOCAL.pack(MAGIC, 0, flags, 0, 0, 0, 0, 0, 0, len(raw_name), len(extra)) + raw_name + extra)
        self._put(content)
        if size:
            self._put((_DESCRIPTOR64 if long else _DESCRIPTOR).pack(b"PK\x07\x08", crc, size, size))
        self._directory.append(
            _CENTRAL.pack(
                b"PK\x01\x02", 0, 0, flags, 0, 0, 0, crc, min(size, _MAX32), min(size, _MAX32), len(raw_name),
                len(zip64), 0, 0, 0, 0, min(start, _MAX32),
            )
            + raw_name
            + zip64
        )  # fmt: skip
        self._digest.update(self._directory[-1])

    def close(self) -> None:
        """Write the last records and the directory. The archive is of no use before."""
        self.write("version", b"3\n")
        digest = self._digest.digest()
        # PyTorch logs this number; ours depends on the contents only, so that equal objects make equal files.
        self.write(".data/serialization_id", b"%020d%020d" % struct.unpack("<QQ", digest[:16]))
        start, count = self._position, len(self._directory)
        for entry in self._directory:
            self._put(entry)
        end = self._position
        size = end - start
        self._put(struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 0x031E, 45, 0, 0, count, count, size, start))
        self._put(struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1))
        short = min(count, 0xFFFF)
        self._put(
            struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, short, short, min(size, _MAX32), min(start, _MAX32), 0)
        )

    def _put(self, data: Any) -> None:
        rest = memoryview(data)
        self._position += len(rest)
        while rest:
            written = self._stream.write(rest)
            # Unbuffered files may write a part; other objects may return nothing.
            rest = rest[len(rest) if written is None else written :]


@dataclass(frozen=True)
class Record:
    """Where the content of a record is, and its checksum."""

    offset: int
    size: int
    crc: int


class ArchiveReader:
    """Reads an archive, believing nothing that it says of itself without having compared it.

    Args:
        stream: a seekable binary stream.
        label: how error messages name the file.

    Attributes:
        records: the records by name, without the folder.

    Raises:
        RuntimeError: when the archive is cut off, damaged, or no checkpoint.
    """

    def __init__(self, stream: Any, label: str) -> None:
        self._stream = stream
        self._label = label
        try:
            archive = zipfile.ZipFile(stream)
            entries = archive.infolist()
            directory = archive.start_dir
        except (zipfile.BadZipFile, struct.error, ValueError, OverflowError, NotImplementedError, OSError) as error:
            what = f"cannot read the zip directory at the end ({error}); the file is cut off or damaged"
            raise self._error(what) from None
        if any(entry.filename.endswith("/constants.pkl") for entry in entries):
            raise self._error(
                "a TorchScript archive holds a program, not a checkpoint; in PyTorch, save the state dict: "
                "torch.save(torch.jit.load(path).state_dict(), new_path)"
            )
        found: dict[str, Record] = {}
        previous_end = 0
        for entry in sorted(entries, key=lambda entry: entry.header_offset):
            if entry.header_offset < previous_end or entry.filename in found:
                raise self._error(f"the record {entry.filename!r} overlaps another; the file is damaged")
            record, end = self._check(entry)
            if end > directory:
                raise self._error(f"the record {entry.filename!r} overlaps the zip directory; the file is damaged")
            previous_end = end
            found[entry.filename] = record
        folders = [name.partition("/")[0] for name in found if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(folders) != 1:
            raise self._error("the zip archive has no record 'data.pkl'; it is not a checkpoint made by save")
        # As PyTorch writes them when it is told not to compute checksums.
        self._without_checksums = all(record.crc == 0 for record in found.values())
        self.records = {
            name[len(folders[0]) + 1 :]: r for name, r in found.items() if name.startswith(f"{folders[0]}/")
        }

    def _error(self, what: str) -> RuntimeError:
        return RuntimeError(f"load: {self._label}: {what}")

    def _check(self, entry: zipfile.ZipInfo) -> tuple[Record, int]:
        """Compare a directory entry with what stands before and after the record's content."""
        name, size = entry.filename, entry.file_size
        damaged = self._error(f"the zip headers of the record {name!r} contradict each other; the file is damaged")
        flags = entry.flag_bits
        if flags & ~(_UTF8 | _HAS_DESCRIPTOR) or entry.comment or name != entry.orig_filename:
            raise damaged
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != size:
            raise self._error(
                f"the record {name!r} is compressed; records of a checkpoint are stored as they are "
                "(repack the archive without compression: zip -0)"
            )
        header = self._read(entry.header_offset, _LOCAL.size)
        if len(header) < _LOCAL.size:
            raise damaged
        magic, _, local_flags, method, _, _, crc, packed, unpacked, name_size, extra_size = _LOCAL.unpack(header)
        start = entry.header_offset + _LOCAL.size
        encoding = "utf-8" if flags & _UTF8 else "cp437"
        if magic != MAGIC or local_flags != flags or method or self._read(start, name_size) != name.encode(encoding):
            raise damaged
        start += name_size + extra_size
        end = start + size
        if flags & _HAS_DESCRIPTOR:
            descriptor = self._read(end, _DESCRIPTOR64.size)
            for layout, shown in ((_DESCRIPTOR, size & _MAX32), (_DESCRIPTOR64, size)):
                if descriptor[: layout.size] == layout.pack(b"PK\x07\x08", entry.CRC, shown, shown):
                    return Record(start, size, entry.CRC), end + layout.size
            raise damaged
        if crc != entry.CRC or packed not in (size, _MAX32) or unpacked not in (size, _MAX32):
            raise damaged
        return Record(start, size, crc), end

    def _read(self, offset: int, size: int) -> bytes:
        self._stream.seek(offset)
        content: bytes = self._stream.read(size)
        return content

    def record(self, name: str) -> Record:
        """The record ``name``; a RuntimeError when there is none."""
        if name not in self.records:
            raise self._error(f"the record {name!r} is missing; the file is damaged")
        return self.records[name]

    def read(self, name: str) -> Any:
        """The content of a record, a writable ``numpy.ndarray`` of ``uint8``, compared with its checksum."""
        record = self.record(name)
        content: Any = numpy.empty(record.size, numpy.uint8)
        self._stream.seek(record.offset)
        rest = memoryview(content)
        while rest:
            count = _read_into(self._stream, rest)
            if not count:
                raise self._error(f"the record {name!r} is cut off")
            rest = rest[count:]
        if not self._without_checksums and zlib.crc32(content) != record.crc:
            raise self._error(f"the record {name!r} does not match its checksum; the file is damaged")
        return content


def _read_into(stream: Any, buffer: memoryview) -> int:
    if hasattr(stream, "readinto"):
        return stream.readinto(buffer) or 0
    content = stream.read(min(len(buffer), 1 << 24))
    buffer[: len(content)] = content
    return len(content)
