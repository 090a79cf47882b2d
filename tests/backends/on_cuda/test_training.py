"""Random numbers are the CPU's bit for bit, an optimizer's step is a kernel, a deep network's gradients are the CPU's.

Whole training runs are in ``test_training.py`` one folder up, waits in ``test_runtime.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from training_models import MODELS

import flambeau
from flambeau import cuda, nn, optim
from flambeau.nn import functional as F

pytestmark = pytest.mark.skipif(not cuda.is_available(), reason="there is no CUDA device here")

CUDA = "cuda"


def test_gradients_of_resnet() -> None:
    """A step of ResNet-18 on CPU threads takes long; one sample tells whether all of it is there."""
    flambeau.manual_seed(0)
    model, inputs, targets, _ = MODELS["resnet18"]()
    losses = []
    for device in ("cpu", CUDA):
        own = model.to(device)
        own.zero_grad()
        x, y = flambeau.from_numpy(inputs[:1, :, :8, :8]).to(device), flambeau.from_numpy(targets[:1]).to(device)
        own.eval()  # one sample has no statistics in the last layers
        loss = F.cross_entropy(own(x), y)
        loss.backward()
        losses.append([loss.item(), own.conv1.weight.grad.abs().sum().item()])
    numpy.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 5000])
def test_random_numbers_are_the_cpus_bit_for_bit(dtype: str, count: int) -> None:
    drawn = []
    for device in ("cpu", CUDA):
        flambeau.manual_seed(2**63 + 5)
        flambeau.rand(3, device=device)
        drawn.append(flambeau.rand(count, dtype=getattr(flambeau, dtype), device=device).to(flambeau.float64).cpu())
    assert (drawn[0] == drawn[1]).all()


def test_dropout_leaves_out_the_same_elements() -> None:
    x = flambeau.ones(1000)
    kept = []
    for device in ("cpu", CUDA):
        flambeau.manual_seed(3)
        kept.append(F.dropout(x.to(device), 0.3).cpu())
    assert (kept[0] == kept[1]).all()
    assert set(numpy.unique(kept[0].numpy())) == {0.0, numpy.float32(1 / 0.7)}


OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, maximize=True),
    "adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1),
    "amsgrad": lambda p: optim.AdamW(p, lr=0.01, amsgrad=True),
}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the kernels that optimizers launch."""
    from flambeau_cupy import lists, maps

    found: list[str] = []

    class Counted:
        def __init__(self, name: str, kernel: object) -> None:
            self.name, self.kernel = name, kernel

        def __call__(self, *args: object) -> None:
            found.append(self.name)
            self.kernel(*args)

    for module in (lists, maps):
        compiled = module.compiled
        monkeypatch.setattr(module, "_kernels", {})

        def build(name: str, *more: Any, build: Any = compiled) -> Counted:
            return Counted(name, build(name, *more))

        monkeypatch.setattr(module, "compiled", build)
    yield found


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_kernel_updates_many_parameters(name: str, launched: list[str]) -> None:
    generator = numpy.random.default_rng(0)
    shapes = [(3,), (40, 500), (), (0,), (5, 4)]
    start = [generator.standard_normal(shape).astype("float32") for shape in shapes]
    grads = [[generator.standard_normal(shape).astype("float32") for shape in shapes] for _ in range(3)]
    results = []
    for device in ("cpu", CUDA):
        parameters = [nn.Parameter(flambeau.from_numpy(a.copy()).to(device)) for a in start]
        turned = nn.Parameter(flambeau.from_numpy(start[4].T.copy()).to(device).T.double())  # of another dtype
        late = nn.Parameter(flambeau.from_numpy(start[4].T.copy()).to(device).T)  # not in one piece, fewer steps
        optimizer = OPTIMIZERS[name]([*parameters, turned, late])
        for number, step in enumerate(grads):
            for parameter, grad in zip([*parameters, turned], [*step, step[4].astype("float64")], strict=True):
                parameter.grad = flambeau.from_numpy(grad.copy()).to(device)
            late.grad = flambeau.from_numpy(step[4].copy()).to(device) if number else None
            before = len(launched)
            optimizer.step()
        results.append([p.detach().cpu().numpy() for p in (*parameters, turned, late)])
    # One for the first dtype, one for each parameter that lies in another way.
    assert len(launched) - before == 3
    for expected, actual in zip(*results, strict=True):
        numpy.testing.assert_allclose(actual, expected, 1e-5, 1e-6)


