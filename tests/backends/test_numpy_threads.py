"""Large arrays on several threads: every element once, the same results for any number of threads."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import flambeau
from flambeau import dispatch, settings
from flambeau.dtypes import DTYPES
from flambeau_numpy import elementwise
from flambeau_numpy.backend import NumpyBackend
from flambeau_numpy.threads import PARALLEL, over_parts

dispatch.load(flambeau.device("cpu"))
K = NumpyBackend().kernels()
RNG = numpy.random.default_rng(0)
LARGE = PARALLEL + 12_345


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    yield lambda count: monkeypatch.setattr(settings, "_threads", count)


def same_for_any_number(threads: Callable[[int], None], compute: Callable[[], Any]) -> Any:
    """What ``compute`` gives with 1, 2 and 4 threads, bit for bit the same."""
    found = []
    for count in (1, 2, 4):
        threads(count)
        found.append(compute())
    for other in found[1:]:
        numpy.testing.assert_array_equal(found[0], other)
    return found[0]


MANY = elementwise.LARGE + 12_345


@pytest.mark.parametrize(
    ("name", "ufunc"), [("exp", numpy.exp), ("abs", numpy.absolute), ("isnan", numpy.isnan), ("relu", None)]
)
def test_functions_of_one_array(threads: Callable[[int], None], name: str, ufunc: Any) -> None:
    x = RNG.standard_normal(MANY).astype("float32")
    found = same_for_any_number(threads, lambda: K[name](x))
    expected = numpy.maximum(x, 0) if ufunc is None else ufunc(x)
    numpy.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype and found.base is None


SHAPES = [((MANY,), (MANY,)), ((2, MANY), (MANY,)), ((MANY // 7, 7), (7,)), ((MANY,), ()), ((7,), (MANY // 7, 7)),
          ((MANY // 7, 1), (1, 7)), ((MANY // 7, 7), (MANY // 7, 1)), ((1, MANY), (MANY,))]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SHAPES)
@pytest.mark.parametrize("name", ["add", "lt", "maximum"])
def test_functions_of_two_arrays(threads: Callable[[int], None], name: str, one: Any, other: Any) -> None:
    a, b = RNG.random(one, numpy.float32), RNG.random(other, numpy.float32)
    found = same_for_any_number(threads, lambda: K[name](a, b))
    numpy.testing.assert_array_equal(found, K[name].bare(a, b))
    numpy.testing.assert_array_equal(K[name](a.T, 0.5), K[name].bare(a.T, numpy.float32(0.5)))


def test_arrays_that_are_not_dense_or_differ_in_dtype() -> None:
    a, b = RNG.random((2, 3, MANY // 3), numpy.float32)
    numpy.testing.assert_array_equal(K["mul"](a.T, b.T), a.T * b.T)
    numpy.testing.assert_array_equal(K["mul"](a, b.astype("float64")), a * b.astype("float64"))
    with pytest.raises(ValueError, match="broadcast"):
        K["mul"](a, b[:, 1:])


def test_in_place(threads: Callable[[int], None]) -> None:
    a, b = RNG.random((2, MANY), numpy.float32)

    def compute() -> Any:
        target = a.copy()
        assert K["add_"](target, b) is target and K["mul_"](target, 0.1) is target and K["sqrt_"](target) is target
        return target

    numpy.testing.assert_array_equal(same_for_any_number(threads, compute), numpy.sqrt((a + b) * numpy.float32(0.1)))


def test_casts_and_limits(threads: Callable[[int], None]) -> None:
    x = RNG.standard_normal(MANY).astype("float32")
    found = same_for_any_number(threads, lambda: K["to_dtype"](x, DTYPES["int16"]))
    numpy.testing.assert_array_equal(found, x.astype("int16"))
    found = same_for_any_number(threads, lambda: K["clamp"](x, -0.5, None))
    numpy.testing.assert_array_equal(found, numpy.maximum(x, numpy.float32(-0.5)))


@pytest.mark.parametrize("op", ["sigmoid_backward", "tanh_backward"])
def test_slopes(threads: Callable[[int], None], op: str) -> None:
    g, y = RNG.random((2, LARGE)).astype("float32")
    expected = g.astype("float64") * (y - numpy.float64(1) * y * y if op == "sigmoid_backward" else 1 - 1.0 * y * y)
    for of in (lambda a: a, lambda a: a[:7], lambda a: a[0], lambda a: a[::2]):
        numpy.testing.assert_allclose(K[op](of(g), of(y)), of(expected), 1e-4, 1e-6)
    same_for_any_number(threads, lambda: K[op](g, y))
    numpy.testing.assert_allclose(
        K[op](g[:6].reshape(3, 2), y[:2]), K[op](g[:6].reshape(3, 2), y[[0, 1, 0, 1, 0, 1]].reshape(3, 2))
    )


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("size", [0, 1, 1000, LARGE])
def test_every_element_is_in_one_part(threads: Callable[[int], None], count: int, size: int) -> None:
    threads(count)
    times = numpy.zeros(size, int)
    workers = set()

    def work(part: slice) -> None:
        times[part] += 1
        workers.add(threading.get_ident())

    over_parts(work, size, 1000)
    assert (times == 1).all()
    assert len(workers) <= count
    assert size == LARGE or workers <= {threading.get_ident()}


def test_a_part_does_not_wait_for_further_threads(threads: Callable[[int], None]) -> None:
    threads(2)
    times = numpy.zeros((8, LARGE), int)

    def work(part: slice) -> None:
        def within(inner: slice) -> None:
            times[part, inner] += 1

        over_parts(within, LARGE, 100_000)

    over_parts(work, 8, 1, LARGE)
    assert (times == 1).all()


@pytest.mark.parametrize("count", [1, 4])
def test_what_a_part_raises_is_raised(threads: Callable[[int], None], count: int) -> None:
    threads(count)

    def work(part: slice) -> None:
        if part.start >= LARGE // 2:
            raise ValueError("in the second half")

    with pytest.raises(ValueError, match="in the second half"):
        over_parts(work, LARGE, 1000)


def _in_child(queue: Any) -> None:
    queue.put(K["random_uniform"]((LARGE,), DTYPES["float32"], 3, 0).sum())


def test_a_forked_process_has_threads_of_its_own(threads: Callable[[int], None]) -> None:
    threads(2)
    expected = K["random_uniform"]((LARGE,), DTYPES["float32"], 3, 0).sum()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0, 7, 2**64 - 3])
def test_uniform_numbers(threads: Callable[[int], None], name: str, offset: int) -> None:
    found = same_for_any_number(threads, lambda: K["random_uniform"]((LARGE,), DTYPES[name], 9, offset))
    generator = numpy.random.Generator(numpy.random.Philox(key=9, counter=offset))
    numpy.testing.assert_array_equal(found, generator.random(LARGE, name))


@pytest.mark.parametrize("name", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (0, 3), (7, 5), (LARGE,)])
def test_dropout(threads: Callable[[int], None], name: str, shape: tuple[int, ...]) -> None:
    x, uniform = RNG.standard_normal(shape).astype(name), RNG.random(shape, numpy.float32)
    found = same_for_any_number(threads, lambda: K["apply_dropout"](numpy.asarray(x), numpy.asarray(uniform), 0.25))
    assert found.dtype == name
    numpy.testing.assert_allclose(found, numpy.where(uniform >= 0.25, x / 0.75, 0), rtol=1e-6)


def test_dropout_of_views_and_per_channel() -> None:
    x = RNG.standard_normal((4, 6, 5))
    for input, uniform in ((x.transpose(2, 0, 1), RNG.random((5, 4, 6))), (x, RNG.random((4, 6, 1)))):
        found = K["apply_dropout"](input, uniform, 0.5)
        numpy.testing.assert_allclose(found, numpy.where(uniform >= 0.5, input * 2, 0))
    assert numpy.isnan(K["apply_dropout"](numpy.array([numpy.inf]), numpy.array([0.0]), 0.5)).all()  # inf * 0


@pytest.mark.parametrize("call", [
    ("relu",), ("sigmoid",), ("silu",), ("gelu", "none"), ("gelu", "tanh"), ("erf",), ("softmax", 1),
    ("log_softmax", 1),
], ids=str)  # fmt: skip
def test_activations(threads: Callable[[int], None], call: tuple[Any, ...]) -> None:
    x = RNG.standard_normal((600, 700)).astype("float32")
    name, *settings = call
    found = same_for_any_number(threads, lambda: K[name](x, *settings))
    rows = [K[name](x[i : i + 1], *settings) for i in (0, 299, 599)]
    numpy.testing.assert_allclose(found[[0, 299, 599]], numpy.concatenate(rows), rtol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradient_of_cross_entropy(threads: Callable[[int], None], reduction: str) -> None:
    scores = RNG.standard_normal((1000, 300))
    target = RNG.integers(0, 300, 1000)
    g = numpy.float64(2) if reduction == "mean" else RNG.random(1000)
    _, log_probs = K["cross_entropy"](scores, target)
    settings = log_probs, target, None, reduction, -100, 0.0
    found = same_for_any_number(threads, lambda: K["cross_entropy_backward"](g, *settings))
    shares = numpy.exp(scores) / numpy.exp(scores).sum(1, keepdims=True)
    shares[numpy.arange(1000), target] -= 1
    expected = shares * (g / 1000 if reduction == "mean" else g[:, None])
    numpy.testing.assert_allclose(found, expected, 1e-9, 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums(threads: Callable[[int], None], dtype: str) -> None:
    x = RNG.standard_normal((700, 600)).astype(dtype)
    tolerance = {"float32": 2e-3, "float64": 1e-10}[dtype]
    for dim in ((0, 1), (1,)):
        found = same_for_any_number(threads, lambda dim=dim: K["sum"](x, dim))
        numpy.testing.assert_allclose(found, x.astype("float64").sum(dim), 0, tolerance)


@pytest.mark.parametrize(("name", "reference"), [
    ("softplus", lambda x: numpy.log1p(numpy.exp(x))),
    ("erfc", lambda x: 1 - K["erf"](x.astype("float64"))),
    ("lerp", lambda x: x + 0.25 * (1 - x)),
], ids=["softplus", "erfc", "lerp"])  # fmt: skip
def test_composites(threads: Callable[[int], None], name: str, reference: Any) -> None:
    x = RNG.standard_normal((LARGE // 8, 8)).astype("float32")
    others = {"softplus": (1.0, 20.0), "erfc": (), "lerp": (numpy.ones_like(x), 0.25)}[name]
    found = same_for_any_number(threads, lambda: K[name](x, *others))
    assert found.dtype == x.dtype
    numpy.testing.assert_allclose(found, reference(x), 1e-5, 1e-6)
    numpy.testing.assert_array_equal(K[name](x.T, *[o.T if hasattr(o, "T") else o for o in others]), found.T)


def test_choices(threads: Callable[[int], None]) -> None:
    x, y = RNG.standard_normal((2, 600, 700)).astype("float32")
    found = same_for_any_number(threads, lambda: K["where"](x > 0.5, x, y))
    numpy.testing.assert_array_equal(found, numpy.where(x > 0.5, x, y))
    for given in (y, y.T.copy().T):
        found = same_for_any_number(threads, lambda given=given: K["threshold_backward"](given, x, 0.5))
        numpy.testing.assert_array_equal(found, numpy.where(x > 0.5, y, 0))


@pytest.mark.parametrize("name", ["float32", "float16"])
def test_steps_of_optimizers(threads: Callable[[int], None], name: str) -> None:
    start = RNG.standard_normal((4, LARGE)).astype(name)

    def adam() -> Any:
        param, grad, average, square = (row.copy() for row in start)
        square = numpy.abs(square)
        K["adam_step"]([param], [grad], [average], [square], [], [3.0], 0.1, 0.9, 0.99, 1e-8, 0.01, False, False, True)
        return param, average, square

    def sgd() -> Any:
        param, grad, velocity = (row.copy() for row in start[:3])
        K["sgd_step"]([param], [grad], [velocity], 0.1, 0.9, 0.0, 0.01, True, False, False)
        return param, velocity

    wide = start.astype("float64")
    found = same_for_any_number(threads, sgd)
    velocity = 0.9 * wide[2] + wide[1] + 0.01 * wide[0]
    tolerance = {"float32": 1e-5, "float16": 2e-2}[name]
    numpy.testing.assert_allclose(found[1], velocity, tolerance, tolerance)
    stepped = wide[0] - 0.1 * (wide[1] + 0.01 * wide[0] + 0.9 * velocity)
    numpy.testing.assert_allclose(found[0], stepped, tolerance, tolerance)
    found = same_for_any_number(threads, adam)
    average, square = 0.9 * wide[2] + 0.1 * wide[1], 0.99 * abs(wide[3]) + 0.01 * wide[1] ** 2
    change = 0.1 * average / (1 - 0.9**3) / (numpy.sqrt(square / (1 - 0.99**3)) + 1e-8)
    numpy.testing.assert_allclose(found[0], wide[0] * 0.999 - change, tolerance, 10 * tolerance)


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm(threads: Callable[[int], None], training: bool) -> None:
    x, g = RNG.standard_normal((2, 3, 17, 64, 65)).astype("float32")[:, :, :, :, 1:]
    weight, bias, mean, rstd = RNG.random((4, 17), numpy.float32) + 0.5
    found = same_for_any_number(
        threads,
        lambda: K["native_batch_norm"](x, weight, bias, mean.copy(), 1 / rstd**2, training, 0.1, 1e-5)[0],
    )
    wide = x.astype("float64")
    means = wide.mean((0, 2, 3)) if training else mean
    deviations = numpy.sqrt(wide.var((0, 2, 3)) if training else 1 / rstd.astype("float64") ** 2)
    expected = (wide - means[:, None, None]) / deviations[:, None, None] * weight[:, None, None] + bias[:, None, None]
    numpy.testing.assert_allclose(found, expected, 1e-4, 1e-4)
    settings = weight, mean, rstd, training, (True, True, True)
    gi = same_for_any_number(threads, lambda: K["native_batch_norm_backward"](g, x, *settings)[0])
    normal = (wide - mean[:, None, None]) * rstd[:, None, None]
    if training:
        along = (g * normal).mean((0, 2, 3), keepdims=True)
        inner = g - g.mean((0, 2, 3), keepdims=True) - normal * along
    else:
        inner = g
    numpy.testing.assert_allclose(gi, inner * (rstd * weight)[:, None, None], 1e-3, 1e-4)


def test_the_kit_holds_with_small_arrays_in_parts(tmp_path: Path) -> None:
    """The conformance kit where parts have three elements, on ops whose kernels work in parts."""
    (tmp_path / "in_parts.py").write_text(
        "from flambeau_numpy import activation, blocks, dropout, elementwise, pointwise, threads\n"
        "for module in (activation, pointwise, threads):\n    module.PARALLEL = 2\n"
        "for module in (activation, blocks, dropout, elementwise, pointwise):\n    module.BLOCK = 3\n"
        "activation.LARGE = elementwise.LARGE = 2\nblocks.ROW_BLOCK = elementwise.PIECE = activation.PIECE = 3\n"
    )
    names = ["softplus", "lgamma", "igamma", "masked_fill", "isclose", "nan_to_num", "lerp", "addcmul", "hardtanh",
             "celu", "where", "relu", "sigmoid", "softmax", "batch_norm", "dropout"]  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-q", "-p", "in_parts", "--pyargs", "flambeau.testing"]
    command += ["--device", "cpu", "--dtype", "float32", "-p", "no:cacheprovider", "-k", " or ".join(names)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    environment |= {"PYTHONPATH": ":".join([str(tmp_path), *[p for p in sys.path if p]]), "OPENBLAS_NUM_THREADS": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
