"""Convolutions with few channels a group, each sum by a thread (of the weight's gradient: by a block)."""

from __future__ import annotations

from math import prod
from typing import Any

import cupy

from flambeau_cupy.elements import accumulated, compute, own_dtype
from flambeau_cupy.layout import element_strides, window
from flambeau_cupy.maps import run
from flambeau_cupy.pooling import digits
from flambeau_cupy.rows import run_rows
from flambeau_cupy.windows import INPUT, KERNEL, POSITIONS, flat, numbers, over_kernel, visited, visitors

Array = Any
Size = tuple[int, ...]

#: The most channels of a group for which products of matrices do not pay.
_FEW = 4

# Behind the sizes of flambeau_cupy.windows come: the channels of a group on both sides, then strides.
_OWN = 6


def is_better(weight: Array, groups: int) -> bool:
    """Whether the kernels here are the faster ones."""
    return groups > 1 and weight.shape[1] <= _FEW and weight.shape[0] // groups <= _FEW


def _extra(dims: int, k: int) -> str:
    return f"n{_OWN * dims + k}"


def _place(pointer: str, start: str, steps: int, name: str, dims: int) -> str:
    """A load from a plane whose strides are the numbers from ``steps`` on."""
    at = "".join(f" + {name}{d} * (long long){_extra(dims, steps + d)}" for d in range(dims))
    return f"load({pointer}, {start}{at})"


def _samples(array: Array, shape: Size) -> Array:
    """The first elements of the samples, as a window that broadcasts to ``shape``."""
    ones = len(shape) - 1
    return window(array, (array.shape[0], *[1] * ones), (element_strides(array)[0], *[0] * ones))


def _single(array: Array, dims: int) -> Array:
    """The first element of an array, as a window that broadcasts to anything of ``dims`` dimensions."""
    return window(array, (1,) * dims, (0,) * dims)


def correlate(x: Array, weight: Array, size: Size, stride: Size, padding: Size, dilation: Size, groups: int) -> Array:
    """(N, C, *) and (O, C / groups, *kernel) -> (N, O, *size)."""
    outputs, inner, *kernel = weight.shape
    dims = len(kernel)
    out = cupy.empty((x.shape[0], outputs, *size), x.dtype)
    own = compute(own_dtype(x))
    steps = element_strides(x)
    lines = [
        "auto rest = i;", digits("o", dims, 0), f"int channel = rest % {outputs}; {own} total = 0;",
        f"for (int c = 0; c < {_extra(dims, 0)}; ++c) {{",
        f"long long start = x0 + (channel / {_extra(dims, 1)} * {_extra(dims, 0)} + c) * (long long){_extra(dims, 2)};",
        over_kernel(dims), visited(dims),
        f"if (inside) total += {_place('p0', 'start', 3, 'v', dims)}",
        f"* load(p1, (channel * (long long){_extra(dims, 0)} + c) * {prod(kernel)} + {flat('t', KERNEL, dims)});",
        "}" * dims + "} r0 = total;",
    ]  # fmt: skip
    sizes = numbers(size, tuple(kernel), x.shape[2:], stride, padding, dilation, (inner, outputs // groups), steps[1:])
    inputs = [_samples(x, out.shape), _single(_contiguous(weight), out.ndim)]
    run("grouped_convolution", " ".join(lines), [out], inputs, sizes, "a0 a1")
    return out


def _contiguous(array: Array) -> Array:
    return array if array.flags.c_contiguous else array.copy()


def scatter(g: Array, weight: Array, size: Size, stride: Size, padding: Size, dilation: Size, groups: int) -> Array:
    """The gradient for the input: (N, O, *) and (O, C / groups, *kernel) -> (N, C, *size)."""
    outputs, inner, *kernel = weight.shape
    dims = len(kernel)
    out = cupy.empty((g.shape[0], groups * inner, *size), g.dtype)
    own = compute(own_dtype(g))
    steps = element_strides(g)
    lines = [
        "auto rest = i;", digits("v", dims, INPUT * dims),
        f"int channel = rest % {groups * inner}, c = channel % {_extra(dims, 0)}; {own} total = 0;",
        f"for (int k = 0; k < {_extra(dims, 1)}; ++k) {{ int o = channel / {_extra(dims, 0)} * {_extra(dims, 1)} + k;",
        f"long long start = x0 + o * (long long){_extra(dims, 2)};",
        over_kernel(dims), visitors(dims),
        f"if (inside) total += {_place('p0', 'start', 3, 'o', dims)}",
        f"* load(p1, (o * (long long){_extra(dims, 0)} + c) * {prod(kernel)} + {flat('t', KERNEL, dims)});",
        "}" * dims + "} r0 = total;",
    ]  # fmt: skip
    counts, shares = tuple(g.shape[2:]), (inner, outputs // groups)
    sizes = numbers(counts, tuple(kernel), size, stride, padding, dilation, shares, steps[1:])
    inputs = [_samples(g, out.shape), _single(_contiguous(weight), out.ndim)]
    run("grouped_scatter", " ".join(lines), [out], inputs, sizes, "a0 a1")
    return out


def products(x: Array, g: Array, weight: Array, stride: Size, padding: Size, dilation: Size, groups: int) -> Array:
    """The gradient for the weight: (N, C, *) and (N, O, *) -> (O, C / groups, *kernel)."""
    outputs, inner, *kernel = weight.shape
    dims = len(kernel)
    out = cupy.empty(weight.shape, x.dtype)
    kind = "double" if accumulated(x).char == "d" else compute(own_dtype(x))
    size = tuple(g.shape[2:])
    x_steps, g_steps = element_strides(x), element_strides(g)
    after = 3 + dims
    lines = [
        "index_t rest = row;", digits("t", dims, KERNEL * dims),
        f"int c = rest % {_extra(dims, 0)}, o = rest / {_extra(dims, 0)};",
        f"long long channel = o / {_extra(dims, 1)} * {_extra(dims, 0)} + c; {kind} total = 0;",
        "EACH(j) { index_t rest = j;", digits("o", dims, POSITIONS * dims), visited(dims),
        f"long long x_at = rest * (long long){_extra(dims, after + 1 + dims)} + channel * {_extra(dims, 2)};",
        f"long long g_at = rest * (long long){_extra(dims, after + 2 + dims)} + o * (long long){_extra(dims, after)};",
        f"if (inside) total += {_place('p0', 'x_at', 3, 'v', dims)} * {_place('p1', 'g_at', after + 1, 'o', dims)}; }}",
        "total = row_sum(total); if (t == 0) OUT0(0, total);",
    ]  # fmt: skip
    sizes = numbers(
        size, tuple(kernel), x.shape[2:], stride, padding, dilation, (inner, outputs // groups), x_steps[1:],
        g_steps[1:], (x_steps[0], g_steps[0]),
    )  # fmt: skip
    rows = out.reshape(out.size, 1)
    shape = (out.size, x.shape[0] * prod(size))
    run_rows("grouped_products", " ".join(lines), [rows], [_single(x, 2), _single(g, 2)], (1,), sizes, shape=shape)
    return out
