"""Levels: the devices on which :func:`~flambeau.func.vmap` computes.

One call of ``vmap`` makes one level, a device whose raw arrays (:class:`Mapped`) have the shape of a single example and
hold the whole batch, its dimension in front. Its kernels, one an op, are the batching rules of
:mod:`flambeau.levels.rules`: each calls the kernel of the device below once, over the batch. So everything that works
on a device works on a level: recording, the backward pass over raw arrays, views, decompositions. Nested calls are
levels over levels, and code outside of ``vmap`` never hears of it.

A call that has ended lives on in what it recorded. When its tape is gone through inside of another call, arrays are of
both levels; which of them is below then does not matter, as batches are independent dimensions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from flambeau.autograd.grad_mode import state
from flambeau.autograd.node import record, version_cell
from flambeau.devices import device
from flambeau.dispatch import Backend, Namespace, load
from flambeau.dtypes import DTYPES, dtype
from flambeau.ops.call import TENSORS
from flambeau.ops.declare import OPS
from flambeau.tensor import Tensor, refresh, wrap


class Mapped:
    """A raw array of a level: an array of the device below, seen as one example.

    Attributes:
        value: the array below, with the batch as its first dimension where ``mapped``.
        mapped: whether the examples differ; otherwise ``value`` is what all of them have.
        level: whose array it is.
        shape: the shape of one example.
    """

    __slots__ = ("level", "mapped", "shape", "value")

    def __init__(self, value: Any, mapped: bool, level: Level) -> None:
        self.value = value
        self.mapped = mapped
        self.level = level
        self.shape = tuple(value.shape[1:]) if mapped else tuple(value.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)


_serial = itertools.count().__next__


class Level(device):
    """The device of one call of ``vmap``; ``Tensor.device`` says the device at the bottom instead.

    Attributes:
        below: the device that the batch lives on, itself a level where calls are nested.
        origin: the level that the call made; it is another one than this where it lies over other levels by now.
        size: how many examples there are.
        depth: how many levels there are from here down.
        randomness: ``"error"``, ``"different"`` or ``"same"``.
        serial: counts the calls.
        elsewhere: of an origin, the same level over other devices, by their identity.
    """

    __slots__ = ("below", "depth", "elsewhere", "origin", "randomness", "serial", "size")

    below: device
    origin: Level
    size: int
    depth: int
    randomness: str
    serial: int
    elsewhere: dict[int, Level]

    def __new__(cls, below: device, size: int, randomness: str) -> Level:
        made = object.__new__(cls)
        load(below)
        made.type, made.index, made._name = below.type, below.index, below._name
        made.below, made.size, made.randomness = below, size, randomness
        made.depth = below.depth + 1
        made.origin, made.serial = made, _serial()
        made.elsewhere = {}
        made.backend = MAPPED
        made.xp, made.table = kernels()
        made.bare = made.table
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return bottom(self).__reduce__()

    def over(self, below: device) -> Level:
        """This call's level over another device."""
        origin = self.origin
        if origin.below is below:
            return origin
        found: Level | None = origin.elsewhere.get(id(below))
        if found is None:
            found = origin.elsewhere[id(below)] = Level(below, origin.size, origin.randomness)
            found.origin, found.serial = origin, origin.serial
        return found

    def hold(self, value: Any, mapped: bool) -> Mapped:
        """A raw array of this level around one of the device below."""
        below = self.below.backend
        if value.__class__ is not below.array_type:  # type: ignore[union-attr]
            value = below.as_array(value)  # type: ignore[union-attr]
        return Mapped(value, mapped, self)

    def whole(self, array: Any) -> Any:
        """The array below with the batch as its first dimension, repeated where the examples do not differ."""
        if array.mapped:
            return array.value
        expanded: Any = self.below.xp.expand(array.value, (self.size, *array.shape))
        return expanded

    # -- what the ops of `flambeau.ops.mapping` do; `self` is the level of a call, wherever it lies ----------------

    def entered(self, array: Any, dim: int) -> Any:
        value, batches = _unwrapped(array)
        where = _device_of(array, bottom(self))
        at = len(batches) + dim
        if at:
            value = bottom(where).xp.permute(value, (at, *[d for d in range(len(value.shape)) if d != at]))
        return _wrapped(value, [self.origin, *batches], _on(where, (self,)))

    def left(self, array: Any, dim: int) -> Any:
        value, batches = _unwrapped(array)
        where = array.level
        xp = bottom(where).xp
        if self.origin not in batches:
            value = xp.clone(xp.expand(value, (self.size, *value.shape)))
            batches = [self.origin, *batches]
        own = batches.index(self.origin)
        if own < len(batches) - 1 or dim:
            order = [d for d in range(len(value.shape)) if d != own]
            order.insert(len(batches) - 1 + dim, own)
            value = xp.permute(value, tuple(order))
        del batches[own]
        return _wrapped(value, batches, _off(where, (self,)))

    def added(self, array: Any, levels: Iterable[Level]) -> Any:
        value, batches = _unwrapped(array)
        return _wrapped(value, batches, _on(_device_of(array, bottom(self)), levels))

    def summed(self, array: Any, levels: Iterable[Level]) -> Any:
        value, batches = _unwrapped(array)
        where = array.level
        xp = bottom(where).xp
        gone = {level.origin for level in levels}
        dims = tuple([d for d, level in enumerate(batches) if level in gone])
        if dims:
            value = xp.sum(value, dims, False)
        for level in gone:
            if level not in batches:
                value = xp.mul(value, level.size)
        return _wrapped(value, [level for level in batches if level not in gone], _off(where, levels))


