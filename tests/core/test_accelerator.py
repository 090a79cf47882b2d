"""The accelerator in general, and the CPU in its terms."""

from __future__ import annotations

import pytest

import flambeau
from flambeau import accelerator


def test_accelerator_is_what_is_available() -> None:
    others = [name for name in flambeau.dispatch.available() if name not in ("cpu", "meta")]
    assert accelerator.is_available() is bool(others)
    found = accelerator.current_accelerator()
    assert (found.type if found else None) == (("cuda" if "cuda" in others else min(others)) if others else None)
    assert (accelerator.device_count() > 0) is bool(others)


@pytest.mark.skipif(not accelerator.is_available(), reason="no accelerator")
def test_choosing_a_device() -> None:
    accelerator.synchronize()
    accelerator.set_device_index(0)
    with accelerator.device_index(None), accelerator.device_index(0):
        assert accelerator.current_device_index() == 0
    with pytest.raises(RuntimeError, match="there is no device 99"):
        accelerator.set_device_index(99)


def test_without_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flambeau.dispatch, "available", lambda: ["meta", "cpu"])
    assert not accelerator.is_available() and accelerator.device_count() == 0
    assert accelerator.current_accelerator() is None
    with pytest.raises(RuntimeError, match=r"there is no accelerator here; available are: meta, cpu"):
        accelerator.synchronize()


def test_the_cpu_as_one() -> None:
    flambeau.cpu.synchronize()
    flambeau.cpu.set_device(0)
    assert (flambeau.cpu.device_count(), flambeau.cpu.current_device()) == (1, "cpu")
    assert flambeau.cpu.is_available()
