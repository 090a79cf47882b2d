"""Parameters as one vector, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import flambeau
from flambeau import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters as one vector, in their order.

    Raises:
        TypeError: when they are not all on one device.
    """
    listed = list(parameters)
    _check_one_device(listed)
    return flambeau.cat([parameter.reshape(-1) for parameter in listed])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Put parts of ``vec`` in the place of the parameters' data, in their order.

    Raises:
        TypeError: when ``vec`` is no tensor, or the parameters are not all on one device.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected flambeau.Tensor, but got: {type(vec).__name__}")
    listed = list(parameters)
    _check_one_device(listed)
    start = 0
    for parameter in listed:
        count = parameter.numel()
        parameter.data = vec[start : start + count].view_as(parameter).data
        start += count


def _check_one_device(parameters: list[Tensor]) -> None:
    if any(parameter.device != parameters[0].device for parameter in parameters):
        raise TypeError("Found two parameters on different devices, this is currently not supported.")
