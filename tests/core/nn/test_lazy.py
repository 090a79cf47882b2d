"""Modules that take sizes from their first input."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import flambeau
from flambeau import nn

CASES = [
    ("Linear", (3,), (3,), (2, 5), 5),
    ("Conv1d", (4, 3), (4, 3), (2, 5, 6), 5),
    ("Conv2d", (4, 3, 1, 1), (4, 3, 1, 1), (5, 6, 6), 5),
    ("Conv3d", (4, 2), (4, 2), (2, 5, 3, 3, 3), 5),
    ("ConvTranspose1d", (4, 3), (4, 3), (2, 5, 6), 5),
    ("ConvTranspose2d", (4, 3), (4, 3), (2, 5, 6, 6), 5),
    ("ConvTranspose3d", (4, 2), (4, 2), (2, 5, 3, 3, 3), 5),
    ("BatchNorm1d", (), (), (4, 5), 5),
    ("BatchNorm2d", (1e-3,), (1e-3,), (2, 5, 3, 3), 5),
    ("BatchNorm3d", (), (), (2, 5, 2, 2, 2), 5),
    ("InstanceNorm1d", (), (1e-5, 0.1, True, True), (2, 5, 4), 5),
    ("InstanceNorm2d", (), (1e-5, 0.1, True, True), (5, 4, 4), 5),
    ("InstanceNorm3d", (), (1e-5, 0.1, True, True), (2, 5, 2, 2, 2), 5),
]


@pytest.mark.parametrize(("name", "args", "known_args", "shape", "size"), CASES, ids=[case[0] for case in CASES])
def test_becomes_the_module_with_the_size_of_the_input(
    name: str, args: tuple[Any, ...], known_args: tuple[Any, ...], shape: tuple[int, ...], size: int
) -> None:
    lazy = getattr(nn, "Lazy" + name)(*args)
    cls = getattr(nn, name)
    known = cls(size, *known_args)
    assert isinstance(lazy, cls) and lazy.has_uninitialized_params()
    assert list(lazy.state_dict()) == list(known.state_dict())
    x = flambeau.randn(*shape)
    lazy(x)
    assert type(lazy) is cls and repr(lazy) == repr(known)
    assert [p.shape for p in lazy.parameters()] == [p.shape for p in known.parameters()]
    assert all(type(p) is nn.Parameter for p in lazy.parameters())
    known.load_state_dict(lazy.state_dict())
    assert flambeau.equal(lazy.eval()(x), known.eval()(x))


def test_bias_is_optional_wherever_it_stands() -> None:
    for layer in (nn.LazyLinear(3, False), nn.LazyLinear(3, bias=False)):
        layer(flambeau.zeros(1, 2))
        assert layer.bias is None
    layer = nn.LazyConv2d(4, 3, 1, 0, 1, 1, False)
    layer(flambeau.zeros(1, 2, 5, 5))
    assert layer.bias is None and layer.weight.shape == (4, 2, 3, 3)


def test_groups_are_checked_against_the_input() -> None:
    with pytest.raises(ValueError, match="in_channels must be divisible by groups"):
        nn.LazyConv1d(4, 3, groups=2)(flambeau.zeros(1, 5, 6))
    layer = nn.LazyConvTranspose1d(4, 3, groups=2)
    layer(flambeau.zeros(1, 6, 6))
    assert layer.weight.shape == (6, 2, 3)


def test_optimizers_keep_the_parameters_they_were_given() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.LazyLinear(1))
    parameters = list(model.parameters())
    model(flambeau.randn(2, 3))
    assert all(p is q for p, q in zip(parameters, model.parameters(), strict=True))
    before = parameters[0].detach().clone()
    optimizer = flambeau.optim.SGD(parameters, lr=0.1)
    model(flambeau.randn(2, 3)).sum().backward()
    optimizer.step()
    assert not flambeau.equal(before, parameters[0])


def test_state_dicts_give_the_sizes() -> None:
    known, lazy = (
        nn.Sequential(nn.Conv1d(3, 4, 2), nn.BatchNorm1d(4)),
        nn.Sequential(nn.LazyConv1d(4, 2), nn.LazyBatchNorm1d()),
    )
    lazy.load_state_dict(known.state_dict())
    x = flambeau.randn(2, 3, 5)
    assert flambeau.equal(lazy(x), known(x))
    assert repr(lazy) == repr(known)


def test_state_dicts_without_sizes() -> None:
    lazy, other = nn.LazyLinear(3), nn.LazyLinear(3)
    lazy.load_state_dict(other.state_dict())
    assert lazy.has_uninitialized_params()
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter or buffer"):
        nn.Linear(2, 3).load_state_dict(lazy.state_dict())


def test_copies_and_pickles_are_lazy_too() -> None:
    lazy = nn.LazyBatchNorm1d()
    for other in (copy.deepcopy(lazy), pickle.loads(pickle.dumps(lazy))):
        other(flambeau.randn(4, 3))
        assert type(other) is nn.BatchNorm1d and other.weight.shape == (3,)
    assert lazy.has_uninitialized_params()


def test_dtype_is_that_of_before() -> None:
    lazy = nn.LazyLinear(3).double()
    lazy(flambeau.zeros(1, 2, dtype=flambeau.float64))
    assert lazy.weight.dtype == flambeau.float64


def test_a_parameter_without_a_shape_says_so() -> None:
    parameter = nn.UninitializedParameter()
    with pytest.raises(RuntimeError, match="Call `forward` to initialize the parameters"):
        _ = parameter.shape
    assert repr(parameter) == "<UninitializedParameter>"
    parameter.materialize((2, 3))
    assert type(parameter) is nn.Parameter and parameter.shape == (2, 3) and parameter.requires_grad


def test_own_lazy_modules() -> None:
    class Scale(nn.Module):
        def __init__(self, size: int = 0) -> None:
            super().__init__()
            self.factor = nn.Parameter(flambeau.ones(size))

        def forward(self, x: Any, *, twice: bool = False) -> Any:
            return x * self.factor * (2 if twice else 1)

    class LazyScale(nn.modules.lazy.LazyModuleMixin, Scale):
        cls_to_become = Scale

        def __init__(self) -> None:
            super().__init__()
            self.factor = nn.UninitializedParameter()

        def initialize_parameters(self, x: Any, *, twice: bool = False) -> None:
            self.factor.materialize(x.shape[-1:])
            nn.init.ones_(self.factor)

    lazy = LazyScale()
    assert lazy(flambeau.ones(2, 3), twice=True).tolist() == [[2.0] * 3] * 2
    assert type(lazy) is Scale

    class Forgetful(LazyScale):
        def initialize_parameters(self, x: Any) -> None:
            pass

    with pytest.raises(RuntimeError, match="module Forgetful has not been fully initialized"):
        Forgetful()(flambeau.ones(2, 3))
