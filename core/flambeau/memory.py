"""Tensors over other memory, or over the same memory in another way, in place and as views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import creation
from flambeau.dtypes import dtype
from flambeau.forms import Size
from flambeau.ops.call import TENSORS
from flambeau.tensor import Tensor

__all__ = ["as_strided", "as_strided_", "detach", "detach_", "resize_as_"]

_view_as_size: Callable[..., Tensor] = TENSORS.view


def view(self: Tensor, *size: Any, dtype: Any = None) -> Tensor:
    """The same memory with another shape, of which one size may be -1, or as elements of another dtype.

    Raises:
        RuntimeError: when it cannot be done without a copy.
    """
    if dtype is None:
        if size and size[0].__class__ is not _DTYPE:
            return _view_as_size(self, *size)
        dtype = size[0] if size else None
    if dtype is None:
        raise TypeError("view(): a size or a dtype is needed")
    viewed: Tensor = TENSORS.view_dtype(self, dtype)
    return viewed


_DTYPE = dtype


def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A view of the memory under ``input`` with the given sizes, strides and offset in elements.

    The offset counts from the first element of ``input``'s storage, so that the same arguments mean the same elements
    on every view of it; None means the one of ``input``.

    Raises:
        RuntimeError: when an element would lie outside the storage, or the lengths differ.
    """
    size = (size,) if isinstance(size, int) else tuple(size)
    stride = (stride,) if isinstance(stride, int) else tuple(stride)
    if len(size) != len(stride):
        raise RuntimeError(f"as_strided: mismatch in length of strides and shape: {list(stride)} and {list(size)}")
    if min(stride, default=0) < 0:
        raise RuntimeError(f"as_strided: negative strides are not supported, got {list(stride)}")
    offset = input.storage_offset() if storage_offset is None else storage_offset
    found: Tensor = TENSORS.restride(input, size, stride, offset, input.stride(), input.storage_offset())
    return found


def detach(input: Tensor) -> Tensor:
    """A tensor that shares the memory and takes no part in the history (``torch.detach``)."""
    return input.detach()


def detach_(input: Tensor) -> Tensor:
    """Cut the tensor off its history, in place (``torch.detach_``)."""
    return input.detach_()


def resize_(self: Tensor, *size: Any, memory_format: Any = None) -> Tensor:
    """Change the shape, in place, with more or fewer elements; new ones are not initialised."""
    if self._node is not None:
        raise RuntimeError("cannot resize variables that require grad")
    shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    wanted, flat = Size(shape).numel(), self.contiguous().reshape(-1)
    if wanted > flat.numel():
        grown = creation.zeros(wanted, dtype=self._dtype, device=self._device)
        grown[: flat.numel()].copy_(flat)
        flat = grown
    self._array, self._form = flat[:wanted].reshape(shape)._array, None
    self._bump_version()
    return self


def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """Change the shape to the one of ``the_template``, in place; see :meth:`resize_`."""
    return resize_(input, tuple(the_template.shape))


def in_place_view(name: str, view: Callable[..., Tensor] | None = None) -> Callable[..., Tensor]:
    """The method that takes the shape which a view op gives, in place."""
    make = view or getattr(TENSORS, getattr(Tensor, name).op.name)

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self._node is not None and self.is_leaf:
            raise RuntimeError(f"{name}_: a leaf Variable that requires grad is being used in an in-place operation")
        viewed: Tensor = make(self, *args, **kwargs)
        self._array, self._form = viewed._array, None
        if self._view is not None:
            self._view = viewed._view
        self._node = viewed._node
        return self

    method.__name__ = method.__qualname__ = name + "_"
    method.__doc__ = f"Take the shape that :meth:`{name}` gives, in place."
    return method


as_strided_ = in_place_view("as_strided", as_strided)


def dim_order(self: Tensor, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the outermost to the innermost in memory."""
    strides = self.stride()
    return tuple(sorted(range(self.ndim), key=lambda d: -strides[d]))


def new_empty_strided(
    self: Tensor, size: Any, stride: Any, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """As :func:`flambeau.empty_strided`, with the dtype and on the device of this tensor."""
    return creation.empty_strided(
        size, stride, dtype=dtype or self._dtype, device=device or self._device, requires_grad=requires_grad
    )


def module_load(self: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What a module's parameter becomes when ``other`` is loaded into it: ``other``, or this one with its values."""
    return other.detach() if assign else self.copy_(other).detach()


def methods() -> dict[str, Any]:
    """What is a method, by name."""
    from flambeau import casting, copies, layouts, storage

    found: dict[str, Any] = {
        "view": view, "as_strided": as_strided, "as_strided_": as_strided_, "resize_": resize_,
        "resize_as_": resize_as_, "dim_order": dim_order, "const_data_ptr": Tensor.data_ptr,
        "new_empty_strided": new_empty_strided, "module_load": module_load,
        "narrow_copy": copies.narrow_copy, "is_contiguous": layouts.is_contiguous, "contiguous": layouts.contiguous,
        "storage": storage.storage, "untyped_storage": storage.untyped_storage, "set_": storage.set_,
        "storage_type": storage.storage_type, "_typed_storage": storage.storage,
    }  # fmt: skip
    found |= {name: getattr(casting, name) for name in
              ("to", "cpu", "cuda", "is_pinned", "pin_memory", "record_stream", "type", "type_as")}  # fmt: skip
    for name in ("squeeze", "unsqueeze", "transpose", "swapaxes", "swapdims", "t"):
        found[name + "_"] = in_place_view(name)
    return found | casting.CASTS
