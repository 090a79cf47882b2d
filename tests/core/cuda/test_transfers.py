"""Copies between host and devices: pinned memory, copies that nobody waits for, memory of other libraries."""

from __future__ import annotations

import collections
from typing import Any

import numpy
import pytest

import flambeau
from flambeau import cuda
from flambeau.utils.data import DataLoader


def test_pinned_memory(toy: Any) -> None:
    x = flambeau.arange(6).reshape(2, 3)
    pinned = x.pin_memory()
    assert pinned.is_pinned() and not x.is_pinned() and pinned.tolist() == x.tolist()
    assert pinned.pin_memory() is pinned and pinned[0].is_pinned() and pinned.is_pinned("cuda")
    x[0, 0] = 9
    assert pinned[0, 0] == 0
    for made in (flambeau.zeros(2, pin_memory=True), flambeau.empty(2, pin_memory=True),
                 flambeau.ones(2, pin_memory=True), flambeau.full((2,), 1.0, pin_memory=True),
                 flambeau.tensor([1, 2], pin_memory=True)):  # fmt: skip
        assert made.is_pinned()
    with pytest.raises(RuntimeError, match="only tensors on the CPU can be pinned, and this one is on cuda:0"):
        x.cuda().pin_memory()


def test_copies_that_nobody_waits_for(toy: Any) -> None:
    x = flambeau.ones(3)
    pinned = x.pin_memory()
    there = flambeau.zeros(3, device="cuda")
    calls = [
        (lambda: pinned.to("cuda", non_blocking=True), ("to_device", True)),
        (lambda: pinned.to("cuda", flambeau.float32, True), ("to_device", True)),
        (lambda: pinned.cuda(non_blocking=True), ("to_device", True)),
        (lambda: pinned.cuda(), ("to_device", False)),
        (lambda: x.to("cuda", non_blocking=True), ("to_device", False)),
        (lambda: there.copy_(pinned, non_blocking=True), ("to_device", True)),
        (lambda: there.copy_(pinned), ("to_device", False)),
        (lambda: there.to("cpu", non_blocking=True), ("to_host", True)),
        (lambda: there.cpu(), ("to_host", False)),
        (lambda: there.to("cuda:1"), ("between", True)),
    ]
    for call, expected in calls:
        toy.copies.clear()
        call()
        assert toy.copies == [expected]
    assert there.to("cpu", non_blocking=True).is_pinned()
    assert there.to("cuda", flambeau.float32, False, True) is not there
    assert there.to("cuda", flambeau.float32, True) is there


def test_a_copy_to_the_host_has_memory_of_its_own(toy: Any) -> None:
    there = flambeau.ones(3, device="cuda")
    for non_blocking in (False, True):
        here = there.to("cpu", non_blocking=non_blocking)
        here[0] = 5
        assert there.tolist() == [1, 1, 1]


def test_streams_that_use_a_tensor(toy: Any) -> None:
    x = flambeau.ones(3, device="cuda")
    side = cuda.Stream()
    x.record_stream(side)
    assert toy.kept == [(x._array, side._raw)]


# -- batches ---------------------------------------------------------------------------------------------------------

Pair = collections.namedtuple("Pair", "left right")


class Own:
    def __init__(self, x: flambeau.Tensor) -> None:
        self.x = x

    def pin_memory(self) -> Own:
        return Own(self.x.pin_memory())


@pytest.mark.parametrize("workers", [{}, {"num_workers": 1}, {"num_workers": 1, "multiprocessing_context": "thread"}])
def test_batches_are_pinned(toy: Any, workers: dict[str, Any]) -> None:
    samples = [{"x": numpy.full(3, i, numpy.float32), "pair": Pair(i, "word"), "n": (i, i)} for i in range(7)]
    seen = []
    for batch in DataLoader(samples, batch_size=2, pin_memory=True, **workers):  # type: ignore[arg-type]
        assert batch["x"].is_pinned() and batch["pair"].left.is_pinned() and batch["n"][1].is_pinned()
        assert type(batch["pair"]) is Pair and batch["pair"].right[0] == "word"
        seen += batch["x"].cuda(non_blocking=True)[:, 0].tolist()
    assert seen == list(range(7)) and ("to_device", True) in toy.copies


