"""Loading in worker processes: real ones, forked unless the test says otherwise."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

import flambeau
from flambeau import settings
from flambeau.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    get_worker_info,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="datasets are local classes"),
    pytest.mark.usefixtures("no_leftovers"),
]


def forked(dataset: Any, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset, **{"num_workers": 2, "multiprocessing_context": "fork", **options})


def lists(batches: Any) -> list[Any]:
    return [batch.tolist() for batch in batches]


@pytest.fixture(autouse=True)
def _no_children_left() -> Iterator[None]:
    yield
    gc.collect()
    assert multiprocessing.active_children() == []


class Mapped(Dataset[Any]):
    """``function(index)`` for indices below ``n``."""

    def __init__(self, n: int, function: Callable[[int], Any]) -> None:
        self.n, self.function = n, function

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> Any:
        return self.function(index)


class Streamed(IterableDataset[Any]):
    """What ``function()`` returns, iterated over."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function

    def __iter__(self) -> Iterator[Any]:
        return iter(self.function())


def test_kernels_stay_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_threads", 3)
    assert list(forked(Mapped(4, lambda _: settings.worker_threads()), batch_size=None)) == [1, 1, 1, 1]
    assert settings.worker_threads() == 3


# -- what comes, and in which order ------------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [1, 2, 3])
@pytest.mark.parametrize("prefetch_factor", [1, 2, 5])
def test_batches_come_in_the_sampler_s_order(num_workers: int, prefetch_factor: int) -> None:
    def uneven(index: int) -> int:
        time.sleep(0.01 if index % 4 == 0 else 0)
        return index

    loader = forked(Mapped(23, uneven), batch_size=2, num_workers=num_workers, prefetch_factor=prefetch_factor)
    expected = [list(range(23))[i : i + 2] for i in range(0, 23, 2)]
    assert lists(loader) == expected
    assert lists(loader) == expected


def test_workers_make_the_batches() -> None:
    loader = forked(Mapped(4, lambda index: os.getpid()), batch_size=2)
    pids = {pid for batch in lists(loader) for pid in batch}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_out_of_order_when_asked() -> None:
    first_is_out = multiprocessing.get_context("fork").Event()

    def function(index: int) -> int:
        if index == 0:
            assert first_is_out.wait(120)
        return index

    batches = iter(forked(Mapped(6, function), in_order=False))
    first = next(batches).item()
    first_is_out.set()
    assert first != 0
    assert sorted([first, *(batch.item() for batch in batches)]) == list(range(6))


def test_every_kind_of_batch_arrives_whole() -> None:
    rng = numpy.random.default_rng(0)
    values = {
        "large": flambeau.from_numpy(rng.normal(size=(300, 100))),
        "small": flambeau.tensor([1.5, 2.5]),
        "empty": flambeau.zeros(0, 3),
        "scalar": flambeau.tensor(7),
        "half": flambeau.ones(3, dtype=flambeau.float16),
        "bool": flambeau.tensor([True, False]),
        "complex": flambeau.tensor([1 + 2j]),
        "transposed": flambeau.arange(60000).reshape(200, 300).t(),
        "array": rng.integers(0, 255, (200, 500), dtype=numpy.uint8),
        "strided": rng.normal(size=(400, 300))[::2, ::3],
        "fortran": numpy.asfortranarray(rng.normal(size=(100, 120))),
        "objects": numpy.array([None, "x"], dtype=object),
        "text": "é" * 100_000,
        "bytes": b"0123456789" * 20_000,
        "nested": ({"a": [1, None, (2.5, "b")]}, {3, 4}),
        "parameter": flambeau.tensor([1.0, 2.0], requires_grad=True),
    }
    loader = forked(Mapped(3, lambda index: values), batch_size=None, collate_fn=lambda sample: sample, num_workers=1)
    for received in loader:
        assert received.keys() == values.keys()
        for name, value in values.items():
            found = received[name]
            assert type(found) is type(value), name
            if isinstance(value, flambeau.Tensor):
                assert (found.dtype, found.device, found.requires_grad, found.shape) == (
                    value.dtype, value.device, value.requires_grad, value.shape,
                )  # fmt: skip
                numpy.testing.assert_array_equal(found.detach().numpy(), value.detach().numpy(), name)
            elif isinstance(value, numpy.ndarray):
                assert found.dtype == value.dtype
                numpy.testing.assert_array_equal(found, value, name)
            else:
                assert found == value


