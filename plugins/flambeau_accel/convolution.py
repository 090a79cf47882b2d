"""Convolution over one to three spatial dimensions, with its gradients.

Three products, as in the NumPy backend: :func:`correlate` (the forward convolution), :func:`scatter` (its gradient with
respect to the input, which is a transposed convolution's forward pass) and :func:`products` (with respect to the
weight).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy

from flambeau.ops.convolution import output_size, transposed_output_size
from flambeau_accel import convolution_plans, subpixel, winograd
from flambeau_accel.chain import FLOAT, channel_sums
from flambeau_accel.convolution_plans import Geometry, Size
from flambeau_accel.primitive import DATA_TYPES, Plan, Runtime, contiguous, plan_for, strides_of

Array = Any
Kernel = Callable[..., Any]

#: Elements of a cotangent from which on oneDNN sums it up faster than NumPy.
LARGE = 65536

#: Below so many channels the gradient of the input is computed as a convolution with more of them.
NARROW = 8


def convolution(
    fallback: Kernel,
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: Size,
    padding: Size,
    dilation: Size,
    transposed: bool,
    output_padding: Size,
    groups: int,
) -> Array:
    """The convolution of (N, C, *sizes) with (O, C / groups, *kernel); transposed, with (C, O / groups, *kernel)."""
    size = _served_size(input, weight, stride, padding, dilation, transposed, output_padding)
    if size is None:
        return fallback(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)
    geometry = stride, padding, dilation, groups
    if not transposed:
        return correlate(input, weight, bias, size, geometry)
    out = scatter(input, weight, size, geometry)
    if bias is not None:
        flat = out.reshape(*out.shape[:2], -1)
        numpy.add(flat, bias[:, None], flat)
    return out


def convolution_backward(
    fallback: Kernel,
    g: Array,
    input: Array,
    weight: Array,
    stride: Size,
    padding: Size,
    dilation: Size,
    transposed: bool,
    output_padding: Size,
    groups: int,
    needs: tuple[bool, bool, bool],
) -> tuple[Array | None, Array | None, Array | None]:
    """The cotangents of input, weight and bias, each None where it is not needed."""
    if _served_size(input, weight, stride, padding, dilation, transposed, output_padding) is None:
        return fallback(g, input, weight, stride, padding, dilation, transposed, output_padding, groups, needs)
    geometry = stride, padding, dilation, groups
    gi = gw = gb = None
    if needs[0] and needs[1] and not _is_narrow(weight, geometry):
        gi, gw = both(g, weight, input, geometry, transposed)
    else:
        if needs[0]:
            size = input.shape[2:]
            gi = correlate(g, weight, None, size, geometry) if transposed else scatter(g, weight, size, geometry)
        if needs[1]:
            ends = (g, input) if transposed else (input, g)
            gw = products(*ends, weight.shape, geometry)
    if needs[2]:
        gb = _sums(contiguous(g))
    return gi, gw, gb


def _is_narrow(weight: Array, geometry: Geometry) -> bool:
    return weight.shape[1] < NARROW and geometry[3] == 1 and max(geometry[2]) == 1


def _sums(g: Array) -> Array:
    """The gradient of the bias."""
    samples, channels = g.shape[:2]
    places = g.size // (samples * channels)
    if g.dtype == FLOAT and places > 1 and g.size >= LARGE:
        return channel_sums(g, (samples, channels, places))
    return numpy.add.reduce(g.reshape(samples, channels, places), 2).sum(0, g.dtype)


def _served_size(
    input: Array, weight: Array, stride: Size, padding: Size, dilation: Size, transposed: bool, output_padding: Size
) -> Size | None:
    """The spatial size of the result; None for what is left to the next kernel: other dtypes, nothing to compute,
    shapes that do not fit (it says what is wrong)."""
    kernel = weight.shape[2:]
    if input.dtype not in DATA_TYPES or weight.dtype != input.dtype or not 1 <= len(kernel) <= 3:
        return None
    if not input.size or not weight.size or len(input.shape) != len(weight.shape):
        return None
    geometry = zip(input.shape[2:], kernel, stride, padding, dilation, strict=True)
    if transposed:
        if any(o >= s + p for o, s, p in zip(output_padding, stride, padding, strict=True)):
            return None  # places that no window would meet, for oneDNN one of them too many
        extras = zip(geometry, output_padding, strict=True)
        size = tuple([transposed_output_size(*entry, extra) for entry, extra in extras])
    else:
        size = tuple([output_size(*entry) for entry in geometry])
    return size if min(size) > 0 else None


# -- the three products ----------------------------------------------------------------------------------------------


def correlate(x: Array, weight: Array, bias: Array | None, size: Size, geometry: Geometry) -> Array:
    """The forward convolution: (N, C, *sizes), (O, C / groups, *kernel) -> (N, O, *size)."""
    out = numpy.empty((x.shape[0], weight.shape[0], *size), x.dtype)
    plan = _planned("correlate", x, weight, out.shape, geometry, bias is not None)
    plan.run(*((x, weight, out) if bias is None else (x, weight, out, numpy.ascontiguousarray(bias))))
    return out


def scatter(g: Array, weight: Array, size: Size, geometry: Geometry) -> Array:
    """The gradient with respect to the input: (N, O, ...), (O, C / groups, *kernel) -> (N, C, *size)."""
    stride, padding, _, groups = geometry
    if _is_narrow(weight, geometry):
        windows = subpixel.windows(size, weight, stride, padding, g.shape[2:])
        if windows is not None:
            before, counts = windows
            ones = (1,) * len(size)
            parts = correlate(g, subpixel.filters(weight, stride, padding), None, counts, (ones, before, ones, 1))
            return parts if max(stride) == 1 else subpixel.interleaved(parts, weight.shape[1], stride, size)
    out = numpy.empty((g.shape[0], weight.shape[1] * groups, *size), g.dtype)
    _planned("scatter", g, weight, out.shape, geometry).run(g, weight, out)
    return out


def products(x: Array, g: Array, shape: Size, geometry: Geometry) -> Array:
    """The gradient with respect to the weight: (N, C, ...), (N, O, ...) -> (O, C / groups, *kernel)."""
    out = numpy.empty(shape, x.dtype)
    _planned("products", x, g, shape, geometry).run(x, g, out)
    return out


def both(g: Array, weight: Array, input: Array, geometry: Geometry, transposed: bool) -> tuple[Array, Array]:
    """The gradients with respect to the input and to the weight, of a transposed convolution as well."""
    gi, gw = numpy.empty(input.shape, g.dtype), numpy.empty(weight.shape, g.dtype)
    ends = g.shape, strides_of(g), weight.shape, strides_of(weight), input.shape, strides_of(input)
    key = "gradients", transposed, g.dtype, ends, geometry
    plan_for(key, partial(_built_both, g.dtype, ends, geometry, transposed)).run(g, weight, input, gi, gw)
    return gi, gw


class _Apart(Plan):
    """The two gradients by a plan each."""

    def __init__(self, runtime: Runtime, of_input: Plan, of_weight: Plan, transposed: bool) -> None:
        super().__init__(runtime)
        self.of_input, self.of_weight, self.transposed = of_input, of_weight, transposed

    def run(self, *arrays: Array) -> None:
        g, weight, input, gi, gw = arrays
        self.of_input.run(g, weight, gi)
        self.of_weight.run(*((g, input) if self.transposed else (input, g)), gw)


def _built_both(dtype: Any, ends: Any, geometry: Geometry, transposed: bool, runtime: Runtime) -> Plan:
    """The plan for both gradients, by the ways that are faster."""
    g, weight, x = ends[:2], ends[2:4], ends[4:]
    first = "correlate" if transposed else "scatter", (*g, *weight, x[0])
    second = "products", (*g, *x, weight[0]) if transposed else (*x, *g, weight[0])
    pay = [winograd.pays(product, dtype, *_upright(end, geometry)) for product, end in (first, second)]
    if all(pay) and not transposed and len(geometry[0]) == 2:
        with suppress(NotImplementedError):
            return winograd.gradients(runtime, dtype, ends, geometry)
    if any(pay):
        plans = [_built(product, dtype, end, geometry, False, runtime) for product, end in (first, second)]
        return _Apart(runtime, plans[0], plans[1], transposed)
    if geometry[3] == g[0][1] == x[0][1]:
        ends, geometry = _upright(ends, geometry)
    build = convolution_plans.transposed_gradients if transposed else convolution_plans.gradients
    return build(runtime, dtype, ends, geometry)


def _upright(ends: Any, geometry: Geometry) -> tuple[Any, Geometry]:
    """A one-dimensional convolution as a column of a two-dimensional one, for which oneDNN has other kernels."""
    return convolution_plans.upright(ends, geometry) if len(geometry[0]) == 1 else (ends, geometry)


def _planned(product: str, a: Array, b: Array, out: Size, geometry: Geometry, biased: bool = False) -> Plan:
    ends = (a.shape, strides_of(a), b.shape, strides_of(b), out)
    key = (product, a.dtype, ends, geometry, biased)
    return plan_for(key, partial(_built, product, a.dtype, ends, geometry, biased))


def _built(product: str, dtype: Any, ends: Any, geometry: Geometry, biased: bool, runtime: Runtime) -> Plan:
    """The plan for one of the three products, by the way that is faster."""
    upright = _upright(ends, geometry)
    if winograd.pays(product, dtype, *upright):
        with suppress(NotImplementedError):
            plan: Plan = getattr(winograd, product)(runtime, dtype, *upright, biased)
            return plan
    if geometry[3] == ends[0][1] == ends[2 if product == "products" else 4][1]:
        ends, geometry = upright  # oneDNN's kernels for depthwise convolutions know wide kernels only so
    direct: Plan = getattr(convolution_plans, product)(runtime, dtype, ends, geometry, biased)
    return direct


KERNELS: dict[str, Kernel] = {"convolution": convolution, "convolution_backward": convolution_backward}
