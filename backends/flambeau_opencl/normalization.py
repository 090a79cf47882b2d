"""Layer and batch normalization: a kernel for the statistics, one for the rest.

Statistics are computed, and returned, in float32 for 16-bit floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from flambeau_opencl.array import Array, contiguous_strides, empty
from flambeau_opencl.creation import clone, contiguous, to_dtype
from flambeau_opencl.elements import ACCUMULATED, ELEMENTS
from flambeau_opencl.elementwise import KERNELS as ELEMENTWISE
from flambeau_opencl.maps import run
from flambeau_opencl.reduction import mean as mean_
from flambeau_opencl.reduction import sum as sum_

Gradients = tuple[Array | None, Array | None, Array | None]

# -- layer ---------------------------------------------------------------------------------------------------------

_STATISTICS = """
{T} m = 0, v = 0;
for (long j = 0; j < n0; ++j) m += IN0(x0 + j);
m /= n0;
for (long j = 0; j < n0; ++j) {{ {T} d = IN0(x0 + j) - m; v += d * d; }}
r0 = m;
r1 = 1 / sqrt(v / n0 + n1);
"""

# The means of h = g * weight and of h * normal over a row.
_PROJECTIONS = """
{T} s = 0, t = 0;
for (long j = 0; j < n0; ++j) {{
    {T} h = IN0(x0 + j){weight};
    s += h;
    t += h * (IN1(x1 + j) - a2) * a3;
}}
r0 = s / n0;
r1 = t / n0;
"""


def _rows(array: Array, width: int) -> Array:
    """The first elements of the rows of a contiguous array."""
    return array.window((array.size // max(width, 1), 1), (width, 0), array.offset)


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
    numbers = [("long", width), (ELEMENTS[wide].compute, eps)]
    run("layer_norm_statistics", _STATISTICS.format(T=ELEMENTS[wide].compute), columns, [_rows(rows, width)], numbers,
        "a0")  # fmt: skip
    affine = [_flat(a, width) for a in (weight, bias) if a is not None]
    body = "r0 = (a0 - a1) * a2" + (" * a3" if weight is not None else "")
    body += f" + a{2 + len(affine)};" if bias is not None else ";"
    run("layer_norm", body, [out.reshaped(height, width)], [rows, *columns, *affine])
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
    wide = ACCUMULATED.get(kind, kind)
    height = mean.size
    rows, given = _flat(g, height, width), _flat(input, height, width)
    statistics = [_flat(a, height, 1) for a in (mean, rstd)]
    gi = gw = gb = None
    if needs[0]:
        gi = empty(runtime, input.shape, kind)
        along = [empty(runtime, (height, 1), wide) for _ in range(2)]
        scale = [] if weight is None else [_flat(weight, width)]
        origin = [a.window((1, 1), (0, 0), a.offset) for a in scale]
        body = _PROJECTIONS.format(T=ELEMENTS[wide].compute, weight=" * IN4(x4 + j)" if scale else "")
        operands = [_rows(rows, width), _rows(given, width), *statistics, *origin]
        run("layer_norm_projections", body, along, operands, [("long", width)], "a0 a1 a4")
        h = "a0 * a6" if scale else "a0"
        body = f"r0 = ({h} - a4 - (a1 - a2) * a3 * a5) * a3;"
        run("layer_norm_backward", body, [gi.reshaped(height, width)], [rows, given, *statistics, *along, *scale])
    if needs[1]:
        products = empty(runtime, (height, width), wide)
        run("layer_norm_weight", "r0 = a0 * (a1 - a2) * a3;", [products], [rows, given, *statistics])
        gw = to_dtype(sum_(products, (0,)), kind)
    if needs[2]:
        gb = sum_(rows, (0,))
    gradients = [None if a is None else a if a is gi else _own(a, normalized_shape) for a in (gi, gw, gb)]
    return gradients[0], gradients[1], gradients[2]


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