def test_bfloat16_arrives() -> None:
    pytest.importorskip("ml_dtypes")
    values = flambeau.arange(40000).to(flambeau.bfloat16)
    (batch,) = forked(TensorDataset(values), batch_size=40000, num_workers=1)
    assert batch[0].dtype is flambeau.bfloat16
    assert batch[0].tolist() == values.tolist()


def test_the_same_tensor_twice_is_one_tensor() -> None:
    x = flambeau.zeros(100_000)
    first, second, part = next(iter(forked([0], batch_size=None, collate_fn=lambda _: (x, x, x[:50_000]))))
    assert first is second
    first.fill_(1)
    assert part.shape == (50_000,)


def test_batches_may_be_written_to_and_kept() -> None:
    loader = forked(Mapped(80, lambda index: flambeau.full((20_000,), index, dtype=flambeau.float32)), batch_size=2)
    kept = []
    for batch in loader:
        batch += 1
        kept.append(batch)
    assert [batch[:, 0].tolist() for batch in kept] == [[i + 1, i + 2] for i in range(0, 80, 2)]
    assert all(bool((batch[:, :1] == batch).all()) for batch in kept)


def test_memory_is_used_again_only_when_every_view_is_gone() -> None:
    loader = forked(Mapped(40, lambda index: numpy.full(50_000, index)), num_workers=1)
    views = [batch[0, 10:20] for batch in loader]
    assert lists(views) == [[index] * 10 for index in range(40)]


def test_large_batches_lie_in_shared_memory_that_is_used_again() -> None:
    if not os.path.exists("/proc/self/maps"):
        pytest.skip("asks Linux for the maps of this process")

    def mapped() -> int:
        with open("/proc/self/maps") as maps:
            return sum("flambeau-batch" in line for line in maps)

    before = mapped()
    batches = iter(forked(Mapped(200, lambda index: numpy.full(50_000, index)), num_workers=1))
    seen = set()
    for position, batch in enumerate(batches):
        assert batch[0, 0].item() == position
        seen.add(batch.data_ptr())
        assert 0 < mapped() - before < 12  # prefetched, in use, and on their way back
    assert len(seen) < 12
    assert mapped() - before == 1
    assert batch[0, -1].item() == 199
    del batch
    assert mapped() == before


def test_an_array_that_a_worker_keeps_is_not_written_over() -> None:
    kept: list[flambeau.Tensor] = []

    def collate(batch: list[Any]) -> Any:
        batch = flambeau.utils.data.default_collate(batch)
        kept.append(batch)
        assert all(int(old[0, 0]) == position for position, old in enumerate(kept))
        return batch

    loader = forked(Mapped(40, lambda index: numpy.full(50_000, index)), collate_fn=collate, num_workers=1)
    assert [int(batch[0, -1]) for batch in loader] == list(range(40))


def test_a_tensor_with_a_history_is_refused() -> None:
    weight = flambeau.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="cannot send a tensor that has a history.*call detach"):
        next(iter(forked(Mapped(2, lambda index: weight * index))))


# -- iterable datasets -------------------------------------------------------------------------------------------


def test_each_worker_iterates_over_its_own_copy() -> None:
    assert lists(forked(Streamed(lambda: range(3)), batch_size=2)) == [[0, 1], [0, 1], [2], [2]]


def test_workers_share_a_dataset_out_by_their_number() -> None:
    def share() -> Any:
        info = get_worker_info()
        assert info is not None
        return range(info.id, 11, info.num_workers)

    loader = forked(Streamed(share), batch_size=2)
    assert lists(loader) == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9]]
    assert lists(forked(Streamed(share), batch_size=2, drop_last=True)) == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10]]
    assert list(forked(Streamed(share), batch_size=None, num_workers=3)) == list(range(11))


def test_workers_of_unequal_length_take_turns_the_same_way_every_time() -> None:
    def share() -> Any:
        info = get_worker_info()
        assert info is not None
        # The first worker ends at once; the last is slow.
        for index in range(info.id * 3):
            time.sleep(0.005 * info.id)
            yield 10 * info.id + index

    loader = forked(Streamed(share), batch_size=None, num_workers=3)
    expected = [10, 20, 11, 21, 12, 22, 23, 24, 25]
    for _ in range(3):
        assert list(loader) == expected


