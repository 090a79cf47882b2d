"""Rarer modules: adaptive softmax, fused layers, DataParallel, the linear cross-entropy; paths and names."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy
import pytest

import flambeau
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.nn.attention import SDPBackend, sdpa_kernel


def array(*shape: int, seed: int = 0) -> Any:
    return flambeau.tensor(numpy.random.default_rng(seed).normal(size=shape))


# -- adaptive softmax ------------------------------------------------------------------------------------------------


@pytest.fixture
def adaptive() -> Any:
    return nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 7], div_value=2.0, head_bias=True, dtype=flambeau.float64)


def test_adaptive_softmax_sums_to_one_and_agrees_with_itself(adaptive: Any) -> None:
    x, target = array(6, 8), flambeau.tensor([0, 2, 3, 6, 7, 11])
    log_probs = adaptive.log_prob(x)
    numpy.testing.assert_allclose(log_probs.exp().sum(1).tolist(), [1.0] * 6, rtol=1e-12)
    output, loss = adaptive(x, target)
    numpy.testing.assert_allclose(output.tolist(), log_probs.gather(1, target.unsqueeze(1)).squeeze(1).tolist())
    assert math.isclose(loss.item(), -output.mean().item())
    assert adaptive.predict(x).tolist() == log_probs.argmax(1).tolist()
    alone = adaptive(x[4], target[4])
    assert math.isclose(alone.output.item(), output[4].item())


def test_adaptive_softmax_has_gradients(adaptive: Any) -> None:
    x = array(5, 8).requires_grad_()
    target = flambeau.tensor([1, 4, 5, 9, 10])
    assert flambeau.autograd.gradcheck(lambda x: adaptive(x, target).output, (x,))
    adaptive(x, target).loss.backward()
    assert all(p.grad is not None for p in adaptive.parameters())


@pytest.mark.parametrize("cutoffs", [[], [0, 3], [3, 3], [5, 3], [3, 12], [2.5]])
def test_adaptive_softmax_refuses_cutoffs(cutoffs: Any) -> None:
    with pytest.raises(ValueError, match="cutoffs should be a sequence"):
        nn.AdaptiveLogSoftmaxWithLoss(8, 12, cutoffs)


def test_adaptive_softmax_refuses_targets(adaptive: Any) -> None:
    with pytest.raises(RuntimeError, match=r"Target values should be in \[0, 11\], but values in range \[0, 12\]"):
        adaptive(array(2, 8), flambeau.tensor([0, 12]))
    with pytest.raises(RuntimeError, match="same size in the batch dimension, got 2 and 3"):
        adaptive(array(2, 8), flambeau.tensor([0, 1, 2]))


# -- fused layers ----------------------------------------------------------------------------------------------------


def trained(norm: Any) -> Any:
    """A batch norm with statistics and weights of its own, in evaluation mode."""
    with flambeau.no_grad():
        norm.running_mean.copy_(array(norm.num_features, seed=1))
        norm.running_var.copy_(array(norm.num_features, seed=2).abs() + 0.5)
        norm.weight.copy_(array(norm.num_features, seed=3))
        norm.bias.copy_(array(norm.num_features, seed=4))
    return norm.eval()


@pytest.mark.parametrize("bias", [True, False])
def test_a_fused_convolution_gives_the_same(bias: bool) -> None:
    conv = nn.Conv2d(3, 4, 3, bias=bias, dtype=flambeau.float64).eval()
    norm = trained(nn.BatchNorm2d(4, dtype=flambeau.float64))
    x = array(2, 3, 5, 5)
    fused = nn.utils.fuse_conv_bn_eval(conv, norm)
    numpy.testing.assert_allclose(fused(x).tolist(), norm(conv(x)).tolist(), rtol=1e-10, atol=1e-12)
    assert isinstance(fused.bias, nn.Parameter)
    assert conv.bias is None or not flambeau.equal(conv.weight, fused.weight)


def test_a_fused_transposed_convolution_and_linear_layer_give_the_same() -> None:
    conv = nn.ConvTranspose1d(3, 4, 2, dtype=flambeau.float64).eval()
    norm = trained(nn.BatchNorm1d(4, dtype=flambeau.float64))
    x = array(2, 3, 5)
    fused = nn.utils.fuse_conv_bn_eval(conv, norm, transpose=True)
    numpy.testing.assert_allclose(fused(x).tolist(), norm(conv(x)).tolist(), rtol=1e-10, atol=1e-12)
    linear = nn.Linear(3, 4, dtype=flambeau.float64).eval()
    fused = nn.utils.fuse_linear_bn_eval(linear, norm)
    numpy.testing.assert_allclose(fused(x[:, :, 0]).tolist(), norm(linear(x[:, :, 0])).tolist(), rtol=1e-10)


def test_layers_in_training_are_not_fused() -> None:
    with pytest.raises(AssertionError, match="Fusion only for eval"):
        nn.utils.fuse_linear_bn_eval(nn.Linear(3, 4), nn.BatchNorm1d(4))


# -- DataParallel ----------------------------------------------------------------------------------------------------


def test_data_parallel_without_devices_calls_the_module() -> None:
    model = nn.DataParallel(nn.Linear(3, 2))
    x = flambeau.ones(4, 3)
    assert flambeau.equal(model(x), model.module(x))
    assert list(model.state_dict()) == ["module.weight", "module.bias"]


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_data_parallel_over_devices(rows: int) -> None:
    """The CPU counts as three devices: the batch is divided, the results put together, the gradients add up."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4).eval(), nn.ReLU(), nn.Linear(4, 2))
    x = flambeau.tensor(numpy.random.default_rng(0).normal(size=(rows, 3)), dtype=flambeau.float32)
    model = nn.DataParallel(module, device_ids=["cpu", "cpu", "cpu"])
    output = model(x)
    numpy.testing.assert_allclose(output.tolist(), module(x).tolist(), rtol=1e-5, atol=1e-6)
    found = flambeau.autograd.grad(output.sum(), list(module.parameters()))
    expected = flambeau.autograd.grad(module(x).sum(), list(module.parameters()))
    for own, wanted in zip(found, expected, strict=True):
        numpy.testing.assert_allclose(own.tolist(), wanted.tolist(), rtol=1e-4, atol=1e-6)
    with flambeau.no_grad():
        assert not model(x).requires_grad


