"""The device type ``cuda``: arrays are ``cupy.ndarray``, in the memory of an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from flambeau import devices
from flambeau.dispatch import Backend, Chain, Kernel, load
from flambeau.dtypes import _FROM_NUMPY, dtype, from_numpy_dtype
from flambeau.sync_debug import waits

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
    "random",
    "activation",
    "loss",
    "normalization",
    "attention",
    "recurrent",
    "convolution",
    "pooling",
    "optimizer",
    "optimizer_adaptive",
)

_PIP = "pip install 'flambeau[cuda]'"


class CupyBackend(Backend):
    """Backend of ``device="cuda"`` and ``"cuda:N"``.

    CuPy is imported, and the driver asked for its devices, when the first of these is wanted.
    """

    name = "cuda"
    dlpack_type = 2

    def __init__(self) -> None:
        self.install = ""
        self._cupy: Any = None

    @property
    def array_type(self) -> type:  # type: ignore[override]
        import cupy

        found: type = cupy.ndarray
        return found

    # -- what is there -------------------------------------------------------------------------------------------------

    def is_available(self) -> bool:
        """Whether CuPy is there and finds a device; if not, :attr:`install` says what is missing."""
        self.install = ""
        if find_spec("cupy") is None:
            self.install = f"CUDA needs the package cupy: {_PIP} (for a driver of CUDA 12)"
            return False
        try:
            from cupy.cuda import runtime
        except Exception as error:  # an ImportError, or whatever a wheel that does not fit the machine raises
            self.install = f"CuPy cannot be imported: {type(error).__name__}: {error}. To install it anew: {_PIP}"
            return False
        try:
            if runtime.getDeviceCount() > 0:
                return True
            self.install = "CuPy finds no CUDA device: nvidia-smi lists none, or CUDA_VISIBLE_DEVICES hides them"
        except Exception as error:
            self.install = _cause(error)
        return False

    def device_count(self) -> int:
        from cupy.cuda import runtime

        return int(runtime.getDeviceCount())

    def device_name(self, index: int) -> str:
        """The hardware's name."""
        from cupy.cuda import runtime

        name: str = runtime.getDeviceProperties(index)["name"].decode()
        return name

    def libraries(self) -> Mapping[str, int]:
        from flambeau_cupy.cudnn import library

        found = library.version()
        return {} if found is None else {"cudnn": found}

    # -- kernels -------------------------------------------------------------------------------------------------------

    def kernels(self) -> Mapping[str, Callable[..., Any]]:
        """Every kernel, gathered from the modules in :data:`THEMES`."""
        import cupy

        from flambeau_cupy.elements import HELD
        from flambeau_cupy.runtime import CupyRuntime

        self._cupy = cupy
        self.runtime = CupyRuntime(self)
        self.dtypes = HELD if find_spec("ml_dtypes") else HELD - {"bfloat16"}
        gathered: dict[str, Callable[..., Any]] = {}
        for theme in THEMES:
            gathered.update(import_module(f"flambeau_cupy.{theme}").KERNELS)
        # cuSOLVER is asked whether it succeeded.
        self.synchronizing = frozenset({"nonzero", *import_module("flambeau_cupy.linalg").KERNELS})
        if self.device_count() > 1:
            return {name: _on_its_device(cupy, kernel) for name, kernel in gathered.items()}
        return gathered

    def dtype_of(self, array: Any) -> dtype:
        return _FROM_NUMPY.get(array.dtype) or from_numpy_dtype(array.dtype)

    def device_of(self, array: Any) -> devices.device:
        """The device whose memory holds the array."""
        return load(devices.device("cuda", array.device.id))

    def compile(self, chain: Chain) -> Kernel | None:
        from flambeau_cupy.chains import compiled

        return compiled(chain)

    # -- to and from the host ------------------------------------------------------------------------------------------

    def from_numpy(self, array: Any, device: devices.device) -> Any:
        """A copy on the device.

        Raises:
            TypeError: when no dtype of ours can hold it.
        """
        own = from_numpy_dtype(array.dtype)
        if own.name not in self.dtypes:
            raise TypeError(f"device '{device}': CuPy has no arrays of {own.name}")
        with self._cupy.cuda.Device(device.index or 0):
            return self._cupy.asarray(array.astype(own.numpy, copy=False))

    def to_numpy(self, array: Any) -> Any:
        """A copy on the host; waits for the device.

        Raises:
            IndexError: when one of the kernels before met an index out of bounds.
        """
        from flambeau_cupy.programs import complaints

        waits("a copy to the host")
        host = array.get()
        complaints(array).raise_first()
        return host

    def synchronize(self, device: devices.device) -> None:
        """Wait until the device has done all that it was given.

        Raises:
            IndexError: when one of the kernels before met an index out of bounds.
        """
        from flambeau_cupy.programs import complaints

        with self._cupy.cuda.Device(device.index or 0) as own:
            own.synchronize()
            complaints().raise_first()

    # -- memory --------------------------------------------------------------------------------------------------------

    def is_shared(self, array: Any) -> bool:
        return array.base is not None

    def strides(self, array: Any) -> tuple[int, ...]:
        """How many elements lie between neighbours in each dimension."""
        itemsize = array.itemsize
        return tuple([step // itemsize for step in array.strides])

    def storage_offset(self, array: Any) -> int:
        """How many elements lie before the first one in the memory that the array shares."""
        memory = array.data
        offset: int = (memory.ptr - memory.mem.ptr) // array.itemsize
        return offset

    def storage_nbytes(self, array: Any) -> int:
        """The bytes of the memory that the array shares."""
        from flambeau_cupy.shape import storage_nbytes

        return storage_nbytes(array)

    def data_ptr(self, array: Any) -> int:
        """The address of the first element."""
        address: int = array.data.ptr
        return address

    def from_dlpack(self, external: Any) -> Any:
        """An array over the memory of an object with ``__dlpack__``, or with ``__cuda_array_interface__``."""
        if not hasattr(external, "__dlpack__"):
            return self._cupy.asarray(external)
        return self._cupy.from_dlpack(external)


def _cause(error: Exception) -> str:
    """What to do about an error of CUDA's when it is asked for its devices."""
    text = f"{type(error).__name__}: {error}"
    if "InsufficientDriver" in text or "cuda.so" in text or "NoDevice" not in text:
        return (
            f"CuPy finds no usable NVIDIA driver ({text}). Install the driver for your GPU (nvidia-smi shows its "
            f"version), at least the one of CUDA 12; CuPy and CUDA's libraries come with {_PIP}"
        )
    return f"there is a driver, but no CUDA device ({text}): nvidia-smi lists none, or CUDA_VISIBLE_DEVICES hides them"


def _on_its_device(cupy: Any, kernel: Callable[..., Any]) -> Callable[..., Any]:
    """``kernel``, run with the device of its first array (or the one that it is given) as CuPy's current one."""
    current = cupy.cuda.runtime.getDevice

    @wraps(kernel)
    def run(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if isinstance(value, (list, tuple)) and value:
                value = value[0]
            if isinstance(value, cupy.ndarray):
                wanted = value.device.id
                break
            if isinstance(value, devices.device):
                wanted = value.index or 0
                break
        else:
            wanted = devices.current_index("cuda")
        if wanted == current():
            return kernel(*args, **kwargs)
        with cupy.cuda.Device(wanted):
            return kernel(*args, **kwargs)

    return run
