"""Reading checkpoints: the zip archive, and the plain sequence of pickles that PyTorch wrote before 1.6."""

from __future__ import annotations

import importlib
import io
import mmap as memory_map
import pickle
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy

from flambeau.serialization._archive import MAGIC, ArchiveReader
from flambeau.serialization._names import TorchGlobal, storage_key
from flambeau.serialization._options import LoadEndianness, options
from flambeau.serialization._rebuild import GLOBALS, Storages, StorageType
from flambeau.serialization._unpickler import Looker, Unpickler

_DEFAULT_ORDERS = {
    None: "little",
    LoadEndianness.NATIVE: sys.byteorder,
    LoadEndianness.LITTLE: "little",
    LoadEndianness.BIG: "big",
}
_LEGACY_NUMBER, _LEGACY_VERSION = 0x1950A86A20F9469CFC6C, 1001


class Reading:
    """One call of :func:`flambeau.load` on an open file.

    Args:
        label: how error messages name the file.
        map_location: as there.
        trusting: the unpickler for ``weights_only=False``, else None.
        users: the globals that the user allowed.
        arguments: those of the unpickler.
    """

    def __init__(
        self, label: str, map_location: Any, trusting: Any, users: Mapping[str, Any], arguments: dict[str, Any]
    ) -> None:
        self.label = label
        self.map_location = map_location
        self.trusting = trusting
        self.users = users
        self.arguments = arguments

    def read(self, stream: Any, mmap: bool) -> Any:
        """The object in a seekable stream."""
        begin = stream.tell()
        head = stream.read(len(MAGIC))
        stream.seek(begin)
        if head == MAGIC:
            return self._read_archive(stream, mmap)
        if not head:
            raise RuntimeError(f"load: {self.label}: the file is empty")
        if head[:1] == pickle.PROTO:
            if mmap:
                raise RuntimeError(f"load: {self.label}: mmap=True needs the zip format; this is a file of before 1.6")
            return self._read_legacy(stream.read())
        stream.seek(begin)
        if b"ustar" in stream.read(512)[257:263]:
            raise RuntimeError(
                f"load: {self.label}: this is the tar format of PyTorch before 0.1.10. Convert it with an old PyTorch: "
                "torch.save(torch.load(path), new_path)"
            )
        raise RuntimeError(
            f"load: {self.label}: not a checkpoint; expected the zip archive that save writes (it begins with "
            f"{MAGIC!r}), got a file that begins with {head!r}"
        )

    # -- zip ---------------------------------------------------------------------------------------------------------

    def _read_archive(self, stream: Any, mmap: bool) -> Any:
        archive = ArchiveReader(stream, self.label)
        order = _DEFAULT_ORDERS[options.endianness]
        if "byteorder" in archive.records:
            order = archive.read("byteorder").tobytes().decode("ascii", "replace")
        if order not in ("little", "big"):
            raise RuntimeError(f"load: {self.label}: unknown byte order {order!r}; expected 'little' or 'big'")

        def read(key: str) -> Any:
            return archive.read(f"data/{key}")

        if mmap:
            mapped = self._mapped(stream)

            def read_mapped(key: str) -> Any:
                record = archive.record(f"data/{key}")
                found = numpy.frombuffer(mapped, numpy.uint8, record.size, record.offset)
                # Archives packed by others may not align their records to the elements.
                return found.copy() if record.offset % 16 else found

            storages = Storages(read_mapped, self.map_location, self.label, order)
        else:
            storages = Storages(read, self.map_location, self.label, order)
        return self._unpickle(archive.read("data.pkl").tobytes(), storages.persistent_load)

    def _mapped(self, stream: Any) -> memory_map.mmap:
        shared = options.mmap_flags == getattr(memory_map, "MAP_SHARED", None)
        if not shared:
            # Private to this process: what is written into the tensors never gets into the file.
            return memory_map.mmap(stream.fileno(), 0, access=memory_map.ACCESS_COPY)
        with open(stream.name, "r+b") as writable:
            return memory_map.mmap(writable.fileno(), 0)

    # -- legacy ------------------------------------------------------------------------------------------------------

    def _read_legacy(self, data: bytes) -> Any:
        """Five pickles one after another (a number, the version, the platform, the object, the storages' keys), then
        the storages: the number of elements (8 bytes), and the elements."""
        position = 0
        for expected in (_LEGACY_NUMBER, _LEGACY_VERSION, None):
            unpickler = self._machine(data, _no_storages, position)
            if self._guarded(unpickler.load) != expected and expected is not None:
                raise RuntimeError(
                    f"load: {self.label}: not a checkpoint but some other pickle; expected what save writes"
                )
            position = unpickler.position
        described: dict[str, Any] = {}

        def note(saved_id: Any) -> None:
            if type(saved_id) is tuple and len(saved_id) >= 5 and saved_id[0] in ("storage", b"storage"):
                kind = saved_id[1]
                described[storage_key(saved_id[2])] = GLOBALS.get(".".join(kind)) if type(kind) is TorchGlobal else None

        # The storages come after the object that is made of them: look first, build then.
        looker = Looker(data, note, position)
        self._guarded(looker.load)
        keys = self._machine(data, _no_storages, looker.position)
        found = self._slices(data, described, keys)

        def read(key: str) -> Any:
            if key not in found:
                raise RuntimeError(f"load: {self.label}: the storage {key!r} is missing; the file is damaged")
            return numpy.frombuffer(data, numpy.uint8, *found[key]).copy()

        storages = Storages(read, self.map_location, self.label, "little")

        def persistent_load(saved_id: Any) -> Any:
            if self.trusting is not None and type(saved_id) is tuple and saved_id[:1] == ("module",):
                return saved_id[1]
            if type(saved_id) is tuple and len(saved_id) == 6 and saved_id[5] is not None:
                raise RuntimeError(
                    f"load: {self.label}: views of storages, a form of PyTorch before 0.4, are not supported; "
                    "convert the file with PyTorch: torch.save(torch.load(path), new_path)"
                )
            return storages.persistent_load(saved_id)

        return self._unpickle(data[position : looker.position], persistent_load)

    def _slices(self, data: bytes, described: Mapping[str, Any], keys: Unpickler) -> dict[str, tuple[int, int]]:
        """For each storage how many bytes it has and where they begin."""
        names = self._guarded(keys.load)
        position = keys.position
        found = {}
        for name in map(storage_key, names if isinstance(names, list) else ()):
            kind = described.get(name)
            if type(kind) is not StorageType:
                raise RuntimeError(f"load: {self.label}: the type of the storage {name!r} is unknown")
            size = int.from_bytes(data[position : position + 8], "little", signed=True) * kind.dtype.itemsize
            position += 8
            if not 0 <= size <= len(data) - position:
                raise RuntimeError(
                    f"load: {self.label}: the storage {name!r} should have {size} bytes, and there are "
                    f"{max(len(data) - position, 0)}; the file is cut off or damaged"
                )
            found[name] = (size, position)
            position += size
        return found

    # -- pickles -----------------------------------------------------------------------------------------------------

    def _machine(self, data: bytes, persistent_load: Callable[[Any], Any], position: int = 0) -> Unpickler:
        return Unpickler(data, GLOBALS, self.users, persistent_load, position)

    def _guarded(self, load: Callable[[], Any]) -> Any:
        try:
            return load()
        except pickle.UnpicklingError as error:
            message = f"load: {self.label}: {str(error).removeprefix(f'load: {self.label}: ')}"
            if "Unsupported global" in message or "not allowed" in message:
                message += (
                    ". Loading with weights_only=False takes anything, and runs whatever code the file contains: "
                    "only for files from a source you trust"
                )
            raise pickle.UnpicklingError(message) from error

    def _unpickle(self, data: bytes, persistent_load: Callable[[Any], Any]) -> Any:
        if self.trusting is None:
            return self._guarded(self._machine(data, persistent_load).load)
        unpickler = type("Unpickler", (_Names, self.trusting), {})(io.BytesIO(data), **self.arguments)
        unpickler.persistent_load = persistent_load
        return self._guarded(unpickler.load)


class _Names:
    """For an unpickler: finds any global, those of PyTorch among Flambeau's, so that a module becomes ours."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] != "torch":
            return super().find_class(module, name)  # type: ignore[misc]
        if f"{module}.{name}" in GLOBALS:
            return GLOBALS[f"{module}.{name}"]
        try:
            found: Any = importlib.import_module("flambeau" + module.removeprefix("torch"))
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError):
            # Not PyTorch's own class, even if it is installed: it could not work with the tensors made here.
            raise pickle.UnpicklingError(
                f"the checkpoint needs {module}.{name}, which has no counterpart in Flambeau; in PyTorch, save the "
                "state dict instead of the whole object"
            ) from None
        return found


def _no_storages(saved_id: Any) -> Any:
    raise pickle.UnpicklingError("a storage is not expected here")
