"""Arrays are freed when nothing refers to them, and threads do not disturb each other."""

from __future__ import annotations

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import flambeau
from flambeau.devices import device as device_class
from flambeau.dispatch import load
from flambeau.tensor import Tensor
from flambeau.testing.comparison import host, make_tensor

_SIZE = 128


def _step(weight: Tensor, inputs: Tensor) -> None:
    """One step of training."""
    loss = ((inputs @ weight).tanh() ** 2).sum()
    loss.backward()
    assert weight.grad is not None
    with flambeau.no_grad():
        weight -= 0.01 * weight.grad
    weight.grad = None


def test_live_arrays_do_not_grow(device: str) -> None:
    backend = load(device_class(device)).backend
    weight = make_tensor(_SIZE, _SIZE, dtype=flambeau.float32, device=device, low=-0.1, high=0.1, requires_grad=True)
    inputs = make_tensor(4, _SIZE, dtype=flambeau.float32, device=device)

    def live() -> int:
        gc.collect()
        kinds = (Tensor, backend.array_type)  # type: ignore[union-attr]
        return sum(isinstance(thing, kinds) for thing in gc.get_objects())

    for _ in range(3):
        _step(weight, inputs)
    tracemalloc.start()
    try:
        before, bytes_before = live(), tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            _step(weight, inputs)
        after, bytes_after = live(), tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after <= before, f"{after - before} more arrays and tensors are alive after 20 steps"
    # On the host; a leak of one weight a step would be twenty times this.
    assert bytes_after - bytes_before < 4 * _SIZE * _SIZE


def test_ops_run_in_several_threads(device: str) -> None:
    weight = make_tensor(8, 8, dtype=flambeau.float32, device=device)

    def work(number: int) -> list[float]:
        leaf = flambeau.full((8,), float(number), device=device, requires_grad=True)
        for _ in range(20):
            leaf.grad = None
            ((leaf * 0.01) @ weight).exp().sum().backward()
        assert leaf.grad is not None
        found: list[float] = host(leaf.grad).tolist()
        return found

    alone = [work(number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(work, range(6)))
    assert together == alone
