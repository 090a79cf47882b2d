"""Loading in worker threads."""

from __future__ import annotations

import gc
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

import flambeau
from flambeau.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("flambeau-loader-")]


@pytest.fixture(autouse=True)
def _no_threads_left() -> Iterator[None]:
    functions = random.random, numpy.random.rand
    yield
    gc.collect()
    assert loader_threads() == []
    assert (random.random, numpy.random.rand) == functions


def threaded(dataset: Any, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset, **{"num_workers": 2, "multiprocessing_context": "thread", **options})


def lists(batches: Any) -> list[Any]:
    return [batch.tolist() for batch in batches]


class Mapped(Dataset[Any]):
    """``function(index)`` for indices below ``n``."""

    def __init__(self, n: int, function: Callable[[int], Any]) -> None:
        self.n, self.function = n, function

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        return self.function(index)


@pytest.mark.parametrize("num_workers", [1, 2, 5])
@pytest.mark.parametrize("persistent_workers", [False, True])
def test_batches_come_in_order_pass_after_pass(num_workers: int, persistent_workers: bool) -> None:
    def uneven(index: int) -> int:
        time.sleep(0.01 if index % 4 == 0 else 0)
        return index

    loader = threaded(Mapped(23, uneven), batch_size=2, num_workers=num_workers, persistent_workers=persistent_workers)
    expected = [list(range(23))[i : i + 2] for i in range(0, 23, 2)]
    assert lists(loader) == expected
    assert lists(loader) == expected


def test_out_of_order_when_asked() -> None:
    first_is_out = threading.Event()

    def function(index: int) -> int:
        if index == 0:
            assert first_is_out.wait(120)
        return index

    batches = iter(threaded(Mapped(6, function), in_order=False))
    first = next(batches).item()
    first_is_out.set()
    assert first != 0
    assert sorted([first, *(batch.item() for batch in batches)]) == list(range(6))


def test_nothing_is_copied_and_histories_stay() -> None:
    weight = flambeau.ones(2, requires_grad=True)
    dataset = Mapped(2, lambda index: (weight * index, get_worker_info().dataset))  # type: ignore[union-attr]
    (_, own), (product, _) = threaded(dataset, batch_size=None)
    assert own is dataset
    product.sum().backward()
    assert weight.grad.tolist() == [1.0, 1.0]


def test_threads_share_an_iterable_dataset_out() -> None:
    class Shared(IterableDataset[int]):
        def __iter__(self) -> Iterator[int]:
            info = get_worker_info()
            assert info is not None
            return iter(range(info.id, 11, info.num_workers))

    for _ in range(2):
        assert list(threaded(Shared(), batch_size=None, num_workers=3)) == list(range(11))
    assert get_worker_info() is None


def test_names_imported_one_by_one_work_while_threads_load() -> None:
    """They are the shared generator's: not reproducible, and not broken."""
    draw, draw_numpy = random.random, numpy.random.rand
    loader = threaded(Mapped(40, lambda index: draw() + float(draw_numpy())), batch_size=None)
    assert all(0 <= value < 2 for value in loader)


def test_an_exception_has_its_type_and_traceback_and_the_pass_goes_on() -> None:
    def function(index: int) -> int:
        if index == 2:
            raise ZeroDivisionError("bad sample")
        if index == 3:
            raise SystemExit(4)
        return index

    batches = iter(threaded(Mapped(6, function)))
    assert [next(batches).item(), next(batches).item()] == [0, 1]
    with pytest.raises(ZeroDivisionError) as caught:
        next(batches)
    text = str(caught.value)
    assert text.startswith("Caught ZeroDivisionError in DataLoader worker thread 0.\nOriginal Traceback")
    assert 'raise ZeroDivisionError("bad sample")' in text
    with pytest.raises(RuntimeError, match="Caught SystemExit in DataLoader worker thread 1"):
        next(batches)
    assert [batch.item() for batch in batches] == [4, 5]


def test_exceptions_of_worker_init_fn() -> None:
    def fail(worker_id: int) -> None:
        raise LookupError(f"not today, {worker_id}")

    with pytest.raises(LookupError, match="worker thread 0(?s:.*)not today, 0"):
        list(threaded(range(4), worker_init_fn=fail))


def test_timeout_names_the_threads() -> None:
    wait = threading.Event()
    loader = threaded(Mapped(2, lambda index: wait.wait(120)), timeout=0.2)
    with pytest.raises(RuntimeError, match=r"timed out after 0.2 seconds.*flambeau-loader-0, flambeau-loader-1"):
        next(iter(loader))
    wait.set()
    for thread in loader_threads():
        thread.join()


def test_threads_end_with_the_pass_and_after_a_break() -> None:
    batches = iter(threaded(range(4)))
    assert len(loader_threads()) == 2
    assert len(list(batches)) == 4
    assert loader_threads() == []
    assert list(batches) == []
    for _ in threaded(Mapped(1000, lambda index: numpy.zeros(100))):
        break
    assert loader_threads() == []


def test_persistent_threads_begin_anew_after_a_break() -> None:
    loader = threaded(Mapped(30, lambda index: index), persistent_workers=True, prefetch_factor=4)
    for _ in range(3):
        for batch in loader:
            assert batch.item() == 0
            break
        assert len(loader_threads()) == 2
    assert [batch.item() for batch in loader] == list(range(30))
    del loader


def test_ctrl_c_reaches_the_program_while_it_waits_for_threads(
    start_program: Callable[[str], subprocess.Popen[str]],
) -> None:
    program = start_program(
        """
        import time
        from flambeau.utils.data import DataLoader, worker

        class Slow:
            def __len__(self):
                return 4
            def __getitem__(self, index):
                print("waiting", flush=True)
                time.sleep(600)

        worker.GRACE = 0.1
        try:
            for _ in DataLoader(Slow(), num_workers=1, multiprocessing_context="thread"):
                pass
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "waiting\n"
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=120)
    assert (out, err, program.returncode) == ("interrupted\n", "", 0)


def test_a_program_ends_though_a_thread_hangs(run_program: Callable[[str], str]) -> None:
    out = run_program(
        """
        import time
        from flambeau.utils.data import DataLoader

        class Hanging:
            def __len__(self):
                return 4
            def __getitem__(self, index):
                if index:
                    time.sleep(600)
                return index

        batches = iter(DataLoader(Hanging(), num_workers=2, multiprocessing_context="thread"))
        print(next(batches).item(), flush=True)
        from flambeau.utils.data import worker
        worker.GRACE = 0.1
        """
    )
    assert out == "0\n"
