"""Programs that use workers: spawned ones, interrupted ones, and ones that end in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

HANG = 120
pytestmark = pytest.mark.usefixtures("no_leftovers")

METHODS = ["spawn"] if sys.platform == "win32" else ["fork", "spawn", "forkserver"]

PROGRAM = """
import json, os, sys, time
import numpy, flambeau
from flambeau.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, get_worker_info

class Images(Dataset):
    def __len__(self):
        return 1000
    def __getitem__(self, index):
        return numpy.full((3, 100, 100), index, numpy.float32), index, os.getpid()

class Shard(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        return iter(range(info.id, 7, info.num_workers))

class Slow(Images):
    def __getitem__(self, index):
        if index > 3:
            time.sleep(600)
        return super().__getitem__(index)

def pids(loader):
    return [batch[2][0].item() for _, batch in zip(range(2), loader)]

def tell(**found):
    print(json.dumps(found) + "\\n", end="", flush=True)  # in one write: Ctrl-C may come between two
"""


@pytest.mark.parametrize("method", METHODS)
def test_every_start_method_loads_the_same(run_program: Callable[[str], str], method: str) -> None:
    out = run_program(
        PROGRAM
        + f"""
if __name__ == "__main__":
    options = dict(num_workers=2, multiprocessing_context={method!r})
    batches = [(x.shape, x[:, 0, 0, 0].tolist(), i.tolist()) for x, i, _ in
               DataLoader(Subset(Images(), range(5)), batch_size=2, **options)]
    x = flambeau.arange(24).reshape(8, 3)
    rows = [batch.tolist() for batch, in DataLoader(TensorDataset(x), batch_size=4, **options)]
    shards = [batch.tolist() for batch in DataLoader(Shard(), batch_size=2, **options)]
    generator = flambeau.Generator().manual_seed(1)
    loader = DataLoader(range(6), shuffle=True, generator=generator, persistent_workers=True, **options)
    orders = [[batch.item() for batch in loader] for _ in range(2)]
    tell(batches=batches, rows=rows, shards=shards, orders=orders)
"""
    )
    found = json.loads(out)
    assert found["batches"] == [
        [[2, 3, 100, 100], [0, 1], [0, 1]],
        [[2, 3, 100, 100], [2, 3], [2, 3]],
        [[1, 3, 100, 100], [4], [4]],
    ]
    assert found["rows"] == [[[3 * i, 3 * i + 1, 3 * i + 2] for i in rows] for rows in (range(4), range(4, 8))]
    assert found["shards"] == [[0, 2], [1, 3], [4, 6], [5]]
    assert [sorted(order) for order in found["orders"]] == [list(range(6))] * 2
    assert found["orders"][0] != found["orders"][1]


@pytest.mark.parametrize("method", METHODS)
def test_exceptions_and_deaths_under_every_start_method(run_program: Callable[[str], str], method: str) -> None:
    out = run_program(
        PROGRAM
        + f"""
class Broken(Images):
    def __getitem__(self, index):
        if index == 1:
            raise KeyError("no such sample")
        if index == 2:
            os._exit(7)
        return index

if __name__ == "__main__":
    options = dict(num_workers=1, multiprocessing_context={method!r})
    for sampler in ([0, 1], [0, 2]):
        try:
            list(DataLoader(Broken(), sampler=sampler, **options))
        except (KeyError, RuntimeError) as error:
            tell(kind=type(error).__name__, text=str(error))
"""
    )
    first, second = map(json.loads, out.splitlines())
    assert first["kind"] == "KeyError"
    assert "in DataLoader worker process 0.\nOriginal Traceback" in first["text"]
    assert second["kind"] == "RuntimeError"
    assert "exited unexpectedly with exit code 7" in second["text"]


Start = Callable[[str], subprocess.Popen[str]]
Gone = Callable[[list[int]], list[int]]


def told(program: subprocess.Popen[str]) -> Any:
    assert program.stdout is not None
    line = program.stdout.readline()
    assert line, program.communicate()[1]
    return json.loads(line)


posix = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

WAITING = """
if __name__ == "__main__":
    loader = DataLoader({dataset}(), num_workers=2, multiprocessing_context={method!r}, persistent_workers={persistent})
    iterator = iter(loader)
    first, second = next(iterator), next(iterator)
    tell(workers=[first[2].item(), second[2].item()])
    {then}
"""
LOOP = "for batch in iterator: time.sleep(0.01)"
SLEEP = "time.sleep(600)"


@posix
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dataset", "then"), [("Slow", LOOP), ("Images", LOOP), ("Images", SLEEP)])
def test_ctrl_c_leaves_nothing(start_program: Start, until_gone: Gone, method: str, dataset: str, then: str) -> None:
    program = start_program(PROGRAM + WAITING.format(method=method, dataset=dataset, persistent=False, then=then))
    workers = told(program)["workers"]
    assert len(set(workers)) == 2
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to the parent and to every worker
    out, err = program.communicate(timeout=HANG)
    assert program.returncode in (-signal.SIGINT, 1), err
    assert out == ""
    assert err.count("Traceback") == 1  # the parent's: none from a worker
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert until_gone(workers) == []


@posix
def test_ctrl_c_while_workers_start(start_program: Start, until_gone: Gone) -> None:
    program = start_program(
        PROGRAM
        + """
if __name__ == "__main__":
    try:
        tell(ready=True)
        while True:
            list(DataLoader(range(4), num_workers=2))
    except KeyboardInterrupt:
        import gc, multiprocessing
        gc.collect()
        tell(children=len(multiprocessing.active_children()))
"""
    )
    told(program)
    os.killpg(program.pid, signal.SIGINT)
    out, err = program.communicate(timeout=HANG)
    assert (json.loads(out), err) == ({"children": 0}, "")


@posix
def test_a_loader_can_be_used_again_after_ctrl_c(start_program: Start) -> None:
    program = start_program(
        PROGRAM
        + """
class Paced(Images):
    def __getitem__(self, index):
        time.sleep(0.01)
        return super().__getitem__(index)

if __name__ == "__main__":
    loader = DataLoader(Paced(), num_workers=2, multiprocessing_context="fork", persistent_workers=True)
    for attempt in range(4):
        try:
            for x, index, _ in loader:
                tell(index=index.item())
        except KeyboardInterrupt:
            tell(interrupted=True)
"""
    )
    for _ in range(4):
        assert [told(program)["index"] for _ in range(6)] == list(range(6))
        os.killpg(program.pid, signal.SIGINT)
        while "interrupted" not in told(program):
            pass
    assert program.communicate(timeout=HANG) == ("", "")
    assert program.returncode == 0


@posix
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("end", "dataset", "then"),
    [(signal.SIGKILL, "Slow", LOOP), (signal.SIGKILL, "Images", LOOP), (signal.SIGTERM, "Images", SLEEP)],
)
def test_workers_end_when_the_parent_is_killed(
    start_program: Start, until_gone: Gone, method: str, dataset: str, then: str, end: signal.Signals
) -> None:
    program = start_program(PROGRAM + WAITING.format(method=method, dataset=dataset, persistent=True, then=then))
    workers = told(program)["workers"]
    program.send_signal(end)
    program.communicate(timeout=HANG)
    assert program.returncode == -end
    assert until_gone(workers) == []


@posix
def test_workers_end_though_another_process_keeps_the_pipes_open(start_program: Start, until_gone: Gone) -> None:
    program = start_program(
        PROGRAM
        + """
if __name__ == "__main__":
    loader = DataLoader(Images(), num_workers=2, multiprocessing_context="fork", persistent_workers=True)
    workers = pids(loader)
    other = os.fork()
    if other == 0:
        os.close(1), os.close(2)
        time.sleep(600)
    tell(workers=workers, other=other)
    time.sleep(600)
"""
    )
    found = told(program)
    program.kill()
    program.communicate(timeout=HANG)
    assert until_gone(found["workers"]) == []
    os.kill(found["other"], signal.SIGKILL)


@pytest.mark.parametrize("method", METHODS[:2])
@pytest.mark.parametrize(
    ("then", "persistent"),
    [("pass", False), ("pass", True), ("sys.exit(0)", True), ("iterator = None", False), ("next(iterator)", False)],
)
def test_a_program_may_end_in_the_middle_of_a_pass(
    start_program: Start, until_gone: Gone, method: str, persistent: bool, then: str
) -> None:
    program = start_program(PROGRAM + WAITING.format(method=method, dataset="Images", persistent=persistent, then=then))
    workers = told(program)["workers"]
    assert program.communicate(timeout=HANG) == ("", "")
    assert program.returncode == 0
    assert until_gone(workers) == []


@posix
def test_a_forked_copy_of_the_program_leaves_the_workers_alone(run_program: Callable[[str], str]) -> None:
    out = run_program(
        PROGRAM
        + """
import gc, multiprocessing

def drop_loader():
    global loader
    del loader
    gc.collect()

if __name__ == "__main__":
    loader = DataLoader(Images(), num_workers=2, multiprocessing_context="fork", persistent_workers=True)
    before = pids(loader)
    child = multiprocessing.get_context("fork").Process(target=drop_loader)
    child.start()
    child.join()
    assert child.exitcode == 0
    tell(same=before == pids(loader))
"""
    )
    assert json.loads(out) == {"same": True}
