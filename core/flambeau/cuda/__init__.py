"""Questions about CUDA devices (``torch.cuda``), answered by whichever backend provides the device type ``cuda``."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any

from flambeau import random
from flambeau.devices import device as device_class
from flambeau.dispatch import backends, load
from flambeau.tensor import Tensor


def _backend() -> Any:
    found = backends().get("cuda")
    return found[0] if found is not None and found[0].is_available() else None


def is_available() -> bool:
    """Whether a CUDA device can be used."""
    return _backend() is not None


def device_count() -> int:
    """How many CUDA devices there are."""
    backend = _backend()
    return 0 if backend is None else int(backend.device_count())


def current_device() -> int:
    """The index of the device that ``"cuda"`` stands for: always 0."""
    return 0


def get_device_name(device: Any = None) -> str:
    """The name of a CUDA device."""
    target = load(device_class("cuda" if device is None else device))
    return target.backend.device_name(target.index or 0)  # type: ignore[union-attr]


def synchronize(device: Any = None) -> None:
    """Wait until a CUDA device has finished."""
    target = load(device_class("cuda" if device is None else device))
    target.backend.synchronize(target)  # type: ignore[union-attr]


def empty_cache() -> None:
    """Give memory that is kept for reuse back to the device; nothing where there is none."""
    backend = _backend()
    release = getattr(backend, "empty_cache", None)
    if release is not None:
        release()


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether a CUDA device is there that holds bfloat16."""
    backend = _backend()
    return backend is not None and "bfloat16" in backend.dtypes


# -- random numbers: one generator serves all devices (see `flambeau.random`) ---------------------------------------


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


# -- what is imported when it is asked for ---------------------------------------------------------------------------


def __getattr__(name: str) -> Any:
    if name == "amp":
        return import_module("flambeau.cuda.amp")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
