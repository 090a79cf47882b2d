"""The profiler: what it records, sums and writes, and that nothing is left of it afterwards."""

from __future__ import annotations

import gzip
import json
import threading
from pathlib import Path

import pytest

import flambeau
from flambeau import nn
from flambeau.autograd.engine import _Pass
from flambeau.profiler import ProfilerAction, ProfilerActivity, profile, record_function, schedule
from flambeau.profiler.events import Event, EventList


def names(recorded: EventList) -> list[str]:
    return [event.name for event in recorded]


def test_ops_nodes_and_ranges_by_name() -> None:
    x = flambeau.ones(2, 3, requires_grad=True)
    with profile() as profiler, record_function("step"):
        x.exp().sum().backward()
    by_name = {event.name: event for event in profiler.events()}
    assert {"exp", "sum", "ExpBackward0", "SumBackward0", "step"} <= set(by_name)
    assert by_name["exp"].parent is by_name["step"] and by_name["exp"].kind == "op"
    assert by_name["mul"].parent is by_name["ExpBackward0"] and by_name["ExpBackward0"].kind == "backward"


def test_self_time_is_what_is_left_of_the_total() -> None:
    with profile() as profiler, record_function("outer"), record_function("inner"):
        flambeau.logsumexp(flambeau.randn(50, 50), 1)
    events = profiler.events()
    for event in events:
        inside = sum(other.duration for other in events if other.parent is event)
        assert event.self_time == event.duration - inside >= 0
    assert sum(event.self_time for event in events) == by_name(events, "outer").duration
    assert events.self_cpu_time_total == pytest.approx(by_name(events, "outer").cpu_time_total)


def by_name(events: EventList, name: str) -> Event:
    (found,) = [event for event in events if event.name == name]
    return found


def test_averages() -> None:
    x, y = flambeau.ones(2, 3), flambeau.ones(4)
    with profile(record_shapes=True) as profiler:
        for _ in range(3):
            x + x
        y + y
    total = by_name(profiler.key_averages(), "add")
    single = [event.duration for event in profiler.events()]
    assert total.count == 4 and total.duration == sum(single)
    assert total.cpu_time == pytest.approx(sum(single) / 4000)
    shapes = {str(event.input_shapes): event.count for event in profiler.key_averages(group_by_input_shape=True)}
    assert shapes == {"[[2, 3], [2, 3]]": 3, "[[4], [4]]": 1}


def test_memory_counts_new_arrays_once() -> None:
    x = flambeau.ones(100, 10)
    with profile(profile_memory=True) as profiler, record_function("step"):
        y = x + 1  # 4000 bytes
        y.t()  # a view
        y.mul_(2)  # in place
        flambeau.logsumexp(x, 1)
    first = profiler.events()[0]
    assert (first.name, first.self_memory, first.memory) == ("add", 4000, 4000)
    total = profiler.key_averages()
    assert by_name(total, "mul_").self_memory == 0
    outer = by_name(total, "logsumexp")
    inner = sum(e.self_memory for e in profiler.events() if e.parent is not None and e.parent.name == "logsumexp")
    assert outer.self_memory == 0 and outer.memory == inner > 4000
    assert by_name(total, "step").memory == sum(event.self_memory for event in profiler.events())


def test_memory_of_a_linear_layer() -> None:
    layer, x = nn.Linear(10, 20), flambeau.ones(5, 10)
    with profile(profile_memory=True) as profiler:
        layer(x)
    assert by_name(profiler.key_averages(), "linear").memory >= 5 * 20 * 4


def test_flops() -> None:
    with profile(with_flops=True) as profiler:
        flambeau.ones(3, 4) @ flambeau.ones(4, 5)
    assert by_name(profiler.key_averages(), "matmul").flops == 2 * 3 * 4 * 5


def test_stacks(tmp_path: Path) -> None:
    with profile(with_stack=True) as profiler:
        flambeau.ones(2)
    assert profiler.events()[0].stack[0].startswith(__file__)
    profiler.export_stacks(tmp_path / "stacks.txt")
    assert all(line.rpartition(" ")[2].isdigit() for line in (tmp_path / "stacks.txt").read_text().splitlines())
    with profile() as profiler:
        flambeau.ones(2)
    with pytest.raises(ValueError, match="with_stack=True"):
        profiler.export_stacks(tmp_path / "none.txt")


def test_nothing_is_left_behind() -> None:
    device = flambeau.ones(1).device
    before = dict(vars(device.xp)), list(device.table), _Pass._run_node
    with profile():
        assert list(device.table) != before[1] and _Pass._run_node is not before[2]
    assert (dict(vars(device.xp)), list(device.table), _Pass._run_node) == before
    with pytest.raises(ZeroDivisionError), profile():
        1 / 0  # noqa: B018
    assert (dict(vars(device.xp)), list(device.table), _Pass._run_node) == before


