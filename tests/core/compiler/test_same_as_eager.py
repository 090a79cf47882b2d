"""A compiled function gives what the function gives, bit for bit, and leaves the same behind."""

from __future__ import annotations

import copy
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy
import pytest

import flambeau
from flambeau import nn
from flambeau.nn import functional as F

Pair = namedtuple("Pair", "first second")


def bits(value: Any) -> Any:
    """Tensors as their bytes, containers as they are."""
    if isinstance(value, flambeau.Tensor):
        array = value.detach().numpy()
        return array.dtype.str, array.shape, numpy.ascontiguousarray(array).tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [bits(item) for item in value]
    return value


def agree(function: Callable[..., Any], *calls: tuple[Any, ...], recordings: int = 1) -> Any:
    """Each call gives the same compiled as not, three times over; there are so many recordings in the end."""
    compiled = flambeau.compile(function, fullgraph=True)
    for _ in range(3):
        for args in calls:
            assert bits(compiled(*args)) == bits(function(*args))
    assert len(getattr(compiled, "_compiled", compiled)._replays) == recordings
    return compiled


def randn(*size: int) -> flambeau.Tensor:
    return flambeau.randn(*size)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "arithmetic": lambda x, y: (x * y + 1).tanh() / (y.abs() + 2),
    "number on the left": lambda x, y: 2 - x.exp() * y,
    "broadcasting": lambda x, y: x + y[:1] * y[:, :1],
    "reductions": lambda x, y: (x.sum(), y.mean(0), x.var(1), (x * y).amax(1, keepdim=True)),
    "comparison": lambda x, y: flambeau.where(x > y, x, y.clamp(min=0)),
    "integers": lambda x, y: ((x * 5).long() // 3, (y > 0).sum(), (x * 3).int() % 2),
    "views": lambda x, y: x.t()[1:].reshape(-1) * y[:, 1:].t().reshape(-1),
    "matmul": lambda x, y: x @ y.t() + (x.t() @ y).sum(),
    "joining": lambda x, y: flambeau.cat([x, y]).chunk(2, 1),
    "indexing": lambda x, y: x[[0, 2]] + y[1:, None, 2],
    "softmax": lambda x, y: F.log_softmax(x, -1) + F.softmax(y, 0),
    "norms": lambda x, y: F.layer_norm(F.gelu(x), (4,)) + F.silu(y),
    "sorting": lambda x, y: (*x.sort(1), *y.topk(2)),
    "constants": lambda x, y: x * flambeau.tensor([1.0, 2.0, 3.0, 4.0]) + flambeau.arange(4) + flambeau.ones(3, 1),
    "einsum": lambda x, y: flambeau.einsum("ij,kj->ik", x, y),
    "containers": lambda x, y: {"sum": x + y, "pair": Pair(x, [y - x, 3, None, "text"])},
    "repeated work": lambda x, y: (x * y).sin() + (x * y).sin() * (x * y),
    "nothing to do": lambda x, y: x,
    "dtypes": lambda x, y: (x.double() + y, x.half() * 2, x.bool()),
    "no gradient": lambda x, y: flambeau.no_grad()(lambda: x * y)(),
    "nested": lambda x, y: flambeau.compile(lambda a: a * 2)(x) + y,
    "vmap": lambda x, y: flambeau.vmap(lambda a, b: (a * b).sum())(x, y),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    agree(FUNCTIONS[name], (randn(3, 4), randn(3, 4)))


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in ("integers", "nothing to do", "no gradient")])
def test_gradients_of_functions(name: str) -> None:
    """The results of a compiled function can be differentiated."""

    def total(result: Any) -> Any:
        parts = list(result.values()) if isinstance(result, dict) else result
        parts = parts if isinstance(parts, (list, tuple)) else [parts]
        tensors = [t for p in parts for t in (p if isinstance(p, (list, tuple)) else (p,))]
        return sum((t * t).sum() for t in tensors if getattr(t, "requires_grad", False))

    function = FUNCTIONS[name]
    compiled = flambeau.compile(function, fullgraph=True)
    for _ in range(3):
        values = randn(3, 4), randn(3, 4)
        found = []
        for called in (function, compiled):
            x, y = (value.clone().requires_grad_() for value in values)
            total(called(x, y)).backward()
            found.append(bits([x.grad, y.grad]))
        assert found[0] == found[1]