def bottom(where: device) -> device:
    """The device below all levels."""
    while where.depth:
        where = where.below  # type: ignore[attr-defined]
    return where


def chain(where: device) -> list[Level]:
    """The levels of a device as the calls of ``vmap`` made them, from below."""
    found: list[Level] = []
    while where.depth:
        found.append(where.origin)  # type: ignore[attr-defined]
        where = where.below  # type: ignore[attr-defined]
    return found[::-1]


def _stacked(base: device, levels: Iterable[Level]) -> device:
    for level in levels:
        base = level.over(base)
    return base


def _on(where: device, levels: Iterable[Level]) -> device:
    """The device with more levels, in the order of the calls."""
    origins = {level.origin.serial: level.origin for level in (*chain(where), *levels)}
    return _stacked(bottom(where), [origins[serial] for serial in sorted(origins)])


def _off(where: device, levels: Iterable[Level]) -> device:
    gone = {level.serial for level in levels}
    return _stacked(bottom(where), [level for level in chain(where) if level.serial not in gone])


def _device_of(array: Any, otherwise: device) -> device:
    return array.level if array.__class__ is Mapped else otherwise


def _unwrapped(array: Any) -> tuple[Any, list[Level]]:
    """The array at the bottom, and the levels whose batches its first dimensions are."""
    batches: list[Level] = []
    while array.__class__ is Mapped:
        if array.mapped:
            batches.append(array.level.origin)
        array = array.value
    return array, batches[::-1]


def _wrapped(value: Any, batches: list[Level], where: device) -> Any:
    """The array of ``where`` around one at the bottom whose first dimensions are the batches of these levels."""
    levels = chain(where)
    order = [batches.index(level) for level in levels if level in batches]
    if order != sorted(order):
        value = bottom(where).xp.permute(value, (*order, *range(len(order), len(value.shape))))
    base = bottom(where)
    for level in levels:
        base = level.over(base)
        value = base.hold(value, level in batches)
    return value


# -- kernels ---------------------------------------------------------------------------------------------------------


class _MappedBackend(Backend):
    """Backend of all levels."""

    name = "vmap"
    array_type = Mapped
    dtypes = frozenset(DTYPES)
    sums_in_place = False  # the sum of a shared and a mapped gradient is mapped

    def dtype_of(self, array: Mapped) -> dtype:
        return array.level.below.backend.dtype_of(array.value)  # type: ignore[union-attr]

    def device_of(self, array: Mapped) -> device:
        return array.level

    def from_numpy(self, array: Any, device: device) -> Mapped:
        where: Any = device
        return where.hold(where.below.backend.from_numpy(array, where.below), False)

    def to_numpy(self, array: Mapped) -> Any:
        if array.mapped:
            raise RuntimeError(
                "vmap: the values of a mapped tensor differ from example to example, so there is no one value for "
                ".item(), .tolist(), .numpy() or data-dependent control flow (if, while); compute with tensors "
                "instead, for example with flambeau.where"
            )
        return array.level.below.backend.to_numpy(array.value)  # type: ignore[union-attr]

    def strides(self, array: Mapped) -> tuple[int, ...]:
        own = tuple(array.level.below.backend.strides(array.value))  # type: ignore[union-attr]
        return own[1:] if array.mapped else own

    def storage_offset(self, array: Mapped) -> int:
        return array.level.below.backend.storage_offset(array.value)  # type: ignore[union-attr]

    def data_ptr(self, array: Mapped) -> int:
        return array.level.below.backend.data_ptr(array.value)  # type: ignore[union-attr]


