"""Layers: what they hold at the beginning, what they compute, the arguments they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import signal, special

import flambeau
from flambeau import nn

RNG = np.random.default_rng(3)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def double(module: nn.Module) -> nn.Module:
    return module.double()


def tensor(values: np.ndarray) -> Any:
    return flambeau.from_numpy(values.copy())


def result(module: Any, *inputs: np.ndarray) -> np.ndarray:
    return module(*map(tensor, inputs)).detach().numpy()


# -- against NumPy and SciPy -------------------------------------------------------------------------------------------


def test_linear() -> None:
    layer, x = double(nn.Linear(4, 3)), normal(2, 5, 4)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    np.testing.assert_allclose(result(layer, x), x @ weight.T + bias)


def test_bilinear() -> None:
    layer, left, right = double(nn.Bilinear(4, 5, 3)), normal(6, 4), normal(6, 5)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    np.testing.assert_allclose(result(layer, left, right), np.einsum("ni,oij,nj->no", left, weight, right) + bias)


def test_convolution() -> None:
    layer, x = double(nn.Conv2d(2, 3, (3, 2))), normal(1, 2, 6, 5)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    expected = [
        sum(signal.correlate2d(x[0, i], weight[o, i], mode="valid") for i in range(2)) + bias[o] for o in range(3)
    ]
    np.testing.assert_allclose(result(layer, x)[0], expected)


def test_transposed_convolution() -> None:
    layer, x = double(nn.ConvTranspose1d(2, 3, 4)), normal(1, 2, 6)
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    expected = [sum(np.convolve(x[0, i], weight[i, o]) for i in range(2)) + bias[o] for o in range(3)]
    np.testing.assert_allclose(result(layer, x)[0], expected)


@pytest.mark.parametrize("momentum", [0.3, None])
def test_batch_norm(momentum: float | None) -> None:
    layer = double(nn.BatchNorm2d(3, momentum=momentum))
    batches = [normal(4, 3, 5, 2) for _ in range(3)]
    mean, variance = np.zeros(3), np.ones(3)
    for count, x in enumerate(batches, 1):
        own_mean, own_variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
        expected = (x - own_mean[:, None, None]) / np.sqrt(own_variance[:, None, None] + 1e-5)
        np.testing.assert_allclose(result(layer, x), expected)
        share = 1 / count if momentum is None else momentum
        mean += share * (own_mean - mean)
        variance += share * (own_variance * 40 / 39 - variance)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean)
    np.testing.assert_allclose(layer.running_var.numpy(), variance)
    assert layer.num_batches_tracked.item() == 3
    expected = (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)
    np.testing.assert_allclose(result(layer.eval(), x), expected)
    assert layer.num_batches_tracked.item() == 3
    layer.reset_running_stats()
    assert layer.running_var.tolist() == [1.0] * 3
    assert layer.num_batches_tracked.item() == 0


def test_batch_norm_without_running_statistics_uses_the_batch() -> None:
    layer, x = double(nn.BatchNorm1d(3, track_running_stats=False)), normal(5, 3)
    assert list(layer.state_dict()) == ["weight", "bias"]
    np.testing.assert_allclose(result(layer.eval(), x), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5))


def test_layer_norm_group_norm_rms_norm() -> None:
    x = normal(2, 4, 3)
    expected = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(result(double(nn.LayerNorm((4, 3))), x), expected)
    grouped = x.reshape(2, 2, 6)
    expected = (grouped - grouped.mean(2, keepdims=True)) / np.sqrt(grouped.var(2, keepdims=True) + 1e-5)
    np.testing.assert_allclose(result(double(nn.GroupNorm(2, 4)), x), expected.reshape(x.shape))
    expected = x / np.sqrt((x**2).mean(2, keepdims=True) + 1e-3)
    np.testing.assert_allclose(result(double(nn.RMSNorm(3, eps=1e-3)), x), expected)


def test_instance_norm_normalizes_each_sample() -> None:
    layer, x = double(nn.InstanceNorm1d(3)), normal(2, 3, 6)
    expected = (x - x.mean(2, keepdims=True)) / np.sqrt(x.var(2, keepdims=True) + 1e-5)
    np.testing.assert_allclose(result(layer, x), expected)
    np.testing.assert_allclose(result(layer, x[0]), expected[0])
    with pytest.warns(UserWarning, match="input's size at dim=1 does not match num_features"):
        layer(tensor(normal(2, 4, 6)))
    with pytest.raises(ValueError, match=r"expected input's size at dim=1 to match num_features \(3\), but got: 4\."):
        nn.InstanceNorm1d(3, affine=True)(flambeau.zeros(2, 4, 6))


def test_embedding() -> None:
    layer = nn.Embedding(5, 2, padding_idx=-1)
    assert layer.padding_idx == 4
    assert layer.weight[4].tolist() == [0.0, 0.0]
    picked = np.array([[0, 4], [3, 0]])
    np.testing.assert_array_equal(result(layer, picked), layer.weight.detach().numpy()[picked])
    layer(tensor(picked)).sum().backward()
    assert layer.weight.grad.sum(1).tolist() == [4.0, 0.0, 0.0, 2.0, 0.0]
    table = flambeau.arange(6.0).reshape(3, 2)
    frozen = nn.Embedding.from_pretrained(table)
    assert not frozen.weight.requires_grad
    assert frozen(flambeau.tensor(1)).tolist() == [2.0, 3.0]
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad


def test_gelu_and_softmax() -> None:
    x = normal(3, 4)
    np.testing.assert_allclose(result(nn.GELU(), x), x * special.ndtr(x))
    np.testing.assert_allclose(result(nn.Softmax(1), x), special.softmax(x, 1))
    np.testing.assert_allclose(result(nn.LogSoftmax(0), x), special.log_softmax(x, 0))
    np.testing.assert_allclose(result(nn.Softmin(1), x), special.softmax(-x, 1))


def test_losses_of_probabilities() -> None:
    scores, target = normal(5, 3), RNG.integers(0, 3, 5)
    picked = special.log_softmax(scores, 1)[np.arange(5), target]
    np.testing.assert_allclose(result(nn.CrossEntropyLoss(), scores, target), -picked.mean())
    np.testing.assert_allclose(
        result(nn.NLLLoss(reduction="sum"), special.log_softmax(scores, 1), target), -picked.sum()
    )
    chances = RNG.uniform(size=(5, 3))
    expected = -(chances * special.log_expit(scores) + (1 - chances) * special.log_expit(-scores))
    np.testing.assert_allclose(result(nn.BCEWithLogitsLoss(reduction="none"), scores, chances), expected)
    np.testing.assert_allclose(result(nn.BCELoss(), special.expit(scores), chances), expected.mean())
    p, q = special.softmax(normal(4, 3), 1), special.softmax(normal(4, 3), 1)
    np.testing.assert_allclose(result(nn.KLDivLoss(reduction="sum"), np.log(q), p), special.rel_entr(p, q).sum())


def test_regression_losses() -> None:
    a, b = normal(4, 3), normal(4, 3)
    np.testing.assert_allclose(result(nn.MSELoss(), a, b), ((a - b) ** 2).mean())
    np.testing.assert_allclose(result(nn.L1Loss(reduction="none"), a, b), abs(a - b))
    np.testing.assert_allclose(result(nn.HuberLoss(reduction="none", delta=0.7), a, b), special.huber(0.7, a - b))
    np.testing.assert_allclose(
        result(nn.SmoothL1Loss(reduction="none", beta=0.7), a, b), special.huber(0.7, a - b) / 0.7
    )


def test_distances() -> None:
    a, b = normal(4, 3), normal(4, 3)
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(result(nn.CosineSimilarity(), a, b), cosines)
    np.testing.assert_allclose(result(nn.PairwiseDistance(p=3), a, b), (abs(a - b + 1e-6) ** 3).sum(1) ** (1 / 3))


# -- random layers -----------------------------------------------------------------------------------------------------


def test_dropout() -> None:
    layer, x = nn.Dropout(0.25), flambeau.ones(100, 100)
    dropped = layer(x).numpy()
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1 / 0.75)}
    # Five standard deviations of the share of 10,000 elements.
    assert abs((dropped == 0).mean() - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 10_000)
    assert layer.eval()(x) is x or np.array_equal(layer(x).numpy(), x.numpy())
    assert nn.Dropout(1.0)(x).sum().item() == 0


@pytest.mark.parametrize(("layer", "shape"), [("Dropout1d", (20, 10, 3)), ("Dropout2d", (20, 10, 3, 2)),
                                              ("Dropout3d", (20, 10, 3, 2, 2))])  # fmt: skip
def test_dropout_of_channels(layer: str, shape: tuple[int, ...]) -> None:
    dropped = getattr(nn, layer)(0.5)(flambeau.ones(shape)).numpy().reshape(200, -1)
    assert (dropped == dropped[:, :1]).all()
    assert 0 < (dropped[:, 0] == 0).sum() < 200


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = flambeau.randn(200, 500)
    dropped = nn.AlphaDropout(0.3)(x).numpy()
    assert abs(dropped.mean()) < 0.03
    assert abs(dropped.var() - 1) < 0.03


def test_rrelu() -> None:
    layer, x = nn.RReLU(0.1, 0.3), -flambeau.ones(1000)
    slopes = -layer(x).numpy()
    assert slopes.min() >= 0.1
    assert slopes.max() <= 0.3
    assert len(np.unique(slopes)) > 900
    np.testing.assert_allclose(layer.eval()(x).numpy(), -0.2, rtol=1e-6)


@pytest.mark.parametrize("layer", [nn.Dropout, nn.AlphaDropout])
def test_dropout_probabilities(layer: Any) -> None:
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f"dropout probability has to be between 0 and 1, but got {p}"):
            layer(p)


# -- what they hold at the beginning -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (nn.Linear(400, 300), 400),
        (nn.Conv2d(16, 32, 5), 16 * 25),
        (nn.Conv1d(16, 32, 5, groups=4), 4 * 5),
        (nn.ConvTranspose2d(16, 32, 5), 32 * 25),
        (nn.Bilinear(50, 40, 30), 50),
    ],
)
def test_weights_are_uniform_within_the_square_root_of_the_fan(layer: Any, fan_in: int) -> None:
    bound = 1 / math.sqrt(fan_in)
    for parameter in layer.parameters():
        assert abs(parameter.detach().numpy()).max() <= bound
    weight = layer.weight.detach().numpy()
    assert abs(weight).max() > 0.99 * bound
    # The standard deviation of a uniform distribution, within five of its own standard errors.
    assert abs(weight.std() / (bound / math.sqrt(3)) - 1) < 5 / math.sqrt(weight.size)


def test_the_same_seed_gives_the_same_layer() -> None:
    flambeau.manual_seed(5)
    first = nn.Linear(3, 3)
    flambeau.manual_seed(5)
    again = nn.Linear(3, 3)
    assert first.weight.tolist() == again.weight.tolist()
    again.reset_parameters()
    assert first.weight.tolist() != again.weight.tolist()


@pytest.mark.parametrize("make", [
    lambda **options: nn.Linear(2, 3, **options),
    lambda **options: nn.Conv2d(2, 3, 2, **options),
    lambda **options: nn.BatchNorm1d(2, **options),
    lambda **options: nn.LayerNorm(2, **options),
    lambda **options: nn.Embedding(2, 3, **options),
    lambda **options: nn.PReLU(**options),
])  # fmt: skip
def test_device_and_dtype(make: Any) -> None:
    layer = make(device="meta", dtype=flambeau.float64)
    floating = [value for value in layer.state_dict().values() if value.is_floating_point()]
    assert {value.dtype for value in floating} == {flambeau.float64}
    assert all(value.is_meta for value in layer.state_dict().values())


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: nn.Conv2d(4, 6, 3, groups=0), ValueError, "groups must be a positive integer"),
        (lambda: nn.Conv2d(4, 6, 3, groups=3), ValueError, "in_channels must be divisible by groups"),
        (lambda: nn.Conv2d(6, 4, 3, groups=3), ValueError, "out_channels must be divisible by groups"),
        (lambda: nn.Conv2d(4, 4, 3, padding="all"), ValueError, "Invalid padding string 'all'"),
        (lambda: nn.Conv2d(4, 4, 3, 2, "same"), ValueError, "padding='same' is not supported for strided"),
        (lambda: nn.Conv2d(4, 4, 3, padding_mode="x"), ValueError, "padding_mode must be one of 'zeros', 'reflect'"),
        (lambda: nn.ConvTranspose1d(4, 4, 3, padding_mode="reflect"), ValueError, 'Only "zeros" padding mode'),
        (lambda: nn.GroupNorm(3, 4), ValueError, r"num_channels \(4\) must be divisible by num_groups \(3\)"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), AssertionError, r"within num_embeddings \(3\), got 3"),
        (lambda: nn.Embedding.from_pretrained(flambeau.zeros(3)), AssertionError, "expected to be 2-dimensional"),
        (
            lambda: nn.Embedding(3, 2, _weight=flambeau.zeros(2, 3)),
            AssertionError,
            r"\[2, 3\] does not match .* \[3, 2\]",
        ),
        (lambda: nn.Bilinear(0, 2, 2), ValueError, r"in1_features must be > 0, but got \(in1_features=0\)"),
        (lambda: nn.Hardtanh(1, 1), AssertionError, r"max_val \(1\) must be greater than min_val \(1\)"),
        (lambda: nn.Unflatten(1, 3), TypeError, "unflattened_size must be a tuple of ints, but found type int"),
        (lambda: nn.Unflatten(1, (2, 1.5)), TypeError, "found element of type float at pos 1"),
        (lambda: nn.HuberLoss(delta="1"), TypeError, "delta must be a float or int"),
        (lambda: nn.TripletMarginLoss(margin=0), ValueError, "expected margin to be greater than 0, got 0"),
        (lambda: nn.MultiMarginLoss(p=3), ValueError, "only p == 1 and p == 2 are supported, got 3"),
        (lambda: nn.MultiMarginLoss(weight=flambeau.ones(2, 2)), ValueError, "weight must be 1-dimensional"),
        (lambda: nn.Conv1d(1, 1, 1).forward(), TypeError, "missing 1 required positional argument: 'input'"),
    ],
)
def test_refused_arguments(make: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "dims", "expected"),
    [
        (nn.BatchNorm1d(3), 4, "2D or 3D"),
        (nn.BatchNorm2d(3), 3, "4D"),
        (nn.BatchNorm3d(3), 4, "5D"),
        (nn.InstanceNorm2d(3), 5, "3D or 4D"),
        (nn.CircularPad2d(1), 2, "3D or 4D"),
    ],
)
def test_numbers_of_dimensions(layer: Any, dims: int, expected: str) -> None:
    with pytest.raises(ValueError, match=rf"expected {expected} input \(got {dims}D input\)"):
        layer(flambeau.zeros([3] * dims))


def test_softmax2d_takes_images() -> None:
    with pytest.raises(ValueError, match="expected input to be 3D or 4D, got 2D instead"):
        nn.Softmax2d()(flambeau.zeros(2, 2))


def test_deprecated_arguments_warn() -> None:
    with pytest.warns(FutureWarning, match="keyword argument `min_value` is deprecated and renamed to `min_val`"):
        assert nn.Hardtanh(min_value=-3).min_val == -3
    with pytest.warns(UserWarning, match="please use reduction='sum' instead"):
        assert nn.L1Loss(size_average=False).reduction == "sum"


# -- in place ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.SiLU, nn.Hardtanh,
                                  nn.Hardswish, nn.Hardsigmoid, nn.Mish])  # fmt: skip
def test_in_place_activations_overwrite_their_input(make: Any) -> None:
    values = normal(3, 4)
    x = tensor(values)
    expected = make()(tensor(values)).numpy()
    output = make(inplace=True)(x)
    assert output is x
    np.testing.assert_allclose(x.numpy(), expected)


def test_a_small_network_learns_xor() -> None:
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    x = flambeau.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = flambeau.tensor([[0.0], [1.0], [1.0], [0.0]])
    optimizer = flambeau.optim.Adam(net.parameters(), lr=0.05)
    loss_of = nn.BCEWithLogitsLoss()
    for _ in range(300):
        optimizer.zero_grad()
        loss = loss_of(net(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert ((net(x) > 0).float() == y).all()
