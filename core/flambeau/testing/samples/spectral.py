"""Samples of Fourier transforms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import COMPLEXES, FLOATS, Maker, Sample, case, sample


def _c2c(input: Any, dims: tuple[int, ...], forward: bool) -> Any:
    return np.fft.fftn(input, axes=dims) if forward else np.fft.ifftn(input, axes=dims, norm="forward")


@case("fft_c2c", _c2c, dtypes=COMPLEXES)
def _(make: Maker) -> Iterator[Sample]:
    for shape, dims in (((5,), (0,)), ((3, 4), (1,)), ((3, 4), (0, 1)), ((2, 1, 3), (0, 1, 2))):
        yield sample(make(*shape), dims, True)
        yield sample(make(*shape), dims, False)


@case("fft_r2c", lambda input, dim: np.fft.rfft(input, axis=dim), dtypes=FLOATS)
def _(make: Maker) -> Iterator[Sample]:
    for shape, dim in (((1,), 0), ((5,), 0), ((3, 4), 1), ((6, 2), 0)):
        yield sample(make(*shape), dim)


@case("fft_c2r", lambda input, dim, n: np.fft.irfft(input, n, dim, "forward"), dtypes=COMPLEXES)
def _(make: Maker) -> Iterator[Sample]:
    for shape, dim, n in (((1,), 0, 1), ((3,), 0, 5), ((3, 4), 1, 6), ((2, 4), 0, 2)):
        yield sample(make(*shape), dim, n)
