"""Convolutions on CPUs: products of matrices one of which is the windows of an array, read where they lie.

With x (N, C, *sizes) padded, and of a stride s the places r, r + s, r + 2 s ... put side by side for each r, the
element that position p of an output meets at tap t is x[t's place + p's place], a sum of two: what
:mod:`flambeau_opencl.blocked` asks of an operand. So:

* forward: ``weight (O, C * taps) @ windows (C * taps, N * positions)``
* gradient of the weight: ``cotangent (O, N * positions) @ windows^T (N * positions, C * taps)``
* gradient of the input: of a stride s the elements r, r + s, r + 2 s ... meet the same taps, every s-th. For each r
  that is a convolution of the cotangent with these taps in reverse order and stride 1.

All have three spatial dimensions here; those that are missing have size 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product as combinations
from math import gcd, prod
from typing import Any, NamedTuple

import numpy

from flambeau.dtypes import dtype, float32, float64
from flambeau_opencl.array import Array, empty
from flambeau_opencl.blocked import Left, Places, product
from flambeau_opencl.creation import contiguous, filled
from flambeau_opencl.elements import ELEMENTS, preamble, unaligned
from flambeau_opencl.maps import run
from flambeau_opencl.passes import vector_width
from flambeau_opencl.reduction import sum as sum_
from flambeau_opencl.runtime import Runtime, kernel_name
from flambeau_opencl.shape import permute

Size = tuple[int, ...]

_DIMS = range(3)

#: Positions of a sample below which a cotangent is copied, so that those of all samples are one run.
_SHORT = 16


def _walk(digits: Sequence[tuple[str, str]], carried: str) -> str:
    """C lines that count; of the digits (what to do at the end of one, whether it has ended) the last goes fastest."""
    text = carried
    for restart, ended in digits:
        text = f"{ended} {{{{ {restart} {text} }}}}"
    return text


_NEXT_POSITION = _walk([(f"y{d} = 0;", f"if (++y{d} == places{d})") for d in _DIMS], "++n;")
_NEXT_TAP = _walk(
    [
        (f"t{d} = r{d} = q{d} = 0;", f"r{d} += step{d}; while (r{d} >= split{d}) {{{{ r{d} -= split{d}; ++q{d}; }}}} "
         f"if (++t{d} == taps{d})")
        for d in _DIMS
    ],
    "++channel;",
)  # fmt: skip

_POSITION_LANES = f"""
{{{{
    long y2 = j0 % places2, y1 = j0 / places2 % places1, y0 = j0 / (places2 * places1) % places0;
    long n = j0 / (places2 * places1 * places0);
    for (int j = 0; j < panels * {{N}}; ++j) {{{{
        lane_at[j] = n * sample + y0 * pitch0 + y1 * pitch1 + y2 * pitch2;
        out_at[j] = n * out_sample + y0 * out0 + y1 * out1 + y2 * out2;
        if (j0 + j + 1 >= columns) ++y2;
        else {_NEXT_POSITION}
    }}}}
}}}}
"""
_TAP_ROWS = "row_at[k] = channel * plane + " + " + ".join(f"q{d} * pitch{d} + r{d} * phase{d}" for d in _DIMS) + ";"
_TAP_LANES = """
for (int j = 0; j < panels * {N}; ++j) {{
    long column = min(j0 + j, columns - 1), t2 = column % taps2 * step2, t1 = column / taps2 % taps1 * step1;
    long t0 = column / (taps2 * taps1) % taps0 * step0;
    lane_at[j] = column / (taps2 * taps1 * taps0) * plane + t2 / split2 * pitch2 + t2 % split2 * phase2
               + t1 / split1 * pitch1 + t1 % split1 * phase1 + t0 / split0 * pitch0 + t0 % split0 * phase0;
    out_at[j] = j0 + j;
}}
"""
_NUMBERS = (
    "sample", "plane", "out_sample",
    *[f"{name}{d}" for name in ("places", "taps", "step", "split", "pitch", "phase", "out") for d in _DIMS],
)  # fmt: skip

#: Rows are taps, columns are positions.
_FORWARD = Places(
    "windows",
    _POSITION_LANES,
    "long channel = 0, " + ", ".join(f"t{d} = 0, q{d} = 0, r{d} = 0" for d in _DIMS) + ";",
    _TAP_ROWS + " " + _NEXT_TAP,
    _NUMBERS,
)
#: Rows are positions, columns are taps.
_TURNED = Places(
    "turned windows",
    _TAP_LANES,
    "long n = 0, y0 = 0, y1 = 0, y2 = 0;",
    "row_at[k] = n * sample + y0 * pitch0 + y1 * pitch1 + y2 * pitch2; " + _NEXT_POSITION,
    _NUMBERS,
    turns=True,
)


def served(runtime: Runtime, kind: dtype) -> bool:
    """Whether these functions are for such arrays."""
    return runtime.is_cpu and kind in (float32, float64)


class _Windows(NamedTuple):
    """An array laid out so that windows can be read from it.

    Attributes:
        sample, plane: the distances of samples and channels.
        pitch: the distances of neighbouring positions.
        phase: the distances between the places that begin at neighbouring elements, where the stride is not 1.
    """

    array: Array
    sample: int
    plane: int
    pitch: Size
    phase: Size


def _three(size: Sequence[int], fill: int) -> Size:
    return (*[fill] * (3 - len(size)), *size)


# A work-item writes a phase of a plane, row after row, in whole vectors: what runs over belongs to the next row.
_LAY_OUT = """
{preamble}
typedef {T}{w} vector; {unaligned}
#define TO(k) (*(__global unaligned *)(line + (k)))
#define FROM(k) (*(const __global unaligned *)(source + (k)))
__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void {name}(__global {T} *restrict to, const __global {T} *restrict from, long to_at, long from_at, {parameters}) {{
    int e2 = get_global_id(0) % phases2, e1 = get_global_id(0) / phases2 % phases1;
    int e0 = get_global_id(0) / (phases2 * phases1), rows = length0 * length1;
    to += to_at + (get_global_id(1) * get_global_size(0) + get_global_id(0)) * (rows * length2);
    from += from_at + get_global_id(1) * (shape0 * shape1 * shape2);
    int shift = before2 - e2;
    int low = shift > 0 ? min(length2, (shift + stride2 - 1) / stride2) : 0;
    int high = shape2 + shift > 0 ? max(low, min(length2, (shape2 + shift + stride2 - 1) / stride2)) : low;
    for (int row = 0, u0 = 0, u1 = 0; row < rows; ++row) {{
        long v0 = (long)u0 * stride0 + e0 - before0, v1 = (long)u1 * stride1 + e1 - before1;
        bool inside = v0 >= 0 && v0 < shape0 && v1 >= 0 && v1 < shape1;
        int begin = inside ? low : 0, end = inside ? high : 0;
        const __global {T} *source = from + (inside ? (v0 * shape1 + v1) * shape2 : 0) - shift;
        __global {T} *line = to + (long)row * length2;
        if ((rows - row - 1) * (long)length2 < {w} || stride2 > 2) {{
            for (int k = 0; k < length2; ++k) line[k] = k < begin || k >= end ? 0 : source[(long)k * stride2];
        }} else {{
            for (int k = 0; k < begin; k += {w}) TO(k) = 0;
            if (stride2 == 1) for (int k = begin; k < end; k += {w}) TO(k) = FROM(k);
            else for (int k = begin; k < end; k += {w}) TO(k) = (vector)(FROM(2 * k).even, FROM(2 * k + {w}).even);
            for (int k = end; k < length2; k += {w}) TO(k) = 0;
        }}
        if (++u1 == length1) {{ u1 = 0; ++u0; }}
    }}
}}
"""
_LAY_OUT_NUMBERS = [f"{name}{d}" for name in ("length", "phases", "shape", "before", "stride") for d in _DIMS]


def _build_lay_out(runtime: Runtime, kind: dtype) -> tuple[str, Any]:
    own, width = ELEMENTS[kind].compute, vector_width(kind)
    name = kernel_name("lay_out", kind)
    source = _LAY_OUT.format(
        preamble=preamble({kind}), T=own, w=width, unaligned=unaligned(f"{own}{width}", own), name=name,
        parameters=", ".join(f"int {n}" for n in _LAY_OUT_NUMBERS),
    )  # fmt: skip
    return name, runtime.build(name, source, [None, None, numpy.int64, numpy.int64, *[numpy.int32] * 15])


def _laid_out(x: Array, lengths: Size, phases: Size, before: Size, stride: Size) -> _Windows:
    """(N, C, *phases, *lengths), where element (r, q) of a dimension is ``x[r + stride * q - before]``, 0 outside."""
    x = contiguous(x)
    samples, channels = x.shape[:2]
    shape = _three(x.shape[2:], 1)
    size = prod(shape)
    plain = max(stride) == 1 and max(before) == 0
    if plain and all(length <= n for length, n in zip(lengths, shape, strict=True)):
        return _Windows(x, channels * size, size, (shape[1] * shape[2], shape[2], 1), (0, 0, 0))
    plane, part = prod(lengths) * prod(phases), prod(lengths)
    result = empty(x.runtime, (samples, channels, *phases, *lengths), x.dtype)
    if not result.size:
        return _Windows(result, 0, 0, (0, 0, 0), (0, 0, 0))
    runtime, key = x.runtime, ("lay_out", x.dtype)
    found = runtime.kernels.get(key)
    if found is None:
        found = runtime.kernels[key] = _build_lay_out(runtime, x.dtype)
    args = [result.storage.buffer, x.storage.buffer, 0, x.offset, *lengths, *phases, *shape, *before, *stride]
    runtime.launch(found[0], found[1], (prod(phases), samples * channels, 1), (1, 1, 1), args)
    pitch = lengths[1] * lengths[2], lengths[2], 1
    return _Windows(result, channels * plane, plane, pitch, (phases[1] * phases[2] * part, phases[2] * part, part))


def _of_input(x: Array, kernel: Size, size: Size, stride: Size, padding: Size, dilation: Size) -> _Windows:
    phases = tuple([s if k > 1 else 1 for s, k in zip(stride, kernel, strict=True)])
    reach = [(k - 1) * d // s for k, s, d in zip(kernel, stride, dilation, strict=True)]
    lengths = tuple([n + r for n, r in zip(size, reach, strict=True)])
    return _laid_out(x, lengths, phases, padding, stride)


def _numbers(windows: _Windows, size: Size, kernel: Size, step: Size, split: Size, out_sample: int, out: Size) -> Size:
    return (
        windows.sample, windows.plane, out_sample, *size, *kernel, *step, *split, *windows.pitch, *windows.phase, *out
    )  # fmt: skip


def _split(wanted: int, items: int, samples: int) -> int:
    """Into how many parts of equal size to cut the samples, so that there are so many work-items."""
    return next((n for n in range(1, samples + 1) if samples % n == 0 and n * items >= wanted), samples)


def correlate(
    x: Array, weight: Array, bias: Array | None, size: Size, stride: Size, padding: Size, dilation: Size, groups: int
) -> Array:
    """The forward convolution, with ``size`` positions: (N, C, ...), (O, C / groups, ...) -> (N, O, *size)."""
    outputs, per_group = weight.shape[:2]
    samples = x.shape[0]
    out = empty(x.runtime, (samples, outputs, *size), x.dtype)
    if not out.size:
        return out
    kernel, size = _three(weight.shape[2:], 1), _three(size, 1)
    stride, padding, dilation = _three(stride, 1), _three(padding, 0), _three(dilation, 1)
    windows = _of_input(x, kernel, size, stride, padding, dilation)
    depth, positions, rows = per_group * prod(kernel), prod(size), outputs // groups
    left = Left(contiguous(weight), depth, 1)
    numbers = _numbers(windows, size, kernel, dilation, stride, outputs * positions, (size[1] * size[2], size[2], 1))
    product(out, left, windows.array, _FORWARD, numbers, (rows, samples * positions, depth), positions, (groups,),
            ((rows * depth,), (per_group * windows.plane,)), rows * positions,
            bias=bias, bias_of="" if bias is None else "row")  # fmt: skip
    return out


class _Phase(NamedTuple):
    """The elements ``first``, ``first + stride`` ... of a dimension of the input, and what they meet.

    Attributes:
        length: how many elements.
        taps, last, step: the number of taps that they meet, the last of them, and their distance.
        low, apart: the place in the cotangent, for the first element at the last tap, and the distance for other taps.
    """

    first: int
    length: int
    taps: int
    last: int
    step: int
    low: int
    apart: int


def _phases(size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[_Phase]:
    found = []
    step = stride // gcd(dilation, stride)
    for first in range(min(stride, size)):
        taps = [t for t in range(kernel) if (first + padding - t * dilation) % stride == 0]
        last = taps[-1] if taps else 0
        low = (first + padding - last * dilation) // stride if taps else 0
        found.append(_Phase(first, -(-(size - first) // stride), len(taps), last, step, low, step * dilation // stride))
    return found


# n: outputs and channels of a group, blocks of outputs, taps of the phase, last taps, steps, kernel
_TURN_WEIGHT = """
int channel = i % n1, block = i / n1 % n2, group = i / n1 / n2, end = min(block * 16 + 16, n0);
for (int o = block * 16; o < end; ++o) {
    long from = x0 + ((long)(group * n0 + o) * n1 + channel) * (n12 * n13 * n14);
    long to = y0 + ((long)(group * n1 + channel) * n0 + o) * (n3 * n4 * n5);
    for (int t0 = 0; t0 < n3; ++t0)
        for (int t1 = 0; t1 < n4; ++t1)
            for (int t2 = 0; t2 < n5; ++t2, ++to)
                OUT0(to, IN0(from + ((n6 - t0 * n9) * n13 + n7 - t1 * n10) * n14 + n8 - t2 * n11));
}
"""


def _turned_weight(weight: Array, kernel: Size, phases: Sequence[_Phase], groups: int) -> Array:
    """(groups, C / groups, O / groups, *taps) of a contiguous weight (O, C / groups, *kernel), the taps in reverse."""
    outputs, channels = weight.shape[0] // groups, weight.shape[1]
    taps = tuple([p.taps for p in phases])
    turned = empty(weight.runtime, (groups, channels, outputs, *taps), weight.dtype)
    blocks = -(-outputs // 16)
    values = [outputs, channels, blocks, *taps, *[p.last for p in phases], *[p.step for p in phases], *kernel]
    if turned.size:
        origins = [array.window((1,), (0,), array.offset) for array in (turned, weight)]
        run("turn_weight", _TURN_WEIGHT, origins[:1], origins[1:], [("int", n) for n in values], "r0 a0",
            shape=(groups * blocks * channels,))  # fmt: skip
    return turned


def scatter(
    g: Array, weight: Array, bias: Array | None, size: Size, stride: Size, padding: Size, dilation: Size, groups: int
) -> Array:
    """The gradient of the input, plus a bias (C,): (N, O, ...), (O, C / groups, ...) -> (N, C, *size)."""
    samples, outputs = g.shape[:2]
    per_group = weight.shape[1]
    shape = samples, per_group * groups, *size
    if 0 in shape:
        return empty(g.runtime, shape, g.dtype)
    kernel, size, weight = _three(weight.shape[2:], 1), _three(size, 1), contiguous(weight)
    stride, padding, dilation = _three(stride, 1), _three(padding, 0), _three(dilation, 1)
    phases = [_phases(*own) for own in zip(size, kernel, stride, padding, dilation, strict=True)]
    # What no tap reaches is zero, or the bias.
    fills = bias is None and not all(p.taps for own in phases for p in own)
    result = filled(g.runtime, shape, 0, g.dtype) if fills else empty(g.runtime, shape, g.dtype)
    met = [[p for p in own if p.taps] for own in phases]
    before = tuple([max([0, *[-p.low for p in own]]) for own in met])
    reach = [max([0, *[p.low + p.length - 1 + p.apart * (p.taps - 1) for p in own]]) for own in met]
    lengths = tuple([b + r + 1 for b, r in zip(before, reach, strict=True)])
    windows = _laid_out(g, lengths, (1, 1, 1), before, (1, 1, 1))
    plane, pitch = prod(size), (size[1] * size[2], size[2], 1)
    out = tuple([s * n for s, n in zip(stride, pitch, strict=True)])
    for own in combinations(*(met if fills else phases)):
        turned = _turned_weight(weight, kernel, own, groups)
        depth = prod(turned.shape[2:])
        start = windows.array.offset + sum(
            [(b + p.low) * n for b, p, n in zip(before, own, windows.pitch, strict=True)]
        )
        target = result.window((1,), (1,), sum([p.first * n for p, n in zip(own, pitch, strict=True)]))
        count, taps, apart = (tuple([getattr(p, name) for p in own]) for name in ("length", "taps", "apart"))
        numbers = _numbers(windows, count, taps, apart, (1, 1, 1), per_group * groups * plane, out)
        product(target, Left(turned, depth, 1), windows.array.window((1,), (1,), start), _FORWARD, numbers,
                (per_group, samples * prod(count), depth), plane, (groups,),
                ((per_group * depth,), (outputs // groups * windows.plane,)), per_group * plane,
                bias=bias, bias_of="" if bias is None else "row")  # fmt: skip
    return result


def products(x: Array, g: Array, kernel: Size, stride: Size, padding: Size, dilation: Size, groups: int) -> Array:
    """The gradient of the weight: (N, C, ...), (N, O, ...) -> (O, C / groups, *kernel)."""
    samples, outputs = g.shape[:2]
    size = _three(g.shape[2:], 1)
    channels = x.shape[1] // groups
    positions, rows = prod(size), outputs // groups
    depth = channels * prod(kernel)
    splits = _split(3 * x.runtime.workers if x.runtime.workers > 1 else 1, -(-depth // 64) * groups, samples)
    result = empty(x.runtime, (splits, outputs, channels, *kernel), x.dtype)
    if not result.size:
        return result
    three = _three(kernel, 1)
    stride, padding, dilation = _three(stride, 1), _three(padding, 0), _three(dilation, 1)
    windows = _of_input(x, three, size, stride, padding, dilation)
    part = samples // splits
    if positions < _SHORT:
        flat = contiguous(permute(contiguous(g).reshaped(samples, outputs, positions), (1, 0, 2)))
        left, step = Left(flat, samples * positions, 1), part * positions
    else:
        left, step = Left(contiguous(g), positions, 1, positions, outputs * positions), part * outputs * positions
    numbers = _numbers(windows, size, three, dilation, stride, 0, (0, 0, 0))
    product(result, left, windows.array, _TURNED, numbers, (rows, depth, part * positions), depth, (splits, groups),
            ((step, rows * left.row), (part * windows.sample, channels * windows.plane)), rows * depth)  # fmt: skip
    return sum_(result, (0,)) if splits > 1 else result.reshaped(outputs, channels, *kernel)
