"""Tensors from other things: Python data, NumPy arrays, DLPack, other devices."""

from __future__ import annotations

import os
from typing import Any

import numpy

from flambeau import devices, dtypes
from flambeau.autograd.grad_mode import state
from flambeau.autograd.node import record
from flambeau.devices import device as Device
from flambeau.dispatch import backends, load
from flambeau.dtypes import dtype as DType
from flambeau.tensor import Tensor, wrap

# Most sequences hold nothing else: their types are found out without a Python step an item.
_NUMBERS = frozenset({bool, int, float, complex})

# What is plainly not on a device.
_HOST = (list, tuple, int, float, numpy.ndarray)

# Device types of DLPack.
_DLPACK_CPU, _DLPACK_CUDA_HOST = 1, 3


def tensor(
    data: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor with a copy of ``data`` (``torch.tensor``).

    Args:
        data: a number, nested sequences of numbers or of tensors, a NumPy array, a tensor.
        dtype: inferred from the data when None: Python floats are of the default dtype, ints are int64.
        device: the default device when None; for a tensor its own.
        requires_grad: make it a leaf that requires a gradient.

    Raises:
        ValueError: when the sequences are of unequal length.
        TypeError: when there is something that is not a number.
    """
    if isinstance(data, Tensor):
        copied = data.detach().clone().to(device=device, dtype=dtype)
    elif not isinstance(data, _HOST) and hasattr(data, "__cuda_array_interface__"):
        copied = from_cuda_array(data).clone().to(device=device, dtype=dtype)
    else:
        where = load(Device(device) if device is not None else devices.get_default_device())
        array = make_array(data, dtype, where)
        copied = wrap(array, where.backend.dtype_of(array), where)  # type: ignore[union-attr]
    if pin_memory:
        copied = copied.pin_memory()
    return copied.requires_grad_() if requires_grad else copied


def inferred_dtype(data: Any) -> DType:
    """The dtype of a tensor made from a NumPy array or nested Python data."""
    if isinstance(data, (numpy.ndarray, numpy.generic)):
        return dtypes.from_numpy_dtype(data.dtype)
    if isinstance(data, Tensor):
        return data._dtype
    if isinstance(data, (list, tuple)):
        classes = set(map(type, data))
        if classes <= _NUMBERS:
            kinds = {dtypes.scalar_dtype(number()) for number in classes}
        else:
            kinds = {inferred_dtype(item) for item in data}
        found = None
        for kind in kinds:
            found = kind if found is None else dtypes.promote_types(found, kind)
        return found if found is not None else dtypes.get_default_dtype()
    if isinstance(data, (bool, int, float, complex)):
        return dtypes.scalar_dtype(data)
    if hasattr(data, "__array__"):
        return dtypes.from_numpy_dtype(numpy.asarray(data).dtype)
    if hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, (str, bytes, dict)):
        return inferred_dtype(list(data))
    raise TypeError(f"tensor: new(): data must be a number or a sequence of numbers, not {type(data).__name__}")


def make_array(data: Any, kind: DType | None, where: Device) -> Any:
    """A raw array on ``where`` with a copy of ``data``."""
    if isinstance(data, numpy.ndarray):
        host = numpy.array(data, dtype=None if kind is None else kind.numpy, order="C")
        if kind is None:
            host = host.astype(dtypes.from_numpy_dtype(host.dtype).numpy, copy=False)
    else:
        if not _fits(data):
            raise _ragged(data)
        found = inferred_dtype(data)
        host = numpy.array(_plain(data), dtype=(kind or found).numpy)
    return where.backend.from_numpy(host, where)  # type: ignore[union-attr]


def _plain(data: Any) -> Any:
    """Tensors inside nested sequences as NumPy arrays."""
    if isinstance(data, Tensor):
        return data.detach().cpu().numpy()
    if isinstance(data, (list, tuple)):
        return data if _NUMBERS.issuperset(map(type, data)) else [_plain(item) for item in data]
    if isinstance(data, (bool, int, float, complex, str, bytes, dict)) or hasattr(data, "__array__"):
        return data
    return [_plain(item) for item in data]


def _fits(data: Any) -> bool:
    """Whether nested sequences have one shape."""
    return _shape(data) is not None


def _shape(data: Any) -> tuple[int, ...] | None:
    if isinstance(data, Tensor) or hasattr(data, "shape"):
        return tuple(data.shape)
    if not hasattr(data, "__len__") or isinstance(data, (str, bytes)):
        return ()
    if _NUMBERS.issuperset(map(type, data)):
        return (len(data),)
    first: tuple[int, ...] | None = None
    for item in data:
        own = _shape(item)
        if own is None or (first is not None and own != first):
            return None
        first = own
    return (len(data), *(first or ()))


def _ragged(data: Any) -> ValueError:
    lengths = sorted({len(item) if hasattr(item, "__len__") else 0 for item in data})
    return ValueError(
        f"tensor: nested sequences must all have the same length along a dimension; found lengths {lengths}"
    )


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """A tensor with ``data``, sharing its memory and history where possible (``torch.as_tensor``).

    Arrays of a CUDA device, of CuPy, Numba or PyTorch, are taken by ``__cuda_array_interface__`` and stay there unless
    ``device`` says otherwise.
    """
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype)
    if not isinstance(data, _HOST) and hasattr(data, "__cuda_array_interface__"):
        return from_cuda_array(data).to(device=device, dtype=dtype)
    if isinstance(data, numpy.ndarray):
        made = from_numpy(data)
        return made.to(device=device if device is not None else devices.get_default_device(), dtype=dtype)
    return tensor(data, dtype=dtype, device=device)


def asarray(
    obj: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor with ``obj`` (``torch.asarray``): a tensor, array, DLPack exporter, or nested data.

    Args:
        copy: True copies in any case, False raises where a copy is needed, None copies only when needed.
    """
    if not isinstance(obj, (Tensor, numpy.ndarray)) and hasattr(obj, "__dlpack__"):
        obj = from_dlpack(obj)
    made = as_tensor(obj, dtype, device)
    shares = isinstance(obj, (Tensor, numpy.ndarray)) and made.dtype is inferred_dtype(obj)
    if copy is False and not shares:
        raise ValueError("asarray: can't alias the object without a copy; pass copy=None to allow one")
    made = made.clone() if copy else made
    return made.detach().requires_grad_() if requires_grad else made


def scalar_tensor(
    s: Any,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """A 0-dim tensor of the default dtype with the value of a number (``torch.scalar_tensor``)."""
    kind = dtype or dtypes.get_default_dtype()
    return tensor(dtypes.cast_number(s, kind), dtype=kind, device=device, requires_grad=requires_grad)


def from_numpy(ndarray: Any) -> Tensor:
    """A CPU tensor that shares the memory of a ``numpy.ndarray`` (``torch.from_numpy``).

    Raises:
        TypeError: when it is no array, or of a type that tensors do not have.
        ValueError: when its strides are negative.
    """
    if not isinstance(ndarray, numpy.ndarray):
        raise TypeError(f"from_numpy: expected numpy.ndarray (got {type(ndarray).__name__})")
    kind = dtypes.from_numpy_dtype(ndarray.dtype)
    if ndarray.dtype != kind.numpy:
        ndarray = ndarray.astype(kind.numpy)  # another byte order
    if any(stride < 0 for stride in ndarray.strides):
        raise ValueError(
            "from_numpy: at least one of the strides of the given array is negative, and tensors with negative strides "
            "are not supported; call copy() on it first"
        )
    where = load(Device("cpu"))
    return wrap(where.backend.from_numpy(ndarray, where), kind, where)  # type: ignore[union-attr]


def frombuffer(buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A one-dimensional CPU tensor over a Python buffer (``torch.frombuffer``)."""
    made = from_numpy(numpy.frombuffer(buffer, dtype.numpy, count, offset))
    return made.requires_grad_() if requires_grad else made


def from_file(
    filename: Any,
    shared: bool | None = None,
    size: int = 0,
    *,
    dtype: DType | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """A one-dimensional CPU tensor over the contents of a file (``torch.from_file``).

    Args:
        shared: what is written to the tensor goes into the file, which is made or grown to size where needed;
            otherwise changes stay in memory, and the file has to be long enough.
        size: the number of elements.

    Raises:
        RuntimeError: when the file is too short.
    """
    kind = dtype or dtypes.get_default_dtype()
    wanted = size * kind.itemsize
    path = os.fspath(filename)
    held = os.path.getsize(path) if os.path.exists(path) else -1
    if shared and held < wanted:
        with open(path, "ab") as file:
            file.truncate(wanted)
    elif held < wanted:
        raise RuntimeError(f"from_file: the file {path!r} has {max(held, 0)} bytes, and {size} elements need {wanted}")
    if not size:
        made = tensor([], dtype=kind, device="cpu")
    else:
        mapped = numpy.memmap(path, numpy.uint8, "r+" if shared else "c", shape=(wanted,))
        made = from_numpy(numpy.asarray(mapped).view(kind.numpy))
    return made.requires_grad_() if requires_grad else made


def from_dlpack(external: Any) -> Tensor:
    """A tensor that shares the memory of an object that speaks DLPack (``torch.from_dlpack``).

    Raises:
        BufferError: when no backend here takes arrays from its device.
    """
    kind, index = external.__dlpack_device__()
    # Pinned memory is the host's, and the host's is the CPU's, where other device types may have theirs, too.
    kind = _DLPACK_CPU if int(kind) == _DLPACK_CUDA_HOST else int(kind)
    for name, (backend, _) in sorted(backends().items(), key=lambda item: item[0] != "cpu"):
        if backend.dlpack_type == kind and backend.is_available():
            where = load(Device(name, index))
            array = where.backend.from_dlpack(external)  # type: ignore[union-attr]
            return wrap(array, where.backend.dtype_of(array), where)  # type: ignore[union-attr]
    raise BufferError(f"from_dlpack: no backend takes arrays from the DLPack device type {kind}")


def from_cuda_array(data: Any) -> Tensor:
    """A tensor that shares the memory of an object with ``__cuda_array_interface__``.

    What the object's own stream has been given is waited for by the current one, as the protocol asks.

    Raises:
        RuntimeError: where there is no CUDA device.
        NotImplementedError: when the backend does not take such arrays.
    """
    where = load(Device("cuda"))
    runtime = where.backend.runtime  # type: ignore[union-attr]
    if runtime is None:
        raise NotImplementedError("as_tensor: the backend for 'cuda' does not take the memory of other libraries")
    array = runtime.from_array_interface(data)
    return wrap(array, where.backend.dtype_of(array), where.backend.device_of(array))  # type: ignore[union-attr]


def cuda_array_interface(tensor: Tensor) -> dict[str, Any]:
    """What ``Tensor.__cuda_array_interface__`` is."""
    where = tensor._device
    if where.type != "cuda":
        raise AttributeError(
            f"__cuda_array_interface__: the tensor is on {where}, not on a CUDA device; use .cuda() to move it"
        )
    if tensor._node is not None:
        raise RuntimeError(
            "Can't get __cuda_array_interface__ on Variable that requires grad. Use tensor.detach() instead."
        )
    kind = tensor._dtype.numpy
    if kind.kind not in "biufc":
        raise TypeError(f"__cuda_array_interface__: the protocol has no name for {tensor._dtype.name}")
    backend: Any = where.backend
    strides = None if tensor.is_contiguous() else tuple([step * kind.itemsize for step in tensor.stride()])
    runtime = backend.runtime
    found = {
        "typestr": kind.str, "shape": tuple(tensor.shape), "strides": strides, "version": 3,
        "data": (tensor.data_ptr() if tensor.numel() else 0, False),
    }  # fmt: skip
    if runtime is not None:
        # 0 may mean none at all: the default stream is 1.
        found["stream"] = runtime.stream_pointer(runtime.current_stream(where.index or 0)) or 1
    return found


def transfer_array(array: Any, target: Device, source: Device, non_blocking: bool = False) -> Any:
    """A raw array of ``source`` as a raw array of ``target``, through the host; what ``xp.to_device`` is."""
    if target is source:
        return array
    gives, takes = source.backend, target.backend
    runtime = gives.runtime  # type: ignore[union-attr]
    if runtime is not None and target.type == source.type:
        return runtime.between_devices(array, target)
    host = gives.to_numpy(array) if runtime is None else runtime.to_host(array, non_blocking)  # type: ignore[union-attr]
    if target.type == "cpu":
        # The CPU shares memory with the host array; a transfer never aliases.
        return takes.from_numpy(numpy.array(host) if runtime is None else host, target)  # type: ignore[union-attr]
    if takes.runtime is not None:  # type: ignore[union-attr]
        return takes.runtime.to_device(host, target, non_blocking)  # type: ignore[union-attr]
    return takes.from_numpy(host, target)  # type: ignore[union-attr]


def transfer(input: Tensor, target: Device, source: Device, non_blocking: bool = False) -> Tensor:
    """``input``, which lives on ``source``, on ``target``, recorded; what ``Tensor.to`` calls."""
    if source.depth or target.depth:  # inside of vmap, where levels look like the device below
        from flambeau.levels import share

        return share(input, target)
    target = load(target)
    if input.is_meta:
        raise NotImplementedError("to: Cannot copy out of meta tensor; no data! Use to_empty() for modules")
    output = wrap(transfer_array(input._array, target, source, non_blocking), input._dtype, target)
    if input.requires_grad and state.enabled:
        from flambeau.ops.declare import OPS

        # The tape notes the device that the formula's cotangent lives on: the target's.
        record(OPS["to_device"], [input, target, source], output)
    return output
