"""Which CUDA devices there are, and which one is current."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from flambeau import devices, dispatch, streams
from flambeau.device_runtime import DeviceProperties
from flambeau.devices import device as Device

CUDA = "cuda"


def backend() -> Any:
    """The backend of the device type ``cuda``, None where it cannot be used."""
    found = dispatch.backends().get(CUDA)
    return found[0] if found is not None and dispatch.usable(found[0]) else None


def is_available() -> bool:
    """Whether a CUDA device can be used."""
    return backend() is not None


def device_count() -> int:
    """How many CUDA devices there are."""
    found = backend()
    return 0 if found is None else int(found.device_count())


def init() -> None:
    """Make CUDA ready, which its first use does otherwise.

    Raises:
        RuntimeError: that says what is missing, where there is no CUDA device.
    """
    dispatch.load(Device(CUDA))


def is_initialized() -> bool:
    """Whether a CUDA device has been used."""
    return dispatch.is_loaded(CUDA)


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether a CUDA device is there that holds bfloat16.

    Args:
        including_emulation: also one that computes with it by other types, before the capability 8.0.
    """
    if not is_available() or "bfloat16" not in dispatch.load(Device(CUDA)).backend.dtypes:  # type: ignore[union-attr]
        return False
    return including_emulation or get_device_capability() >= (8, 0)


def is_tf32_supported() -> bool:
    """Whether the current CUDA device multiplies in TF32: from the capability 8.0 on."""
    return is_available() and get_device_capability() >= (8, 0)


def get_arch_list() -> list[str]:
    """The architectures that kernels are compiled for: those of the devices here, ``[]`` where there is none."""
    return streams.runtime_of(Device(CUDA), "get_arch_list").architectures() if is_available() else []


def get_gencode_flags() -> str:
    """The flags with which NVIDIA's compiler would make kernels for :func:`get_arch_list`."""
    numbers = [name.removeprefix("sm_") for name in get_arch_list()]
    return " ".join(f"-gencode compute=compute_{number},code=sm_{number}" for number in numbers)


# -- the current device ----------------------------------------------------------------------------------------------


def current_device() -> int:
    """The index of the device that ``"cuda"`` stands for, in this thread.

    Raises:
        RuntimeError: where there is no CUDA device.
    """
    return dispatch.load(Device(CUDA)).index or 0


def set_device(device: Any) -> None:
    """Choose the device that ``"cuda"`` stands for, in this thread; None and -1 choose none.

    Raises:
        RuntimeError: when there is no such device.
    """
    if device is not None and device != -1:
        streams.use_device(streams.ready(device, CUDA, "set_device"))


class device:
    """The device that ``"cuda"`` stands for inside a ``with`` block (``torch.cuda.device``).

    Args:
        device: a device, its name or its index; None and -1 change nothing.
    """

    def __init__(self, device: Any) -> None:
        self.idx = -1 if device is None else _index(device)
        self.prev_idx = -1

    def __enter__(self) -> None:
        if self.idx >= 0:
            self.prev_idx = devices.current_index(CUDA)
            set_device(self.idx)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.idx >= 0:
            set_device(self.prev_idx)


class device_of(device):
    """The device of a tensor as the one that ``"cuda"`` stands for; a tensor elsewhere changes nothing."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.get_device() if obj.is_cuda else -1)


def _index(where: Any) -> int:
    if isinstance(where, int):
        return where
    named = Device(where)
    if named.type != CUDA:
        raise ValueError(f"device: expected a device of the type 'cuda', got {str(named)!r}")
    return devices.current_index(CUDA) if named.index is None else named.index


# -- what a device is ------------------------------------------------------------------------------------------------


def get_device_name(device: Any = None) -> str:
    """The name of a CUDA device."""
    target = streams.ready(device, CUDA, "get_device_name")
    return target.backend.device_name(target.index or 0)  # type: ignore[union-attr]


def get_device_properties(device: Any = None) -> DeviceProperties:
    """What is known of a CUDA device: its name, memory, capability, multiprocessors ..."""
    target = streams.ready(device, CUDA, "get_device_properties")
    return streams.runtime_of(target, "get_device_properties").properties(target.index or 0)


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a CUDA device, ``(9, 0)`` say."""
    found = get_device_properties(device)
    return found.major, found.minor


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether a CUDA device reads another's memory directly."""
    one = streams.ready(device, CUDA, "can_device_access_peer")
    other = streams.ready(peer_device, CUDA, "can_device_access_peer")
    return streams.runtime_of(one, "can_device_access_peer").can_access_peer(one.index or 0, other.index or 0)


def synchronize(device: Any = None) -> None:
    """Wait until a CUDA device has finished, on all its streams."""
    target = streams.ready(device, CUDA, "synchronize")
    target.backend.synchronize(target)  # type: ignore[union-attr]


def ipc_collect() -> None:
    """Collect the memory of tensors that other processes no longer use: none is shared between processes."""
    init()
