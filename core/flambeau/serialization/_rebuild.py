"""From the names and storages of a checkpoint to tensors."""

from __future__ import annotations

import collections
import pickle
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy

from flambeau import dispatch
from flambeau.devices import device as Device
from flambeau.dtypes import DTYPES, uint8
from flambeau.dtypes import dtype as DType
from flambeau.forms import Size
from flambeau.layouts import strided
from flambeau.nn.parameter import Parameter
from flambeau.serialization._names import (
    FOREIGN_DTYPES,
    FOREIGN_FUNCTIONS,
    FOREIGN_STORAGES,
    STORAGE_DTYPES,
    shown,
    storage_key,
)
from flambeau.serialization._options import any_registered, registered_storage
from flambeau.serialization._unpickler import numpy_array, numpy_dtype, numpy_scalar
from flambeau.tensor import Tensor, wrap


class Storage:
    """A block of memory that tensors of a checkpoint share; what a ``map_location`` function is given.

    Attributes:
        dtype: the type of its elements.
        device: where it is.
    """

    def __init__(self, data: Tensor, other_order: bool = False) -> None:
        self._data = data
        self._other_order = other_order  # bytes that turn out to be longer elements have to be swapped
        # Tensors on one storage see each other's writes, so they share the version counter too.
        self._version = [0]

    @property
    def dtype(self) -> DType:
        return self._data.dtype

    @property
    def device(self) -> Device:
        return self._data.device

    def size(self) -> int:
        """The number of elements."""
        return self._data.numel()

    __len__ = size

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._data.nbytes

    def to(self, device: Any) -> Storage:
        """The storage on a device; itself when it is there."""
        moved = self._data.to(device=device)
        return self if moved is self._data else Storage(moved, self._other_order)

    def cpu(self) -> Storage:
        """The storage on the CPU."""
        return self.to("cpu")

    def cuda(self, index: int | None = None) -> Storage:
        """The storage on a CUDA device."""
        return self.to(Device("cuda", index or 0))

    def tensor(self, offset: int, size: Any, stride: Any) -> Tensor:
        """A tensor in this memory.

        Raises:
            RuntimeError: when it would reach outside.
        """
        offset, size, stride = int(offset), tuple(map(int, size)), tuple(map(int, stride))
        count = 0 if 0 in size else offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if min((offset, *size, *stride)) < 0 or count > self.size():
            raise RuntimeError(
                f"load: a tensor of size {list(size)} and stride {list(stride)} at offset {offset} is out of bounds "
                f"for its storage of {self.size()} elements; the file is damaged"
            )
        data = self._data
        array = data._device.xp.as_strided(data._array, size, stride, offset if count else 0)
        made = wrap(array, data._dtype, data._device)
        made._version = self._version
        return made

    def retyped(self, kind: DType) -> Storage:
        """The bytes as elements of another type (storages of untyped bytes, which newer PyTorch writes)."""
        if kind is self.dtype:
            return self
        if self.device.type == "meta":
            return _storage(numpy.empty(0, uint8.numpy), kind, self.nbytes() // kind.itemsize, self.device)
        host = _host(self._data).view(numpy.uint8)
        usable = host[: len(host) // kind.itemsize * kind.itemsize]
        if self._other_order:
            usable = _swapped(usable, kind)
        return _storage(usable, kind, len(usable) // kind.itemsize, self.device)


def _host(t: Tensor) -> Any:
    assert t._device.backend is not None  # a tensor's device is loaded
    return numpy.asarray(t._device.backend.to_numpy(t._array))


def _storage(content: Any, kind: DType, numel: int, where: Device) -> Storage:
    """A storage from its bytes (not looked at when it goes to the meta device)."""
    dispatch.load(where)
    if where.type == "meta":
        return Storage(wrap(where.xp.full((numel,), 0, kind, where), kind, where))
    assert where.backend is not None
    return Storage(wrap(where.backend.from_numpy(content.view(kind.numpy), where), kind, where))


def _swapped(content: Any, kind: DType) -> Any:
    """Bytes of elements in the other byte order."""
    return content.view(f"u{kind.to_real().itemsize}").byteswap().view(numpy.uint8)


class Storages:
    """Makes the storages that a pickle refers to by key.

    Args:
        read: gives the bytes of the storage ``key`` as a writable array.
        map_location: as for :func:`flambeau.load`.
        label: how error messages name the file.
        byteorder: of the file.
    """

    def __init__(
        self, read: Callable[[str], Any], map_location: Any, label: str, byteorder: str = sys.byteorder
    ) -> None:
        self._read = read
        self._map_location = map_location
        self._label = label
        self._byteorder = byteorder
        self._swap = byteorder != sys.byteorder
        self._found: dict[str, Storage] = {}

    def persistent_load(self, saved_id: Any) -> Storage:
        """The storage with this persistent id.

        Raises:
            pickle.UnpicklingError: when the id is not of the form that PyTorch writes.
        """
        if type(saved_id) is not tuple or len(saved_id) < 5 or saved_id[0] not in ("storage", b"storage"):
            raise pickle.UnpicklingError(f"load: {self._label}: the persistent id {shown(saved_id)} is not a storage's")
        kind, key, location, numel = saved_id[1:5]
        if type(kind) is Token:
            raise _foreign(f"a storage of the type {shown(kind)}")
        if type(kind) is not StorageType or type(numel) is not int or numel < 0 or type(location) not in (str, bytes):
            raise pickle.UnpicklingError(f"load: {self._label}: the storage {shown(key)} is described wrongly")
        key = storage_key(key)
        if key not in self._found:
            where = location if isinstance(location, str) else location.decode("ascii", "replace")
            self._found[key] = self._load(key, kind.dtype, numel, where)
        found = self._found[key]
        if found.dtype is not kind.dtype or found.size() != numel:
            raise pickle.UnpicklingError(f"load: {self._label}: the storage {key!r} is described in two ways")
        return found

    def place(self, location: str) -> Device:
        """Where tensors go that were saved at ``location`` (a function as map_location: to the CPU at first)."""
        wanted = self._map_location
        if wanted is None:
            wanted = location
        elif isinstance(wanted, Mapping):
            wanted = wanted.get(location, location)
        elif callable(wanted) and not isinstance(wanted, Device):
            return Device("cpu")
        if isinstance(wanted, bytes):
            wanted = wanted.decode("ascii")
        try:
            return dispatch.load(Device(wanted))
        except RuntimeError as error:
            if self._map_location is not None:
                raise
            raise RuntimeError(
                f"load: {self._label}: it was saved on the device {location!r}, which is not available here ({error}). "
                "Pass map_location='cpu' to load it to the CPU"
            ) from None

    def _load(self, key: str, kind: DType, numel: int, location: str) -> Storage:
        if any_registered():
            moved = self._registered(key, kind, numel, location)
            if moved is not None:
                return moved
        return self._read_to(self.place(location), key, kind, numel, location)

    def _registered(self, key: str, kind: DType, numel: int, location: str) -> Storage | None:
        """The storage where a registered package puts it, None when they leave it."""
        wanted = self._map_location
        if isinstance(wanted, Mapping):
            wanted = wanted.get(location, location)
        elif wanted is None or not isinstance(wanted, (str, Device)):
            wanted = location
        host = Storages(self._read, "cpu", self._label, self._byteorder)._read_to(
            Device("cpu"), key, kind, numel, location
        )
        return registered_storage(host, str(wanted))

    def _read_to(self, where: Device, key: str, kind: DType, numel: int, location: str) -> Storage:
        nbytes = numel * kind.itemsize
        content = numpy.empty(0, numpy.uint8)
        if where.type != "meta":
            content = self._read(key)
            if not 0 <= len(content) - nbytes < max(kind.itemsize, 1):
                raise RuntimeError(
                    f"load: {self._label}: the storage {key!r} has {len(content)} bytes, and {numel} elements of "
                    f"{kind.name} take {nbytes}; the file is damaged"
                )
            content = content[:nbytes]
            if self._swap:
                content = _swapped(content, kind)
        storage = _storage(content, kind, numel, where)
        storage._other_order = self._swap and kind is uint8
        if not callable(self._map_location) or isinstance(self._map_location, Device):
            return storage
        moved = self._map_location(storage, location)
        if moved is None:
            return storage.to(Storages(self._read, None, self._label).place(location))
        if not isinstance(moved, Storage):
            raise TypeError(
                f"load: map_location(storage, location) should return the storage, moved, or None; "
                f"it returned a {type(moved).__name__}"
            )
        return moved


# -- the functions that a pickle calls ---------------------------------------------------------------------------------


class StorageType:
    """Stands for ``torch.FloatStorage`` and its like."""

    def __init__(self, kind: DType) -> None:
        self.dtype = kind


class Token:
    """Stands for a global that is handed to functions and never called (``torch.Tensor`` would allocate memory)."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


_TENSOR, _NDARRAY = Token("torch.Tensor"), Token("numpy.ndarray")


def _tensor(storage: Any, offset: int, size: Any, stride: Any) -> Tensor:
    return _checked(storage).tensor(offset, size, stride)


def _checked(storage: Any) -> Storage:
    if not isinstance(storage, Storage):
        raise pickle.UnpicklingError(f"a tensor is to be made from a {type(storage).__name__}, not from a storage")
    return storage


def _tensor_v2(
    storage: Any, offset: int, size: Any, stride: Any, requires_grad: bool, hooks: Any, metadata: Any = None
) -> Tensor:
    made = _tensor(storage, offset, size, stride)
    for name in ("conj", "neg"):
        if metadata and metadata.get(name):  # a view that PyTorch changes when it is read
            made = wrap(getattr(made._device.xp, name)(made._array), made._dtype, made._device)
    return made.requires_grad_() if requires_grad else made


def _tensor_v3(
    storage: Any,
    offset: int,
    size: Any,
    stride: Any,
    requires_grad: bool,
    hooks: Any,
    kind: DType,
    metadata: Any = None,
) -> Tensor:
    if not isinstance(kind, DType):
        raise _foreign(f"a tensor of the type {shown(kind)}")
    return _tensor_v2(_checked(storage).retyped(kind), offset, size, stride, requires_grad, hooks, metadata)


def _meta_tensor(kind: DType, size: Any, stride: Any, requires_grad: bool) -> Tensor:
    if not isinstance(kind, DType):
        raise _foreign(f"a tensor of the type {shown(kind)}")
    where = dispatch.load(Device("meta"))
    made = wrap(where.xp.full(tuple(map(int, size)), 0, kind, where), kind, where)
    return made.requires_grad_() if requires_grad else made


def _parameter(data: Any, requires_grad: bool = True, hooks: Any = None) -> Parameter:
    if not isinstance(data, Tensor):
        raise pickle.UnpicklingError(f"a Parameter is to be made from a {type(data).__name__}")
    return Parameter(data.detach(), bool(requires_grad))


def _parameter_with_state(data: Any, requires_grad: bool, hooks: Any, state: Any) -> Parameter:
    return _with_state(_parameter(data, requires_grad), state)


def _from_type(function: Any, cls: Any, arguments: tuple[Any, ...], state: Any) -> Any:
    """A tensor with attributes of its own."""
    if function not in (_tensor_v2, _tensor_v3, _parameter) or cls not in (_TENSOR, _parameter):
        raise _foreign(f"a tensor subclass ({shown(cls)})")
    made = function(*arguments)
    return _with_state(made if cls is _TENSOR else _parameter(made, made.requires_grad), state)


def _with_state(made: Any, state: Any) -> Any:
    attributes = state[0] if isinstance(state, tuple) else state
    if not attributes:
        return made
    if hasattr(made, "__dict__"):
        made.__dict__.update(attributes)
    else:
        warnings.warn(
            f"load: a tensor has the attributes {', '.join(map(str, attributes))}, which a Tensor of Flambeau "
            "cannot carry; they are left out",
            UserWarning,
            stacklevel=2,
        )
    return made


def _bytearray(content: Any = b"", encoding: str = "latin-1") -> bytearray:
    # Not bytearray itself: of an integer it makes so many bytes.
    return bytearray(_encode(content, encoding) if isinstance(content, str) else bytes(memoryview(content)))


def _encode(text: str, encoding: str = "utf-8") -> bytes:
    if encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise pickle.UnpicklingError(f"the encoding {shown(encoding)} is not used in checkpoints")
    return text.encode(encoding)


def _empty_bytes() -> bytes:
    return b""


def _layout(name: str) -> Any:
    return strided if name == "torch.strided" else Token(str(name))


def _foreign(what: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(
        f"the checkpoint holds {what}, which Flambeau does not have; convert it in PyTorch and save it again"
    )


def _refuse(what: str) -> Callable[..., Any]:
    def refuse(*arguments: Any) -> Any:
        raise _foreign(what)

    return refuse


GLOBALS: dict[str, Any] = {
    "collections.OrderedDict": collections.OrderedDict,
    "collections.Counter": collections.Counter,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.complex": complex,
    "builtins.bytes": _empty_bytes,
    "builtins.bytearray": _bytearray,
    "_codecs.encode": _encode,
    "torch.Size": Size,
    "torch.device": Device,
    "torch.Tensor": _TENSOR,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.serialization._get_layout": _layout,
    "torch.storage.UntypedStorage": StorageType(uint8),
    "torch.UntypedStorage": StorageType(uint8),
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_meta_tensor_no_storage": _meta_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter_with_state,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.tensor._rebuild_from_type_v2": _from_type,
    "numpy.ndarray": _NDARRAY,
    "numpy.dtype": numpy_dtype,
}
GLOBALS |= {f"torch.{name}": kind for name, kind in DTYPES.items()}
GLOBALS |= {f"torch.{cuda}{name}": StorageType(kind) for name, kind in STORAGE_DTYPES.items() for cuda in ("", "cuda.")}
GLOBALS |= {f"numpy.{core}.multiarray._reconstruct": numpy_array for core in ("core", "_core")}
GLOBALS |= {f"numpy.{core}.multiarray.scalar": numpy_scalar for core in ("core", "_core")}
GLOBALS |= {f"torch.{name}": Token(f"torch.{name}") for name in FOREIGN_DTYPES | FOREIGN_STORAGES}
GLOBALS |= {name: _refuse(what) for name, what in FOREIGN_FUNCTIONS.items()}