def test_scatter_and_gather_take_structures() -> None:
    given = {"x": flambeau.arange(5), "rest": [flambeau.ones(5, 2), "name"]}
    pieces = nn.parallel.scatter(given, ["cpu", "cpu"])
    assert [p["x"].tolist() for p in pieces] == [[0, 1, 2], [3, 4]]
    assert [p["rest"][1] for p in pieces] == ["name", "name"]
    again = nn.parallel.gather([{"x": p["x"], "y": p["rest"][0].sum()} for p in pieces], "cpu")
    assert again["x"].tolist() == [0, 1, 2, 3, 4]
    assert again["y"].tolist() == [6.0, 4.0]


# -- attention -------------------------------------------------------------------------------------------------------


def test_tf32_is_the_precision_of_products() -> None:
    matmul = flambeau.backends.cuda.matmul
    assert (matmul.allow_tf32, matmul.fp32_precision, flambeau.get_float32_matmul_precision()) == (
        False,
        "ieee",
        "highest",
    )
    try:
        matmul.allow_tf32 = True
        assert flambeau.get_float32_matmul_precision() == "high" and matmul.fp32_precision == "tf32"
        flambeau.set_float32_matmul_precision("highest")
        assert not matmul.allow_tf32
        matmul.fp32_precision = "tf32"
        assert matmul.allow_tf32
    finally:
        matmul.fp32_precision = "ieee"
    matmul.allow_fp16_accumulation = False
    with pytest.raises(RuntimeError, match="fp32_precision: expected 'tf32', 'ieee' or 'none', got 'fp8'"):
        matmul.fp32_precision = "fp8"
    with pytest.raises(AttributeError, match="matmul has no switch 'allow_tf23'; there are: allow_tf32, "):
        matmul.allow_tf23 = True


def test_the_switches_of_cudnn_are_kept() -> None:
    cudnn = flambeau.backends.cudnn
    before = cudnn.set_flags(_benchmark=True)
    assert before == (True, False, 10, False, True) and cudnn.benchmark
    assert cudnn.set_flags(_benchmark=False)[1]


def test_the_choice_of_attention_is_kept_and_changes_nothing() -> None:
    q, k, v = (array(2, 3, 4, seed=s) for s in range(3))
    expected = F.scaled_dot_product_attention(q, k, v)
    switches = flambeau.backends.cuda
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]):
        assert switches.math_sdp_enabled()
        assert switches.flash_sdp_enabled()
        assert not switches.mem_efficient_sdp_enabled()
        assert flambeau.equal(F.scaled_dot_product_attention(q, k, v), expected)
    assert switches.mem_efficient_sdp_enabled()
    with switches.sdp_kernel(enable_math=False):
        assert not switches.math_sdp_enabled()
    assert switches.math_sdp_enabled()
    with pytest.raises(AssertionError, match="must be an instance of SDPBackend or a list"), sdpa_kernel("math"):
        pass


def test_attention_masks_groups_and_scales() -> None:
    """Against the formula, written out."""
    q, k, v = array(2, 4, 3, 5), array(2, 2, 6, 5, seed=1), array(2, 2, 6, 7, seed=2)
    mask = flambeau.tensor(numpy.random.default_rng(3).normal(size=(3, 6)))
    found = F.scaled_dot_product_attention(q, k, v, mask, scale=0.3, enable_gqa=True).numpy()
    keys, values = (numpy.repeat(t.numpy(), 2, 1) for t in (k, v))
    scores = 0.3 * q.numpy() @ keys.swapaxes(-1, -2) + mask.numpy()
    weights = numpy.exp(scores - scores.max(-1, keepdims=True))
    numpy.testing.assert_allclose(found, weights / weights.sum(-1, keepdims=True) @ values, rtol=1e-10)


