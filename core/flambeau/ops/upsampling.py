"""Resizing, and moving elements between channels, space and windows.

Resizing goes one dimension at a time: every output element is a weighted sum of a few input elements. Which ones, and
with what weights, is computed on the host (the functions without ``xp``), in the precision of the input, as PyTorch
does; :func:`resample` applies it.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy

from flambeau.dtypes import float32, int64
from flambeau.ops.arithmetic import cast
from flambeau.ops.convolution import offsets, output_size, padded, patch, spread
from flambeau.ops.declare import composite
from flambeau.ops.spec import ntuple

Tensor = Any
Size = Any
Xp = Any
Ints = tuple[int, ...]
Taps = tuple[Any, Any]

# -- resizing --------------------------------------------------------------------------------------------------------


@composite(public=())
def resample(xp: Xp, input: Tensor, dim: int, index: Tensor, factors: Tensor | None) -> Tensor:
    """Return ``sum_t factors[t, i] * input[index[t, i]]`` along ``dim``, i counting the output's elements.

    Args:
        index: (taps, out) int64. factors: (taps, out) of the input's dtype, or None for 1.
    """
    taps, out = index.shape
    after = (1,) * (len(input.shape) - dim - 1)
    total = None
    for t in range(taps):
        at = xp.reshape(xp.slice(index, 0, t, t + 1, 1), (out,))
        part = xp.index(input, [None] * dim + [at])
        if factors is not None:
            part = xp.mul(part, xp.reshape(xp.slice(factors, 0, t, t + 1, 1), (out, *after)))
        total = part if total is None else xp.add(total, part)
    return total


@resample.joint_vjp
def _(
    xp: Xp, g: Any, needs: tuple[bool, ...], input_spec: Any, dim: int, index: Any, factors: Any
) -> tuple[Any, None, None]:
    return xp.resample_backward(g, dim, index, factors, input_spec.shape[dim]), None, None


@composite(public=())
def resample_backward(xp: Xp, g: Tensor, dim: int, index: Tensor, factors: Tensor | None, size: int) -> Tensor:
    """Return the cotangent of :func:`resample`'s input, of ``size`` along ``dim``: a product with its matrix."""
    taps, out = index.shape
    columns = xp.new_arange(index, 0, size)
    matrix = None
    for t in range(taps):
        hit = xp.eq(xp.reshape(xp.slice(index, 0, t, t + 1, 1), (out, 1)), columns)
        if factors is None:
            part = xp.to_dtype(hit, xp.dtype_of(g))
        else:
            part = xp.where(hit, xp.reshape(xp.slice(factors, 0, t, t + 1, 1), (out, 1)), 0)
        matrix = part if matrix is None else xp.add(matrix, part)
    shape = tuple(g.shape)
    if dim == len(shape) - 1:
        return xp.matmul(g, matrix)
    rest = math.prod(shape[dim + 1 :])
    flat = xp.matmul(xp.permute(matrix, (1, 0)), xp.reshape(g, (*shape[:dim], out, rest)))
    return xp.reshape(flat, (*shape[:dim], size, *shape[dim + 1 :]))


resample_backward.vjp(g=lambda xp, g, dim, index, factors: xp.resample(g, dim, index, factors))


@composite(inline=True, public=())
def repeat_each(xp: Xp, input: Tensor, factors: Size) -> Tensor:
    """Return ``input`` (N, C, *) with each element repeated ``factors`` times along the spatial dimensions."""
    for i, factor in enumerate(factors):
        if factor != 1:
            shape, dim = tuple(input.shape), 2 + i
            column = xp.reshape(input, (*shape[: dim + 1], 1, *shape[dim + 1 :]))
            wide = xp.expand(column, (*shape[: dim + 1], factor, *shape[dim + 1 :]))
            input = xp.reshape(wide, (*shape[:dim], shape[dim] * factor, *shape[dim + 1 :]))
    return input


