"""Every optimizer on the inputs of PyTorch's own database of optimizers: ten steps with groups, closures, missing
gradients, 0-dim and complex parameters, state dicts that change sides in the middle, and the wrong calls."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
from torch.testing._internal import common_optimizers as database  # noqa: E402

#: Optimizers for sparse gradients only: Flambeau has no sparse tensors.
EXCLUDED = {"SparseAdam"}
INFOS = [info for info in database.optim_db if info.name not in EXCLUDED]
SHAPES = ((4, 3), (5,), (), (2, 3, 2), (3, 1))
STEPS = 10


def samples(info: Any) -> list[Any]:
    return list(info.optim_inputs_func(device="cpu"))


CASES = [
    pytest.param(info, i, id=f"{info.name}-{sample.desc}") for info in INFOS for i, sample in enumerate(samples(info))
]


def shapes(info: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(shape for shape in SHAPES if len(shape) == 2) if info.name == "Muon" else SHAPES


def values(seed: int, shape: tuple[int, ...], dtype: str) -> Any:
    generator = np.random.default_rng(seed)
    made = generator.normal(size=shape)
    return np.asarray(made + 1j * generator.normal(size=shape) if dtype.startswith("complex") else made, dtype)


def converted(value: Any, made: dict[int, Any] | None = None) -> Any:
    """A value of PyTorch's with Flambeau's tensors for its tensors, one for each."""
    made = {} if made is None else made
    if isinstance(value, torch.Tensor):
        if id(value) not in made:
            copied = flambeau.from_numpy(np.array(value.detach().numpy()))
            is_parameter = isinstance(value, torch.nn.Parameter)
            made[id(value)] = (
                flambeau.nn.Parameter(copied) if is_parameter else copied.requires_grad_(value.requires_grad)
            )
        return made[id(value)]
    if isinstance(value, dict):
        return {key: converted(item, made) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(converted(item, made) for item in value)
    return value


def back(value: Any) -> Any:
    """A state dict of Flambeau's with PyTorch's tensors."""
    if isinstance(value, flambeau.Tensor):
        return torch.from_numpy(np.array(value.detach().numpy()))
    if isinstance(value, dict):
        return {key: back(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(back(item) for item in value)
    return value


class Run:
    """An optimizer of one of the libraries on the same parameters and gradients."""

    def __init__(self, library: Any, info: Any, kwargs: dict[str, Any], dtype: str, groups: bool) -> None:
        self.library, self.info, self.dtype = library, info, dtype
        tensor = library.from_numpy
        self.params = [library.nn.Parameter(tensor(values(i, shape, dtype))) for i, shape in enumerate(shapes(info))]
        if groups:
            params: Any = [{"params": self.params[:2], "lr": 0.02}, {"params": self.params[2:], "weight_decay": 0.05}]
            if info.name in ("Rprop", "LBFGS"):
                params[1].pop("weight_decay")
        else:
            params = self.params
        self.optimizer = getattr(library.optim, info.name)(params, **kwargs)
        self.way = [0.0] * len(self.params)  # how far the elements of each parameter have gone at most

    def step(self, number: int) -> Any:
        before = [np.array(param.detach().numpy()) for param in self.params]
        loss = self._step(number)
        for i, param in enumerate(self.params):
            self.way[i] += np.abs(param.detach().numpy() - before[i]).max()
        return loss

    def _step(self, number: int) -> Any:
        if self.info.step_requires_closure:
            return self.optimizer.step(self.closure)
        for i, param in enumerate(self.params):
            missing = (number + i) % 4 == 3
            gradient = values(100 * number + i, tuple(param.shape), self.dtype)
            param.grad = None if missing else self.library.from_numpy(gradient)
        return self.optimizer.step()

    def closure(self) -> Any:
        self.optimizer.zero_grad()
        loss = 0.0
        for i, param in enumerate(self.params):
            target = self.library.from_numpy(values(50 + i, tuple(param.shape), self.dtype))
            # Convex: elsewhere L-BFGS carries differences of 1e-15 to 1e-4 in some steps, PyTorch's to itself too.
            loss = loss + (1 + i) * ((param - target).abs() ** 2).sum()
        loss.backward()
        return loss


def assert_same(ours: Run, theirs: Run, double: bool) -> None:
    rtol, atol = (1e-6, 1e-8) if double else (1e-4, 1e-5)
    for i, (one, other) in enumerate(zip(ours.params, theirs.params, strict=True)):
        if ours.info.name == "Muon":
            # PyTorch iterates in bfloat16: two or three digits of each update.
            rtol, atol = 0, 0.03 * theirs.way[i]
        assert tuple(one.shape) == tuple(other.shape)
        assert str(one.dtype).partition(".")[2] == str(other.dtype).partition(".")[2]
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=rtol, atol=atol)


def runs(info: Any, kwargs: dict[str, Any], dtype: str, groups: bool = False) -> tuple[Run, Run]:
    theirs = Run(torch, info, kwargs, dtype, groups)
    return Run(flambeau, info, converted(kwargs), dtype, groups), theirs


def compare(info: Any, kwargs: dict[str, Any], dtype: str, groups: bool = False) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = runs(info, kwargs, dtype, groups)
        for number in range(STEPS):
            loss, their_loss = ours.step(number), theirs.step(number)
            if their_loss is not None:
                np.testing.assert_allclose(loss.item(), their_loss.item(), rtol=1e-4, atol=1e-6)
            assert_same(ours, theirs, "64" in dtype or dtype == "complex128")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("info", "index"), CASES)
def test_ten_steps(info: Any, index: int, dtype: str) -> None:
    compare(info, samples(info)[index].kwargs, dtype)


@pytest.mark.parametrize(("info", "index"), [case for case in CASES if case.values[0].supports_param_groups])
def test_groups(info: Any, index: int) -> None:
    compare(info, samples(info)[index].kwargs, "float64", groups=True)


@pytest.mark.parametrize(("info", "index"), [case for case in CASES if case.values[0].supports_complex])
def test_complex_parameters(info: Any, index: int) -> None:
    compare(info, samples(info)[index].kwargs, "complex128")


def implementations() -> list[Any]:
    found = []
    for info in INFOS:
        names = [name for name in info.supported_impls if name != "differentiable"]
        names += ["capturable"] if info.has_capturable_arg else []
        found += [pytest.param(info, {name: value}, id=f"{info.name}-{name}-{value}")
                  for name in names for value in (False, True)]  # fmt: skip
    return found


@pytest.mark.parametrize(("info", "choice"), implementations())
def test_arguments_that_choose_an_implementation(info: Any, choice: dict[str, Any]) -> None:
    """PyTorch has ``capturable`` on accelerators only; the steps are those of the plain implementation."""
    kwargs = dict(samples(info)[1].kwargs)
    ours, theirs = runs(info, kwargs, "float64")
    with_choice = Run(flambeau, info, {**converted(kwargs), **choice}, "float64", False)
    for number in range(STEPS):
        theirs.step(number)
        with_choice.step(number)
    assert_same(with_choice, theirs, True)
    (name, value), = choice.items()  # fmt: skip
    assert with_choice.optimizer.param_groups[0][name] == value
    assert name in ours.optimizer.param_groups[0]


@pytest.mark.parametrize(("info", "index"), CASES)
def test_state_dicts_change_sides(info: Any, index: int) -> None:
    """Half-way each library continues from the other's state dict."""
    kwargs = samples(info)[index].kwargs
    groups = info.supports_param_groups
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = runs(info, kwargs, "float64", groups)
        for number in range(STEPS // 2):
            ours.step(number)
            theirs.step(number)
        our_state, their_state = ours.optimizer.state_dict(), theirs.optimizer.state_dict()
        assert our_state["param_groups"] == converted(their_state["param_groups"])
        ours.optimizer.load_state_dict(converted(their_state))
        theirs.optimizer.load_state_dict(back(our_state))
        for number in range(STEPS // 2, STEPS):
            ours.step(number)
            theirs.step(number)
            assert_same(ours, theirs, True)


def error_inputs() -> list[Any]:
    found = []
    for info in INFOS:
        inputs = info.optim_error_inputs_func(device="cpu", dtype=torch.float32)
        found += [pytest.param(info, i, id=f"{info.name}-{error.optimizer_error_input.desc}-{i}")
                  for i, error in enumerate(inputs)]  # fmt: skip
    return found


@pytest.mark.parametrize(("info", "index"), error_inputs())
def test_wrong_calls(info: Any, index: int) -> None:
    error = list(info.optim_error_inputs_func(device="cpu", dtype=torch.float32))[index]
    wrong = error.optimizer_error_input
    make = getattr(flambeau.optim, info.name)
    params = converted(wrong.params)
    if issubclass(error.error_type, Warning):
        with pytest.warns(error.error_type, match=error.error_regex):
            make(params, **converted(wrong.kwargs))
        return
    if error.error_on is database.OptimizerErrorEnum.CONSTRUCTION_ERROR:
        with pytest.raises(error.error_type, match=error.error_regex):
            make(params, **converted(wrong.kwargs))
        return
    optimizer = make(params, **converted(wrong.kwargs))
    for param, given in zip(params, wrong.params, strict=True):
        param.grad = converted(given.grad)
    with pytest.raises(error.error_type, match=error.error_regex):
        optimizer.step()
