"""The largest elements of windows and regions, with their places, and back from them.

The ops take tuples, one number a spatial dimension, and inputs (N, C, *); the public forms at the end fill them in. The
places are flat indices into the spatial dimensions.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from flambeau.dtypes import FLOATING, iinfo, int64
from flambeau.ops.convolution import offsets, pads, patch
from flambeau.ops.declare import composite
from flambeau.ops.pooling import (
    Ints,
    adaptive_sizes,
    batched,
    check_not_empty,
    checked_windows,
    hanging_over,
    pooled_sizes,
    regions,
    unbatched,
)
from flambeau.ops.spec import ntuple

Tensor = Any
Size = Any
Xp = Any

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
    count = pooled_sizes(shape, kernel_size, stride, padding, dilation, ceil_mode)
    over = hanging_over(shape, count, kernel_size, stride, padding, dilation)
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
    for region in itertools.product(*[regions(n, m) for n, m in zip(shape, output_size, strict=True)]):
        cell = input
        for i, (start, end) in enumerate(region):
            cell = xp.slice(cell, 2 + i, start, end, 1)
        sizes = tuple([end - start for start, end in region])
        flat = xp.argmax(xp.reshape(cell, (*input.shape[:2], math.prod(sizes))), 2, True)
        # From an index into the region to one into the plane.
        places: list[Any] = []
        for (start, _), n in zip(reversed(region), reversed(sizes), strict=True):
            places.insert(0, xp.add(xp.remainder(flat, n), start))
            flat = xp.floor_divide(flat, n)
        cells.append(_flat(xp, places, shape))
    indices = xp.reshape(xp.cat(cells, 2), (*input.shape[:2], *output_size))
    return _pick(xp, input, indices), indices


@adaptive_max_pool.joint_vjp
def _(xp: Xp, g: Any, needs: tuple[bool, ...], input_spec: Any, result_1: Any) -> tuple[Any]:
    return (xp.max_pool_backward(g[0], result_1, tuple(input_spec.shape[2:])),)


@composite(public=())
def fractional_max_pool(
    xp: Xp, input: Tensor, random_samples: Tensor, kernel_size: Size, output_size: Size
) -> tuple[Tensor, Tensor]:
    """Return the largest element of each of ``output_size`` windows at pseudo-random places, and its int64 index.

    Along a dimension of n elements, with windows of k and a random u, window i of m begins at
    ``floor((i + u) a) - floor(u a)`` with ``a = (n - k) / (m - 1)``, the last one at ``n - k`` (Graham, 2014).

    Args:
        random_samples: (N, C, dims), u in [0, 1) for each spatial dimension.
    """
    shape, dims = tuple(input.shape[2:]), len(output_size)
    lead = tuple(input.shape[:2])
    starts = []
    for d, (n, k, m) in enumerate(zip(shape, kernel_size, output_size, strict=True)):
        u = xp.slice(random_samples, 2, d, d + 1, 1)
        start = xp.new_full(random_samples, (*lead, 1), n - k)
        if m > 1:
            step = (n - k) / (m - 1)
            turn = xp.new_arange(random_samples, 0, m - 1, 1, xp.dtype_of(random_samples))
            places = xp.sub(xp.floor(xp.mul(xp.add(u, turn), step)), xp.floor(xp.mul(u, step)))
            start = xp.cat([places, start], 2)
        start = xp.clamp(xp.to_dtype(start, int64), 0, n - k)
        starts.append(xp.reshape(start, (*lead, *(m if i == d else 1 for i in range(dims)))))
    flat = xp.reshape(input, (*lead, math.prod(shape)))
    best = where = None
    for offset in offsets(kernel_size):
        index = _flat(xp, [xp.add(start, o) for start, o in zip(starts, offset, strict=True)], shape)
        index = xp.expand(index, (*lead, *output_size))
        value = xp.reshape(xp.gather(flat, 2, xp.reshape(index, (*lead, math.prod(output_size)))), index.shape)
        if best is None:
            best, where = value, index
            continue
        better = xp.logical_or(xp.gt(value, best), xp.ne(value, value))
        where = xp.where(better, index, where)
        best = xp.where(better, value, best)
    return best, where


@fractional_max_pool.joint_vjp
def _(xp: Xp, g: Any, needs: tuple[bool, ...], input_spec: Any, result_1: Any) -> tuple[Any, None]:
    return xp.max_pool_backward(g[0], result_1, tuple(input_spec.shape[2:])), None


# -- public forms ----------------------------------------------------------------------------------------------------


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
    x = batched(xp, op, input, dims)
    sizes = checked_windows(op, dims, input, kernel_size, stride, padding, dilation, ceil_mode)
    out, indices = xp.max_pool(x, *sizes, bool(ceil_mode))
    out = unbatched(xp, out, input)
    return (out, unbatched(xp, indices, input)) if return_indices else out


def _adaptive_max_pool(xp: Xp, dims: int, input: Any, output_size: Any, return_indices: bool) -> Any:
    op = f"adaptive_max_pool{dims}d"
    sizes = adaptive_sizes(op, dims, input, output_size)
    x = batched(xp, op, input, dims)
    check_not_empty(op, dims, input)
    out, indices = xp.adaptive_max_pool(x, sizes)
    out = unbatched(xp, out, input)
    return (out, unbatched(xp, indices, input)) if return_indices else out


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
    x, where = batched(xp, op, input, dims), batched(xp, op, indices, dims)
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
    return unbatched(xp, xp.reshape(out, (*lead, *size)), input)


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


@composite(inline=True, public=("functional",))
def adaptive_max_pool1d(xp: Xp, input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest elements of ``output_size`` regions that cover the input; ``return_indices``: and where."""
    return _adaptive_max_pool(xp, 1, input, output_size, return_indices)


@composite(inline=True, public=("functional",))
def adaptive_max_pool2d(xp: Xp, input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest elements of ``output_size`` regions that cover the input; ``return_indices``: and where."""
    return _adaptive_max_pool(xp, 2, input, output_size, return_indices)


@composite(inline=True, public=("functional",))
def adaptive_max_pool3d(xp: Xp, input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Return the largest elements of ``output_size`` regions that cover the input; ``return_indices``: and where."""
    return _adaptive_max_pool(xp, 3, input, output_size, return_indices)


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
