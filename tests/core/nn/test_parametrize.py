"""Parameters computed from others: registering, the parametrizations there are, their older forms, pruning."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn
from flambeau.nn import utils
from flambeau.nn.utils import parametrizations, parametrize, prune


class Symmetric(nn.Module):
    def forward(self, X: Any) -> Any:
        return X.triu() + X.triu(1).transpose(-1, -2)

    def right_inverse(self, A: Any) -> Any:
        return A.triu()


class Double(nn.Module):
    calls = 0

    def forward(self, X: Any) -> Any:
        Double.calls += 1
        return 2 * X


class Exp(nn.Module):
    def forward(self, X: Any) -> Any:
        return X.exp()

    def right_inverse(self, A: Any) -> Any:
        return A.log()


class Sum(nn.Module):
    def forward(self, a: Any, b: Any) -> Any:
        return a + b

    def right_inverse(self, X: Any) -> Any:
        return 0.25 * X, 0.75 * X


# -- registering -------------------------------------------------------------------------------------------------------


def test_a_parameter_is_computed_from_the_original() -> None:
    layer = nn.Linear(3, 3)
    weight = layer.weight
    assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
    assert parametrize.is_parametrized(layer) and parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    assert flambeau.equal(layer.weight, layer.weight.T)
    assert layer.parametrizations.weight.original is weight
    assert type(layer).__name__ == "ParametrizedLinear" and isinstance(layer, nn.Linear)
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original"]
    assert "weight" not in dict(layer.named_parameters())
    x = flambeau.randn(2, 3)
    assert flambeau.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    layer(x).sum().backward()
    assert (weight.grad.tril(-1) == 0).all() and (weight.grad != 0).any()


def test_other_modules_of_the_class_are_left_alone() -> None:
    layer, other = nn.Linear(3, 3), nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert type(other) is nn.Linear and isinstance(other.weight, nn.Parameter)


def test_assignment_goes_through_the_inverse() -> None:
    layer = nn.Linear(3, 3)
    with flambeau.no_grad():
        layer.weight.copy_(flambeau.rand(3, 3) + 1.0)
    before = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Exp())
    assert flambeau.allclose(layer.weight, before)  # what the inverse is for
    layer.weight = flambeau.full((3, 3), 5.0)
    assert flambeau.allclose(layer.weight, flambeau.tensor(5.0))
    assert flambeau.allclose(layer.parametrizations.weight.original, flambeau.tensor(5.0).log())
    parametrize.register_parametrization(layer, "bias", Double())
    with pytest.raises(RuntimeError, match="parametrization Double does not implement right_inverse"):
        layer.bias = flambeau.zeros(3)


def test_several_parametrizations_are_applied_in_order() -> None:
    layer = nn.Linear(3, 3)
    original = layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Double())
    parametrize.register_parametrization(layer, "weight", Exp())
    assert flambeau.allclose(layer.weight, (2 * original).exp())
    assert len(layer.parametrizations.weight) == 2


def test_buffers_and_several_originals() -> None:
    layer = nn.BatchNorm1d(3)
    parametrize.register_parametrization(layer, "running_var", Double())
    assert layer.running_var.tolist() == [2.0] * 3
    assert "parametrizations.running_var.original" in dict(layer.named_buffers())
    linear = nn.Linear(2, 2)
    before = linear.weight.detach().clone()
    parametrize.register_parametrization(linear, "weight", Sum())
    assert flambeau.allclose(linear.weight, before)
    names = [name for name, _ in linear.named_parameters()]
    assert names == ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"]
    linear.weight = flambeau.ones(2, 2)
    assert flambeau.allclose(linear.parametrizations.weight.original1, flambeau.tensor(0.75))
    with pytest.raises(ValueError, match="in terms of a sequence of tensors"):
        parametrize.remove_parametrizations(linear, "weight", leave_parametrized=False)
    parametrize.remove_parametrizations(linear, "weight")
    assert flambeau.allclose(linear.weight, flambeau.tensor(1.0)) and isinstance(linear.weight, nn.Parameter)


@pytest.mark.parametrize("leave", [True, False])
def test_removing(leave: bool) -> None:
    layer = nn.Linear(3, 3)
    parameter, value = layer.weight, layer.weight.detach().clone()
    parametrize.register_parametrization(layer, "weight", Double())
    parametrize.register_parametrization(layer, "bias", Double())
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=leave)
    assert type(layer) is not nn.Linear
    parametrize.remove_parametrizations(layer, "bias", leave_parametrized=leave)
    assert type(layer) is nn.Linear and not hasattr(layer, "parametrizations")
    assert layer.weight is parameter
    assert flambeau.equal(parameter, 2 * value if leave else value)
    assert sorted(layer.state_dict()) == ["bias", "weight"]


def test_cached() -> None:
    layer = nn.Linear(3, 3)
    parametrize.register_parametrization(layer, "weight", Double())
    Double.calls = 0
    with parametrize.cached():
        first = layer.weight
        with parametrize.cached():
            assert layer.weight is first
        assert layer.weight is first
    assert Double.calls == 1
    assert layer.weight is not first
    assert Double.calls == 2


def test_copies_are_apart_and_state_dicts_travel() -> None:
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    clone = copy.deepcopy(layer)
    assert flambeau.equal(clone.weight, layer.weight)
    with flambeau.no_grad():
        clone.parametrizations.weight.original0.mul_(2.0)
    assert flambeau.allclose(clone.weight, 2 * layer.weight)
    layer.load_state_dict(clone.state_dict())
    assert flambeau.equal(clone.weight, layer.weight)
    with pytest.raises(RuntimeError, match="only supported through state_dict"):
        pickle.dumps(layer)


def test_parametrized_modules_move_and_train() -> None:
    layer = parametrizations.spectral_norm(nn.Linear(3, 2)).double()
    assert layer.weight.dtype == flambeau.float64
    layer.eval()
    assert not layer.parametrizations.weight[0].training
    assert flambeau.equal(layer.weight, layer.weight)


def test_transfer() -> None:
    source, target = nn.Linear(3, 3), nn.Linear(3, 3)
    parametrize.register_parametrization(source, "weight", Symmetric())
    assert parametrize.transfer_parametrizations_and_params(source, target) is target
    assert flambeau.equal(source.weight, target.weight)
    with flambeau.no_grad():
        target.parametrizations.weight.original.zero_()
    assert (source.weight != 0).any()


def test_recurrent_layers_use_parametrized_weights() -> None:
    layer = nn.LSTM(3, 4)
    x = flambeau.randn(5, 2, 3)
    before = layer(x)[0]
    parametrizations.weight_norm(layer, "weight_hh_l0")
    assert flambeau.allclose(layer(x)[0], before, atol=1e-6)
    with flambeau.no_grad():
        layer.parametrizations.weight_hh_l0.original0.zero_()
    assert not flambeau.allclose(layer(x)[0], before, atol=1e-3)


def test_wrong_parametrizations_are_refused() -> None:
    class Text(nn.Module):
        def forward(self, X: Any) -> Any:
            return "text"

    class Row(nn.Module):
        def forward(self, X: Any) -> Any:
            return X[0]

    class Half(nn.Module):
        def forward(self, X: Any) -> Any:
            return X.half()

    layer = nn.Linear(3, 3)
    for part, message in [
        (Text(), "A parametrization must return a tensor. Got str."),
        (Row(), "may not change the shape of the tensor"),
        (Half(), "may not change the dtype of the tensor"),
    ]:
        for name in ("weight", "bias"):
            with pytest.raises(ValueError) as raised:
                parametrize.register_parametrization(layer, name, part)
            assert message in str(raised.value)
    assert type(layer) is nn.Linear and isinstance(layer.weight, nn.Parameter)
    parametrize.register_parametrization(layer, "weight", Double())
    with pytest.raises(ValueError, match="may not change the shape of the tensor"):
        parametrize.register_parametrization(layer, "weight", Row())
    parametrize.register_parametrization(layer, "weight", Row(), unsafe=True)
    assert layer.weight.shape == (3,)
    with pytest.raises(ValueError, match="a buffer, or a parametrized element with name 'w'"):
        parametrize.register_parametrization(layer, "w", Double())
    with pytest.raises(ValueError, match="does not have a parametrization on bias"):
        parametrize.remove_parametrizations(layer, "bias")


# -- weight norm, spectral norm, orthogonal ----------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("old", [False, True])
def test_weight_norm(dim: int | None, old: bool) -> None:
    layer = nn.Conv1d(3, 4, 2)
    before = layer.weight.detach().clone()
    (utils if old else parametrizations).weight_norm(layer, dim=dim)
    layer(flambeau.zeros(1, 3, 2))
    assert flambeau.allclose(layer.weight, before, atol=1e-6)
    names = ("weight_g", "weight_v") if old else tuple(f"parametrizations.weight.original{i}" for i in range(2))
    parameters = dict(layer.named_parameters())
    g, v = (parameters[name] for name in names)
    assert g.shape == {0: (4, 1, 1), 1: (1, 3, 1), None: ()}[dim]
    with flambeau.no_grad():
        g.fill_(3.0)
        v.mul_(7.0)
    layer(flambeau.zeros(1, 3, 2))
    axes = tuple(d for d in range(3) if d != dim)
    np.testing.assert_allclose(np.sqrt((layer.weight.detach().numpy() ** 2).sum(axes)), 3.0, rtol=1e-5)
    layer(flambeau.randn(1, 3, 5)).sum().backward()
    assert g.grad is not None and v.grad is not None


def test_weight_norm_understands_older_state_dicts() -> None:
    layer, other = utils.weight_norm(nn.Linear(3, 2)), parametrizations.weight_norm(nn.Linear(3, 2))
    other.load_state_dict(layer.state_dict())
    x = flambeau.randn(2, 3)
    assert flambeau.equal(layer(x), other(x))


def test_removing_older_norms() -> None:
    for apply, remove in (
        (utils.weight_norm, utils.remove_weight_norm),
        (utils.spectral_norm, utils.remove_spectral_norm),
    ):
        layer, x = nn.Linear(3, 2).eval(), flambeau.randn(2, 3)
        apply(layer)
        with pytest.raises(RuntimeError, match="Cannot register two"):
            apply(layer)
        before = layer(x)
        assert remove(layer) is layer
        assert sorted(dict(layer.named_parameters())) == ["bias", "weight"] == sorted(layer.state_dict())
        assert flambeau.allclose(layer(x), before, atol=1e-6)
        with pytest.raises(ValueError, match="of 'weight' not found"):
            remove(layer)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(4, 6), lambda: nn.ConvTranspose1d(3, 5, 2)], ids=["rows", "columns"]
)
def test_spectral_norm(old: bool, make: Any) -> None:
    layer = (utils if old else parametrizations).spectral_norm(make())
    x = flambeau.zeros(1, 4) if isinstance(layer, nn.Linear) else flambeau.zeros(1, 3, 2)
    for _ in range(60):
        layer(x)
    dim = 0 if isinstance(layer, nn.Linear) else 1

    def largest() -> float:
        weight = np.moveaxis(layer.weight.detach().numpy(), dim, 0)
        return float(np.linalg.svd(weight.reshape(len(weight), -1), compute_uv=False)[0])

    assert largest() == pytest.approx(1.0, abs=1e-3)
    layer.eval()
    vectors = [buffer.clone() for buffer in layer.buffers()]
    layer(x)
    assert all(map(flambeau.equal, vectors, layer.buffers()))


def test_spectral_norm_of_a_vector_and_wrong_arguments() -> None:
    layer = parametrizations.spectral_norm(nn.LayerNorm(4))
    np.testing.assert_allclose(np.linalg.norm(layer.weight.detach().numpy()), 1.0, rtol=1e-6)
    with pytest.raises(ValueError, match="Expected n_power_iterations to be positive"):
        parametrizations.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)
    with pytest.raises(ValueError, match="has no parameter or buffer with name 'w'"):
        parametrizations.spectral_norm(nn.Linear(2, 2), "w")


@pytest.mark.parametrize("orthogonal_map", [None, "matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("trivialized", [True, False])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
def test_orthogonal(orthogonal_map: str | None, trivialized: bool, shape: tuple[int, int]) -> None:
    layer = nn.Linear(shape[1], shape[0]).double()
    nn.init.orthogonal_(layer.weight)
    before = layer.weight.detach().clone()
    parametrizations.orthogonal(layer, "weight", orthogonal_map, use_trivialization=trivialized)

    def check() -> None:
        weight = layer.weight.detach().numpy()
        product = weight @ weight.T if shape[0] < shape[1] else weight.T @ weight
        np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-12)

    check()
    if trivialized:
        assert flambeau.allclose(layer.weight, before)
    optimizer = flambeau.optim.SGD(layer.parameters(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        layer(flambeau.randn(2, shape[1], dtype=flambeau.float64)).square().sum().backward()
        optimizer.step()
    check()
    assert not flambeau.allclose(layer.weight, before, atol=1e-3)


def test_orthogonal_can_be_assigned() -> None:
    layer = parametrizations.orthogonal(nn.Linear(3, 3).double())
    rotation = flambeau.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=flambeau.float64)
    layer.weight = rotation
    assert flambeau.allclose(layer.weight, rotation)
    with pytest.raises(ValueError, match="orthogonal_map has to be one of"):
        parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="polar")
    with pytest.raises(ValueError, match="Got a tensor of 1 dimensions"):
        parametrizations.orthogonal(nn.Linear(2, 2), "bias")


# -- pruning -----------------------------------------------------------------------------------------------------------


def layer_with(weight: Any) -> Any:
    rows, columns = np.shape(weight)
    layer = nn.Linear(columns, rows)
    with flambeau.no_grad():
        layer.weight.copy_(flambeau.tensor(weight))
    return layer


WEIGHT = [[1.0, -5.0, 3.0], [-2.0, 6.0, -4.0]]


def test_l1_unstructured() -> None:
    layer = layer_with(WEIGHT)
    parameter = layer.weight
    assert prune.l1_unstructured(layer, "weight", 2) is layer
    assert layer.weight.tolist() == [[0, -5, 3], [0, 6, -4]]
    assert layer.weight_mask.tolist() == [[0, 1, 1], [0, 1, 1]]
    assert layer.weight_orig is parameter
    assert list(layer.state_dict()) == ["bias", "weight_orig", "weight_mask"]
    assert prune.is_pruned(layer)
    layer(flambeau.ones(1, 3)).sum().backward()
    assert parameter.grad.tolist() == layer.weight_mask.tolist()
    with flambeau.no_grad():
        parameter.fill_(2.0)
    layer(flambeau.ones(1, 3))  # computes the weight anew
    assert layer.weight.tolist() == [[0, 2, 2], [0, 2, 2]]


def test_pruning_again_prunes_of_what_is_left() -> None:
    layer = layer_with(WEIGHT)
    prune.l1_unstructured(layer, "weight", 2)
    prune.l1_unstructured(layer, "weight", 0.5)  # two of four
    assert layer.weight.tolist() == [[0, -5, 0], [0, 6, 0]]
    prune.custom_from_mask(layer, "weight", flambeau.tensor([[1, 0, 1], [1, 1, 1]]))
    assert layer.weight.tolist() == [[0, 0, 0], [0, 6, 0]]
    assert len(layer._forward_pre_hooks) == 1


def test_removing_keeps_the_zeros() -> None:
    layer = layer_with(WEIGHT)
    parameter = layer.weight
    prune.l1_unstructured(layer, "weight", 2)
    assert prune.remove(layer, "weight") is layer
    assert layer.weight is parameter and parameter.tolist() == [[0, -5, 3], [0, 6, -4]]
    assert list(layer.state_dict()) == ["bias", "weight"]
    assert not prune.is_pruned(layer)
    with pytest.raises(ValueError, match="has to be pruned before pruning can be removed"):
        prune.remove(layer, "weight")


def test_structured() -> None:
    layer = layer_with(WEIGHT)
    prune.ln_structured(layer, "weight", 1, n=2, dim=1)
    assert layer.weight_mask.tolist() == [[0, 1, 1], [0, 1, 1]]
    prune.ln_structured(layer, "weight", 0.5, n=float("inf"), dim=0)
    assert layer.weight_mask.tolist() == [[0, 0, 0], [0, 1, 1]]
    layer = layer_with(WEIGHT)
    prune.random_structured(layer, "weight", 2, dim=-1)
    assert sorted(layer.weight_mask.sum(0).tolist()) == [0, 0, 2]


def test_random_and_identity() -> None:
    layer = layer_with(np.ones((20, 10)).tolist())
    prune.identity(layer, "weight")
    assert layer.weight_mask.sum() == 200
    prune.random_unstructured(layer, "weight", 0.25)
    assert layer.weight_mask.sum() == 150
    other = layer_with(np.ones((20, 10)).tolist())
    prune.random_unstructured(other, "weight", 50)
    assert other.weight_mask.sum() == 150 and not flambeau.equal(layer.weight_mask, other.weight_mask)


def test_importance_scores() -> None:
    layer = layer_with(WEIGHT)
    scores = flambeau.tensor([[6.0, 1.0, 5.0], [4.0, 2.0, 3.0]])
    prune.l1_unstructured(layer, "weight", 2, importance_scores=scores)
    assert layer.weight_mask.tolist() == [[1, 0, 1], [1, 0, 1]]


def test_global_pruning_looks_at_all_parameters_at_once() -> None:
    one, other = layer_with(WEIGHT), layer_with([[0.5, 7.0]])
    prune.l1_unstructured(one, "weight", 1)
    parts = [(one, "weight"), (other, "weight")]
    prune.global_unstructured(parts, pruning_method=prune.L1Unstructured, amount=2)
    assert one.weight.tolist() == [[0, -5, 3], [0, 6, -4]]
    assert other.weight.tolist() == [[0, 7]]
    with pytest.raises(TypeError, match='Only "unstructured" PRUNING_TYPE supported'):
        prune.global_unstructured(parts, pruning_method=prune.LnStructured, amount=1, n=2)


def test_amounts_are_checked_before_anything_changes() -> None:
    for amount, error, message in [
        (7, ValueError, "amount=7 should be smaller than the number of parameters to prune=6"),
        (1.5, ValueError, "amount=1.5 should either be a float in the range [0, 1] or a non-negative integer"),
        ("all", TypeError, "Invalid type for amount: all. Must be int or float."),
    ]:
        layer = layer_with(WEIGHT)
        with pytest.raises(error) as raised:
            prune.l1_unstructured(layer, "weight", amount)
        assert message in str(raised.value)
        assert list(layer.state_dict()) == ["weight", "bias"] and not prune.is_pruned(layer)
    with pytest.raises(ValueError, match="Structured pruning can only be applied to multidimensional tensors"):
        prune.random_structured(layer_with(WEIGHT), "bias", 1, 0)
    with pytest.raises(IndexError, match="Invalid index 2"):
        prune.random_structured(layer_with(WEIGHT), "weight", 1, 2)
