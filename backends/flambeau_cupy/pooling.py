"""Pooling over any number of spatial dimensions, and its gradients: a thread a window or an element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy
import numpy

from flambeau.ops.pooling import pooled_sizes
from flambeau_cupy.elements import compute, own_dtype
from flambeau_cupy.indexing import addable, put
from flambeau_cupy.layout import element_strides, window
from flambeau_cupy.maps import Number, run

Array = Any
Size = tuple[int, ...]


def _numbers(*groups: Size) -> list[Number]:
    return [("int", n) for group in groups for n in group]


def plane(array: Array, ones: int) -> Array:
    """The first elements of the planes of (N, C, ...), as a window that broadcasts over so many dimensions more."""
    return window(array, (*array.shape[:2], *[1] * ones), (*element_strides(array)[:2], *[0] * ones))


def digits(name: str, dims: int, first: int) -> str:
    """C++ that takes places off ``rest``, the last dimension first; the sizes begin with the number ``first``."""
    lines = [f"int {', '.join(f'{name}{d}' for d in range(dims))};"]
    lines += [f"{name}{d} = rest % n{first + d}; rest /= n{first + d};" for d in reversed(range(dims))]
    return " ".join(lines)


def max_pool(
    input: Array, kernel_size: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> tuple[Array, Array]:
    """The largest element of each window of (N, C, *sizes), and its flat index in the plane; NaN counts as largest."""
    dims = len(kernel_size)
    shape = input.shape[2:]
    counts = pooled_sizes(shape, kernel_size, stride, padding, dilation, ceil_mode)
    out = cupy.empty((*input.shape[:2], *counts), input.dtype)
    indices = cupy.empty(out.shape, numpy.int64)
    own = compute(own_dtype(input))
    # n: counts, kernel, input, stride, padding, dilation, strides
    lines = ["auto rest = i;", digits("o", dims, 0), f"bool found = false; long long best = 0; {own} top = 0;"]
    place, at = "0", "x0"
    for d in range(dims):
        lines.append(
            f"for (int t{d} = 0; t{d} < n{dims + d}; ++t{d}) {{ "
            f"int v{d} = o{d} * n{3 * dims + d} - n{4 * dims + d} + t{d} * n{5 * dims + d}; "
            f"if (v{d} < 0 || v{d} >= n{2 * dims + d}) continue;"
        )
        place = f"({place} * n{2 * dims + d} + v{d})"
        at += f" + v{d} * (long long)n{6 * dims + d}"
    lines.append(
        f"{own} value = load(p0, {at}); if (!found || value > top || (value != value && top == top)) "
        f"{{ top = value; best = {place}; found = true; }}"
    )
    lines.append("}" * dims + " r0 = top; r1 = best;")
    numbers = _numbers(counts, kernel_size, shape, stride, padding, dilation, element_strides(input)[2:])
    run("max_pool", " ".join(lines), [out, indices], [plane(input, dims)], numbers, "a0")
    return out, indices


def max_pool_backward(g: Array, indices: Array, size: Size) -> Array:
    """The sum of ``g`` (N, C, ...) at the flat ``indices`` of planes of the spatial ``size``."""
    result = cupy.zeros((*g.shape[:2], *size), addable(g))
    target = plane(result, len(size))
    put(target, "long long place = a0;", [indices], [], g.shape, g, True, "max_pool_backward")
    return result.astype(g.dtype, copy=False)


# -- mean ----------------------------------------------------------------------------------------------------------


def _divisor(dims: int, include_padding: bool, override: int | None, real: str) -> str:
    """C++ that computes ``share``, what the window at ``o0``, ``o1`` ... divides by."""
    if override is not None:
        return f"{real} share = {override};"
    lines = [f"{real} share = 1;"]
    for d in range(dims):
        lines.append(f"{{ int begin = o{d} * n{3 * dims + d} - n{4 * dims + d};")
        lines.append(f"int end = min(begin + n{dims + d}, n{2 * dims + d} + n{4 * dims + d});")
        if not include_padding:
            lines.append(f"begin = max(begin, 0); end = min(end, n{2 * dims + d});")
        lines.append("share *= end - begin; }")
    return " ".join(lines)


def avg_pool(
    input: Array,
    kernel_size: Size,
    stride: Size,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """The mean of each window of (N, C, *sizes)."""
    dims = len(kernel_size)
    shape = input.shape[2:]
    counts = pooled_sizes(shape, kernel_size, stride, padding, (1,) * dims, ceil_mode)
    out = cupy.empty((*input.shape[:2], *counts), input.dtype)
    own, real = _types(input)
    # n: counts, kernel, input, stride, padding, strides
    lines = ["auto rest = i;", digits("o", dims, 0), f"{own} total = 0;"]
    at = "x0"
    for d in range(dims):
        lines.append(
            f"for (int t{d} = 0; t{d} < n{dims + d}; ++t{d}) {{ "
            f"int v{d} = o{d} * n{3 * dims + d} - n{4 * dims + d} + t{d}; "
            f"if (v{d} < 0 || v{d} >= n{2 * dims + d}) continue;"
        )
        at += f" + v{d} * (long long)n{5 * dims + d}"
    lines.append(f"total += load(p0, {at}); {'}' * dims} {_divisor(dims, count_include_pad, divisor_override, real)}")
    lines.append("r0 = total / share;")
    numbers = _numbers(counts, kernel_size, shape, stride, padding, element_strides(input)[2:])
    run("avg_pool", " ".join(lines), [out], [plane(input, dims)], numbers, "a0")
    return out


def _types(array: Array) -> tuple[str, str]:
    """The C++ types of sums of the elements and of what they are divided by."""
    own = own_dtype(array)
    return compute(own), compute(own.to_real())


def avg_pool_backward(
    g: Array,
    input_size: Size,
    kernel_size: Size,
    stride: Size,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Array:
    """The cotangent of :func:`avg_pool`'s input: each element adds up its shares of the windows that it was in."""
    dims = len(kernel_size)
    counts = g.shape[2:]
    result = cupy.empty((*g.shape[:2], *input_size), g.dtype)
    own, real = _types(g)
    # n: counts, kernel, input, stride, padding, strides of g
    lines = ["auto rest = i;", digits("v", dims, 2 * dims), f"{own} total = 0;"]
    at = "x0"
    for d in range(dims):
        step, first = f"n{3 * dims + d}", f"(v{d} + n{4 * dims + d} - n{dims + d})"
        lines.append(
            f"for (int o{d} = {first} < 0 ? 0 : {first} / {step} + 1; "
            f"o{d} < n{d} && o{d} * {step} <= v{d} + n{4 * dims + d}; ++o{d}) {{"
        )
        at += f" + o{d} * (long long)n{5 * dims + d}"
    lines.append(f"{_divisor(dims, count_include_pad, divisor_override, real)} total += load(p0, {at}) / share;")
    lines.append("}" * dims + " r0 = total;")
    numbers = _numbers(counts, kernel_size, tuple(input_size), stride, padding, element_strides(g)[2:])
    run("avg_pool_backward", " ".join(lines), [result], [plane(g, dims)], numbers, "a0")
    return result


KERNELS: dict[str, Callable[..., Any]] = {
    "max_pool": max_pool,
    "max_pool_backward": max_pool_backward,
    "avg_pool": avg_pool,
    "avg_pool_backward": avg_pool_backward,
}
