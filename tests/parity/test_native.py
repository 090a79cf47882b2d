"""The functions that PyTorch has at its top level only: recurrent layers, native normalization, samplers, ..."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import flambeau

torch = pytest.importorskip("torch")

import opinfo  # noqa: E402


def drawn(*shape: int, seed: int = 0) -> Any:
    return torch.tensor(numpy.random.default_rng(seed).normal(size=shape), requires_grad=True)


def compare(name: str, *args: Any, library: str = "", **kwargs: Any) -> None:
    """Results and gradients of a function in both libraries."""
    ours, theirs = flambeau, torch
    for part in filter(None, library.split(".")):
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    own_args, own_kwargs = opinfo.convert(args), opinfo.convert(kwargs)
    expected = getattr(theirs, name)(*args, **kwargs)
    found = getattr(ours, name)(*own_args, **own_kwargs)
    assert not opinfo.difference(found, expected), opinfo.difference(found, expected)
    outputs = [o for o in opinfo.leaves(expected) if o.requires_grad]
    own_outputs = [o for o in opinfo.leaves(found) if o.requires_grad]
    assert len(outputs) == len(own_outputs)
    inputs = [t for t in opinfo.leaves(args, kwargs) if t.requires_grad]
    own_inputs = [t for t in opinfo.leaves(own_args, own_kwargs) if t.requires_grad]
    if outputs and inputs:
        their_gradients = torch.autograd.grad(sum((o * o).sum() for o in outputs), inputs, allow_unused=True)
        gradients = flambeau.autograd.grad(sum((o * o).sum() for o in own_outputs), own_inputs, allow_unused=True)
        for own, wanted in zip(gradients, their_gradients, strict=True):
            assert (own is None) == (wanted is None)
            assert own is None or not opinfo.difference(own, wanted, 10.0)


GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def parameters(gates: int, layers: int, directions: int, biases: bool, projected: int = 0) -> list[Any]:
    found, size = [], 4
    for layer in range(layers):
        columns = 3 if layer == 0 else (projected or size) * directions
        for _ in range(directions):
            shapes = [(gates * size, columns), (gates * size, projected or size)]
            shapes += [(gates * size,)] * 2 if biases else []
            shapes += [(projected, size)] if projected else []
            found += [drawn(*shape, seed=len(found) + i) * 0.3 for i, shape in enumerate(shapes)]
    return [p.detach().requires_grad_() for p in found]


@pytest.mark.parametrize("name", list(GATES))
@pytest.mark.parametrize(("layers", "bidirectional", "biases", "batch_first"), [
    (1, False, True, False), (2, True, True, True), (2, False, False, False)
])  # fmt: skip
def test_layers(name: str, layers: int, bidirectional: bool, biases: bool, batch_first: bool) -> None:
    directions = 1 + bidirectional
    states = [drawn(layers * directions, 2, 4, seed=90 + i) for i in range(2)]
    hx = states if name == "lstm" else states[0]
    params = parameters(GATES[name], layers, directions, biases)
    x = drawn(2, 5, 3) if batch_first else drawn(5, 2, 3)
    compare(name, x, hx, params, biases, layers, 0.0, False, bidirectional, batch_first)


@pytest.mark.parametrize("name", list(GATES))
def test_packed_layers(name: str) -> None:
    states = [drawn(2, 3, 4, seed=90 + i) for i in range(2)]
    hx = states if name == "lstm" else states[0]
    params = parameters(GATES[name], 1, 2, True)
    compare(name, drawn(6, 3), torch.tensor([3, 2, 1]), hx, params, True, 1, 0.0, False, True)


def test_projected_lstm() -> None:
    hx = [drawn(1, 2, 2, seed=8), drawn(1, 2, 4, seed=9)]
    compare("lstm", drawn(5, 2, 3), hx, parameters(4, 1, 1, True, 2), True, 1, 0.0, False, False, False)


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
def test_cells(name: str, biases: bool) -> None:
    states = [drawn(2, 4, seed=90 + i) for i in range(2)]
    hx = states if name == "lstm" else states[0]
    compare(f"{name}_cell", drawn(2, 3), hx, *parameters(GATES[name], 1, 1, biases))


def test_convolutions() -> None:
    compare("conv_tbc", drawn(5, 2, 3), drawn(2, 3, 4), drawn(4), 1)
    x, weight = drawn(2, 4, 5, 5), drawn(6, 2, 3, 3)
    compare("convolution", x, weight, drawn(6), (2, 2), (1, 1), (1, 1), False, (0, 0), 2)
    compare("convolution", x, drawn(4, 3, 2, 2), None, (2, 2), (0, 0), (1, 1), True, (1, 1), 2)


def test_samplers() -> None:
    grid = drawn(2, 3, 3, 2) * 0.4
    for mode in range(3):
        compare("grid_sampler", drawn(2, 3, 4, 5), grid.detach(), mode, 1, True)
    compare("affine_grid_generator", drawn(2, 2, 3), (2, 3, 4, 5), False)


def test_normalization() -> None:
    compare("native_group_norm", drawn(2, 4, 3, 2), drawn(4), drawn(4), 2, 4, 6, 2, 1e-5)
    for training in (True, False):
        statistics = [torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)]
        compare("native_batch_norm", drawn(5, 4), drawn(4), drawn(4), *statistics, training, 0.1, 1e-5)


def test_ctc_loss_by_number() -> None:
    log_probs = torch.log_softmax(drawn(6, 2, 4), 2).detach()
    for reduction in range(3):
        compare("ctc_loss", log_probs, torch.tensor([[1, 2], [3, 1]]), (6, 5), (2, 1), 0, reduction, False)


def test_pooling_with_indices() -> None:
    compare("adaptive_max_pool1d", drawn(2, 3, 7), 3)
    compare("max_pool1d_with_indices", drawn(2, 3, 7), 2)
    for dims in (2, 3):
        samples = torch.tensor(numpy.random.default_rng(1).uniform(size=(2, 3, dims)))
        for suffix in ("", "_with_indices"):
            compare(
                f"fractional_max_pool{dims}d{suffix}", drawn(2, 3, 7, 6, 5)[(..., *[0] * (3 - dims))].detach(), 2, 3,
                _random_samples=samples, library="nn.functional",
            )  # fmt: skip


def test_embedding_renorm() -> None:
    weight = drawn(4, 3).detach()
    own = opinfo.convert(weight)
    indices = torch.tensor([0, 2, 2])
    torch.embedding_renorm_(weight, indices, 0.5, 2.0)
    flambeau.embedding_renorm_(own, opinfo.convert(indices), 0.5, 2.0)
    assert not opinfo.difference(own, weight)


@pytest.mark.parametrize("name", ["dropout_", "alpha_dropout_", "feature_dropout", "feature_dropout_"])
def test_dropouts_keep_everything_in_evaluation(name: str) -> None:
    compare(name, drawn(2, 3, 4).detach(), 0.5, False)


def test_native_dropout() -> None:
    x = flambeau.ones(1000)
    out, kept = flambeau.native_dropout(x, 0.25, True)
    assert flambeau.equal(out, kept.to(flambeau.float32) / 0.75)
    assert 650 < int(kept.sum()) < 850
    assert all(t.tolist() == [1.0, 1.0] for t in flambeau.native_dropout(flambeau.ones(2), 0.5, False))


def test_adaptive_softmax() -> None:
    arguments = (8, 12, [3, 7], 2.0, True)
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(*arguments).double()
    own = flambeau.nn.AdaptiveLogSoftmaxWithLoss(*arguments).double()
    assert repr(own) == repr(theirs)
    own.load_state_dict({name: opinfo.convert(value) for name, value in theirs.state_dict().items()})
    x, target = drawn(6, 8).detach(), torch.tensor([0, 2, 3, 6, 7, 11])
    assert not opinfo.difference(tuple(own(opinfo.convert(x), opinfo.convert(target))), tuple(theirs(x, target)))
    for name in ("log_prob", "predict"):
        assert not opinfo.difference(getattr(own, name)(opinfo.convert(x)), getattr(theirs, name)(x))


@pytest.mark.parametrize("bias", [True, False])
def test_fusion(bias: bool) -> None:
    arguments = [drawn(4, 3, 2, 2), drawn(4) if bias else None, drawn(4), drawn(4).abs(), 1e-5, drawn(4), drawn(4)]
    arguments = [a.detach() if isinstance(a, torch.Tensor) else a for a in arguments]
    theirs = torch.nn.utils.fuse_conv_bn_weights(*arguments)
    own = flambeau.nn.utils.fuse_conv_bn_weights(*opinfo.convert(arguments))
    assert not opinfo.difference(own, theirs)