def _step(size: int, out: int, align_corners: bool, factor: float | None, real: Any) -> Any:
    """The distance of two output elements, in input elements."""
    if align_corners:
        return real(size - 1) / real(out - 1) if out > 1 else real(0)
    return real(1 / factor) if factor is not None and factor > 0 else real(size) / real(out)


def nearest_taps(size: int, out: int, factor: float | None, exact: bool) -> Taps:
    """``index`` and no factors: the element below, with ``exact`` the nearest."""
    step = _step(size, out, False, factor, numpy.float32)
    places = numpy.arange(out, dtype=numpy.float32) + numpy.float32(0.5 if exact else 0)
    index = numpy.minimum(numpy.floor(places * step).astype(numpy.int64), size - 1)
    return index[None], None


def _sources(size: int, out: int, align_corners: bool, factor: float | None, real: Any) -> Any:
    step = _step(size, out, align_corners, factor, real)
    i = numpy.arange(out, dtype=real)
    return i * step if align_corners else (i + real(0.5)) * step - real(0.5)


def linear_taps(size: int, out: int, align_corners: bool, factor: float | None, real: Any) -> Taps:
    """Two neighbours, weighted by their nearness."""
    source = numpy.maximum(_sources(size, out, align_corners, factor, real), 0)
    low = numpy.minimum(source.astype(numpy.int64), size - 1)
    high = numpy.minimum(low + 1, size - 1)
    share = numpy.clip(source - low.astype(real), 0, 1)
    return numpy.stack([low, high]), numpy.stack([1 - share, share])


def _cubic(x: Any, a: float) -> Any:
    """Keys' cubic convolution kernel (1981)."""
    x = numpy.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return numpy.where(x <= 1, near, numpy.where(x < 2, far, 0))


def cubic_taps(size: int, out: int, align_corners: bool, factor: float | None, real: Any) -> Taps:
    """Four neighbours, weighted by a cubic of their distance."""
    source = _sources(size, out, align_corners, factor, real)
    low = numpy.floor(source)
    offset = numpy.arange(-1, 3)
    index = numpy.clip(low.astype(numpy.int64) + offset[:, None], 0, size - 1)
    distance = (source - low)[None] - offset[:, None].astype(real)
    return index, _cubic(distance, -0.75).astype(real)


def antialiased_taps(size: int, out: int, align_corners: bool, factor: float | None, cubic: bool, real: Any) -> Taps:
    """As many neighbours as the output's element covers, weighted by a stretched triangle or cubic (as Pillow does)."""
    step = float(_step(size, out, align_corners, factor, numpy.float64))
    stretch = max(step, 1.0)
    support = (2 if cubic else 1) * stretch
    centers = step * (numpy.arange(out) + (0.0 if align_corners else 0.5)) + (0.5 if align_corners else 0.0)
    first = numpy.maximum((centers - support + 0.5).astype(numpy.int64), 0)
    last = numpy.minimum((centers + support + 0.5).astype(numpy.int64), size)
    taps = int((last - first).max()) if out else 1
    index = first[None] + numpy.arange(taps)[:, None]
    distance = (index - centers[None] + 0.5) / stretch
    factors = _cubic(distance, -0.5) if cubic else numpy.maximum(1 - numpy.abs(distance), 0)
    factors = numpy.where(index < last[None], factors, 0)
    total = factors.sum(0, keepdims=True)
    factors = factors / numpy.where(total == 0, 1, total)
    return numpy.minimum(index, size - 1), factors.astype(real)


def fixed_point(index: Any, factors: Any) -> tuple[Any, int]:
    """Factors as whole numbers, and the number of bits behind the point: as many as keep them below 2^15, as Pillow.

    The factors of an element that counts several times, as at the edge, are added before they are rounded.
    """
    factors = numpy.array(factors)
    for t in range(1, len(index)):
        for earlier in range(t):
            same = index[t] == index[earlier]
            factors[earlier] += numpy.where(same, factors[t], 0)
            factors[t][same] = 0
    largest = float(numpy.abs(factors).max(initial=0))
    bits = next((n for n in range(22) if 0.5 + largest * (1 << (n + 1)) >= 1 << 15), 22)
    return numpy.trunc(factors * (1 << bits) + numpy.copysign(0.5, factors)).astype(numpy.int32), bits


