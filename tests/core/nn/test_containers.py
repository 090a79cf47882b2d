"""Modules and parameters in lists and dictionaries."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import pytest

import flambeau
from flambeau import nn


def names(container: nn.Module) -> list[str]:
    return list(container._modules)


# -- Sequential --------------------------------------------------------------------------------------------------------


def test_sequential_calls_one_after_the_other() -> None:
    double, negate = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    double.weight.data.fill_(2)
    negate.weight.data.fill_(-1)
    net = nn.Sequential(double, nn.ReLU(), negate)
    assert net(flambeau.tensor([[3.0], [-3.0]])).flatten().tolist() == [-6.0, 0.0]
    assert list(net) == [double, net[1], negate]
    assert len(net) == 3


def test_sequential_by_name() -> None:
    net = nn.Sequential(OrderedDict([("a", nn.ReLU()), ("b", nn.Tanh())]))
    assert names(net) == ["a", "b"]
    assert net[1] is net.b
    assert names(net[1:]) == ["b"]


def test_sequential_indexing() -> None:
    parts = [nn.ReLU(), nn.Tanh(), nn.Sigmoid()]
    net = nn.Sequential(*parts)
    assert net[-1] is parts[2]
    assert list(net[:2]) == parts[:2]
    net[0] = parts[2]
    assert net[0] is parts[2]
    del net[1]
    assert names(net) == ["0", "1"]
    assert list(net) == [parts[2], parts[2]]
    del net[:1]
    assert list(net) == [parts[2]]
    for index in (1, -2):
        with pytest.raises(IndexError, match=f"index {index} is out of range"):
            net[index]


def test_sequential_grows_and_shrinks() -> None:
    relu, tanh, sigmoid = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    net = nn.Sequential(relu)
    assert net.append(tanh) is net
    assert list(net.insert(0, sigmoid)) == [sigmoid, relu, tanh]
    assert list(net.insert(-1, relu)) == [sigmoid, relu, relu, tanh]
    assert net.pop(1) is relu
    assert names(net) == ["0", "1", "2"]
    assert list(net.extend([relu])) == [sigmoid, relu, tanh, relu]
    assert list(nn.Sequential(relu) + nn.Sequential(tanh)) == [relu, tanh]
    assert list(nn.Sequential(relu, tanh) * 2) == [relu, tanh] * 2
    assert list(2 * nn.Sequential(relu)) == [relu, relu]
    net = nn.Sequential(relu)
    net += nn.Sequential(tanh)
    net *= 2
    assert list(net) == [relu, tanh] * 2
    assert names(net) == ["0", "1", "2", "3"]


def test_sequential_refuses() -> None:
    net = nn.Sequential(nn.ReLU())
    with pytest.raises(AssertionError, match="module should be of type"):
        net.insert(0, 3)
    with pytest.raises(IndexError, match="Index out of range: 2"):
        net.insert(2, nn.ReLU())
    with pytest.raises(ValueError, match="supports only objects of Sequential class"):
        net + [nn.ReLU()]
    with pytest.raises(ValueError, match="Non-positive multiplication factor 0"):
        net * 0
    with pytest.raises(TypeError, match="int is not a Module subclass"):
        nn.Sequential(3)


# -- ModuleList, ModuleDict --------------------------------------------------------------------------------------------


def test_module_list() -> None:
    relu, tanh = nn.ReLU(), nn.Tanh()
    layers = nn.ModuleList([relu, tanh])
    assert layers[1] is tanh
    assert layers[-1] is tanh
    assert list(layers[::-1]) == [tanh, relu]
    assert isinstance(layers[:1], nn.ModuleList)
    layers.insert(1, nn.GELU())
    assert [type(layer).__name__ for layer in layers] == ["ReLU", "GELU", "Tanh"]
    assert layers.pop(0) is relu
    assert names(layers) == ["0", "1"]
    layers += [relu]
    assert len(layers + [tanh]) == 4
    assert tanh in layers
    del layers[1:]
    assert len(layers) == 1
    with pytest.raises(TypeError, match="ModuleList.extend should be called with an iterable, but got int"):
        layers.extend(3)
    with pytest.raises(NotImplementedError, match="ModuleList"):
        layers(1)


def test_module_list_shows_equal_neighbours_once() -> None:
    assert repr(nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()])) == (
        "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Tanh()\n)"
    )
    assert repr(nn.ModuleList()) == "ModuleList()"


def test_module_dict() -> None:
    relu, tanh = nn.ReLU(), nn.Tanh()
    layers = nn.ModuleDict({"a": relu})
    layers["b"] = tanh
    assert list(layers) == ["a", "b"] == list(layers.keys())
    assert list(layers.items()) == [("a", relu), ("b", tanh)]
    assert list(layers.values()) == [relu, tanh]
    assert "a" in layers
    assert layers.a is relu
    layers.update([("a", tanh)])
    assert layers["a"] is tanh
    assert layers.pop("a") is tanh
    del layers["b"]
    assert len(layers) == 0
    layers.update(nn.ModuleDict({"c": relu}))
    layers.clear()
    assert not hasattr(layers, "c")


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (3, TypeError, "should be called with an iterable of key/value pairs, but got int"),
        ([3], TypeError, "update sequence element #0 should be Iterable; is int"),
        ([("a", 1, 2)], ValueError, "update sequence element #0 has length 3; 2 is required"),
    ],
)
@pytest.mark.parametrize("container", [nn.ModuleDict, nn.ParameterDict])
def test_updates_from_something_else(container: Any, values: Any, kind: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        container(values)


def test_keys_that_are_taken() -> None:
    with pytest.raises(KeyError, match="attribute 'keys' already exists"):
        nn.ModuleDict({"keys": nn.ReLU()})


# -- ParameterList, ParameterDict --------------------------------------------------------------------------------------


def test_parameter_list() -> None:
    values = nn.ParameterList([flambeau.zeros(2), nn.Parameter(flambeau.ones(3)), "note"])
    assert [isinstance(value, nn.Parameter) for value in values] == [True, True, False]
    assert [tuple(parameter.shape) for parameter in values.parameters()] == [(2,), (3,)]
    assert list(values.state_dict()) == ["0", "1"]
    values.append(flambeau.zeros(1))
    values += [flambeau.zeros(4)]
    assert len(values) == 5
    assert tuple(values[-1].shape) == (4,)
    assert len(values[1:3]) == 2
    values[0] = flambeau.ones(2)
    assert values[0].requires_grad
    with pytest.raises(IndexError, match="index 7 is out of range"):
        values[7]
    with pytest.raises(TypeError, match="should be called with an iterable, but got Tensor"):
        values.extend(flambeau.zeros(2))
    with pytest.raises(RuntimeError, match=r"ParameterList should not be called\."):
        values(1)


def test_parameter_dict() -> None:
    values = nn.ParameterDict({"b": flambeau.zeros(2), "a": "note"})
    assert list(values) == ["a", "b"]  # a plain dictionary is sorted, as in PyTorch
    assert list(nn.ParameterDict([("b", 1), ("a", 2)])) == ["b", "a"]
    assert isinstance(values["b"], nn.Parameter)
    assert values.get("c", 5) == 5
    assert values.setdefault("c", flambeau.ones(1)) is values.c
    assert list(reversed(values)) == ["c", "b", "a"]
    assert values.popitem()[0] == "c"
    assert values.pop("a") == "note"
    assert "a" not in values
    joined = values | nn.ParameterDict({"d": flambeau.zeros(1)})
    assert list(joined) == ["b", "d"]
    assert joined["b"] is values["b"]
    values |= nn.ParameterDict({"e": flambeau.zeros(1)})
    assert list(values.copy()) == ["b", "e"]
    assert list(values.fromkeys(["x", "y"], 0).items()) == [("x", 0), ("y", 0)]
    assert list(values.state_dict()) == ["b", "e"]
    with pytest.raises(KeyError, match="nothing"):
        values["nothing"]
    with pytest.raises(TypeError, match="cannot be used as a key as it is not a string"):
        values[1] = flambeau.zeros(1)
    values.clear()
    assert len(values) == 0
    assert list(values.parameters()) == []


@pytest.mark.parametrize(
    "container",
    [
        nn.Sequential(nn.Linear(1, 1), nn.ReLU()),
        nn.ModuleList([nn.Linear(1, 1)]),
        nn.ModuleDict({"a": nn.Linear(1, 1)}),
        nn.ParameterList([flambeau.zeros(1)]),
        nn.ParameterDict({"a": flambeau.zeros(1)}),
    ],
    ids=lambda container: type(container).__name__,
)
def test_containers_are_copied(container: Any) -> None:
    twin = copy.deepcopy(container)
    assert repr(twin) == repr(container)
    assert list(twin.state_dict()) == list(container.state_dict())
    pairs = zip(twin.parameters(), container.parameters(), strict=True)
    assert all(one is not other for one, other in pairs)
