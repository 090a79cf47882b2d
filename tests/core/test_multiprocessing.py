"""Tensors that processes share, and functions in several processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import flambeau
import flambeau.multiprocessing as mp
from flambeau import nn

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no memory without a name")


def test_sharing() -> None:
    x = flambeau.arange(6.0).reshape(2, 3)
    assert not x.is_shared()
    assert x.share_memory_() is x and x.is_shared() and x[0].is_shared()
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not (x + 1).is_shared()
    model = nn.BatchNorm1d(3).share_memory()
    assert all(tensor.is_shared() for tensor in model.state_dict().values())
    assert flambeau.zeros(0).share_memory_().is_shared()


def test_descriptors_go_with_the_tensors() -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(50):
        flambeau.ones(1000).share_memory_()
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before


def answer(receiver: Any, sender: Any, shared: flambeau.Tensor) -> None:
    """What the other process does: look at what came, send it back, write to what is shared."""
    tensors = receiver.get()
    with flambeau.no_grad():
        shared[1] += 5
    tensors.append(shared[1])
    sender.put(tensors)
    receiver.get()


@pytest.fixture
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a spawned process import this module."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


@pytest.mark.usefixtures("_importable")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_tensors_go_through_queues(method: str) -> None:
    context = mp.get_context(method)
    there, back = context.Queue(), context.Queue()
    shared = flambeau.zeros(3, 2).share_memory_()
    process = context.Process(target=answer, args=(there, back, shared), daemon=True)
    process.start()
    large = flambeau.arange(20000.0).reshape(100, 200)
    sent = [
        large, large.t(), flambeau.tensor(3), nn.Parameter(flambeau.ones(5000)), flambeau.zeros(0, 3),
        flambeau.ones(2, requires_grad=True), flambeau.arange(9000, dtype=flambeau.bfloat16),
        flambeau.ones(2, device="meta"),
    ]  # fmt: skip
    there.put(list(sent))
    *received, row = back.get(timeout=60)
    for one, other in zip(sent, received, strict=True):
        assert type(one) is type(other) and one.dtype is other.dtype and one.requires_grad == other.requires_grad
        assert one.is_meta or one.equal(other)
    assert received[0].is_shared() and not received[2].is_shared()
    assert shared.tolist() == [[0, 0], [5, 5], [0, 0]]
    row += 1  # the memory came back, not a copy
    assert shared[1].tolist() == [6, 6]
    there.put(None)
    process.join(60)
    assert process.exitcode == 0


def test_history_is_refused() -> None:
    from multiprocessing.reduction import ForkingPickler

    with pytest.raises(RuntimeError, match="a tensor that has a history cannot be sent"):
        ForkingPickler.dumps(flambeau.ones(2, requires_grad=True) * 2)


# -- spawn -------------------------------------------------------------------------------------------------------------


def write(number: int, place: flambeau.Tensor) -> None:
    place[number] = number + 1.0


def fail(number: int, how: str) -> None:
    if number == 0:
        time.sleep(300)
    if how == "raise":
        raise ValueError("no good")
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("_importable")
def test_spawn() -> None:
    place = flambeau.zeros(2).share_memory_()
    assert mp.spawn(write, args=(place,), nprocs=2) is None
    assert place.tolist() == [1, 2]
    started = mp.start_processes(write, (place,), nprocs=2, join=False, start_method="fork")
    assert len(started.pids()) == 2
    while not started.join():
        pass
    assert started.join()


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("raise", mp.ProcessRaisedException, "ValueError: no good"),
        ("exit", mp.ProcessExitedException, "process 1 terminated with exit code 3"),
        ("kill", mp.ProcessExitedException, "process 1 terminated with signal SIGKILL"),
    ],
)
def test_failure_is_the_callers_and_ends_the_others(how: str, kind: type[mp.ProcessException], text: str) -> None:
    started = mp.start_processes(fail, (how,), nprocs=2, join=False, start_method="fork")
    with pytest.raises(kind, match=text) as caught:
        while not started.join():
            pass
    assert caught.value.error_index == 1 and caught.value.pid == started.pids()[1]
    assert all(not process.is_alive() for process in started.processes)


def test_strategies() -> None:
    assert mp.get_sharing_strategy() in mp.get_all_sharing_strategies()
    mp.set_sharing_strategy("file_system")
    assert mp.get_sharing_strategy() == "file_system"
    mp.set_sharing_strategy("file_descriptor")
    with pytest.raises(ValueError, match="expected one of"):
        mp.set_sharing_strategy("pigeon")
    assert set(mp.__all__) >= {"Process", "Queue", "Pool", "get_context"} and mp.Queue
