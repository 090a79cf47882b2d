"""Layer normalization in one kernel along rows; batch normalization with its sums by themselves.

Statistics are computed, and returned, in float32 for 16-bit floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from flambeau.striding import contiguous_strides
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import clone, contiguous, to_dtype
from flambeau_opencl.elements import ACCUMULATED, ELEMENTS, unaligned
from flambeau_opencl.elementwise import KERNELS as ELEMENTWISE
from flambeau_opencl.maps import run
from flambeau_opencl.passes import vector_width
from flambeau_opencl.reduction import mean as mean_
from flambeau_opencl.reduction import sum as sum_
from flambeau_opencl.rows import each, run_rows

Gradients = tuple[Array | None, Array | None, Array | None]

# -- layer ---------------------------------------------------------------------------------------------------------

_FORWARD = (
    f"{each('@s += L3;', 's:SUM')} T mean = SUM(s) / n0; {each('V d = L3 - mean; @v += d * d;', 'v:SUM')} "
    "T rstd = 1 / sqrt(SUM(v) / n0 + n1); p1[row] = mean; p2[row] = rstd; "
)
# h = g * weight; its mean over a row and that of h * normal are taken away.
_BACKWARD = (
    "T mean = p3[row], rstd = p4[row]; "
    f"{each('V h = L1{weight}; @s += h; @t += h * (L2 - mean);', 's:SUM t:SUM')} "
    "T by_mean = SUM(s) / n0, by_normal = SUM(t) / n0 * rstd * rstd; "
    f"{each('S0((L1{weight} - by_mean - (L2 - mean) * by_normal) * rstd);')}"
)

#: Rows whose shares of the gradients of weight and bias one work-item adds up.
_SHARE = 32


def _flat(array: Array, *shape: int) -> Array:
    return contiguous(array).reshaped(*shape)


def native_layer_norm(
    input: Array, normalized_shape: tuple[int, ...], weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """``(x - mean) * rstd * weight + bias`` over the last dimensions, the mean and the rstd (of size 1 there)."""
    runtime, shape, kind = input.runtime, input.shape, input.dtype
    wide = ACCUMULATED.get(kind, kind)
    width = prod(normalized_shape)
    rows = _flat(input, input.size // max(width, 1), width) if width else contiguous(input)
    kept = shape[: len(shape) - len(normalized_shape)] + (1,) * len(normalized_shape)
    mean, rstd = empty(runtime, kept, wide), empty(runtime, kept, wide)
    out = empty(runtime, shape, kind)
    if not out.size:
        return out, mean, rstd
    height = prod(kept)
    columns = [a.reshaped(height, 1) for a in (mean, rstd)]
    affine = [_flat(a, width) for a in (weight, bias) if a is not None]
    value = "(L3 - mean) * rstd" + (" * L4" if weight is not None else "")
    value += f" + L{3 + len(affine)}" if bias is not None else ""
    body = _FORWARD + each(f"S0({value});")
    run_rows("layer_norm", body, [out.reshaped(height, width), *columns], [rows, *affine], [(ELEMENTS[wide].real, eps)])
    return out, mean, rstd


def native_layer_norm_backward(
    g: Array,
    input: Array,
    mean: Array,
    rstd: Array,
    weight: Array | None,
    normalized_shape: tuple[int, ...],
    needs: tuple[bool, bool, bool],
) -> Gradients:
    """The cotangents of input, weight and bias, each None where it is not needed."""
    runtime, kind, width = input.runtime, input.dtype, prod(normalized_shape)
    height = mean.size
    rows, given = _flat(g, height, width), _flat(input, height, width)
    statistics = [_flat(a, height, 1) for a in (mean, rstd)]
    gi = gw = gb = None
    if needs[0]:
        gi = empty(runtime, input.shape, kind)
        scale = [] if weight is None else [_flat(weight, width)]
        body = _BACKWARD.replace("{weight}", " * L5" if scale else "")
        run_rows("layer_norm_backward", body, [gi.reshaped(height, width)], [rows, given, *statistics, *scale])
    if needs[1] and rows.size:
        gw, gb = [to_dtype(a, kind) for a in _parameter_gradients(rows, given, statistics)]
    elif needs[1] or needs[2]:
        gw = gb = sum_(rows, (0,))
    gw, gb = [None if a is None else _own(a, normalized_shape) for a in (gw, gb)]
    return gi, gw if needs[1] else None, gb if needs[2] else None


# A work-item adds up a share of the rows for two vectors of columns (a cache line), the last of which begin so early as
# to be whole.
_SHARES = """
long row = i / n2 * {share}, end = min(row + {share}, n0), column = min(i % n2 * {W}, n1 - {W});
long to = i / n2 * n1 + column;
{V} s = 0, t = 0, s_ = 0, t_ = 0;
for (; row < end; ++row) {{
    long at = row * n1 + column;
    {V} g = AT(p0 + x0 + at), g_ = AT(p0 + x0 + at + {half});
    s += g;
    s_ += g_;
    t += g * (AT(p1 + x1 + at) - IN2(x2 + row)) * IN3(x3 + row);
    t_ += g_ * (AT(p1 + x1 + at + {half}) - IN2(x2 + row)) * IN3(x3 + row);
}}
AT(q0 + y0 + to) = t; AT(q1 + y1 + to) = s;
AT(q0 + y0 + to + {half}) = t_; AT(q1 + y1 + to + {half}) = s_;
"""


def _parameter_gradients(g: Array, input: Array, statistics: Sequence[Array]) -> tuple[Array, Array]:
    """The sums of ``g * (input - mean) * rstd`` and of ``g`` over the rows, without an array of the products."""
    height, width = g.shape
    wide = statistics[0].dtype
    g, input = to_dtype(g, wide), to_dtype(input, wide)
    # Elsewhere both vectors are one number, and what is done to them is done once.
    half = vector_width(wide) if g.runtime.is_cpu and width >= 2 * vector_width(wide) else 0
    columns = 2 * half or 1
    real = ELEMENTS[wide].compute
    vector = f"{real}{half}" if half else real
    shares, blocks = -(-height // _SHARE), -(-width // columns)
    partial = [empty(g.runtime, (shares, width), wide) for _ in range(2)]
    origins = [a.window((1, 1), (0, 0), a.offset) for a in (*partial, g, input, *statistics)]
    numbers = [("long", n) for n in (height, width, blocks)]
    functions = unaligned(vector, real) + "\n#define AT(pointer) (*(__global unaligned *)(pointer))\n"
    body = _SHARES.format(share=_SHARE, W=columns, V=vector, half=half)
    raw = "r0 r1 a0 a1 a2 a3"
    run("layer_norm_shares", body, origins[:2], origins[2:], numbers, raw, functions, shape=(shares * blocks, 1))
    return sum_(partial[0], (0,)), sum_(partial[1], (0,))


def _own(array: Array, shape: Sequence[int]) -> Array:
    """A new contiguous array under another shape, still the owner of its memory."""
    shape = tuple(shape)
    return Array(array.storage, shape, contiguous_strides(shape), array.offset, array.dtype, is_view=False)


# -- batch ---------------------------------------------------------------------------------------------------------


def _channels(array: Array, dims: int) -> Array:
    """(C,) as (C, 1, ...), to broadcast with (N, C, ...)."""
    return array.window((array.shape[0], *[1] * dims), (array.strides[0], *[0] * dims), array.offset)


def native_batch_norm(
    input: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Array, Array, Array]:
    """``(x - mean) * rstd * weight + bias`` for each channel (dimension 1), the mean and the rstd, each (C,).

    Args:
        running_mean, running_var: in training they are moved, in place, by ``momentum`` towards the batch's mean and
            unbiased variance; otherwise they are the statistics.
    """
    kind = input.dtype
    wide = ACCUMULATED.get(kind, kind)
    real = ELEMENTS[wide].compute
    dims = len(input.shape) - 2
    others = (0, *range(2, len(input.shape)))
    if training:
        count = input.size // max(input.shape[1], 1)
        mean = mean_(input, others, False, wide) if kind is not wide else mean_(input, others)
        squares = empty(input.runtime, input.shape, wide)
        run("batch_norm_squares", "r0 = (a0 - a1) * (a0 - a1);", [squares], [input, _channels(mean, dims)])
        var = mean_(squares, others)
        for running, value, factor in ((running_mean, mean, 1.0), (running_var, var, count / max(count - 1, 1))):
            if running is not None:
                numbers = [(real, momentum), (real, momentum * factor)]
                run("batch_norm_running", "r0 = a0 * (1 - n0) + a1 * n1;", [running], [running, value], numbers)
    else:
        if running_mean is None or running_var is None:
            raise RuntimeError("batch_norm: outside of training running_mean and running_var are needed, one is None")
        mean, var = to_dtype(running_mean, wide), to_dtype(running_var, wide)
        mean = clone(mean) if mean is running_mean else mean
    rstd = empty(input.runtime, mean.shape, wide)
    run("batch_norm_rstd", "r0 = 1 / sqrt(a0 + n0);", [rstd], [var], [(real, eps)])
    out = empty(input.runtime, input.shape, kind)
    affine = [_channels(a, dims) for a in (weight, bias) if a is not None]
    body = "r0 = (a0 - a1) * a2" + (" * a3" if weight is not None else "")
    body += f" + a{2 + len(affine)};" if bias is not None else ";"
    run("batch_norm", body, [out], [input, _channels(mean, dims), _channels(rstd, dims), *affine])
    return out, mean, rstd


def native_batch_norm_backward(
    g: Array,
    input: Array,
    weight: Array | None,
    save_mean: Array,
    save_rstd: Array,
    training: bool,
    needs: tuple[bool, bool, bool],
) -> Gradients:
    """The cotangents of input, weight and bias, each None where it is not needed.

    Args:
        training: whether the statistics depend on the input.
    """
    kind = input.dtype
    wide = ACCUMULATED.get(kind, kind)
    affine = kind if weight is None else weight.dtype
    dims = len(input.shape) - 2
    others = (0, *range(2, len(input.shape)))
    statistics = [_channels(a, dims) for a in (save_mean, save_rstd)]
    gi = gw = gb = None
    through = needs[0] and training
    if needs[2] or through:
        total = sum_(g, others, False, wide)
        gb = to_dtype(total, affine) if needs[2] else None
    if needs[1] or through:
        products = empty(input.runtime, input.shape, wide)
        run("batch_norm_products", "r0 = a0 * (a1 - a2) * a3;", [products], [g, input, *statistics])
        along = sum_(products, others)
        gw = to_dtype(along, affine) if needs[1] else None
    if needs[0]:
        gi = empty(input.runtime, input.shape, kind)
        scale = [] if weight is None else [_channels(weight, dims)]
        if training:
            count = input.size // max(input.shape[1], 1)
            factor = "a3 * a6" if scale else "a3"
            body = f"r0 = (a0 - a4 * n0 - (a1 - a2) * a3 * a5 * n0) * {factor};"
            operands = [g, input, *statistics, _channels(total, dims), _channels(along, dims), *scale]
            number = (ELEMENTS[wide].compute, 1 / max(count, 1))
            run("batch_norm_backward", body, [gi], operands, [number])
        elif scale:
            gi = ELEMENTWISE["mul"](ELEMENTWISE["mul"](to_dtype(g, wide), statistics[1]), to_dtype(scale[0], wide))
        else:
            gi = ELEMENTWISE["mul"](to_dtype(g, wide), statistics[1])
        gi = to_dtype(gi, kind)
    return gi, gw, gb


KERNELS: dict[str, Callable[..., Any]] = {
    "native_layer_norm": native_layer_norm,
    "native_layer_norm_backward": native_layer_norm_backward,
    "native_batch_norm": native_batch_norm,
    "native_batch_norm_backward": native_batch_norm_backward,
}
