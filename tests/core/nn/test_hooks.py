"""Hooks of modules: before and after the forward pass, during the backward pass, on registration."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import flambeau
from flambeau import nn
from flambeau.nn.modules import module as module_hooks


class Scale(nn.Module):
    """``input * factor + offset``"""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(flambeau.tensor(factor))

    def forward(self, input: Any, offset: float = 0.0) -> Any:
        return input * self.factor + offset


def leaf(*values: float) -> Any:
    return flambeau.tensor(list(values), requires_grad=True)


# -- forward -----------------------------------------------------------------------------------------------------------


def test_forward_hooks_see_and_replace() -> None:
    net = Scale(2.0)
    seen: list[Any] = []
    net.register_forward_pre_hook(lambda module, args: seen.append(("before", module, args)))
    handle = net.register_forward_hook(lambda module, args, output: seen.append(("after", args, output)))
    x = leaf(1.0)
    y = net(x)
    assert seen == [("before", net, (x,)), ("after", (x,), y)]
    handle.remove()
    handle.remove()
    net(x)
    assert [entry[0] for entry in seen] == ["before", "after", "before"]
    net.register_forward_pre_hook(lambda module, args: args[0] + 1)  # a single value stands for a tuple
    net.register_forward_hook(lambda module, args, output: output * 10)
    assert net(x).tolist() == [40.0]


def test_keyword_arguments_reach_hooks_that_ask_for_them() -> None:
    net = Scale(2.0)
    net.register_forward_pre_hook(lambda module, args, kwargs: (args, {"offset": 5.0}), with_kwargs=True)
    net.register_forward_hook(lambda module, args, kwargs, output: output + kwargs["offset"], with_kwargs=True)
    assert net(leaf(1.0), offset=1.0).tolist() == [12.0]
    net.register_forward_pre_hook(lambda module, args, kwargs: args, with_kwargs=True)
    with pytest.raises(RuntimeError, match=r"must return None or a tuple of \(new_args, new_kwargs\), but got"):
        net(leaf(1.0))


def test_prepended_hooks_come_first() -> None:
    net = Scale(1.0)
    order: list[str] = []
    net.register_forward_hook(lambda *args: order.append("second"))
    net.register_forward_hook(lambda *args: order.append("first"), prepend=True)
    net.register_forward_pre_hook(lambda *args: order.append("early"))
    net.register_forward_pre_hook(lambda *args: order.append("earlier"), prepend=True)
    net(leaf(1.0))
    assert order == ["earlier", "early", "first", "second"]


def test_always_called_hooks_are_called_after_an_error() -> None:
    class Fails(nn.Module):
        def forward(self) -> None:
            raise ValueError("forward failed")

    net = Fails()
    seen: list[Any] = []
    net.register_forward_hook(lambda module, args, output: seen.append("never"))
    net.register_forward_hook(lambda module, args, output: seen.append(output), always_call=True)
    with pytest.raises(ValueError, match="forward failed"):
        net()
    assert seen == [None]

    def breaks(module: Any, args: Any, output: Any) -> None:
        raise KeyError("hook failed")

    net.register_forward_hook(breaks, always_call=True)
    with pytest.warns(UserWarning, match="raised an exception that was silenced"), pytest.raises(ValueError):
        net()


def test_an_always_called_hook_is_called_once() -> None:
    net = Scale(1.0)
    calls: list[int] = []

    def breaks(module: Any, args: Any, output: Any) -> None:
        calls.append(1)
        raise KeyError("hook failed")

    net.register_forward_hook(breaks, always_call=True)
    with pytest.raises(KeyError, match="hook failed"):
        net(leaf(1.0))
    assert calls == [1]


def test_removed_hooks_leave_nothing_behind() -> None:
    net = Scale(1.0)
    handles = [
        net.register_forward_hook(print, with_kwargs=True, always_call=True),
        net.register_forward_pre_hook(print, with_kwargs=True),
    ]
    for handle in handles:
        handle.remove()
    kept = [name for name, value in vars(net).items() if "hook" in name and value]
    assert kept == []


def test_a_handle_is_a_context_manager() -> None:
    net = Scale(1.0)
    calls: list[Any] = []
    with net.register_forward_hook(lambda *args: calls.append(args)):
        net(leaf(1.0))
    net(leaf(1.0))
    assert len(calls) == 1


def test_copies_have_their_own_hooks() -> None:
    net = Scale(1.0)
    calls: list[Any] = []
    twin = copy.deepcopy(net)
    net.register_forward_hook(lambda *args: calls.append(args))
    twin(leaf(1.0))
    assert calls == []


# -- backward ----------------------------------------------------------------------------------------------------------


def test_backward_hooks_see_the_gradients() -> None:
    net = Scale(3.0)
    seen: list[Any] = []
    net.register_full_backward_pre_hook(lambda module, grad_output: seen.append([g.tolist() for g in grad_output]))
    net.register_full_backward_hook(
        lambda module, grad_input, grad_output: seen.append(
            ([g.tolist() for g in grad_input], [g.tolist() for g in grad_output])
        )
    )
    x = leaf(1.0, 2.0)
    (net(x) * 2).sum().backward()
    assert seen == [[[2.0, 2.0]], ([[6.0, 6.0]], [[2.0, 2.0]])]
    assert x.grad.tolist() == [6.0, 6.0]
    assert net.factor.grad.item() == 6.0


def test_backward_hooks_replace_the_gradients() -> None:
    net = Scale(3.0)
    net.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 10,))
    net.register_full_backward_hook(lambda module, grad_input, grad_output: (grad_input[0] + 1,))
    x = leaf(1.0)
    net(x).sum().backward()
    assert x.grad.tolist() == [31.0]
    assert net.factor.grad.item() == 10.0


def test_backward_hooks_with_several_inputs_and_outputs() -> None:
    class Swap(nn.Module):
        def forward(self, a: Any, name: str, b: Any) -> Any:
            return b * 2, name, a * 3

    net = Swap()
    seen: list[Any] = []
    net.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append((grad_input, grad_output)))
    a, b = leaf(1.0), flambeau.tensor([1.0])
    outputs = net(a, "label", b)
    assert outputs[1] == "label"
    outputs[2].sum().backward()
    grad_input, grad_output = seen[0]
    assert grad_input[0].tolist() == [3.0]
    assert grad_input[1:] == (None, None)
    assert grad_output[:2] == (None, None)
    assert grad_output[2].tolist() == [1.0]


def test_backward_hooks_where_no_input_requires_a_gradient() -> None:
    net = Scale(3.0)
    seen: list[Any] = []
    handle = net.register_full_backward_hook(lambda module, grad_input, grad_output: seen.append(grad_input))
    with pytest.warns(UserWarning, match="Full backward hook is firing"):
        net(flambeau.tensor([1.0])).sum().backward()
    assert seen == [(None,)]
    handle.remove()
    net.register_full_backward_hook(lambda module, grad_input, grad_output: (flambeau.ones(1),))
    with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="should always return None or None for all"):
        net(flambeau.tensor([1.0])).sum().backward()


def test_wrong_numbers_of_gradients() -> None:
    net = Scale(3.0)
    handle = net.register_full_backward_hook(lambda module, grad_input, grad_output: grad_input * 2)
    with pytest.raises(RuntimeError, match="invalid number of grad_input, got 2, but expected 1"):
        net(leaf(1.0)).sum().backward()
    handle.remove()
    net.register_full_backward_pre_hook(lambda module, grad_output: ())
    with pytest.raises(RuntimeError, match="invalid number of grad_output, got 0, but expected 1"):
        net(leaf(1.0)).sum().backward()


def test_backward_hooks_need_tensors() -> None:
    class Dictionary(nn.Module):
        def forward(self, x: Any) -> Any:
            return {"y": x}

    net = Dictionary()
    net.register_full_backward_hook(lambda module, grad_input, grad_output: None)
    with pytest.warns(UserWarning, match="module output should be a Tensor or a tuple of Tensors"):
        net(leaf(1.0))


# -- of every module ---------------------------------------------------------------------------------------------------


def test_global_hooks() -> None:
    seen: list[str] = []
    handles = [
        module_hooks.register_module_forward_pre_hook(lambda module, args: seen.append("pre")),
        module_hooks.register_module_forward_hook(lambda module, args, output: seen.append("post")),
        module_hooks.register_module_full_backward_pre_hook(lambda module, grads: seen.append("backward pre")),
        module_hooks.register_module_full_backward_hook(lambda module, inputs, outputs: seen.append("backward")),
    ]
    net = Scale(1.0)
    net.register_forward_pre_hook(lambda module, args: seen.append("own pre"))
    try:
        net(leaf(1.0)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    assert seen == ["pre", "own pre", "post", "backward pre", "backward"]
    net(leaf(1.0))
    assert seen[5:] == ["own pre"]


def test_registration_hooks() -> None:
    seen: list[Any] = []
    replacement = nn.Tanh()
    handles = [
        module_hooks.register_module_parameter_registration_hook(lambda module, name, value: seen.append(name)),
        module_hooks.register_module_buffer_registration_hook(lambda module, name, value: seen.append(name)),
        module_hooks.register_module_module_registration_hook(lambda module, name, value: replacement),
    ]
    try:
        net = Scale(1.0)
        net.register_buffer("count", flambeau.zeros(1))
        net.child = nn.ReLU()
    finally:
        for handle in handles:
            handle.remove()
    assert seen == ["factor", "count"]
    assert net.child is replacement