# -- sampling at given places ----------------------------------------------------------------------------------------


@composite(public=())
def affine_grid_of(xp: Xp, theta: Tensor, size: Size, align_corners: bool) -> Tensor:
    """Return the places where affine maps put the elements of a grid, in [-1, 1].

    Shape: theta (N, d, d + 1) for d spatial dimensions, size (N, C, *spatial) -> (N, *spatial, d); x comes first.
    """
    spatial = tuple(size[2:])
    axes: list[Any] = []
    for i, n in enumerate(spatial):
        axis = xp.new_arange(theta, 0, n, 1, xp.dtype_of(theta))
        if align_corners:
            axis = xp.sub(xp.mul(axis, 2 / (n - 1)), 1.0) if n > 1 else xp.mul(axis, 0.0)
        else:
            axis = xp.sub(xp.mul(xp.add(axis, 0.5), 2 / n), 1.0)
        axis = xp.reshape(axis, (1,) * i + (n,) + (1,) * (len(spatial) - 1 - i))
        axes.insert(0, xp.reshape(xp.expand(axis, spatial), (math.prod(spatial), 1)))
    homogeneous = xp.cat([*axes, xp.new_full(theta, (math.prod(spatial), 1), 1)], 1)
    places = xp.matmul(homogeneous, xp.permute(theta, (0, 2, 1)))
    return xp.reshape(places, (size[0], *spatial, len(spatial)))


def _reflected(xp: Xp, x: Any, low: float, high: float) -> Any:
    """Coordinates mirrored at both ends until they lie between them."""
    span = high - low
    if span == 0:
        return xp.mul(x, 0.0)
    distance = xp.abs(xp.sub(x, low))
    turns = xp.floor(xp.div(distance, span))
    rest = xp.sub(distance, xp.mul(turns, span))
    odd = xp.ne(xp.remainder(turns, 2.0), 0)
    return xp.add(xp.where(odd, xp.sub(span, rest), rest), low)


def _into(xp: Xp, x: Any, size: int, padding_mode: str, align_corners: bool) -> Any:
    """Coordinates brought into the input, as ``padding_mode`` says."""
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        x = _reflected(xp, x, 0.0, size - 1.0) if align_corners else _reflected(xp, x, -0.5, size - 0.5)
    return xp.clamp(x, 0.0, size - 1.0)


def _pick(xp: Xp, flat: Any, places: list[Any], shape: Ints) -> Any:
    """The elements (N, C, P) of (N, C, all) at whole-numbered places, one (N, P) a dimension; 0 outside."""
    index: Any = None
    inside: Any = None
    for place, n in zip(places, shape, strict=True):
        valid = xp.logical_and(xp.ge(place, 0), xp.le(place, n - 1))
        # Converting NaN to an integer may give anything: where it is not inside, 0 is taken.
        own = xp.to_dtype(xp.where(valid, place, 0), int64)
        index = own if index is None else xp.add(xp.mul(index, n), own)
        inside = valid if inside is None else xp.logical_and(inside, valid)
    batch, count = index.shape
    index = xp.expand(xp.reshape(index, (batch, 1, count)), (batch, flat.shape[1], count))
    return xp.where(xp.reshape(inside, (batch, 1, count)), xp.gather(flat, 2, index), 0)


def _cubic_factors(xp: Xp, t: Any) -> list[Any]:
    """The factors of the four neighbours at -1, 0, 1 and 2, for the distance ``t`` from the second."""
    a = -0.75

    def near(x: Any) -> Any:
        return xp.add(xp.mul(xp.mul(xp.sub(xp.mul(x, a + 2), a + 3), x), x), 1.0)

    def far(x: Any) -> Any:
        return xp.sub(xp.mul(xp.add(xp.mul(xp.sub(xp.mul(x, a), 5 * a), x), 8 * a), x), 4 * a)

    return [far(xp.add(t, 1.0)), near(t), near(xp.sub(1.0, t)), far(xp.sub(2.0, t))]


