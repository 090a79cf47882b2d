"""Convolution with a kernel three rows high at half the multiplications (Winograd, 1980; Lavin and Gray, 2016).

Four rows of the result need six rows of the input and, directly, twelve products of rows. As values of polynomials at
six points (Toom and Cook) it takes six: with ``d`` the six rows, ``g`` the kernel's three rows and ``*`` the
convolution along the rest of the dimensions,

    result = A^T ((G g) * (B^T d))

So a convolution becomes six with a kernel one row high over a quarter of the rows, and three cheap changes of basis:
``B^T`` a depthwise convolution with stride 4, ``G`` and ``A^T`` products with matrices of a handful of elements. Only
the rows are treated so, not the columns as well: then all that the changes of basis touch lies in long runs, and the
points 0, 1, -1, 1/2, -2 and infinity lose no accuracy to speak of (Barabasz et al., 2020): the largest error, over the
mean magnitude, is 2 to 4e-6, that of the direct convolution 1 to 2e-6. Infinity and NaN spread over the four rows.

The gradients are of the same kind: with respect to the input a convolution with the kernel turned around; with respect
to the weight ``G^T ((A y) * (B^T d))``.
"""

from __future__ import annotations

from functools import cache
from math import prod
from typing import Any

import numpy

from flambeau.settings import worker_threads
from flambeau_accel.chain import FLOAT
from flambeau_accel.convolution_plans import Geometry, Layouts, Size, backward_data, backward_weights, fit, forward
from flambeau_accel.primitive import (
    BIAS,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
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

Array = Any

#: Rows of the result that are computed together, and of the input that they need.
ROWS, TAPS = 4, 6
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)

#: ``dnnl_aBcd16b`` and ``dnnl_aBcd8b``: layouts with so many channels side by side.
BLOCKED = {16: 78, 8: 102}

#: Bytes of the input that a thread works on at a time: what is made of it shall stay in the cache.
CHUNK = 1 << 20


@cache
def bases() -> tuple[Array, Array, Array]:
    """The matrices ``A^T`` (4, 6), ``G`` (6, 3) and ``B^T`` (6, 6)."""
    backward, filters, inputs = numpy.zeros((ROWS, TAPS)), numpy.zeros((TAPS, 3)), numpy.zeros((TAPS, TAPS))
    for j, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        backward[:, j] = point ** numpy.arange(ROWS)
        filters[j] = point ** numpy.arange(3) / prod(point - other for other in others)
        inputs[j, :-1] = numpy.poly(others)[::-1]
    backward[-1, -1] = filters[-1, -1] = 1
    inputs[-1] = numpy.poly(POINTS)[::-1]
    return backward.astype(FLOAT), filters.astype(FLOAT), inputs.astype(FLOAT)


