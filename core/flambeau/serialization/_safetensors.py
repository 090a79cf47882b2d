"""The ``.safetensors`` format: a dictionary of tensors and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy

from flambeau import devices, dispatch, dtypes
from flambeau.devices import device
from flambeau.tensor import Tensor, wrap


def _library() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            "files with the extension .safetensors need the package safetensors: pip install 'flambeau[safetensors]'"
        ) from None
    return safetensors


def save(obj: Any, path: str) -> None:
    """Write ``obj``, a mapping from names to tensors, each as a contiguous copy of its own.

    Raises:
        TypeError: when ``obj`` is something else.
        ValueError: when the format has no type for a tensor.
    """
    library = _library()
    arrays = {}
    for name, t in obj.items() if isinstance(obj, Mapping) else ((None, obj),):
        if not isinstance(name, str) or not isinstance(t, Tensor):
            seen = type(obj).__name__ if name is None else f"{name!r}: {type(t).__name__}"
            raise TypeError(f"save: a .safetensors file holds a dict from str to Tensor, got {seen}")
        arrays[name] = numpy.asarray(t.numpy(force=True), order="C")
    try:
        library.numpy.save_file(arrays, path)
    except library.SafetensorError as error:
        raise ValueError(f"save: the .safetensors format cannot hold this: {error}") from None


def load(path: str, map_location: Any) -> dict[str, Tensor]:
    """Read all tensors.

    Raises:
        RuntimeError: when the file is damaged, or ``map_location`` is neither None nor a device.
    """
    library = _library()
    if map_location is not None and not isinstance(map_location, (str, device)):
        raise RuntimeError(
            "load: with a .safetensors file map_location is a device or its name, "
            f"got a {type(map_location).__name__}: the file does not know where its tensors were"
        )
    where = dispatch.load(devices.device("cpu" if map_location is None else map_location))
    assert where.backend is not None
    loaded = {}
    try:
        with library.safe_open(path, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118 - it is no dictionary
                array = file.get_tensor(name)
                kind = dtypes.from_numpy_dtype(array.dtype)
                loaded[name] = wrap(where.backend.from_numpy(array, where), kind, where)
    except library.SafetensorError as error:
        raise RuntimeError(f"load: {path!r}: the .safetensors file is cut off or damaged ({error})") from None
    return loaded
