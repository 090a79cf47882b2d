"""Products of matrices and convolutions on OpenCL, beside NumPy's in double precision."""

from __future__ import annotations

from itertools import product as combinations
from typing import Any

import numpy
import pytest

pytest.importorskip("pyopencl")

import flambeau
from flambeau.nn import functional as F
from flambeau_opencl.backend import OpenCLBackend
from flambeau_opencl.blocked import Blocks, _blocks, _tile_rows

pytestmark = pytest.mark.skipif(not OpenCLBackend().is_available(), reason="there is no OpenCL device here")

TOLERANCE = {"float32": 1e-5, "float64": 1e-13}


def normal(*shape: int, seed: int = 0) -> numpy.ndarray:
    return numpy.random.default_rng(seed).standard_normal(shape)


def made(values: numpy.ndarray, kind: str) -> flambeau.Tensor:
    return flambeau.from_numpy(values.astype(kind)).to("opencl")


def assert_near(actual: flambeau.Tensor, expected: numpy.ndarray, kind: str) -> None:
    numpy.testing.assert_allclose(
        actual.cpu().numpy(), expected, rtol=0, atol=TOLERANCE[kind] * max(1, numpy.abs(expected).max())
    )


# -- matrices ------------------------------------------------------------------------------------------------------


def laid_out(values: numpy.ndarray, layout: str, kind: str) -> flambeau.Tensor:
    """The matrix on the device, its rows or its columns in one piece, or neither."""
    if layout == "columns":
        return made(values.T.copy(), kind).T
    if layout == "every other":
        return made(numpy.repeat(values, 2, axis=1), kind)[:, ::2]
    return made(values, kind)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((7, 5, 3), "float32"), ((33, 300, 17), "float32"), ((33, 515, 17), "float64"), ((1, 700, 90), "float32"),
     ((65, 600, 1), "float32")],
)  # fmt: skip
def test_products_of_every_layout(shape: tuple[int, int, int], kind: str) -> None:
    rows, inner, columns = shape
    left, right = normal(rows, inner), normal(inner, columns, seed=1)
    for own, other in combinations(("rows", "columns", "every other"), repeat=2):
        assert_near(laid_out(left, own, kind) @ laid_out(right, other, kind), left @ right, kind)


def test_products_of_batches_that_broadcast() -> None:
    left, right = normal(3, 1, 20, 40), normal(2, 40, 33, seed=1)
    assert_near(made(left, "float32") @ made(right, "float32"), left @ right, "float32")
    turned = made(left, "float32").mT.contiguous().mT
    assert_near(turned @ made(right, "float32"), left @ right, "float32")


def test_linear_adds_its_bias_in_the_product() -> None:
    x, weight, bias = normal(5, 7, 300), normal(50, 300, seed=1), normal(50, seed=2)
    actual = F.linear(*(made(array, "float32") for array in (x, weight, bias)))
    assert_near(actual, x @ weight.T + bias, "float32")


def test_what_is_not_finite_stays_in_its_place() -> None:
    left, right = numpy.ones((9, 20)), numpy.ones((20, 19))
    left[3, 4], right[2, 18] = numpy.nan, numpy.inf
    expected = left @ right
    numpy.testing.assert_array_equal((made(left, "float32") @ made(right, "float32")).cpu().numpy(), expected)


def test_blocks_fit_little_local_memory_and_tiles_waste_little() -> None:
    assert _blocks(1 << 20, 4, 6, 16) == Blocks(256, 96, 128)
    for memory in (1 << 14, 1 << 15, 1 << 16, 1 << 18):
        blocks = _blocks(memory, 8, 6, 8)
        assert blocks.rows % 6 == 0
        assert (blocks.inner + 4) * (blocks.rows + blocks.columns) * 8 <= memory
    assert [_tile_rows(n) for n in (1, 3, 5, 6, 20, 1024)] == [1, 3, 5, 6, 5, 6]


# -- convolutions --------------------------------------------------------------------------------------------------


def convolved(x: Any, weight: Any, g: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> list[Any]:
    """The convolution, and for a cotangent (None: ones) the gradients of input and weight, tap after tap."""
    kernel = weight.shape[2:]
    room = [(0, 0), (0, 0), *[(p, p) for p in padding]]
    padded = numpy.pad(x, room)
    of_padded, of_weight = numpy.zeros_like(padded), numpy.zeros_like(weight)
    geometry = list(zip(padded.shape[2:], kernel, stride, dilation, strict=True))
    size = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in geometry]
    out = numpy.zeros((x.shape[0], weight.shape[0], *size))
    g = numpy.ones_like(out) if g is None else g
    own, channels = weight.shape[0] // groups, weight.shape[1]
    for tap in numpy.ndindex(*kernel):
        places = tuple([slice(t * d, t * d + s * (n - 1) + 1, s)
                        for t, d, s, n in zip(tap, dilation, stride, size, strict=True)])  # fmt: skip
        for group in range(groups):
            to, by = slice(group * own, (group + 1) * own), slice(group * channels, (group + 1) * channels)
            window, factor = padded[:, by][(..., *places)], weight[(to, slice(None), *tap)]
            out[:, to] += numpy.einsum("nc...,oc->no...", window, factor)
            of_weight[(to, slice(None), *tap)] += numpy.einsum(
                "nop,ncp->oc", g[:, to].reshape(*g[:, to].shape[:2], -1), window.reshape(*window.shape[:2], -1)
            )
            of_padded[:, by][(..., *places)] += numpy.einsum("no...,oc->nc...", g[:, to], factor)
    inside = tuple([slice(p, p + n) for p, n in zip(padding, x.shape[2:], strict=True)])
    return [out, of_padded[(..., *inside)], of_weight]


