"""Keeping gradients from getting too large."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import flambeau
from flambeau import Tensor
from flambeau.ops.call import wrap_result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flambeau.devices import device


@flambeau.no_grad()
def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all tensors together, as if they were one vector.

    Args:
        tensors: a tensor or several.
        norm_type: p of the p-norm; ``inf`` for the largest absolute value.
        error_if_nonfinite: raise where the norm is NaN or infinite.
        foreach: accepted for PyTorch's sake.

    Returns:
        Tensor: 0-dim.

    Raises:
        RuntimeError: see ``error_if_nonfinite``.
    """
    listed = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not listed:
        return flambeau.tensor(0.0)
    norms = [
        wrap_result(device.xp.total_norm([tensor._array for tensor in there], norm_type), device)
        for device, there in _by_device(listed).items()
    ]
    total = norms[0]
    if len(norms) > 1:
        total = flambeau.linalg.vector_norm(flambeau.stack([norm.to(total.device) for norm in norms]), norm_type)
    kinds = {tensor.dtype for tensor in listed}
    if len(kinds) == 1:
        total = total.to(kinds.pop().to_real())
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def _by_device(tensors: Iterable[Tensor]) -> dict[device, list[Tensor]]:
    found: dict[device, list[Tensor]] = {}
    for tensor in tensors:
        found.setdefault(tensor._device, []).append(tensor)
    return found


def _grads(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else parameters
    return [parameter.grad for parameter in listed if parameter.grad is not None]


@flambeau.no_grad()
def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients by ``max_norm / total_norm`` where ``total_norm`` is the larger.

    Args:
        parameters: one or several whose gradients are changed in place.
        max_norm: the norm not to be exceeded.
        total_norm: the gradients' norm, from :func:`get_total_norm`.
        foreach: accepted for PyTorch's sake.
    """
    kind = flambeau.promote_types(total_norm.dtype, flambeau.float32)
    for device, grads in _by_device(_grads(parameters)).items():
        # Without asking whether it is below 1, which would wait for the device.
        norm = total_norm.to(device, kind)._array
        device.xp.clip_to_norm([grad._array for grad in grads], norm, float(max_norm))
        for grad in grads:
            grad._bump_version()


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of all parameters together so that their norm is at most ``max_norm``.

    Args:
        parameters: one or several whose gradients are changed in place.
        max_norm: the norm not to be exceeded.
        norm_type: p of the p-norm.
        error_if_nonfinite: raise RuntimeError where the norm is NaN or infinite.
        foreach: accepted for PyTorch's sake.

    Returns:
        Tensor: the norm before, 0-dim.
    """
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total_norm = get_total_norm(_grads(listed), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(listed, max_norm, total_norm)
    return total_norm


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """An older name of :func:`clip_grad_norm_`."""
    warnings.warn("clip_grad_norm is deprecated in favour of clip_grad_norm_", FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@flambeau.no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Limit each element of the gradients to [-clip_value, clip_value], in place."""
    for grad in _grads(parameters):
        grad.clamp_(-float(clip_value), float(clip_value))
