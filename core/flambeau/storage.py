"""The memory under tensors as an object of its own: ``Tensor.untyped_storage()`` and PyTorch's storage classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flambeau import dtypes
from flambeau.conversion import tensor
from flambeau.creation import empty
from flambeau.devices import device
from flambeau.dtypes import dtype, uint8
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

__all__ = [
    "BFloat16Storage", "BoolStorage", "ByteStorage", "CharStorage", "ComplexDoubleStorage", "ComplexFloatStorage",
    "DoubleStorage", "FloatStorage", "HalfStorage", "IntStorage", "LongStorage", "ShortStorage", "TypedStorage",
    "UntypedStorage", "is_storage",
]  # fmt: skip


class _Storage:
    """What storages of bytes and of elements have in common: a 1-dim tensor over the whole memory."""

    def __init__(self, data: Tensor) -> None:
        self._data = data

    @property
    def device(self) -> device:
        """Where the memory is."""
        return self._data.device

    @property
    def is_cuda(self) -> bool:
        """Whether it is on a CUDA device."""
        return self._data.is_cuda

    def size(self) -> int:
        """The number of elements."""
        return self._data.numel()

    def __len__(self) -> int:
        return self._data.numel()

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._data.nbytes

    def element_size(self) -> int:
        """Bytes an element."""
        return self._data.itemsize

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._data.data_ptr()

    def get_device(self) -> int:
        """The index of the device, -1 for the CPU."""
        return self._data.get_device()

    def tolist(self) -> list[Any]:
        """The elements as a list."""
        found: list[Any] = self._data.tolist()
        return found

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return type(self)._over(self._data[index])
        return self._data[index].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._data[index] = value

    def fill_(self, value: Any) -> Any:
        """Write ``value`` to every element."""
        self._data.fill_(value)
        return self

    def copy_(self, source: Any, non_blocking: bool = False) -> Any:
        """Write the elements of another storage of this size.

        Raises:
            RuntimeError: when the sizes differ.
        """
        if len(source) != len(self):
            raise RuntimeError(f"copy_: size mismatch, the storages have {len(self)} and {len(source)} elements")
        self._data.copy_(source._data)
        return self

    def resize_(self, size: int) -> Any:
        """Do nothing where the size stays.

        Raises:
            RuntimeError: for another size: tensors hold on to the memory; ``Tensor.resize_`` gives them a new one.
        """
        if size != len(self):
            raise RuntimeError("resize_: Trying to resize storage that is not resizable; use Tensor.resize_")
        return self

    def clone(self) -> Any:
        """A copy."""
        return type(self)._over(self._data.clone())

    def cpu(self) -> Any:
        """The storage on the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> Any:
        """The storage on a CUDA device."""
        return self.to("cuda" if device is None else device)

    def to(self, device: Any, non_blocking: bool = False) -> Any:
        """The storage on another device."""
        moved = self._data.to(device)
        return self if moved is self._data else type(self)._over(moved)

    def is_pinned(self, device: Any = None) -> bool:
        """Never: no backend keeps pinned memory."""
        return False

    def is_shared(self) -> bool:
        """Never: processes exchange tensors by copying."""
        return False

    def share_memory_(self) -> Any:
        """The storage itself."""
        return self

    @classmethod
    def _over(cls, data: Tensor) -> Any:
        made = cls.__new__(cls)
        _Storage.__init__(made, data)
        return made

    def __eq__(self, other: object) -> bool:
        return self is other or (type(other) is type(self) and self._key() == other._key())

    def _key(self) -> tuple[Any, ...]:
        return self.device, self.data_ptr(), self.nbytes()

    def __hash__(self) -> int:
        return hash(self._key())


class UntypedStorage(_Storage):
    """Memory as bytes (``torch.UntypedStorage``): of so many bytes, or with the bytes of a sequence."""

    def __init__(self, data: Any = 0, *, device: Any = None) -> None:
        made = empty(data, dtype=uint8, device=device) if isinstance(data, int) else tensor(data, dtype=uint8)
        super().__init__(made)

    def type(self) -> str:
        """The class's name."""
        return "flambeau.storage.UntypedStorage"

    def untyped(self) -> UntypedStorage:
        """The storage itself."""
        return self

    def __repr__(self) -> str:
        lines = "\n".join(f" {value}" for value in self.tolist())
        return f"{lines}\n[flambeau.storage.UntypedStorage(device={self.device}) of size {len(self)}]"


