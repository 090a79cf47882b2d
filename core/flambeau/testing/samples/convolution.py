"""Samples of linear layers, convolutions, padding and resampling."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from flambeau.testing.database import FLOATS, HALF, Maker, Sample, case, sample


@case(
    "linear",
    lambda x, weight, bias=None: x @ weight.T + (0 if bias is None else bias),
    dtypes=(*FLOATS, *HALF, "complex128"),
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(2, 4), make(2))
    yield sample(make(4), make(2, 4), make(2))
    yield sample(make(2, 3, 4), make(5, 4))
    yield sample(make(0, 4), make(2, 4), make(2))


@case(
    "bilinear",
    lambda a, b, weight, bias=None: np.einsum("...i,kij,...j->...k", a, weight, b) + (0 if bias is None else bias),
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(3, 4), make(3, 2), make(5, 4, 2), make(5))
    yield sample(make(3, 4), make(3, 2), make(5, 4, 2))


def _one(value: Any) -> Any:
    return list(value) if isinstance(value, (tuple, list)) else None


def _full(value: Any, n: int) -> list[int]:
    return _one(value) or [value] * n


def convolve(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """Cross-correlation by its definition."""
    n = weight.ndim - 2
    stride, dilation = _full(stride, n), _full(dilation, n)
    padding = _full(padding, n)
    x = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]])
    kernel = weight.shape[2:]
    out = [(x.shape[2 + d] - dilation[d] * (kernel[d] - 1) - 1) // stride[d] + 1 for d in range(n)]
    result = np.zeros((x.shape[0], weight.shape[0], *out), np.result_type(x, weight))
    ins, outs = weight.shape[1], weight.shape[0] // groups
    for group in range(groups):
        for at in itertools.product(*map(range, kernel)):
            window = tuple(
                slice(at[d] * dilation[d], at[d] * dilation[d] + stride[d] * (out[d] - 1) + 1, stride[d])
                for d in range(n)
            )
            part = x[(slice(None), slice(group * ins, (group + 1) * ins), *window)]
            own = weight[(slice(group * outs, (group + 1) * outs), slice(None), *at)]
            result[:, group * outs : (group + 1) * outs] += np.einsum("bi...,oi->bo...", part, own)
    return result if bias is None else result + bias.reshape(-1, *[1] * n)


def convolve_transposed(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int, dilation: Any
) -> Any:
    """The transpose of :func:`convolve`: each input element spreads the kernel."""
    n = weight.ndim - 2
    stride, padding, extra, dilation = (_full(v, n) for v in (stride, padding, output_padding, dilation))
    kernel = weight.shape[2:]
    full = [(x.shape[2 + d] - 1) * stride[d] + dilation[d] * (kernel[d] - 1) + 1 + extra[d] for d in range(n)]
    outs, ins = weight.shape[1], x.shape[1] // groups
    result = np.zeros((x.shape[0], outs * groups, *full), np.result_type(x, weight))
    for group in range(groups):
        part = x[:, group * ins : (group + 1) * ins]
        for at in itertools.product(*map(range, kernel)):
            window = tuple(
                slice(at[d] * dilation[d], at[d] * dilation[d] + stride[d] * (x.shape[2 + d] - 1) + 1, stride[d])
                for d in range(n)
            )
            own = weight[(slice(group * ins, (group + 1) * ins), slice(None), *at)]
            result[(slice(None), slice(group * outs, (group + 1) * outs), *window)] += np.einsum(
                "bi...,io->bo...", part, own
            )
    result = result[(slice(None), slice(None), *[slice(p, full[d] - p) for d, p in enumerate(padding)])]
    return result if bias is None else result + bias.reshape(-1, *[1] * n)


def _convolution(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Any:
    if transposed:
        return convolve_transposed(x, weight, bias, stride, padding, output_padding, groups, dilation)
    return convolve(x, weight, bias, stride, padding, dilation, groups)


LOOSE = {"loose": 10.0}


@case("convolution", _convolution, **LOOSE)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 7), make(4, 3, 3), make(4), (1,), (0,), (1,), False, (0,), 1)
    yield sample(make(2, 3, 5, 6), make(4, 3, 3, 2), make(4), (2, 1), (1, 0), (1, 2), False, (0, 0), 1)
    yield sample(make(2, 4, 5, 5), make(6, 2, 3, 3), None, (1, 1), (1, 1), (1, 1), False, (0, 0), 2)
    yield sample(make(1, 4, 4, 4), make(4, 1, 3, 3), None, (1, 1), (1, 1), (1, 1), False, (0, 0), 4)
    yield sample(
        make(1, 2, 3, 4, 4), make(3, 2, 2, 2, 2), make(3), (1, 1, 2), (0, 1, 0), (1, 1, 1), False, (0, 0, 0), 1
    )
    yield sample(make(2, 3, 4, 4), make(5, 3, 1, 1), make(5), (1, 1), (0, 0), (1, 1), False, (0, 0), 1)
    yield sample(make(2, 3, 4), make(3, 2, 3), make(2), (2,), (1,), (1,), True, (1,), 1)
    yield sample(make(1, 4, 3, 3), make(4, 2, 3, 3), make(4), (2, 1), (1, 0), (1, 2), True, (1, 0), 2)


@case("convolution_backward", None, gradients=False, **LOOSE)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 4, 5), make(2, 3, 7), make(4, 3, 3), (1,), (0,), (1,), False, (0,), 1, (True, True, True))
    yield sample(
        make(2, 6, 5, 5),
        make(2, 4, 5, 5),
        make(6, 2, 3, 3),
        (1, 1),
        (1, 1),
        (1, 1),
        False,
        (0, 0),
        2,
        (True, True, False),
    )
    yield sample(make(2, 2, 8), make(2, 3, 4), make(3, 2, 3), (2,), (1,), (1,), True, (1,), 1, (True, True, True))


def _conv(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    if padding == "same":
        padding = [(k - 1) // 2 for k in weight.shape[2:]]
    return convolve(x, weight, bias, stride, 0 if padding == "valid" else padding, dilation, groups)


def _conv_transposed(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1,
    dilation: Any = 1,
) -> Any:  # fmt: skip
    return convolve_transposed(x, weight, bias, stride, padding, output_padding, groups, dilation)


for _n in (1, 2, 3):

    @case(f"conv{_n}d", _conv, **LOOSE)
    def _(make: Maker, n: int = _n) -> Iterator[Sample]:
        size = (4,) * n
        yield sample(make(2, 2, *size), make(3, 2, *[3] * n), make(3))
        yield sample(make(1, 2, *size), make(3, 2, *[3] * n), None, 2, 1)
        yield sample(make(1, 2, *size), make(2, 1, *[3] * n), None, padding="same", groups=2)

    @case(f"conv_transpose{_n}d", _conv_transposed, **LOOSE)
    def _(make: Maker, n: int = _n) -> Iterator[Sample]:
        size = (3,) * n
        yield sample(make(1, 2, *size), make(2, 3, *[2] * n), make(3))
        yield sample(make(1, 2, *size), make(2, 1, *[2] * n), None, 2, 1, 1, 2)
        # The last elements of the result are reached by nothing: their number is limited by the dilation, too.
        yield sample(make(1, 2, *size), make(2, 2, *[2] * n), None, 1, 0, 1, 1, 2)


# -- padding -----------------------------------------------------------------------------------------------------------


def _widths(x: Any, pad: Any) -> list[tuple[int, int]]:
    pairs = [tuple(pad[i : i + 2]) for i in range(0, len(pad), 2)]
    return [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]


def _pad(x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    if mode == "constant":
        return np.pad(x, _widths(x, pad), constant_values=value or 0)
    return np.pad(x, _widths(x, pad), mode={"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode])


def _constant_pad(x: Any, pad: Any, value: Any = 0) -> Any:
    grown = _pad(x, [max(p, 0) for p in pad], value=value)
    widths = _widths(x, [min(p, 0) for p in pad])
    return grown[tuple(slice(-before, n + after) for (before, after), n in zip(widths, grown.shape, strict=True))]


@case("constant_pad_nd", _constant_pad, dtypes=(*FLOATS, "int64", "bool"))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), (1, 2))
    yield sample(make(2, 3), (1, 0, 0, 2), 1)
    yield sample(make(2, 4), (-1, 2))
    yield sample(make(2, 0), (1, 1))


for _name, _mode in (("reflection_pad", "reflect"), ("replication_pad", "replicate"), ("circular_pad", "circular")):

    @case(_name, lambda x, pad, mode=_mode: _pad(x, pad, mode))
    def _(make: Maker) -> Iterator[Sample]:
        yield sample(make(1, 2, 5), (2, 1))
        yield sample(make(1, 2, 4, 5), (1, 2, 0, 3))


@case("pad", _pad)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3), (1, 2), "constant", 1.5)
    for mode in ("reflect", "replicate", "circular"):
        yield sample(make(1, 2, 5), (2, 1), mode)


# -- resampling and rearranging ----------------------------------------------------------------------------------------


def _taps(x: Any, dim: int, index: Any, factors: Any) -> Any:
    total = 0
    for t in range(len(index)):
        factor = 1 if factors is None else factors[t].reshape([-1 if d == dim else 1 for d in range(x.ndim)])
        total = total + np.take(x, index[t], dim) * factor
    return total


@case("resample", _taps, constant=("factors",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 4), 2, make.indices([[0, 1, 1, 3, 3]]), None)
    yield sample(make(2, 3, 4), 1, make.indices([[0, 1], [1, 2]]), make(2, 2))


@case("resample_backward", None, constant=("factors",))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 3, 5), 2, make.indices([[0, 1, 1, 3, 3]]), None, 4)
    yield sample(make(2, 2, 4), 1, make.indices([[0, 1], [1, 2]]), make(2, 2), 3)


def _repeat_each(x: Any, factors: Any) -> Any:
    for d, factor in enumerate(factors):
        x = np.repeat(x, factor, 2 + d)
    return x


@case("repeat_each", _repeat_each)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(1, 2, 3), (2,))
    yield sample(make(1, 2, 2, 3), (2, 3))


def _pixel_shuffle(x: Any, r: int) -> Any:
    *lead, c, h, w = x.shape
    n = len(lead)
    x = x.reshape(*lead, c // (r * r), r, r, h, w)
    order = (*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    return x.transpose(order).reshape(*lead, c // (r * r), h * r, w * r)


@case("pixel_shuffle", _pixel_shuffle)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 4, 2, 3), 2)


@case("pixel_unshuffle", None)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 1, 4, 6), 2)


@case("channel_shuffle", lambda x, g: x.reshape(len(x), g, -1, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape))
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 6, 3), 2)


@case("im2col", None)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(1, 2, 4, 5), (2, 3), (1, 1), (0, 1), (2, 1))


@case("col2im", None)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(1, 12, 10), (4, 5), (2, 3), (1, 1), (0, 1), (2, 1))


def _axis(n: int, align_corners: bool) -> Any:
    return np.linspace(-1, 1, n) if align_corners else (2 * np.arange(n) + 1) / n - 1


def _affine_grid(theta: Any, size: Any, align_corners: bool) -> Any:
    axes = np.meshgrid(*[_axis(n, align_corners) for n in size[2:]], indexing="ij")
    points = np.stack([*axes[::-1], np.ones_like(axes[0])], -1)
    return np.einsum("...j,nij->n...i", points, theta)


@case("affine_grid_of", _affine_grid)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(2, 2, 3), (2, 1, 3, 4), False)
    yield sample(make(1, 2, 3), (1, 2, 2, 3), True)
    yield sample(make(1, 3, 4), (1, 1, 2, 3, 2), False)


def _grid_sample(x: Any, grid: Any, mode: str, padding_mode: str, align_corners: bool) -> Any:
    """Bilinear with zeros outside, nearest: element by element."""
    n, c, height, width = x.shape
    result = np.zeros((n, c, *grid.shape[1:3]))
    for b, row, column in np.ndindex(n, *grid.shape[1:3]):
        place = []
        for coordinate, size in zip(grid[b, row, column][::-1], (height, width), strict=True):
            place.append((coordinate + 1) / 2 * (size - 1) if align_corners else ((coordinate + 1) * size - 1) / 2)
        if mode == "nearest":
            corners = [(int(np.round(place[0])), int(np.round(place[1])), 1.0)]
        else:
            low = [int(np.floor(p)) for p in place]
            corners = [
                (low[0] + i, low[1] + j, (1 - abs(place[0] - low[0] - i)) * (1 - abs(place[1] - low[1] - j)))
                for i in (0, 1)
                for j in (0, 1)
            ]
        for i, j, weight in corners:
            if 0 <= i < height and 0 <= j < width:
                result[b, :, row, column] += weight * x[b, :, i, j]
    return result


@case("grid_sample_at", _grid_sample)
def _(make: Maker) -> Iterator[Sample]:
    for align_corners in (False, True):
        # Places between pixels, also beyond the border: the interpolation has corners at the pixels.
        pixels = np.array([[[[0.4, 1.3], [2.6, 0.3], [-0.4, 0.6]], [[1.5, 1.5], [3.4, 2.4], [1.2, -0.7]]]])
        size = np.array([4, 3])  # x is the last dimension
        grid = make.values(2 * pixels / (size - 1) - 1 if align_corners else (2 * pixels + 1) / size - 1)
        yield sample(make(1, 2, 3, 4), grid, "bilinear", "zeros", align_corners)
        grid = make(1, 2, 3, 2, low=-0.9, high=0.9)
        yield sample(make(1, 2, 3, 4), grid, "nearest", "zeros", align_corners, smooth=False)


def _conv_tbc(x: Any, weight: Any, bias: Any, pad: int = 0) -> Any:
    padded = np.pad(x, ((pad, pad), (0, 0), (0, 0)))
    count = padded.shape[0] - weight.shape[0] + 1
    return sum(padded[k : k + count] @ weight[k] for k in range(weight.shape[0])) + bias


@case("conv_tbc", _conv_tbc)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(5, 2, 3), make(2, 3, 4), make(4))
    yield sample(make(4, 1, 2), make(3, 2, 2), make(2), 1)