def test_out_of_order_iterable_loses_nothing() -> None:
    def share() -> Any:
        info = get_worker_info()
        assert info is not None
        return range(info.id, 50, info.num_workers)

    assert sorted(forked(Streamed(share), batch_size=None, num_workers=3, in_order=False)) == list(range(50))


# -- the worker's surroundings -----------------------------------------------------------------------------------


def test_worker_info() -> None:
    def look(index: int) -> Any:
        info = get_worker_info()
        assert info is not None
        return info.id, info.num_workers, info.seed, flambeau.initial_seed(), info.dataset is dataset_in_worker()

    def dataset_in_worker() -> Any:
        return dataset

    dataset = Mapped(4, look)
    seen = list(forked(dataset, batch_size=None, collate_fn=lambda sample: sample))
    assert [(sample[0], sample[1]) for sample in seen] == [(0, 2), (1, 2), (0, 2), (1, 2)]
    assert seen[1][2] == seen[0][2] + 1  # base seed + number
    assert all(sample[2] == sample[3] for sample in seen)
    assert all(sample[4] for sample in seen)


def draws(index: int) -> tuple[float, float, float]:
    return random.random(), float(numpy.random.rand()), flambeau.rand(()).item()


def test_generators_of_workers_differ_and_are_reproducible() -> None:
    def run(seed: int) -> list[Any]:
        generator = flambeau.Generator().manual_seed(seed)
        return list(forked(Mapped(6, draws), batch_size=None, collate_fn=tuple, generator=generator))

    first = run(1)
    assert len(set(itertools.chain(*first))) == 18
    assert run(1) == first
    assert run(2) != first


def test_default_generator_seeds_the_workers_where_no_other_is_given() -> None:
    def run() -> list[Any]:
        return list(forked(Mapped(4, draws), batch_size=None, collate_fn=tuple))

    flambeau.manual_seed(3)
    first, second = run(), run()
    assert first != second
    flambeau.manual_seed(3)
    assert [run(), run()] == [first, second]


def test_order_does_not_depend_on_the_number_of_workers() -> None:
    def order(num_workers: int) -> list[Any]:
        generator = flambeau.Generator().manual_seed(7)
        loader = DataLoader(range(12), batch_size=5, shuffle=True, num_workers=num_workers, generator=generator)  # type: ignore[arg-type]
        return lists(loader) + lists(loader)

    assert order(0) == order(1) == order(2)


def test_worker_init_fn_runs_after_seeding_with_the_worker_s_number() -> None:
    state: list[Any] = []

    def init(worker_id: int) -> None:
        info = get_worker_info()
        assert info is not None
        assert info.id == worker_id
        state.append((worker_id, info.seed == flambeau.initial_seed()))

    loader = forked(Mapped(4, lambda index: tuple(state)), batch_size=None, worker_init_fn=init)
    assert [sample[0] for sample in loader] == [[0, True], [1, True], [0, True], [1, True]]
    assert state == []


def test_a_dataset_may_start_programs_that_heed_interrupts() -> None:
    def inherited(index: int) -> bool:
        import subprocess
        import sys

        program = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
        return subprocess.run([sys.executable, "-c", program], capture_output=True).stdout == b"True\n"

    assert list(forked(Mapped(1, inherited), batch_size=None)) == [True]


def test_signal_handlers_of_the_program_do_not_run_in_workers() -> None:
    previous = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        handlers = list(
            forked(Mapped(1, lambda index: signal.getsignal(signal.SIGTERM) is signal.SIG_DFL), batch_size=None)
        )
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert handlers == [True]


# -- errors ------------------------------------------------------------------------------------------------------


