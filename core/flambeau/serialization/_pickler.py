"""From objects to the pickle of a checkpoint, in which tensors and dtypes go by PyTorch's names."""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

import numpy

from flambeau.devices import device
from flambeau.dispatch import Backend
from flambeau.dtypes import DTYPES, dtype
from flambeau.forms import Size
from flambeau.nn.parameter import Buffer, Parameter
from flambeau.serialization._names import STORAGE_NAMES, TorchGlobal
from flambeau.serialization._options import any_registered, registered_location
from flambeau.serialization._rebuild import Storage
from flambeau.tensor import Tensor

_REBUILD_TENSOR = TorchGlobal("torch._utils", "_rebuild_tensor_v2")
_REBUILD_TENSOR_OF_BYTES = TorchGlobal("torch._utils", "_rebuild_tensor_v3")
_REBUILD_META = TorchGlobal("torch._utils", "_rebuild_meta_tensor_no_storage")
_REBUILD_PARAMETER = TorchGlobal("torch._utils", "_rebuild_parameter")
_REBUILD_PARAMETER_WITH_STATE = TorchGlobal("torch._utils", "_rebuild_parameter_with_state")
_SIZE, _DEVICE = TorchGlobal("torch", "Size"), TorchGlobal("torch", "device")
_STORAGES = {name: TorchGlobal("torch", storage) for name, storage in STORAGE_NAMES.items()}
_BYTES = TorchGlobal("torch.storage", "UntypedStorage")
_DTYPES = {name: TorchGlobal("torch", name) for name in DTYPES}


class Span:
    """The part of a block of memory that the saved tensors use: bytes ``low`` to ``high``.

    Attributes:
        root: the raw array that has the memory.
        order: its dimensions from the outermost in memory to the innermost.
        dtype: the dtype of the tensors that look at it.
        key: the storage's name in the file, given when it is first written.
    """

    def __init__(self, t: Tensor, root: Any, order: list[int]) -> None:
        assert t._device.backend is not None  # a tensor's device is loaded
        self.root = root
        self.order = order
        self.backend = t._device.backend
        self.dtype = t._dtype
        self.location = str(t._device)
        if any_registered():
            self.location = registered_location(Storage(t.detach())) or self.location
        self.low = self.high = 0
        self.key: str | None = None

    def content(self) -> Any:
        """The bytes, as a ``numpy.ndarray`` on the host; the memory itself where that is possible."""
        host = numpy.asarray(self.backend.to_numpy(self.root)).transpose(self.order)
        return numpy.ascontiguousarray(host).reshape(-1).view(numpy.uint8)[self.low : self.high]


def _memory_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int] | None:
    """The dimensions from the outermost in memory to the innermost; None when the elements do not lie densely."""
    order = sorted(range(len(shape)), key=lambda dim: -strides[dim])
    expected = 1
    for dim in reversed(order):
        if shape[dim] != 1:
            if strides[dim] != expected:
                return None
            expected *= shape[dim]
    return order


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(max(size, 1) for size in shape[dim + 1 :]) for dim in range(len(shape)))


def _root(array: Any, backend: Backend) -> Any:
    """The array that owns the memory of ``array``, as far as Python objects tell."""
    if type(backend).data_ptr is Backend.data_ptr:
        return array  # views of such arrays cannot be located in their base
    root, base = array, getattr(array, "base", None)
    while base is not None:
        if isinstance(base, backend.array_type):
            root = base
        base = getattr(base, "base", None)
    return root


class Memory:
    """The blocks of memory behind the tensors of one checkpoint."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, int], Span] = {}
        self.stored: list[Span] = []

    def locate(self, t: Tensor) -> tuple[Span, int, tuple[int, ...]]:
        """Where a tensor is: the span, and its offset (bytes from the root's beginning) and strides (elements) there.

        Raises:
            RuntimeError: when a tensor of another dtype looks at the same memory.
        """
        backend, array, itemsize = t._device.backend, t._array, t._dtype.itemsize
        assert backend is not None  # a tensor's device is loaded
        shape = tuple(array.shape)
        if math.prod(shape) == 0:
            return Span(t, array, list(range(len(shape)))), 0, _contiguous(shape)
        strides = tuple(backend.strides(array))
        root = _root(array, backend)
        order = _memory_order(root.shape, backend.strides(root))
        place = (str(t._device), backend.data_ptr(root))
        offset = 0 if root is array else backend.data_ptr(array) - backend.data_ptr(root)
        if order is None or min(strides, default=0) < 0 or offset % itemsize:
            # Memory that came from elsewhere, in a form that a storage does not have: saved as a copy.
            root, order, offset, strides = array, list(range(len(shape))), 0, _contiguous(shape)
            place = (f"copy from {t._device}", id(array))
        span = self._spans.get(place)
        if span is None:
            span = self._spans[place] = Span(t, root, order)
        if span.dtype is not t._dtype:
            raise RuntimeError(
                "save: Cannot save multiple tensors or storages that view the same data as different types "
                f"({span.dtype.name} and {t._dtype.name}); save .clone() of one of them"
            )
        end = offset + itemsize * (1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)))
        if span.high == 0:
            span.low, span.high = offset, end
        elif span.key is None:
            span.low, span.high = min(span.low, offset), max(span.high, end)
        elif offset < span.low or end > span.high:
            # A tensor that was not there when the memory was measured (a __reduce__ made it just now).
            span = Span(t, root, order)
            span.low, span.high = offset, end
        return span, offset, strides

    def key(self, span: Span) -> str:
        """The storage's name in the file."""
        if span.key is None:
            span.key = str(len(self.stored))
            self.stored.append(span)
        return span.key


class _Nowhere:
    def write(self, data: bytes) -> int:
        return len(data)


class _Measurer(pickle.Pickler):
    """Walks through the object as the real pickler will, to learn which part of each block is used.

    A storage has one size, which stands in the pickle before the later tensors are met. Without this pass a small
    view would take its whole base into the file.
    """

    def __init__(self, memory: Memory, protocol: int) -> None:
        super().__init__(_Nowhere(), protocol)
        self._memory = memory

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, (dtype, device)):
            return 0
        if type(obj) in _TENSORS:
            if obj._device.type != "meta":
                self._memory.locate(obj)
            return 0
        return None


