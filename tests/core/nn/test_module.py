"""What a module is: how members are registered, found, changed and shown."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau import nn


class Model(nn.Module):
    """Two layers that share a weight, a buffer that is saved and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("count", flambeau.zeros(2))
        self.register_buffer("scratch", flambeau.ones(2), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x))


# -- registering -------------------------------------------------------------------------------------------------------


def test_assigned_parameters_and_modules_are_registered() -> None:
    model = Model()
    assert list(model._modules) == ["first", "second"]
    assert list(model.first._parameters) == ["weight", "bias"]
    assert list(model._buffers) == ["count", "scratch"]
    model.extra = nn.Parameter(flambeau.zeros(1))
    assert list(model._parameters) == ["extra"]
    model.plain = flambeau.zeros(1)
    assert "plain" not in model._buffers
    assert "plain" in model.__dict__


def test_assigning_another_kind_moves_the_name() -> None:
    model = Model()
    model.count = nn.Parameter(flambeau.zeros(1))
    assert "count" in model._parameters
    assert "count" not in model._buffers
    model.scratch = nn.ReLU()
    assert "scratch" in model._modules
    assert "scratch" not in model._buffers
    assert "scratch" not in model._non_persistent_buffers_set


def test_a_plain_attribute_gives_way_to_a_parameter() -> None:
    model = Model()
    model.scale = 3
    model.scale = nn.Parameter(flambeau.ones(1))
    assert model.scale is model._parameters["scale"]


def test_none_keeps_a_name_reserved() -> None:
    layer = nn.Linear(2, 2)
    layer.bias = None
    assert layer._parameters == {"weight": layer.weight, "bias": None}
    assert layer.bias is None
    with pytest.raises(TypeError, match="cannot assign 'int' as parameter 'bias'"):
        layer.bias = 3
    layer.bias = nn.Parameter(flambeau.zeros(2))
    assert len(list(layer.parameters())) == 2


def test_buffers_by_assignment() -> None:
    model = Model()
    model.statistics = nn.Buffer(flambeau.zeros(2))
    model.hidden = nn.Buffer(flambeau.zeros(2), persistent=False)
    assert {"statistics", "hidden"} < set(model._buffers)
    assert "statistics" in model.state_dict()
    assert "hidden" not in model.state_dict()
    model.hidden = flambeau.ones(2)  # stays a buffer, and out of the state dict
    assert model._buffers["hidden"].tolist() == [1.0, 1.0]
    assert "hidden" not in model.state_dict()
    with pytest.raises(TypeError, match="cannot assign 'int' as buffer 'count'"):
        model.count = 3


@pytest.mark.parametrize(
    ("value", "kind"),
    [(nn.Parameter(flambeau.zeros(1)), "parameters"), (nn.ReLU(), "module"), (nn.Buffer(flambeau.zeros(1)), "buffer")],
)
def test_members_need_the_base_class_to_be_initialised(value: Any, kind: str) -> None:
    class Forgot(nn.Module):
        def __init__(self) -> None:
            self.member = value

    with pytest.raises(AttributeError, match=rf"cannot assign {kind} before Module.__init__\(\) call"):
        Forgot()


def test_a_computed_tensor_is_no_parameter() -> None:
    computed = nn.Parameter(flambeau.ones(1)) * 2
    with pytest.raises(TypeError, match="cannot assign 'flambeau.FloatTensor' object to parameter 'w'"):
        nn.Module().register_parameter("w", computed)


def test_unexpected_arguments_of_the_base_class() -> None:
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'bias'"):
        nn.Module(bias=True)
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        nn.ReLU.__mro__[1].__mro__[1](3)


def test_missing_forward() -> None:
    with pytest.raises(NotImplementedError, match=r'Module \[Module\] is missing the required "forward" function'):
        nn.Module()(1)


# -- members are ordinary attributes -----------------------------------------------------------------------------------


def test_every_change_of_a_registry_is_seen_as_an_attribute() -> None:
    layer = nn.Linear(2, 2)
    weight = nn.Parameter(flambeau.zeros(2, 2))
    layer._parameters["weight"] = weight
    assert layer.weight is weight
    del layer._parameters["bias"]
    assert not hasattr(layer, "bias")
    layer._parameters.update(bias=None, third=weight)
    assert layer.bias is None
    assert layer.third is weight
    assert layer._parameters.pop("third") is weight
    assert not hasattr(layer, "third")
    assert layer._parameters.pop("third", 5) == 5
    with pytest.raises(KeyError):
        layer._parameters.pop("third")
    assert layer._parameters.setdefault("fourth", weight) is weight
    assert layer._parameters.popitem() == ("fourth", weight)
    assert not hasattr(layer, "fourth")
    layer._parameters |= {"fifth": weight}
    assert layer.fifth is weight
    layer._parameters.clear()
    assert [hasattr(layer, name) for name in ("weight", "bias", "fifth")] == [False] * 3