class TypedStorage(_Storage):
    """Memory as elements of a dtype (``torch.TypedStorage``): so many, those of a sequence, or a storage's."""

    def __init__(
        self, data: Any = 0, *, wrap_storage: UntypedStorage | None = None, dtype: Any = None, device: Any = None
    ) -> None:
        kind = dtype or getattr(type(self), "_kind", None) or dtypes.get_default_dtype()
        if wrap_storage is not None:
            super().__init__(wrap_storage._data.view(kind))
        elif isinstance(data, int):
            super().__init__(empty(data, dtype=kind, device=device))
        else:
            super().__init__(tensor(data, dtype=kind, device=device))

    @property
    def dtype(self) -> Any:
        """The type of the elements."""
        return self._data.dtype

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        made: UntypedStorage = UntypedStorage._over(self._data.view(uint8))
        return made

    def type(self) -> str:
        """The name of the class for this dtype."""
        return f"flambeau.{_NAMES.get(self._data.dtype.name, 'TypedStorage')}"

    def pickle_storage_type(self) -> str:
        """The name under which a checkpoint knows this dtype's storage."""
        return _NAMES[self._data.dtype.name]

    def __repr__(self) -> str:
        lines = "\n".join(f" {value}" for value in self.tolist())
        return (
            f"{lines}\n[flambeau.storage.TypedStorage(dtype={self._data.dtype}, device={self.device}) of size "
            f"{len(self)}]"
        )


_NAMES: dict[str, str] = {}


def _of(name: str, kind: dtype) -> Any:
    _NAMES[kind.name] = name
    doc = f"A :class:`TypedStorage` of {kind.name}."
    return type(name, (TypedStorage,), {"_kind": kind, "__doc__": doc, "__module__": __name__})


BoolStorage = _of("BoolStorage", dtypes.bool_)
ByteStorage = _of("ByteStorage", dtypes.uint8)
CharStorage = _of("CharStorage", dtypes.int8)
ShortStorage = _of("ShortStorage", dtypes.int16)
IntStorage = _of("IntStorage", dtypes.int32)
LongStorage = _of("LongStorage", dtypes.int64)
HalfStorage = _of("HalfStorage", dtypes.float16)
BFloat16Storage = _of("BFloat16Storage", dtypes.bfloat16)
FloatStorage = _of("FloatStorage", dtypes.float32)
DoubleStorage = _of("DoubleStorage", dtypes.float64)
ComplexFloatStorage = _of("ComplexFloatStorage", dtypes.complex64)
ComplexDoubleStorage = _of("ComplexDoubleStorage", dtypes.complex128)


def is_storage(obj: Any) -> bool:
    """Whether ``obj`` is a storage."""
    return isinstance(obj, _Storage)


# -- the memory of a tensor ------------------------------------------------------------------------------------------


def _memory(input: Tensor) -> Tensor:
    """The whole memory that a tensor looks at, as elements of its dtype."""
    held = input._backend.storage_nbytes(input._array) // input.itemsize
    flat: Tensor = TENSORS.as_strided(input.detach(), (held,), (1,), 0)
    return flat.detach()


def untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory that the tensor looks at, as bytes; shared with it and with all its views."""
    made: UntypedStorage = UntypedStorage._over(_memory(self).view(uint8))
    return made


def storage(self: Tensor) -> TypedStorage:
    """The memory that the tensor looks at, as elements; shared with it and with all its views."""
    made: TypedStorage = TypedStorage._over(_memory(self))
    return made


def storage_type(self: Tensor) -> Any:
    """The class of the tensor's storage: ``FloatStorage``, ``LongStorage`` ..."""
    return globals().get(_NAMES.get(self.dtype.name, ""), TypedStorage)


def set_(self: Tensor, source: Any = None, storage_offset: int = 0, size: Any = None, stride: Any = None) -> Tensor:
    """Make the tensor look at the memory of another tensor or of a storage, in place.

    Args:
        source: a tensor, a storage of this dtype or of bytes, or None for no memory.
        storage_offset, size, stride: where it begins and how it lies there, in elements; the whole memory, in one
            dimension, unless given.
    """
    if self._node is not None:
        raise RuntimeError("set_: a tensor that requires grad cannot be given other memory; use .data")
    if source is None:
        found = empty(0, dtype=self.dtype, device=self.device)
    elif isinstance(source, _Storage):
        flat = source._data if source._data.dtype is self.dtype else source._data.view(self.dtype)
        found = flat if size is None else _placed(flat, size, stride, storage_offset)
    elif source.dtype is not self.dtype:
        raise RuntimeError(f"set_: could not set a {self.dtype.name} tensor to a {source.dtype.name} one")
    else:
        found = source.detach() if size is None else _placed(source.detach(), size, stride, storage_offset)
    self._array, self._device, self._version = found._array, found._device, found._version
    self._form = self._view = None
    return self


def _placed(flat: Tensor, size: Any, stride: Any, offset: int) -> Tensor:
    size = (size,) if isinstance(size, int) else tuple(size)
    if stride is None:
        stride, step = [], 1
        for n in reversed(size):
            stride.insert(0, step)
            step *= max(n, 1)
    found: Tensor = TENSORS.as_strided(flat, size, tuple(stride), offset)
    return found.detach()
