"""Samples of ops on the bits of elements."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.dtypes import float64, int32, uint8
from flambeau.testing.database import FLOATS, HALF, INTEGERS, Maker, Sample, case, sample


@case("view_dtype", lambda x, dtype: x.view(dtype), dtypes=("int64",), gradients=False, strided=False)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), int32)
    yield sample(make(2, 3), uint8)
    if make.holds("float64"):
        yield sample(make(3), float64)
        yield sample(make(), float64)


# NumPy's numbers are of double precision here; the neighbours in other precisions are in tests/core/ops/test_bits.py.
@case("nextafter", np.nextafter, dtypes=("float64",), gradients=False)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(4))
    yield sample(make.values([0.0, -0.0, 1.0, 1.0, -1.0]), make.values([1.0, -1.0, 2.0, 0.0, -1.0]))
    yield sample(
        make.values([math.inf, math.inf, math.nan, 1.7976931348623157e308]), make.values([0.0, math.inf, 1.0, math.inf])
    )


def _hash(x: Any, dim: Any = None, *, keepdim: bool = False) -> Any:
    bits = x.astype(np.float64 if x.dtype.kind == "f" else np.int64).view(np.uint64)
    return np.bitwise_xor.reduce(bits, axis=dim, keepdims=keepdim)


@case("hash_tensor", _hash, dtypes=(*FLOATS, *INTEGERS, "bool"), gradients=False, in_double=FLOATS)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 5))
    yield sample(make(3, 5, 2), (0, 2))
    yield sample(make(3, 5), 1, keepdim=True)
    yield sample(make(0, 2), 0)
    yield sample(make())


@case("frexp", np.frexp, dtypes=(*FLOATS, *HALF), gradients=False)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4))
    yield sample(make.values([0.0, -0.0, 0.5, -1.0, 3.0, 1024.0, 6.1e-5, 1e-7]))
    yield sample(make())
