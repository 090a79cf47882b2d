"""What all optimizers share: groups, state, saving and loading, hooks."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import flambeau
from flambeau import nn, optim
from flambeau.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
    required,
)


def parameter(*values: float, grad: list[float] | None = None) -> Any:
    made = nn.Parameter(flambeau.tensor(list(values)))
    if grad is not None:
        made.grad = flambeau.tensor(grad)
    return made


class Sign(Optimizer):
    """Steps of one size: an optimizer as a user would write it."""

    def __init__(self, params: Any, lr: Any = required) -> None:
        super().__init__(params, {"lr": lr})

    @flambeau.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for param in group["params"]:
                state = self.state[param]
                state["count"] = state.get("count", 0) + 1
                param.sub_(param.grad.sign() * group["lr"])


# -- groups ------------------------------------------------------------------------------------------------------------


def test_groups_have_options_of_their_own() -> None:
    first, second, third = parameter(1.0), parameter(2.0), parameter(3.0)
    optimizer = optim.SGD([{"params": first, "lr": 0.5}, {"params": [second, third]}], lr=0.1)
    assert [group["params"] for group in optimizer.param_groups] == [[first], [second, third]]
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.1]
    fourth = parameter(4.0)
    optimizer.add_param_group({"params": (tensor for tensor in [fourth]), "momentum": 0.9})
    assert optimizer.param_groups[2]["params"] == [fourth]
    assert optimizer.param_groups[2]["lr"] == 0.1
    for tensor in (first, second, third, fourth):
        tensor.grad = flambeau.ones(1)
    optimizer.param_groups[1]["lr"] = 1.0
    optimizer.step()
    assert [tensor.item() for tensor in (first, second, third, fourth)] == pytest.approx([0.5, 1.0, 2.0, 3.9])


def test_all_kinds_of_iterables() -> None:
    tensors = {"a": parameter(1.0), "b": parameter(2.0)}
    expected = list(tensors.values())
    plain = [tensor.detach().clone().requires_grad_() for tensor in expected]  # leaves, but no parameters
    for given in (tensors.values(), tuple(expected), iter(expected), tensors.items(), plain):
        assert len(optim.SGD(given).param_groups[0]["params"]) == 2


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda p: optim.SGD(p), TypeError, "should be an iterable of Tensors or dicts, but got flambeau.Parameter"),
        (lambda p: optim.SGD([]), ValueError, "optimizer got an empty parameter list"),
        (lambda p: optim.SGD(["p"]), TypeError, "can only optimize Tensors, but one of the params is str"),
        (lambda p: optim.SGD([{"params": {p}}]), TypeError, "need to be organized in ordered collections"),
        (lambda p: optim.SGD([p * 2]), ValueError, "can't optimize a non-leaf Tensor"),
        (
            lambda p: optim.SGD([{"params": [p]}, {"params": [p]}]),
            ValueError,
            "appear in more than one parameter group",
        ),
        (lambda p: Sign([p]), ValueError, "didn't specify a value of required optimization parameter lr"),
        (
            lambda p: optim.SGD([p]).add_param_group([p]),
            TypeError,
            "param_group must be a dict, but got <class 'list'>",
        ),
        (
            lambda p: optim.SGD([p]).add_param_group({"params": [("n", parameter(1.0))]}),
            ValueError,
            "with/without names",
        ),
        (lambda p: optim.SGD([("a", p), parameter(1.0)]), ValueError, "Some param names are missing"),
        (lambda p: optim.Adam([p], differentiable=True), NotImplementedError, "differentiable=True is not supported"),
    ],
)
def test_refusals(make: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make(parameter(1.0))


def test_the_same_parameter_twice_warns() -> None:
    tensor = parameter(1.0)
    with pytest.warns(UserWarning, match="contains a parameter group with duplicate parameters"):
        optim.SGD([tensor, tensor])


def test_zero_grad() -> None:
    first, second = parameter(1.0, grad=[2.0]), parameter(1.0)
    optimizer = optim.SGD([first, second])
    optimizer.zero_grad(set_to_none=False)
    assert first.grad.tolist() == [0.0]
    assert second.grad is None
    optimizer.zero_grad()
    assert first.grad is None


def test_closures_run_with_gradients() -> None:
    tensor = parameter(3.0)
    optimizer = optim.SGD([tensor], lr=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (tensor**2).sum()
        loss.backward()
        return loss

    with flambeau.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert tensor.item() == pytest.approx(2.4)
    assert optimizer.step() is None


def test_optimizers_of_users() -> None:
    tensor = parameter(1.0, 2.0, grad=[3.0, -4.0])
    optimizer = Sign([tensor], lr=0.5)
    optimizer.step()
    assert tensor.tolist() == [0.5, 2.5]
    assert optimizer.state[tensor] == {"count": 1}
    assert optimizer.state_dict() == {"state": {0: {"count": 1}}, "param_groups": [{"lr": 0.5, "params": [0]}]}


def test_a_step_that_is_forgotten() -> None:
    class Empty(Optimizer):
        pass

    with pytest.raises(NotImplementedError):
        Empty([parameter(1.0)], {}).step()


def test_steps_are_seen_by_the_tape() -> None:
    tensor = parameter(1.0, grad=[1.0])
    squared = (tensor**2).sum()
    optim.SGD([tensor]).step()
    with pytest.raises(RuntimeError, match="modified"):
        squared.backward()


def test_repr() -> None:
    assert repr(Sign([{"params": [parameter(1.0)], "name": "head"}, {"params": [parameter(1.0)]}], lr=0.5)) == (
        "Sign (\nParameter Group 0\n    lr: 0.5\n    name: head\nParameter Group 1\n    lr: 0.5\n)"
    )


# -- saving and loading ------------------------------------------------------------------------------------------------


def trained(count: int = 2) -> tuple[Any, Any]:
    tensor = parameter(1.0, 2.0)
    optimizer = optim.Adam([tensor], lr=0.1)
    go_on(tensor, optimizer, count)
    return tensor, optimizer


def go_on(tensor: Any, optimizer: Any, count: int = 3) -> None:
    for _ in range(count):
        tensor.grad = tensor.detach() * 2
        optimizer.step()


def test_the_state_dict_is_of_numbers_and_tensors() -> None:
    _, optimizer = trained()
    state = optimizer.state_dict()
    assert list(state["state"]) == [0]
    assert set(state["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}
    step = state["state"][0]["step"]
    assert (step.dtype, step.item(), tuple(step.shape)) == (flambeau.float32, 2.0, ())
    assert state["param_groups"][0]["params"] == [0]


@pytest.mark.parametrize(
    "through", [lambda state: state, copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))]
)
def test_training_goes_on_from_a_state_dict(through: Any) -> None:
    tensor, optimizer = trained()
    twin = nn.Parameter(tensor.detach().clone())
    other = optim.Adam([twin], lr=123.0)
    other.load_state_dict(copy.deepcopy(through(optimizer.state_dict())))
    assert other.param_groups[0]["lr"] == 0.1
    go_on(tensor, optimizer)
    go_on(twin, other)
    assert twin.tolist() == tensor.tolist()


def test_loaded_state_takes_the_parameters_dtype() -> None:
    _, optimizer = trained()
    target = optim.Adam([nn.Parameter(flambeau.zeros(2, dtype=flambeau.float64))])
    target.load_state_dict(optimizer.state_dict())
    state = target.state[target.param_groups[0]["params"][0]]
    assert state["exp_avg"].dtype == flambeau.float64
    assert state["step"] == 2.0


def test_loading_leaves_the_state_dict_alone() -> None:
    _, optimizer = trained()
    state = optimizer.state_dict()
    tensor = parameter(0.0, 0.0)
    other = optim.Adam([tensor])
    other.load_state_dict(state)
    other.param_groups[0]["lr"] = 9.0
    assert state["param_groups"][0]["lr"] == 0.1


def test_loading_what_does_not_fit() -> None:
    _, optimizer = trained()
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match="loaded state dict has a different number of parameter groups"):
        optim.Adam([{"params": [parameter(1.0)]}, {"params": [parameter(1.0)]}]).load_state_dict(state)
    with pytest.raises(ValueError, match="contains a parameter group that doesn't match the size of optimizer's group"):
        optim.Adam([parameter(1.0), parameter(1.0)]).load_state_dict(state)


def test_copies_and_pickles() -> None:
    model = nn.Linear(2, 1)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    model(flambeau.ones(1, 2)).sum().backward()
    optimizer.step()
    for twin_model, twin in (
        copy.deepcopy((model, optimizer)),
        pickle.loads(pickle.dumps((model, optimizer))),
    ):
        assert twin.param_groups[0]["params"][0] is twin_model.weight
        assert twin.state[twin_model.weight]["exp_avg"].tolist() == optimizer.state[model.weight]["exp_avg"].tolist()
        assert repr(twin) == repr(optimizer)
        twin_model(flambeau.ones(1, 2)).sum().backward()
        twin.step()
        assert twin_model.weight.tolist() != model.weight.tolist()


# -- hooks -------------------------------------------------------------------------------------------------------------


def test_hooks_around_a_step() -> None:
    tensor = parameter(1.0, grad=[1.0])
    optimizer = optim.SGD([tensor], lr=1.0)
    calls: list[Any] = []
    handles = [
        optimizer.register_step_pre_hook(lambda opt, args, kwargs: calls.append(("before", opt, tensor.item()))),
        optimizer.register_step_post_hook(lambda opt, args, kwargs: calls.append(("after", opt, tensor.item()))),
        register_optimizer_step_pre_hook(lambda opt, args, kwargs: calls.append("every before")),
        register_optimizer_step_post_hook(lambda opt, args, kwargs: calls.append("every after")),
    ]
    optimizer.step()
    for handle in handles:
        handle.remove()
    assert calls == ["every before", ("before", optimizer, 1.0), ("after", optimizer, 0.0), "every after"]
    optimizer.step()
    assert len(calls) == 4


def test_a_pre_hook_replaces_the_arguments() -> None:
    tensor = parameter(1.0, grad=[1.0])
    optimizer = optim.SGD([tensor], lr=1.0)
    optimizer.register_step_pre_hook(lambda opt, args, kwargs: ((opt, lambda: "from the hook"), {}))
    assert optimizer.step() == "from the hook"
    optimizer.register_step_pre_hook(lambda opt, args, kwargs: 3)
    with pytest.raises(RuntimeError, match=r"must return None or a tuple of \(new_args, new_kwargs\), but got 3"):
        optimizer.step()


def test_hooks_around_saving_and_loading() -> None:
    tensor, optimizer = trained()
    calls: list[str] = []
    optimizer.register_state_dict_pre_hook(lambda opt: calls.append("saving"))
    optimizer.register_state_dict_post_hook(lambda opt, state: {**state, "note": 1})
    optimizer.register_load_state_dict_pre_hook(
        lambda opt, state: {key: value for key, value in state.items() if key != "note"}
    )
    optimizer.register_load_state_dict_post_hook(lambda opt: calls.append("loaded"))
    state = optimizer.state_dict()
    assert state["note"] == 1
    optimizer.load_state_dict(state)
    assert calls == ["saving", "loaded"]
    go_on(tensor, optimizer)
