"""Kernels of neural networks: activations, losses, normalization, convolution and pooling, against plain formulas."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy
import pytest

from flambeau_numpy import convolution as convolution_module
from flambeau_numpy.backend import EXPECTED_WARNINGS, NumpyBackend

pytestmark = pytest.mark.filterwarnings(f"ignore:{EXPECTED_WARNINGS}:RuntimeWarning")

K = NumpyBackend().kernels()
RNG = numpy.random.default_rng(0)
TOLERANCE = {"float16": 2e-3, "float32": 2e-6, "float64": 1e-12}


def slope(function: Callable[[numpy.ndarray], Any], x: numpy.ndarray, g: numpy.ndarray) -> numpy.ndarray:
    """The gradient of ``sum(g * function(x))`` by central differences."""
    found = numpy.zeros_like(x)
    for place in numpy.ndindex(x.shape):
        step = numpy.zeros_like(x)
        step[place] = 1e-6
        found[place] = (g * (function(x + step) - function(x - step))).sum() / 2e-6
    return found


# -- activations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
def test_relu(dtype: str) -> None:
    x = numpy.array([-2, 0, 3]).astype(dtype)
    assert K["relu"](x).tolist() == [0, 0, 3]
    assert K["relu"](x).dtype == dtype
    assert K["relu_"](x) is x
    assert x.tolist() == [0, 0, 3]


def test_relu_and_its_gradient_keep_nan() -> None:
    assert math.isnan(K["relu"](numpy.array([math.nan]))[0])
    for dtype in ("float16", "float32", "float64"):
        x = numpy.array([-1.0, 0.0, 2.0, math.nan, -1.0], dtype)
        g = numpy.array([1.0, 2.0, 3.0, 4.0, math.inf], dtype)
        found = K["threshold_backward"](g, x, 0)
        assert found.dtype == dtype
        assert found.tolist() == [0.0, 0.0, 3.0, 4.0, 0.0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_smooth_activations(dtype: str) -> None:
    x = numpy.linspace(-9, 9, 1001).astype(dtype)
    wide = x.astype("float64")
    sigmoid = 1 / (1 + numpy.exp(-wide))
    normal = numpy.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in wide])
    tanh = 0.5 * (1 + numpy.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    expected = {"sigmoid": sigmoid, "silu": wide * sigmoid, "gelu": wide * normal}
    for name, values in expected.items():
        found = K[name](x)
        assert found.dtype == dtype
        numpy.testing.assert_allclose(found, values, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])
    numpy.testing.assert_allclose(K["gelu"](x, "tanh"), wide * tanh, atol=TOLERANCE[dtype], rtol=2 * TOLERANCE[dtype])


def test_sigmoid_does_not_overflow() -> None:
    assert K["sigmoid"](numpy.array([-1e4, 1e4], "float32")).tolist() == [0.0, 1.0]
    assert K["sigmoid"](numpy.array(0.0)) == 0.5


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gradient_of_gelu(approximate: str) -> None:
    x, g = RNG.standard_normal((3, 5)), RNG.standard_normal((3, 5))
    expected = slope(lambda v: K["gelu"](v, approximate), x, g)
    numpy.testing.assert_allclose(K["gelu_backward"](g, x, approximate), expected, atol=1e-8)


def test_gelu_refuses_other_approximations() -> None:
    with pytest.raises(RuntimeError, match="^gelu: approximate argument must be either none or tanh, but got 'relu'$"):
        K["gelu"](numpy.ones(2), "relu")


@pytest.mark.parametrize(
    ("shape", "dim"), [((), 0), ((7,), 0), ((50, 4), 1), ((3, 50), 1), ((3, 4, 5), 1), ((2, 0), 1)]
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_softmax(shape: tuple[int, ...], dim: int, dtype: str) -> None:
    x = (10 * RNG.standard_normal(shape)).astype(dtype)
    wide = numpy.exp(x.astype("float64") - (x.max() if x.size else 0))
    expected = wide / (wide.sum(dim, keepdims=True) if shape else wide)
    for view in (x, x.T.copy().T):
        found = K["softmax"](view, dim)
        assert found.dtype == dtype
        assert found.shape == shape
        numpy.testing.assert_allclose(found, expected, atol=TOLERANCE[dtype])
        logarithms = K["log_softmax"](view, dim)
        numpy.testing.assert_allclose(
            logarithms, numpy.log(expected), rtol=3e-3, atol=5e-3
        ) if dtype == "float16" else (
            numpy.testing.assert_allclose(logarithms, numpy.log(expected), rtol=1e-5, atol=1e-6)
        )


def test_softmax_of_large_numbers() -> None:
    x = numpy.array([[1e30, 0.0], [-math.inf, 0.0]], "float32")
    assert K["softmax"](x, 1).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert K["log_softmax"](x, 1)[1].tolist() == [-math.inf, 0.0]


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dim", [0, 1])
def test_gradients_of_softmax(name: str, dim: int) -> None:
    x, g = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))
    found = K[f"{name}_backward"](g, K[name](x, dim), dim)
    numpy.testing.assert_allclose(found, slope(lambda v: K[name](v, dim), x, g), atol=1e-8)


# -- cross entropy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy(reduction: str) -> None:
    x, target = RNG.standard_normal((6, 4)), numpy.array([0, 3, 2, 2, 1, 0])

    def reference(v: numpy.ndarray) -> Any:
        losses = numpy.log(numpy.exp(v).sum(1)) - v[numpy.arange(6), target]
        return {"mean": losses.mean(), "sum": losses.sum(), "none": losses}[reduction]

    loss, log_probs = K["cross_entropy"](x, target, None, reduction)
    numpy.testing.assert_allclose(loss, reference(x))
    g = RNG.standard_normal(numpy.shape(loss))
    found = K["cross_entropy_backward"](g, log_probs, target, None, reduction, -100, 0.0)
    numpy.testing.assert_allclose(found, slope(reference, x, g), atol=1e-8)


def test_cross_entropy_names_a_target_that_is_no_class() -> None:
    with pytest.raises(IndexError, match="^cross_entropy: Target 4 is out of bounds for 4 classes$"):
        K["cross_entropy"](numpy.zeros((2, 4)), numpy.array([1, 4]))


# -- normalization ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(dtype: str, affine: bool) -> None:
    x = (3 + RNG.standard_normal((2, 5, 3, 4))).astype(dtype)
    weight, bias = (RNG.standard_normal((3, 4)).astype(dtype) for _ in range(2)) if affine else (None, None)
    out, mean, rstd = K["native_layer_norm"](x, (3, 4), weight, bias, 1e-5)
    wide = x.astype("float64")
    expected = wide - wide.mean((2, 3), keepdims=True)
    expected /= numpy.sqrt((expected**2).mean((2, 3), keepdims=True) + 1e-5)
    if affine:
        expected = expected * weight + bias
    assert out.dtype == dtype
    assert mean.shape == rstd.shape == (2, 5, 1, 1)
    assert mean.dtype == rstd.dtype == ("float64" if dtype == "float64" else "float32")
    numpy.testing.assert_allclose(out, expected, atol=5 * TOLERANCE[dtype])


@pytest.mark.parametrize("affine", [True, False])
def test_gradients_of_layer_norm(affine: bool) -> None:
    x, g = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))
    weight, bias = RNG.standard_normal((2, 4)) if affine else (None, None)
    _, mean, rstd = K["native_layer_norm"](x, (4,), weight, bias, 1e-5)
    gi, gw, gb = K["native_layer_norm_backward"](g, x, mean, rstd, weight, (4,), (True, affine, affine))
    numpy.testing.assert_allclose(
        gi, slope(lambda v: K["native_layer_norm"](v, (4,), weight, bias, 1e-5)[0], x, g), atol=1e-8
    )
    if affine:
        numpy.testing.assert_allclose(
            gw, slope(lambda v: K["native_layer_norm"](x, (4,), v, bias, 1e-5)[0], weight, g), atol=1e-8
        )
        numpy.testing.assert_allclose(gb, g.sum(0))
    else:
        assert gw is gb is None


@pytest.mark.parametrize("shape", [(8, 3), (4, 3, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_batch_norm_in_training(shape: tuple[int, ...], dtype: str) -> None:
    x = (2 + 3 * RNG.standard_normal(shape)).astype(dtype)
    weight, bias = (RNG.standard_normal(3).astype(dtype) for _ in range(2))
    running_mean, running_var = numpy.zeros(3, dtype), numpy.ones(3, dtype)
    out, mean, rstd = K["native_batch_norm"](x, weight, bias, running_mean, running_var, True, 0.1, 1e-5)
    dims = (0, *range(2, len(shape)))
    wide = x.astype("float64")
    channels = (3,) + (1,) * (len(shape) - 2)
    expected = (wide - wide.mean(dims, keepdims=True)) / numpy.sqrt(wide.var(dims, keepdims=True) + 1e-5)
    expected = expected * weight.reshape(channels) + bias.reshape(channels)
    tolerance = 5 * TOLERANCE[dtype]
    assert out.dtype == dtype
    numpy.testing.assert_allclose(out, expected, atol=tolerance)
    numpy.testing.assert_allclose(mean, wide.mean(dims), atol=tolerance)
    numpy.testing.assert_allclose(rstd, 1 / numpy.sqrt(wide.var(dims) + 1e-5), atol=tolerance)
    numpy.testing.assert_allclose(running_mean, 0.1 * wide.mean(dims), rtol=tolerance, atol=tolerance)
    numpy.testing.assert_allclose(running_var, 0.9 + 0.1 * wide.var(dims, ddof=1), rtol=tolerance)


def test_batch_norm_in_evaluation() -> None:
    x, mean, var = RNG.standard_normal((4, 3, 5)), RNG.standard_normal(3), RNG.uniform(1, 2, 3)
    before = mean.copy(), var.copy()
    out, save_mean, _ = K["native_batch_norm"](x, None, None, mean, var, False, 0.1, 1e-5)
    numpy.testing.assert_allclose(out, (x - mean[:, None]) / numpy.sqrt(var[:, None] + 1e-5))
    assert (mean == before[0]).all()
    assert (var == before[1]).all()
    assert not numpy.may_share_memory(save_mean, mean)


@pytest.mark.parametrize("shape", [(5, 2), (3, 2, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_batch_norm(shape: tuple[int, ...], training: bool) -> None:
    x, g = RNG.standard_normal(shape), RNG.standard_normal(shape)
    weight, bias, mean, var = (
        RNG.standard_normal(2),
        RNG.standard_normal(2),
        RNG.standard_normal(2),
        RNG.uniform(1, 2, 2),
    )

    def out(x: numpy.ndarray, weight: numpy.ndarray, bias: numpy.ndarray) -> Any:
        return K["native_batch_norm"](x, weight, bias, mean.copy(), var.copy(), training, 0.1, 1e-5)

    _, save_mean, save_rstd = out(x, weight, bias)
    gi, gw, gb = K["native_batch_norm_backward"](g, x, weight, save_mean, save_rstd, training, (True, True, True))
    numpy.testing.assert_allclose(gi, slope(lambda v: out(v, weight, bias)[0], x, g), atol=1e-7)
    numpy.testing.assert_allclose(gw, slope(lambda v: out(x, v, bias)[0], weight, g), atol=1e-7)
    numpy.testing.assert_allclose(gb, slope(lambda v: out(x, weight, v)[0], bias, g), atol=1e-7)
    only = K["native_batch_norm_backward"](g, x, weight, save_mean, save_rstd, training, (False, False, True))
    assert only[0] is only[1] is None


# -- convolution -----------------------------------------------------------------------------------------------------

Setting = dict[str, Any]
SETTINGS: list[Setting] = [
    {"size": (7,), "kernel": (3,)},
    {"size": (7,), "kernel": (1,), "channels": (4, 2)},
    {"size": (9,), "kernel": (2,), "stride": (3,), "padding": (2,), "dilation": (2,)},
    {"size": (5, 6), "kernel": (3, 2), "padding": (1, 0)},
    {"size": (5, 6), "kernel": (1, 1), "stride": (2, 1)},
    {"size": (9, 9), "kernel": (3, 3), "padding": (4, 4)},
    {"size": (6, 5), "kernel": (3, 2), "stride": (2, 3), "padding": (1, 2), "dilation": (1, 2), "groups": 2},
    {"size": (5, 5), "kernel": (3, 3), "padding": (1, 1), "groups": 4, "channels": (4, 8)},
    {"size": (4, 5, 3), "kernel": (2, 3, 2), "stride": (1, 2, 1), "padding": (1, 1, 0)},
]


def naive_transposed(x: numpy.ndarray, weight: numpy.ndarray, setting: Setting) -> numpy.ndarray:
    """Each input element adds its multiple of the kernel to the output."""
    samples, channels, *sizes = x.shape
    groups, kernel = setting["groups"], weight.shape[2:]
    room = [
        (n - 1) * s + d * (k - 1) + 1 + extra
        for n, s, d, k, extra in zip(
            sizes, setting["stride"], setting["dilation"], kernel, setting["extra"], strict=True
        )
    ]
    out = numpy.zeros((samples, weight.shape[1] * groups, *room))
    per_group = weight.shape[1]
    for c, place, tap in itertools.product(range(channels), numpy.ndindex(*sizes), numpy.ndindex(*kernel)):
        where = [p * s + t * d for p, s, t, d in zip(place, setting["stride"], tap, setting["dilation"], strict=True)]
        start = c // (channels // groups) * per_group
        out[(slice(None), slice(start, start + per_group), *where)] += (
            x[(slice(None), c, *place)][:, None] * weight[(c, slice(None), *tap)]
        )
    inner = [slice(p, n - p) for p, n in zip(setting["padding"], room, strict=True)]
    return out[(slice(None), slice(None), *inner)]


def naive_forward(x: numpy.ndarray, weight: numpy.ndarray, setting: Setting) -> numpy.ndarray:
    """Each output element is the sum of a window times the kernel."""
    groups, kernel, spatial = setting["groups"], weight.shape[2:], len(setting["size"])
    x = numpy.pad(x, [(0, 0), (0, 0), *[(p, p) for p in setting["padding"]]])
    sizes = [
        (n - d * (k - 1) - 1) // s + 1
        for n, d, k, s in zip(x.shape[2:], setting["dilation"], kernel, setting["stride"], strict=True)
    ]
    out = numpy.zeros((x.shape[0], weight.shape[0], *sizes))
    per_group, channels = weight.shape[0] // groups, x.shape[1] // groups
    for o, place in itertools.product(range(weight.shape[0]), numpy.ndindex(*sizes)):
        window = [
            slice(p * s, p * s + d * (k - 1) + 1, d)
            for p, s, d, k in zip(place, setting["stride"], setting["dilation"], kernel, strict=True)
        ]
        start = o // per_group * channels
        patch = x[(slice(None), slice(start, start + channels), *window)]
        out[(slice(None), o, *place)] = (patch * weight[o]).sum(tuple(range(1, spatial + 2)))
    return out


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("chunk", [1, 2000, 1 << 20])
def test_convolution_and_its_gradients(
    setting: Setting, transposed: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution_module, "CHUNK", chunk)
    spatial = len(setting["size"])
    ones, zeros = (1,) * spatial, (0,) * spatial
    setting = {"stride": ones, "padding": zeros, "dilation": ones, "groups": 1, "channels": (2, 4), **setting}
    # An output padding as large as the stride leaves room for one more window.
    setting["extra"] = tuple([max(s, d) - 1 for s, d in zip(setting["stride"], setting["dilation"], strict=True)])
    inputs, outputs = setting["channels"]
    groups = setting["groups"]
    x = RNG.standard_normal((3, inputs, *setting["size"]))
    shape = (inputs, outputs // groups) if transposed else (outputs, inputs // groups)
    weight, bias = RNG.standard_normal((*shape, *setting["kernel"])), RNG.standard_normal(outputs)
    extra = setting["extra"] if transposed else zeros
    fixed = setting["stride"], setting["padding"], setting["dilation"], transposed, extra, groups
    reference = naive_transposed if transposed else naive_forward
    expected = reference(x, weight, setting)
    out = K["convolution"](x, weight, bias, *fixed)
    numpy.testing.assert_allclose(out, expected + bias.reshape(-1, *ones), atol=1e-12)
    assert out.flags.c_contiguous
    # The convolution is linear in both operands: <g, f(dx, w)> = <gi, dx> for every dx, and likewise for the weight.
    g = RNG.standard_normal(out.shape)
    gi, gw, gb = K["convolution_backward"](g, x, weight, *fixed, (True, True, True))
    assert (gi.shape, gw.shape) == (x.shape, weight.shape)
    for _ in range(3):
        dx, dw = RNG.standard_normal(x.shape), RNG.standard_normal(weight.shape)
        assert (g * reference(dx, weight, setting)).sum() == pytest.approx((gi * dx).sum())
        assert (g * reference(x, dw, setting)).sum() == pytest.approx((gw * dw).sum())
    numpy.testing.assert_allclose(gb, g.sum((0, *range(2, 2 + spatial))))
    assert K["convolution_backward"](g, x, weight, *fixed, (False, False, True))[:2] == (None, None)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "complex64"])
def test_convolution_keeps_the_dtype(dtype: str) -> None:
    x, weight = numpy.ones((1, 1, 4), dtype), numpy.ones((2, 1, 3), dtype)
    out = K["convolution"](x, weight, None, (1,), (0,), (1,), False, (0,), 1)
    assert out.dtype == dtype
    assert (out == 3).all()


def test_convolution_says_what_does_not_fit() -> None:
    x, weight = numpy.ones((1, 3, 4, 4)), numpy.ones((2, 2, 3, 3))
    fixed = (1, 1), (0, 0), (1, 1), False, (0, 0), 1
    with pytest.raises(
        RuntimeError, match=r"weight of size \[2, 2, 3, 3\], expected input\[1, 3, 4, 4\] to have 2 channels"
    ):
        K["convolution"](x, weight, None, *fixed)
    with pytest.raises(RuntimeError, match="expected bias to be 1-dimensional with 2 elements"):
        K["convolution"](x[:, :2], weight, numpy.ones(3), *fixed)
    with pytest.raises(RuntimeError, match="the kernel does not fit into the padded input"):
        K["convolution"](x[:, :2, :2], weight, None, *fixed)


# -- pooling ---------------------------------------------------------------------------------------------------------

POOLS: list[tuple[tuple[int, ...], ...]] = [
    # sizes, kernel, stride, padding, dilation
    ((8,), (2,), (2,), (0,), (1,)),
    ((7,), (3,), (2,), (1,), (2,)),
    ((6, 6), (2, 2), (2, 2), (0, 0), (1, 1)),
    ((7, 6), (3, 2), (2, 1), (1, 1), (1, 2)),
    ((5, 7), (2, 3), (3, 2), (1, 1), (1, 1)),
    ((4, 5, 3), (2, 3, 2), (2, 2, 1), (1, 1, 0), (1, 1, 1)),
]


def windows(
    sizes: tuple[int, ...], kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[list[int], list[list[list[int]]]]:
    """For each dimension how many windows there are, and the positions (perhaps in the padding) of each."""
    counts, positions = [], []
    for n, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
        starts = list(range(-p, n + p, s))
        last = n + p - d * (k - 1) - 1
        fitting = [start for start in starts if start <= last]
        if ceil_mode and (last - fitting[0]) % s and fitting[-1] + s < n:
            fitting.append(fitting[-1] + s)
        counts.append(len(fitting))
        positions.append([[start + d * t for t in range(k)] for start in fitting])
    return counts, positions


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("kind", ["float", "int", "lowest", "nan"])
def test_max_pool(pool: Any, ceil_mode: bool, kind: str) -> None:
    sizes, *setting = pool
    x = RNG.integers(-5, 5, (2, 3, *sizes)).astype("int32" if kind == "int" else "float32")
    if kind in ("lowest", "nan"):
        x[RNG.random(x.shape) < 0.4] = -math.inf if kind == "lowest" else math.nan
    out, indices = K["max_pool"](x, *setting, ceil_mode)
    counts, positions = windows(sizes, *setting, ceil_mode)
    assert out.shape == indices.shape == (2, 3, *counts)
    assert (out.dtype, indices.dtype) == (x.dtype, "int64")
    planes = x.reshape(2, 3, -1)
    for n, c, place in itertools.product(range(2), range(3), numpy.ndindex(*counts)):
        best = None
        for spot in itertools.product(*[positions[d][i] for d, i in enumerate(place)]):
            if all(0 <= at < size for at, size in zip(spot, sizes, strict=True)):
                at = int(numpy.ravel_multi_index(spot, sizes))
                value = planes[n, c, at]
                if best is None or value > planes[n, c, best] or value != value:
                    best = at
        assert indices[(n, c, *place)] == best
        numpy.testing.assert_equal(out[(n, c, *place)], planes[n, c, best])
    g = RNG.standard_normal(out.shape)
    found = K["max_pool_backward"](g, indices, sizes)
    expected = numpy.zeros((2, 3, math.prod(sizes)))
    for place in numpy.ndindex(out.shape):
        expected[place[0], place[1], indices[place]] += g[place]
    numpy.testing.assert_allclose(found, expected.reshape(x.shape))


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("divisor", [None, 5])
def test_avg_pool(pool: Any, ceil_mode: bool, count_include_pad: bool, divisor: int | None) -> None:
    sizes, kernel, stride, padding, _ = pool
    ones = (1,) * len(sizes)
    setting = kernel, stride, padding, ceil_mode, count_include_pad, divisor
    counts, positions = windows(sizes, kernel, stride, padding, ones, ceil_mode)
    x = RNG.standard_normal((2, 1, *sizes))
    out = K["avg_pool"](x, *setting)
    expected = numpy.zeros((2, 1, *counts))
    shares: dict[Any, Any] = {}
    for place in numpy.ndindex(*counts):
        spots = list(itertools.product(*[positions[d][i] for d, i in enumerate(place)]))
        inside = [s for s in spots if all(0 <= at < n for at, n in zip(s, sizes, strict=True))]
        padded = [s for s in spots if all(at < n + p for at, n, p in zip(s, sizes, padding, strict=True))]
        shares[place] = inside, divisor or len(padded if count_include_pad else inside)
        expected[(..., *place)] = sum(x[(..., *s)] for s in inside) / shares[place][1]
    numpy.testing.assert_allclose(out, expected, atol=1e-12)
    g = RNG.standard_normal(out.shape)
    gradient = numpy.zeros_like(x)
    for place, (inside, by) in shares.items():
        for spot in inside:
            gradient[(..., *spot)] += g[(..., *place)] / by
    numpy.testing.assert_allclose(K["avg_pool_backward"](g, sizes, *setting), gradient, atol=1e-12)


def test_avg_pool_of_the_whole_plane() -> None:
    x = RNG.standard_normal((2, 3, 4, 5)).astype("float32")
    out = K["avg_pool"](x, (4, 5), (4, 5), (0, 0), False, True, None)
    numpy.testing.assert_allclose(out, x.mean((2, 3), keepdims=True), rtol=1e-5, atol=1e-6)
    assert K["avg_pool"](x.astype("float16"), (2, 2), (2, 2), (0, 0), False, True, None).dtype == numpy.float16
