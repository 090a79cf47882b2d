"""The meta device: shapes and dtypes without data.

A raw array is a :class:`Spec`; a primitive's kernel is its shape rule, a composite runs through its decomposition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flambeau.devices import device
from flambeau.dispatch import Backend
from flambeau.dtypes import DTYPES, dtype, from_numpy_dtype
from flambeau.ops.declare import OPS
from flambeau.ops.spec import Spec


class MetaBackend(Backend):
    """Backend of ``device="meta"``."""

    name = "meta"
    array_type = Spec
    dtypes = frozenset(DTYPES)

    def kernels(self) -> Mapping[str, Callable[..., Any]]:
        return {op.name: op.body for op in OPS.values() if op.primitive}

    def dtype_of(self, array: Spec) -> dtype:
        return array.dtype

    def from_numpy(self, array: Any, device: device) -> Spec:
        return Spec(array.shape, from_numpy_dtype(array.dtype))

    def to_numpy(self, array: Spec) -> Any:
        raise NotImplementedError("a tensor on the meta device has no data")
