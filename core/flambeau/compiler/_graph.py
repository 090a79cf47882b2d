"""What a recording consists of: kernel calls in the order in which they ran, and the arrays that went between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


class Value:
    """A raw array of the recording.

    Attributes:
        number: counts the values of a recording.
        root: a number for the memory; values with the same root may overlap.
        source: where it comes from when no call made it: ``("array", array)`` from outside, ``("argument", name)``,
            ``("grad", tensor)``, ``("cotangent", number)``, ``("constant", array)`` that nobody else knows; None for
            the result of a call.
        shape, dtype, backend: of the array.
        nbytes: the size of its elements, not of the memory that it may look into.
        dense: whether its elements lie one after the other.
        owns: whether it is dense and fills memory of its own.
    """

    __slots__ = ("backend", "dense", "dtype", "nbytes", "number", "owns", "root", "shape", "source")

    def __init__(self, number: int, root: int, source: tuple[str, Any] | None, array: Any, backend: Any) -> None:
        self.number = number
        self.root = root
        self.source = source
        self.shape = tuple(array.shape)
        self.dtype = backend.dtype_of(array)
        self.backend = backend
        size = self.dtype.itemsize
        for length in self.shape:
            size *= length
        self.nbytes = size
        self.dense = tuple(backend.strides(array)) == dense_strides(self.shape)
        self.owns = self.dense and not backend.is_shared(array)

    def __repr__(self) -> str:
        return f"v{self.number}"


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in elements, of an array without gaps."""
    strides = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


class Call:
    """One kernel call.

    Attributes:
        name: the kernel's, with an underscore at the end for an in-place form; what else happens in a replay has a name
            in angle brackets.
        kernel: the function.
        args, keywords: as it was called, with a :class:`Value` for each array and a
            :class:`~flambeau.compiler._live.Expression` for each number that is read anew in every replay.
        results: a Value or None for each result.
        several: whether the results come as a tuple.
        writes: the values whose memory the call changes.
        pure: whether it does nothing beside giving results.
    """

    __slots__ = ("args", "backend", "kernel", "keywords", "name", "pure", "results", "several", "writes")

    def __init__(
        self,
        name: str,
        kernel: Callable[..., Any],
        args: tuple[Any, ...],
        keywords: dict[str, Any],
        results: tuple[Value | None, ...],
        several: bool,
        writes: tuple[Value, ...],
        pure: bool,
        backend: Any,
    ) -> None:
        self.name = name
        self.kernel = kernel
        self.args = args
        self.keywords = keywords
        self.results = results
        self.several = several
        self.writes = writes
        self.pure = pure
        self.backend = backend

    def reads(self) -> Iterator[Value]:
        """The values among the arguments."""
        yield from values_in(self.args)
        if self.keywords:
            yield from values_in(tuple(self.keywords.values()))

    def __repr__(self) -> str:
        results = ", ".join("_" if value is None else repr(value) for value in self.results) or "-"
        return f"{results} = {self.name}{self.args}"


def values_in(tree: Any) -> Iterator[Value]:
    """The values in nested tuples and lists."""
    for item in tree:
        if item.__class__ is Value:
            yield item
        elif item.__class__ is tuple or item.__class__ is list:
            yield from values_in(item)


def replaced(tree: Any, by: dict[Value, Value]) -> Any:
    """Nested tuples and lists with some values replaced by others."""
    if tree.__class__ is Value:
        return by.get(tree, tree)
    if tree.__class__ is tuple or tree.__class__ is list:
        return tree.__class__([replaced(item, by) for item in tree])
    return tree
