"""Ops of neural networks against NumPy, SciPy and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest
from numpy.testing import assert_allclose
from scipy import signal, special, stats

import flambeau
import flambeau.nn.functional as F
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.ops.declare import OPS

RNG = numpy.random.default_rng(0)


def normal(*shape: int, grad: bool = False) -> Any:
    return flambeau.tensor(RNG.normal(size=shape), requires_grad=grad)


def positive(*shape: int, grad: bool = False) -> Any:
    return flambeau.tensor(RNG.uniform(0.1, 0.9, size=shape), requires_grad=grad)


def test_every_functional_op_has_its_place_in_nn_functional() -> None:
    missing = [name for name, op in OPS.items() if "functional" in op.public and not hasattr(F, name)]
    assert missing == []


# -- values ----------------------------------------------------------------------------------------------------------

X = numpy.array([-800.0, -30.0, -3.0, -0.7, 0.0, 0.2, 3.0, 30.0, 800.0])


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (F.relu, numpy.maximum(X, 0)),
        (F.sigmoid, special.expit(X)),
        (F.logsigmoid, special.log_expit(X)),
        (F.softplus, numpy.logaddexp(X, 0)),
        (F.silu, X * special.expit(X)),
        (F.gelu, X * stats.norm.cdf(X)),
        (F.elu, numpy.where(X > 0, X, numpy.expm1(numpy.minimum(X, 0)))),
        (F.mish, X * numpy.tanh(numpy.logaddexp(X, 0))),
        (F.relu6, numpy.clip(X, 0, 6)),
        (F.softsign, X / (1 + abs(X))),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_activations_are_their_formulas_and_never_overflow(function: Callable[..., Any], expected: Any) -> None:
    x = flambeau.tensor(X, requires_grad=True)
    result = function(x)
    assert_allclose(result.detach().numpy(), expected, rtol=1e-9, atol=1e-12)
    result.sum().backward()
    assert numpy.isfinite(x.grad.numpy()).all()


def test_softmax_of_large_scores() -> None:
    x = RNG.normal(size=(3, 4)) * 1000
    assert_allclose(F.softmax(flambeau.tensor(x), 1).numpy(), special.softmax(x, 1), rtol=1e-12)
    assert_allclose(F.log_softmax(flambeau.tensor(x), 0).numpy(), special.log_softmax(x, 0), rtol=1e-12)


def test_softmax_takes_a_dtype_everywhere() -> None:
    x = flambeau.tensor([[1, 2], [3, 5]])
    for result in (
        F.softmax(x, 1, dtype=flambeau.float64), flambeau.softmax(x, 1, dtype=flambeau.float64),
        x.softmax(1, dtype=flambeau.float64), x.softmax(-1, dtype=flambeau.float64),
    ):  # fmt: skip
        assert result.dtype is flambeau.float64
        assert_allclose(result.numpy(), special.softmax(x.numpy().astype(float), 1))
    assert x.log_softmax(0, dtype=flambeau.float64).dtype is flambeau.float64


def test_conv2d_is_a_correlation() -> None:
    x, w, b = RNG.normal(size=(2, 3, 8, 7)), RNG.normal(size=(4, 3, 3, 2)), RNG.normal(size=4)
    result = F.conv2d(*map(flambeau.tensor, (x, w, b)), stride=(2, 1), padding=(1, 0)).numpy()
    padded = numpy.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    for n in range(2):
        for o in range(4):
            full = sum(signal.correlate(padded[n, c], w[o, c], mode="valid") for c in range(3))
            assert_allclose(result[n, o], full[::2] + b[o], rtol=1e-10)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_conv_transpose_is_the_transpose_of_conv(dims: int) -> None:
    """<conv(x), y> = <x, conv_transpose(y)> for every x and y."""
    x, w = normal(2, 4, *(7, 6, 5)[:dims]), normal(6, 2, *(3, 2, 3)[:dims])
    options: dict[str, Any] = {"stride": 2, "padding": 1, "dilation": 1, "groups": 2}
    forward = getattr(F, f"conv{dims}d")(x, w, **options)
    y = flambeau.tensor(RNG.normal(size=tuple(forward.shape)))
    lost = tuple((n + 2 - k) % 2 for n, k in zip(x.shape[2:], w.shape[2:], strict=True))
    backward = getattr(F, f"conv_transpose{dims}d")(y, w, output_padding=lost, **options)
    assert backward.shape == x.shape
    assert_allclose((forward * y).sum().item(), (x * backward).sum().item(), rtol=1e-10)


def test_layer_norm_and_rms_norm() -> None:
    x, w, b = RNG.normal(2, 3, size=(5, 4, 6)), RNG.normal(size=6), RNG.normal(size=6)
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    assert_allclose(
        F.layer_norm(flambeau.tensor(x), (6,), flambeau.tensor(w), flambeau.tensor(b)).numpy(),
        (x - mean) / numpy.sqrt(var + 1e-5) * w + b,
        rtol=1e-10,
    )
    assert_allclose(
        F.rms_norm(flambeau.tensor(x), [6], flambeau.tensor(w), 1e-3).numpy(),
        x / numpy.sqrt((x**2).mean(-1, keepdims=True) + 1e-3) * w,
        rtol=1e-10,
    )


def test_half_precision_statistics_are_computed_in_single_precision() -> None:
    x = flambeau.full((2, 4096), 40.0).to(flambeau.float16)  # the sum and the squares are beyond float16
    assert F.layer_norm(x, (4096,)).dtype is flambeau.float16
    assert F.layer_norm(x, (4096,)).abs().max().item() == 0
    assert_allclose(F.rms_norm(x, (4096,)).numpy(), numpy.ones((2, 4096)), rtol=1e-3)


def test_batch_norm_moves_the_running_statistics() -> None:
    x = RNG.normal(3, 2, size=(8, 3, 5))
    mean, var = flambeau.zeros(3, dtype=flambeau.float64), flambeau.ones(3, dtype=flambeau.float64)
    version = mean._version[0] if mean._version else 0
    out = F.batch_norm(flambeau.tensor(x), mean, var, training=True, momentum=0.3)
    batch_mean, batch_var = x.mean((0, 2)), x.var((0, 2))
    assert_allclose(mean.numpy(), 0.3 * batch_mean)
    assert_allclose(var.numpy(), 0.7 + 0.3 * x.var((0, 2), ddof=1))
    assert mean._version[0] > version
    assert_allclose(out.numpy(), (x - batch_mean[:, None]) / numpy.sqrt(batch_var[:, None] + 1e-5))
    evaluated = F.batch_norm(flambeau.tensor(x), mean, var)
    assert_allclose(evaluated.numpy(), (x - mean.numpy()[:, None]) / numpy.sqrt(var.numpy()[:, None] + 1e-5))


def test_instance_norm_moves_the_running_statistics() -> None:
    x = RNG.normal(3, 2, size=(4, 3, 5))
    mean, var = flambeau.zeros(3, dtype=flambeau.float64), flambeau.ones(3, dtype=flambeau.float64)
    F.instance_norm(flambeau.tensor(x), mean, var, momentum=0.5)
    assert_allclose(mean.numpy(), 0.5 * x.mean((0, 2)))
    assert_allclose(var.numpy(), 0.5 + 0.5 * x.var(2, ddof=1).mean(0))


def test_max_pool_indices_point_at_the_maxima() -> None:
    x = normal(2, 3, 6, 7)
    out, indices = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    flat = x.numpy().reshape(2, 3, -1)
    assert_allclose(numpy.take_along_axis(flat, indices.numpy().reshape(2, 3, -1), 2), out.numpy().reshape(2, 3, -1))


def test_max_pool_lets_nan_through() -> None:
    x = flambeau.tensor([[[1.0, float("nan"), 3.0, 2.0]]])
    assert numpy.isnan(F.max_pool1d(x, 2).numpy()[0, 0, 0])
    assert F.max_pool1d(x, 2)[0, 0, 1].item() == 3


def test_cross_entropy_ignores_targets() -> None:
    scores, target = RNG.normal(size=(5, 3)), numpy.array([0, -100, 2, -100, 1])
    x = flambeau.tensor(scores, requires_grad=True)
    loss = F.cross_entropy(x, flambeau.tensor(target))
    kept = target >= 0
    expected = -special.log_softmax(scores, 1)[numpy.arange(5), numpy.maximum(target, 0)][kept].mean()
    assert_allclose(loss.item(), expected)
    loss.backward()
    assert not x.grad.numpy()[~kept].any()
    assert_allclose(x.grad.numpy()[kept].sum(1), 0, atol=1e-12)


def test_cross_entropy_ignores_an_impossible_class() -> None:
    """A score of minus infinity of an ignored sample does not make the loss NaN."""
    x = flambeau.tensor([[-numpy.inf, 0.0], [0.0, 0.0]], requires_grad=True)
    loss = F.cross_entropy(x, flambeau.tensor([-100, 1]))
    assert_allclose(loss.item(), numpy.log(2))


def test_nearest_interpolation_repeats() -> None:
    x = normal(1, 2, 3, 4)
    assert_allclose(F.interpolate(x, scale_factor=2).numpy(), x.numpy().repeat(2, 2).repeat(2, 3))


def test_unfold_and_fold_are_transposes() -> None:
    x = normal(2, 3, 6, 7)
    columns = F.unfold(x, (2, 3), padding=1, stride=2)
    y = flambeau.tensor(RNG.normal(size=tuple(columns.shape)))
    assert_allclose((columns * y).sum().item(), (x * F.fold(y, (6, 7), (2, 3), padding=1, stride=2)).sum().item())


def test_pixel_shuffle_and_back() -> None:
    x = normal(2, 12, 3, 4)
    assert_allclose(F.pixel_unshuffle(F.pixel_shuffle(x, 2), 2).numpy(), x.numpy())


def test_embedding_scales_long_rows_down() -> None:
    weight = flambeau.tensor([[3.0, 4.0], [0.3, 0.4], [30.0, 40.0]], requires_grad=True)
    out = F.embedding(flambeau.tensor([0, 1, 0]), weight, max_norm=1.0)
    assert_allclose(out.detach().numpy(), [[0.6, 0.8], [0.3, 0.4], [0.6, 0.8]], rtol=1e-5)
    assert_allclose(weight.detach().numpy()[2], [30, 40])
    assert_allclose(weight.detach().numpy()[0], [0.6, 0.8], rtol=1e-5)


def test_attention_of_a_query_that_may_look_nowhere() -> None:
    q, k, v = normal(2, 4, grad=True), normal(3, 4, grad=True), normal(3, 5, grad=True)
    mask = flambeau.tensor([[True, False, True], [False, False, False]])
    out = F.scaled_dot_product_attention(q, k, v, mask)
    scores = (q.detach().numpy() @ k.detach().numpy().T / 2)[:1, [0, 2]]
    assert_allclose(out.detach().numpy()[:1], special.softmax(scores, 1) @ v.detach().numpy()[[0, 2]])
    assert not out.detach().numpy()[1].any()
    out.sum().backward()
    assert numpy.isfinite(q.grad.numpy()).all()


def test_normalize_and_distances_have_gradients_at_zero() -> None:
    x = flambeau.zeros(2, 3, dtype=flambeau.float64).requires_grad_()
    (F.normalize(x).sum() + F.pairwise_distance(x, x.detach(), eps=0.0).sum()).backward()
    assert numpy.isfinite(x.grad.numpy()).all()


# -- gradients -------------------------------------------------------------------------------------------------------

GRADIENTS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "elu": (F.elu, (normal(5, grad=True),)),
    "gelu": (F.gelu, (normal(5, grad=True),)),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), (normal(5, grad=True),)),
    "silu": (F.silu, (normal(5, grad=True),)),
    "mish": (F.mish, (normal(5, grad=True),)),
    "sigmoid": (F.sigmoid, (normal(5, grad=True),)),
    "softplus": (lambda x: F.softplus(x, 2.0), (normal(5, grad=True),)),
    "softsign": (F.softsign, (normal(5, grad=True),)),
    "tanhshrink": (F.tanhshrink, (normal(5, grad=True),)),
    "selu": (F.selu, (normal(5, grad=True),)),
    "prelu": (F.prelu, (normal(2, 3, grad=True), normal(3, grad=True))),
    "glu": (F.glu, (normal(2, 4, grad=True),)),
    "softmax": (lambda x: F.softmax(x, 1), (normal(2, 4, grad=True),)),
    "log_softmax": (lambda x: F.log_softmax(x, 0), (normal(2, 4, grad=True),)),
    "linear": (F.linear, (normal(2, 3, 4, grad=True), normal(5, 4, grad=True), normal(5, grad=True))),
    "conv1d": (
        lambda x, w, b: F.conv1d(x, w, b, 2, 1, 2, 2),
        (normal(2, 4, 9, grad=True), normal(6, 2, 3, grad=True), normal(6, grad=True)),
    ),
    "conv_transpose1d": (
        lambda x, w, b: F.conv_transpose1d(x, w, b, 2, 1, 1, 2),
        (normal(2, 4, 4, grad=True), normal(4, 3, 3, grad=True), normal(6, grad=True)),
    ),
    "layer_norm": (
        lambda x, w, b: F.layer_norm(x, (4,), w, b),
        (normal(3, 4, grad=True), normal(4, grad=True), normal(4, grad=True)),
    ),
    "rms_norm": (lambda x, w: F.rms_norm(x, (4,), w), (normal(3, 4, grad=True), normal(4, grad=True))),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        (normal(4, 3, grad=True), normal(3, grad=True), normal(3, grad=True)),
    ),
    "group_norm": (lambda x, w: F.group_norm(x, 2, w), (normal(2, 4, 3, grad=True), normal(4, grad=True))),
    "local_response_norm": (lambda x: F.local_response_norm(x, 2, 0.5), (normal(1, 3, 4, grad=True),)),
    "max_pool1d": (lambda x: F.max_pool1d(x, 3, 2, 1), (normal(1, 2, 6, grad=True),)),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 3, 2, 1, True, False), (normal(1, 2, 6, grad=True),)),
    "adaptive_avg_pool1d": (lambda x: F.adaptive_avg_pool1d(x, 4), (normal(1, 2, 6, grad=True),)),
    "embedding": (lambda w: F.embedding(flambeau.tensor([1, 0, 1]), w), (normal(3, 2, grad=True),)),
    "bilinear interpolation": (
        lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
        (normal(1, 1, 3, 4, grad=True),),
    ),
    "reflect": (lambda x: F.pad(x, (2, 1), "reflect"), (normal(2, 4, grad=True),)),
    "attention": (
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        (normal(3, 4, grad=True), normal(3, 4, grad=True), normal(3, 2, grad=True)),
    ),
    "cross_entropy": (
        lambda x, w: F.cross_entropy(x, flambeau.tensor([0, 2, -100, 1]), w.detach(), label_smoothing=0.1),
        (normal(4, 3, grad=True), positive(3)),
    ),
    "cross_entropy probabilities": (
        lambda x, t: F.cross_entropy(x, t),
        (normal(4, 3, grad=True), positive(4, 3, grad=True)),
    ),
    "mse_loss": (F.mse_loss, (normal(4, grad=True), normal(4, grad=True))),
    "huber_loss": (lambda x, y: F.huber_loss(x, y, delta=0.5), (normal(4, grad=True), normal(4, grad=True))),
    "binary_cross_entropy": (F.binary_cross_entropy, (positive(4, grad=True), positive(4, grad=True))),
    "binary_cross_entropy_with_logits": (
        lambda x, y, p: F.binary_cross_entropy_with_logits(x, y, pos_weight=p),
        (normal(4, 3, grad=True), positive(4, 3, grad=True), positive(3, grad=True)),
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_finite_differences(name: str) -> None:
    function, inputs = GRADIENTS[name]
    assert gradcheck(function, inputs)


@pytest.mark.parametrize("name", sorted(set(GRADIENTS) - {"huber_loss", "binary_cross_entropy"}))
def test_second_gradients_are_finite_differences(name: str) -> None:
    function, inputs = GRADIENTS[name]
    assert gradgradcheck(function, inputs)


def test_only_what_needs_a_gradient_gets_one() -> None:
    for module_inputs in (
        (F.conv1d, normal(1, 2, 5), normal(3, 2, 2), normal(3)),
        (lambda x, w, b: F.layer_norm(x, (5,), w, b), normal(2, 5), normal(5), normal(5)),
        (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), normal(4, 3), normal(3), normal(3)),
        (F.linear, normal(2, 5), normal(3, 5), normal(3)),
    ):
        function, *tensors = module_inputs
        for needing in range(3):
            given = [t.detach().requires_grad_(i == needing) for i, t in enumerate(tensors)]
            function(*given).sum().backward()
            assert [t.grad is not None for t in given] == [i == needing for i in range(3)]


# -- in place, dtypes, devices ---------------------------------------------------------------------------------------

IN_PLACE = [
    (F.relu, ()), (F.relu6, ()), (F.hardtanh, ()), (F.leaky_relu, ()), (F.elu, ()), (F.selu, ()), (F.celu, ()),
    (F.silu, ()), (F.mish, ()), (F.hardsigmoid, ()), (F.hardswish, ()), (F.threshold, (0.1, 7.0)), (F.rrelu, ()),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments"), IN_PLACE, ids=[f.__name__ for f, _ in IN_PLACE])
def test_in_place_forms(function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    start = normal(7, grad=True)
    outside = function(start * 3, *arguments)
    outside.sum().backward()
    expected, start.grad = start.grad, None
    x = start * 3
    assert function(x, *arguments, inplace=True) is x
    assert_allclose(x.detach().numpy(), outside.detach().numpy())
    x.sum().backward()
    assert_allclose(start.grad.numpy(), expected.numpy())


def test_relu_in_all_its_forms() -> None:
    for relu in (F.relu, flambeau.relu, flambeau.Tensor.relu, F.relu_, flambeau.Tensor.relu_):
        assert relu(flambeau.tensor([-1.0, 2.0])).tolist() == [0.0, 2.0]


def test_integers_stay_integers() -> None:
    x = flambeau.tensor([-3, 2, 9])
    assert F.relu(x).dtype is flambeau.int64
    assert F.relu6(x).tolist() == [0, 2, 6]
    assert F.relu6(x).dtype is flambeau.int64
    assert F.max_pool1d(x.reshape(1, 1, 3), 2, 1, 1).tolist() == [[[-3, 2, 9, 9]]]


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_the_dtype_goes_through(kind: str) -> None:
    dtype = getattr(flambeau, kind)
    x = normal(2, 4, 6).to(dtype).requires_grad_()
    w = normal(3, 4, 3).to(dtype).requires_grad_()
    y = F.max_pool1d(F.gelu(F.conv1d(x, w, padding=1)), 2)
    y = F.group_norm(y, 3) + F.softmax(F.layer_norm(y, (3,)), -1) + F.interpolate(F.avg_pool1d(y, 3), 3)
    loss = F.cross_entropy(y.reshape(2, 9), flambeau.tensor([1, 2])) + F.mse_loss(y, y * 2)
    loss.backward()
    assert loss.dtype is y.dtype is x.grad.dtype is w.grad.dtype is dtype


def test_shapes_without_data() -> None:
    x = flambeau.empty(2, 4, 8, 8, device="meta", requires_grad=True)
    w = flambeau.empty(6, 4, 3, 3, device="meta", requires_grad=True)
    scale = flambeau.empty(6, device="meta")
    y = F.conv2d(x, w, padding=1)
    y = F.batch_norm(y, scale, scale, scale, scale, True)
    y = F.max_pool2d(F.gelu(F.relu(y)), 2)
    y = F.interpolate(F.dropout(y), scale_factor=1.5, mode="bilinear")
    assert tuple(y.shape) == (2, 6, 6, 6)
    y = F.adaptive_avg_pool2d(F.layer_norm(y, (6, 6)), 1).flatten(1)
    assert tuple(F.cross_entropy(y, flambeau.empty(2, dtype=flambeau.int64, device="meta")).shape) == ()
