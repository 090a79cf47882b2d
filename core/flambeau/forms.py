"""Shapes: what they are to programs (:class:`Size`), and the one object for each that is in use (:class:`Form`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flambeau.dtypes import dtype
from flambeau.ops.spec import Spec

if TYPE_CHECKING:
    from flambeau.tensor import Tensor


class Size(tuple[int, ...]):
    """The shape of a tensor (``torch.Size``): a tuple of ints that knows :meth:`numel`."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements of a tensor of this shape."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"flambeau.Size({list(self)})"

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found

    def __add__(self, other: Any) -> Size:
        return Size(tuple.__add__(self, tuple(other)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Size, (tuple(self),)


#: Elements from which on a call may cost 0.1 µs more, to choose how it is computed.
LARGE = 1 << 18


class Form:
    """A shape that is in use, one object for each: operands of one shape are known by it at a glance.

    Attributes:
        shape: the sizes of the dimensions.
        is_large: whether there are :data:`LARGE` elements or more.
        specs: the shape with a dtype, for those that have been asked for.
    """

    __slots__ = ("is_large", "shape", "specs")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = Size(shape)
        self.is_large = math.prod(shape) >= LARGE
        self.specs: dict[dtype, Spec] = {}

    def spec(self, kind: dtype) -> Spec:
        """The shape with a dtype: what the tape keeps of an array of which only that matters."""
        found = self.specs.get(kind)
        if found is None:
            found = self.specs[kind] = Spec(self.shape, kind)
        return found


_forms: dict[tuple[int, ...], Form] = {}
_LIMIT = 4096


def form_of(tensor: Tensor) -> Form:
    """The form of a tensor, which keeps it."""
    form = tensor._form
    if form is None:
        shape = tensor._array.shape
        form = _forms.get(shape)
        if form is None:
            if len(_forms) >= _LIMIT:
                _forms.clear()  # two forms of one shape do no harm
            form = _forms[shape] = Form(shape)
        tensor._form = form
    return form
