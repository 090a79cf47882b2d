"""Convolution over one to three spatial dimensions, with its gradients.

Three products, as in the NumPy backend: :func:`correlate` (the forward convolution), :func:`scatter` (its gradient with
respect to the input, which is a transposed convolution's forward pass) and :func:`products` (with respect to the
weight).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from flambeau.ops.convolution import output_size, transposed_output_size
from flambeau_accel.primitive import (
    BIAS,
    DATA_TYPES,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    FORWARD_TRAINING,
    SRC,
    WEIGHTS,
    Layout,
    Plan,
    Primitive,
    Runtime,
    dims,
    made,
    plan_for,
    row_major,
    strides_of,
)

Array = Any
Size = tuple[int, ...]
Kernel = Callable[..., Any]
Geometry = tuple[Size, Size, Size, int]  # stride, padding, dilation, groups

#: ``dnnl_convolution_direct``: the algorithm that is there for every shape.
DIRECT = 1


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
    if _narrow(weight, stride, groups):
        return fallback(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)
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
    if needs[0] and not transposed and _narrow(weight, stride, groups):
        settings = stride, padding, dilation, transposed, output_padding, groups
        gi = fallback(g, input, weight, *settings, (True, False, False))[0]
    elif needs[0]:
        size = input.shape[2:]
        gi = correlate(g, weight, None, size, geometry) if transposed else scatter(g, weight, size, geometry)
    if needs[1]:
        ends = (g, input) if transposed else (input, g)
        gw = products(*ends, weight.shape, geometry)
    if needs[2]:
        gb = numpy.add.reduce(numpy.ascontiguousarray(g).reshape(*g.shape[:2], -1), 2).sum(0, g.dtype)
    return gi, gw, gb


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
        extras = zip(geometry, output_padding, strict=True)
        size = tuple([transposed_output_size(*entry, extra) for entry, extra in extras])
    else:
        size = tuple([output_size(*entry) for entry in geometry])
    return size if min(size) > 0 else None


def _narrow(weight: Array, stride: Size, groups: int) -> bool:
    """Whether :func:`scatter` would give so few channels that oneDNN needs twice the time of BLAS."""
    return groups == 1 and max(stride) > 1 and weight.shape[1] < 8


# -- the three products ----------------------------------------------------------------------------------------------


def correlate(x: Array, weight: Array, bias: Array | None, size: Size, geometry: Geometry) -> Array:
    """The forward convolution: (N, C, *sizes), (O, C / groups, *kernel) -> (N, O, *size)."""
    out = numpy.empty((x.shape[0], weight.shape[0], *size), x.dtype)
    plan = _planned(_correlate, x, weight, out.shape, geometry, bias is not None)
    plan.run(*((x, weight, out) if bias is None else (x, weight, out, numpy.ascontiguousarray(bias))))
    return out


def scatter(g: Array, weight: Array, size: Size, geometry: Geometry) -> Array:
    """The gradient with respect to the input: (N, O, ...), (O, C / groups, *kernel) -> (N, C, *size)."""
    out = numpy.empty((g.shape[0], weight.shape[1] * geometry[3], *size), g.dtype)
    _planned(_scatter, g, weight, out.shape, geometry).run(g, weight, out)
    return out


def products(x: Array, g: Array, shape: Size, geometry: Geometry) -> Array:
    """The gradient with respect to the weight: (N, C, ...), (N, O, ...) -> (O, C / groups, *kernel)."""
    out = numpy.empty(shape, x.dtype)
    _planned(_products, x, g, shape, geometry).run(x, g, out)
    return out


def _planned(build: Kernel, a: Array, b: Array, out: Size, geometry: Geometry, biased: bool = False) -> Plan:
    ends = (a.shape, strides_of(a), b.shape, strides_of(b), out)
    key = (build.__name__, a.dtype, ends, geometry, biased)
    return plan_for(key, partial(build, dtype=a.dtype, ends=ends, geometry=geometry, biased=biased))


def _grouped(shape: Size, strides: Size, groups: int) -> tuple[Size, Size]:
    """A weight's sizes and strides as oneDNN takes them: with the groups as a dimension of their own."""
    if groups == 1:
        return shape, strides
    per_group = shape[0] // groups
    return (groups, per_group, *shape[1:]), (per_group * strides[0], *strides)


