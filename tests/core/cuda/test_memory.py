"""Counts of memory, its limit, and what happens when there is no more."""

from __future__ import annotations

import gc
from typing import Any

import pytest

import flambeau
from flambeau import accelerator, cuda
from flambeau.device_runtime import MemoryCounts


def test_what_tensors_hold(toy: Any) -> None:
    assert cuda.memory_allocated() == 0
    x = flambeau.zeros(1000, device="cuda")
    there = flambeau.zeros(10, device="cuda:1")
    assert cuda.memory_allocated() == accelerator.memory_allocated() == 4000
    assert cuda.memory_allocated("cuda:1") == there.nbytes == 40
    y = x + x
    del x, y
    gc.collect()
    assert cuda.memory_allocated() == 0 and cuda.max_memory_allocated() == 8000
    assert accelerator.max_memory_allocated() == 8000
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == 0
    stats = cuda.memory_stats()
    assert stats["allocated_bytes.all.freed"] == 8000 and stats["allocation.all.allocated"] == 2
    assert list(stats) == sorted(stats) and accelerator.memory_stats() == stats
    cuda.reset_accumulated_memory_stats()
    assert cuda.memory_stats_as_nested_dict()["allocated_bytes"]["all"]["freed"] == 0


def test_training_steps_leave_nothing(toy: Any) -> None:
    model = flambeau.nn.Linear(8, 8).cuda()
    optimizer = flambeau.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        model(flambeau.ones(4, 8, device="cuda")).sum().backward()
        optimizer.step()

    step()
    step()
    held = cuda.memory_allocated()
    for _ in range(5):
        step()
    assert cuda.memory_allocated() == held


def test_the_counts_of_a_pool() -> None:
    counts = MemoryCounts()
    counts.reserve(1024)
    counts.allocate(100, 512)
    counts.allocate(300, 512)
    counts.free(100, 512)
    counts.release(1024)
    found = counts.as_dict()
    assert found["requested_bytes"]["all"] == {"current": 300, "peak": 400, "allocated": 400, "freed": 100}
    assert found["allocated_bytes"]["all"] == {"current": 512, "peak": 1024, "allocated": 1024, "freed": 512}
    assert found["reserved_bytes"]["all"] == {"current": 0, "peak": 1024, "allocated": 1024, "freed": 1024}
    assert (found["num_device_alloc"], found["num_device_free"], found["segment"]["all"]["current"]) == (1, 1, 0)


def test_the_limit(toy: Any) -> None:
    free, total = cuda.mem_get_info()
    assert free == total == accelerator.get_memory_info()[1]
    cuda.set_per_process_memory_fraction(0.25)
    assert (cuda.get_per_process_memory_fraction(), cuda.get_per_process_memory_fraction(1)) == (0.25, 1.0)
    kept = flambeau.ones(10, device="cuda")
    with pytest.raises(flambeau.OutOfMemoryError, match=r"cuda:0: out of memory: tried to allocate \d+ bytes"):
        flambeau.zeros(total // 8, device="cuda")
    assert kept.sum().item() == 10 and cuda.memory_stats()["num_ooms"] == 1
    for wrong in (-0.1, 1.5):
        with pytest.raises(ValueError, match=f"expected a fraction between 0 and 1, got {wrong}"):
            cuda.set_per_process_memory_fraction(wrong)
    with pytest.raises(TypeError, match="expected a number, got str"):
        cuda.set_per_process_memory_fraction("half")  # type: ignore[arg-type]


def test_caches_are_given_back(toy: Any) -> None:
    cuda.empty_cache()  # nothing is used yet
    assert toy.counts[0].segment.freed == 0
    flambeau.ones(1, device="cuda")
    cuda.empty_cache()
    accelerator.empty_cache()
    accelerator.empty_host_cache()
    assert toy.counts[0].segment.freed == 2


def test_the_table(toy: Any) -> None:
    kept = flambeau.zeros(300_000, device="cuda")
    table = cuda.memory_summary()
    assert len({len(line) for line in table.splitlines()}) == 1
    assert "| Allocated memory      |   1171 KiB |   1171 KiB |   1171 KiB |        0 B |" in table
    assert "| Allocations           |          1 |" in table and "Allocations" not in cuda.memory_summary(0, True)
    assert kept.nbytes == cuda.memory_allocated()
