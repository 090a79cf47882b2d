"""Plans of the three products of a convolution, directly computed, and the primitives that they are made of.

A plan is built from ``ends``: the shape and the strides, in elements, of the two arrays that come in, and the shape of
the contiguous one that comes out.
"""

from __future__ import annotations

from typing import Any

from flambeau_accel.primitive import (
    BIAS,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    FORWARD_TRAINING,
    SRC,
    WEIGHTS,
    Layout,
    Operand,
    Plan,
    Primitive,
    Runtime,
    dims,
    made,
    row_major,
)

Size = tuple[int, ...]
Geometry = tuple[Size, Size, Size, int]  # stride, padding, dilation, groups
Fit = tuple[Any, ...]

#: ``dnnl_convolution_direct``: the algorithm that is there for every shape.
DIRECT = 1


def grouped(shape: Size, strides: Size, groups: int) -> tuple[Size, Size]:
    """A weight's sizes and strides as oneDNN takes them: with the groups as a dimension of their own."""
    if groups == 1:
        return shape, strides
    per_group = shape[0] // groups
    return (groups, per_group, *shape[1:]), (per_group * strides[0], *strides)


def fit(x: Size, kernel: Size, out: Size, geometry: Geometry) -> Fit:
    """Strides, dilations, and padding before and after, for the windows that ``out`` counts.

    oneDNN counts dilation from 0, and the padding behind has to fit the windows exactly.
    """
    stride, padding, dilation, _ = geometry
    after = [
        (n - 1) * s + d * (k - 1) + 1 - size - p
        for n, s, d, k, size, p in zip(out[2:], stride, dilation, kernel[2:], x[2:], padding, strict=True)
    ]
    return dims(stride), dims([d - 1 for d in dilation]), dims(padding), dims(after)


def upright(ends: Any, geometry: Geometry) -> tuple[Any, Geometry]:
    """A one-dimensional convolution as a two-dimensional one, a place wide."""
    stride, padding, dilation, groups = geometry
    return tuple([(*end, 1) for end in ends]), ((*stride, 1), (*padding, 0), (*dilation, 1), groups)


class Layouts:
    """Layouts of a convolution's ends; where none is given, the choice is oneDNN's."""

    def __init__(
        self,
        runtime: Runtime,
        dtype: Any,
        x: Size,
        weight: Size,
        y: Size,
        groups: int,
        given: tuple[Layout, Layout] | None = None,
    ) -> None:
        self.x, self.y = given or (Layout.of(runtime, x, dtype), Layout.of(runtime, y, dtype))
        self.weight = Layout.of(runtime, grouped(weight, row_major(weight), groups)[0], dtype)


def forward(runtime: Runtime, layouts: Layouts, windows: Fit, bias: Layout | None = None) -> Primitive:
    """The forward convolution."""
    description = made(
        runtime.lib.dnnl_convolution_forward_primitive_desc_create,
        runtime.engine, FORWARD_TRAINING, DIRECT, layouts.x.handle, layouts.weight.handle,
        None if bias is None else bias.handle, layouts.y.handle, *windows, None,
    )  # fmt: skip
    return Primitive(runtime, description)


def backward_data(runtime: Runtime, layouts: Layouts, windows: Fit) -> Primitive:
    """The gradient with respect to the input."""
    hint = forward(runtime, layouts, windows)
    description = made(
        runtime.lib.dnnl_convolution_backward_data_primitive_desc_create,
        runtime.engine, DIRECT, layouts.x.handle, layouts.weight.handle, layouts.y.handle, *windows, hint.description,
        None,
    )  # fmt: skip
    return Primitive(runtime, description)


def backward_weights(runtime: Runtime, layouts: Layouts, windows: Fit) -> Primitive:
    """The gradient with respect to the weight."""
    hint = forward(runtime, layouts, windows)
    description = made(
        runtime.lib.dnnl_convolution_backward_weights_primitive_desc_create,
        runtime.engine, DIRECT, layouts.x.handle, layouts.weight.handle, None, layouts.y.handle, *windows,
        hint.description, None,
    )  # fmt: skip
    return Primitive(runtime, description)


