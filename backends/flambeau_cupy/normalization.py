"""Layer, root-mean-square and batch normalization.

The rows of the first two are done in one kernel each way. Statistics are computed, and returned, in float32 for 16-bit
floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import cupy

from flambeau_cupy.cudnn import normalization as cudnn
from flambeau_cupy.decomposition import decomposed
from flambeau_cupy.elements import accumulated, compute, own_dtype
from flambeau_cupy.layout import empty_like
from flambeau_cupy.maps import run
from flambeau_cupy.reduction import reduced
from flambeau_cupy.rows import run_rows

Array = Any
Gradients = tuple[Array | None, Array | None, Array | None]


def _real(kind: Any) -> str:
    """The C++ type of a NumPy dtype that statistics are kept in."""
    return "double" if kind.char == "d" else "float"


# -- along the last dimensions -------------------------------------------------------------------------------------

_LAYER = """
{A} s = 0; EACH(j) s += IN0(j);
{A} mean = row_sum(s) / n, v = 0;
EACH(j) {{ {A} d = IN0(j) - mean; v += d * d; }}
{A} rstd = 1 / sqrt(row_sum(v) / n + n0);
EACH(j) OUT0(j, (IN0(j) - mean) * rstd{affine});
if (t == 0) {{ OUT1(0, mean); OUT2(0, rstd); }}
"""

# h is the cotangent of the normal; what of it goes along the ones and along the normal is taken away.
_LAYER_BACKWARD = """
{A} mean = IN2(0), rstd = IN3(0), s = 0, v = 0;
EACH(j) {{ {A} h = IN0(j){weight}; s += h; v += h * (IN1(j) - mean) * rstd; }}
s = row_sum(s) / n; v = row_sum(v) / n;
EACH(j) OUT0(j, (IN0(j){weight} - s - (IN1(j) - mean) * rstd * v) * rstd);
"""

_RMS = """
{A} v = 0; EACH(j) {{ {A} x = IN0(j); v += x * x; }}
{A} rstd = 1 / sqrt(row_sum(v) / n + n0);
EACH(j) OUT0(j, IN0(j) * rstd{affine});
"""

_RMS_BACKWARD = """
{A} s = 0, v = 0;
EACH(j) {{ {A} x = IN1(j); s += x * x; v += x * IN0(j){weight}; }}
{A} rstd = 1 / sqrt(row_sum(s) / n + n0);
v = row_sum(v) / n * rstd * rstd;
EACH(j) OUT0(j, (IN0(j){weight} - IN1(j) * v) * rstd);
if (t == 0) OUT1(0, rstd);
"""


def _rows(array: Array, normalized_shape: Sequence[int]) -> Array:
    """The array as a matrix with the normalized dimensions in a row."""
    width = prod(normalized_shape)
    return array.reshape(array.size // width if width else 0, width)


def _affine(weight: Array | None, bias: Array | None, first: int) -> tuple[str, list[Array]]:
    """The C++ that applies weight and bias, the inputs from number ``first`` on, and these as rows."""
    given = [array.reshape(1, array.size) for array in (weight, bias) if array is not None]
    text = f" * IN{first}(j)" if weight is not None else ""
    return text + (f" + IN{first + len(given) - 1}(j)" if bias is not None else ""), given


def native_layer_norm(
    input: Array, normalized_shape: tuple[int, ...], weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """``(x - mean) * rstd * weight + bias`` over the last dimensions, the mean and the rstd (of size 1 there)."""
    if input.dtype.kind == "c":
        made: tuple[Array, Array, Array] = decomposed("native_layer_norm", input, normalized_shape, weight, bias, eps)
        return made
    wide, lead = accumulated(input), input.shape[: len(input.shape) - len(normalized_shape)]
    kept = (*lead, *(1,) * len(normalized_shape))
    out, mean, rstd = cupy.empty(input.shape, input.dtype), cupy.empty(kept, wide), cupy.empty(kept, wide)
    if out.size:
        text, given = _affine(weight, bias, 1)
        body = _LAYER.format(A=_real(wide), affine=text)
        outputs = [_rows(out, normalized_shape), mean.reshape(-1, 1), rstd.reshape(-1, 1)]
        inputs = [_rows(input, normalized_shape), *given]
        run_rows("layer_norm", body, outputs, inputs, (1,), [(_real(wide), eps)])
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
    if input.dtype.kind == "c" or not input.size:
        found: Gradients = decomposed(
            "native_layer_norm_backward", g, input, mean, rstd, weight, normalized_shape, needs
        )
        return found
    wide = accumulated(input)
    rows = [_rows(g, normalized_shape), _rows(input, normalized_shape), mean.reshape(-1, 1), rstd.reshape(-1, 1)]
    gi = gw = gb = None
    if needs[0]:
        gi = cupy.empty(input.shape, input.dtype)
        text, given = _affine(weight, None, 4)
        body = _LAYER_BACKWARD.format(A=_real(wide), weight=text)
        run_rows("layer_norm_backward", body, [_rows(gi, normalized_shape)], [*rows, *given], (1,))
    if needs[1]:
        gw = reduced("sum", "a0 * (a1 - a2) * a3", rows, (0,), False, wide, input.dtype).reshape(normalized_shape)
    if needs[2]:
        gb = reduced("sum", "a0", rows[:1], (0,), False, wide, input.dtype).reshape(normalized_shape)
    return gi, gw, gb


def native_rms_norm(input: Array, normalized_shape: tuple[int, ...], weight: Array | None, eps: float) -> Array:
    """``x / sqrt(mean(x^2) + eps) * weight``, the mean over the last dimensions."""
    if input.dtype.kind == "c":
        return decomposed("native_rms_norm", input, normalized_shape, weight, eps)
    wide = accumulated(input)
    out = cupy.empty(input.shape, input.dtype)
    if out.size:
        text, given = _affine(weight, None, 1)
        body = _RMS.format(A=_real(wide), affine=text)
        inputs = [_rows(input, normalized_shape), *given]
        run_rows("rms_norm", body, [_rows(out, normalized_shape)], inputs, (1,), [(_real(wide), eps)])
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
    if input.dtype.kind == "c" or not input.size:
        found: tuple[Array | None, Array | None] = decomposed(
            "native_rms_norm_backward", g, input, weight, normalized_shape, eps, needs
        )
        return found
    wide = accumulated(input)
    rows = [_rows(g, normalized_shape), _rows(input, normalized_shape)]
    gi, rstd = cupy.empty(input.shape, input.dtype), cupy.empty((len(rows[0]), 1), wide)
    text, given = _affine(weight, None, 2)
    body = _RMS_BACKWARD.format(A=_real(wide), weight=text)
    run_rows(
        "rms_norm_backward", body, [_rows(gi, normalized_shape), rstd], [*rows, *given], (1,), [(_real(wide), eps)]
    )
    gw = None
    if needs[1]:
        gw = reduced("sum", "a0 * a1 * a2", [*rows, rstd], (0,), False, wide, input.dtype).reshape(normalized_shape)
    return gi if needs[0] else None, gw


# -- batch -----------------------------------------------------------------------------------------------------------


def _channels(array: Array, dims: int) -> Array:
    """(C,) as (1, C, 1, ...), to broadcast with (N, C, ...)."""
    return array.reshape(1, array.shape[0], *[1] * dims)


def _move(running: Array | None, value: Array, momentum: float, factor: float) -> None:
    """Move running statistics towards ``factor`` times those of the batch, in place."""
    if running is not None:
        real = compute(own_dtype(running))
        numbers = [(real, 1 - momentum), (real, momentum * factor)]
        run("batch_norm_running", "r0 = a0 * n0 + a1 * n1;", [running], [running, value], numbers)


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
    if input.dtype.kind == "c":
        made: tuple[Array, Array, Array] = decomposed(
            "native_batch_norm", input, weight, bias, running_mean, running_var, training, momentum, eps
        )
        return made
    if training:
        found = cudnn.training(input, weight, bias, running_mean, running_var, momentum, eps)
        if found is not None:
            return found
    wide = accumulated(input)
    real = _real(wide)
    dims = len(input.shape) - 2
    others = (0, *range(2, len(input.shape)))
    if training:
        count = input.size // max(input.shape[1], 1)
        numbers = [(real, count)]
        mean = reduced("sum", "a0", [input], others, False, wide, finish="total / n0", numbers=numbers)
        inputs = [input, _channels(mean, dims)]
        var = reduced("sum", "(a0 - a1) * (a0 - a1)", inputs, others, False, wide, finish="total / n0", numbers=numbers)
        _move(running_mean, mean, momentum, 1.0)
        _move(running_var, var, momentum, count / max(count - 1, 1))
    else:
        if running_mean is None or running_var is None:
            raise RuntimeError("batch_norm: outside of training running_mean and running_var are needed, one is None")
        mean, var = running_mean.astype(wide), running_var.astype(wide, copy=False)
    rstd = cupy.empty(mean.shape, wide)
    run("batch_norm_rstd", "r0 = 1 / sqrt(a0 + n0);", [rstd], [var], [(real, eps)])
    out = empty_like(input.shape, input.dtype, [input])
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
    if input.dtype.kind == "c":
        found: Gradients = decomposed(
            "native_batch_norm_backward", g, input, weight, save_mean, save_rstd, training, needs
        )
        return found
    if training and weight is not None:
        gradients = cudnn.backward(g, input, weight, save_mean, save_rstd)
        if gradients is not None:
            return gradients
    wide = accumulated(input)
    affine = input.dtype if weight is None else weight.dtype
    dims = len(input.shape) - 2
    others = (0, *range(2, len(input.shape)))
    inputs = [g, input, _channels(save_mean, dims), _channels(save_rstd, dims)]
    gi = gw = gb = None
    through = needs[0] and training
    if needs[2] or through:
        total = reduced("sum", "a0", [g], others, False, wide)
        gb = total.astype(affine, copy=False) if needs[2] else None
    if needs[1] or through:
        along = reduced("sum", "a0 * (a1 - a2) * a3", inputs, others, False, wide)
        gw = along.astype(affine, copy=False) if needs[1] else None
    if needs[0]:
        gi = empty_like(input.shape, input.dtype, [g])
        scale = [] if weight is None else [_channels(weight, dims)]
        factor = f"a3 * a{6 if training else 4}" if scale else "a3"
        if training:
            inputs += [_channels(total, dims), _channels(along, dims)]
            number = (_real(wide), 1 / max(input.size // max(input.shape[1], 1), 1))
            body = f"r0 = (a0 - a4 * n0 - (a1 - a2) * a3 * a5 * n0) * {factor};"
            run("batch_norm_backward", body, [gi], [*inputs, *scale], [number])
        else:
            run("batch_norm_backward", f"r0 = a0 * {factor};", [gi], [*inputs, *scale])
    return gi, gw, gb


KERNELS: dict[str, Callable[..., Any]] = {
    "native_layer_norm": native_layer_norm,
    "native_layer_norm_backward": native_layer_norm_backward,
    "native_rms_norm": native_rms_norm,
    "native_rms_norm_backward": native_rms_norm_backward,
    "native_batch_norm": native_batch_norm,
    "native_batch_norm_backward": native_batch_norm_backward,
}
