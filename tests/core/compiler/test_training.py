"""Whole training steps: forward pass, backward pass, clipping, optimizer, scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau
from flambeau import nn, optim
from flambeau.nn import functional as F

from .test_same_as_eager import bits, network

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "SGD with momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "Adam, amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.1),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01),
    "RAdam": lambda p: optim.RAdam(p, lr=0.01),
    "Adamax": lambda p: optim.Adamax(p, lr=0.01),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.01),
    "Adadelta": lambda p: optim.Adadelta(p, lr=0.1),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
    "Rprop": lambda p: optim.Rprop(p, lr=0.01),
    "ASGD": lambda p: optim.ASGD(p, lr=0.01),
    "Adafactor": lambda p: optim.Adafactor(p, lr=0.01),
    "Muon": lambda p: optim.Muon([q for q in p if q.ndim == 2], lr=0.01),
}

Step = Callable[[flambeau.Tensor, flambeau.Tensor], Any]


def trained(prepare: Callable[[], tuple[Step, nn.Module, Any]], compile: bool, steps: int = 8) -> Any:
    """What some steps return, and the state that they lead to."""
    flambeau.manual_seed(0)
    step, module, optimizer = prepare()
    if compile:
        step = flambeau.compile(step, fullgraph=True)
    seen = []
    for _ in range(steps):
        x, y = flambeau.randn(6, 2, 4, 4), flambeau.randint(0, 3, (6,))
        seen.append(bits(step(x, y)))
    if compile:
        assert 1 <= len(step._replays) <= 2 and step._unsettled <= 2  # type: ignore[attr-defined]
    state = [bits(dict(own)) for own in optimizer.state.values()]
    grads = [None if p.grad is None else bits(p.grad) for p in module.parameters()]
    return seen, bits(dict(module.state_dict())), state, grads, [p._version for p in module.parameters()]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name: str) -> None:
    def prepare() -> tuple[Step, nn.Module, Any]:
        module = network()
        optimizer = OPTIMIZERS[name](module.parameters())

        def step(x: flambeau.Tensor, y: flambeau.Tensor) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(module(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return step, module, optimizer

    assert trained(prepare, True, 4 if name == "RAdam" else 8) == trained(prepare, False, 4 if name == "RAdam" else 8)


def test_every_optimizer_is_tried() -> None:
    classes = {name for name, cls in vars(optim).items() if isinstance(cls, type) and issubclass(cls, optim.Optimizer)}
    assert classes - {name.split(",")[0].split(" ")[0] for name in OPTIMIZERS} == {"Optimizer", "LBFGS"}


def test_lbfgs_runs_as_it_is() -> None:
    def run(compile: bool) -> Any:
        flambeau.manual_seed(0)
        module = nn.Linear(4, 3)
        optimizer = optim.LBFGS(module.parameters(), lr=0.1)
        x = flambeau.randn(5, 4)

        def step() -> Any:
            def closure() -> Any:
                optimizer.zero_grad()
                loss = module(x).square().sum()
                loss.backward()
                return loss

            return optimizer.step(closure)

        called = flambeau.compile(step) if compile else step
        return [bits(called()) for _ in range(4)], bits(module.weight)

    expected = run(False)
    with pytest.warns(UserWarning, match="LBFGS looks at the values"):
        assert run(True) == expected


def test_a_closure() -> None:
    def prepare() -> tuple[Step, nn.Module, Any]:
        module = network()
        optimizer = optim.Adam(module.parameters(), lr=0.01)

        def step(x: flambeau.Tensor, y: flambeau.Tensor) -> Any:
            def closure() -> Any:
                optimizer.zero_grad()
                loss = F.cross_entropy(module(x), y)
                loss.backward()
                return loss

            return optimizer.step(closure)

        return step, module, optimizer

    assert trained(prepare, True) == trained(prepare, False)


def test_everything_at_once() -> None:
    """Two groups, clipping, a scheduler, gradients that are kept for two steps, several results."""

    def prepare() -> tuple[Step, nn.Module, Any]:
        module = network()
        weights = [p for p in module.parameters() if p.ndim > 1]
        others = [p for p in module.parameters() if p.ndim <= 1]
        optimizer = optim.AdamW([{"params": weights, "weight_decay": 0.1}, {"params": others, "lr": 0.02}], lr=0.01)
        scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5)

        def step(x: flambeau.Tensor, y: flambeau.Tensor) -> Any:
            for part in (slice(0, 3), slice(3, 6)):
                scores = module(x[part])
                loss = F.cross_entropy(scores, y[part]) / 2
                loss.backward()
            norm = nn.utils.clip_grad_norm_(module.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            return {"loss": loss.detach(), "norm": norm, "hits": (scores.argmax(1) == y[3:]).sum()}

        return step, module, optimizer

    assert trained(prepare, True) == trained(prepare, False)


@pytest.mark.parametrize("scheduler", ["StepLR", "ExponentialLR", "OneCycleLR", "SequentialLR"])
def test_schedulers(scheduler: str) -> None:
    def prepare() -> tuple[Step, nn.Module, Any]:
        module = nn.Sequential(nn.Flatten(), nn.Linear(32, 3))
        optimizer = optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        kinds = optim.lr_scheduler
        stepping = {
            "StepLR": lambda: kinds.StepLR(optimizer, 2),
            "ExponentialLR": lambda: kinds.ExponentialLR(optimizer, 0.9),
            "OneCycleLR": lambda: kinds.OneCycleLR(optimizer, 0.5, total_steps=20),
            "SequentialLR": lambda: kinds.SequentialLR(
                optimizer, [kinds.LinearLR(optimizer), kinds.ExponentialLR(optimizer, 0.9)], [3]
            ),
        }[scheduler]()

        def step(x: flambeau.Tensor, y: flambeau.Tensor) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(module(x), y)
            loss.backward()
            optimizer.step()
            stepping.step()
            return loss

        return step, module, optimizer

    assert trained(prepare, True) == trained(prepare, False)


def test_which_replay_fits_is_known_before_anything_happens() -> None:
    """Whether a class is ignored decides between two recordings; statistics and random numbers move once."""

    def prepare() -> tuple[Step, nn.Module, Any]:
        module = network()
        optimizer = optim.SGD(module.parameters(), lr=0.1)
        ignored = flambeau.tensor([0, 1, -100, 2, -100, 0])
        turns = iter([0, 1, 0, 1, 1, 0, 0, 1])

        def step(x: flambeau.Tensor, y: flambeau.Tensor) -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(module(x), y.reshape(6))
            loss.backward()
            optimizer.step()
            return loss

        compiled = flambeau.compile(step, fullgraph=True) if compiling else step
        return lambda x, y: compiled(x, ignored if next(turns) else y), module, optimizer

    compiling = False
    expected = trained(prepare, False)
    compiling = True
    assert trained(prepare, False) == expected


def test_what_is_looked_at_is_computed_inside() -> None:
    layer = nn.BatchNorm1d(4)

    @flambeau.compile
    def loss(x: flambeau.Tensor) -> flambeau.Tensor:
        x = layer(x) + flambeau.rand(6, 4)
        return F.cross_entropy(x, (x + flambeau.rand(6, 4)).argmax(1))

    with pytest.warns(UserWarning, match="a loss depends on which classes its target has"):
        loss(flambeau.randn(6, 4))


def test_a_rate_that_the_program_sets() -> None:
    """Options are read anew in each step; nothing is recorded again for them."""
    weight = nn.Parameter(flambeau.zeros(2))
    optimizer = optim.SGD([weight], lr=1.0)

    @flambeau.compile(fullgraph=True)
    def step(target: flambeau.Tensor) -> None:
        optimizer.zero_grad()
        (weight * target).sum().backward()
        optimizer.step()

    for lr in (1.0, 1.0, 0.5, 0.25, 0.125):
        optimizer.param_groups[0]["lr"] = lr
        step(flambeau.ones(2))
    assert weight.tolist() == [-2.875, -2.875]
    assert len(step._replays) == 2  # gradients were None, and then they were not
    optimizer.param_groups[0]["momentum"] = 0.5
    step(flambeau.ones(2))
    step(flambeau.ones(2))
    assert optimizer.state[weight]["momentum_buffer"].tolist() == [1.5, 1.5]
    compiled_for_numbers = flambeau.compile(lambda: optimizer.step())
    for _ in range(3):
        compiled_for_numbers()
    before = weight.tolist()
    optimizer.param_groups[0].update(lr=flambeau.tensor(1.0), momentum=0.0)
    with pytest.warns(UserWarning, match="the value of a tensor is read"):
        compiled_for_numbers()
    assert weight.tolist() == [value - 1 for value in before]


def test_gradients_add_up() -> None:
    weight = nn.Parameter(flambeau.ones(3))
    step = flambeau.compile(lambda x: (weight * x).sum().backward(), fullgraph=True)
    for i in range(1, 5):
        step(flambeau.ones(3))
        assert weight.grad is not None and weight.grad.tolist() == [i] * 3
    held = weight.grad
    step(flambeau.ones(3))
    assert weight.grad is held and held.tolist() == [5] * 3
    weight.grad = None
    step(flambeau.ones(3))
    assert held.tolist() == [5] * 3 and weight.grad.tolist() == [1] * 3


def test_a_state_that_is_loaded() -> None:
    """Another state, by load_state_dict, is found and used."""

    def run(compile: bool) -> Any:
        flambeau.manual_seed(0)
        weight = nn.Parameter(flambeau.randn(3))
        optimizer = optim.Adam([weight], lr=0.1)

        def step() -> None:
            optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()

        called = flambeau.compile(step) if compile else step
        for _ in range(3):
            called()
        state = optimizer.state_dict()
        for _ in range(3):
            called()
        optimizer.load_state_dict(state)
        for _ in range(3):
            called()
        return bits(weight)

    assert run(True) == run(False)


def test_a_state_that_is_made_in_each_call() -> None:
    weight = nn.Parameter(flambeau.ones(2))
    optimizer = optim.Adam([weight])

    @flambeau.compile(options={"recompile_limit": 3})
    def step() -> None:
        optimizer.zero_grad()
        weight.sum().backward()
        optimizer.step()

    for _ in range(3):
        optimizer.state.clear()
        step()
    optimizer.state.clear()
    with pytest.warns(UserWarning, match="an optimizer's state is made anew in each call"):
        step()


def test_the_loss_is_done_with() -> None:
    """As ever, what a backward pass went through cannot be gone through again."""
    weight = nn.Parameter(flambeau.ones(3))

    @flambeau.compile(fullgraph=True)
    def step() -> flambeau.Tensor:
        loss = weight.square().sum()
        loss.backward()
        return loss

    for _ in range(4):
        loss = step()
        assert loss.requires_grad and type(loss.grad_fn).__name__ == "Node"
        with pytest.raises(RuntimeError, match="second time"):
            loss.backward()


def test_two_optimizers_and_detached_results() -> None:
    """A generator and a critic, as in a GAN."""

    def prepare() -> tuple[Step, nn.Module, Any]:
        makes, judges = nn.Linear(4, 32), nn.Linear(32, 1)
        making, judging = optim.Adam(makes.parameters(), 0.01), optim.Adam(judges.parameters(), 0.01)
        both = nn.ModuleList([makes, judges])

        def step(x: flambeau.Tensor, y: flambeau.Tensor) -> Any:
            made = makes(flambeau.randn(6, 4))
            real, false = flambeau.ones(6, 1), flambeau.zeros(6, 1)
            judging.zero_grad()
            seen = F.binary_cross_entropy_with_logits(judges(x.flatten(1)), real)
            fake = F.binary_cross_entropy_with_logits(judges(made.detach()), false)
            (seen + fake).backward()
            judging.step()
            making.zero_grad()
            loss = F.binary_cross_entropy_with_logits(judges(made), real)
            loss.backward()
            making.step()
            return seen, fake, loss

        return step, both, making

    assert trained(prepare, True) == trained(prepare, False)


def test_hooks_on_parameters() -> None:
    """In a backward pass outside they run; a step that has them inside runs as it is."""
    weight = nn.Parameter(flambeau.ones(3))
    product = flambeau.compile(lambda x: (weight * x).sum(), fullgraph=True)
    step = flambeau.compile(lambda x: (weight * x).sum().backward())
    for _ in range(3):
        step(flambeau.ones(3))
    seen: list[float] = []
    handle = weight.register_hook(lambda g: seen.append(g.sum().item()))
    for i in range(1, 4):
        product(flambeau.full((3,), float(i))).backward()
    assert seen == [3, 6, 9]
    with pytest.warns(UserWarning, match="a hook is registered on the gradient of a tensor from outside"):
        step(flambeau.ones(3))
    step(flambeau.ones(3))
    assert seen == [3, 6, 9, 3, 3]
    handle.remove()
    step(flambeau.ones(3))
    assert weight.grad is not None and weight.grad.tolist() == [12, 12, 12] and len(seen) == 5


def test_a_history_that_goes_on_outside() -> None:
    """A backward pass inside reaches what its argument came from."""
    step = flambeau.compile(lambda x: (x * 2).sum().backward())
    weight = nn.Parameter(flambeau.ones(3))
    step(weight)
    step(weight)
    with pytest.warns(UserWarning, match="a backward pass may go on beyond a tensor from outside"):
        step(weight * 3)
    step(weight * 3)
    assert weight.grad is not None and weight.grad.tolist() == [16, 16, 16]