def test_a_registry_can_be_replaced() -> None:
    layer = nn.Linear(2, 2)
    other = nn.Parameter(flambeau.zeros(1))
    layer._parameters = {"other": other}
    assert layer.other is other
    assert not hasattr(layer, "weight")
    layer._parameters["more"] = other
    assert layer.more is other


def test_delattr() -> None:
    model = Model()
    del model.first, model.count, model.scratch
    del model.second.weight
    assert list(model._modules) == ["second"]
    assert not model._buffers
    assert not model._non_persistent_buffers_set
    assert not hasattr(model.second, "weight")
    with pytest.raises(AttributeError):
        del model.first


def test_a_dropped_module_is_freed_at_once() -> None:
    gc.collect()
    gc.disable()
    try:
        model = Model()
        weight = weakref.ref(model.first.weight)
        del model
        assert weight() is None
    finally:
        gc.enable()


def test_dir_lists_members_but_no_numbers() -> None:
    listed = dir(nn.Sequential(nn.ReLU()))
    assert "forward" in listed
    assert "0" not in listed
    assert {"weight", "bias"} <= set(dir(nn.Linear(1, 1)))


def test_properties_and_missing_attributes() -> None:
    with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'"):
        nn.Linear(1, 1).wieght  # noqa: B018


# -- copies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_deep_copies_and_pickles(duplicate: Any) -> None:
    model = Model().eval()
    model.first.weight.requires_grad_(False)
    twin = duplicate(model)
    assert twin.first.weight is twin.second.weight  # shared as before
    assert twin.first.weight is twin.first._parameters["weight"]
    assert twin.first.weight is not model.first.weight
    assert not twin.first.weight.requires_grad
    assert twin.first.bias.requires_grad
    assert not twin.training
    assert twin._non_persistent_buffers_set == {"scratch"}
    x = flambeau.ones(2, 3)
    np.testing.assert_array_equal(twin(x).detach().numpy(), model(x).detach().numpy())
    twin.first.bias = None
    assert model.first.bias is not None
    assert repr(twin.second) == repr(model.second)


def test_a_shallow_copy_is_independent() -> None:
    layer = nn.Linear(2, 2)
    twin = copy.copy(layer)
    assert twin.weight is layer.weight
    twin.weight = nn.Parameter(flambeau.zeros(2, 2))
    assert twin.weight is not layer.weight


def test_a_subclass_may_restore_its_dict_by_itself() -> None:
    class Own(nn.Linear):
        def __setstate__(self, state: dict[str, Any]) -> None:
            self.__dict__.update(state)

    layer = copy.deepcopy(Own(2, 2))
    assert layer.weight is layer._parameters["weight"]
    layer.weight = nn.Parameter(flambeau.ones(2, 2))
    assert layer.weight.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert tuple(layer(flambeau.ones(1, 2)).shape) == (1, 2)


# -- what is inside ----------------------------------------------------------------------------------------------------


def test_named_members() -> None:
    model = Model()
    assert [name for name, _ in model.named_modules()] == ["", "first", "second"]
    assert [name for name, _ in model.named_parameters()] == ["first.weight", "first.bias"]
    assert [name for name, _ in model.named_parameters(prefix="m", remove_duplicate=False)] == [
        "m.first.weight",
        "m.first.bias",
        "m.second.weight",
    ]
    assert [name for name, _ in model.named_parameters(recurse=False)] == []
    assert [name for name, _ in model.named_buffers()] == ["count", "scratch"]
    assert len(list(model.parameters())) == 2
    assert len(list(model.buffers())) == 2


def test_a_module_that_is_there_twice() -> None:
    shared = nn.Linear(1, 1)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    assert [name for name, _ in model.named_modules()] == ["", "0", "1"]
    assert [name for name, _ in model.named_modules(remove_duplicate=False)] == ["", "0", "1", "2"]
    assert [name for name, _ in model.named_children()] == ["0", "1"]
    assert len(list(model.modules())) == 3
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_get_by_dotted_name() -> None:
    model = nn.Sequential(Model(), nn.Sequential(nn.Linear(1, 2)))
    assert model.get_submodule("") is model
    assert model.get_submodule("1.0") is model[1][0]
    assert model.get_parameter("1.0.bias") is model[1][0].bias
    assert model.get_buffer("0.count") is model[0].count
    model.set_submodule("1.0", nn.Tanh())
    assert isinstance(model[1][0], nn.Tanh)
    with pytest.raises(AttributeError, match="Sequential has no attribute `7`"):
        model.set_submodule("1.7", nn.Tanh(), strict=True)
    with pytest.raises(ValueError, match="Cannot set the submodule without a target name!"):
        model.set_submodule("", nn.Tanh())


# -- changing all of it ------------------------------------------------------------------------------------------------


