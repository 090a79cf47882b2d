"""The tensor: a raw array of a backend, its dtype and device, and its place on the tape.

Operations are not written here: :mod:`flambeau.ops` attaches them as methods. What is here is what a tensor *is*:
its attributes, its memory, its gradient, and the ways in and out of it.
"""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy

from flambeau import devices, dtypes
from flambeau.autograd.grad_mode import switch
from flambeau.autograd.node import Leaf, Node, RemovableHandle, Slot, extra_of
from flambeau.devices import device
from flambeau.dispatch import load
from flambeau.dtypes import FLOATING, dtype
from flambeau.forms import Form, Size, form_of

_new = object.__new__


class View:
    """How a tensor looks at another's memory.

    Attributes:
        base: the tensor that owns the memory's history (never a view itself).
        steps: the ops that lead from the base to the view, ``(name, arguments)`` each.
        version: the state of the shared version counter at which the view's ``_node`` was right.
    """

    __slots__ = ("base", "steps", "version")

    def __init__(self, base: Tensor, steps: tuple[Any, ...], version: int) -> None:
        self.base = base
        self.steps = steps
        self.version = version


def wrap(array: Any, dtype: dtype, device: device) -> Tensor:
    """A tensor around a raw array, with no history."""
    tensor = _new(Tensor)
    tensor._array = array
    tensor._form = None
    tensor._dtype = dtype
    tensor._device = device
    tensor._node = None
    tensor._grad = None
    tensor._version = None
    tensor._view = None
    return tensor


def refresh(tensor: Tensor) -> None:
    """Bring a view's place on the tape up to date, after its memory may have been written through an alias."""
    view = tensor._view
    version = tensor._version[0]  # type: ignore[index]
    if view.version == version:
        return
    view.version = version
    if view.base._node is None and tensor._node is None:
        return
    from flambeau.ops.call import TENSORS

    with _recording():
        replayed = view.base
        for name, arguments in view.steps:
            replayed = getattr(TENSORS, name)(replayed, *arguments)
    tensor._node = replayed._node


def everywhere(tensor: Tensor) -> Tensor:
    """The tensor for who looks at its values: inside of ``vmap``, the one that holds those of all examples."""
    while tensor._device.depth:
        tensor = wrap(tensor._array.value, tensor._dtype, tensor._device.below)  # type: ignore[attr-defined]
    return tensor


def examined(tensor: Tensor, look: Callable[..., Any], *args: Any) -> Any:
    """``look(values, *args)`` with the values of a CPU tensor as a NumPy array.

    For what refuses wrong values, by raising: compiled functions look again in each replay.

    Args:
        look: what it returns, None as a rule, has to be the same for most values; replays compare it by identity.
    """
    tensor = everywhere(tensor)
    return look(tensor._backend.to_numpy(tensor._array), *args)


class _recording:
    """Recording switched on: a view's history does not depend on where it is asked for."""

    def __enter__(self) -> None:
        self._before = switch(True)

    def __exit__(self, *error: object) -> None:
        switch(self._before)


