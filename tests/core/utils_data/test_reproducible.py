"""The same seed gives the same batches and the same training, with any number of workers of any kind."""

from __future__ import annotations

import multiprocessing
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
import pytest

import flambeau
from flambeau import nn
from flambeau.utils.data import DataLoader, Dataset, IterableDataset, default_collate, get_worker_info

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="datasets are local classes"),
    pytest.mark.usefixtures("no_leftovers"),
]

#: Ways to load that must not differ.
WORKERS: list[dict[str, Any]] = [
    {},
    {"num_workers": 1, "multiprocessing_context": "fork"},
    {"num_workers": 4, "multiprocessing_context": "fork"},
    {"num_workers": 2, "multiprocessing_context": "fork", "persistent_workers": True, "prefetch_factor": 5},
    {"num_workers": 1, "multiprocessing_context": "thread"},
    {"num_workers": 4, "multiprocessing_context": "thread"},
    {"num_workers": 3, "multiprocessing_context": "thread", "persistent_workers": True},
]
IDS = ["-".join(map(str, ways.values())) or "none" for ways in WORKERS]


class Augmented(Dataset[Any]):
    """Samples changed at random by every generator that a program may use."""

    def __len__(self) -> int:
        return 22

    def __getitem__(self, index: int) -> Any:
        noise = numpy.random.normal(size=4) + numpy.random.rand() + numpy.random.randint(3) + numpy.random.sample()
        shift = random.random() + random.gauss(0, 1) + random.randint(0, 9) + random.choice([0.5, 1.5])
        order = flambeau.randperm(4)
        x = flambeau.from_numpy(noise)[order] + shift + flambeau.rand(4, dtype=flambeau.float64)
        return x.float(), index % 2


def mixed_up(samples: list[Any]) -> Any:
    """Collates at random, as mixup does."""
    x, y = default_collate(samples)
    weight = float(numpy.random.beta(0.4, 0.4))
    return weight * x + (1 - weight) * x[flambeau.randperm(len(x))], y


def batches_of(ways: dict[str, Any], passes: int = 2) -> list[Any]:
    flambeau.manual_seed(11)
    loader = DataLoader(Augmented(), batch_size=4, shuffle=True, collate_fn=mixed_up, **ways)
    return [[(x.tolist(), y.tolist()) for x, y in loader] for _ in range(passes)]


@pytest.fixture(scope="module")
def expected() -> list[Any]:
    return batches_of({})


@pytest.mark.parametrize("ways", WORKERS, ids=IDS)
def test_batches(ways: dict[str, Any], expected: list[Any]) -> None:
    assert batches_of(ways) == expected


def test_batches_of_spawned_workers(run_program: Callable[[str], str]) -> None:
    run_program(
        """
        import random
        import numpy, flambeau
        from flambeau.utils.data import DataLoader

        class Augmented:
            def __len__(self):
                return 22
            def __getitem__(self, index):
                return index, random.random(), numpy.random.rand(), flambeau.rand(3)

        def batches(**ways):
            flambeau.manual_seed(1)
            loader = DataLoader(Augmented(), batch_size=4, shuffle=True, **ways)
            return [[column.tolist() for column in batch] for batch in loader]

        if __name__ == "__main__":
            assert batches(num_workers=2, multiprocessing_context="spawn") == batches()
        """
    )


def test_passes_and_seeds_differ(expected: list[Any]) -> None:
    first, second = expected
    assert first != second
    numbers = [value for batches in expected for x, _ in batches for row in x for value in row]
    assert len(set(numbers)) == len(numbers)
    flambeau.manual_seed(12)
    assert [(x.tolist(), y.tolist()) for x, y in DataLoader(Augmented(), batch_size=4, collate_fn=mixed_up)] != first