def test_several_shapes_dtypes_and_numbers() -> None:
    agree(
        lambda x, n: x * n + 1,
        (randn(3), 2),
        (randn(3), 2.0),
        (randn(3, 1), 2),
        (flambeau.arange(3), 2),
        (flambeau.arange(3), 2.0),
        (flambeau.arange(3), True),
        (randn(4, 3).t()[0], 2),
        recordings=7,
    )


def test_results_are_fresh() -> None:
    """A result of one call is not written to by the next one."""
    compiled = flambeau.compile(lambda x: ((x + 1) * 2).relu())
    results = [compiled(flambeau.full((100,), float(i))) for i in range(4)]
    assert [r[0].item() for r in results] == [2, 4, 6, 8]
    results[3].add_(1)
    assert compiled(flambeau.full((100,), 3.0))[0].item() == 8


def test_constants_are_fresh() -> None:
    compiled = flambeau.compile(lambda: (flambeau.tensor([1.0, 2.0]), flambeau.zeros(2)))
    for _ in range(3):
        first, second = compiled()
        assert first.tolist() == [1, 2] and second.tolist() == [0, 0]
        first.add_(5)
        second.add_(5)


# -- in place ------------------------------------------------------------------------------------------------------


def in_place(x: flambeau.Tensor, y: flambeau.Tensor) -> Any:
    x.add_(1)
    before = x.clone()
    row = x[0]
    row.mul_(2)
    x[1:, 0] = y[0, 0]
    y.t().sub_(3)
    return before * x, row, y.sum()


def test_arguments_are_written_to() -> None:
    compiled = flambeau.compile(in_place, fullgraph=True)
    for _ in range(3):
        values = randn(3, 4), randn(3, 4)
        found = []
        for called in (in_place, compiled):
            x, y = (value.clone() for value in values)
            result = called(x, y)
            found.append((bits(result), bits([x, y]), x._version, y._version, result[1]._view.base is x))
        assert found[0] == found[1]


def test_results_that_look_into_arguments() -> None:
    compiled = flambeau.compile(lambda x: (x[0], x.view(-1), x.detach()), fullgraph=True)
    for _ in range(3):
        x = flambeau.zeros(2, 2)
        row, flat, same = compiled(x)
        row.fill_(1)
        same[1, 1] = 2
        assert x.tolist() == [[1, 1], [0, 2]] and flat.tolist() == [1, 1, 0, 2]
        assert row._view.base is x and x._version is row._version is flat._version


def test_writing_is_noticed_by_the_tape() -> None:
    """What a compiled function overwrites cannot be differentiated through any more, as ever."""
    compiled = flambeau.compile(lambda x: x.mul_(2), fullgraph=True)
    for _ in range(3):
        w, x = randn(3).requires_grad_(), randn(3)
        product = (w * x).sum()
        compiled(x)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            product.backward()


def test_writing_between_the_passes_is_noticed() -> None:
    weight = randn(3).requires_grad_()
    compiled = flambeau.compile(lambda x: (x * weight).sin().sum(), fullgraph=True)
    for _ in range(3):
        loss = compiled(randn(3).requires_grad_())
        with flambeau.no_grad():
            weight.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_gradients_that_are_summed_in_place() -> None:
    """A gradient with three arrivals is added up in the array of its own that .grad becomes."""
    weight = nn.Parameter(randn(3))

    def step(x: flambeau.Tensor) -> Any:
        weight.grad = None
        ((weight * x).sum() + (weight * 2).sin().sum() + weight.exp().sum()).backward()
        return weight.grad

    compiled = flambeau.compile(step, fullgraph=True)
    for _ in range(4):
        x = randn(3)
        assert bits(compiled(x)) == bits(step(x))


# -- random numbers --------------------------------------------------------------------------------------------------


def test_random_numbers_go_on() -> None:
    def noisy(x: flambeau.Tensor) -> Any:
        return x + flambeau.randn(3), F.dropout(x, 0.5), flambeau.randint(0, 10, (2,)), flambeau.rand_like(x)

    found = []
    for function in (noisy, flambeau.compile(noisy, fullgraph=True)):
        flambeau.manual_seed(3)
        found.append([bits(function(flambeau.ones(3))) for _ in range(4)] + [bits(flambeau.rand(2))])
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


