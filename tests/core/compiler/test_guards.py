"""When a recording is replayed, when there is another one, and what cannot be recorded."""

from __future__ import annotations

import copy
import io
import pickle
import random
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy
import pytest

import flambeau
from flambeau import compiler, nn
from flambeau.nn import functional as F

x = flambeau.ones(3)


# -- guards ----------------------------------------------------------------------------------------------------------


def recordings(compiled: Any) -> int:
    return len(getattr(compiled, "_compiled", compiled)._replays)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((flambeau.ones(3),), (flambeau.ones(4),)),
        ((flambeau.ones(3),), (flambeau.ones(3).double(),)),
        ((flambeau.ones(3),), (flambeau.ones(3).requires_grad_(),)),
        ((flambeau.ones(3, 3),), (flambeau.ones(3, 3).t()[:, ::1].contiguous()[:, :1].expand(3, 3),)),
        ((flambeau.ones(3),), (nn.Parameter(flambeau.ones(3)),)),
        ((x, 2), (x, 3)),
        ((x, 2), (x, 2.0)),
        ((x, "a"), (x, "b")),
        ((x, None), (x, False)),
        ((x, [x]), (x, (x,))),
        ((x, [x]), (x, [x, x])),
        ((x, {"a": x}), (x, {"b": x})),
        ((x, x), (x, flambeau.ones(3))),
        ((x, flambeau.float32), (x, flambeau.float64)),
    ],
)
def test_arguments(first: tuple[Any, ...], second: tuple[Any, ...]) -> None:
    compiled = flambeau.compile(lambda *args: args[0] * 2, fullgraph=True)
    for args in (first, second, first, second):
        assert flambeau.equal(compiled(*args), args[0] * 2)
    assert recordings(compiled) == 2


def test_equal_shapes_and_slices_are_the_same() -> None:
    compiled = flambeau.compile(lambda a, size, part: a.reshape(size)[part], fullgraph=True)
    for _ in range(3):
        assert compiled(flambeau.arange(6), flambeau.ones(2, 3).shape, slice(0, 1)).tolist() == [[0, 1, 2]]
    assert recordings(compiled) == 1
    assert compiled(flambeau.arange(6), flambeau.ones(3, 2).shape, slice(1, 3)).tolist() == [[2, 3], [4, 5]]


def test_keywords() -> None:
    compiled = flambeau.compile(lambda a, *, b=1, c=None: a * b if c is None else c, fullgraph=True)
    for _ in range(2):
        assert compiled(x).tolist() == [1, 1, 1]
        assert compiled(x, b=2).tolist() == [2, 2, 2]
        assert compiled(a=x, b=2).tolist() == [2, 2, 2]
        assert compiled(x, c=x).tolist() == [1, 1, 1]
    assert recordings(compiled) == 4


SCALE = 2.0
WORDS = ["double"]


class Names:
    offset = 0.0


class Settings:
    power = 1

    def __init__(self) -> None:
        self.scale = 2.0
        self.inner = {"shift": [0.0]}


class Slotted:
    __slots__ = ("scale",)

    def __init__(self) -> None:
        self.scale = 2.0


def test_what_a_function_reads() -> None:
    """Globals, closures, attributes, containers: when one changes, there is another recording."""
    global SCALE
    settings, slotted, factor = Settings(), Slotted(), 2.0

    def scaled(a: flambeau.Tensor) -> flambeau.Tensor:
        result = a * SCALE * factor * slotted.scale * settings.scale + settings.inner["shift"][0] + Names.offset
        return (result**settings.power).neg() if "negative" in WORDS else result**settings.power

    compiled = flambeau.compile(scaled, fullgraph=True)

    def check(times: int) -> None:
        for _ in range(2):
            assert flambeau.equal(compiled(x), scaled(x))
        assert recordings(compiled) == times

    check(1)
    SCALE = 3.0
    check(2)
    factor = 3.0
    check(3)
    settings.scale = 3.0
    check(4)
    settings.inner["shift"][0] = 1.0
    check(5)
    slotted.scale = 3.0
    check(6)
    WORDS.append("negative")
    check(7)
    settings.power = 2
    check(8)
    compiler.reset()
    check(1)
    Names.offset = 1.0
    check(2)
    SCALE, Names.offset = 2.0, 0.0
    WORDS.remove("negative")