def test_train_and_eval_reach_everything() -> None:
    model = nn.Sequential(nn.Sequential(nn.Dropout()), nn.BatchNorm1d(1))
    assert model.eval() is model
    assert [module.training for module in model.modules()] == [False] * 4
    model.train()
    assert all(module.training for module in model.modules())


def test_apply_goes_from_the_leaves_up() -> None:
    seen: list[str] = []
    nn.Sequential(nn.Linear(1, 1), nn.ReLU()).apply(lambda module: seen.append(type(module).__name__))
    assert seen == ["Linear", "ReLU", "Sequential"]


def test_casting_keeps_parameters_the_same_objects() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = list(model.parameters())
    model(flambeau.ones(3, 2)).sum().backward()
    assert model.double() is model
    assert all(one is other for one, other in zip(before, model.parameters(), strict=True))
    assert {parameter.dtype for parameter in model.parameters()} == {flambeau.float64}
    assert before[0].grad.dtype == flambeau.float64
    assert model[1].running_mean.dtype == flambeau.float64
    assert model[1].num_batches_tracked.dtype == flambeau.int64
    assert model(flambeau.ones(3, 2, dtype=flambeau.float64)).dtype == flambeau.float64
    assert model.half()[0].weight.dtype == flambeau.float16
    assert model.float()[0].weight.dtype == flambeau.float32
    assert model.type(flambeau.float64)[1].running_var.dtype == flambeau.float64


def test_to() -> None:
    model = nn.BatchNorm1d(2)
    model.to(flambeau.float64)
    assert model.weight.dtype == flambeau.float64
    model.to("cpu", flambeau.float32)
    assert model.running_var.dtype == flambeau.float32
    model.to(flambeau.zeros(1, dtype=flambeau.float64))
    assert model.weight.dtype == flambeau.float64
    assert model.to(device=flambeau.device("cpu")).weight.dtype == flambeau.float64
    assert model.cpu().num_batches_tracked.dtype == flambeau.int64
    with pytest.raises(TypeError, match="nn.Module.to only accepts floating point or complex dtypes"):
        model.to(flambeau.int32)


def test_meta_modules_are_filled_later() -> None:
    layer = nn.Linear(3, 2, device="meta")
    weight = layer.weight
    assert weight.is_meta
    with pytest.raises(NotImplementedError, match=r"use flambeau.nn.Module.to_empty\(\)"):
        layer.to("cpu")
    layer.to_empty(device="cpu").reset_parameters()
    assert layer.weight is weight
    assert layer.weight.device.type == "cpu"
    assert tuple(layer(flambeau.ones(1, 3)).shape) == (1, 2)


def test_requires_grad_and_zero_grad() -> None:
    model = Model()
    model(flambeau.ones(1, 3)).sum().backward()
    model.zero_grad(set_to_none=False)
    assert model.first.bias.grad.tolist() == [0.0] * 3
    model.zero_grad()
    assert model.first.bias.grad is None
    assert model.requires_grad_(False) is model
    assert not any(parameter.requires_grad for parameter in model.parameters())


# -- repr --------------------------------------------------------------------------------------------------------------


def test_repr() -> None:
    assert repr(nn.ReLU()) == "ReLU()"
    assert repr(nn.Linear(1, 2)) == "Linear(in_features=1, out_features=2, bias=True)"
    assert repr(nn.Sequential(nn.Sequential(nn.ReLU()), nn.Linear(1, 2))) == (
        "Sequential(\n"
        "  (0): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        "  (1): Linear(in_features=1, out_features=2, bias=True)\n"
        ")"
    )


# -- parameters --------------------------------------------------------------------------------------------------------


def test_parameter() -> None:
    data = flambeau.ones(2)
    parameter = nn.Parameter(data)
    assert parameter.requires_grad
    assert parameter.is_leaf
    assert isinstance(parameter, flambeau.Tensor)
    parameter.data.fill_(5)
    assert data.tolist() == [5.0, 5.0]  # the memory is shared
    assert not nn.Parameter(data, requires_grad=False).requires_grad
    assert nn.Parameter().numel() == 0
    assert repr(parameter) == "Parameter containing:\ntensor([5., 5.], requires_grad=True)"
    assert type(parameter * 2) is flambeau.Tensor
    with pytest.raises(RuntimeError, match="floating point"):
        nn.Parameter(flambeau.ones(2, dtype=flambeau.int64))


def test_parameters_are_copied_and_pickled_as_parameters() -> None:
    parameter = nn.Parameter(flambeau.ones(2))
    parameter.decay = False  # a user's own note
    for twin in (copy.deepcopy(parameter), pickle.loads(pickle.dumps(parameter))):
        assert type(twin) is nn.Parameter
        assert twin.requires_grad
        assert twin.tolist() == [1.0, 1.0]
    assert twin.decay is False
    buffer = pickle.loads(pickle.dumps(nn.Buffer(flambeau.ones(2), persistent=False)))
    assert type(buffer) is nn.Buffer
    assert not buffer.persistent