@composite(public=())
def grid_sample_at(xp: Xp, input: Tensor, grid: Tensor, mode: str, padding_mode: str, align_corners: bool) -> Tensor:
    """Return ``input`` (N, C, *) interpolated at the places of ``grid`` (N, *out, d) in [-1, 1]: (N, C, *out)."""
    if xp.dtype_of(grid).itemsize < 4:  # 16-bit coordinates could not tell neighbours apart
        wide = [xp.to_dtype(x, float32) for x in (input, grid)]
        return cast(xp, xp.grid_sample_at(*wide, mode, padding_mode, align_corners), input)
    shape, out = tuple(input.shape[2:]), tuple(grid.shape[1:-1])
    batch, channels, count = input.shape[0], input.shape[1], math.prod(out)
    flat = xp.reshape(input, (batch, channels, math.prod(shape)))
    neighbours = []  # for each dimension: places and factors of the neighbours
    for i, n in enumerate(shape):
        last = len(shape) - 1 - i  # the grid's x is the input's last dimension
        x = xp.reshape(xp.slice(grid, len(grid.shape) - 1, last, last + 1, 1), (batch, count))
        x = xp.add(x, 1.0)
        x = xp.mul(x, (n - 1) / 2) if align_corners else xp.sub(xp.mul(x, n / 2), 0.5)
        if mode == "bicubic":
            low = xp.floor(x)
            places = [_into(xp, xp.add(low, k), n, padding_mode, align_corners) for k in (-1.0, 0.0, 1.0, 2.0)]
            neighbours.append(list(zip(places, _cubic_factors(xp, xp.sub(x, low)), strict=True)))
            continue
        x = _into(xp, x, n, padding_mode, align_corners)
        if mode == "nearest":
            neighbours.append([(xp.round(x), None)])
        else:
            low = xp.floor(x)
            share = xp.sub(x, low)
            neighbours.append([(low, xp.sub(1.0, share)), (xp.add(low, 1.0), share)])
    total = None
    for corner in itertools.product(*neighbours):
        value = _pick(xp, flat, [place for place, _ in corner], shape)
        for _, factor in corner:
            if factor is not None:
                value = xp.mul(value, xp.reshape(factor, (batch, 1, count)))
        total = value if total is None else xp.add(total, value)
    return xp.reshape(total, (batch, channels, *out))


# -- channels and space ----------------------------------------------------------------------------------------------


