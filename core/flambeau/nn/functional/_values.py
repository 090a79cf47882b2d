"""Looking at the values of arguments."""

from __future__ import annotations

from typing import Any

from flambeau.tensor import Tensor, everywhere


def host_values(tensor: Tensor) -> Any:
    """The values as a NumPy array, or None where reading them would stall the device."""
    if tensor._device.type != "cpu":
        return None
    tensor = everywhere(tensor)
    return tensor._device.backend.to_numpy(tensor._array)  # type: ignore[union-attr]