MAPPED = _MappedBackend()

_xp = Namespace()
_table: list[Callable[..., Any]] = []


def kernels() -> tuple[Namespace, list[Callable[..., Any]]]:
    """The namespace and the table of all levels, made anew when ops have been declared since."""
    if len(_table) != len(OPS):
        from flambeau.levels.rules import kernel_of

        _xp.__dict__.update(dtype_of=MAPPED.dtype_of, device_of=MAPPED.device_of, backend=MAPPED)
        del _table[:]
        for op in OPS.values():
            _xp.__dict__[op.name] = kernel = kernel_of(op, _xp)
            if op.inplace:
                _xp.__dict__[op.name + "_"] = _in_place(op, kernel)
            _table.append(kernel)
    return _xp, _table


def _in_place(op: Any, kernel: Callable[..., Any]) -> Callable[..., Any]:
    body = op.inplace_body
    if body is not None:
        return lambda target, *args: body(_xp, target, *args)
    return lambda target, *args: _xp.assign(target, kernel(target, *args))


# -- tensors between levels ------------------------------------------------------------------------------------------


def _crossed(name: str, input: Tensor, *attributes: Any) -> Tensor:
    if input._view is not None:
        refresh(input)
    op = OPS[name]
    array = op.body(None, input._array, *attributes)
    output = wrap(array, input._dtype, _device_of(array, bottom(input._device)))
    if input._node is not None and state.enabled:
        record(op, [input, *attributes], output)
    return output


def enter(input: Tensor, dim: int, level: Level) -> Tensor:
    """``input`` on ``level``, with ``dim`` as the batch; a view, so what is written in place is seen outside."""
    entered = _crossed("enter_level", input, dim, level)
    entered._version = version_cell(input)
    return entered


def leave(input: Tensor, dim: int, level: Level) -> Tensor:
    """``input`` off ``level``, with the batch as ``dim``."""
    return _crossed("leave_level", input, dim, level)


def share(input: Tensor, where: device) -> Tensor:
    """``input`` on the levels of ``where`` as well, the same for every example there.

    Raises:
        RuntimeError: when they live on different devices at the bottom; as elsewhere, a 0-dim CPU tensor goes along.
    """
    if _goes_along(input):
        input = input.to(bottom(where))
    if bottom(input._device) is not bottom(where):
        raise RuntimeError(
            f"vmap: expected all tensors to be on the same device, but found {input._device} and {where}"
        )
    own = chain(input._device)
    missing = tuple([level for level in chain(where) if level not in own])
    return _crossed("add_levels", input, missing) if missing else input


def _goes_along(tensor: Tensor) -> bool:
    """Whether it is a 0-dim CPU tensor outside of all levels, which mixes with tensors of any device."""
    own = tensor._device
    return own.type == "cpu" and not own.depth and tensor.ndim == 0


def together(tensors: list[Tensor]) -> device:
    """The device with the levels of all the tensors."""
    where = next((tensor._device for tensor in tensors if not _goes_along(tensor)), tensors[0]._device)
    for tensor in tensors:
        if tensor._device is not where:
            where = _on(where, chain(tensor._device))
    return _on(where, ())


def differs(tensor: Tensor, level: Level) -> bool:
    """Whether a tensor differs between the examples of ``level``."""
    return level in _unwrapped(tensor._array)[1]


def refuse_deeper(what: str, target: Tensor, value: Tensor) -> None:
    """Refuse to write what is mapped on a level into a tensor from outside of it."""
    if set(chain(value._device)) - set(chain(target._device)):
        raise written_to_shared(what)


def written_to_shared(what: str) -> RuntimeError:
    """The error of writing what differs from example to example into what all of them share."""
    return RuntimeError(
        f"vmap: {what} is not possible, since it would write values that differ from example to example into a tensor "
        "that all examples share (one that is not mapped over). Use the operation that is not in place; in place of "
        "x = flambeau.zeros(n), make the tensor from a mapped one, as in y.new_zeros(n)"
    )


TENSORS.enter_level = enter
TENSORS.leave_level = leave
TENSORS.add_levels = lambda input, levels: _crossed("add_levels", input, levels)
TENSORS.sum_levels = lambda input, levels: _crossed("sum_levels", input, levels)