def test_attention_draws_its_numbers_again_for_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau.nn.functional._attention.KEPT", 0)

    def step(x: flambeau.Tensor) -> Any:
        x = x.detach().requires_grad_()
        F.scaled_dot_product_attention(x, x, x, dropout_p=0.5).square().sum().backward()
        return x.grad

    found = []
    for function in (step, flambeau.compile(step, fullgraph=True)):
        flambeau.manual_seed(3)
        found.append([bits(function(flambeau.ones(2, 5, 4))) for _ in range(3)])
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


def test_a_gradient_outside_of_the_function_has_the_numbers_of_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau.nn.functional._attention.KEPT", 0)

    def attend(x: flambeau.Tensor) -> flambeau.Tensor:
        return F.scaled_dot_product_attention(x, x, x, dropout_p=0.5)

    found = []
    for function in (attend, flambeau.compile(attend, fullgraph=True)):
        flambeau.manual_seed(3)
        leaves = [flambeau.ones(2, 5, 4, requires_grad=True) for _ in range(3)]
        results = [function(x) for x in leaves]
        flambeau.rand(7)
        for result in reversed(results):
            result.square().sum().backward()
        found.append([bits(x.grad) for x in leaves])
    assert found[0] == found[1]
    assert len({str(grad) for grad in found[0]}) == 3


def test_generators_of_one_own() -> None:
    generator = flambeau.Generator()
    compiled = flambeau.compile(lambda: flambeau.rand(3, generator=generator), fullgraph=True)
    for seed in (1, 2, 1):
        generator.manual_seed(seed)
        first = compiled()
        generator.manual_seed(seed)
        assert bits(flambeau.rand(3, generator=generator)) == bits(first)


# -- modules -----------------------------------------------------------------------------------------------------------


def network() -> nn.Module:
    flambeau.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(16, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3),
    )  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
def test_modules(training: bool) -> None:
    plain = network().train(training)
    compiled = flambeau.compile(copy.deepcopy(plain), fullgraph=True)
    found = []
    for module in (plain, compiled):
        flambeau.manual_seed(1)
        seen = []
        for _ in range(3):
            x = randn(5, 2, 4, 4).requires_grad_()
            module.zero_grad()
            output = module(x)
            output.square().sum().backward()
            seen.append(bits([output, x.grad, [p.grad for p in module.parameters()], list(module.buffers())]))
        found.append(seen)
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_recurrent_modules(name: str) -> None:
    flambeau.manual_seed(0)
    module = getattr(nn, name)(3, 5, num_layers=2, batch_first=True)
    agree(module, (randn(2, 4, 3),))


def test_transformer_layer() -> None:
    flambeau.manual_seed(0)
    module = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    compiled = flambeau.compile(module)
    for _ in range(3):
        x = randn(2, 5, 8)
        assert bits(compiled(x)) == bits(module(x))


def test_embedding_and_cross_entropy() -> None:
    flambeau.manual_seed(0)
    table = nn.Embedding(10, 4)

    def loss(tokens: flambeau.Tensor, target: flambeau.Tensor) -> flambeau.Tensor:
        return F.cross_entropy(table(tokens).mean(1), target, ignore_index=-100)

    tokens = flambeau.randint(0, 10, (6, 3))
    target = flambeau.randint(0, 4, (6,))
    ignored = target.clone()
    ignored[2] = -100
    compiled = agree(loss, (tokens, target), (tokens, ignored), recordings=2)
    for bad in (flambeau.full((6,), 4), flambeau.full((6,), -1)):
        with pytest.raises(IndexError, match="out of bounds"):
            compiled(tokens, bad)
    with pytest.raises(IndexError, match="out of range"):
        compiled(tokens + 10, target)


# -- modes -------------------------------------------------------------------------------------------------------------


def test_modes() -> None:
    flambeau.manual_seed(0)
    module = nn.Linear(3, 3)
    compiled = flambeau.compile(module, fullgraph=True)
    x = randn(2, 3)
    for _ in range(2):
        assert compiled(x).requires_grad
        with flambeau.no_grad():
            assert not compiled(x).requires_grad
        with flambeau.autocast("cpu", dtype=flambeau.bfloat16):
            assert compiled(x).dtype is flambeau.bfloat16
            assert bits(compiled(x).float()) == bits(module(x).float())
        with flambeau.device("meta"):
            assert not compiled(x).is_meta
    assert len(compiled._compiled._replays) == 4