def test_what_is_gone() -> None:
    """An attribute, a variable and a key that were read and are deleted: the function's own error, or what it does."""
    settings, factor = Settings(), 2.0

    def scaled(a: flambeau.Tensor) -> flambeau.Tensor:
        return a * factor * getattr(settings, "scale", 1.0)

    compiled = flambeau.compile(scaled, fullgraph=True)
    for _ in range(2):
        assert compiled(x).tolist() == [4, 4, 4]
    del settings.scale
    assert compiled(x).tolist() == [2, 2, 2] and recordings(compiled) == 2
    settings.scale = 3.0
    assert compiled(x).tolist() == [6, 6, 6] and recordings(compiled) == 3
    del factor
    with pytest.raises(NameError, match="factor"):
        compiled(x)
    factor = 2.0
    assert compiled(x).tolist() == [6, 6, 6]


def test_what_a_module_reads() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = 2.0
            self.drop = nn.Dropout(0.5)
            self.layers = nn.ModuleList([nn.Linear(3, 3)])

        def forward(self, a: flambeau.Tensor) -> flambeau.Tensor:
            for layer in self.layers:
                a = layer(a)
            return self.drop(a) * self.scale if self.training else a

    module = Scaled().eval()
    compiled = flambeau.compile(module, fullgraph=True)

    def check(times: int) -> None:
        for _ in range(2):
            flambeau.manual_seed(0)
            first = compiled(x)
            flambeau.manual_seed(0)
            assert flambeau.equal(first, module(x))
        assert recordings(compiled) == times

    check(1)
    compiled.train()
    check(2)
    module.scale = 3.0
    check(3)
    module.drop.p = 0.1
    check(4)
    module.layers.append(nn.Linear(3, 3))
    check(5)
    module.layers[0].weight = nn.Parameter(flambeau.ones(3, 3))
    check(6)
    module.layers[0].register_forward_hook(lambda module, args, output: output + 1)
    check(7)
    module.eval()
    check(8)


def test_methods_that_are_replaced() -> None:
    module, own = nn.Linear(3, 3), Twice()
    compiled = flambeau.compile(module, fullgraph=True)
    calls = flambeau.compile(lambda a: own.method(a), fullgraph=True)
    assert flambeau.equal(compiled(x), module(x)) and calls(x).tolist() == [2, 2, 2]
    module.forward = lambda a: a * 5
    own.method = lambda a: a * 5
    assert compiled(x).tolist() == calls(x).tolist() == [5, 5, 5]
    del module.forward, own.method
    assert flambeau.equal(compiled(x), module(x)) and calls(x).tolist() == [2, 2, 2]


def test_memory_that_is_exchanged() -> None:
    weight = nn.Parameter(flambeau.ones(3))
    compiled = flambeau.compile(lambda: weight * 2, fullgraph=True)
    assert compiled().tolist() == compiled().tolist() == [2, 2, 2]
    with flambeau.no_grad():
        weight.add_(1)
    assert compiled().tolist() == [4, 4, 4] and recordings(compiled) == 1
    weight.data = flambeau.zeros(3)
    assert compiled().tolist() == [0, 0, 0] and recordings(compiled) == 2
    weight.requires_grad_(False)
    assert not compiled().requires_grad


def test_the_limit() -> None:
    compiled = flambeau.compile(lambda a, n: a * n, options={"recompile_limit": 2})
    for n in (1, 2):
        compiled(x, n)
    with pytest.warns(UserWarning, match=r"<lambda> runs as it is, not compiled: it was compiled 2 times"):
        assert compiled(x, 3).tolist() == [3, 3, 3]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled(x, 4).tolist() == [4, 4, 4] and compiled(x, 2).tolist() == [2, 2, 2]
    compiler.reset()
    assert compiled(x, 4).tolist() == [4, 4, 4] and recordings(compiled) == 1