def correlate(runtime: Runtime, dtype: Any, ends: Any, geometry: Geometry, biased: bool) -> Plan:
    """For (N, C, *sizes), (O, C / groups, *kernel) -> (N, O, *size), and (O,) where ``biased``."""
    x, x_strides, weight, weight_strides, y = ends
    plan = Plan(runtime)
    inputs = {SRC: plan.operand(x, dtype, x_strides)}
    inputs[WEIGHTS] = _kernel(plan, weight, weight_strides, geometry[3], dtype)
    outputs = {DST: plan.operand(y, dtype)}
    if biased:
        inputs[BIAS] = plan.operand(y[1:2], dtype)
    layouts = Layouts(runtime, dtype, x, weight, y, geometry[3])
    bias = inputs[BIAS].layout if biased else None
    plan.add(forward(runtime, layouts, fit(x, weight, y, geometry), bias), inputs, outputs)
    return plan


def scatter(runtime: Runtime, dtype: Any, ends: Any, geometry: Geometry, biased: bool) -> Plan:
    """For (N, O, ...), (O, C / groups, *kernel) -> (N, C, *size)."""
    y, y_strides, weight, weight_strides, x = ends
    plan = Plan(runtime)
    inputs = {DIFF_DST: plan.operand(y, dtype, y_strides)}
    inputs[WEIGHTS] = _kernel(plan, weight, weight_strides, geometry[3], dtype)
    outputs = {DIFF_SRC: plan.operand(x, dtype)}
    layouts = Layouts(runtime, dtype, x, weight, y, geometry[3])
    plan.add(backward_data(runtime, layouts, fit(x, weight, y, geometry)), inputs, outputs)
    return plan


def products(runtime: Runtime, dtype: Any, ends: Any, geometry: Geometry, biased: bool) -> Plan:
    """For (N, C, ...), (N, O, ...) -> (O, C / groups, *kernel)."""
    x, x_strides, y, y_strides, weight = ends
    plan = Plan(runtime)
    inputs = {SRC: plan.operand(x, dtype, x_strides), DIFF_DST: plan.operand(y, dtype, y_strides)}
    outputs = {DIFF_WEIGHTS: _kernel(plan, weight, row_major(weight), geometry[3], dtype)}
    layouts = Layouts(runtime, dtype, x, weight, y, geometry[3])
    plan.add(backward_weights(runtime, layouts, fit(x, weight, y, geometry)), inputs, outputs)
    return plan


def gradients(runtime: Runtime, dtype: Any, ends: Any, geometry: Geometry) -> Plan:
    """For (N, O, ...), (O, C / groups, *kernel), (N, C, *sizes) -> the last two: :func:`scatter` and :func:`products`.

    In one plan, so that the first array is brought into another layout only once.
    """
    y, y_strides, weight, weight_strides, x, x_strides = ends
    plan = Plan(runtime)
    cotangent = plan.operand(y, dtype, y_strides)
    kernel = _kernel(plan, weight, weight_strides, geometry[3], dtype)
    source, target = plan.operand(x, dtype, x_strides), plan.operand(x, dtype)
    found = _kernel(plan, weight, row_major(weight), geometry[3], dtype)
    layouts, windows = Layouts(runtime, dtype, x, weight, y, geometry[3]), fit(x, weight, y, geometry)
    plan.add(backward_data(runtime, layouts, windows), {DIFF_DST: cotangent, WEIGHTS: kernel}, {DIFF_SRC: target})
    plan.add(backward_weights(runtime, layouts, windows), {SRC: source, DIFF_DST: cotangent}, {DIFF_WEIGHTS: found})
    return plan


def transposed_gradients(runtime: Runtime, dtype: Any, ends: Any, geometry: Geometry) -> Plan:
    """For (N, C, *sizes), (O, C / groups, *kernel), (N, O, ...) -> the last two: a convolution and :func:`products`."""
    x, x_strides, weight, weight_strides, y, y_strides = ends
    plan = Plan(runtime)
    cotangent = plan.operand(x, dtype, x_strides)
    kernel = _kernel(plan, weight, weight_strides, geometry[3], dtype)
    source, target = plan.operand(y, dtype, y_strides), plan.operand(y, dtype)
    found = _kernel(plan, weight, row_major(weight), geometry[3], dtype)
    layouts, windows = Layouts(runtime, dtype, x, weight, y, geometry[3]), fit(x, weight, y, geometry)
    plan.add(forward(runtime, layouts, windows), {SRC: cotangent, WEIGHTS: kernel}, {DST: target})
    plan.add(backward_weights(runtime, layouts, windows), {SRC: cotangent, DIFF_DST: source}, {DIFF_WEIGHTS: found})
    return plan


def _kernel(plan: Plan, shape: Size, strides: Size, groups: int, dtype: Any) -> Operand:
    """A weight of the caller."""
    shape, strides = grouped(shape, strides, groups)
    return plan.operand(shape, dtype, strides)