@pytest.mark.parametrize("ways", WORKERS, ids=IDS)
def test_losses_of_a_training_with_dropout(ways: dict[str, Any]) -> None:
    def losses(ways: dict[str, Any]) -> list[float]:
        flambeau.manual_seed(5)
        net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2))
        optimizer = flambeau.optim.SGD(net.parameters(), lr=0.01)
        loader = DataLoader(Augmented(), batch_size=4, shuffle=True, **ways)
        found = []
        for _ in range(2):
            for x, y in loader:
                loss = nn.functional.cross_entropy(net(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                found.append(loss.item())
        return found

    assert losses(ways) == losses({})


@pytest.mark.parametrize("ways", WORKERS, ids=IDS)
def test_the_program_s_generators_are_not_touched(ways: dict[str, Any]) -> None:
    def draw() -> list[float]:
        return [random.random(), random.gauss(0, 1), float(numpy.random.rand()), float(numpy.random.normal())]

    random.seed(1)
    numpy.random.seed(2)
    draws = [draw() for _ in range(7)]
    random.seed(1)
    numpy.random.seed(2)
    assert [draw(), *[draw() for _ in DataLoader(Augmented(), batch_size=4, **ways)]] == draws
    assert flambeau.initial_seed() == flambeau.random.default_generator.initial_seed()


class Own(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        numpy.random.seed(index)
        random.seed(index)
        flambeau.manual_seed(index)
        return numpy.random.rand(), random.random(), flambeau.rand(()).item(), flambeau.initial_seed()


@pytest.mark.parametrize("ways", WORKERS, ids=IDS)
def test_a_dataset_may_seed_for_itself(ways: dict[str, Any]) -> None:
    flambeau.manual_seed(3)
    before = flambeau.initial_seed()
    found = list(DataLoader(Own(), batch_size=None, collate_fn=tuple, **ways))
    rows = [(numpy.random.RandomState(i).rand(), random.Random(i).random(), i) for i in range(4)]
    assert [(a, b, seed) for a, b, _, seed in found] == rows
    assert flambeau.initial_seed() == before


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        start = random.randrange(1000)
        return iter([(start, i, numpy.random.rand()) for i in range(6)])


@pytest.mark.parametrize("context", ["fork", "thread"])
def test_a_stream_is_the_same_in_one_worker(context: str) -> None:
    def batches(**ways: Any) -> Any:
        flambeau.manual_seed(4)
        return list(DataLoader(Stream(), batch_size=2, collate_fn=list, **ways))

    assert batches() == batches(num_workers=1, multiprocessing_context=context)


class Nested(Dataset[Any]):
    """A sample is made by another loader."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        inner = DataLoader(Augmented(), batch_size=11, shuffle=True, num_workers=0)
        return sum(x.sum() for x, _ in inner) + flambeau.rand(())


@pytest.mark.parametrize("ways", WORKERS, ids=IDS)
def test_a_loader_inside_a_dataset(ways: dict[str, Any]) -> None:
    def found(ways: dict[str, Any]) -> list[float]:
        flambeau.manual_seed(9)
        return [x.item() for x in DataLoader(Nested(), batch_size=None, **ways)]

    assert found(ways) == found({})


class Seeds(Dataset[Any]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        info = get_worker_info()
        assert info is not None
        return info.id, info.seed, flambeau.initial_seed()


@pytest.mark.parametrize("context", ["fork", "thread"])
def test_worker_info_has_the_base_seed_plus_the_number(context: str) -> None:
    generator = flambeau.Generator().manual_seed(2)
    base = flambeau.empty((), dtype=flambeau.int64).random_(generator=generator.clone_state()).item()
    loader = DataLoader(
        Seeds(), batch_size=None, num_workers=2, multiprocessing_context=context, generator=generator, collate_fn=tuple
    )
    assert list(loader) == [(i % 2, base + i % 2, base + i % 2) for i in range(4)]


def test_an_error_in_the_dataset_puts_the_generators_back() -> None:
    class Broken(Own):
        def __getitem__(self, index: int) -> Any:
            super().__getitem__(index)
            raise LookupError

    state, bits = random.getstate(), numpy.random.get_bit_generator()
    seed = flambeau.initial_seed()
    with pytest.raises(LookupError):
        list(DataLoader(Broken()))
    assert random.getstate() == state
    assert numpy.random.get_bit_generator() is bits
    assert flambeau.initial_seed() == seed


def test_two_threads_of_the_program_that_load_at_the_same_time() -> None:
    both_are_inside = threading.Barrier(2, timeout=120)

    class Waiting(Augmented):
        wait = True

        def __getitem__(self, index: int) -> Any:
            if self.wait:
                both_are_inside.wait()
            return super().__getitem__(index)

    def batches(dataset: Any, seed: int) -> list[Any]:
        generator = flambeau.Generator().manual_seed(seed)
        return [x.tolist() for x, _ in DataLoader(dataset, batch_size=4, generator=generator)]

    random.seed(1)
    numpy.random.seed(2)
    expected = random.random(), numpy.random.rand()
    random.seed(1)
    numpy.random.seed(2)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(batches, [Waiting(), Waiting()], [5, 6]))
    assert (random.random(), numpy.random.rand()) == expected
    assert found == [batches(Augmented(), 5), batches(Augmented(), 6)]