@composite(inline=True, public=("function", "functional"))
def pixel_shuffle(xp: Xp, input: Tensor, upscale_factor: int) -> Tensor:
    """Return (*, C, H r, W r) from (*, C r^2, H, W): r^2 channels become r x r pixels (Shi et al., 2016).

    Raises:
        RuntimeError: when the channels are not divisible by the square of ``upscale_factor``.
    """
    r = upscale_factor
    if len(input.shape) < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {len(input.shape)} "
            "dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            "but "
            f"input.size(-3)={channels} is not divisible by {r * r}"
        )
    out, n = channels // (r * r), len(lead)
    blocks = xp.reshape(input, (*lead, out, r, r, height, width))
    mixed = xp.permute(blocks, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return xp.reshape(mixed, (*lead, out, height * r, width * r))


@composite(inline=True, public=("function", "functional"))
def pixel_unshuffle(xp: Xp, input: Tensor, downscale_factor: int) -> Tensor:
    """Return (*, C r^2, H, W) from (*, C, H r, W r), the inverse of :func:`pixel_shuffle`.

    Raises:
        RuntimeError: when height or width are not divisible by ``downscale_factor``.
    """
    r = downscale_factor
    if len(input.shape) < 3:
        raise RuntimeError(
            "pixel_unshuffle expects input to have at least 3 dimensions, but got input with "
            f"{len(input.shape)} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    if height % r or width % r:
        raise RuntimeError(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor, but {height} and {width} "
            "are "
            f"not divisible by {r}"
        )
    n = len(lead)
    blocks = xp.reshape(input, (*lead, channels, height // r, r, width // r, r))
    mixed = xp.permute(blocks, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return xp.reshape(mixed, (*lead, channels * r * r, height // r, width // r))


@composite(inline=True, public=("function", "functional"))
def channel_shuffle(xp: Xp, input: Tensor, groups: int) -> Tensor:
    """Return ``input`` (N, C, *) with the channels of its groups interleaved (Zhang et al., 2018).

    Raises:
        RuntimeError: when C is not divisible by ``groups``.
    """
    if len(input.shape) < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    batch, channels, *rest = input.shape
    if groups <= 0 or channels % groups:
        raise RuntimeError(
            f"channel_shuffle: Number of channels must be divisible by groups. Got {channels} channels and {groups} "
            "groups."
        )
    blocks = xp.reshape(input, (batch, groups, channels // groups, *rest))
    return xp.reshape(xp.permute(blocks, (0, 2, 1, *range(3, 3 + len(rest)))), tuple(input.shape))


# -- windows ---------------------------------------------------------------------------------------------------------


def _window_counts(size: Any, kernel_size: Ints, dilation: Ints, padding: Ints, stride: Ints) -> Ints:
    return tuple([output_size(*entry) for entry in zip(size, kernel_size, stride, padding, dilation, strict=True)])


@composite(public=())
def im2col(xp: Xp, input: Tensor, kernel_size: Size, dilation: Size, padding: Size, stride: Size) -> Tensor:
    """Return the windows of (N, C, H, W) as columns: (N, C kh kw, windows)."""
    count = _window_counts(input.shape[2:], kernel_size, dilation, padding, stride)
    batch, channels, windows = input.shape[0], input.shape[1], math.prod(count)
    x = padded(xp, input, padding, padding)
    parts = [
        xp.reshape(patch(xp, x, offset, count, stride, dilation), (batch, channels, 1, windows))
        for offset in offsets(kernel_size)
    ]
    return xp.reshape(xp.cat(parts, 2), (batch, channels * len(parts), windows))


@im2col.joint_vjp
def _(
    xp: Xp, g: Any, needs: tuple[bool, ...], input_spec: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[Any]:
    return (xp.col2im(g, tuple(input_spec.shape[2:]), kernel_size, dilation, padding, stride),)


@composite(public=())
def col2im(xp: Xp, input: Tensor, size: Size, kernel_size: Size, dilation: Size, padding: Size, stride: Size) -> Tensor:
    """Return the sum of the columns (N, C kh kw, windows) at their places in (N, C, *size), the transpose of im2col."""
    count = _window_counts(size, kernel_size, dilation, padding, stride)
    places = math.prod(kernel_size)
    batch, channels = input.shape[0], input.shape[1] // places
    columns = xp.reshape(input, (batch, channels, places, *count))
    total = None
    for place, offset in enumerate(offsets(kernel_size)):
        window = xp.reshape(xp.slice(columns, 2, place, place + 1, 1), (batch, channels, *count))
        wide = spread(xp, window, stride)
        before = [o * d - p for o, d, p in zip(offset, dilation, padding, strict=True)]
        after = [n - b - m for n, b, m in zip(size, before, wide.shape[2:], strict=True)]
        part = padded(xp, wide, before, after)
        total = part if total is None else xp.add(total, part)
    return total


@col2im.joint_vjp
def _(
    xp: Xp, g: Any, needs: tuple[bool, ...], kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[Any]:
    return (xp.im2col(g, kernel_size, dilation, padding, stride),)


def window_sizes(op: str, **named: Any) -> tuple[Ints, ...]:
    """``kernel_size``, ``dilation``, ``padding`` and ``stride`` of fold and unfold as pairs, checked."""
    sizes = []
    for name, value in named.items():
        pair = ntuple(op, name, value, 2)
        if any(n < 0 for n in pair) or (name != "padding" and 0 in pair):
            least = "non-negative" if name == "padding" else "greater than zero"
            raise RuntimeError(f"{op}: {name} should be {least}, but got {list(pair)}")
        sizes.append(pair)
    return tuple(sizes)