def test_results_do_not_change() -> None:
    model, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), flambeau.randn(6, 4)
    plain = model(x)
    plain.sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    with profile(record_shapes=True, profile_memory=True, with_stack=True, with_flops=True):
        seen = model(x)
        seen.sum().backward()
    assert seen.equal(plain)
    assert all(p.grad.equal(g) for p, g in zip(model.parameters(), expected, strict=True))


def test_one_profile_at_a_time() -> None:
    with profile(), pytest.raises(RuntimeError, match="a profile is active already"):
        profile().start()
    with profile() as profiler:
        flambeau.ones(2)
    assert names(profiler.events()) == ["full"]


def test_threads_keep_their_own_nesting() -> None:
    def work(name: str) -> None:
        with record_function(name):
            barrier.wait()
            flambeau.ones(2).exp()
            barrier.wait()

    barrier = threading.Barrier(2)
    with profile() as profiler:
        threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    parents = sorted(event.parent.name for event in profiler.events() if event.name == "exp" and event.parent)
    assert parents == ["a", "b"]
    assert len({event.thread for event in profiler.events()}) == 2


def test_record_function_decorates_and_is_nothing_outside() -> None:
    @record_function("twice")
    def twice(x: flambeau.Tensor) -> flambeau.Tensor:
        return x * 2

    assert twice(flambeau.ones(1)).item() == 2
    with profile() as profiler:
        twice(flambeau.ones(1))
    assert by_name(profiler.events(), "mul").parent.name == "twice"  # type: ignore[union-attr]


def test_table_is_sorted_and_cut() -> None:
    events = EventList()
    for i, name in enumerate(("short", "long", "middle")):
        event = Event(name, "op", "cpu", 0)
        event.duration = event.self_time = (1000, 3_000_000, 2000)[i]
        events.append(event)
    lines = events.table(sort_by="cpu_time_total", row_limit=2).splitlines()
    assert lines[1].split("  ")[0] == "Name"
    assert lines[3].split() == ["long", "99.90%", "3.000ms", "3.000ms", "3.000ms", "1"]
    assert lines[4].split()[0] == "middle"
    assert lines[-1] == "Self CPU time total: 3.003ms"
    assert len(lines) == 7
    with pytest.raises(AttributeError):
        events.table(sort_by="nothing")


def test_chrome_trace(tmp_path: Path) -> None:
    with profile(record_shapes=True) as profiler, record_function("step"):
        flambeau.ones(2, 3).exp()
    for path in (tmp_path / "trace.json", tmp_path / "trace.json.gz"):
        profiler.export_chrome_trace(path)
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        events = {event["name"]: event for event in json.loads(content)["traceEvents"]}
        inner, outer = events["exp"], events["step"]
        assert inner["args"]["Input Dims"] == [[2, 3]] and inner["ph"] == "X" and inner["cat"] == "cpu_op"
        assert outer["ts"] <= inner["ts"] and inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]
        assert outer["cat"] == "user_annotation"


def test_schedule() -> None:
    action = schedule(wait=1, warmup=1, active=2, repeat=2, skip_first=1)
    none, warm, record, save = ProfilerAction
    circle = [none, warm, record, save]
    assert [action(step) for step in range(11)] == [none, *circle, *circle, none, none]
    with pytest.raises(ValueError, match="active of 1 or more"):
        schedule(wait=1, warmup=1, active=0)


def test_schedule_hands_over_each_circle(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    handler = flambeau.profiler.tensorboard_trace_handler(tmp_path, worker_name="me")

    def ready(profiler: profile) -> None:
        seen.append([name for name in names(profiler.events()) if name.startswith("ProfilerStep")])
        handler(profiler)

    with profile(
        activities=[ProfilerActivity.CPU], schedule=schedule(wait=1, warmup=1, active=2), on_trace_ready=ready
    ) as profiler:
        for _ in range(8):
            flambeau.ones(2).exp()
            profiler.step()
    assert seen == [["ProfilerStep#2", "ProfilerStep#3"], ["ProfilerStep#6", "ProfilerStep#7"]]
    assert len(list(tmp_path.glob("me.*.pt.trace.json"))) == 2


def test_first_name_of_the_profiler() -> None:
    with flambeau.autograd.profiler.profile(record_shapes=True) as profiler:
        flambeau.ones(2).exp()
    assert "exp" in profiler.table() and profiler.self_cpu_time_total > 0
    assert profiler.total_average().count == len(profiler.function_events)
    with flambeau.autograd.profiler.profile(enabled=False) as profiler:
        flambeau.ones(2).exp()
    assert profiler.function_events == []


def test_other_devices_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    if "opencl" not in flambeau.dispatch.available():
        pytest.skip("no OpenCL device")
    x = flambeau.ones(3, device="opencl")
    waited: list[object] = []
    monkeypatch.setattr(x.device.backend, "synchronize", waited.append)
    with profile(profile_memory=True) as profiler:
        x.exp()
    event = by_name(profiler.events(), "exp")
    assert waited == [x.device]
    assert event.device_type == "opencl" and event.cuda_time_total == event.cpu_time_total > 0
    assert event.self_memory == event.device_memory_usage == 12 and event.cpu_memory_usage == 0
