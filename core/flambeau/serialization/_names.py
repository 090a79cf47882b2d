"""What PyTorch calls the things that a checkpoint is made of."""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

from flambeau.dtypes import DTYPES


class TorchGlobal(NamedTuple):
    """A class or function that a pickle names though it may not be installed here."""

    module: str
    name: str


STORAGE_NAMES = {
    "bool": "BoolStorage", "uint8": "ByteStorage", "int8": "CharStorage", "int16": "ShortStorage",
    "int32": "IntStorage", "int64": "LongStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage",
    "float32": "FloatStorage", "float64": "DoubleStorage", "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}  # fmt: skip
# Other dtypes lie in storages of bytes, and the tensor names its dtype.
STORAGE_DTYPES = {storage: DTYPES[name] for name, storage in STORAGE_NAMES.items()}

# Types of PyTorch that a checkpoint may hold and that Flambeau has no counterpart for.
FOREIGN_DTYPES = frozenset({
    "uint16", "uint32", "uint64", "complex32", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
    "float8_e8m0fnu", "float4_e2m1fn_x2", "quint8", "qint8", "qint32", "quint4x2", "quint2x4", "bits8", "bits16",
}) - DTYPES.keys()  # fmt: skip
FOREIGN_STORAGES = frozenset({"QInt8Storage", "QInt32Storage", "QUInt8Storage", "QUInt4x2Storage", "QUInt2x4Storage"})
FOREIGN_FUNCTIONS = {
    "torch._utils._rebuild_qtensor": "a quantized tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_wrapper_subclass": "a tensor subclass of PyTorch",
}


def shown(value: Any) -> str:
    """A short text for what a damaged file has somewhere. Not ``repr``: of lists that hold lists it may be endless."""
    if isinstance(value, (str, bytes)):
        return repr(value[:80])
    if isinstance(value, (TorchGlobal, type)) or callable(value):
        return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else repr(value)[:80]
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else f"a {type(value).__name__}"


def storage_key(value: Any) -> str:
    """The name of a storage; an UnpicklingError for what is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and abs(value) < 1 << 64:
        return str(value)
    raise pickle.UnpicklingError(f"the storage {shown(value)} is described wrongly")