def test_other_containers() -> None:
    from flambeau.utils.data.pinning import pin_memory

    class Refuses(list):  # type: ignore[type-arg]
        def __init__(self) -> None:
            pass

    refuses = Refuses()
    refuses.append("a")
    assert pin_memory(refuses) == ["a"] and pin_memory((1, "a", b"b", None)) == [1, "a", b"b", None]
    assert pin_memory(collections.OrderedDict(a=1)) == {"a": 1}


def test_own_types_pin_themselves(toy: Any) -> None:
    loader = DataLoader([flambeau.ones(2)], batch_size=None, collate_fn=Own, pin_memory=True)  # type: ignore[arg-type]
    (batch,) = loader
    assert batch.x.is_pinned()


class Failing:
    """A dataset whose fourth sample is an error."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> Any:
        if i == 3:
            raise ValueError("sample 3 is broken")
        return numpy.float32(i)


@pytest.mark.parametrize("context", [None, "thread"])
def test_an_error_comes_in_its_turn(toy: Any, context: Any) -> None:
    loader = DataLoader(Failing(), num_workers=1, prefetch_factor=8, pin_memory=True, multiprocessing_context=context)  # type: ignore[arg-type, var-annotated]
    seen = []
    with pytest.raises(ValueError, match="sample 3 is broken"):
        seen.extend(batch.item() for batch in loader)
    assert seen == [0, 1, 2]


def test_workers_that_stay(toy: Any) -> None:
    options: dict[str, Any] = {"num_workers": 1, "persistent_workers": True, "multiprocessing_context": "thread"}
    loader = DataLoader(range(6), pin_memory=True, **options)  # type: ignore[arg-type, var-annotated]
    next(iter(loader))
    for _ in range(2):
        assert [batch.item() for batch in loader] == list(range(6))


# -- the memory of other libraries -----------------------------------------------------------------------------------


def test_the_array_interface_of_a_tensor(toy: Any) -> None:
    x = flambeau.arange(6, dtype=flambeau.float32, device="cuda").reshape(2, 3)
    found = x.__cuda_array_interface__
    assert found == {
        "typestr": "<f4", "shape": (2, 3), "strides": None, "version": 3, "data": (x.data_ptr(), False),
        "stream": cuda.current_stream().cuda_stream,
    }  # fmt: skip
    assert x.t().__cuda_array_interface__["strides"] == (4, 12)
    assert x[:0].__cuda_array_interface__["data"] == (0, False)
    assert x[1].__cuda_array_interface__["data"][0] == x.data_ptr() + 12
    assert not hasattr(x.cpu(), "__cuda_array_interface__")
    with pytest.raises(RuntimeError, match="that requires grad"):
        x.requires_grad_().__cuda_array_interface__  # noqa: B018
    pytest.importorskip("ml_dtypes")
    with pytest.raises(TypeError, match="the protocol has no name for bfloat16"):
        x.detach().bfloat16().__cuda_array_interface__  # noqa: B018


class Foreign:
    """Another library's array."""

    def __init__(self) -> None:
        self.owner = numpy.arange(4.0)
        self.__cuda_array_interface__ = {
            "typestr": "<f8", "shape": (4,), "version": 3, "data": (self.owner.ctypes.data, False), "stream": 1,
        }  # fmt: skip


def test_arrays_of_other_libraries_are_shared(toy: Any) -> None:
    foreign = Foreign()
    x = flambeau.as_tensor(foreign)
    assert x.device is flambeau.device("cuda:0") and x.tolist() == [0, 1, 2, 3]
    x[0] = 7
    assert foreign.owner[0] == 7
    assert flambeau.as_tensor(foreign, device="cpu").device.type == "cpu"
    assert flambeau.as_tensor(foreign, dtype=flambeau.float32).is_cuda
    copied = flambeau.tensor(foreign, device="cuda")
    copied[1] = 8
    assert foreign.owner[1] == 1


def test_they_need_a_backend_that_takes_them(toy: Any) -> None:
    cuda.init()
    toy.backend.runtime = None
    with pytest.raises(NotImplementedError, match="the backend for 'cuda' does not take the memory of other libraries"):
        flambeau.as_tensor(Foreign())


@pytest.mark.usefixtures("nothing")
def test_without_a_device_they_say_so() -> None:
    with pytest.raises(RuntimeError, match="no plugin provides the device type 'cuda'"):
        flambeau.as_tensor(Foreign())
