"""The device type ``mlx``: arrays are :class:`flambeau_mlx.array.Array`, over arrays of Apple's MLX."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy
from flambeau.devices import device
from flambeau.dispatch import Backend
from flambeau.dtypes import dtype, from_numpy_dtype

THEMES = ("elementwise", "creation", "reduction", "shape", "indexing", "sorting", "linalg", "network", "random")


class MLXBackend(Backend):
    """Backend of ``device="mlx"``: Apple's GPU through Metal where there is one, else the CPU.

    MLX is imported when the device is first asked for.
    """

    name = "mlx"
    #: Of the host's memory, or of a Metal buffer.
    dlpack_type = 8 if sys.platform == "darwin" else 1
    #: These look at indices and divisors, or compute on the host.
    synchronizing = frozenset({
        "index", "index_put", "gather", "scatter", "scatter_add", "embedding", "nonzero", "floor_divide", "remainder",
        "fmod", "linalg_solve", "linalg_inv", "linalg_det", "linalg_cholesky", "linalg_qr", "linalg_svd",
        "linalg_eigh", "linalg_eig",
    })  # fmt: skip

    def __init__(self) -> None:
        self.install = ""

    @property
    def array_type(self) -> type:  # type: ignore[override]
        from flambeau_mlx.array import Array

        return Array

    def is_available(self) -> bool:
        """Whether MLX is there and works; if not, :attr:`install` says what is missing."""
        try:
            import_module("flambeau_mlx.evaluation")
            return True
        except Exception as error:  # whatever a library without its other half raises
            self.install = (
                f"MLX cannot be used: {type(error).__name__}: {error}. It is installed by: pip install "
                "'flambeau-mlx[cpu]' (on Linux), pip install flambeau-mlx (on Apple Silicon)"
            )
            return False

    def device_name(self, index: int) -> str:
        """What MLX computes on."""
        import mlx.core as mx

        from flambeau_mlx.evaluation import DEVICE

        return f"MLX on the {'GPU' if DEVICE.type == mx.gpu else 'CPU'}"

    def kernels(self) -> Mapping[str, Any]:
        """The kernels of the modules in :data:`THEMES`; those that compute do so on the common stream."""
        from flambeau_mlx.array import HELD
        from flambeau_mlx.evaluation import on_stream
        from flambeau_mlx.shape import VIEWS

        self.dtypes = frozenset(HELD) if find_spec("ml_dtypes") else frozenset(HELD) - {"bfloat16"}
        gathered: dict[str, Any] = {}
        for theme in THEMES:
            for name, kernel in import_module(f"flambeau_mlx.{theme}").KERNELS.items():
                gathered[name] = on_stream(kernel)
        return {**gathered, **VIEWS}

    def dtype_of(self, array: Any) -> dtype:
        return array.dtype

    def from_numpy(self, array: Any, device: device) -> Any:
        """A copy in MLX's memory.

        Raises:
            TypeError: when MLX does not hold the dtype, or no tensor can.
        """
        import mlx.core as mx

        from flambeau_mlx.array import fresh, native

        kind = from_numpy_dtype(array.dtype)
        return fresh(mx.array(numpy.asarray(array, kind.numpy), native(kind)))

    def to_numpy(self, array: Any) -> Any:
        """A copy; waits for it to be computed."""
        import mlx.core as mx

        from flambeau_mlx.evaluation import STREAM, evaluate

        with mx.stream(STREAM):
            value = array.value
            if array.dtype.name == "bfloat16":  # which Python's buffers do not have
                value = mx.view(value, mx.uint16)
        evaluate(value)
        # A copy, for it may be written to, and MLX shares its memory with every clone.
        return numpy.array(value, order="C").view(array.dtype.numpy)

    def to_dlpack(self, array: Any, **options: Any) -> Any:
        """A capsule over MLX's memory, for reading: clones may share it."""
        import mlx.core as mx

        from flambeau_mlx.evaluation import STREAM, evaluate

        with mx.stream(STREAM):
            value = mx.contiguous(array.value)
        evaluate(value)
        return value.__dlpack__(**options)

    def from_dlpack(self, external: Any) -> Any:
        """An array over the memory of an object with ``__dlpack__``."""
        import mlx.core as mx

        from flambeau_mlx.array import fresh
        from flambeau_mlx.evaluation import evaluate

        value = mx.from_dlpack(external)
        evaluate(value)
        return fresh(value)

    def is_shared(self, array: Any) -> bool:
        return array.is_view

    def strides(self, array: Any) -> tuple[int, ...]:
        return array.strides

    def storage_offset(self, array: Any) -> int:
        return array.offset

    def storage_nbytes(self, array: Any) -> int:
        return array.storage.data.nbytes

    def data_ptr(self, array: Any) -> int:
        """A number for the storage plus the offset in bytes: equal for what begins at the same place."""
        return id(array.storage) + array.offset * array.dtype.itemsize

    def synchronize(self, device: device) -> None:
        from flambeau_mlx.evaluation import synchronize

        synchronize()