def test_a_captured_step_has_tables_of_its_own() -> None:
    parameter = nn.Parameter(flambeau.ones(5, device=CUDA))
    parameter.grad = flambeau.ones(5, device=CUDA)
    optimizer = optim.SGD([parameter], lr=0.5)
    optimizer.step()
    graph = cuda.CUDAGraph()
    with cuda.graph(graph):
        optimizer.step()
    from flambeau_cupy import lists

    assert len(lists._read_by_graphs) == 2
    before = parameter.detach().clone()
    graph.replay()
    cuda.synchronize()
    if not hasattr(__import__("cupy"), "_state"):  # the stand-in's graphs are not run again
        numpy.testing.assert_array_equal(parameter.detach().cpu().numpy(), before.cpu().numpy() - 0.5)


def test_gradients_are_unscaled_and_clipped_in_few_kernels(launched: list[str]) -> None:
    generator = numpy.random.default_rng(1)
    host = [generator.standard_normal(shape).astype("float32") for shape in ((3,), (40, 500), (), (0,))]
    host.append(generator.standard_normal((6, 2)).astype("float64"))
    results = []
    for device in ("cpu", CUDA):
        parameters = [nn.Parameter(flambeau.from_numpy(a.copy()).to(device)) for a in host]
        for parameter in parameters:
            parameter.grad = parameter.detach() * 3
        norm = nn.utils.clip_grad_norm_(parameters, 2.5)
        results.append([norm.item(), *[p.grad.cpu().numpy() for p in parameters]])
    assert sum(name.startswith(("total_norm", "clip_to_norm")) for name in launched) == 4  # two dtypes
    for expected, actual in zip(*results, strict=True):
        numpy.testing.assert_allclose(actual, expected, 1e-5)
    kernels = flambeau.device("cuda:0").xp
    grads = [flambeau.from_numpy(a.copy()).to(CUDA)._array for a in host]
    assert not kernels.unscale_gradients(grads, 0.5)
    numpy.testing.assert_array_equal(grads[1].get(), host[1] * 0.5)
    grads[1][3, 4] = float("inf")
    assert kernels.unscale_gradients(grads, 2.0)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("RMSprop", {"momentum": 0.9, "centered": True}), ("Adagrad", {"lr_decay": 0.1}), ("Adadelta", {}),
        ("Rprop", {}), ("ASGD", {"t0": 1}), ("Adamax", {"weight_decay": 0.1}), ("RAdam", {"weight_decay": 0.1}),
        ("NAdam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ],
)  # fmt: skip
def test_steps_of_optimizers_are_those_of_the_cpu(name: str, settings: dict[str, Any]) -> None:
    ends = []
    for device in ("cpu", CUDA):
        values = numpy.random.default_rng(3)
        params = [
            flambeau.from_numpy(values.standard_normal(shape).astype("float32")).to(device).requires_grad_()
            for shape in ((5,), (3, 4), ())
        ]
        optimizer = getattr(flambeau.optim, name)(params, lr=0.05, **settings)
        for _ in range(7):  # RAdam's rate is an element's own from the sixth step on
            for param in params:
                param.grad = flambeau.from_numpy(values.standard_normal(param.shape).astype("float32")).to(device)
            optimizer.step()
        ends.append([param.detach().cpu().numpy() for param in params])
    for found, expected in zip(ends[1], ends[0], strict=True):
        numpy.testing.assert_allclose(found, expected, 2e-5, 2e-5)
