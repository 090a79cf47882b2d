"""Finding out where a program waits for its device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import flambeau
from flambeau import cuda, nn

TEXT = r"called a synchronizing operation: {} waits for the device \(see flambeau.cuda.set_sync_debug_mode\)"


@pytest.fixture(autouse=True)
def quiet_afterwards() -> Iterator[None]:
    yield
    cuda.set_sync_debug_mode("default")


WAITING: dict[str, tuple[str, Callable[[flambeau.Tensor], Any]]] = {
    "item": ("a copy to the host", lambda x: x.sum().item()),
    "bool": ("a copy to the host", lambda x: bool(x.sum() > 0)),
    "cpu": ("a copy to the host", lambda x: x.cpu()),
    "tolist": ("a copy to the host", lambda x: x.tolist()),
    "print": ("a copy to the host", repr),
    "nonzero": ("nonzero on 'cuda'", lambda x: x.nonzero()),
    "a mask": ("nonzero on 'cuda'", lambda x: x.masked_select(x > 1)),
}


@pytest.mark.parametrize("name", WAITING)
def test_what_waits_is_told(toy: Any, name: str) -> None:
    what, call = WAITING[name]
    x = flambeau.arange(3.0, device="cuda")
    cuda.set_sync_debug_mode("warn")
    with pytest.warns(UserWarning, match=TEXT.format(what)) as told:
        call(x)
    assert len(told) == 1
    cuda.set_sync_debug_mode(2)
    assert cuda.get_sync_debug_mode() == 2
    with pytest.raises(RuntimeError, match=TEXT.format(what)):
        call(x)
    cuda.set_sync_debug_mode(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(x)


def test_the_cpu_is_not_meant(toy: Any) -> None:
    cuda.set_sync_debug_mode("error")
    x = flambeau.arange(3.0)
    assert x.sum().item() == 3 and len(x.nonzero()) == 2


def test_a_training_step_waits_for_nothing(toy: Any) -> None:
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2)).cuda()
    optimizer = flambeau.optim.AdamW(net.parameters())
    inputs, targets = flambeau.randn(4, 3).pin_memory(), flambeau.tensor([0, 1, 0, 1]).pin_memory()
    cuda.set_sync_debug_mode("error")
    for _ in range(2):
        x, y = inputs.to("cuda", non_blocking=True), targets.to("cuda", non_blocking=True)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    cuda.set_sync_debug_mode(0)
    assert loss.item() > 0


def test_other_modes_are_refused() -> None:
    with pytest.raises(RuntimeError, match="expected 0, 1, 2, 'default', 'warn' or 'error', got 'loud'"):
        cuda.set_sync_debug_mode("loud")
