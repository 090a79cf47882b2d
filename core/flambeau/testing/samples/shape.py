"""Samples of views and of ops that move elements about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import ALL, COMPLEXES, FLOATS, NUMBERS, Maker, Sample, case, sample

FEW = ("float32", "float64", "int64", "bool", "complex64", "complex128")


# What cannot be seen without a copy is refused: that is so for most tensors that are not contiguous.
@case("view", lambda x, size: x.reshape(size), dtypes=ALL, strided=False)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 6), (3, 4))
    yield sample(make(2, 6), (12,))
    yield sample(make(), (1, 1))
    yield sample(make(1), ())
    yield sample(make(0, 3), (3, 0))


@case("reshape", lambda x, shape: x.reshape(shape), dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 6), (3, 4))
    yield sample(make(2, 6), (-1, 2))
    yield sample(make(), (1,))
    yield sample(make(0, 3), (0,))


@case("permute", lambda x, dims: np.transpose(x, dims), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), (2, 0, 1))
    yield sample(make(2, 3, 4), (-1, 1, 0))
    yield sample(make(2, 3), (0, 1))
    yield sample(make(), ())
    yield sample(make(0, 3), (1, 0))


def _expand(x: Any, size: Any, implicit: bool = False) -> Any:
    extra = len(size) - x.ndim
    return np.broadcast_to(x, [x.shape[d - extra] if n == -1 else n for d, n in enumerate(size)])


@case("expand", _expand, dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3), (2, 3))
    yield sample(make(2, 1), (-1, 4))
    yield sample(make(), (2, 2))
    yield sample(make(2, 3), (2, 3))
    yield sample(make(1, 3), (0, 3))


def _slice(x: Any, dim: int, start: int, end: int, step: int) -> Any:
    return x[(slice(None),) * (dim % x.ndim) + (slice(start, end, step),)]


@case("slice", _slice, dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5), 0, 1, 4, 1)
    yield sample(make(3, 7), 1, 0, 7, 3)
    yield sample(make(3, 7), 0, 2, 3, 1)
    yield sample(make(3, 7), 1, 4, 4, 1)
    yield sample(make(0, 7), 1, 1, 6, 2)


def _slice_backward(g: Any, size: Any, dim: int, start: int, end: int, step: int) -> Any:
    result = np.zeros(size, g.dtype)
    result[(slice(None),) * dim + (slice(start, end, step),)] = g
    return result


@case("slice_backward", _slice_backward, dtypes=FEW[:2] + FEW[4:])
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 3), (3, 7), 1, 0, 7, 3)
    yield sample(make(2), (5,), 0, 1, 3, 1)


def _as_strided(x: Any, size: Any, stride: Any, storage_offset: int | None = None) -> Any:
    places = np.full(size, storage_offset or 0)
    for d, (n, step) in enumerate(zip(size, stride, strict=True)):
        places = places + (np.arange(n) * step).reshape([-1 if e == d else 1 for e in range(len(size))])
    return x.reshape(-1)[places]


# Places in memory, not in the tensor, are meant: the non-contiguous variants of the samples would be other tensors.
@case("as_strided", _as_strided, dtypes=FEW[:2], strided=False)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 6), (3, 2), (4, 1), 1)
    yield sample(make(6), (3,), (2,))


@case("restride", lambda x, size, stride, offset, *own: _as_strided(x, size, stride, offset), strided=False)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 6), (3, 2), (4, 1), 1, (6, 1), 0)


def _restride_backward(g: Any, shape: Any, stride: Any, offset: int, own_stride: Any, own_offset: int) -> Any:
    memory = np.zeros(64)
    np.add.at(memory, _as_strided(np.arange(64), g.shape, stride, offset), g)
    return _as_strided(memory, shape, own_stride, own_offset)


@case("restride_backward", _restride_backward)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 2), (2, 6), (4, 1), 1, (6, 1), 0)
    yield sample(make(2, 3), (6,), (1, 1), 2, (1,), 0)


@case("diagonal_view", lambda x, offset, dim1, dim2: np.diagonal(x, offset, dim1, dim2), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 0, 0, 1)
    yield sample(make(3, 4), 2, 0, 1)
    yield sample(make(2, 3, 4), -1, 2, 1)
    yield sample(make(2, 3, 4), 0, 0, 2)
    yield sample(make(3, 3), 5, 0, 1)


def _diagonal_backward(g: Any, size: Any, offset: int, dim1: int, dim2: int) -> Any:
    result = np.zeros(size, g.dtype)
    view = np.moveaxis(result, (dim1, dim2), (-2, -1))
    n = g.shape[-1]
    rows = np.arange(n) + max(-offset, 0)
    view[..., rows, rows + offset] = g
    return result


@case("diagonal_backward", _diagonal_backward)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3), (3, 4), 1, 0, 1)
    yield sample(make(2, 2), (2, 3, 4), -1, 1, 2)


@case("diagonal", lambda x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2), dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4))
    yield sample(make(2, 3, 4), 1, -1, -2)


@case("real", lambda x: x.real, dtypes=("float32", *COMPLEXES))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3))
    yield sample(make())


@case("view_as_real", lambda x: np.stack([x.real, x.imag], -1), dtypes=COMPLEXES, strided=False)
def _(make: Maker) -> Iterator[Sample]:
    for shape in ((), (3,), (2, 3), (0, 2)):
        yield sample(make(*shape))


@case("view_as_complex", lambda x: x[..., 0] + 1j * x[..., 1], dtypes=FLOATS, strided=False)
def _(make: Maker) -> Iterator[Sample]:
    for shape in ((2,), (3, 2), (2, 3, 2), (0, 2)):
        yield sample(make(*shape))


@case("imag", lambda x: x.imag, dtypes=COMPLEXES)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3))
    yield sample(make())


for _name in ("view_as", "reshape_as"):

    @case(
        _name,
        lambda x, other: x.reshape(other.shape),
        dtypes=FEW[:3],
        constant=("other",),
        aliases=_name == "view_as",
        strided=_name != "view_as",
    )
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(2, 6), make(3, 4))


@case("expand_as", lambda x, other: np.broadcast_to(x, other.shape), dtypes=FEW[:3], constant=("other",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 1), make(2, 4))


@case("broadcast_to", np.broadcast_to, dtypes=FEW[:3])
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 1), (3, 2, 4))


@case("transpose", lambda x, a, b: np.swapaxes(x, a, b) if x.ndim else x, dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), 0, 2)
    yield sample(make(2, 3, 4), -1, -2)
    yield sample(make(), 0, -1)


@case("t", lambda x: x.T, dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3))
    yield sample(make(3))


@case("adjoint", lambda x: np.swapaxes(x, -1, -2).conj(), dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    if make.dtype.name != "bool":
        yield sample(make(2, 3, 4))


@case("movedim", lambda x, source, target: np.moveaxis(x, source, target), dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), 0, 2)
    yield sample(make(2, 3, 4), (0, 1), (-1, 0))


def _squeeze(x: Any, dim: Any = None) -> Any:
    if dim is None:
        return np.squeeze(x)
    dims = {d % x.ndim for d in (dim if isinstance(dim, tuple) else (dim,))}
    return x.reshape([n for d, n in enumerate(x.shape) if n != 1 or d not in dims])


@case("squeeze", _squeeze, dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(1, 3, 1))
    yield sample(make(1, 3, 1), 0)
    yield sample(make(1, 3, 1), 1)
    yield sample(make(1, 3, 1), (0, -1))


@case("unsqueeze", np.expand_dims, dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), 0)
    yield sample(make(2, 3), -1)
    yield sample(make(), 0)


def _flatten(x: Any, start: int = 0, end: int = -1) -> Any:
    if not x.ndim:
        return x.reshape(1)
    start, end = start % x.ndim, end % x.ndim
    return x.reshape(*x.shape[:start], int(np.prod(x.shape[start : end + 1])), *x.shape[end + 1 :])


@case("flatten", _flatten, dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4))
    yield sample(make(2, 3, 4), 1)
    yield sample(make(2, 3, 4), 0, 1)
    yield sample(make())


@case(
    "unflatten", lambda x, dim, sizes: x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :]), dtypes=FEW, aliases=True
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 6, 2), 1, (2, 3))


@case("ravel", np.ravel, dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3))
    yield sample(make())


@case("select", lambda x, dim, index: np.take(x, index, dim), dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 0, 1)
    yield sample(make(3, 4), -1, -1)
    yield sample(make(3), 0, 0)


@case("narrow", lambda x, dim, start, length: np.take(x, range(start, start + length), dim), dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), 1, 1, 2)
    yield sample(make(3, 4), 0, 0, 0)


def _split(x: Any, sizes: Any, dim: int = 0) -> Any:
    cuts = np.cumsum(sizes)[:-1] if isinstance(sizes, list) else np.arange(sizes, x.shape[dim], sizes)
    return np.split(x, cuts, dim)


@case("split", _split, dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5, 2), 2)
    yield sample(make(2, 6), [1, 2, 3], 1)


@case("chunk", lambda x, chunks, dim=0: _split(x, -(-x.shape[dim] // chunks), dim), dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5, 2), 2)
    yield sample(make(2, 6), 3, 1)


@case("tensor_split", lambda x, parts, dim=0: np.array_split(x, parts, dim), dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5, 2), 2)
    yield sample(make(2, 6), [1, 4], 1)


@case("unbind", lambda x, dim=0: [np.take(x, i, dim) for i in range(x.shape[dim])], dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 2))
    yield sample(make(3, 2), 1)


def _unfold(x: Any, dim: int, size: int, step: int) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(x, size, dim)
    return np.take(windows, range(0, windows.shape[dim], step), dim)


@case("unfold", _unfold, dtypes=FEW[:3], strided=False)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(7), 0, 3, 2)
    yield sample(make(2, 6), 1, 2, 2)


def _unfold_backward(g: Any, shape: Any, dim: int, size: int, step: int) -> Any:
    result = np.zeros(shape)
    view = np.moveaxis(result, dim, 0)
    for window, part in enumerate(np.moveaxis(g, dim, 0)):
        view[window * step : window * step + size] += np.moveaxis(part, -1, 0)
    return result


@case("unfold_backward", _unfold_backward)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 3), (7,), 0, 3, 2)
    yield sample(make(2, 4, 3), (2, 6), 1, 3, 1)


@case("hsplit", np.hsplit, dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(4), 2)
    yield sample(make(2, 6), [1, 4])


@case("vsplit", np.vsplit, dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(4, 2), 2)


@case("dsplit", np.dsplit, dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), 2)


# -- copies ----------------------------------------------------------------------------------------------------------


@case("cat", lambda tensors, dim=0: np.concatenate(tensors, dim), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample([make(2, 3), make(1, 3), make(3, 3)])
    yield sample([make(2, 3), make(2, 1)], 1)
    yield sample([make(2, 3), make(2, 0)], -1)
    yield sample([make(4)])


@case("stack", lambda tensors, dim=0: np.stack(tensors, dim), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample([make(2, 3), make(2, 3)])
    yield sample([make(2, 3), make(2, 3), make(2, 3)], -1)
    yield sample([make(), make()])


for _name, _function in (
    ("hstack", np.hstack), ("vstack", np.vstack), ("dstack", np.dstack), ("column_stack", np.column_stack),
):  # fmt: skip

    @case(_name, _function, dtypes=FEW)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample([make(3), make(3)])
        yield sample([make(2, 3), make(2, 3)])


@case("flip", lambda x, dims: np.flip(x, dims), dtypes=ALL)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), (0, 2))
    yield sample(make(5), (0,))
    yield sample(make(0, 3), (1,))


for _name, _function in (("fliplr", np.fliplr), ("flipud", np.flipud)):

    @case(_name, _function, dtypes=FEW)
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(2, 3))


@case("roll", lambda x, shifts, dims=None: np.roll(x, shifts, dims), dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), 1)
    yield sample(make(2, 3), -2, 1)
    yield sample(make(2, 3, 4), (1, 5), (0, 2))


@case("rot90", lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims), dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    for k in (-1, 0, 1, 2, 3):
        yield sample(make(2, 3), k)
    yield sample(make(2, 3, 4), 1, (2, 0))


@case("repeat", np.tile, dtypes=NUMBERS)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3), (2,))
    yield sample(make(2, 3), (2, 1, 3))
    yield sample(make(), (2,))


@case("tile", np.tile, dtypes=FEW)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), (2,))
    yield sample(make(3), (2, 2))


@case(
    "repeat_interleave", lambda x, n, dim=None, output_size=None: np.repeat(x, n, dim), dtypes=FEW, data_dependent=True
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), 2)
    yield sample(make(2, 3), 3, 1)
    yield sample(make(2, 3), make.indices([1, 2]), 0)


@case("split_with_sizes", _split, dtypes=FEW, aliases=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(6, 2), [1, 2, 3])
    yield sample(make(2, 3), [3, 0], 1)
