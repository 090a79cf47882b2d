"""oneDNN's kernels beside the NumPy backend's in double precision, however small the arrays."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

import flambeau
from flambeau import dispatch

library = pytest.importorskip("flambeau_accel.library")
if not library.is_installed():
    pytest.skip("oneDNN is not installed", allow_module_level=True)

from flambeau_accel import (  # noqa: E402
    activation,
    batch_normalization,
    chain,
    convolution,
    matmul,
    normalization,
    pooling,
    primitive,
    winograd,
)

KERNELS = {
    name: kernel
    for theme in (activation, batch_normalization, convolution, matmul, normalization, pooling)
    for name, kernel in theme.KERNELS.items()
}
random = numpy.random.default_rng(0)


@pytest.fixture(autouse=True)
def however_small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for theme in (activation, batch_normalization, matmul, normalization, pooling):
        monkeypatch.setattr(theme, "WORTHWHILE", 0)
    monkeypatch.setattr(batch_normalization, "LEAST_PLACES", 2)
    monkeypatch.setattr(chain, "ROW", 4)
    monkeypatch.setattr(convolution, "LARGE", 0)
    monkeypatch.setattr(batch_normalization, "CHUNK", 256)
    yield


def normal(*shape: int) -> Any:
    return random.standard_normal(shape).astype(numpy.float32)


def refuse(*arguments: Any) -> Any:
    raise AssertionError("the call was passed on")


def below(name: str) -> Any:
    """The kernel that the accelerator's takes the place of."""
    kernel = dispatch.load(flambeau.device("cpu")).table[flambeau.ops.OPS[name].index]  # type: ignore[index]
    return kernel.args[0]


def wide(value: Any) -> Any:
    return value.astype(numpy.float64) if isinstance(value, numpy.ndarray) and value.dtype.kind == "f" else value


def check(name: str, *arguments: Any, rtol: float = 1e-4, atol: float = 1e-5) -> Any:
    """oneDNN computes it, and what the NumPy kernel makes of the same numbers in float64."""
    expected = below(name)(*[wide(a) for a in arguments])
    own = KERNELS[name](refuse, *[a.copy() if name == "native_batch_norm" and a is not None and hasattr(a, "copy")
                                  else a for a in arguments])  # fmt: skip
    pairs = zip(own, expected, strict=True) if isinstance(own, tuple) else [(own, expected)]
    for a, b in pairs:
        assert (a is None) == (b is None), name
        if a is not None:
            assert a.shape == b.shape, name
            numpy.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=name)
    return own


# -- convolution -------------------------------------------------------------------------------------------------------

