"""Functions over tensors that are not ops: questions, comparisons of whole tensors, forms with several signatures.

:func:`attach` hangs those that are methods too on :class:`~flambeau.Tensor`.
"""

from __future__ import annotations

from typing import Any

import numpy

from flambeau import creation, dtypes
from flambeau.conversion import from_numpy, tensor, transfer
from flambeau.dtypes import dtype
from flambeau.forms import Size
from flambeau.ops import fast_views, spec, subscript
from flambeau.ops.call import TENSORS
from flambeau.ops.declare import OPS
from flambeau.ops.entry import write_out
from flambeau.tensor import Tensor

__all__ = [
    "allclose", "argwhere", "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_shapes",
    "broadcast_tensors", "conj", "conj_physical", "equal", "get_device", "is_complex", "is_conj", "is_distributed",
    "is_floating_point", "is_inference", "is_neg", "is_nonzero", "is_same_size", "is_signed", "is_tensor", "numel",
    "positive", "resolve_conj", "resolve_neg", "result_type", "to_dlpack", "typename", "unravel_index",
    "where", "zero_",
]  # fmt: skip


def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype of ``input`` is a floating-point one."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Whether the dtype of ``input`` is complex."""
    return input.is_complex()


def is_signed(input: Tensor) -> bool:
    """Whether the dtype of ``input`` is signed."""
    return input.is_signed()


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    return input.shape == other.shape


def is_nonzero(input: Tensor) -> bool:
    """Whether a tensor with one element holds something other than 0."""
    if input.numel() != 1:
        raise RuntimeError(
            f"is_nonzero: Boolean value of Tensor with {input.numel()} elements is ambiguous; exactly one is needed"
        )
    return bool(input.item() != 0)


def is_conj(input: Tensor) -> bool:
    """Whether the elements are conjugated when they are read: False, see :func:`conj`."""
    return input.is_conj()


def is_neg(input: Tensor) -> bool:
    """Whether the elements are negated when they are read: False."""
    return input.is_neg()


def is_inference(input: Tensor) -> bool:
    """Whether ``input`` was made in inference mode, which leaves no trace on tensors: False."""
    return input.is_inference()


def is_distributed(input: Tensor) -> bool:
    """Whether parts of ``input`` live in several processes: False."""
    return input.is_distributed()


def get_device(input: Tensor) -> int:
    """The index of the device that ``input`` lives on, -1 for the CPU."""
    return input.get_device()