def pays(product: str, dtype: Any, ends: Any, geometry: Geometry) -> bool:
    """Whether a product of :mod:`~flambeau_accel.convolution_plans` is possible here, and faster than there."""
    places = {"correlate": (2, 4), "scatter": (2, 4), "products": (4, 2)}
    weight, out = [ends[place] for place in places[product]]
    stride, padding, dilation, groups = geometry
    if len(weight) != 4 or weight[2] != 3 or dtype != FLOAT or groups != 1:
        return False
    if stride[0] != 1 or dilation[0] != 1 or padding[0] > 2 or weight[0] % 16 or weight[1] % 16:
        return False
    rows = -(-out[2] // ROWS) * ROWS
    least = 32
    if out[3] == 1:  # the columns of a one-dimensional convolution: short runs, for which many channels make up
        least = 128 if product == "products" else 512
    # What the changes of basis cost beside the products, by the places that share them.
    return min(weight[:2]) >= least and rows <= out[2] * 1.4 and out[0] * out[2] * out[3] >= 2 * weight[1]


# -- the plans -------------------------------------------------------------------------------------------------------


class _Rows(Plan):
    """A plan over arrays in a blocked layout, some rows at a time."""

    block = 0  # how many channels lie side by side

    def settle(self, layout: Layout, shape: Size) -> None:
        """Take the layouts of which ``layout``, oneDNN's choice, is one.

        Raises:
            NotImplementedError: when it is none that is known here, or others were taken before.
        """
        for block, tag in BLOCKED.items():
            if layout == Layout.tagged(self.runtime, shape, FLOAT, tag) and self.block in (0, block):
                self.block = block
                return
        raise NotImplementedError

    def blocked(self, shape: Size) -> Layout:
        return Layout.tagged(self.runtime, shape, FLOAT, BLOCKED[self.block])

    def chunks(self, array: Operand, shape: Size, strides: Size, count: int) -> list[Operand]:
        """The caller's array (N, C, H, W), ``count`` samples at a time."""
        layout = Layout.of(self.runtime, (count, *shape[1:]), FLOAT, strides)
        return [self.part(array, layout, start * strides[0] * 4) for start in range(0, shape[0], count)]


class _Combiner:
    """Sums of the rows of each tile, the rows taken ``weights`` times: a depthwise convolution with stride 4."""

    def __init__(self, plan: _Rows, weights: Array, source: Size, padding: int, tiles: int) -> None:
        runtime, channels = plan.runtime, source[1]
        first, last = numpy.flatnonzero(weights)[[0, -1]]
        first = min(first, padding)  # the padding cannot be negative
        weights, padding = weights[first : last + 1], padding - first
        kernel, target = (channels, 1, len(weights), 1), (source[0], channels, tiles, source[3])
        after = max(0, (tiles - 1) * ROWS + len(weights) - source[2] - padding)
        windows = dims((ROWS, 1)), dims((0, 0)), dims((padding, 0)), dims((after, 0))
        given = plan.blocked(source), plan.blocked(target)
        self.primitive = forward(runtime, Layouts(runtime, FLOAT, source, kernel, target, channels, given), windows)
        wanted = self.primitive.layout(WEIGHTS)
        packed = numpy.empty(wanted.size, numpy.uint8)
        packing = Plan(runtime)
        packing.reorder(packing.operand((channels, 1, 1, len(weights), 1), FLOAT), packing.operand_like(wanted))
        packing.run(numpy.tile(weights, channels), packed)
        self.weights = plan.constant(wanted, packed)

    def add(self, plan: _Rows, source: Operand, target: Operand) -> None:
        plan.add(self.primitive, {SRC: source, WEIGHTS: self.weights}, {DST: target})


class _Product:
    """A small matrix times each of a batch of others, whose sizes and strides are given."""

    def __init__(self, plan: _Rows, matrix: Array, source: tuple[Size, Size], target: tuple[Size, Size]) -> None:
        runtime = plan.runtime
        shape = (*(1,) * (len(source[0]) - 2), *matrix.shape)
        self.matrix = plan.constant(Layout.of(runtime, shape, FLOAT, row_major(shape)), numpy.ascontiguousarray(matrix))
        self.source, self.target = (Layout.of(runtime, end[0], FLOAT, end[1]) for end in (source, target))
        description = made(
            runtime.lib.dnnl_matmul_primitive_desc_create,
            runtime.engine, self.matrix.layout.handle, self.source.handle, None, self.target.handle, None,
        )  # fmt: skip
        self.primitive = Primitive(runtime, description)

    def add(self, plan: _Rows, source: int, target: int) -> None:
        """Multiply what lies at one offset in the memory of a call, into what lies at another."""
        ends = plan.inner(self.source, source), plan.inner(self.target, target)
        plan.add(self.primitive, {SRC: self.matrix, WEIGHTS: ends[0]}, {DST: ends[1]})


def _at_a_time(shape: Size) -> int:
    """How many samples, a divisor of their number, make a chunk."""
    limit = max(1, CHUNK * worker_threads() // (4 * prod(shape[1:])))
    return max(count for count in range(1, min(shape[0], limit) + 1) if shape[0] % count == 0)


def _filters(plan: _Rows, weight: Operand, shape: Size, strides: Size, wanted: Layout, turned: bool) -> list[Operand]:
    """Add what makes the six kernels, in the layout ``wanted``, of the caller's weight, turned around if need be."""
    size = wanted.size
    start = plan.room(3 * size)
    row = Layout.of(plan.runtime, (*shape[:2], 1, shape[3]), FLOAT, strides)
    for k in range(3):
        place = 2 - k if turned else k
        plan.reorder(plan.part(weight, row, place * strides[2] * 4), plan.inner(wanted, start + k * size))
    target = plan.room(TAPS * size)
    _Product(plan, bases()[1], *_runs(size // 4, 3, TAPS)).add(plan, start, target)
    return [plan.inner(wanted, target + j * size) for j in range(TAPS)]


def _runs(size: int, rows: int, results: int) -> tuple[tuple[Size, Size], tuple[Size, Size]]:
    """Ends of a product over ``rows`` arrays of ``size`` elements, one after the other, in runs of some thousand."""
    width = max(n for n in range(16, 8193, 16) if size % n == 0)
    strides = width, size, 1
    return ((size // width, rows, width), strides), ((size // width, results, width), strides)


def correlate(runtime: Runtime, dtype: Any, ends: Any, geometry: Geometry, biased: bool) -> Plan:
    """For (N, C, H, W), (O, C, 3, K) -> (N, O, *size), and (O,) where ``biased``."""
    plan = _Rows(runtime)
    source, weight, out = _operands(plan, ends)
    bias = plan.operand((ends[4][1],), FLOAT) if biased else None
    _add_convolution(plan, source, weight, out, bias, ends, geometry)
    return plan


def scatter(runtime: Runtime, dtype: Any, ends: Any, geometry: Geometry, biased: bool) -> Plan:
    """For (N, O, ...), (O, C, 3, K) -> (N, C, H, W)."""
    plan = _Rows(runtime)
    _add_convolution(plan, *_operands(plan, ends), None, ends, geometry, True)
    return plan


def products(runtime: Runtime, dtype: Any, ends: Any, geometry: Geometry, biased: bool) -> Plan:
    """For (N, C, ...), (N, O, ...) -> (O, C, 3, K)."""
    plan = _Rows(runtime)
    _add_products(plan, *_operands(plan, ends), ends, geometry)
    return plan


def gradients(runtime: Runtime, dtype: Any, ends: Any, geometry: Geometry) -> Plan:
    """For (N, O, ...), (O, C, 3, K), (N, C, H, W) -> (N, C, H, W), (O, C, 3, K)."""
    g, g_strides, weight, weight_strides, x, x_strides = ends
    plan = _Rows(runtime)
    given, kernel = plan.operand(g, FLOAT, g_strides), plan.operand(weight, FLOAT, weight_strides)
    source = plan.operand(x, FLOAT, x_strides)
    targets = plan.operand(x, FLOAT), plan.operand(weight, FLOAT)
    blocked = _add_products(plan, source, given, targets[1], (x, x_strides, g, g_strides, weight), geometry)
    end = g, g_strides, weight, weight_strides, x
    _add_convolution(plan, given, kernel, targets[0], None, end, geometry, True, blocked)
    return plan


def _operands(plan: Plan, ends: Any) -> tuple[Operand, Operand, Operand]:
    return plan.operand(ends[0], FLOAT, ends[1]), plan.operand(ends[2], FLOAT, ends[3]), plan.operand(ends[4], FLOAT)


def _add_convolution(
    plan: _Rows,
    array: Operand,
    weight: Operand,
    out: Operand,
    bias: Operand | None,
    ends: Any,
    geometry: Geometry,
    turned: bool = False,
    blocked: int | None = None,
) -> None:
    """Add a convolution, or the gradient of one with respect to its input.

    Args:
        blocked: the offset of the blocked form of ``array`` in the memory of a call, where it has one.
    """
    runtime = plan.runtime
    source, source_strides, kernel, kernel_strides, target = ends
    padding = 2 - geometry[1][0] if turned else geometry[1][0]
    count, tiles = _at_a_time(source), -(-target[2] // ROWS)
    given = count, source[1], tiles, source[3]
    result = count, target[1], tiles, target[3]
    row = *kernel[:2], 1, kernel[3]
    if turned:
        layouts, windows = (
            Layouts(runtime, FLOAT, result, row, given, 1),
            fit(result, row, given, _along_rows(geometry)),
        )
        primitive, roles = backward_data(runtime, layouts, windows), (DIFF_DST, WEIGHTS, DIFF_SRC)
    else:
        layouts, windows = (
            Layouts(runtime, FLOAT, given, row, result, 1),
            fit(given, row, result, _along_rows(geometry)),
        )
        primitive, roles = forward(runtime, layouts, windows), (SRC, WEIGHTS, DST)
    plan.settle(primitive.layout(roles[0]), given)
    plan.settle(primitive.layout(roles[2]), result)
    filters = _filters(plan, weight, kernel, kernel_strides, primitive.layout(WEIGHTS), turned)
    # The row of ones in A^T brings what is added to its product to all four rows.
    shifted = primitive if bias is None else forward(runtime, layouts, windows, bias.layout)

    chunk = plan.blocked((count, *source[1:]))
    at = plan.room(chunk.size) if blocked is None else blocked
    tile = plan.inner(plan.blocked(given))
    parts = plan.blocked(result)
    middle = plan.room(TAPS * parts.size)
    products = [plan.inner(parts, middle + j * parts.size) for j in range(TAPS)]
    whole = plan.blocked((*result[:2], tiles * ROWS, result[3]))
    end = plan.room(whole.size)
    y = plan.inner(whole.within((count, *target[1:])), end)
    combiners = [_Combiner(plan, weights, (count, *source[1:]), padding, tiles) for weights in bases()[2]]
    run = result[3] * plan.block
    planes = count * result[1] // plan.block
    assemble = _Product(
        plan,
        bases()[0],
        ((planes, tiles, TAPS, run), (tiles * run, run, parts.size // 4, 1)),
        ((planes, tiles, ROWS, run), (tiles * ROWS * run, ROWS * run, run, 1)),
    )
    starts = plan.chunks(array, source, source_strides, count)
    for number, target_part in enumerate(plan.chunks(out, target, row_major(target), count)):
        x = plan.inner(chunk, at if blocked is None else at + number * chunk.size)
        if blocked is None:
            plan.reorder(starts[number], x)
        for j in range(TAPS):
            combiners[j].add(plan, x, tile)
            inputs = {roles[0]: tile, roles[1]: filters[j]}
            if bias is not None and j == 1:
                plan.add(shifted, {**inputs, BIAS: bias}, {roles[2]: products[j]})
            else:
                plan.add(primitive, inputs, {roles[2]: products[j]})
        assemble.add(plan, middle, end)
        plan.reorder(y, target_part)


def _along_rows(geometry: Geometry) -> Geometry:
    """That of the convolutions with kernels one row high."""
    (_, stride), (_, padding), (_, dilation), groups = geometry
    return (1, stride), (0, padding), (1, dilation), groups


def _add_products(plan: _Rows, array: Operand, cotangent: Operand, out: Operand, ends: Any, geometry: Geometry) -> int:
    """Add the gradient with respect to the weight. Returns where the blocked form of ``cotangent`` is."""
    runtime = plan.runtime
    x, _, y, _, weight = ends
    tiles = -(-y[2] // ROWS)
    given, result = (*x[:2], tiles, x[3]), (*y[:2], tiles, y[3])
    kernel = (*weight[:2], 1, weight[3])
    layouts = Layouts(runtime, FLOAT, given, kernel, result, 1)
    primitive = backward_weights(runtime, layouts, fit(given, kernel, result, _along_rows(geometry)))
    plan.settle(primitive.layout(SRC), given)
    plan.settle(primitive.layout(DIFF_DST), result)
    at = plan.room(plan.blocked(y).size)
    inner = plan.inner(plan.blocked(x)), plan.inner(plan.blocked(y), at)
    plan.reorder(array, inner[0])
    plan.reorder(cotangent, inner[1])
    tile, other = plan.inner(plan.blocked(given)), plan.inner(plan.blocked(result))
    wanted = primitive.layout(DIFF_WEIGHTS)
    start = plan.room(TAPS * wanted.size)
    for j in range(TAPS):
        _Combiner(plan, bases()[2][j], x, geometry[1][0], tiles).add(plan, inner[0], tile)
        _Combiner(plan, bases()[0][:, j], y, 0, tiles).add(plan, inner[1], other)
        found = plan.inner(wanted, start + j * wanted.size)
        plan.add(primitive, {SRC: tile, DIFF_DST: other}, {DIFF_WEIGHTS: found})
    end = plan.room(3 * wanted.size)
    _Product(plan, bases()[1].T, *_runs(wanted.size // 4, TAPS, 3)).add(plan, start, end)
    strides = row_major(weight)
    row = Layout.of(runtime, kernel, FLOAT, strides)
    for k in range(3):
        plan.reorder(plan.inner(wanted, end + k * wanted.size), plan.part(out, row, k * strides[2] * 4))
    return at
