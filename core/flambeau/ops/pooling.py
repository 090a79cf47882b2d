"""Pooling over the last one to three dimensions.

The ops take tuples, one number a spatial dimension, and inputs (N, C, *). The public forms at the end fill them in.
Indices of maxima are flat ones into the spatial dimensions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from flambeau.dtypes import FLOATING, iinfo
from flambeau.ops.convolution import ntuple, offsets, padded, pads, patch, spread
from flambeau.ops.declare import composite

Tensor = Any
Size = Any
Xp = Any
Ints = tuple[int, ...]


def pooled_size(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """How many windows there are along a dimension; in ceil mode the last may hang over, but begins inside."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return span // stride + 1
    count = -(-span // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def _sizes(shape: Sequence[int], kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool) -> Ints:
    entries = zip(shape, kernel, stride, padding, dilation, strict=True)
    return tuple([pooled_size(*entry, ceil_mode) for entry in entries])


def _hanging_over(shape: Sequence[int], count: Ints, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints) -> Ints:
    """How far beyond the padded input the last window reaches."""
    return tuple(
        [
            max((c - 1) * s + d * (k - 1) + 1 - (n + 2 * p), 0)
            for n, c, k, s, p, d in zip(shape, count, kernel, stride, padding, dilation, strict=True)
        ]
    )


# -- maximum ---------------------------------------------------------------------------------------------------------


def _lowest(xp: Xp, input: Any) -> Any:
    dtype = xp.dtype_of(input)
    if dtype.category >= FLOATING:
        return -math.inf
    return iinfo(dtype).min


@composite(public=())
def max_pool(
    xp: Xp, input: Tensor, kernel_size: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> tuple[Tensor, Tensor]:
    """Return the largest element (NaN before all) of each window, and its int64 index; the first of equals."""
    shape = tuple(input.shape[2:])
    count = _sizes(shape, kernel_size, stride, padding, dilation, ceil_mode)
    over = _hanging_over(shape, count, kernel_size, stride, padding, dilation)
    after = [p + o for p, o in zip(padding, over, strict=True)]
    x = xp.constant_pad_nd(input, pads(padding, after), _lowest(xp, input)) if any(after) else input
    positions = [
        xp.reshape(xp.new_arange(input, -p, n * s - p, s), (n,) + (1,) * (len(count) - 1 - i))
        for i, (n, s, p) in enumerate(zip(count, stride, padding, strict=True))
    ]
    best = where = None
    for offset in offsets(kernel_size):
        value = patch(xp, x, offset, count, stride, dilation)
        places = [xp.add(p, o * d) for p, o, d in zip(positions, offset, dilation, strict=True)]
        index = _flat(xp, places, shape)
        if any(after):
            index = xp.where(_inside(xp, places, shape), index, -1)
        if best is None:
            best, where = value, xp.expand(index, tuple(value.shape))
            continue
        better = xp.logical_or(xp.gt(value, best), xp.ne(value, value))
        if any(after):
            # An element as low as the padding still comes before it.
            better = xp.logical_or(better, xp.logical_and(xp.lt(where, 0), xp.ge(index, 0)))
        where = xp.where(better, index, where)
        best = xp.where(better, value, best)
    return best, where


def _flat(xp: Xp, positions: list[Any], shape: Ints) -> Any:
    """Positions a dimension as one index into the plane."""
    index = positions[0]
    for n, position in zip(shape[1:], positions[1:], strict=True):
        index = xp.add(xp.mul(index, n), position)
    return index


def _inside(xp: Xp, places: list[Any], shape: Ints) -> Any:
    inside = None
    for place, n in zip(places, shape, strict=True):
        valid = xp.logical_and(xp.ge(place, 0), xp.lt(place, n))
        inside = valid if inside is None else xp.logical_and(inside, valid)
    return inside


@max_pool.joint_vjp
def _(xp: Xp, g: Any, needs: tuple[bool, ...], input_spec: Any, result_1: Any) -> tuple[Any]:
    return (xp.max_pool_backward(g[0], result_1, tuple(input_spec.shape[2:])),)


@composite(public=())
def max_pool_backward(xp: Xp, g: Tensor, indices: Tensor, size: Size) -> Tensor:
    """Return the sum of ``g`` at ``indices`` in a plane of the spatial ``size``, 0 elsewhere."""
    lead = tuple(g.shape[:2])
    count = math.prod(g.shape[2:])
    zeros = xp.new_full(g, (*lead, math.prod(size)), 0)
    summed = xp.scatter_add(zeros, 2, xp.reshape(indices, (*lead, count)), xp.reshape(g, (*lead, count)))
    return xp.reshape(summed, (*lead, *size))


max_pool_backward.vjp(g=lambda xp, g, indices: _pick(xp, g, indices))


def _pick(xp: Xp, plane: Any, indices: Any) -> Any:
    """The elements of a plane at flat indices."""
    lead, shape = tuple(plane.shape[:2]), tuple(indices.shape)
    flat = xp.reshape(plane, (*lead, math.prod(plane.shape[2:])))
    return xp.reshape(xp.gather(flat, 2, xp.reshape(indices, (*lead, math.prod(shape[2:])))), shape)


@composite(public=())
def adaptive_max_pool(xp: Xp, input: Tensor, output_size: Size) -> tuple[Tensor, Tensor]:
    """Return the largest element of each of ``output_size`` regions that cover the plane, and its int64 index."""
    shape = tuple(input.shape[2:])
    if all(m and n % m == 0 for n, m in zip(shape, output_size, strict=True)):
        kernel = tuple([n // m for n, m in zip(shape, output_size, strict=True)])
        return xp.max_pool(input, kernel, kernel, (0,) * len(kernel), (1,) * len(kernel), False)
    cells = []
    for regions in itertools.product(*[_regions(n, m) for n, m in zip(shape, output_size, strict=True)]):
        cell = input
        for i, (start, end) in enumerate(regions):
            cell = xp.slice(cell, 2 + i, start, end, 1)
        sizes = tuple([end - start for start, end in regions])
        flat = xp.argmax(xp.reshape(cell, (*input.shape[:2], math.prod(sizes))), 2, True)
        # From an index into the region to one into the plane.
        places: list[Any] = []
        for (start, _), n in zip(reversed(regions), reversed(sizes), strict=True):
            places.insert(0, xp.add(xp.remainder(flat, n), start))
            flat = xp.floor_divide(flat, n)
        cells.append(_flat(xp, places, shape))
    indices = xp.reshape(xp.cat(cells, 2), (*input.shape[:2], *output_size))
    return _pick(xp, input, indices), indices


@adaptive_max_pool.joint_vjp
def _(xp: Xp, g: Any, needs: tuple[bool, ...], input_spec: Any, result_1: Any) -> tuple[Any]:
    return (xp.max_pool_backward(g[0], result_1, tuple(input_spec.shape[2:])),)


def _regions(size: int, count: int) -> list[tuple[int, int]]:
    """``count`` regions that cover ``size`` elements; they overlap where it is not divisible."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


# -- mean ------------------------------------------------------------------------------------------------------------


def _window_sums(xp: Xp, x: Any, count: Ints, kernel: Ints, stride: Ints) -> Any:
    """Sums over windows, one dimension after the other."""
    for i, (c, k, s) in enumerate(zip(count, kernel, stride, strict=True)):
        dim = 2 + i
        total = None
        for offset in range(k):
            part = xp.slice(x, dim, offset, offset + (c - 1) * s + 1 if c else offset, s)
            total = part if total is None else xp.add(total, part)
        x = total
    return x


def _divisor(
    xp: Xp,
    like: Any,
    shape: Ints,
    count: Ints,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    over: Ints,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    """What the window sums are divided by: a number, or an array where windows hold different numbers of elements."""
    if divisor_override is not None:
        return divisor_override
    if not any(over) and (count_include_pad or not any(padding)):
        return math.prod(kernel)
    ones = xp.new_full(like, (1, 1, *shape), 1)
    ones = xp.constant_pad_nd(ones, pads(padding, padding), 1 if count_include_pad else 0)
    return _window_sums(xp, padded(xp, ones, (0,) * len(over), over), count, kernel, stride)


@composite(public=())
def avg_pool(
    xp: Xp,
    input: Tensor,
    kernel_size: Size,
    stride: Size,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Return the mean of each window.

    Args:
        count_include_pad: whether the zeros of the padding count as elements.
        divisor_override: divide the sum by this number instead.
    """
    shape, ones = tuple(input.shape[2:]), (1,) * len(kernel_size)
    count = _sizes(shape, kernel_size, stride, padding, ones, ceil_mode)
    over = _hanging_over(shape, count, kernel_size, stride, padding, ones)
    x = padded(xp, input, padding, [p + o for p, o in zip(padding, over, strict=True)])
    divisor = _divisor(xp, input, shape, count, kernel_size, stride, padding, over, count_include_pad, divisor_override)
    return xp.div(_window_sums(xp, x, count, kernel_size, stride), divisor)


@avg_pool.joint_vjp
def _(
    xp: Xp,
    g: Any,
    needs: tuple[bool, ...],
    input_spec: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> tuple[Any]:
    size = tuple(input_spec.shape[2:])
    return (
        xp.avg_pool_backward(g, size, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override),
    )


@composite(public=())
def avg_pool_backward(
    xp: Xp,
    g: Tensor,
    input_size: Size,
    kernel_size: Size,
    stride: Size,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Return the cotangent of :func:`avg_pool`'s input, whose spatial dimensions are ``input_size``."""
    count, ones = tuple(g.shape[2:]), (1,) * len(kernel_size)
    over = _hanging_over(input_size, count, kernel_size, stride, padding, ones)
    divisor = _divisor(
        xp, g, input_size, count, kernel_size, stride, padding, over, count_include_pad, divisor_override
    )
    # Each element gets the sum of the windows that hold it: window sums again, of the cotangent spread by the stride.
    wide = spread(xp, xp.div(g, divisor), stride)
    before = [k - 1 - p for k, p in zip(kernel_size, padding, strict=True)]
    after = [n + k - 1 - (b + w) for n, k, b, w in zip(input_size, kernel_size, before, wide.shape[2:], strict=True)]
    return _window_sums(xp, padded(xp, wide, before, after), input_size, kernel_size, ones)


@avg_pool_backward.joint_vjp
def _(
    xp: Xp,
    gg: Any,
    needs: tuple[bool, ...],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> tuple[Any]:
    return (xp.avg_pool(gg, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override),)


@composite(public=())
def adaptive_avg_pool(xp: Xp, input: Tensor, output_size: Size) -> Tensor:
    """Return the means of ``output_size`` regions that cover the plane."""
    shape = tuple(input.shape[2:])
    spatial = len(shape)
    if all(m == 1 for m in output_size):
        return xp.mean(input, tuple(range(2, 2 + spatial)), True)
    if all(m and n % m == 0 for n, m in zip(shape, output_size, strict=True)):
        kernel = tuple([n // m for n, m in zip(shape, output_size, strict=True)])
        return xp.avg_pool(input, kernel, kernel, (0,) * spatial, False, True, None)
    # A region is a product of intervals, so the mean of means is the mean.
    for i, (n, m) in enumerate(zip(shape, output_size, strict=True)):
        parts = [xp.mean(xp.slice(input, 2 + i, start, end, 1), (2 + i,), True) for start, end in _regions(n, m)]
        input = xp.cat(parts, 2 + i) if parts else xp.slice(input, 2 + i, 0, 0, 1)
    return input


# -- public forms ----------------------------------------------------------------------------------------------------


def _batched(xp: Xp, op: str, input: Any, dims: int) -> Any:
    """The input with a batch dimension.

    Raises:
        RuntimeError: for another number of dimensions.
    """
    shape = tuple(input.shape)
    if len(shape) == dims + 2:
        return input
    if len(shape) != dims + 1:
        raise RuntimeError(
            f"{op}: Expected {dims + 1}D or {dims + 2}D (batch mode) tensor for input, but got: {list(shape)}"
        )
    return xp.reshape(input, (1, *shape))


def _unbatched(xp: Xp, result: Any, input: Any) -> Any:
    return result if len(result.shape) == len(input.shape) else xp.reshape(result, tuple(result.shape[1:]))


def _windows(
    op: str, dims: int, input: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Ints, Ints, Ints, Ints]:
    """Kernel size, stride, padding and dilation as tuples, checked."""
    kernel = ntuple(op, "kernel_size", kernel_size, dims)
    # An empty tuple is PyTorch's older way to leave the stride out.
    stride = kernel if stride is None or stride in ((), []) else ntuple(op, "stride", stride, dims)
    padding, dilation = ntuple(op, "padding", padding, dims), ntuple(op, "dilation", dilation, dims)
    for name, sizes in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
        if any(n <= 0 for n in sizes):
            raise RuntimeError(f"{op}: {name} should be greater than zero, but got {name}={list(sizes)}")
    for p, k, d in zip(padding, kernel, dilation, strict=True):
        if p < 0:
            raise RuntimeError(f"{op}: pad must be non-negative, but got pad: {p}")
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"{op}: pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                f"dilation={d}"
            )
    shape = tuple(input.shape[-dims:])
    count = _sizes(shape, kernel, stride, padding, dilation, ceil_mode)
    if any(n <= 0 for n in count):
        raise RuntimeError(
            f"{op}: Given input size: ({'x'.join(map(str, shape))}). Calculated output size: "
            f"({'x'.join(map(str, count))}). Output size is too small"
        )
    return kernel, stride, padding, dilation


def _max_pool(
    xp: Xp,
    dims: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    op = f"max_pool{dims}d"
    x = _batched(xp, op, input, dims)
    sizes = _windows(op, dims, input, kernel_size, stride, padding, dilation, ceil_mode)
    out, indices = xp.max_pool(x, *sizes, bool(ceil_mode))
    out = _unbatched(xp, out, input)
    return (out, _unbatched(xp, indices, input)) if return_indices else out


def _avg_pool(
    xp: Xp,
    dims: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    op = f"avg_pool{dims}d"
    if divisor_override == 0:
        raise RuntimeError(f"{op}: divisor must be not zero")
    x = _batched(xp, op, input, dims)
    kernel, stride, padding, _ = _windows(op, dims, input, kernel_size, stride, padding, 1, ceil_mode)
    out = xp.avg_pool(x, kernel, stride, padding, bool(ceil_mode), bool(count_include_pad), divisor_override)
    return _unbatched(xp, out, input)


def _adaptive_sizes(op: str, dims: int, input: Any, output_size: Any) -> Ints:
    """The output's sizes; None stands for the input's."""
    given = list(output_size) if isinstance(output_size, (tuple, list)) else [output_size] * dims
    if len(given) != dims:
        raise RuntimeError(f"{op}: output_size must be a number or {dims} numbers, got {given}")
    sizes = [n if m is None else int(m) for n, m in zip(input.shape[-dims:], given, strict=True)]
    if any(n < 0 for n in sizes):
        raise RuntimeError(f"{op}: elements of output_size must be greater than or equal to 0 but received {sizes}")
    return tuple(sizes)


def _adaptive_avg_pool(xp: Xp, dims: int, input: Any, output_size: Any) -> Any:
    op = f"adaptive_avg_pool{dims}d"
    x = _batched(xp, op, input, dims)
    return _unbatched(xp, xp.adaptive_avg_pool(x, _adaptive_sizes(op, dims, input, output_size)), input)


def _adaptive_max_pool(xp: Xp, dims: int, input: Any, output_size: Any, return_indices: bool) -> Any:
    op = f"adaptive_max_pool{dims}d"
    x = _batched(xp, op, input, dims)
    out, indices = xp.adaptive_max_pool(x, _adaptive_sizes(op, dims, input, output_size))
    out = _unbatched(xp, out, input)
    return (out, _unbatched(xp, indices, input)) if return_indices else out


def _lp_pool(xp: Xp, dims: int, input: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Any:
    op = f"lp_pool{dims}d"
    kernel = ntuple(op, "kernel_size", kernel_size, dims)
    powers = xp.pow(input, norm_type)
    mean = _avg_pool(xp, dims, powers, kernel, stride, 0, ceil_mode, True, None)
    total = xp.mul(xp.mul(xp.sign(mean), xp.relu(xp.abs(mean))), math.prod(kernel))
    return xp.pow(total, 1.0 / norm_type)


def _max_unpool(
    xp: Xp, dims: int, input: Any, indices: Any, kernel_size: Any, stride: Any, padding: Any, output_size: Any
) -> Any:
    op = f"max_unpool{dims}d"
    kernel = ntuple(op, "kernel_size", kernel_size, dims)
    stride = kernel if stride is None or stride in ((), []) else ntuple(op, "stride", stride, dims)
    padding = ntuple(op, "padding", padding, dims)
    if tuple(indices.shape) != tuple(input.shape):
        raise RuntimeError(
            f"{op}: Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got "
            f"indices tensor with shape: {list(indices.shape)}"
        )
    x, where = _batched(xp, op, input, dims), _batched(xp, op, indices, dims)
    usual = tuple([(n - 1) * s + k - 2 * p for n, s, k, p in zip(x.shape[2:], stride, kernel, padding, strict=True)])
    size = usual if output_size is None else tuple(output_size)[-dims:]
    if len(size) != dims or any(not u - s < n < u + s for n, u, s in zip(size, usual, stride, strict=False)):
        raise ValueError(
            f"{op}: invalid output_size {list(size)}; each size has to be less than the stride {list(stride)} away "
            "from "
            f"{list(usual)}"
        )
    lead, count = tuple(x.shape[:2]), math.prod(x.shape[2:])
    zeros = xp.new_full(x, (*lead, math.prod(size)), 0)
    out = xp.scatter(zeros, 2, xp.reshape(where, (*lead, count)), xp.reshape(x, (*lead, count)))
    return _unbatched(xp, xp.reshape(out, (*lead, *size)), input)


@composite(inline=True, public=("function", "functional"))
def max_pool1d(
    xp: Xp,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window of an input (N, C, L) or (C, L).

    Args:
        kernel_size: the size of a window. stride: the step between windows, ``kernel_size`` when left out.
        padding: how much of minus infinity is added at both ends, at most half a window.
        dilation: the step between the elements of a window.
        ceil_mode: round the number of windows up.
        return_indices: return also where these elements are, as flat indices into the spatial dimensions.

    Raises:
        RuntimeError: when shapes or sizes do not fit.
    """
    return _max_pool(xp, 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@composite(inline=True, public=("function", "functional"))
def max_pool2d(
    xp: Xp,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window, as :func:`max_pool1d`, in two dimensions."""
    return _max_pool(xp, 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@composite(inline=True, public=("function", "functional"))
def max_pool3d(
    xp: Xp,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest element of each window, as :func:`max_pool1d`, in three dimensions."""
    return _max_pool(xp, 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@composite(inline=True, public=("function", "functional"))
def avg_pool1d(
    xp: Xp,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the mean of each window of an input (N, C, L) or (C, L).

    Args:
        kernel_size: the size of a window. stride: the step between windows, ``kernel_size`` when left out.
        padding: how many zeros are added at both ends, at most half a window.
        ceil_mode: round the number of windows up.
        count_include_pad: whether these zeros count as elements.

    Raises:
        RuntimeError: when shapes or sizes do not fit.
    """
    return _avg_pool(xp, 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@composite(inline=True, public=("functional",))
def avg_pool2d(
    xp: Xp,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window, as :func:`avg_pool1d`, in two dimensions.

    Args:
        divisor_override: divide the sums by this number instead of the number of elements.
    """
    return _avg_pool(xp, 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@composite(inline=True, public=("functional",))
def avg_pool3d(
    xp: Xp,
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window, as :func:`avg_pool1d`, in three dimensions.

    Args:
        divisor_override: divide the sums by this number instead of the number of elements.
    """
    return _avg_pool(xp, 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)


@composite(inline=True, public=("function", "functional"))
def adaptive_avg_pool1d(xp: Xp, input: Tensor, output_size: Any) -> Tensor:
    """Return the means of ``output_size`` regions that cover (N, C, L) or (C, L); None keeps a size."""
    return _adaptive_avg_pool(xp, 1, input, output_size)


@composite(inline=True, public=("functional",))
def adaptive_max_pool1d(xp: Xp, input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest elements of ``output_size`` regions that cover the input; ``return_indices``: and where."""
    return _adaptive_max_pool(xp, 1, input, output_size, return_indices)


@composite(inline=True, public=("functional",))
def lp_pool1d(
    xp: Xp, input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Return ``sum(x^p)^(1 / p)`` over each window, p being ``norm_type``."""
    return _lp_pool(xp, 1, input, norm_type, kernel_size, stride, ceil_mode)


@composite(inline=True, public=("functional",))
def max_unpool1d(
    xp: Xp,
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Return zeros with ``input`` at the ``indices`` that :func:`max_pool1d` returned.

    Args:
        kernel_size, stride, padding: of that pooling. output_size: its input's sizes, where several are possible.

    Raises:
        ValueError: for an ``output_size`` that the pooling cannot have had.
    """
    return _max_unpool(xp, 1, input, indices, kernel_size, stride, padding, output_size)


@composite(inline=True, public=("functional",))
def adaptive_avg_pool2d(xp: Xp, input: Tensor, output_size: Any) -> Tensor:
    """Return the means of ``output_size`` regions that cover (N, C, H, W) or (C, H, W); None keeps a size."""
    return _adaptive_avg_pool(xp, 2, input, output_size)


@composite(inline=True, public=("functional",))
def adaptive_max_pool2d(xp: Xp, input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest elements of ``output_size`` regions that cover the input; ``return_indices``: and where."""
    return _adaptive_max_pool(xp, 2, input, output_size, return_indices)


@composite(inline=True, public=("functional",))
def lp_pool2d(
    xp: Xp, input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Return ``sum(x^p)^(1 / p)`` over each window, p being ``norm_type``."""
    return _lp_pool(xp, 2, input, norm_type, kernel_size, stride, ceil_mode)


@composite(inline=True, public=("functional",))
def max_unpool2d(
    xp: Xp,
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Return zeros with ``input`` at the ``indices`` that :func:`max_pool2d` returned.

    Args:
        kernel_size, stride, padding: of that pooling. output_size: its input's sizes, where several are possible.

    Raises:
        ValueError: for an ``output_size`` that the pooling cannot have had.
    """
    return _max_unpool(xp, 2, input, indices, kernel_size, stride, padding, output_size)


@composite(inline=True, public=("functional",))
def adaptive_avg_pool3d(xp: Xp, input: Tensor, output_size: Any) -> Tensor:
    """Return the means of ``output_size`` regions that cover (N, C, D, H, W) or (C, D, H, W); None keeps a size."""
    return _adaptive_avg_pool(xp, 3, input, output_size)


@composite(inline=True, public=("functional",))
def adaptive_max_pool3d(xp: Xp, input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest elements of ``output_size`` regions that cover the input; ``return_indices``: and where."""
    return _adaptive_max_pool(xp, 3, input, output_size, return_indices)


@composite(inline=True, public=("functional",))
def lp_pool3d(
    xp: Xp, input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Return ``sum(x^p)^(1 / p)`` over each window, p being ``norm_type``."""
    return _lp_pool(xp, 3, input, norm_type, kernel_size, stride, ceil_mode)


@composite(inline=True, public=("functional",))
def max_unpool3d(
    xp: Xp,
    input: Tensor,
    indices: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    output_size: Any = None,
) -> Tensor:
    """Return zeros with ``input`` at the ``indices`` that :func:`max_pool3d` returned.

    Args:
        kernel_size, stride, padding: of that pooling. output_size: its input's sizes, where several are possible.

    Raises:
        ValueError: for an ``output_size`` that the pooling cannot have had.
    """
    return _max_unpool(xp, 3, input, indices, kernel_size, stride, padding, output_size)
