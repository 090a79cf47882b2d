"""Questions about CUDA devices (``torch.cuda``), answered by whichever backend provides the device type ``cuda``."""

from __future__ import annotations

from typing import Any

from flambeau import random
from flambeau.devices import device as device_class
from flambeau.dispatch import backends, load


def __getattr__(name: str) -> Any:
    if name == "amp":
        import flambeau.cuda.amp as found

        return found
    raise AttributeError(f"module 'flambeau.cuda' has no attribute {name!r}")


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


def manual_seed(seed: int) -> None:
    """Seed the random numbers; there is one generator for all devices."""
    random.manual_seed(seed)


manual_seed_all = manual_seed