# -- what cannot be one recording --------------------------------------------------------------------------------------


def branch(a: flambeau.Tensor) -> flambeau.Tensor:
    return a * 2 if a.sum() > 2 else a - 1


generator = (i for i in range(10**6))
steps = iter(range(10**6))
history: list[Any] = []
host = numpy.ones(3, numpy.float32)


class Stateful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0
        self.hidden = flambeau.zeros(3)

    def forward(self, a: flambeau.Tensor) -> flambeau.Tensor:
        self.seen += 1
        return a * self.seen


class Remembering(Stateful):
    def forward(self, a: flambeau.Tensor) -> flambeau.Tensor:
        self.hidden = self.hidden + a
        return self.hidden


def remembers(a: flambeau.Tensor) -> flambeau.Tensor:
    history.append(a)
    return a * len(history)


def seeds(a: flambeau.Tensor) -> flambeau.Tensor:
    flambeau.manual_seed(0)
    return flambeau.rand(3) + a


def grows(a: flambeau.Tensor) -> flambeau.Tensor:
    a.data = a.data + 1
    return a.clone()


BREAKS: dict[str, tuple[Callable[[], Callable[..., Any]], str]] = {
    "bool": (lambda: branch, r"the value of a tensor is read .*test_guards\.py:\d+\)"),
    "item": (lambda: lambda a: a * a.sum().item(), "the value of a tensor is read"),
    "numpy": (lambda: lambda a: a * float(a.numpy()[0]), "the value of a tensor is read"),
    "tolist": (lambda: lambda a: a * a.tolist()[0], "the value of a tensor is read"),
    "printing": (lambda: lambda a: (str(a), a * 2)[1], "the value of a tensor is read"),
    "nonzero": (lambda: lambda a: a[a > 0], "the shape of what nonzero gives depends on values"),
    "array": (lambda: lambda a: a + flambeau.from_numpy(host), "an array is used that no operation made"),
    "print": (lambda: lambda a: (print(end=""), a * 2)[1], r"print\(\) is called"),
    "random": (lambda: lambda a: a * random.random(), "the module random is used"),
    "time": (lambda: lambda a: a * time.time(), "the module time is used"),
    "numpy.random": (lambda: lambda a: a * float(numpy.random.rand()), "the module numpy is used"),
    "generator": (lambda: lambda a: a * next(generator), "a generator is used that was there before"),
    "iterator": (lambda: lambda a: a * next(steps), "a range_iterator is used that was there before"),
    "counter": (Stateful, "'seen' is assigned to"),
    "attribute": (Remembering, "'hidden' is assigned to"),
    "list": (lambda: remembers, "a list that was there before is assigned to"),
    "seed": (lambda: seeds, "the state of a generator of random numbers is read or set"),
    "data": (lambda: grows, "the memory of a tensor from outside is exchanged"),
    "mode": (lambda: lambda a: (flambeau.set_grad_enabled(not flambeau.is_grad_enabled()), a * 2)[1],
             "the gradient mode is another afterwards"),
    "disabled": (lambda: lambda a: compiler.disable(lambda b: b + 1, reason="slow")(a),
                 r"is called, which is disabled \(slow\)"),
    "object": (lambda: lambda a: object(), "a object is returned"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_what_cannot_be_recorded(name: str) -> None:
    """It runs as it is, after one warning."""
    make, reason = BREAKS[name]
    function, reference = make(), make()
    compiled = flambeau.compile(function)
    inputs = [flambeau.ones(3), flambeau.zeros(3), flambeau.ones(3) * 3, flambeau.ones(3), flambeau.ones(3)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = [compiled(a.clone()) for a in inputs]
    assert [str(w.message) for w in caught if "compile:" in str(w.message)] != []
    assert len(caught) == 1
    with pytest.warns(UserWarning, match=reason):
        warnings.warn(str(caught[0].message), UserWarning, stacklevel=1)
    assert recordings(compiled) == 0
    flambeau.set_grad_enabled(True)
    if name in ("bool", "item", "numpy", "tolist", "printing", "nonzero", "array", "counter", "attribute", "data"):
        for a, result in zip(inputs, results, strict=True):
            assert flambeau.equal(result, reference(a.clone()))


def test_fullgraph() -> None:
    compiled = flambeau.compile(branch, fullgraph=True)
    for _ in range(2):
        with pytest.raises(compiler.Unsupported, match=r"fullgraph=True there has to be one graph, but the value of a "
                           r"tensor is read .*test_guards\.py:\d+\)"):  # fmt: skip
            compiled(x)


def test_errors_are_the_functions_own() -> None:
    compiled = flambeau.compile(lambda a, b: a @ b)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="matmul"):
            compiled(flambeau.ones(2, 3), flambeau.ones(2, 3))
        assert compiled(flambeau.ones(2, 3), flambeau.ones(3, 2)).tolist() == [[3, 3], [3, 3]]

    def divided(a: flambeau.Tensor, b: flambeau.Tensor) -> flambeau.Tensor:
        return a // b

    compiled = flambeau.compile(divided)
    for _ in range(3):
        assert compiled(flambeau.arange(3), flambeau.arange(1, 4)).tolist() == [0, 0, 0]
        with pytest.raises(RuntimeError, match="division by zero"):
            compiled(flambeau.arange(3), flambeau.arange(3))


def test_not_twice_differentiable() -> None:
    compiled = flambeau.compile(lambda a: a.sin().sum())
    compiled(flambeau.ones(3).requires_grad_())
    a = flambeau.ones(3).requires_grad_()
    with pytest.raises(RuntimeError, match="compile: a compiled function cannot be differentiated twice"):
        flambeau.autograd.grad(compiled(a), a, create_graph=True)


def test_gradients_of_gradients_inside() -> None:
    def penalty(a: flambeau.Tensor) -> flambeau.Tensor:
        a = a.detach().requires_grad_()
        (slope,) = flambeau.autograd.grad(a.sin().sum(), a, create_graph=True)
        (curve,) = flambeau.autograd.grad(slope.square().sum(), a)
        return curve

    compiled = flambeau.compile(penalty, fullgraph=True)
    for _ in range(3):
        a = flambeau.randn(3)
        assert flambeau.equal(compiled(a), penalty(a))


def test_transforms_of_compiled_functions() -> None:
    """Inside of vmap and in forward mode the function runs as it is."""
    compiled = flambeau.compile(lambda a: (a * a).sum())
    compiled(x)
    compiled(x)
    batch = flambeau.randn(4, 3)
    assert flambeau.equal(flambeau.vmap(compiled)(batch), (batch * batch).sum(1))
    assert flambeau.equal(flambeau.func.grad(compiled)(batch[0]), 2 * batch[0])


# -- modules, copies, threads ------------------------------------------------------------------------------------------


def test_a_compiled_module() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    compiled = flambeau.compile(module)
    assert isinstance(compiled, compiler.OptimizedModule) and isinstance(compiled, nn.Module)
    assert compiled._orig_mod is module
    assert list(compiled.state_dict()) == ["_orig_mod.0.weight", "_orig_mod.0.bias"]
    assert [p is q for p, q in zip(compiled.parameters(), module.parameters(), strict=True)] == [True, True]
    module.load_state_dict({name.removeprefix("_orig_mod."): v for name, v in compiled.state_dict().items()})
    compiled.eval()
    assert not module.training and not module[0].training and not compiled.training
    compiled.note = 3
    assert module.note == 3 and compiled.note == 3
    del compiled.note
    assert not hasattr(module, "note")
    assert flambeau.equal(compiled(x), module(x)) and flambeau.equal(compiled.forward(x), module(x))
    for other in (copy.deepcopy(compiled), pickle.loads(pickle.dumps(compiled))):
        assert isinstance(other, compiler.OptimizedModule) and other._orig_mod is not module
        assert flambeau.equal(other(x), module(x))
    buffer = io.BytesIO()
    flambeau.save(compiled.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(flambeau.load(buffer))


def test_compiling_in_place() -> None:
    module = nn.Linear(3, 2)
    expected = module(x)
    module.compile(fullgraph=True)
    for _ in range(3):
        assert flambeau.equal(module(x), expected)
    assert recordings(module.forward) == 1
    assert list(module.state_dict()) == ["weight", "bias"]
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert "forward" not in vars(other)
        assert flambeau.equal(other(x), expected)


@flambeau.compile
def decorated(a: flambeau.Tensor) -> flambeau.Tensor:
    """Twice as much."""
    return a * 2


class Twice:
    factor = 2

    @flambeau.compile(fullgraph=True)
    def method(self, a: flambeau.Tensor) -> flambeau.Tensor:
        return a * self.factor


def test_decorators() -> None:
    assert decorated.__name__ == "decorated" and decorated.__doc__ == "Twice as much."
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    one, other = Twice(), Twice()
    other.factor = 3
    for _ in range(2):
        assert decorated(x).tolist() == [2, 2, 2] == one.method(x).tolist()
        assert other.method(x).tolist() == [3, 3, 3]
    with pytest.raises(TypeError, match=r"cannot pickle the compiled function .*<lambda>"):
        pickle.dumps(flambeau.compile(lambda a: a))


def test_threads() -> None:
    """Many threads call one function while it is recorded and afterwards."""
    weight = nn.Parameter(flambeau.randn(16, 16))
    compiled = flambeau.compile(lambda a: F.gelu(a @ weight).sum())
    wrong: list[Any] = []

    def work(seed: int) -> None:
        a = flambeau.full((4, 16), float(seed))
        expected = F.gelu(a @ weight).sum()
        wrong.extend(i for i in range(30) if not flambeau.equal(compiled(a), expected))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and compiled._refused is None


# -- the functions around it -------------------------------------------------------------------------------------------


def test_is_compiling() -> None:
    seen = []
    compiled = flambeau.compile(lambda a: (seen.append(compiler.is_compiling()), a * 2)[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(4):
            compiled(x)
    assert seen[0] is True and seen[-1] is False
    assert not compiler.is_compiling() and not compiler.is_dynamo_compiling() and not compiler.is_exporting()


def test_options_of_compile() -> None:
    def function(a: flambeau.Tensor) -> flambeau.Tensor:
        return a * 2

    assert flambeau.compile(function, disable=True) is function
    assert flambeau.compile(function, backend="eager") is function
    assert flambeau.compile(function, backend="aot_eager", mode="reduce-overhead", dynamic=False)(x).tolist() == [2] * 3
    assert compiler.list_backends() == ["aot_eager", "eager", "inductor"]
    with pytest.raises(
        RuntimeError, match=r"compile: there is no backend 'tvm'; there are: aot_eager, eager, inductor"
    ):
        flambeau.compile(function, backend="tvm")
    with pytest.raises(RuntimeError, match="Unrecognized mode='fast'"):
        flambeau.compile(function, mode="fast")
    with pytest.raises(RuntimeError, match="Unexpected optimization option 'fast', known options are"):
        flambeau.compile(function, options={"fast": True})
    with pytest.raises(RuntimeError, match="Either mode or options can be specified"):
        flambeau.compile(function, mode="default", options={})
    with pytest.raises(TypeError, match="compile: expected a function or a module, got int"):
        flambeau.compile(3)
    for name in ("allow_in_graph", "assume_constant_result"):
        assert getattr(compiler, name)(function) is function
    assert compiler.cudagraph_mark_step_begin() is None