CONVOLUTIONS = {
    "rows in one piece": ((2, 3, 40, 40), (7, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "short rows": ((3, 20, 7, 5), (9, 20, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "a stride": ((2, 5, 23, 30), (8, 5, 7, 5), (2, 3), (3, 1), (1, 1), 1),
    "a stride past the kernel": ((2, 4, 9, 11), (6, 4, 1, 2), (2, 3), (0, 1), (1, 1), 1),
    "dilation and groups": ((2, 6, 17, 19), (9, 2, 3, 2), (2, 1), (2, 3), (2, 3), 3),
    "each channel alone": ((1, 5, 12, 18), (5, 1, 3, 3), (1, 1), (1, 1), (1, 1), 5),
    "one position a sample": ((70, 3, 4, 4), (5, 3, 4, 4), (1, 1), (0, 0), (1, 1), 1),
    "one dimension": ((3, 4, 100), (6, 4, 5), (3,), (2,), (2,), 1),
    "three dimensions": ((2, 3, 6, 7, 9), (4, 3, 2, 3, 3), (1, 2, 2), (1, 0, 2), (1, 1, 1), 1),
}


@pytest.mark.parametrize(("name", "kind"), [*[(name, "float32") for name in CONVOLUTIONS], ("a stride", "float64")])
def test_convolutions_and_their_gradients(name: str, kind: str) -> None:
    shape, weight_shape, stride, padding, dilation, groups = CONVOLUTIONS[name]
    x, weight, bias = normal(*shape), normal(*weight_shape, seed=1), normal(weight_shape[0], seed=2)
    settings = stride, padding, dilation, groups
    g = normal(*convolved(x, weight, None, *settings)[0].shape, seed=3)
    out, of_input, of_weight = convolved(x, weight, g, *settings)
    ones = (1,) * len(stride)
    given = [made(array, kind).requires_grad_() for array in (x, weight, bias)]
    actual = getattr(F, f"conv{len(stride)}d")(*given, *settings)
    actual.backward(made(g, kind))
    assert_near(actual.detach(), out + bias.reshape(-1, *ones), kind)
    assert_near(given[0].grad, of_input, kind)
    assert_near(given[1].grad, of_weight, kind)
    assert_near(given[2].grad, g.sum((0, *range(2, g.ndim))), kind)


@pytest.mark.parametrize("name", ["short rows", "a stride", "a stride past the kernel", "dilation and groups"])
def test_transposed_convolution_is_the_gradient_of_the_convolution(name: str) -> None:
    shape, weight_shape, stride, padding, dilation, groups = CONVOLUTIONS[name]
    weight, bias = normal(*weight_shape, seed=1), normal(shape[1], seed=2)
    settings = stride, padding, dilation, groups
    g = normal(*convolved(numpy.zeros(shape), weight, None, *settings)[0].shape, seed=3)
    _, expected, _ = convolved(numpy.zeros(shape), weight, g, *settings)
    geometry = zip(shape[2:], g.shape[2:], weight_shape[2:], stride, padding, dilation, strict=True)
    extra = tuple([n - ((m - 1) * s - 2 * p + d * (k - 1) + 1) for n, m, k, s, p, d in geometry])
    given = [made(array, "float32") for array in (g, weight, bias)]
    actual = F.conv_transpose2d(*given, stride, padding, extra, groups, dilation)
    assert_near(actual, expected + bias.reshape(-1, 1, 1), "float32")


@pytest.mark.parametrize("kind", ["float32", "float16", "int32"])
def test_maxima_of_windows(kind: str) -> None:
    x = numpy.random.default_rng(0).integers(-50, 50, (2, 3, 19, 37)).astype(kind)
    kernel, stride, padding, dilation = (3, 2), (2, 1), (1, 1), (2, 3)
    low = numpy.finfo(kind).min if x.dtype.kind == "f" else numpy.iinfo(kind).min
    padded = numpy.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=low)
    size = [(n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(padded.shape[2:], kernel, stride, dilation, strict=True)]  # fmt: skip
    windows = numpy.stack([
        padded[:, :, t * 2 : t * 2 + 2 * (size[0] - 1) + 1 : 2, u * 3 : u * 3 + size[1]]
        for t, u in numpy.ndindex(*kernel)
    ])  # fmt: skip
    given = flambeau.from_numpy(x).to("opencl")
    out, indices = F.max_pool2d(given, kernel, stride, padding, dilation, return_indices=True)
    numpy.testing.assert_array_equal(out.cpu().numpy(), windows.max(0))
    found = numpy.take_along_axis(x.reshape(2, 3, -1), indices.cpu().numpy().reshape(2, 3, -1), 2)
    numpy.testing.assert_array_equal(found.reshape(out.shape), windows.max(0))
