"""Copies: to another dtype or device, into the memory of another tensor."""

from __future__ import annotations

from typing import Any

from flambeau.ops.declare import composite, primitive

Tensor = Any
Number = Any
DType = Any
Device = Any
Xp = Any


# -- dtypes and complex numbers --------------------------------------------------------------------------------------


@primitive(public=("method",))
def to_dtype(input: Tensor, dtype: DType) -> Tensor:
    """Return ``input`` cast to ``dtype``."""
    return input.with_dtype(dtype)


to_dtype.vjp(input=lambda xp, g, input_spec: xp.to_dtype(g, input_spec.dtype))


@primitive(public=())
def to_device(input: Tensor, device: Device, source: Device) -> Tensor:
    """Return ``input``, which lives on ``source``, on ``device``.

    The one primitive that no backend gives: arrays pass through the host (see :mod:`flambeau.conversion`).
    """
    return input


to_device.vjp(input=lambda xp, g, device, source: xp.to_device(g, source, device))


@primitive()
def clone(input: Tensor) -> Tensor:
    """Return a copy of ``input`` that is differentiable, laid out as ``memory_format`` says."""
    return input


clone.vjp(input=lambda xp, g: g)


@clone.keywords
def _(xp: Xp, input: Any, *, memory_format: Any = None) -> Any:
    from flambeau.layouts import formatted

    return formatted("clone", xp.clone(input), memory_format, input)


@primitive(public=())
def assign(target: Tensor, value: Tensor | Number) -> Tensor:
    """Write ``value``, broadcast and cast, into the memory of ``target`` and return ``target``.

    The primitive below every in-place operation; it is not recorded.
    """
    return target


@composite(inplace=True, public=())
def copy(xp: Xp, input: Tensor, src: Tensor | Number, non_blocking: bool = False) -> Tensor:
    """Return ``src`` with the shape and dtype of ``input``; ``copy_`` writes it there."""
    dtype = xp.dtype_of(input)
    if not hasattr(src, "shape"):
        return xp.full(input.shape, src, dtype, xp.device_of(input))
    return xp.expand(xp.to_dtype(src, dtype), input.shape)


copy.vjp(
    input=lambda xp, g: xp.full_like(g, 0),
    src=lambda xp, g, src_spec: xp.to_dtype(xp.sum_to_size(g, src_spec.shape), src_spec.dtype),
)
copy.in_place(lambda xp, input, src, non_blocking=False: xp.assign(input, src))


@copy.canonical
def _(input: Any, src: Any, non_blocking: bool) -> Any:
    if hasattr(src, "_array"):
        src = src.to(input._device, non_blocking=non_blocking)
    return input, src, non_blocking


@composite(inplace=True, public=("function",))
def fill(xp: Xp, input: Tensor, value: Tensor | Number) -> Tensor:
    """Return a tensor like ``input`` that holds ``value`` everywhere; ``fill_`` writes it."""
    return xp.copy(input, value)


fill.vjp(
    input=lambda xp, g: xp.full_like(g, 0),
    value=lambda xp, g, value_spec: xp.to_dtype(xp.sum_to_size(g, value_spec.shape), value_spec.dtype),
)
fill.in_place(lambda xp, input, value: xp.assign(input, value))


@fill.check
def _(input: Any, value: Any) -> None:
    if hasattr(value, "_array") and value.ndim:
        raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions")