class OddError(Exception):
    """Made from two arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one, two)


def failing(error: Callable[[], Exception], at: int = 2) -> Mapped:
    def function(index: int) -> int:
        if index == at:
            raise error()
        return index

    return Mapped(6, function)


@pytest.mark.parametrize("kind", [ValueError, ZeroDivisionError, ConnectionError, BrokenPipeError, EOFError, OSError])
def test_an_exception_keeps_its_type_and_traceback(kind: type[Exception]) -> None:
    batches = iter(forked(failing(lambda: kind("bad sample"))))
    assert [next(batches).item(), next(batches).item()] == [0, 1]
    with pytest.raises(kind) as caught:
        next(batches)
    text = str(caught.value)
    assert text.startswith(f"Caught {kind.__name__} in DataLoader worker process 0.\nOriginal Traceback")
    assert "in function\n    raise error()" in text
    assert text.rstrip().endswith(f"{kind.__name__}: bad sample")
    # The pass goes on behind the broken batch.
    assert [batch.item() for batch in batches] == [3, 4, 5]


def test_a_key_error_is_readable() -> None:
    with pytest.raises(KeyError) as caught:
        list(forked(failing(lambda: KeyError("missing"))))
    assert "\nOriginal Traceback (most recent call last):\n" in str(caught.value)


def test_exceptions_that_cannot_be_made_anew_come_as_runtime_errors() -> None:
    class Local(Exception):
        pass

    for error, name in ((lambda: OddError(1, 2), "OddError"), (lambda: Local("here"), "Local")):
        with pytest.raises(RuntimeError, match=f"Caught {name} in DataLoader worker process 0"):
            list(forked(failing(error)))


def test_stop_iteration_in_a_sample_does_not_end_the_loop_in_silence() -> None:
    with pytest.raises(RuntimeError, match="Caught StopIteration in DataLoader worker process"):
        list(forked(failing(lambda: StopIteration("oops"))))


def test_what_cannot_be_pickled_is_an_error_of_its_batch() -> None:
    batches = iter(forked(Mapped(3, lambda index: (lambda: 1) if index == 1 else index), batch_size=None))
    assert next(batches) == 0
    with pytest.raises(Exception, match="in DataLoader worker process 1(?s:.*)[Pp]ickle") as caught:
        next(batches)
    assert "Original Traceback" in str(caught.value)
    assert next(batches) == 2


def test_exceptions_of_worker_init_fn_collate_fn_and_iter() -> None:
    def fail(*_: Any) -> Any:
        raise LookupError("not today")

    for loader in (
        forked(range(4), worker_init_fn=fail),
        forked(range(4), collate_fn=fail),
        forked(Streamed(fail)),
    ):
        with pytest.raises(LookupError, match=r"in DataLoader worker process 0(?s:.*)LookupError: not today"):
            list(loader)


def test_an_exception_of_the_sampler_comes_as_it_is() -> None:
    def sampler() -> Iterator[int]:
        yield from range(6)
        raise LookupError("no more")

    batches = iter(forked(range(10), sampler=sampler()))
    with pytest.raises(LookupError, match=r"^no more$"):
        list(batches)
    with pytest.raises(RuntimeError, match="the workers have ended after an error"):
        next(batches)


@pytest.mark.parametrize("end", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(3)])
def test_a_worker_that_dies_is_noticed(end: Callable[[], None]) -> None:
    def function(index: int) -> int:
        if index == 3:
            end()
        return os.getpid()

    batches = iter(forked(Mapped(100, function)))
    next(batches)
    pid = next(batches).item()
    with pytest.raises(RuntimeError) as caught:
        list(batches)
    text = str(caught.value)
    assert text.startswith(f"DataLoader worker (pid(s) {pid}) exited unexpectedly with exit code ")
    assert "exit code -9 (killed by SIGKILL; out of memory?)" in text or "exit code 3" in text
    with pytest.raises(RuntimeError, match="the workers have ended after an error"):
        next(batches)


def test_an_idle_worker_that_dies_is_noticed() -> None:
    batches = iter(forked(Mapped(100, lambda index: os.getpid()), prefetch_factor=1))
    pid = next(batches).item()
    multiprocessing.active_children()
    next(batches)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=f"pid\\(s\\) {pid}\\) exited unexpectedly with exit code -9"):
        list(batches)


def test_timeout() -> None:
    loader = forked(Mapped(2, lambda index: time.sleep(600)), timeout=0.2)
    with pytest.raises(RuntimeError, match="DataLoader timed out after 0.2 seconds"):
        next(iter(loader))


# -- ends --------------------------------------------------------------------------------------------------------


def test_workers_end_with_the_pass() -> None:
    batches = iter(forked(range(4)))
    assert len(multiprocessing.active_children()) == 2
    assert len(list(batches)) == 4
    assert multiprocessing.active_children() == []
    assert list(batches) == []


def test_workers_end_after_a_break() -> None:
    for batch in forked(Mapped(1000, lambda index: numpy.zeros(50_000))):
        kept = batch
        break
    assert multiprocessing.active_children() == []
    assert kept.sum().item() == 0


def test_a_worker_busy_for_long_is_ended_after_a_break(monkeypatch: pytest.MonkeyPatch) -> None:
    from flambeau.utils.data import worker

    monkeypatch.setattr(worker, "GRACE", 0.1)
    batches = iter(forked(Mapped(8, lambda index: time.sleep(600) if index > 1 else index), batch_size=None))
    assert next(batches) == 0
    children = multiprocessing.active_children()
    assert len(children) == 2
    del batches
    assert [child.is_alive() for child in children] == [False, False]


def test_a_loader_that_dies_takes_persistent_workers_along() -> None:
    loader = forked(range(4), persistent_workers=True)
    list(loader)
    assert len(multiprocessing.active_children()) == 2
    gc.disable()  # no cycle holds the iterator
    try:
        del loader
        assert multiprocessing.active_children() == []
    finally:
        gc.enable()


def test_two_loaders_at_once() -> None:
    train = forked(range(6), batch_size=2, persistent_workers=True)
    seen = [(batch.tolist(), lists(forked(range(3), batch_size=3))) for batch in train]
    assert seen == [([i, i + 1], [[0, 1, 2]]) for i in (0, 2, 4)]
    assert lists(train) == [[0, 1], [2, 3], [4, 5]]


def test_zip_of_two_passes_over_one_loader() -> None:
    loader = forked(range(4))
    assert [(one.item(), other.item()) for one, other in zip(loader, loader)] == [(i, i) for i in range(4)]


# -- persistent workers ------------------------------------------------------------------------------------------


def test_persistent_workers_keep_their_processes_and_their_dataset() -> None:
    seen: list[int] = []

    def function(index: int) -> Any:
        seen.append(index)
        return os.getpid(), len(seen)

    loader = forked(Mapped(4, function), batch_size=None, persistent_workers=True)
    first, second = list(loader), list(loader)
    assert [pid for pid, _ in first] == [pid for pid, _ in second]
    assert [count for _, count in first + second] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_persistent_workers_begin_anew_after_a_break() -> None:
    loader = forked(Mapped(30, lambda index: numpy.full(20_000, index)), persistent_workers=True, prefetch_factor=4)
    for _ in range(3):
        for batch in loader:
            assert batch[0, 0].item() == 0
            break
    assert [batch[0, 0].item() for batch in loader] == list(range(30))


def test_persistent_workers_with_an_iterable_dataset() -> None:
    loader = forked(Streamed(lambda: range(3)), batch_size=2, persistent_workers=True)
    for _ in range(3):
        assert lists(loader) == [[0, 1], [0, 1], [2], [2]]


def test_persistent_workers_go_on_after_an_exception_and_are_replaced_after_a_death() -> None:
    def function(index: int) -> int:
        if index == 2:
            raise ValueError("bad sample")
        if index == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    order = [0, 2]
    loader = forked(Mapped(6, function), persistent_workers=True, sampler=order, num_workers=1)
    with pytest.raises(ValueError, match="bad sample"):
        list(loader)
    order[:] = [0, 1]
    (first, _) = (batch.item() for batch in loader)
    order[:] = [5]
    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        list(loader)
    order[:] = [0]
    (replaced,) = (batch.item() for batch in loader)
    assert replaced != first


def test_shuffling_with_persistent_workers() -> None:
    def orders(**options: Any) -> list[Any]:
        generator = flambeau.Generator().manual_seed(4)
        loader = forked(range(10), shuffle=True, generator=generator, **options)
        return [list(itertools.chain(*lists(loader))) for _ in range(3)]

    first, second, third = orders(persistent_workers=True)
    assert sorted(first) == sorted(second) == sorted(third) == list(range(10))
    assert len({tuple(first), tuple(second), tuple(third)}) == 3
    assert orders(persistent_workers=True) == [first, second, third]
