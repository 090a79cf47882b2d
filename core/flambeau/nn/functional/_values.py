"""Looking at the values of arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.tensor import Tensor, examined


def examined_where_near(tensor: Tensor, look: Callable[..., Any], *args: Any) -> Any:
    """:func:`flambeau.tensor.examined`; None where reading the values would stall the device."""
    return examined(tensor, look, *args) if tensor._device.type == "cpu" else None
