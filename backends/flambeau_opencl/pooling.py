"""Pooling over any number of spatial dimensions, and its gradients: a work-item a window or an element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.dtypes import FLOATING, int64
from flambeau.ops.pooling import pooled_size
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import filled, to_dtype
from flambeau_opencl.elements import ACCUMULATED, ELEMENTS
from flambeau_opencl.indexing import addable, put
from flambeau_opencl.maps import Number, run

Size = tuple[int, ...]


def _numbers(*groups: Size) -> list[Number]:
    return [("int", n) for group in groups for n in group]


def _plane(array: Array) -> Array:
    """The first elements of the planes of (N, C, ...), as a window that broadcasts over the spatial dimensions."""
    ones = len(array.shape) - 2
    return array.window((*array.shape[:2], *[1] * ones), (*array.strides[:2], *[0] * ones), array.offset)


def _digits(name: str, dims: int, first: int) -> str:
    """C lines that split ``i`` into the places of its plane, whose sizes begin with the number ``first``."""
    lines = [f"int rest = i, {', '.join(f'{name}{d}' for d in range(dims))};"]
    lines += [f"{name}{d} = rest % n{first + d}; rest /= n{first + d};" for d in reversed(range(dims))]
    return " ".join(lines)


def _counts(shape: Size, kernel: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool) -> Size:
    geometry = zip(shape, kernel, stride, padding, dilation, strict=True)
    return tuple([pooled_size(n, k, s, p, d, ceil_mode) for n, k, s, p, d in geometry])


def max_pool(
    input: Array, kernel_size: Size, stride: Size, padding: Size, dilation: Size, ceil_mode: bool
) -> tuple[Array, Array]:
    """The largest element of each window of (N, C, *sizes), and its flat index in the plane; NaN counts as largest."""
    dims = len(kernel_size)
    shape = input.shape[2:]
    counts = _counts(shape, kernel_size, stride, padding, dilation, ceil_mode)
    out = empty(input.runtime, (*input.shape[:2], *counts), input.dtype)
    indices = empty(input.runtime, out.shape, int64)
    # n: counts, kernel, input, stride, padding, dilation, strides
    numbers = _numbers(counts, kernel_size, shape, stride, padding, dilation, input.strides[2:])
    own = ELEMENTS[input.dtype].compute
    if input.runtime.is_cpu:
        rows = [array.window(array.shape[:-1], array.strides[:-1], array.offset) for array in (out, indices)]
        ones = input.window(
            (*input.shape[:2], *[1] * (dims - 1)), (*input.strides[:2], *[0] * (dims - 1)), input.offset
        )
        run("max_pool_rows", _rows_of_maxima(dims, own), rows, [ones], numbers, "r0 r1 a0")
        return out, indices
    lines = [_digits("o", dims, 0), f"int found = 0, best = 0; {own} top = 0;"]
    place, at = "0", "x0"
    for d in range(dims):
        lines.append(_tap(dims, d))
        place = f"({place} * n{2 * dims + d} + v{d})"
        at += f" + v{d} * (long)n{6 * dims + d}"
    lines.append(f"{own} value = IN0({at}); if (!found || {_LARGER}) {{ top = value; best = {place}; found = 1; }}")
    lines.append("}" * dims + " r0 = top; r1 = best;")
    run("max_pool", " ".join(lines), [out, indices], [_plane(input)], numbers, "a0")
    return out, indices


_LARGER = "value > top || (value != value && top == top)"


def _tap(dims: int, d: int) -> str:
    """C that begins a loop over the taps of a dimension; ``v0`` ... is the place, if there is one."""
    return (
        f"for (int t{d} = 0; t{d} < n{dims + d}; ++t{d}) {{ "
        f"int v{d} = o{d} * n{3 * dims + d} - n{4 * dims + d} + t{d} * n{5 * dims + d}; "
        f"if (v{d} < 0 || v{d} >= n{2 * dims + d}) continue;"
    )


def _rows_of_maxima(dims: int, own: str) -> str:
    """C lines for a row of windows, 16 at a time, so that what is done for each of them becomes vectors."""
    last = dims - 1
    count, taps, size, stride, padding, dilation, step = (f"n{k * dims + last}" for k in range(7))
    lines = [_digits("o", last, 0) if last else "", f"for (int first = 0; first < {count}; first += 16) {{"]
    lines.append(f"int many = min(16, {count} - first), best[16]; {own} tops[16];")
    lines.append("for (int l = 0; l < 16; ++l) { best[l] = -1; tops[l] = 0; }")
    place, at = "0", "x0"
    for d in range(last):
        lines.append(_tap(dims, d))
        place = f"({place} * n{2 * dims + d} + v{d})"
        at += f" + v{d} * (long)n{6 * dims + d}"
    lines.append(
        f"for (int t = 0; t < {taps}; ++t) for (int l = 0; l < 16; ++l) {{ "
        f"int v = (first + l) * {stride} - {padding} + t * {dilation}, inside = (v >= 0) & (v < {size}); "
        f"{own} value = IN0({at} + (inside ? v : 0) * (long){step}), top = tops[l]; "
        f"int better = inside & ((best[l] < 0) | (value > top) | ((value != value) & (top == top))); "
        f"tops[l] = better ? value : top; best[l] = better ? {place} * {size} + v : best[l]; }}"
    )
    lines.append("}" * last)
    lines.append("for (int l = 0; l < many; ++l) { OUT0(y0 + first + l, tops[l]); OUT1(y1 + first + l, best[l]); } }")
    return " ".join(lines)


def max_pool_backward(g: Array, indices: Array, size: Size) -> Array:
    """The sum of ``g`` (N, C, ...) at the flat ``indices`` of planes of the spatial ``size``."""
    kind = addable(g.dtype)
    result = filled(g.runtime, (*g.shape[:2], *size), 0, kind)
    ones = len(g.shape) - 2
    target = result.window((*g.shape[:2], *[1] * ones), (*result.strides[:2], *[0] * ones), 0)
    put(target, "long place = a0;", [indices], [], g.shape, to_dtype(g, kind), True, "max_pool_backward")
    return to_dtype(result, g.dtype)


# -- mean ----------------------------------------------------------------------------------------------------------


def _divisor(dims: int, include_padding: bool, override: int | None, real: str) -> str:
    """C lines that compute ``share``, what the window at ``o0``, ``o1`` ... divides by."""
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
    counts = _counts(shape, kernel_size, stride, padding, (1,) * dims, ceil_mode)
    out = empty(input.runtime, (*input.shape[:2], *counts), input.dtype)
    own = ELEMENTS[ACCUMULATED.get(input.dtype, input.dtype)]
    # n: counts, kernel, input, stride, padding, strides
    lines = [_digits("o", dims, 0), f"{own.compute} total = 0;"]
    at = "x0"
    for d in range(dims):
        lines.append(
            f"for (int t{d} = 0; t{d} < n{dims + d}; ++t{d}) {{ "
            f"int v{d} = o{d} * n{3 * dims + d} - n{4 * dims + d} + t{d}; "
            f"if (v{d} < 0 || v{d} >= n{2 * dims + d}) continue;"
        )
        at += f" + v{d} * (long)n{5 * dims + d}"
    real = own.real if input.dtype.category >= FLOATING else own.compute
    lines.append(f"total += IN0({at}); {'}' * dims} {_divisor(dims, count_include_pad, divisor_override, real)}")
    lines.append("r0 = total / share;")
    numbers = _numbers(counts, kernel_size, shape, stride, padding, input.strides[2:])
    run("avg_pool", " ".join(lines), [out], [_plane(input)], numbers, "a0")
    return out


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
    result = empty(g.runtime, (*g.shape[:2], *input_size), g.dtype)
    own = ELEMENTS[g.dtype]
    # n: counts, kernel, input, stride, padding, strides of g
    lines = [_digits("v", dims, 2 * dims), f"{own.compute} total = 0;"]
    at = "x0"
    for d in range(dims):
        stride_, first = f"n{3 * dims + d}", f"(v{d} + n{4 * dims + d} - n{dims + d})"
        lines.append(
            f"for (int o{d} = {first} < 0 ? 0 : {first} / {stride_} + 1; "
            f"o{d} < n{d} && o{d} * {stride_} <= v{d} + n{4 * dims + d}; ++o{d}) {{"
        )
        at += f" + o{d} * (long)n{5 * dims + d}"
    lines.append(f"{_divisor(dims, count_include_pad, divisor_override, own.real)} total += IN0({at}) / share;")
    lines.append("}" * dims + " r0 = total;")
    numbers = _numbers(counts, kernel_size, tuple(input_size), stride, padding, g.strides[2:])
    run("avg_pool_backward", " ".join(lines), [result], [_plane(g)], numbers, "a0")
    return result


KERNELS: dict[str, Callable[..., Any]] = {
    "max_pool": max_pool,
    "max_pool_backward": max_pool_backward,
    "avg_pool": avg_pool,
    "avg_pool_backward": avg_pool_backward,
}