class Tensor:
    """An n-dimensional array on a device, with automatic differentiation (``torch.Tensor``).

    ``Tensor(2, 3)`` is an uninitialised tensor of that shape, ``Tensor([[1, 2]])`` one with these values; both are
    of the default dtype. :func:`flambeau.tensor` is the usual way to make one from data.
    """

    __slots__ = ("__weakref__", "_array", "_device", "_dtype", "_form", "_grad", "_node", "_version", "_view")

    _array: Any
    _form: Form | None  # of `_array`, when it has been asked for
    _dtype: dtype
    _device: device
    _node: Node | Leaf | Slot | None
    _grad: Tensor | None
    _version: list[int] | None
    _view: View | None

    __array_priority__ = 1000

    def __new__(cls, *args: Any, device: Any = None) -> Tensor:
        from flambeau.conversion import make_array

        where = load(devices.device(device) if device is not None else devices.get_default_device())
        kind = dtypes.get_default_dtype()
        if len(args) == 1 and isinstance(args[0], Tensor):
            source = args[0].detach()
            return source if cls is Tensor else cls._make_subclass(cls, source)
        if len(args) == 1 and not isinstance(args[0], (int, Size)):
            array = make_array(args[0], kind, where)
        else:
            size = args[0] if len(args) == 1 and isinstance(args[0], Size) else (args or (0,))
            array = where.xp.full(tuple(size), 0, kind, where)
        tensor = wrap(array, kind, where)
        return tensor if cls is Tensor else cls._make_subclass(cls, tensor)

    @staticmethod
    def _make_subclass(kind: Any, data: Tensor, requires_grad: bool = False) -> Any:
        """A tensor of a subclass that shares the memory of ``data`` and is a leaf."""
        tensor = _new(kind)
        tensor._array = data._array
        tensor._form = None
        tensor._dtype = data._dtype
        tensor._device = data._device
        tensor._node = None
        tensor._grad = None
        tensor._version = data._version
        tensor._view = None
        if requires_grad:
            tensor.requires_grad_()
        return tensor

    # -- what it is --------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The sizes of the dimensions."""
        return (self._form or form_of(self)).shape

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of dimension ``dim``."""
        if dim is None:
            return self.shape
        shape = self._array.shape
        if not -len(shape) <= dim < len(shape):
            from flambeau.ops.spec import wrap_dim

            wrap_dim("size", dim, len(shape))
        return shape[dim]

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._array.shape)

    def dim(self) -> int:
        """The number of dimensions."""
        return len(self._array.shape)

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self._array.shape)

    nelement = numel

    @property
    def dtype(self) -> dtype:
        """The type of the elements."""
        return self._dtype

    @property
    def device(self) -> device:
        """Where the tensor lives."""
        where = self._device
        while where.depth:  # inside of vmap: nobody has to know
            where = where.below  # type: ignore[attr-defined]
        return where

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return self._dtype.itemsize

    def element_size(self) -> int:
        """Bytes an element."""
        return self._dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.numel() * self._dtype.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """The distance in memory between neighbours along each dimension, in elements."""
        strides = tuple(self._backend.strides(self._array))
        return strides if dim is None else strides[dim]

    def storage_offset(self) -> int:
        """The place of the first element in the memory that the tensor shares, in elements."""
        return self._backend.storage_offset(self._array)

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._backend.data_ptr(self._array)

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point one."""
        return self._dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is complex."""
        return self._dtype.is_complex

    def is_signed(self) -> bool:
        """Whether the dtype is signed."""
        return self._dtype.is_signed

    @property
    def is_cpu(self) -> bool:
        """Whether it lives on the CPU."""
        return self._device.type == "cpu"

    @property
    def is_cuda(self) -> bool:
        """Whether it lives on a CUDA device."""
        return self._device.type == "cuda"

    @property
    def is_meta(self) -> bool:
        """Whether it has a shape and a dtype but no data."""
        return self._device.type == "meta"

    # What no tensor of Flambeau is.
    is_sparse = is_sparse_csr = is_quantized = is_nested = is_mkldnn = False
    is_ipu = is_maia = is_mps = is_mtia = is_vulkan = is_xla = is_xpu = False

    def is_conj(self) -> bool:
        """Whether the elements are conjugated when they are read: never, conjugates are computed at once."""
        return False

    def is_neg(self) -> bool:
        """Whether the elements are negated when they are read: never."""
        return False

    def is_inference(self) -> bool:
        """Whether it was made in inference mode, which leaves no trace on tensors: False."""
        return False

    def is_distributed(self) -> bool:
        """Whether its parts live in several processes: False."""
        return False

    def is_coalesced(self) -> bool:
        """Whether a sparse tensor's entries are unique: False, it is dense."""
        return False

    def get_device(self) -> int:
        """The index of the device, -1 for the CPU."""
        return -1 if self._device.index is None else self._device.index

    @property
    def _backend(self) -> Any:
        return self._device.backend

    def __len__(self) -> int:
        shape = self._array.shape
        if not shape:
            raise TypeError("len() of a 0-d tensor")
        return int(shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        if not self._array.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter([self[i] for i in range(len(self))])

    def __reversed__(self) -> Tensor:
        return self.flip(0) if self._array.shape else self

    def __delitem__(self, index: Any) -> None:
        raise TypeError("Tensor does not support deleting items")

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        from flambeau.printing import tensor_repr

        return tensor_repr(self, tensor_contents=tensor_contents)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if not self._array.shape and spec else format(repr(self), spec)

    # -- values ------------------------------------------------------------------------------------------------------

    def item(self) -> Any:
        """The value of a tensor with one element as a Python number.

        Raises:
            RuntimeError: when there is not exactly one element.
        """
        if self._array.shape and self.numel() != 1:
            raise RuntimeError(
                f"item: a Tensor with {self.numel()} elements cannot be converted to Scalar; its shape is "
                f"{list(self._array.shape)}"
            )
        return self._backend.to_numpy(self._array).item()

    def tolist(self) -> Any:
        """The values as nested lists, or as a number when there are no dimensions."""
        return self._backend.to_numpy(self._array).tolist()

    def __bool__(self) -> bool:
        if self._array.shape and self.numel() != 1:
            raise RuntimeError(
                f"Boolean value of Tensor with {'no values' if self.numel() == 0 else 'more than one value'} is "
                "ambiguous; use .any() or .all()"
            )
        return bool(self.item())

    __nonzero__ = __bool__

    def __int__(self) -> int:
        return int(self.item())

    __long__ = __int__

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self._dtype.category > dtypes.INTEGER or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def numpy(self, *, force: bool = False) -> numpy.ndarray[Any, Any]:
        """The values as a ``numpy.ndarray`` that shares the tensor's memory (CPU only).

        Args:
            force: copy from another device and leave the gradient behind where needed.

        Raises:
            RuntimeError: when the tensor requires grad.
            TypeError: when it is not on the CPU.
        """
        if not force:
            if self._node is not None:
                raise RuntimeError(
                    "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
                )
            if self._device.type != "cpu":
                raise TypeError(
                    f"can't convert {self._device} tensor to numpy. Use Tensor.cpu() to copy it to the host first."
                )
        found: numpy.ndarray[Any, Any] = self._backend.to_numpy(self._array)
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.numpy()
        return numpy.array(array, dtype=dtype, copy=copy)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        from flambeau.conversion import from_numpy

        return from_numpy(numpy.asarray(array))

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        import flambeau

        return flambeau

    def __dlpack__(self, *, stream: Any = None, **options: Any) -> Any:
        if self._node is not None:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return self._backend.to_dlpack(self._array, stream=stream, **options)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The memory of a CUDA tensor in version 3 of the protocol of that name, for CuPy, Numba, PyTorch ...

        Raises:
            AttributeError: for tensors elsewhere, so that ``hasattr`` tells.
            RuntimeError: when the tensor requires grad.
            TypeError: for dtypes that the protocol has no name for (bfloat16, float8).
        """
        from flambeau.conversion import cuda_array_interface

        return cuda_array_interface(self)

    def __dlpack_device__(self) -> tuple[int, int]:
        place = self._backend.dlpack_device(self._array)
        if place is None:
            raise BufferError(f"__dlpack__: arrays of the device {str(self._device)!r} cannot be exported")
        return place

    # -- memory ------------------------------------------------------------------------------------------------------

    def _bump_version(self) -> None:
        """Note that the memory was written to."""
        cell = self._version
        if cell is None:
            self._version = [1]
        else:
            cell[0] += 1

    def detach(self) -> Tensor:
        """A tensor that shares the memory and takes no part in the history."""
        cell = self._version
        if cell is None:
            cell = self._version = [0]
        alias = wrap(self._array, self._dtype, self._device)
        alias._version = cell
        return alias

    def detach_(self) -> Tensor:
        """Cut the tensor off its history, in place."""
        if self._view is not None:
            raise RuntimeError("detach_: can't detach views in-place; use detach() instead")
        self._node = None
        return self

    @property
    def data(self) -> Tensor:
        """The tensor without its history and without the check for changes; assigning exchanges the memory."""
        return wrap(self._array, self._dtype, self._device)

    @data.setter
    def data(self, new: Tensor) -> None:
        if not isinstance(new, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(new).__name__}")
        if self._node is not None and new._dtype.category < FLOATING:
            raise RuntimeError(f"data: {new._dtype.name} tensors cannot require gradients, and this tensor does")
        self._array, self._dtype, self._device = new._array, new._dtype, new._device
        self._form = self._view = None

    def is_shared(self) -> bool:
        """Whether the memory is shared with other processes, by :meth:`share_memory_`."""
        from flambeau.shared_segment import segment_of

        return segment_of(self._array) is not None

    def share_memory_(self) -> Tensor:
        """Move the data of a CPU tensor into memory that other processes can share (``Tensor.share_memory_``).

        A process that receives the tensor, or is forked, sees what others write to it. Views that were made before
        keep the old memory. Tensors of other devices stay as they are.
        """
        from flambeau.shared_segment import segment_of, shared_copy

        if self._device.type == "cpu" and segment_of(self._array) is None:
            self._array = shared_copy(self._array)
        return self

    def as_subclass(self, cls: Any) -> Any:
        """A tensor of the subclass ``cls`` that shares memory and history."""
        if not issubclass(cls, Tensor):
            raise TypeError(f"as_subclass: cls must be a subclass of flambeau.Tensor, got {cls!r}")
        alias = self.detach()
        made = alias if cls is Tensor else Tensor._make_subclass(cls, alias)
        made._node, made._view = self._node, self._view
        return made

    def is_set_to(self, tensor: Tensor) -> bool:
        """Whether both look at the same memory in the same way."""
        return (
            self._device is tensor._device
            and self.shape == tensor.shape
            and self.data_ptr() == tensor.data_ptr()
            and self.stride() == tensor.stride()
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
                "moment; "
                "use tensor.detach().clone()"
            )
        copied = Tensor._make_subclass(type(self), self.detach().clone(), self._node is not None)
        memo[id(self)] = copied
        if self._grad is not None:
            copied._grad = self._grad.__deepcopy__(memo)
        if type(self) is not Tensor:
            import copy

            copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise RuntimeError("only leaf tensors can be pickled; use tensor.detach()")
        host = self._backend.to_numpy(self._array)
        arguments = (type(self), host, self._dtype, self._device, self._node is not None)
        state_ = dict(self.__dict__) if type(self) is not Tensor else None
        return _rebuild, arguments, state_ or None

    # -- gradients ---------------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on the tensor are recorded."""
        if self._view is not None:
            refresh(self)
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Make the tensor a leaf that requires a gradient, or none.

        Raises:
            RuntimeError: for an integer or bool tensor, and when the history of a result is to be switched off.
        """
        if not requires_grad:
            if not self.is_leaf:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable "
                    "in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            self._node = None
        elif self._node is None:
            if self._dtype.category < FLOATING:
                raise RuntimeError(
                    f"only Tensors of floating point and complex dtype can require gradients, this one is "
                    f"{self._dtype.name}"
                )
            self._view = None
            self._node = Leaf(self)
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user, not by a recorded operation."""
        if self._view is not None:
            refresh(self)
        return self._node is None or type(self._node) is Leaf

    @property
    def grad_fn(self) -> Any:
        """The recorded operation that made the tensor, or None."""
        if self.is_leaf:
            return None
        return self._node.node if type(self._node) is Slot else self._node

    @property
    def output_nr(self) -> int:
        """Which output of its operation the tensor is."""
        return self._node.index if type(self._node) is Slot else 0

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient of a leaf, None before the first backward pass."""
        if self._grad is None and self._node is not None and not self.is_leaf and not self.retains_grad:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
                "attribute won't "
                "be populated during autograd.backward(). If you indeed want it, use .retain_grad() on the Tensor.",
                UserWarning,
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad: expected a Tensor or None, got {type(value).__name__}")
            if value is self:
                raise RuntimeError("grad: can't assign Variable as its own grad")
            if value._array.shape != self._array.shape:
                raise RuntimeError(
                    f"grad: assigned grad has data of a different size: expected {list(self._array.shape)}, "
                    f"got {list(value._array.shape)}"
                )
            if value._dtype is not self._dtype or value._device is not self._device:
                raise RuntimeError(
                    f"grad: assigned grad is {value._dtype.name} on {value._device}, expected {self._dtype.name} on "
                    f"{self._device}"
                )
        self._grad = value

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | Tensor | None = None,
    ) -> None:
        """Accumulate the gradient of this tensor into the leaves' ``.grad`` (``torch.Tensor.backward``).

        Args:
            gradient: the gradient with respect to this tensor, of its shape; may be left out for one element.
            retain_graph: keep what was saved, so that a second pass is possible; as ``create_graph`` by default.
            create_graph: record the pass itself, for gradients of gradients.
            inputs: accumulate into these tensors only.
        """
        _engine().backward(self, gradient, retain_graph, create_graph, inputs)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call ``hook(grad)`` when the gradient of this tensor is known; what it returns takes the gradient's place."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        return RemovableHandle(extra_of(self._node).hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call ``hook(tensor)`` after ``.grad`` of this leaf has been added to."""
        if type(self._node) is not Leaf:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        return RemovableHandle(extra_of(self._node).post_hooks, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this result in ``.grad``, as for a leaf."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if not self.is_leaf:
            extra_of(self._node).retained = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        """Whether :meth:`retain_grad` was called on this result."""
        extra = getattr(self._node, "extra", None)
        return extra is not None and extra.retained is not None

    # -- odds and ends that are attributes in PyTorch ----------------------------------------------------------------

    @property
    def T(self) -> Tensor:
        """The tensor with its dimensions in reverse order."""
        return self.permute(*range(self.ndim - 1, -1, -1)) if self.ndim else self.view_as(self)

    @property
    def mT(self) -> Tensor:
        """The tensor with its last two dimensions exchanged."""
        return self.transpose(-2, -1)

    @property
    def H(self) -> Tensor:
        """The conjugate transpose of a matrix."""
        return self.t().conj()

    @property
    def mH(self) -> Tensor:
        """The conjugate transpose of the last two dimensions."""
        return self.transpose(-2, -1).conj()

    @property
    def real(self) -> Tensor:
        """The real parts, as a view; a real tensor itself."""
        from flambeau.ops.call import TENSORS

        return self if not self._dtype.is_complex else TENSORS.real(self)  # type: ignore[no-any-return]

    @property
    def imag(self) -> Tensor:
        """The imaginary parts, as a view.

        Raises:
            RuntimeError: for a real tensor.
        """
        from flambeau.ops.call import TENSORS

        return TENSORS.imag(self)  # type: ignore[no-any-return]

    @property
    def layout(self) -> Any:
        """Always ``flambeau.strided``."""
        from flambeau.layouts import strided

        return strided

    @property
    def name(self) -> None:
        """None: tensors have no names."""
        return None

    @property
    def grad_dtype(self) -> dtype:
        """The dtype of the gradient: the tensor's own."""
        return self._dtype


@cache
def _engine() -> Any:
    """The backward pass, which is made of tensors: it cannot be imported before them."""
    from flambeau.autograd import engine

    return engine


def _rebuild(cls: Any, host: Any, dtype: dtype, where: device, requires_grad: bool) -> Any:
    """What a pickled tensor is made from."""
    where = load(where)
    # Unpickled arrays are ours alone; a copy makes them writable and gives them a memory of their own.
    tensor = wrap(where.backend.from_numpy(numpy.array(host), where), dtype, where)  # type: ignore[union-attr]
    if cls is Tensor:
        return tensor.requires_grad_() if requires_grad else tensor
    return Tensor._make_subclass(cls, tensor, requires_grad)
