"""The toy passes what the conformance kit asks of a runtime, and the kit finds one that does not keep its word."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau
from flambeau.device_runtime import DeviceRuntime, MemoryCounts
from flambeau.dispatch import load
from flambeau.testing import test_runtime as kit

CHECKS = [name for name in vars(kit) if name.startswith("test_")]


def run(name: str, toy: Any) -> None:
    getattr(kit, name)(toy, load(flambeau.device("cuda")))


@pytest.mark.parametrize("name", CHECKS)
def test_the_kit_passes(toy: Any, name: str) -> None:
    run(name, toy)


#: By check, a method that does not keep its word, and what it does instead.
BROKEN: dict[str, tuple[str, Any]] = {
    "test_work_on_two_streams_is_ordered_by_an_event": ("stream_done", lambda self, stream: False),
    "test_a_stream_is_left_after_an_error": ("current_stream", lambda self, index: self.new_stream(index, 0)),
    "test_events_keep_the_time": ("elapsed", lambda self, start, end: -1.0),
    "test_memory_is_counted": ("memory", lambda self, index: MemoryCounts()),
    "test_copies_from_and_to_pinned_memory": ("is_pinned", lambda self, array: False),
    "test_a_copy_to_the_host_has_memory_of_its_own": ("to_host", lambda self, array, non_blocking: array),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_kit_fails(toy: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    method, wrong = BROKEN[name]
    monkeypatch.setattr(type(toy), method, wrong)
    with pytest.raises(AssertionError):
        run(name, toy)


def test_what_a_runtime_lacks_is_skipped(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(toy), "new_stream", DeviceRuntime.new_stream)
    with pytest.raises(pytest.skip.Exception, match="Stream: the backend for 'cuda' has no streams"):
        run("test_work_on_two_streams_is_ordered_by_an_event", toy)
