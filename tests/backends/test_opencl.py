"""The OpenCL backend beyond the conformance kit: layouts, long arrays, faults, transfers and memory."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

pytest.importorskip("pyopencl")

import flambeau
from flambeau.nn import functional as F
from flambeau.ops.call import TENSORS
from flambeau_opencl import clblast, tiled
from flambeau_opencl.backend import OpenCLBackend
from flambeau_opencl.maps import run
from flambeau_opencl.runtime import Runtime, runtime

pytestmark = pytest.mark.skipif(not OpenCLBackend().is_available(), reason="there is no OpenCL device here")

OPENCL = "opencl"


def made(values: numpy.ndarray) -> flambeau.Tensor:
    return flambeau.from_numpy(values).to(OPENCL)


def normal(*shape: int, seed: int = 0) -> numpy.ndarray:
    return numpy.random.default_rng(seed).standard_normal(shape).astype(numpy.float32)


# -- layouts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [7, 8, 40])
def test_strided_operands_of_short_and_long_rows(size: int) -> None:
    a, b = normal(3, size, 5), normal(size, 1, seed=1)
    actual = made(a).permute(2, 0, 1)[:, ::2] * made(b).squeeze(1)
    numpy.testing.assert_allclose(actual.cpu().numpy(), a.transpose(2, 0, 1)[:, ::2] * b[:, 0], rtol=1e-6)


def test_overlapping_assignment_reads_before_it_writes() -> None:
    host = numpy.arange(3000, dtype=numpy.float32)
    tensor = made(host.copy())
    tensor[1:] = tensor[:-1]
    host[1:] = host[:-1].copy()
    numpy.testing.assert_array_equal(tensor.cpu().numpy(), host)


def test_numpy_works_on_the_same_memory() -> None:
    tensor = made(normal(6, 5))
    for view in (tensor, tensor.T, tensor[1:4, ::2], tensor[2, 3], tensor[:0]):
        host = numpy.from_dlpack(view)
        assert host.shape == view.shape
        numpy.testing.assert_array_equal(host, view.cpu().numpy())
    shared = numpy.from_dlpack(tensor)
    shared[1, 2] = 7
    assert tensor[1, 2].item() == 7
    tensor.mul_(2)
    assert numpy.from_dlpack(tensor)[1, 2] == 14
    alias = flambeau.from_dlpack(tensor)
    assert alias.device.type == "cpu"
    assert alias.data_ptr() == shared.ctypes.data

    expected = tensor.cpu().numpy()
    del tensor, view, host, alias  # the memory stays for the array that is left
    others = [made(numpy.zeros((6, 5), numpy.float32)) for _ in range(20)]
    assert all(other.sum().item() == 0 for other in others)
    numpy.testing.assert_array_equal(shared, expected)


@pytest.mark.usefixtures("as_gpu")
def test_memory_of_a_gpu_is_not_exported() -> None:
    with pytest.raises(BufferError, match="opencl:0: arrays of a device with memory of its own cannot be exported"):
        numpy.from_dlpack(made(normal(2)))


# -- long arrays ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(100_003,), (3, 10_001), (10_001, 3), (2, 5000, 3)])
def test_reductions_of_long_dimensions_go_in_chunks(shape: tuple) -> None:
    host = normal(*shape)
    tensor = made(host)
    for dim in range(len(shape)):
        numpy.testing.assert_allclose(tensor.sum(dim).cpu().numpy(), host.sum(dim, numpy.float64), rtol=1e-4, atol=1e-3)
        numpy.testing.assert_array_equal(tensor.amax(dim).cpu().numpy(), host.max(dim))
        numpy.testing.assert_array_equal(tensor.argmin(dim).cpu().numpy(), host.argmin(dim))
    numpy.testing.assert_allclose(tensor.sum().item(), host.sum(dtype=numpy.float64), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(("shape", "dim"), [((50_001,), 0), ((2, 20_001), 1), ((9000, 2), 0)])
def test_running_sums_of_long_dimensions_carry_from_chunk_to_chunk(shape: tuple, dim: int) -> None:
    host = numpy.random.default_rng(0).integers(-5, 6, shape)
    numpy.testing.assert_array_equal(made(host).cumsum(dim).cpu().numpy(), host.cumsum(dim))


def test_the_first_of_equals_is_found_across_chunks() -> None:
    host = numpy.zeros(20_000, numpy.float32)
    host[[5000, 13_000]] = 1
    assert made(host).argmax().item() == 5000
    host[[9000, 15_000]] = numpy.nan
    assert made(host).argmax().item() == 9000


@pytest.mark.parametrize("descending", [False, True])
def test_sort_is_stable_and_puts_nan_last(descending: bool) -> None:
    host = numpy.random.default_rng(0).integers(0, 50, (3, 1001)).astype(numpy.float32)
    host[:, ::97] = numpy.nan
    values, order = made(host).sort(1, descending=descending, stable=True)
    expected_values, expected_order = flambeau.from_numpy(host).sort(1, descending=descending, stable=True)
    numpy.testing.assert_array_equal(values.cpu().numpy(), expected_values.numpy())
    numpy.testing.assert_array_equal(order.cpu().numpy(), expected_order.numpy())


@pytest.mark.parametrize("shapes", [((5, 7), (7, 3)), ((33, 65), (65, 19)), ((2, 1, 9, 4), (3, 4, 17)), ((6,), (6, 2))])
def test_products_at_the_edges_of_the_blocks(shapes: tuple) -> None:
    a, b = normal(*shapes[0]), normal(*shapes[1], seed=1)
    numpy.testing.assert_allclose((made(a) @ made(b)).cpu().numpy(), a @ b, rtol=1e-4, atol=1e-5)
    turned = made(numpy.ascontiguousarray(b.swapaxes(-1, -2))).swapaxes(-1, -2) if b.ndim > 1 else made(b)
    numpy.testing.assert_allclose((made(a) @ turned).cpu().numpy(), a @ b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("turned", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("shape", [(300, 257, 260), (33, 300, 300), (7, 900, 90)])
def test_products_through_copies_in_panels(shape: tuple, turned: tuple) -> None:
    rows, inner, columns = shape
    a = normal(2, *((inner, rows) if turned[0] else (rows, inner)))
    b = normal(2, *((columns, inner) if turned[1] else (inner, columns)), seed=1)
    left, right = (made(x).mT if t else made(x) for x, t in ((a, turned[0]), (b, turned[1])))
    expected = (a.swapaxes(1, 2) if turned[0] else a) @ (b.swapaxes(1, 2) if turned[1] else b)
    numpy.testing.assert_allclose((left @ right).cpu().numpy(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "order"),
    [((300, 200), (1, 0)), ((7, 33, 40), (2, 0, 1)), ((7, 33, 40), (0, 2, 1)), ((4, 17, 5, 50), (3, 1, 0, 2))],
)
def test_transposed_copies_in_tiles(shape: tuple, order: tuple) -> None:
    host = normal(*shape)
    numpy.testing.assert_array_equal(made(host).permute(order).contiguous().cpu().numpy(), host.transpose(order))


@pytest.mark.parametrize("kind", ["uint16", "uint32", "uint64"])
def test_wide_unsigned_integers(kind: str) -> None:
    generator = numpy.random.default_rng(0)
    top = numpy.iinfo(kind).max
    a, b = (generator.integers(1, top, (50, 40), kind) for _ in range(2))
    x, y = made(a), made(b)
    for actual, expected in (
        (x + y, a + b), (x * y, a * b), (x // y, a // b), (x % y, a % b), (x ^ y, a ^ b), (x < y, a < b),
        (x.amax(0), a.max(0)), (x.amin(1), a.min(1)), (x.sort(1)[0], numpy.sort(a, 1)),
    ):  # fmt: skip
        numpy.testing.assert_array_equal(actual.cpu().numpy(), expected)


def test_what_is_not_held_says_so() -> None:
    with pytest.raises(RuntimeError, match="opencl:0: float8_e5m2 is not held on OpenCL devices"):
        flambeau.zeros(3, dtype=flambeau.float8_e5m2, device=OPENCL)


# -- the kernels for GPUs ------------------------------------------------------------------------------------------


@pytest.fixture
def as_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """PoCL's device taken for a GPU: work-groups that share rows and tiles, and OpenCL's own functions."""
    device = runtime(None)
    monkeypatch.setattr(device, "is_cpu", False)
    monkeypatch.setattr(device, "inlines", False)
    monkeypatch.setattr(device, "local_size", 128)
    monkeypatch.setattr(device, "kernels", {})


def _gradients(function: Callable, *shapes: tuple, device: str) -> list[numpy.ndarray]:
    tensors = [flambeau.from_numpy(normal(*s, seed=i)).to(device).requires_grad_() for i, s in enumerate(shapes)]
    result = function(*tensors)
    (result * flambeau.from_numpy(normal(*result.shape, seed=9)).to(device)).sum().backward()
    return [result.detach().cpu().numpy(), *[t.grad.cpu().numpy() for t in tensors]]


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda x: F.softmax(x, -1), [(5, 300)]),
        (lambda x: F.log_softmax(x, 0), [(70, 3)]),
        (lambda x, w, b: F.layer_norm(x, (40,), w, b), [(70, 40), (40,), (40,)]),
        (lambda x, w: F.rms_norm(x, (40,), w), [(70, 40), (40,)]),
        (lambda x: x.sum(0), [(4100, 30)]),
        (lambda x, y: x @ y, [(70, 33), (33, 90)]),
        (lambda x, w, b: F.linear(x, w, b).tanh(), [(5, 7), (6, 7), (6,)]),
        (lambda x, w: F.conv2d(x, w, padding=1), [(2, 3, 9, 9), (4, 3, 3, 3)]),
        (lambda x: F.max_pool2d(x, 2), [(2, 3, 8, 8)]),
        (lambda x: x.transpose(0, 1).contiguous() * 2, [(40, 50)]),
        (lambda x, *w: flambeau.nn.functional.silu(x @ w[0]) * w[1], [(6, 5), (5, 4), (4,)]),
        (lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), [(2, 3, 9, 8)] * 3),
    ],
)
@pytest.mark.usefixtures("as_gpu")
def test_kernels_for_gpus_agree_with_the_cpu(function: Callable, shapes: list) -> None:
    for actual, expected in zip(
        _gradients(function, *shapes, device=OPENCL), _gradients(function, *shapes, device="cpu"), strict=True
    ):
        numpy.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def _clipped(device: str) -> list[numpy.ndarray]:
    shapes = [(3, 4), (5000,), (), (0, 3)] * 5
    tensors = [flambeau.from_numpy(normal(*s, seed=i)).to(device) for i, s in enumerate(shapes)]
    for tensor in tensors:
        tensor.grad = tensor.clone()
    norm = flambeau.nn.utils.clip_grad_norm_(tensors, 2.0)
    return [t.cpu().numpy() for t in (norm, *[t.grad for t in tensors])]


def test_clipping_many_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    launches: list[str] = []
    launch = Runtime.launch
    monkeypatch.setattr(Runtime, "launch", lambda self, name, *args: (launches.append(name), launch(self, name, *args)))
    actual = _clipped(OPENCL)
    assert sum(name.startswith(("total_norm", "clip")) for name in launches) == 6  # 20 tensors, 8 a launch, twice
    for a, b in zip(actual, _clipped("cpu"), strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.usefixtures("as_gpu")
def test_clipping_many_tensors_on_a_gpu() -> None:
    for a, b in zip(_clipped(OPENCL), _clipped("cpu"), strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-5)


_PRODUCTS = [
    ((33, 70), (70, 90), ""), ((70, 33), (70, 90), "left"), ((33, 70), (90, 70), "right"), ((1, 5), (5, 1), ""),
    ((2, 3, 9, 7), (2, 3, 7, 5), ""), ((3, 7, 9), (3, 7, 5), "left"), ((2, 3, 9, 7), (3, 5, 7), "right"),
    ((3, 0), (0, 4), ""),
]  # fmt: skip


def _check_products(kind: str) -> None:
    for shape, other_shape, turned in _PRODUCTS:
        a, b = normal(*shape).astype(kind), normal(*other_shape, seed=1).astype(kind)
        left, right = made(a), made(b)
        if turned == "left":
            left, a = left.mT, a.swapaxes(-1, -2)
        if turned == "right":
            right, b = right.mT, b.swapaxes(-1, -2)
        numpy.testing.assert_allclose((left @ right).cpu().numpy(), a @ b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.usefixtures("as_gpu")
def test_products_of_clblast(kind: str) -> None:
    if clblast._function(getattr(flambeau, kind)) is None:
        pytest.skip("the system has no CLBlast")
    _check_products(kind)


@pytest.mark.usefixtures("as_gpu")
def test_tiles_are_tried_once_for_each_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clblast, "_function", lambda kind: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tiled, "TRIALS", ((64, 64, 32), (16, 16, 32)))
    monkeypatch.setattr(tiled, "CANDIDATES", (tiled.Tile(8, 8, 2, 4, 16), tiled.Tile(32, 1024, 1, 1, 16)))
    monkeypatch.setattr(tiled, "WORTHWHILE", 0)
    _check_products("float32")
    file = tmp_path / "flambeau" / "opencl_tiles.json"
    (kept,) = json.loads(file.read_text()).values()
    assert kept == [[8, 8, 2, 4, 16]] * 2  # the other has more work-items than a group may have

    for content in (file.read_text().replace("4", "2"), "no JSON", '{"other": 1}'):
        file.write_text(content)
        runtime(None).kernels.clear()
        _check_products("float32")
    assert json.loads(file.read_text())["other"] == 1


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("gpu", [False, True])
def test_recurrent_layers_agree_with_the_cpu(kind: str, gpu: bool, request: pytest.FixtureRequest) -> None:
    if gpu:
        request.getfixturevalue("as_gpu")
    found = []
    for device in (OPENCL, "cpu"):
        flambeau.manual_seed(0)
        layer = getattr(flambeau.nn, kind)(5, 40, num_layers=2, bidirectional=True).to(device)
        rows = flambeau.from_numpy(normal(7, 3, 5)).to(device).requires_grad_()
        packed = flambeau.nn.utils.rnn.pack_padded_sequence(rows, [7, 4, 2])
        output = layer(packed)[0].data
        (output * flambeau.from_numpy(normal(*output.shape, seed=1)).to(device)).sum().backward()
        tensors = [output.detach(), rows.grad, *[p.grad for p in layer.parameters()]]
        found.append([tensor.cpu().numpy() for tensor in tensors])
    for actual, expected in zip(*found, strict=True):
        numpy.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("mask", [None, (33, 33), (2, 1, 1, 33), (2, 3, 33, 33)])
@pytest.mark.parametrize("boolean", [False, True])
def test_weights_of_attention(
    gpu: bool, is_causal: bool, mask: tuple | None, boolean: bool, request: pytest.FixtureRequest
) -> None:
    if gpu:
        request.getfixturevalue("as_gpu")
    given = [normal(2, 3, 33, 8), normal(2, 3, 33, 8, seed=1)]
    if mask is not None:
        given.append(normal(*mask, seed=2) > 0.3 if boolean else normal(*mask, seed=2))
        given[2][0] = False  # with bools one query may look nowhere
    found = []
    for device in (OPENCL, "cpu"):
        tensors = [flambeau.from_numpy(array.copy()).to(device) for array in given] + [None] * (mask is None)
        found.append(TENSORS.attention_weights(*tensors, is_causal, 0.5).cpu().numpy())
    numpy.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("block", [4 * 33 * 33, 3 * 4 * 33 * 33 * 2, 100])
@pytest.mark.parametrize("mask", [None, (33, 33), (4, 1, 1, 33), (3, 33, 33)])
def test_attention_a_few_heads_at_a_time(block: int, mask: tuple | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau_opencl.attention.BLOCK", block)
    added = None if mask is None else normal(*mask, seed=4)

    def attended(q: flambeau.Tensor, k: flambeau.Tensor, v: flambeau.Tensor) -> flambeau.Tensor:
        own = None if added is None else flambeau.from_numpy(added).to(q.device)
        return F.scaled_dot_product_attention(q, k, v, own)

    shapes = [(4, 3, 33, 8)] * 3
    for actual, expected in zip(
        _gradients(attended, *shapes, device=OPENCL), _gradients(attended, *shapes, device="cpu"), strict=True
    ):
        numpy.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("as_gpu")
def test_training_with_the_kernels_for_gpus_agrees_with_the_cpu() -> None:
    here, there = _Training(OPENCL), _Training("cpu")
    losses = [(here.step().item(), there.step().item()) for _ in range(3)]
    numpy.testing.assert_allclose([a for a, _ in losses], [b for _, b in losses], rtol=2e-4)


# -- random numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "offset"), [(0, 0), (1234, 7), ((1 << 64) + 5, (1 << 64) - 2)])
@pytest.mark.parametrize("kind", [flambeau.float32, flambeau.float64])
def test_uniform_numbers_are_those_of_numpys_philox(seed: int, offset: int, kind: flambeau.dtype) -> None:
    device = flambeau.zeros(1, device=OPENCL).device
    values = device.backend.to_numpy(device.xp.random_uniform((37,), kind, seed, offset, device))
    generator = numpy.random.Generator(numpy.random.Philox(key=seed, counter=offset))
    numpy.testing.assert_array_equal(values, generator.random(37, kind.numpy))


# -- training ------------------------------------------------------------------------------------------------------


class _Training:
    """A small network with convolution, pooling and a linear layer, and Adam."""

    def __init__(self, device: str) -> None:
        flambeau.manual_seed(0)
        nn = flambeau.nn
        self.model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5)
        ).to(device)
        self.optimizer = flambeau.optim.Adam(self.model.parameters(), lr=1e-2)
        self.images = flambeau.from_numpy(normal(6, 1, 8, 8)).to(device)
        self.labels = flambeau.tensor([0, 1, 2, 3, 4, 0]).to(device)

    def step(self) -> flambeau.Tensor:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def test_ten_steps_agree_with_the_cpu() -> None:
    here, there = _Training(OPENCL), _Training("cpu")
    losses = [(here.step().item(), there.step().item()) for _ in range(10)]
    numpy.testing.assert_allclose([a for a, _ in losses], [b for _, b in losses], rtol=2e-4)


def test_a_step_moves_nothing_but_the_loss() -> None:
    training = _Training(OPENCL)
    training.step().item()
    before = dict(runtime(None).transfers)
    training.step().item()
    after = runtime(None).transfers
    assert (after["to_device"] - before["to_device"], after["to_host"] - before["to_host"]) == (0, 1)


def test_steps_leave_no_memory_behind() -> None:
    training = _Training(OPENCL)
    training.step().item()
    before = runtime(None).pool.active_bytes
    for _ in range(20):
        training.step()
    assert runtime(None).pool.active_bytes == before


# -- faults --------------------------------------------------------------------------------------------------------


def test_an_index_out_of_bounds_is_raised_when_the_device_is_waited_for() -> None:
    table = made(normal(4, 3))
    chosen = table[flambeau.tensor([1, 9]).to(OPENCL)]
    with pytest.raises(IndexError, match="index: index 9 is out of bounds for size 4"):
        chosen.cpu()
    numpy.testing.assert_array_equal(table.cpu().numpy(), normal(4, 3))  # the next one is not blamed


@pytest.mark.parametrize(
    ("op", "arguments"), [("index_select", ()), ("index_add", (flambeau.ones(3, 2),)), ("index_fill", (1.0,))]
)
def test_indices_along_a_dimension_are_checked_without_waiting(op: str, arguments: tuple) -> None:
    table = made(normal(3, 4))
    index = flambeau.tensor([1, 4]).to(OPENCL)
    before = runtime(None).transfers["to_host"]
    arguments = [a.to(OPENCL) if isinstance(a, flambeau.Tensor) else a for a in arguments]
    found = getattr(table, op)(1, index, *arguments)
    assert runtime(None).transfers["to_host"] == before
    with pytest.raises(IndexError, match=f"{op}: index 4 is out of bounds for dimension 1 with size 4"):
        found.cpu()
    numpy.testing.assert_array_equal(table.cpu().numpy(), normal(3, 4))


def test_a_target_that_is_no_class_is_raised_when_the_device_is_waited_for() -> None:
    loss = F.cross_entropy(made(normal(2, 5)), made(numpy.array([1, 5])))
    with pytest.raises(IndexError, match="cross_entropy: index 5 is out of bounds for size 5"):
        loss.item()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("targets", [[3, -100, 0], [-100, -100, -100]])
def test_ignored_targets_count_for_nothing(reduction: str, targets: list[int]) -> None:
    found = []
    for device in ("cpu", OPENCL):
        scores = flambeau.from_numpy(normal(3, 5)).to(device).requires_grad_()
        loss = F.cross_entropy(scores, flambeau.tensor(targets, device=device), reduction=reduction)
        loss.sum().backward()
        found.append((loss.detach().cpu().numpy(), scores.grad.cpu().numpy()))
    numpy.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-6)
    numpy.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-6, atol=1e-7)


def test_integer_division_by_zero_is_raised_when_the_device_is_waited_for() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: remainder: integer division by zero"):
        (made(numpy.arange(4)) % made(numpy.zeros(4, numpy.int64))).cpu()


def test_a_kernel_that_does_not_build_is_named_with_its_log() -> None:
    array = made(normal(3))._array
    with pytest.raises(RuntimeError, match=r"kernel 'broken_[0-9a-f]+' does not build") as raised:
        run("broken", "r0 = no_such_name;", [array], [])
    assert "no_such_name" in str(raised.value)
    assert (made(normal(3)) + 0).shape == (3,)


def test_too_large_an_array_says_how_large() -> None:
    with pytest.raises(flambeau.OutOfMemoryError, match="opencl:0: an array of 4000000000000000 bytes"):
        flambeau.empty(10**15, device=OPENCL)
    assert flambeau.ones(2, device=OPENCL).sum().item() == 2


def test_a_missing_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "flambeau_opencl.backend.find_spec", lambda name: None if name == "pyopencl" else find_spec(name)
    )
    backend = OpenCLBackend()
    assert not backend.is_available()
    assert "pip install 'flambeau[opencl]'" in backend.install


@pytest.mark.parametrize("index", ["9", "99"])
def test_a_device_that_is_not_there_is_refused(index: str) -> None:
    with pytest.raises(RuntimeError, match=f"device 'opencl:{index}': there are only"):
        flambeau.zeros(1, device=f"opencl:{index}")
