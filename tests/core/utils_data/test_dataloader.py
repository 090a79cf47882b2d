"""The loader's arguments, and loading in the process itself."""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

import flambeau
from flambeau.utils.data import DataLoader, Dataset, IterableDataset, Sampler, TensorDataset, get_worker_info


class Numbers(IterableDataset[int]):
    def __init__(self, n: int, reported: int | None = None) -> None:
        self.n = n
        self.reported = n if reported is None else reported

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.n))

    def __len__(self) -> int:
        return self.reported


def lists(batches: Any) -> list[Any]:
    return [batch.tolist() for batch in batches]


def test_batches_in_order() -> None:
    loader = DataLoader(range(7), batch_size=3)  # type: ignore[arg-type]
    assert lists(loader) == lists(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(loader) == 3
    assert len(iter(loader)) == 3  # type: ignore[arg-type]
    loader = DataLoader(range(7), batch_size=3, drop_last=True)  # type: ignore[arg-type]
    assert lists(loader) == [[0, 1, 2], [3, 4, 5]]
    assert len(loader) == 2
    assert lists(DataLoader(range(3))) == [[0], [1], [2]]  # type: ignore[arg-type]


def test_tensor_dataset() -> None:
    x, y = flambeau.rand(5, 2, 3), flambeau.arange(5)
    batches = list(DataLoader(TensorDataset(x, y), batch_size=2))
    assert [batch[0].shape for batch in batches] == [(2, 2, 3), (2, 2, 3), (1, 2, 3)]
    assert [batch[1].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    numpy.testing.assert_array_equal(batches[1][0].numpy(), x.numpy()[2:4])


def test_shuffling_is_reproducible_and_new_every_pass() -> None:
    def passes(seed: int) -> list[Any]:
        loader = DataLoader(range(20), batch_size=4, shuffle=True, generator=flambeau.Generator().manual_seed(seed))  # type: ignore[arg-type]
        return [lists(loader), lists(loader)]

    first, second = passes(1)
    assert first != second
    assert sorted(itertools.chain(*first)) == list(range(20))
    assert passes(1) == [first, second]
    assert passes(2) != [first, second]


def test_samplers() -> None:
    assert lists(DataLoader(range(9), batch_size=2, sampler=[8, 1, 5])) == [[8, 1], [5]]  # type: ignore[arg-type]
    loader = DataLoader(range(9), batch_sampler=[[8], [1, 5]])  # type: ignore[arg-type]
    assert lists(loader) == [[8], [1, 5]]
    assert (loader.batch_size, len(loader)) == (None, 2)

    class Keys(Sampler[str]):
        def __iter__(self) -> Iterator[str]:
            return iter("ba")

    assert lists(DataLoader({"a": 1, "b": 2}, batch_size=2, sampler=Keys())) == [[2, 1]]  # type: ignore[arg-type]


def test_without_batches_samples_are_converted() -> None:
    loader = DataLoader([numpy.array([1, 2]), "text"], batch_size=None)  # type: ignore[arg-type]
    array, text = loader
    assert isinstance(array, flambeau.Tensor)
    assert array.tolist() == [1, 2]
    assert text == "text"
    assert list(DataLoader(Numbers(3), batch_size=None)) == [0, 1, 2]
    assert list(DataLoader([1, 2], batch_size=None, collate_fn=lambda sample: sample + 1)) == [2, 3]  # type: ignore[arg-type]


def test_collate_fn_gets_the_list_of_samples() -> None:
    assert list(DataLoader("abc", batch_size=2, collate_fn=lambda batch: batch)) == [["a", "b"], ["c"]]  # type: ignore[arg-type]
    rows = next(iter(DataLoader(TensorDataset(flambeau.arange(3)), batch_size=2, collate_fn=list)))
    assert [tuple(t.item() for t in row) for row in rows] == [(0,), (1,)]


def test_getitems_is_used_where_there_is_one() -> None:
    class Batched(Dataset[int]):
        def __getitems__(self, indices: list[int]) -> list[int]:
            return [10 * index for index in indices]

    assert lists(DataLoader(Batched(), batch_size=2, sampler=[1, 2, 3])) == [[10, 20], [30]]


def test_iterable() -> None:
    assert lists(DataLoader(Numbers(5), batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert lists(DataLoader(Numbers(5), batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert len(DataLoader(Numbers(5), batch_size=2)) == 3
    assert len(DataLoader(Numbers(5), batch_size=2, drop_last=True)) == 2
    assert len(DataLoader(Numbers(5), batch_size=None)) == 5


def test_iterable_that_ends_is_not_asked_again() -> None:
    class Restless:
        """An iterator that, against the protocol, goes on after its end."""

        def __init__(self) -> None:
            self.calls = 0

        def __iter__(self) -> Restless:
            return self

        def __next__(self) -> int:
            self.calls += 1
            if self.calls == 4:
                raise StopIteration
            return self.calls

    class Dataset(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            return Restless()  # type: ignore[return-value]

    assert lists(DataLoader(Dataset(), batch_size=2)) == [[1, 2], [3]]


def test_iterable_longer_than_it_said_is_warned_of() -> None:
    loader = DataLoader(Numbers(3, reported=2))
    assert lists(loader) == [[0], [1], [2]]  # nobody asked for the length
    assert len(loader) == 2
    with pytest.warns(UserWarning, match="was reported to be 2 .* but 3 samples have been fetched"):
        list(loader)


def test_an_exception_in_the_dataset_comes_as_it_is() -> None:
    class Broken(Dataset[int]):
        def __getitem__(self, index: int) -> int:
            raise LookupError("no such sample")

    with pytest.raises(LookupError, match=r"^no such sample$"):
        next(iter(DataLoader(Broken(), sampler=[0])))


def test_main_process_is_no_worker() -> None:
    assert get_worker_info() is None


ITERABLE = Numbers(4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_workers": -1}, "num_workers option should be non-negative; use num_workers=0 to disable multi"),
        ({"timeout": -1}, "timeout option should be non-negative"),
        ({"prefetch_factor": 2}, "prefetch_factor option could only be specified in multiprocessing"),
        ({"prefetch_factor": -1, "num_workers": 1}, "prefetch_factor option should be non-negative"),
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        ({"sampler": [0], "shuffle": True}, "sampler option is mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler option is mutually exclusive with batch_size"),
        ({"batch_sampler": [[0]], "shuffle": True}, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[0]], "sampler": [0]}, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[0]], "drop_last": True}, "batch_sampler option is mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, "batch_size=None option disables auto-batching"),
        ({"batch_size": 0}, "batch_size should be a positive integer value, but got batch_size=0"),
        ({"dataset": ITERABLE, "shuffle": True}, "expected unspecified shuffle option, but got shuffle=True"),
        ({"dataset": ITERABLE, "sampler": [0]}, r"expected unspecified sampler option, but got sampler=\[0\]"),
        ({"dataset": ITERABLE, "batch_sampler": [[0]]}, "expected unspecified batch_sampler option"),
        ({"multiprocessing_context": "spawn"}, r"can only be used with multi-process loading \(num_workers > 0\)"),
        (
            {"multiprocessing_context": "teleport", "num_workers": 1},
            "specify a valid start method in .*teleport",
        ),
    ],
)
def test_arguments_at_odds(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataLoader(**{"dataset": range(4), **arguments})


def test_context_of_a_wrong_type() -> None:
    with pytest.raises(TypeError, match="should be a valid context object or a string specifying the start method"):
        DataLoader(range(4), num_workers=1, multiprocessing_context=3)  # type: ignore[arg-type]
    loader = DataLoader(range(4), num_workers=1, multiprocessing_context="spawn")  # type: ignore[arg-type]
    assert loader.multiprocessing_context is multiprocessing.get_context("spawn")


def test_empty_dataset() -> None:
    assert list(DataLoader([], batch_size=2)) == []  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_samples=0"):
        DataLoader([], shuffle=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"]
)
def test_what_the_sampler_was_made_from_cannot_be_changed(name: str) -> None:
    loader = DataLoader(range(4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"{name} attribute should not be set after DataLoader is initialized"):
        setattr(loader, name, None)
    loader.timeout = 3


def test_prefetch_factor_is_two_where_there_are_workers() -> None:
    assert DataLoader(range(4)).prefetch_factor is None  # type: ignore[arg-type]
    assert DataLoader(range(4), num_workers=1).prefetch_factor == 2  # type: ignore[arg-type]


def test_many_workers_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="This DataLoader will create 10000 worker processes in total"):
        DataLoader(range(4), num_workers=10000)  # type: ignore[arg-type]


def test_iterators_are_not_pickled() -> None:
    with pytest.raises(NotImplementedError, match="cannot be pickled"):
        pickle.dumps(iter(DataLoader(range(4))))  # type: ignore[arg-type]


def test_loading_here_needs_no_multiprocessing() -> None:
    program = (
        "import sys, flambeau.utils.data as d; list(d.DataLoader(range(4), 2)); print('multiprocessing' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ran.stdout, ran.stderr) == ("False\n", "")


def test_data_is_an_attribute_of_utils_without_an_import() -> None:
    program = "import flambeau.utils as u; print(u.data.DataLoader.__module__)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ran.stdout, ran.stderr) == ("flambeau.utils.data.dataloader\n", "")


# -- pinning -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(flambeau.cuda.is_available(), reason="about machines without an accelerator")
def test_pinning_without_an_accelerator_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="'pin_memory' argument is set as true but no accelerator is found"):
        assert [batch.tolist() for batch in DataLoader(range(4), batch_size=2, pin_memory=True)] == [[0, 1], [2, 3]]  # type: ignore[arg-type]
    with (
        pytest.warns(UserWarning, match="no accelerator"),
        pytest.warns(UserWarning, match="ignore pin_memory_device='cu"),
    ):
        next(iter(DataLoader(range(4), pin_memory=True, pin_memory_device="cuda:1")))  # type: ignore[arg-type]