def typename(obj: Any) -> str:
    """The name of an object's type with its module; of a tensor its :meth:`type` (``torch.typename``)."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    kind = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(kind, "__module__", None)
    return kind.__qualname__ if module in (None, "builtins") else f"{module}.{kind.__qualname__}"


def zero_(input: Tensor) -> Tensor:
    """Fill ``input`` with 0, in place."""
    return input.fill_(0)


def to_dlpack(input: Tensor) -> Any:
    """A DLPack capsule over the memory of ``input`` (``torch.to_dlpack``)."""
    return input.__dlpack__()


def numel(input: Tensor) -> int:
    """The number of elements of ``input``."""
    return input.numel()


def result_type(tensor1: Any, tensor2: Any) -> dtype:
    """The dtype of an operation on two operands, tensors or numbers (``torch.result_type``)."""
    return dtypes.result_dtype([tensor1, tensor2])


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that all ``shapes`` broadcast to."""
    sizes = [(shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes]
    return Size(spec.broadcast_shapes("broadcast_shapes", *sizes))


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors as views of their common broadcast shape."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    shape = spec.broadcast_shapes("broadcast_tensors", *[t.shape for t in tensors])
    return tuple([TENSORS.expand(t, shape) for t in tensors])


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements."""
    if input.shape != other.shape:
        return False
    return bool(TENSORS.all(TENSORS.eq(input.detach(), other.detach())))


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are close, ``abs(input - other) <= atol + rtol * abs(other)``."""
    if input.dtype is not other.dtype:
        raise RuntimeError(f"allclose: {input.dtype.name} did not match {other.dtype.name}")
    return bool(TENSORS.all(TENSORS.isclose(input.detach(), other.detach(), rtol, atol, equal_nan)))


def where(condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None) -> Any:
    """``input`` where ``condition`` is true, else ``other``; with ``condition`` alone its nonzero indices a dimension.

    Raises:
        RuntimeError: when ``condition`` is neither bool nor uint8.
    """
    if input is None and other is None:
        return TENSORS.nonzero(condition, as_tuple=True)
    if not isinstance(condition, Tensor):
        raise TypeError(f"where(): argument 'condition' must be Tensor, not {type(condition).__name__}")
    if condition.dtype is not dtypes.bool_:
        if condition.dtype is not dtypes.uint8:
            raise RuntimeError(f"where expected condition to be a boolean tensor, but got {condition.dtype.name}")
        condition = condition.bool()
    return TENSORS.where(condition, input, other) if out is None else TENSORS.where(condition, input, other, out=out)


def _each(tensors: tuple[Any, ...], lift: Any) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    lifted = tuple([lift(tensor) for tensor in tensors])
    return lifted[0] if len(lifted) == 1 else lifted


def atleast_1d(*tensors: Any) -> Any:
    """Each tensor with at least one dimension."""
    return _each(tensors, lambda t: t if t.ndim >= 1 else t.reshape(1))


def atleast_2d(*tensors: Any) -> Any:
    """Each tensor with at least two dimensions; vectors become rows."""
    return _each(tensors, lambda t: t if t.ndim >= 2 else t.reshape(1, -1))


def atleast_3d(*tensors: Any) -> Any:
    """Each tensor with at least three dimensions."""
    return _each(tensors, lambda t: t if t.ndim >= 3 else t.unsqueeze(-1) if t.ndim == 2 else t.reshape(1, -1, 1))


def conj(input: Tensor) -> Tensor:
    """The complex conjugate of each element; a real tensor itself.

    In memory of its own, where ``torch.conj`` gives a view that conjugates when it is read.
    """
    return TENSORS.conj(input) if input._dtype.is_complex else input


def conj_physical(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The complex conjugate of each element, in memory of its own; a real tensor itself."""
    result = conj(input)
    return result if out is None else write_out(OPS["conj"], result, out)


def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: conjugates are computed at once, not when they are read."""
    return input


resolve_neg = resolve_conj


def positive(input: Tensor) -> Tensor:
    """The tensor itself.

    Raises:
        RuntimeError: for bools.
    """
    if input._dtype is dtypes.bool_:
        raise RuntimeError("positive: the `+` operator, on a bool tensor, is not supported")
    return input


def argwhere(input: Tensor) -> Tensor:
    """The indices of all elements that are not 0, one row each (``torch.argwhere``)."""
    return TENSORS.nonzero(input)


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """The coordinates, one int64 tensor a dimension, of flat ``indices`` into a tensor of ``shape``.

    Raises:
        ValueError: when ``indices`` are no integers or a size is negative.
    """
    if indices._dtype.category != dtypes.INTEGER:
        raise ValueError(f"unravel_index: expected 'indices' to be integer dtype, but got {indices._dtype.name}")
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if min(sizes, default=0) < 0:
        raise ValueError(f"unravel_index: 'shape' cannot have negative values, but got {tuple(sizes)}")
    indices = indices.long()
    coordinates = []
    for size in reversed(sizes):
        coordinates.append(TENSORS.remainder(indices, size))
        indices = TENSORS.floor_divide(indices, size)
    return tuple(reversed(coordinates))


# -- methods ---------------------------------------------------------------------------------------------------------


def _method_where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """``self`` where ``condition`` is true, else ``other``."""
    return where(condition, self, other)


def _eq(self: Tensor, other: Any) -> Any:
    return TENSORS.eq(self, other) if _comparable(other) else NotImplemented


def _ne(self: Tensor, other: Any) -> Any:
    return TENSORS.ne(self, other) if _comparable(other) else NotImplemented


def _comparable(other: Any) -> bool:
    return isinstance(other, (Tensor, int, float, complex)) or getattr(other, "ndim", 1) == 0


def _contains(self: Tensor, element: Any) -> bool:
    return bool(TENSORS.any(TENSORS.eq(self, element)))


def _new(name: str) -> Any:
    make = getattr(creation, name)

    def method(self: Tensor, *size: Any, dtype: Any = None, device: Any = None, **options: Any) -> Tensor:
        made: Tensor = make(*size, dtype=dtype or self._dtype, device=device or self._device, **options)
        return made

    method.__name__ = method.__qualname__ = f"new_{name}"
    method.__doc__ = f"As :func:`flambeau.{name}`, with the dtype and on the device of this tensor."
    return method


def _new_tensor(
    self: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor with a copy of ``data``, with the dtype and on the device of this tensor."""
    return tensor(data, dtype=dtype or self._dtype, device=device or self._device, requires_grad=requires_grad)


def _map2_(self: Tensor, x: Tensor, y: Tensor, callable: Any) -> Tensor:
    """Replace each element by ``callable(element, of x, of y)``, in place; slow, and for the CPU only."""
    own, first, second = broadcast_tensors(self.detach(), x.detach(), y.detach())
    if own.shape != self.shape:
        raise RuntimeError(f"map2_: {list(x.shape)} and {list(y.shape)} do not broadcast to {list(self.shape)}")
    columns = zip(*(operand.reshape(-1).tolist() for operand in (own, first, second)), strict=True)
    flat = [callable(*values) for values in columns]
    return self.copy_(from_numpy(numpy.array(flat, self._dtype.numpy).reshape(self._array.shape)))


def _map_(self: Tensor, tensor: Tensor, callable: Any) -> Tensor:
    """Replace each element by ``callable(element, of tensor)``, in place; slow, and for the CPU only."""
    return _map2_(self, tensor, tensor, lambda own, other, _: callable(own, other))


def _float_power_(self: Tensor, exponent: Any) -> Tensor:
    """In-place form of :func:`flambeau.float_power`; of double precision only."""
    if self._dtype not in (dtypes.float64, dtypes.complex128):
        raise RuntimeError(
            f"float_power_: the base has dtype {self._dtype.name} but the operation's result requires dtype float64"
        )
    return self.pow_(exponent)


def _apply_(self: Tensor, function: Any) -> Tensor:
    """Replace each element by ``function(element)``, in place; slow, and for the CPU only."""
    flat = [function(value) for value in self.detach().reshape(-1).tolist()]
    return self.copy_(from_numpy(numpy.array(flat, self._dtype.numpy).reshape(self._array.shape)))


def _conj_physical_(self: Tensor) -> Tensor:
    """Take the complex conjugate of each element, in place."""
    return self.conj_() if self._dtype.is_complex else self


def _fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Write ``fill_value`` to the main diagonal, in place; with ``wrap`` again and again in a tall matrix."""
    if self.ndim < 2:
        raise RuntimeError("fill_diagonal_: dimensions must larger than 1")
    if self.ndim > 2 and len(set(self.shape)) > 1:
        raise RuntimeError(f"fill_diagonal_: all dimensions of input must be of equal length, got {list(self.shape)}")
    rows, columns = self.shape[0], min(self.shape)
    starts = range(0, rows, columns + 1) if wrap and self.ndim == 2 and columns else (0,)
    for start in starts:
        count = min(rows - start, columns)
        places = creation.arange(count, device=self._device)
        self[(places + start, *[places] * (self.ndim - 1))] = fill_value
    return self


def _new_like(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """A tensor with the dtype and on the device of this one: of the given sizes, or with the given data."""
    if len(args) == 1 and not isinstance(args[0], (int, Size)):
        return tensor(args[0], dtype=self._dtype, device=device or self._device)
    return creation.empty(*(args or (0,)), dtype=self._dtype, device=device or self._device)


def _late(name: str) -> Any:
    """A method from :mod:`flambeau.spectrogram`, which is loaded when it is first called."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        from flambeau import spectrogram

        found: Tensor = getattr(spectrogram, name)(self, *args, **kwargs)
        return found

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"As :func:`flambeau.{name}`."
    return method


def attach() -> None:
    """Hang the methods on :class:`~flambeau.Tensor`."""
    from flambeau import memory, overloads, random

    TENSORS.to_device = transfer  # the op is recorded there: its result lives on another device than its input

    methods: dict[str, Any] = {
        "where": _method_where, "equal": equal, "allclose": allclose, "zero_": zero_,
        "__eq__": _eq, "__ne__": _ne, "__contains__": _contains, "__getitem__": fast_views.getitem,
        "__setitem__": subscript.setitem, "new_tensor": _new_tensor, "apply_": _apply_, "is_nonzero": is_nonzero,
        "__pos__": positive, "argwhere": argwhere, "fill_diagonal_": _fill_diagonal_,
        "__rdiv__": Tensor.__rtruediv__, "__div__": Tensor.__truediv__, "__idiv__": Tensor.__itruediv__,
        "map_": _map_, "map2_": _map2_, "histogram": overloads.histogram, "float_power_": _float_power_,
        "new": _new_like, "is_same_size": is_same_size,
    }  # fmt: skip
    methods |= memory.methods()
    methods["conj_physical_"] = _conj_physical_
    for name in ("conj", "conj_physical", "positive", "resolve_conj", "resolve_neg"):
        methods[name] = globals()[name]
    methods["stft"], methods["istft"] = _late("stft"), _late("istft")
    for name in ("zeros", "ones", "empty", "full"):
        methods[f"new_{name}"] = _new(name)
    for name in ("uniform", "normal", "bernoulli", "random", "exponential", "log_normal", "cauchy", "geometric"):
        methods[name + "_"] = getattr(random, name + "_")
    for name in ("bernoulli", "multinomial"):
        methods[name] = getattr(random, name)
    for name, method in methods.items():
        setattr(Tensor, name, method)


def _assert(condition: Any, message: str) -> None:
    """Raise ``AssertionError`` with a message unless something holds (``torch._assert``)."""
    assert condition, message
