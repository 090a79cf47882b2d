"""Deterministic mode, and seeds under all their names."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import pytest

import flambeau
from flambeau import determinism
from flambeau.devices import device
from flambeau.dispatch import load


@pytest.fixture(autouse=True)
def _off_afterwards() -> Iterator[None]:
    yield
    flambeau.use_deterministic_algorithms(False)
    determinism.fill_uninitialized_memory = True


@pytest.fixture
def unordered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU whose additions at places are in no order."""
    backend = load(device("cpu")).backend
    monkeypatch.setattr(type(backend), "nondeterministic", frozenset({"index_put", "scatter_add", "scatter_add_"}))


def scatter(x: flambeau.Tensor) -> flambeau.Tensor:
    return x.scatter_add(0, flambeau.tensor([0, 0]), flambeau.ones(2, dtype=x.dtype))


REFUSED = (
    "scatter_add does not have a deterministic implementation on 'cpu', but you set "
    "'flambeau.use_deterministic_algorithms(True)'. Turn it off for this operation, pass warn_only=True, or compute "
    "this part on the CPU"
)


@pytest.mark.usefixtures("unordered")
def test_refuses_what_is_not_deterministic() -> None:
    x = flambeau.zeros(3)
    assert scatter(x).tolist() == [2, 0, 0]
    flambeau.use_deterministic_algorithms(True)
    with pytest.raises(RuntimeError) as caught:
        scatter(x)
    assert str(caught.value) == REFUSED
    with pytest.raises(RuntimeError, match="^scatter_add_ does not"):
        x.scatter_add_(0, flambeau.tensor([0, 0]), flambeau.ones(2))
    assert scatter(flambeau.zeros(3, dtype=flambeau.int64)).tolist() == [2, 0, 0]  # integers do not mind
    flambeau.use_deterministic_algorithms(False)
    assert scatter(x).tolist() == [2, 0, 0]


@pytest.mark.usefixtures("unordered")
def test_only_adding_is_refused() -> None:
    flambeau.use_deterministic_algorithms(True)
    x, at = flambeau.zeros(3), (flambeau.tensor([0, 0]),)
    assert x.index_put(at, flambeau.ones(2)).tolist() == [1, 0, 0]
    with pytest.raises(RuntimeError, match="^index_put does not have a deterministic implementation on 'cpu'"):
        x.index_put(at, flambeau.ones(2), accumulate=True)


@pytest.mark.usefixtures("unordered")
def test_warns() -> None:
    flambeau.use_deterministic_algorithms(True, warn_only=True)
    with pytest.warns(UserWarning, match="scatter_add does not have a deterministic implementation"):
        assert scatter(flambeau.zeros(3)).tolist() == [2, 0, 0]


def test_modes() -> None:
    assert not flambeau.are_deterministic_algorithms_enabled()
    for mode, number in (("warn", 1), ("error", 2), ("default", 0), (2, 2), (1, 1)):
        flambeau.set_deterministic_debug_mode(mode)
        assert flambeau.get_deterministic_debug_mode() == number
        assert flambeau.are_deterministic_algorithms_enabled() is (number > 0)
        assert flambeau.is_deterministic_algorithms_warn_only_enabled() is (number == 1)
    with pytest.raises(RuntimeError, match="expected 0, 1, 2, 'default', 'warn' or 'error', got 'loud'"):
        flambeau.set_deterministic_debug_mode("loud")


def test_memory_that_nobody_initialised_shows() -> None:
    assert flambeau.empty(2).tolist() == [0, 0]
    flambeau.use_deterministic_algorithms(True)
    assert all(map(math.isnan, flambeau.empty(2).tolist() + flambeau.ones(2).new_empty(2).tolist()))
    assert all(map(math.isnan, flambeau.empty_like(flambeau.ones(2)).tolist()))
    assert flambeau.empty(1, dtype=flambeau.int8).tolist() == [127]
    assert flambeau.empty(1, dtype=flambeau.bool).tolist() == [True]
    flambeau.utils.deterministic.fill_uninitialized_memory = False
    assert flambeau.empty(2).tolist() == [0, 0]
    with pytest.raises(TypeError, match="expected a bool"):
        flambeau.utils.deterministic.fill_uninitialized_memory = 1  # type: ignore[assignment]


def test_the_cpu_is_deterministic() -> None:
    flambeau.use_deterministic_algorithms(True)
    embedding = flambeau.nn.Embedding(3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedding(flambeau.tensor([0, 0, 1])).sum().backward()
    assert embedding.weight.grad.tolist() == [[2, 2], [1, 1], [0, 0]]


def test_opencl_says_what_is_not() -> None:
    if "opencl" not in flambeau.dispatch.available():
        pytest.skip("no OpenCL device")
    flambeau.use_deterministic_algorithms(True)
    embedding = flambeau.nn.Embedding(3, 2, device="opencl")
    loss = embedding(flambeau.tensor([0, 0, 1], device="opencl")).sum()
    with pytest.raises(RuntimeError, match="^embedding_backward does not have .* on 'opencl'"):
        loss.backward()


# -- seeds -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "seed",
    [
        flambeau.manual_seed, flambeau.random.manual_seed, flambeau.cuda.manual_seed, flambeau.cuda.manual_seed_all,
        flambeau.default_generator.manual_seed,
    ],
)  # fmt: skip
def test_every_name_seeds_all_devices(seed: object) -> None:
    flambeau.manual_seed(5)
    expected = flambeau.rand(3)
    flambeau.manual_seed(6)
    seed(5)  # type: ignore[operator]
    assert flambeau.rand(3).equal(expected)
    assert flambeau.initial_seed() == flambeau.cuda.initial_seed() == 5


def test_states() -> None:
    state = flambeau.cuda.get_rng_state()
    expected = flambeau.rand(3)
    flambeau.cuda.set_rng_state(state)
    assert flambeau.rand(3).equal(expected)
    flambeau.random.set_rng_state(state)
    with flambeau.random.fork_rng():
        assert flambeau.rand(3).equal(expected)
    assert flambeau.rand(3).equal(expected)
    assert len(flambeau.cuda.get_rng_state_all()) == flambeau.cuda.device_count()


def test_seeds_from_the_system() -> None:
    first = flambeau.seed()
    assert flambeau.initial_seed() == first != flambeau.seed()


def test_switches_of_cudnn() -> None:
    cudnn = flambeau.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    with cudnn.flags(enabled=True, benchmark=True, deterministic=True):
        assert cudnn.benchmark and cudnn.deterministic
    assert (cudnn.benchmark, cudnn.deterministic) == before
