"""The device type ``cpu``: arrays are ``numpy.ndarray``, on the host."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy

from flambeau.devices import device
from flambeau.dispatch import Backend, Chain, Kernel
from flambeau.dtypes import _FROM_NUMPY, DTYPES, FROM_ML_DTYPES, dtype, from_numpy_dtype
from flambeau_numpy.shape import owner

#: How the warnings of NumPy begin that mean nothing here: floating-point exceptions, and lost imaginary parts.
EXPECTED_WARNINGS = r"(divide by zero|overflow|underflow|invalid value) encountered in|Casting complex values to real"

THEMES = (
    "elementwise",
    "creation",
    "reduction",
    "shape",
    "indexing",
    "sorting",
    "matmul",
    "linalg",
    "spectral",
    "activation",
    "loss",
    "normalization",
    "convolution",
    "pooling",
    "dropout",
    "attention",
    "recurrent",
    "random",
    "optimizer",
    "optimizer_adaptive",
    "clipping",
)

_CPU = device("cpu")


class NumpyBackend(Backend):
    """Backend of ``device="cpu"``."""

    name = "cpu"
    array_type = numpy.ndarray
    dlpack_type = 1

    def __init__(self) -> None:
        self.dtypes = frozenset(DTYPES) if find_spec("ml_dtypes") else frozenset(DTYPES) - FROM_ML_DTYPES

    def device_name(self, index: int) -> str:
        return platform.processor() or platform.machine()

    def kernels(self) -> Mapping[str, Callable[..., Any]]:
        """Every kernel, gathered from the modules in :data:`THEMES`.

        Division by zero, overflow and NaN are values here, as in PyTorch, and no cause for a warning. One filter
        for what NumPy warns of in our own frames says so: ``numpy.errstate`` around each kernel would cost 0.9 µs.
        """
        warnings.filterwarnings("ignore", EXPECTED_WARNINGS, RuntimeWarning, module=r"flambeau")
        from flambeau_numpy import pointwise

        gathered: dict[str, Callable[..., Any]] = pointwise.kernels()
        for theme in THEMES:
            gathered.update(import_module(f"flambeau_numpy.{theme}").KERNELS)
        return gathered

    def dtype_of(self, array: Any) -> dtype:
        try:
            return _FROM_NUMPY[array.dtype]
        except KeyError:
            return from_numpy_dtype(array.dtype)

    def as_array(self, value: Any) -> Any:
        return numpy.asarray(value)

    def from_numpy(self, array: Any, device: device) -> Any:
        """The array itself; a copy where it is not in the machine's byte order.

        Raises:
            TypeError: when no dtype of ours can hold it.
        """
        own = from_numpy_dtype(array.dtype)
        return array if array.dtype.isnative else array.astype(own.numpy)

    def to_numpy(self, array: Any) -> Any:
        return array

    def is_shared(self, array: Any) -> bool:
        return array.base is not None or not array.flags.owndata

    def strides(self, array: Any) -> tuple[int, ...]:
        """How many elements lie between neighbours in each dimension."""
        itemsize = array.itemsize
        return tuple([step // itemsize for step in array.strides])

    def storage_offset(self, array: Any) -> int:
        """How many elements lie in the owning array's memory before the first one."""
        offset: int = (self.data_ptr(array) - self.data_ptr(owner(array))) // array.itemsize
        return offset

    def storage_nbytes(self, array: Any) -> int:
        """The bytes of the owning array's memory."""
        size: int = owner(array).nbytes
        return size

    def data_ptr(self, array: Any) -> int:
        """The address of the first element."""
        address: int = array.__array_interface__["data"][0]
        return address

    def from_dlpack(self, external: Any) -> Any:
        """An array over the memory of an object with ``__dlpack__``."""
        return numpy.from_dlpack(external)

    def device_of(self, array: Any) -> device:
        """The CPU, which is one device."""
        return _CPU

    def compile(self, chain: Chain) -> Kernel | None:
        """A kernel that goes through large arrays a part at a time."""
        from flambeau_numpy.chains import compiled

        return compiled(chain)
