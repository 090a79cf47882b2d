"""The device type ``opencl``: arrays are :class:`flambeau_opencl.array.Array`, in the memory of an OpenCL device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from flambeau.devices import device
from flambeau.dispatch import Backend, Chain, Kernel, load
from flambeau.dtypes import dtype

THEMES = (
    "elementwise",
    "creation",
    "reduction",
    "cumulative",
    "shape",
    "indexing",
    "sorting",
    "matmul",
    "linalg",
    "activation",
    "attention",
    "loss",
    "normalization",
    "convolution",
    "pooling",
    "random",
    "recurrent",
    "dropout",
    "optimizer",
    "clipping",
)

_DOUBLES = {"float64", "complex128"}


class OpenCLBackend(Backend):
    """Backend of ``device="opencl"`` and ``"opencl:N"``.

    PyOpenCL is imported, and drivers are asked for their devices, when the first of these is wanted.
    """

    name = "opencl"
    # These add with atomic operations, in whatever order.
    nondeterministic = frozenset({"embedding_backward", "index_put", "index_put_", "scatter_add", "scatter_add_"})

    def __init__(self) -> None:
        self.install = ""
        self._arrays: Any = None

    @property
    def array_type(self) -> type:  # type: ignore[override]
        from flambeau_opencl.array import Array

        return Array

    def is_available(self) -> bool:
        """Whether PyOpenCL is there and finds a device; if not, :attr:`install` says what is missing."""
        if find_spec("pyopencl") is None:
            self.install = "OpenCL needs the package pyopencl: pip install 'flambeau[opencl]'"
            return False
        try:
            from flambeau_opencl import runtime

            if runtime.devices():
                return True
            problem = f"no platform has a device (is {runtime.PLATFORM_VARIABLE} set?)"
        except Exception as error:  # whatever a broken driver raises
            problem = f"{type(error).__name__}: {error}"
        self.install = (
            f"PyOpenCL finds no device: {problem}. Install your GPU's OpenCL driver, or a CPU runtime by pip: "
            "pip install pocl-binary-distribution"
        )
        return False

    def device_count(self) -> int:
        from flambeau_opencl.runtime import devices

        return len(devices())

    def device_name(self, index: int) -> str:
        """The hardware's name and its platform's."""
        from flambeau_opencl.runtime import devices

        hardware = devices()[index]
        return f"{hardware.name.strip()} ({hardware.platform.name.strip()})"

    def kernels(self) -> Mapping[str, Callable[..., Any]]:
        """Every kernel, gathered from the modules in :data:`THEMES`."""
        from flambeau_opencl import array, runtime
        from flambeau_opencl.elements import ELEMENTS

        self._arrays = array
        held = {kind.name for kind in ELEMENTS}
        missing = set() if find_spec("ml_dtypes") else {"bfloat16"}
        if not all("cl_khr_fp64" in hardware.extensions for hardware in runtime.devices()):
            missing |= _DOUBLES
        self.dtypes = frozenset(held - missing)
        gathered: dict[str, Callable[..., Any]] = {}
        for theme in THEMES:
            gathered.update(import_module(f"flambeau_opencl.{theme}").KERNELS)
        return gathered

    def dtype_of(self, array: Any) -> dtype:
        return array.dtype

    def device_of(self, array: Any) -> device:
        """The device whose memory holds the array."""
        return load(array.storage.runtime.device)

    def from_numpy(self, array: Any, device: device) -> Any:
        """A copy on the device.

        Raises:
            TypeError: when no dtype of ours can hold it.
            RuntimeError: when the device has no double precision and the array needs it, or no memory left.
        """
        from flambeau_opencl.runtime import runtime

        return self._arrays.from_host(runtime(device), array)

    def to_numpy(self, array: Any) -> Any:
        """A copy on the host; waits for the device.

        Raises:
            IndexError: when one of the kernels before met an index out of bounds.
        """
        return self._arrays.to_host(array)

    def dlpack_device(self, array: Any) -> tuple[int, int] | None:
        """The CPU where the device's memory is the host's: NumPy and others then use it as it is."""
        return (1, 0) if array.runtime.is_cpu else None

    def to_dlpack(self, array: Any, **options: Any) -> Any:
        """A capsule of the memory itself; waits for the device.

        Raises:
            BufferError: where the device has memory of its own.
        """
        options.pop("stream", None)
        return self._arrays.mapped(array).__dlpack__(**options)

    def is_shared(self, array: Any) -> bool:
        return array.is_view

    def strides(self, array: Any) -> tuple[int, ...]:
        return array.strides

    def storage_offset(self, array: Any) -> int:
        return array.offset

    def storage_nbytes(self, array: Any) -> int:
        return array.storage.nbytes

    def data_ptr(self, array: Any) -> int:
        """The buffer's handle plus the offset in bytes: equal for what begins at the same place."""
        return array.storage.buffer.int_ptr + array.offset * array.dtype.itemsize

    def notes_indices(self, op: str, array: Any, lowest: int, size: int, dim: int) -> bool:
        from flambeau_opencl.indexing import note_range

        note_range(op, array, lowest, size, dim)
        return True

    def synchronize(self, device: device) -> None:
        from flambeau_opencl.runtime import runtime

        runtime(device).synchronize()

    def compile(self, chain: Chain) -> Kernel | None:
        """One kernel from the expressions of all ops."""
        from flambeau_opencl.chains import compiled

        return compiled(chain)