def _fit(x: Size, kernel: Size, out: Size, geometry: Geometry) -> tuple[Any, ...]:
    """Strides, dilations, and padding before and after, for the windows that ``out`` counts.

    oneDNN counts dilation from 0, and the padding behind has to fit the windows exactly.
    """
    stride, padding, dilation, _ = geometry
    after = [
        (n - 1) * s + d * (k - 1) + 1 - size - p
        for n, s, d, k, size, p in zip(out[2:], stride, dilation, kernel[2:], x[2:], padding, strict=True)
    ]
    return dims(stride), dims([d - 1 for d in dilation]), dims(padding), dims(after)


class _Layouts:
    """Layouts of a convolution's ends that leave the choice to oneDNN."""

    def __init__(self, runtime: Runtime, dtype: Any, x: Size, weight: Size, y: Size, groups: int) -> None:
        self.x = Layout.of(runtime, x, dtype)
        self.weight = Layout.of(runtime, _grouped(weight, row_major(weight), groups)[0], dtype)
        self.y = Layout.of(runtime, y, dtype)


def _forward(runtime: Runtime, layouts: _Layouts, fit: tuple[Any, ...], bias: Layout | None = None) -> Any:
    return made(
        runtime.lib.dnnl_convolution_forward_primitive_desc_create,
        runtime.engine, FORWARD_TRAINING, DIRECT, layouts.x.handle, layouts.weight.handle,
        None if bias is None else bias.handle, layouts.y.handle, *fit, None,
    )  # fmt: skip


def _correlate(runtime: Runtime, dtype: Any, ends: Any, geometry: Geometry, biased: bool) -> Plan:
    x, x_strides, weight, weight_strides, y = ends
    groups = geometry[3]
    plan = Plan(runtime)
    inputs = {
        SRC: plan.operand(x, dtype, x_strides),
        WEIGHTS: plan.operand(*_ordered(_grouped(weight, weight_strides, groups), dtype)),
    }
    outputs = {DST: plan.operand(y, dtype, row_major(y))}
    if biased:
        inputs[BIAS] = plan.operand(y[1:2], dtype, (1,))
    layouts = _Layouts(runtime, dtype, x, weight, y, groups)
    bias = inputs[BIAS].layout if biased else None
    plan.add(Primitive(runtime, _forward(runtime, layouts, _fit(x, weight, y, geometry), bias)), inputs, outputs)
    return plan


def _scatter(runtime: Runtime, dtype: Any, ends: Any, geometry: Geometry, biased: bool) -> Plan:
    y, y_strides, weight, weight_strides, x = ends
    groups = geometry[3]
    plan = Plan(runtime)
    inputs = {
        DIFF_DST: plan.operand(y, dtype, y_strides),
        WEIGHTS: plan.operand(*_ordered(_grouped(weight, weight_strides, groups), dtype)),
    }
    outputs = {DIFF_SRC: plan.operand(x, dtype, row_major(x))}
    layouts = _Layouts(runtime, dtype, x, weight, y, groups)
    fit = _fit(x, weight, y, geometry)
    hint = Primitive(runtime, _forward(runtime, layouts, fit))
    description = made(
        runtime.lib.dnnl_convolution_backward_data_primitive_desc_create,
        runtime.engine, DIRECT, layouts.x.handle, layouts.weight.handle, layouts.y.handle, *fit, hint.description, None,
    )  # fmt: skip
    plan.add(Primitive(runtime, description), inputs, outputs)
    return plan


def _products(runtime: Runtime, dtype: Any, ends: Any, geometry: Geometry, biased: bool) -> Plan:
    x, x_strides, y, y_strides, weight = ends
    groups = geometry[3]
    plan = Plan(runtime)
    inputs = {SRC: plan.operand(x, dtype, x_strides), DIFF_DST: plan.operand(y, dtype, y_strides)}
    outputs = {DIFF_WEIGHTS: plan.operand(*_ordered(_grouped(weight, row_major(weight), groups), dtype))}
    layouts = _Layouts(runtime, dtype, x, weight, y, groups)
    fit = _fit(x, weight, y, geometry)
    hint = Primitive(runtime, _forward(runtime, layouts, fit))
    description = made(
        runtime.lib.dnnl_convolution_backward_weights_primitive_desc_create,
        runtime.engine, DIRECT, layouts.x.handle, layouts.weight.handle, None, layouts.y.handle, *fit, hint.description,
        None,
    )  # fmt: skip
    plan.add(Primitive(runtime, description), inputs, outputs)
    return plan


def _ordered(described: tuple[Size, Size], dtype: Any) -> tuple[Size, Any, Size]:
    shape, strides = described
    return shape, dtype, strides


KERNELS: dict[str, Kernel] = {"convolution": convolution, "convolution_backward": convolution_backward}
