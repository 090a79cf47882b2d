"""Settings of the process, and names of types."""

from __future__ import annotations

import warnings

import pytest

import flambeau
from flambeau import settings


def test_number_of_threads_is_really_set() -> None:
    pytest.importorskip("threadpoolctl")
    before = flambeau.get_num_threads()
    try:
        flambeau.set_num_threads(1)
        assert flambeau.get_num_threads() == 1
    finally:
        flambeau.set_num_threads(before)
    with pytest.raises(RuntimeError, match="set_num_threads expects a positive integer, got 0"):
        flambeau.set_num_threads(0)


def test_without_threadpoolctl_the_call_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau.settings._pools", lambda: None)
    monkeypatch.setattr("flambeau.settings._threads", None)
    monkeypatch.setattr("flambeau.settings._team", None)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert flambeau.get_num_threads() == 3
    with pytest.warns(UserWarning, match="keep their threads, for to change these needs the package threadpoolctl"):
        flambeau.set_num_threads(2)
    assert flambeau.get_num_threads() == 2


def test_a_team_that_is_lent_says_how_many_threads_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_threads", None)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    before = settings.lent_team(), settings._team_threads
    team = lambda work, threads: work()
    try:
        settings.lend_team(team, 5)
        assert settings.lent_team() is team
        assert settings.worker_threads() == 5
        settings.lend_team(None)
        assert settings.worker_threads() == 3
    finally:
        settings.lend_team(*before)


def test_matmul_precision() -> None:
    assert flambeau.get_float32_matmul_precision() == "highest"
    flambeau.set_float32_matmul_precision("high")
    assert flambeau.get_float32_matmul_precision() == "high"
    assert flambeau.backends.cuda.matmul.allow_tf32
    flambeau.set_float32_matmul_precision("highest")
    with pytest.raises(RuntimeError, match="expected one of highest, high, medium, got 'low'"):
        flambeau.set_float32_matmul_precision("low")


def test_warnings_each_time() -> None:
    def seen() -> int:
        for _ in range(2):
            warnings.warn("again", UserWarning, stacklevel=1)
        return len(caught)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("once")
        assert seen() == 1
        flambeau.set_warn_always(True)
        assert flambeau.is_warn_always_enabled()
        assert seen() == 3
        flambeau.set_warn_always(False)
        assert not flambeau.is_warn_always_enabled()


def test_default_tensor_type() -> None:
    flambeau.set_default_tensor_type(flambeau.DoubleTensor)
    assert flambeau.ones(1).dtype is flambeau.float64
    flambeau.set_default_tensor_type("torch.FloatTensor")
    assert flambeau.ones(1).dtype is flambeau.float32
    with pytest.raises(TypeError, match="invalid type object"):
        flambeau.set_default_tensor_type("torch.NoTensor")
    assert flambeau.set_flush_denormal(True) is False


def test_tensor_types_know_their_tensors() -> None:
    x = flambeau.FloatTensor([1, 2])
    assert isinstance(x, flambeau.FloatTensor)
    assert not isinstance(x, flambeau.LongTensor)
    assert flambeau.ShortTensor(2, 3).dtype is flambeau.int16
    assert x.type(flambeau.DoubleTensor).dtype is flambeau.float64
    assert flambeau.typename(x) == "flambeau.FloatTensor"
    assert flambeau.typename(flambeau.Size) == "flambeau.forms.Size"
    assert flambeau.typename(3) == "int"


def test_dunders_of_old() -> None:
    x = flambeau.tensor([2.0, 4.0])
    assert [v.item() for v in reversed(x)] == [4, 2]
    with pytest.raises(TypeError, match="does not support deleting items"):
        del x[0]
    assert x.map_(x * 10, lambda a, b: a + b).tolist() == [22, 44]
    assert x.map2_(x, flambeau.tensor(1.0), lambda a, b, c: b - c).tolist() == [21, 43]


class Marked(flambeau.Tensor):
    pass


def test_as_subclass_shares_memory_and_history() -> None:
    x = flambeau.ones(2, requires_grad=True)
    marked = (x * 3).as_subclass(Marked)
    assert type(marked) is Marked
    marked.sum().backward()
    assert x.grad.tolist() == [3, 3]