_TENSORS = (Tensor, Parameter, Buffer)


class TorchPickler(pickle._Pickler):
    """Pickles as PyTorch does. (The pickler in C cannot name what cannot be imported.)"""

    # What the pickler in Python is made of, and typeshed leaves out.
    write: Callable[[bytes], Any]
    memoize: Callable[[Any], None]
    save: Callable[[Any], None]

    def __init__(self, stream: Any, memory: Memory, protocol: int) -> None:
        super().__init__(stream, protocol)
        self._memory = memory

    def persistent_id(self, obj: Any) -> Any:
        if type(obj) is not Span:
            return None
        storage, itemsize = _BYTES, 1
        if obj.dtype.name in _STORAGES:
            storage, itemsize = _STORAGES[obj.dtype.name], obj.dtype.itemsize
        return "storage", storage, self._memory.key(obj), obj.location, (obj.high - obj.low) // itemsize

    def _name(self, found: TorchGlobal, obj: Any = None) -> None:
        self.write(pickle.GLOBAL + f"{found.module}\n{found.name}\n".encode("ascii"))
        self.memoize(found if obj is None else obj)

    def _call(self, function: TorchGlobal, arguments: tuple[Any, ...], obj: Any) -> None:
        self.save(function)
        self.save(arguments)
        self.write(pickle.REDUCE)
        self.memoize(obj)

    def _dtype(self, obj: dtype) -> None:
        self._name(_DTYPES[obj.name], obj)

    def _size(self, obj: Size) -> None:
        self._call(_SIZE, (tuple(obj),), obj)

    def _device(self, obj: device) -> None:
        self._call(_DEVICE, (obj.type,) if obj.index is None else (obj.type, obj.index), obj)

    def _tensor(self, obj: Tensor) -> None:
        requires_grad = obj.requires_grad
        shape = tuple(obj._array.shape)
        if obj._device.type == "meta":
            self._call(_REBUILD_META, (obj._dtype, shape, _contiguous(shape), requires_grad), obj)
            return
        span, offset, strides = self._memory.locate(obj)
        offset = (offset - span.low) // obj._dtype.itemsize
        arguments: tuple[Any, ...] = (span, offset, shape, strides, requires_grad, OrderedDict())
        if obj._dtype.name in _STORAGES:
            self._call(_REBUILD_TENSOR, arguments, obj)
        else:
            self._call(_REBUILD_TENSOR_OF_BYTES, (*arguments, obj._dtype), obj)

    def _parameter(self, obj: Parameter) -> None:
        arguments: tuple[Any, ...] = (obj.detach(), obj.requires_grad, OrderedDict())
        state = getattr(obj, "__dict__", None)
        if state:
            self._call(_REBUILD_PARAMETER_WITH_STATE, (*arguments, state), obj)
        else:
            self._call(_REBUILD_PARAMETER, arguments, obj)

    dispatch: ClassVar[dict[type, Any]] = {
        **pickle._Pickler.dispatch,
        TorchGlobal: _name,
        dtype: _dtype,
        Size: _size,
        device: _device,
        Tensor: _tensor,
        Buffer: _tensor,
        Parameter: _parameter,
    }


def dump(obj: Any, protocol: int) -> tuple[bytes, list[Span]]:
    """Pickle ``obj``.

    Returns:
        The pickle, and what goes into the records ``data/0``, ``data/1`` ...
    """
    memory = Memory()
    _Measurer(memory, protocol).dump(obj)
    stream = io.BytesIO()
    TorchPickler(stream, memory, protocol).dump(obj)
    return stream.getvalue(), memory.stored
