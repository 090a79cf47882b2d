"""Layer and RMS normalization in one kernel along rows; batch normalization with its sums by themselves.

Statistics are computed, and returned, in float32 for 16-bit floats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from flambeau.ops.declare import OPS
from flambeau.striding import contiguous_strides
from flambeau_opencl.array import Array, empty
from flambeau_opencl.creation import clone, contiguous, to_dtype
from flambeau_opencl.elements import ACCUMULATED, ELEMENTS
from flambeau_opencl.elementwise import KERNELS as ELEMENTWISE
from flambeau_opencl.maps import Number, run
from flambeau_opencl.reduction import mean as mean_
from flambeau_opencl.reduction import sum as sum_
from flambeau_opencl.rows import each, run_rows, share

Gradients = tuple[Array | None, Array | None, Array | None]

# -- layer ---------------------------------------------------------------------------------------------------------

_LAYER = (
    f"{each('@s += L3;', 's:SUM', 4)} T mean = SUM(s) / n0; "
    f"{each('V d = L3 - mean; @v += d * d;', 'v:SUM', 4)} T rstd = 1 / sqrt(SUM(v) / n0 + n1); "
    "p1[row] = mean; p2[row] = rstd; "
)
_RMS = f"{each('V v = L1; @s += v * v;', 's:SUM', 4)} T rstd = 1 / sqrt(SUM(s) / n0 + n1); "

# h = g * weight; its mean over a row and that of h * normal are taken away. The cotangent of the input, and what a row
# adds to those of weight and bias, with names that `_backward` replaces.
_LAYER_BACKWARD = (
    "T mean = MEAN[row], rstd = RSTD[row]; ",
    f"{each('V h = H; @s += h; @t += h * (X - mean);', 's:SUM t:SUM', 2)} "
    "T by_mean = SUM(s) / n0, by_normal = SUM(t) / n0 * rstd * rstd; ",
    ("(H - by_mean - (X - mean) * by_normal) * rstd", "G * (X - mean) * rstd", "G"),
)
_RMS_BACKWARD = (
    f"{each('V v = X; @s += v * v; @t += H * v;', 's:SUM t:SUM', 2)} "
    "T rstd = 1 / sqrt(SUM(s) / n0 + n1), by_normal = SUM(t) / n0 * rstd * rstd; ",
    "",
    ("(H - X * by_normal) * rstd", "G * X * rstd"),
)


def _flat(array: Array, *shape: int) -> Array:
    return contiguous(array).reshaped(*shape)


def native_layer_norm(
    input: Array, normalized_shape: tuple[int, ...], weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """``(x - mean) * rstd * weight + bias`` over the last dimensions, the mean and the rstd (of size 1 there)."""
    runtime, shape, kind = input.runtime, input.shape, input.dtype
    wide = ACCUMULATED.get(kind, kind)
    width = prod(normalized_shape)
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
    inputs = [_flat(input, height, width), *affine]
    numbers = [(ELEMENTS[wide].real, eps)]
    run_rows("layer_norm", _LAYER + each(f"S0({value});"), [out.reshaped(height, width), *columns], inputs, numbers)
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
    gi, gw, gb = _backward(
        "layer_norm_backward", _LAYER_BACKWARD, needs, g, input, (mean, rstd), weight, normalized_shape, []
    )
    return gi, gw, gb


def native_rms_norm(input: Array, normalized_shape: tuple[int, ...], weight: Array | None, eps: float) -> Array:
    """``x / sqrt(mean(x^2) + eps) * weight``, the mean over the last dimensions."""
    if input.dtype.is_complex:
        found: Array = OPS["native_rms_norm"].body(input.runtime.device.xp, input, normalized_shape, weight, eps)
        return found
    out = empty(input.runtime, input.shape, input.dtype)
    if not out.size:
        return out
    width = prod(normalized_shape)
    inputs = [_flat(input, out.size // width, width), *([] if weight is None else [_flat(weight, width)])]
    body = _RMS + each("S0(L1 * rstd" + (");" if weight is None else " * L2);"))
    numbers = [(ELEMENTS[ACCUMULATED.get(input.dtype, input.dtype)].real, eps)]
    run_rows("rms_norm", body, [out.reshaped(out.size // width, width)], inputs, numbers)
    return out


def native_rms_norm_backward(
    g: Array,
    input: Array,
    weight: Array | None,
    normalized_shape: tuple[int, ...],
    eps: float,
    needs: tuple[bool, bool],
) -> tuple[Array | None, Array | None]:
    """The cotangents of input and weight, each None where it is not needed."""
    if input.dtype.is_complex:
        xp = input.runtime.device.xp
        found: tuple[Array | None, Array | None] = OPS["native_rms_norm_backward"].body(
            xp, g, input, weight, normalized_shape, eps, needs
        )
        return found
    numbers = [(ELEMENTS[ACCUMULATED.get(input.dtype, input.dtype)].real, eps)]
    gi, gw = _backward("rms_norm_backward", _RMS_BACKWARD, needs, g, input, (), weight, normalized_shape, numbers)
    return gi, gw


def _backward(
    name: str,
    source: tuple[str, str, tuple[str, ...]],
    needs: tuple[bool, ...],
    g: Array,
    input: Array,
    statistics: Sequence[Array],
    weight: Array | None,
    normalized_shape: tuple[int, ...],
    numbers: Sequence[Number],
) -> list[Array | None]:
    """The cotangents of the input and of the parameters, in one kernel: a share of the rows adds up the latter.

    Args:
        source: what begins, what only the input's cotangent needs, and the values.
    """
    runtime, kind, width = input.runtime, input.dtype, prod(normalized_shape)
    height = prod(input.shape[: len(input.shape) - len(normalized_shape)])
    wide = ACCUMULATED.get(kind, kind)
    gi = empty(runtime, input.shape, kind) if needs[0] else None
    shares = -(-height // share(runtime, height))
    sums = [empty(runtime, (shares, width), wide) if needed else None for needed in needs[1:]]
    outputs = [] if gi is None else [gi.reshaped(height, width)]
    inputs = [_flat(g, height, width), _flat(input, height, width), *[_flat(a, height, 1) for a in statistics]]
    place = len(outputs)
    names = {"G": f"L{place}", "H": f"L{place}", "X": f"L{place + 1}"}
    names |= {"MEAN": f"p{place + 2}", "RSTD": f"p{place + 3}"} if statistics else {}
    if weight is not None:
        inputs.append(_flat(weight, width))
        names["H"] += f" * L{place + len(inputs) - 1}"
    shared = [a for a in sums if a is not None]
    first, of_input, values = source
    stores = [f"S0({values[0]});"] if needs[0] else []
    to = len(outputs) + len(inputs)
    before = each(" ".join(f"S{to + k}((V)0);" for k in range(len(shared))))
    for value, array in zip(values[1:], sums, strict=True):
        if array is not None:
            stores.append(f"S{to}(L{to} + {value});")
            to += 1
    body = first + (of_input if needs[0] else "") + each(" ".join(stores))
    body = re.sub(r"\b(G|H|X|MEAN|RSTD)\b", lambda found: names[found[0]], body)
    run_rows(name, body, outputs, inputs, numbers, shared=shared, before=before)
    found = [None if a is None else to_dtype(_summed(a), kind) for a in sums]
    return [gi, *[None if a is None else _own(a, normalized_shape) for a in found]]


def _summed(shares: Array) -> Array:
    return shares if shares.shape[0] == 1 else sum_(shares, (0,))


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
    "native_rms_norm": native_rms_norm,
    "native_rms_norm_backward": native_rms_norm_backward,
    "native_batch_norm": native_batch_norm,
    "native_batch_norm_backward": native_batch_norm_backward,
}
