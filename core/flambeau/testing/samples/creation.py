"""Samples of creation and random ops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import ALL, FLOATS, HALF, REAL, Maker, Sample, case, sample

FEW = ("float32", "float64", "int64", "bool", "complex64", "complex128")


@case("full", lambda size, value, dtype, device: np.full(size, value, dtype), dtypes=(*ALL, *HALF))
def _(make: Maker) -> Iterator[Sample]:
    for size in ((2, 3), (), (0, 2), (5,)):
        yield sample(size, 1, make.dtype, make.device)
    yield sample((2,), 0, make.dtype, make.device)
    if make.is_floating:
        for value in (2.5, math.inf, math.nan):
            yield sample((2,), value, make.dtype, make.device)


@case(
    "arange", lambda start, end, step, dtype, device: np.arange(start, end, step).astype(dtype), dtypes=(*REAL, *HALF)
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(0, 5, 1, make.dtype, make.device)
    yield sample(2, 11, 3, make.dtype, make.device)
    yield sample(7, 2, -2, make.dtype, make.device)
    yield sample(3, 3, 1, make.dtype, make.device)
    if make.is_floating:
        yield sample(0.5, 2.0, 0.25, make.dtype, make.device)


@case("complex", lambda real, imag: real + 1j * imag)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make(2, 3))
    yield sample(make(2, 1), make(3))
    yield sample(make(), make())


@case("polar", lambda size, angle: size * np.exp(1j * angle))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), make(2, 3))


@case("full_like", lambda x, value, dtype=None: np.full_like(x, value, dtype), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), 1)
    yield sample(make(), 0)


@case("new_full", lambda x, size, value, dtype=None: np.full(size, value, dtype or x.dtype), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3), (2, 2), 1)
    yield sample(make(3), (), 0)


@case("new_arange", lambda x, start, end, step=1, dtype=np.int64: np.arange(start, end, step).astype(dtype))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3), 0, 4)
    yield sample(make(3), 1, 8, 3, make.dtype)


@case("eye", lambda n, m, dtype, device: np.eye(n, m, dtype=dtype), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    for n, m in ((3, 3), (2, 4), (4, 2), (0, 2)):
        yield sample(n, m, make.dtype, make.device)


@case("linspace", lambda start, end, steps, dtype, device: np.linspace(start, end, steps))
def _(make: Maker) -> Iterator[Sample]:
    for steps in (0, 1, 2, 7):
        yield sample(-1.5, 4, steps, make.dtype, make.device)


@case("logspace", lambda start, end, steps, base, dtype, device: np.logspace(start, end, steps, base=base))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(-1, 2, 4, 10.0, make.dtype, make.device)
    yield sample(0, 3, 5, 2, make.dtype, make.device)


for _name, _function in (("tril", np.tril), ("triu", np.triu)):

    @case(_name, _function, dtypes=(*ALL, *HALF))
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(3, 4))
        yield sample(make(4, 3), 1)
        yield sample(make(2, 3, 3), -1)
        yield sample(make(0, 3), 0)


def _diag_embed(x: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    n = x.shape[-1] + abs(offset)
    result = np.zeros((*x.shape[:-1], n, n), x.dtype)
    rows = np.arange(x.shape[-1]) + max(-offset, 0)
    result[..., rows, rows + offset] = x
    return np.moveaxis(result, (-2, -1), (dim1, dim2))


@case("diag_embed", _diag_embed, dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3))
    yield sample(make(2, 3), 1)
    yield sample(make(2, 3), -2, 0, 2)


@case("diag", np.diag, dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3))
    yield sample(make(3, 4), 1)
    yield sample(make(3), -1)


@case("diagflat", np.diagflat, dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 2), 1)


# -- random numbers ----------------------------------------------------------------------------------------------------


def uniforms(size: Any, dtype: Any, seed: int, offset: int, device: Any) -> Any:
    """The stream as the op's documentation defines it, from ``numpy.random.Philox``."""
    n = int(np.prod(size))
    philox = np.random.Philox(key=seed, counter=offset)
    if dtype == np.float64:
        return ((philox.random_raw(n) >> np.uint64(11)) * 2.0**-53).reshape(size)
    raw = philox.random_raw((n + 1) // 2)
    halves = np.stack([raw & np.uint64(0xFFFFFFFF), raw >> np.uint64(32)], 1).reshape(-1)[:n]
    bits = 24 if dtype == np.float32 else 11
    return ((halves >> np.uint64(32 - bits)) * 2.0**-bits).reshape(size)


SEEDS = ((0, 0), (1234567890123, 5), (2**64 - 1, 2**40))


@case("random_uniform", uniforms, dtypes=(*FLOATS, *HALF), loose=0.0)
def _(make: Maker) -> Iterator[Sample]:
    for seed, offset in SEEDS:
        for size in ((7,), (3, 4), (), (0,), (1025,)):
            yield sample(size, make.dtype, seed, offset, make.device)


def _normals(size: Any, dtype: Any, seed: int, offset: int, device: Any) -> Any:
    n = int(np.prod(size))
    half = (n + 1) // 2
    u, v = uniforms((2, half), np.float64 if dtype == np.float64 else np.float32, seed, offset, device)
    radius = np.sqrt(-2 * np.log(1 - u))
    both = np.concatenate([radius * np.cos(2 * np.pi * v), radius * np.sin(2 * np.pi * v)])
    return both[:n].reshape(size)


@case("random_normal", _normals, dtypes=(*FLOATS, *HALF))
def _(make: Maker) -> Iterator[Sample]:
    for seed, offset in SEEDS:
        for size in ((7,), (3, 4), (), (0,)):
            yield sample(size, make.dtype, seed, offset, make.device)


def _exponentials(size: Any, dtype: Any, seed: int, offset: int, device: Any) -> Any:
    return -np.log(1 - uniforms(size, np.float64 if dtype == np.float64 else np.float32, seed, offset, device))


@case("random_exponential", _exponentials)
def _(make: Maker) -> Iterator[Sample]:
    for seed, offset in SEEDS:
        yield sample((3, 4), make.dtype, seed, offset, make.device)


def _integers(size: Any, low: int, high: int, dtype: Any, seed: int, offset: int, device: Any) -> Any:
    return (low + np.floor(uniforms(size, np.float64, seed, offset, device) * (high - low))).astype(dtype)


@case("random_integers", _integers, dtypes=("int64", "int32", "float32"))
def _(make: Maker) -> Iterator[Sample]:
    for seed, offset in SEEDS:
        yield sample((3, 4), -3, 11, make.dtype, seed, offset, make.device)
        yield sample((5,), 0, 2**31 - 1, make.dtype, seed, offset, make.device)


def _permutation(n: int, dtype: Any, seed: int, offset: int, device: Any) -> Any:
    return np.argsort(uniforms((n,), np.float64, seed, offset, device), kind="stable")


@case("random_permutation", _permutation, dtypes=("int64", "int32"))
def _(make: Maker) -> Iterator[Sample]:
    for seed, offset in SEEDS:
        yield sample(13, make.dtype, seed, offset, make.device)
    yield sample(0, make.dtype, 0, 0, make.device)
