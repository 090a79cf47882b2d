"""Random numbers on CUDA devices (``torch.cuda.random``): one generator, :mod:`flambeau.random`'s, for all devices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau import random
from flambeau.cuda._devices import device_count
from flambeau.tensor import Tensor

__all__ = [
    "get_rng_state", "get_rng_state_all", "initial_seed", "manual_seed", "manual_seed_all", "seed", "seed_all",
    "set_rng_state", "set_rng_state_all",
]  # fmt: skip


def manual_seed(seed: int) -> None:
    """Seed the random numbers, of all devices."""
    random.manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed the random numbers, of all devices."""
    random.manual_seed(seed)


def seed() -> None:
    """Seed the random numbers, of all devices, from the operating system's entropy."""
    random.seed()


def seed_all() -> None:
    """Seed the random numbers, of all devices, from the operating system's entropy."""
    random.seed()


def initial_seed() -> int:
    """The seed, the same for all devices."""
    return random.initial_seed()


def get_rng_state(device: Any = "cuda") -> Tensor:
    """The state of the random numbers, the same for all devices (:func:`flambeau.get_rng_state`)."""
    return random.get_rng_state()


def get_rng_state_all() -> list[Tensor]:
    """The state of the random numbers, once a device."""
    return [random.get_rng_state() for _ in range(device_count())]


def set_rng_state(new_state: Tensor, device: Any = "cuda") -> None:
    """Bring the random numbers, of all devices, into a state that :func:`get_rng_state` returned."""
    random.set_rng_state(new_state)


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Bring the random numbers into a state that :func:`get_rng_state_all` returned."""
    for state in new_states:
        random.set_rng_state(state)
