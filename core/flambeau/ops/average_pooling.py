"""The means of windows and regions.

The ops take tuples, one number a spatial dimension, and inputs (N, C, *); the public forms at the end fill them in.
"""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import FLOATING
from flambeau.ops.convolution import padded, pads, spread
from flambeau.ops.declare import composite
from flambeau.ops.pooling import (
    Ints,
    adaptive_sizes,
    batched,
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
    count = pooled_sizes(shape, kernel_size, stride, padding, ones, ceil_mode)
    over = hanging_over(shape, count, kernel_size, stride, padding, ones)
    x = padded(xp, input, padding, [p + o for p, o in zip(padding, over, strict=True)])
    divisor = _divisor(xp, input, shape, count, kernel_size, stride, padding, over, count_include_pad, divisor_override)
    return _quotient(xp, _window_sums(xp, x, count, kernel_size, stride), divisor)


def _quotient(xp: Xp, sums: Any, divisor: Any) -> Any:
    if xp.dtype_of(sums).category >= FLOATING:
        return xp.div(sums, divisor)
    # Integers are divided as C does it, towards 0.
    size = abs(divisor) if isinstance(divisor, int) else divisor
    quotient = xp.mul(xp.sign(sums), xp.floor_divide(xp.abs(sums), size))
    return xp.neg(quotient) if isinstance(divisor, int) and divisor < 0 else quotient


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
    over = hanging_over(input_size, count, kernel_size, stride, padding, ones)
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
        parts = [xp.mean(xp.slice(input, 2 + i, start, end, 1), (2 + i,), True) for start, end in regions(n, m)]
        input = xp.cat(parts, 2 + i) if parts else xp.slice(input, 2 + i, 0, 0, 1)
    return input


# -- public forms ----------------------------------------------------------------------------------------------------


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
    x = batched(xp, op, input, dims)
    kernel, stride, padding, _ = checked_windows(op, dims, input, kernel_size, stride, padding, 1, ceil_mode)
    out = xp.avg_pool(x, kernel, stride, padding, bool(ceil_mode), bool(count_include_pad), divisor_override)
    return unbatched(xp, out, input)


def _adaptive_avg_pool(xp: Xp, dims: int, input: Any, output_size: Any) -> Any:
    op = f"adaptive_avg_pool{dims}d"
    sizes = adaptive_sizes(op, dims, input, output_size)
    return unbatched(xp, xp.adaptive_avg_pool(batched(xp, op, input, dims), sizes), input)


def _lp_pool(xp: Xp, dims: int, input: Any, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool) -> Any:
    op = f"lp_pool{dims}d"
    kernel = ntuple(op, "kernel_size", kernel_size, dims)
    powers = xp.pow(input, norm_type)
    mean = _avg_pool(xp, dims, powers, kernel, stride, 0, ceil_mode, True, None)
    total = xp.mul(xp.mul(xp.sign(mean), xp.relu(xp.abs(mean))), math.prod(kernel))
    return xp.pow(total, 1.0 / norm_type)


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
def adaptive_avg_pool2d(xp: Xp, input: Tensor, output_size: Any) -> Tensor:
    """Return the means of ``output_size`` regions that cover (N, C, H, W) or (C, H, W); None keeps a size."""
    return _adaptive_avg_pool(xp, 2, input, output_size)


@composite(inline=True, public=("functional",))
def adaptive_avg_pool3d(xp: Xp, input: Tensor, output_size: Any) -> Tensor:
    """Return the means of ``output_size`` regions that cover (N, C, D, H, W) or (C, D, H, W); None keeps a size."""
    return _adaptive_avg_pool(xp, 3, input, output_size)


@composite(inline=True, public=("functional",))
def lp_pool1d(
    xp: Xp, input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Return ``sum(x^p)^(1 / p)`` over each window, p being ``norm_type``."""
    return _lp_pool(xp, 1, input, norm_type, kernel_size, stride, ceil_mode)


@composite(inline=True, public=("functional",))
def lp_pool2d(
    xp: Xp, input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Return ``sum(x^p)^(1 / p)`` over each window, p being ``norm_type``."""
    return _lp_pool(xp, 2, input, norm_type, kernel_size, stride, ceil_mode)


@composite(inline=True, public=("functional",))
def lp_pool3d(
    xp: Xp, input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Return ``sum(x^p)^(1 / p)`` over each window, p being ``norm_type``."""
    return _lp_pool(xp, 3, input, norm_type, kernel_size, stride, ceil_mode)