CONVOLUTIONS = [
    # input, weight, stride, padding, dilation, groups
    ((2, 3, 9), (4, 3, 3), (1,), (1,), (1,), 1),
    ((2, 4, 11), (6, 2, 3), (2,), (2,), (2,), 2),
    ((2, 3, 8, 7), (5, 3, 3, 2), (1, 1), (1, 0), (1, 1), 1),
    ((2, 4, 9, 8), (4, 1, 3, 3), (2, 1), (1, 1), (1, 2), 4),
    ((1, 16, 6, 6), (32, 16, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((2, 8, 7, 7), (8, 8, 5, 5), (3, 2), (2, 2), (1, 1), 1),
    ((1, 2, 5, 6, 4), (3, 2, 2, 3, 2), (1, 2, 1), (0, 1, 1), (1, 1, 2), 1),
    ((2, 3, 9, 12), (16, 3, 4, 4), (2, 2), (1, 1), (1, 1), 1),
    ((2, 1, 11, 8), (16, 1, 7, 5), (3, 2), (3, 4), (1, 1), 1),
    ((2, 16, 40), (16, 1, 31), (1,), (15,), (1,), 16),
    ((1, 2, 9, 9), (4, 2, 2, 1), (3, 4), (0, 0), (1, 1), 1),
]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("biased", [False, True])
def test_convolution(case: Any, biased: bool) -> None:
    shape, sizes, stride, padding, dilation, groups = case
    none = (0,) * len(stride)
    x, w, b = normal(*shape), normal(*sizes), normal(sizes[0]) if biased else None
    out = check("convolution", x, w, b, stride, padding, dilation, False, none, groups)
    g = normal(*out.shape)
    check("convolution_backward", g, x, w, stride, padding, dilation, False, none, groups, (True, True, True))


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_transposed_convolution(case: Any) -> None:
    shape, sizes, stride, padding, dilation, groups = case
    extra = tuple([min(1, s - 1) for s in stride])
    x = normal(shape[0], sizes[0], *shape[2:])
    w, b = normal(*sizes), normal(sizes[1] * groups)
    out = check("convolution", x, w, b, stride, padding, dilation, True, extra, groups)
    g = normal(*out.shape)
    check("convolution_backward", g, x, w, stride, padding, dilation, True, extra, groups, (True, True, True))


def test_transposed_convolution_with_places_that_no_window_meets() -> None:
    x, w = normal(2, 8, 6), normal(8, 16, 3)
    check("convolution", x, w, None, (2,), (0,), (3,), True, (1,), 1)
    with pytest.raises(AssertionError, match="passed on"):
        KERNELS["convolution"](refuse, x, w, None, (2,), (0,), (3,), True, (2,), 1)


def test_convolution_of_views() -> None:
    x = normal(2, 9, 8, 3).transpose(0, 3, 1, 2)
    w = normal(3, 3, 5, 3).transpose(2, 3, 0, 1)
    check("convolution", x, w, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1)
    check("convolution", x[::2, :, ::2], w, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1)


WINOGRAD = [
    # input, weight, stride, padding, dilation
    ((2, 32, 12, 9), (32, 32, 3, 3), (1, 1), (1, 1), (1, 1)),
    ((3, 32, 9, 7), (48, 32, 3, 3), (1, 1), (0, 0), (1, 1)),
    ((4, 32, 7, 11), (32, 32, 3, 5), (1, 2), (2, 1), (1, 2)),
    ((2, 48, 14, 4), (32, 48, 3, 1), (1, 1), (1, 0), (1, 1)),
    ((3, 128, 90), (128, 128, 3), (1,), (2,), (1,)),
]


@pytest.mark.parametrize("case", WINOGRAD, ids=str)
def test_convolution_by_the_algorithm_of_winograd(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shape, sizes, stride, padding, dilation = case
    none = (0,) * len(stride)
    monkeypatch.setattr(winograd, "CHUNK", 2 * 4 * numpy.prod(shape[1:]))
    plans: list[Any] = []

    def run(plan: Any, *arrays: Any) -> None:
        plans.append(plan)
        primitive.Plan.run(plan, *arrays)

    monkeypatch.setattr(winograd._Rows, "run", run)
    x, w, b = normal(*shape), normal(*sizes) * numpy.float32(0.05), normal(sizes[0])
    for bias in (b, None):
        out = check("convolution", x, w, bias, stride, padding, dilation, False, none, 1, atol=3e-5)
    g = normal(*out.shape) * numpy.float32(0.1)
    rows = numpy.moveaxis(numpy.moveaxis(x[:, :, ::-1], 1, -1).copy(), -1, 1)
    check("convolution_backward", g, rows, w, stride, padding, dilation, False, none, 1, (True,) * 3, atol=3e-5)
    back = check("convolution", out, w, None, stride, padding, dilation, True, none, 1, atol=3e-5)
    assert back.shape[:2] == x.shape[:2]
    # A column is left to the direct way but for the gradient of the weight; so is what oneDNN wants in another layout.
    assert len(plans) == (1 if len(stride) == 1 else 4 if stride == (1, 1) else 3)


def test_convolution_passes_on_what_it_does_not_serve() -> None:
    x, w = normal(2, 3, 8, 8), normal(4, 3, 3, 3)
    for a, b in ((wide(x), wide(w)), (x[:0], w), (normal(2, 3, 2, 2), normal(4, 3, 5, 5))):
        with pytest.raises(AssertionError, match="passed on"):
            KERNELS["convolution"](refuse, a, b, None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1)


# -- matrices ----------------------------------------------------------------------------------------------------------

MATRICES = [
    (normal(3, 4), normal(4, 5)), (normal(4, 3).T, normal(4, 5)), (normal(3, 4), normal(5, 4).T),
    (normal(4, 3).T, normal(5, 4).T), (normal(2, 3, 4), normal(4, 5)), (normal(2, 3, 4), normal(2, 4, 5)),
    (normal(2, 3, 4), normal(2, 5, 4).swapaxes(1, 2)), (normal(3, 1), normal(1, 5)),
    (normal(2, 5, 3, 4).swapaxes(1, 2), normal(2, 5, 3, 4).transpose(0, 2, 3, 1)),
    (normal(3, 8)[:, :4], normal(4, 5)), (normal(2, 2, 1), normal(2, 1, 2)), (normal(2, 1), normal(1, 2)),
    (normal(6, 8)[:, ::2], normal(4, 5)), (normal(6, 8)[:, ::-1], normal(8, 5)), (normal(3, 4), normal(8, 5)[::2]),
    (numpy.broadcast_to(normal(6, 1), (6, 8)), normal(8, 5)), (normal(3, 2, 4).swapaxes(0, 1), normal(4, 5)),
    (normal(1, 3, 4), normal(2, 4, 5)), (normal(3, 4), normal(2, 4, 5)), (normal(2, 1, 3, 4), normal(5, 4, 6)),
    (numpy.broadcast_to(normal(1, 3, 4), (2, 3, 4)), normal(2, 4, 5)),
    (numpy.lib.stride_tricks.sliding_window_view(normal(9), 4)[None].repeat(2, 0), normal(2, 4, 5)),
    (numpy.lib.stride_tricks.sliding_window_view(normal(5, 4), 3, 0).swapaxes(1, 2), normal(3, 4, 5)),
    (normal(70, 6), normal(6, 1030)), (normal(70, 6).T.copy().T, normal(6, 2060)[:, :1030]),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(MATRICES)))
def test_products(number: int) -> None:
    a, b = MATRICES[number]
    check("matmul", a, b)
    if b.ndim == 2:
        check("linear", a, b.T, None)
        check("linear", a, b.T, normal(b.shape[1]))


def test_products_pass_on_what_they_do_not_serve() -> None:
    a, b = normal(6, 8), normal(8, 5)
    refused = [
        (wide(a), wide(b)), (a[:0], b), (normal(3, 0), normal(0, 5)), (normal(4), normal(4, 5)),
        (normal(3, 4), normal(5, 4)), (normal(2, 3, 4), normal(3, 4, 5)), (normal(1, 4), normal(4, 5)),
        (normal(3, 4), normal(4, 1)), (normal(2, 1, 4), normal(2, 4, 5)),
    ]  # fmt: skip
    for left, right in refused:
        with pytest.raises(AssertionError, match="passed on"):
            KERNELS["matmul"](refuse, left, right)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_matrix_laid_out_for_many_products(transposed: bool) -> None:
    weight = normal(40, 24) if not transposed else normal(24, 40).T
    packed = KERNELS["for_products"](refuse, weight, 7)
    numpy.testing.assert_array_equal(packed, weight)
    for rows in (7, 7, 2, 13):  # the second time the copy is there
        a = normal(rows, 40)
        found = KERNELS["matmul"](refuse, a, packed)
        assert type(found) is numpy.ndarray
        numpy.testing.assert_allclose(found, a @ weight, rtol=1e-4, atol=1e-5)
    for a, b in ((normal(7, 80)[:, ::2], packed), (normal(2, 3, 40), packed), (normal(3, 8), packed[::5])):
        found = KERNELS["matmul"](below("matmul"), a, b)
        assert type(found) is numpy.ndarray
        numpy.testing.assert_allclose(found, a @ numpy.asarray(b), rtol=1e-4, atol=1e-5)


def test_what_is_not_laid_out_for_many_products() -> None:
    for matrix in (wide(normal(4, 5)), normal(4), normal(2, 3, 4)):
        with pytest.raises(AssertionError, match="passed on"):
            KERNELS["for_products"](refuse, matrix, 3)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_recurrent_layers_multiply_by_laid_out_weights(name: str) -> None:
    """The same losses and gradients as in double precision, where nothing is laid out."""
    layer = getattr(flambeau.nn, name)(24, 40)
    x = flambeau.randn(6, 3, 24)
    found = []
    for dtype in (flambeau.float32, flambeau.float64):
        layer.to(dtype)
        layer.zero_grad()
        inputs = x.detach().to(dtype).requires_grad_()
        (layer(inputs)[0] ** 2).sum().backward()
        found.append([inputs.grad.numpy(), *[p.grad.numpy() for p in layer.parameters()]])
    for own, expected in zip(*found, strict=True):
        numpy.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)


# -- activation, softmax, normalization, pooling -----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (33, 129)])
def test_activations(shape: tuple[int, ...]) -> None:
    x, g = normal(*shape) * 3, normal(*shape)
    for approximate in ("none", "tanh"):
        check("gelu", x, approximate)
        check("gelu_backward", g, x, approximate)
    check("leaky_relu", x, 0.2)
    check("leaky_relu_backward", g, x, 0.2)
    for dim in range(len(shape)):
        for name in ("softmax", "log_softmax"):
            out = check(name, x, dim)
            check(name + "_backward", g, out, dim)


def test_activations_of_views_and_special_values() -> None:
    x = normal(6, 8).T[::2]
    check("gelu", x, "none")
    check("softmax", x, 0)
    special = numpy.array([[0.0, -0.0, 1e4, -1e4, 88.0, -104.0, -numpy.inf, 3.0]], numpy.float32)
    check("softmax", special, 1)
    check("log_softmax", special, 1)
    undefined = numpy.array([numpy.nan, numpy.inf, -numpy.inf, 1e30, -1e30], numpy.float32)
    assert numpy.isnan(KERNELS["gelu"](refuse, undefined, "none")[0])
    assert numpy.isnan(KERNELS["leaky_relu"](refuse, undefined, 0.1)[0])


@pytest.mark.parametrize("affine", list(itertools.product([False, True], [False, True])))
@pytest.mark.parametrize(("shape", "normalized"), [((6, 10), (10,)), ((2, 3, 4, 5), (4, 5)), ((3, 300), (300,))])
def test_layer_norm(shape: tuple[int, ...], normalized: tuple[int, ...], affine: tuple[bool, bool]) -> None:
    weight, bias = (normal(*normalized) if given else None for given in affine)
    x, g = normal(*shape) + 3, normal(*shape)
    _, mean, rstd = check("native_layer_norm", x, normalized, weight, bias, 1e-5)
    needs = (True, weight is not None, bias is not None)
    check("native_layer_norm_backward", g, x, mean, rstd, weight, normalized, needs)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("affine", list(itertools.product([False, True], [False, True])))
@pytest.mark.parametrize("shape", [(8, 3, 2), (4, 3, 5), (2, 16, 6, 7)])
def test_batch_norm(shape: tuple[int, ...], affine: tuple[bool, bool], training: bool) -> None:
    weight, bias = (normal(shape[1]) if given else None for given in affine)
    x, g = normal(*shape) + 1, normal(*shape)
    running = normal(shape[1]), numpy.abs(normal(shape[1])) + 0.5
    _, mean, rstd = check("native_batch_norm", x, weight, bias, *running, training, 0.1, 1e-5)
    needs = (True, weight is not None, bias is not None)
    check("native_batch_norm_backward", g, x, weight, mean, rstd, training, needs, atol=1e-4)


def test_batch_norm_passes_on_single_places() -> None:
    with pytest.raises(AssertionError, match="passed on"):  # what has a channel's shape would be taken for a number
        KERNELS["native_batch_norm"](refuse, normal(8, 3), None, None, None, None, True, 0.3, 1e-5)


def test_batch_norm_moves_the_running_statistics() -> None:
    x = normal(4, 3, 5)
    own, expected = [numpy.ones(3, numpy.float32), numpy.ones(3, numpy.float32)], [numpy.ones(3), numpy.ones(3)]
    KERNELS["native_batch_norm"](refuse, x, None, None, *own, True, 0.3, 1e-5)
    below("native_batch_norm")(wide(x), None, None, *expected, True, 0.3, 1e-5)
    numpy.testing.assert_allclose(own, expected, rtol=1e-5)


POOLS = [
    ((3, 4, 1), (1,), (1,), (0,), (1,)),
    ((2, 3, 9), (2,), (2,), (0,), (1,)),
    ((2, 3, 12, 11), (3, 2), (2, 2), (1, 1), (1, 1)),
    ((1, 4, 9, 9), (3, 3), (1, 1), (1, 1), (2, 2)),
    ((1, 2, 5, 6, 7), (2, 2, 3), (2, 1, 2), (0, 1, 1), (1, 1, 1)),
]


@pytest.mark.parametrize("case", POOLS, ids=str)
def test_max_pool(case: Any) -> None:
    shape, *window = case
    ties = numpy.round(normal(*shape))  # the first of equal elements wins
    for x in (normal(*shape), ties):
        check("max_pool", x, *window, False)


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
def test_max_pool_passes_on_what_is_not_finite(value: float) -> None:
    x = normal(1, 1, 4, 4)
    x[0, 0, 0, 0] = value
    with pytest.raises(AssertionError, match="passed on"):
        KERNELS["max_pool"](refuse, x, (2, 2), (2, 2), (0, 0), (1, 1), False)


# -- threshold --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(96, 4), (7, 5, 61), (3,)])
def test_threshold_backward(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "LARGE", 0)
    monkeypatch.setattr(activation, "PART", 128)
    x, g = normal(*shape), normal(*shape)
    x.reshape(-1)[:2] = numpy.nan, 0.25
    own = check("threshold_backward", g, x, 0.25, rtol=0, atol=0)
    assert own.reshape(-1)[1] == 0
    assert own.reshape(-1)[0] == g.reshape(-1)[0]


def test_threshold_backward_passes_on_infinite_cotangents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "LARGE", 0)
    g = normal(4, 32)
    g[1, 1] = numpy.inf
    with pytest.raises(AssertionError, match="passed on"):
        KERNELS["threshold_backward"](refuse, g, -numpy.ones_like(g), 0.0)


# -- plans -------------------------------------------------------------------------------------------------------------


def test_threads_have_plans_of_their_own() -> None:
    x, w = normal(4, 8, 16, 16), normal(8, 8, 3, 3)
    expected = below("convolution")(x, w, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1)
    wrong: list[Any] = []

    def work(scale: float) -> None:
        for _ in range(20):
            own = KERNELS["convolution"](refuse, x * scale, w, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1)
            if not numpy.allclose(own, expected * scale, rtol=1e-3, atol=1e-3):
                wrong.append(scale)

    threads = [threading.Thread(target=work, args=(scale,)) for scale in (1.0, 2.0, 3.0, 4.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_refused_call_names_itself() -> None:
    runtime = primitive._local.runtime
    with pytest.raises(primitive.OneDNNError, match="dnnl_memory_desc_create_with_strides: invalid arguments"):
        primitive.Layout.of(runtime, (2, -3), numpy.dtype(numpy.float32), (1, 1))