# -- linear cross-entropy --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_in_pieces_is_the_loss(reduction: str, weighted: bool) -> None:
    x, matrix, bias = (array(*s).requires_grad_() for s in ((7, 3), (5, 3), (5,)))
    target = flambeau.tensor([0, 4, -100, 2, 2, 1, -100])
    settings: dict[str, Any] = {"reduction": reduction, "weight": array(5).abs() if weighted else None}
    expected = F.cross_entropy(F.linear(x, matrix, bias), target, **settings)
    options = nn.LinearCrossEntropyOptions(batch_chunk_size=3)
    found = F.linear_cross_entropy(x, matrix, target, linear_bias=bias, options=options, **settings)
    numpy.testing.assert_allclose(found.tolist(), expected.tolist(), rtol=1e-12)
    tensors = [x, matrix, bias]
    for own, wanted in zip(
        flambeau.autograd.grad(found.sum(), tensors), flambeau.autograd.grad(expected.sum(), tensors), strict=True
    ):
        numpy.testing.assert_allclose(own.tolist(), wanted.tolist(), rtol=1e-10, atol=1e-14)


def test_sizes_of_pieces() -> None:
    assert nn.LinearCrossEntropyOptions(chunking_method="aspect_ratio").rows_of(100, 10, 100) == 16
    assert nn.LinearCrossEntropyOptions().rows_of(100, 10, 100) == 8
    assert nn.LinearCrossEntropyOptions(chunking_method=None).rows_of(100, 10, 100) == 100
    with pytest.raises(ValueError, match="pass only one"):
        nn.LinearCrossEntropyOptions(batch_chunk_size=3, chunking_method="aspect_ratio").rows_of(100, 10, 100)
    with pytest.raises(ValueError, match="invalid chunking_method: 'square'"):
        nn.LinearCrossEntropyOptions(chunking_method="square")


# -- normalization across channels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, 5])
def test_cross_map_lrn(size: int) -> None:
    x = array(2, 7, 3, 2)
    squares = x.numpy() ** 2
    half = (size - 1) // 2
    sums = numpy.stack([squares[:, max(c - half, 0) : c + half + 1].sum(1) for c in range(7)], 1)
    expected = x.numpy() / (1.5 + 0.3 / size * sums) ** 0.6
    numpy.testing.assert_allclose(nn.CrossMapLRN2d(size, 0.3, 0.6, 1.5)(x).numpy(), expected, rtol=1e-12)
    assert repr(nn.CrossMapLRN2d(5)) == "CrossMapLRN2d(5, alpha=0.0001, beta=0.75, k=1)"


# -- names -----------------------------------------------------------------------------------------------------------


def test_functions_that_are_ops_can_be_pickled() -> None:
    for name in ("gelu", "softplus", "relu", "layer_norm", "max_pool2d", "normalize"):
        function = getattr(F, name)
        assert pickle.loads(pickle.dumps(function)) is function


def test_paths_that_programs_import() -> None:
    from flambeau.nn.modules.batchnorm import _BatchNorm
    from flambeau.nn.modules.conv import _ConvNd
    from flambeau.nn.modules.instancenorm import _InstanceNorm
    from flambeau.nn.modules.linear import NonDynamicallyQuantizableLinear
    from flambeau.nn.modules.module import Module
    from flambeau.nn.modules.utils import _ntuple, _pair, _reverse_repeat_tuple, _single, _triple

    assert issubclass(nn.BatchNorm2d, _BatchNorm)
    assert issubclass(nn.Conv1d, _ConvNd)
    assert issubclass(nn.InstanceNorm1d, _InstanceNorm)
    assert issubclass(NonDynamicallyQuantizableLinear, nn.Linear)
    assert Module is nn.Module
    assert (_single(2), _pair((1, 2)), _triple(0), _ntuple(4)(1)) == ((2,), (1, 2), (0, 0, 0), (1, 1, 1, 1))
    assert _reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)


def test_factory_kwargs() -> None:
    assert nn.factory_kwargs({"device": "cpu", "factory_kwargs": {"dtype": 1}}) == {"device": "cpu", "dtype": 1}
    assert nn.factory_kwargs(None) == {}
    with pytest.raises(TypeError, match="device specified twice"):
        nn.factory_kwargs({"device": "cpu", "factory_kwargs": {"device": "cpu"}})
    with pytest.raises(TypeError, match=r"unexpected arguments \['size'\]"):
        nn.factory_kwargs({"size": 3})


def test_stateless_functional_call_points_to_the_new_one() -> None:
    module = nn.Linear(2, 1)
    state = {"weight": flambeau.ones(1, 2), "bias": flambeau.zeros(1)}
    with pytest.warns(FutureWarning, match="deprecated in favour of func.functional_call"):
        result = nn.utils.stateless.functional_call(module, state, (flambeau.ones(1, 2),))
    assert result.item() == 2.0
