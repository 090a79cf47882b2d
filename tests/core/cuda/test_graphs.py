"""Graphs: a replay computes what running the work again would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest

import flambeau
from flambeau import cuda, nn


def model() -> nn.Module:
    flambeau.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).cuda()


def test_a_replay_computes_with_new_values(toy: Any) -> None:
    net = model().requires_grad_(False)
    static = flambeau.zeros(4, 3, device="cuda")
    captured = cuda.CUDAGraph()
    with cuda.graph(captured):
        assert cuda.is_current_stream_capturing()
        output = net(static).softmax(-1)
    assert not cuda.is_current_stream_capturing() and cuda.current_stream() == cuda.default_stream()
    for _ in range(2):
        batch = flambeau.randn(4, 3)
        static.copy_(batch)
        captured.replay()
        numpy.testing.assert_allclose(output.cpu(), net(batch.cuda()).softmax(-1).cpu(), rtol=1e-6)
    captured.reset()
    with pytest.raises(RuntimeError, match="replay: nothing has been captured"):
        captured.replay()


def test_steps_without_a_count_can_be_captured(toy: Any) -> None:
    net, twin = model(), model()
    x = flambeau.randn(4, 3, device="cuda")
    steps = [flambeau.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (net, twin)]

    def step(m: nn.Module, optimizer: Any) -> None:
        optimizer.zero_grad(set_to_none=False)
        m(x).square().sum().backward()
        optimizer.step()

    for m, optimizer in zip((net, twin), steps, strict=True):
        step(m, optimizer)  # momentum's memory is made in the first
    captured = cuda.CUDAGraph()
    with cuda.graph(captured):
        step(net, steps[0])  # the toy computes while it notes
    step(twin, steps[1])
    for _ in range(3):
        captured.replay()
        step(twin, steps[1])
    for mine, other in zip(net.parameters(), twin.parameters(), strict=True):
        numpy.testing.assert_allclose(mine.detach().cpu(), other.detach().cpu(), rtol=1e-5)


@pytest.mark.parametrize("make", [
    lambda p: flambeau.optim.Adam(p, lr=0.01, capturable=True),
    lambda p: flambeau.optim.AdamW(p, lr=0.01, weight_decay=0.1, betas=(0.0, 0.99), amsgrad=True, capturable=True),
])  # fmt: skip
def test_adam_counts_its_steps_in_a_graph(toy: Any, make: Any) -> None:
    net, twin = model(), model()
    x = flambeau.randn(4, 3, device="cuda")
    mine = make(net.parameters())
    plain = make(twin.parameters())
    plain.param_groups[0]["capturable"] = False

    def step(m: nn.Module, optimizer: Any) -> None:
        optimizer.zero_grad(set_to_none=False)
        m(x).square().sum().backward()
        optimizer.step()

    for m, optimizer in ((net, mine), (twin, plain)):
        step(m, optimizer)
    assert plain.state[next(twin.parameters())]["step"] == 1.0
    captured = cuda.CUDAGraph()
    with cuda.graph(captured):
        step(net, mine)  # the toy computes while it notes
    step(twin, plain)
    for _ in range(5):
        captured.replay()
        step(twin, plain)
    assert mine.state[next(net.parameters())]["step"].item() == plain.state[next(twin.parameters())]["step"] == 7
    for one, other in zip(net.parameters(), twin.parameters(), strict=True):
        numpy.testing.assert_allclose(one.detach().cpu(), other.detach().cpu(), rtol=1e-5, atol=1e-6)
    mine.load_state_dict(plain.state_dict())  # with the steps as numbers
    mine.param_groups[0]["capturable"] = True
    step(net, mine)
    assert mine.state[next(net.parameters())]["step"].item() == 8


def test_what_would_stand_still_is_refused(toy: Any) -> None:
    x = flambeau.ones(3, device="cuda")
    refused = r"capture_end: random numbers were drawn \(dropout\?\)"
    with pytest.raises(RuntimeError, match=refused), cuda.graph(cuda.CUDAGraph()):
        nn.functional.dropout(x)
    parameter = nn.Parameter(x)
    optimizer = flambeau.optim.Adam([parameter])
    parameter.sum().backward()
    refused = r"Adam.step: it counts its steps, and in a graph the count stands still"
    with pytest.raises(RuntimeError, match=refused), cuda.graph(cuda.CUDAGraph()):
        optimizer.step()
    optimizer.step()  # outside of a graph it may
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"), cuda.graph(cuda.CUDAGraph()):
        x.sum().item()
    assert not cuda.is_current_stream_capturing()


def test_the_order_of_calls(toy: Any) -> None:
    captured = cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="capture_end: there was no capture_begin"):
        captured.capture_end()
    with pytest.raises(RuntimeError, match="capture_begin: the default stream cannot be captured"):
        captured.capture_begin()
    with pytest.raises(ValueError, match="expected a mode of global, thread_local, relaxed, got 'strict'"):
        captured.capture_begin(capture_error_mode="strict")
    with pytest.raises(RuntimeError, match="pool: nothing has been captured"):
        captured.pool()
    handle = cuda.graph_pool_handle()
    with cuda.graph(captured, pool=handle, stream=cuda.Stream()):
        pass
    captured.instantiate()
    assert captured.pool() is handle
    with pytest.raises(RuntimeError, match="capture_begin: this object holds a graph"), cuda.graph(captured):
        pass
    assert cuda.current_stream() == cuda.default_stream()


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: lambda x: m(x)], ids=["module", "function"])
def test_graphed_callables_train(toy: Any, wrap: Callable[[Any], Any]) -> None:
    net, twin = model(), model()
    graphed = cuda.make_graphed_callables(wrap(net), (flambeau.randn(4, 3, device="cuda", requires_grad=True),))
    if wrap(net) is net:
        assert graphed is net
    for _ in range(2):
        batch = flambeau.randn(4, 3)
        results = []
        for m in (graphed, twin):
            x = batch.cuda().requires_grad_()
            for parameter in (*net.parameters(), *twin.parameters()):
                parameter.grad = None
            output = m(x)
            output.square().sum().backward()
            results.append([output, x.grad])
            if m is twin or graphed is net:
                results[-1] += [p.grad for p in (net if m is graphed else twin).parameters()]
        for mine, other in zip(*results, strict=False):
            numpy.testing.assert_allclose(mine.detach().cpu(), other.detach().cpu(), rtol=1e-5)


def test_gradients_add_up_over_passes(toy: Any) -> None:
    net, twin = model(), model()
    cuda.make_graphed_callables(net, (flambeau.randn(4, 3, device="cuda"),))
    for _ in range(3):
        x = flambeau.randn(4, 3, device="cuda")
        for m in (net, twin):
            m(x).square().sum().backward()
    for mine, other in zip(net.parameters(), twin.parameters(), strict=True):
        numpy.testing.assert_allclose(mine.grad.cpu(), other.grad.cpu(), rtol=1e-5)


def test_a_capture_that_cannot_begin_leaves_nothing(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any) -> None:
        raise RuntimeError("cudaErrorStreamCaptureUnsupported")

    monkeypatch.setattr(toy, "begin_capture", refuse)
    with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureUnsupported"), cuda.graph(cuda.CUDAGraph()):
        pass
    assert cuda.current_stream() == cuda.default_stream()
    optimizer = flambeau.optim.Adam([nn.Parameter(flambeau.ones(1))])
    optimizer.param_groups[0]["params"][0].sum().backward()
    optimizer.step()  # nobody looks after it any more


def test_a_graphed_module_in_the_other_mode_runs_as_before(toy: Any) -> None:
    net = model()
    cuda.make_graphed_callables(net, (flambeau.randn(4, 3, device="cuda"),))
    replays = cuda.default_stream()._raw.given
    net.eval()
    assert net(flambeau.ones(7, 3, device="cuda")).shape == (7, 2)  # another batch size, which the graph has not
    net.train()
    assert net(flambeau.ones(4, 3, device="cuda")).shape == (4, 2)
    assert cuda.default_stream()._raw.given > replays


def test_several_callables_share_memory(toy: Any) -> None:
    first, second = nn.Linear(3, 5).cuda(), nn.Linear(5, 2).cuda()
    x, hidden = flambeau.randn(4, 3, device="cuda"), flambeau.randn(4, 5, device="cuda", requires_grad=True)
    expected = (x @ first.weight.t() + first.bias) @ second.weight.t() + second.bias
    one, two = cuda.make_graphed_callables((first, second), ((x.clone(),), (hidden,)))
    output = two(one(x))
    output.sum().backward()
    numpy.testing.assert_allclose(output.detach().cpu(), expected.detach().cpu(), rtol=1e-5)
    gradient = flambeau.autograd.grad(expected.sum(), [first.weight])[0]
    numpy.testing.assert_allclose(first.weight.grad.cpu(), gradient.cpu(), rtol=1e-5)


def test_what_cannot_be_graphed(toy: Any) -> None:
    x = flambeau.ones(4, 3, device="cuda")
    net = model()
    net.register_forward_hook(lambda *_: None)
    with pytest.raises(RuntimeError, match="make_graphed_callables: the module has hooks"):
        cuda.make_graphed_callables(net, (x,))
    with pytest.raises(TypeError, match="the arguments have to be tensors, got int too"):
        cuda.make_graphed_callables(model(), (x, 3))
    net = model()
    net.register_buffer("scale", flambeau.ones(1, device="cuda", requires_grad=True))
    with pytest.raises(RuntimeError, match="a buffer of the module requires a gradient"):
        cuda.make_graphed_callables(net, (x,))
    with pytest.raises(RuntimeError, match="random numbers were drawn"):
        cuda.make_graphed_callables(nn.Dropout(), (x,))
