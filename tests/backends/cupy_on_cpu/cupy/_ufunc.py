"""CuPy's ufuncs: NumPy's functions with CuPy's loops, which ``ufuncs.tsv`` lists as the real CuPy has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy

from ._array import ndarray, unwrapped

_RANK = {bool: 0, int: 1, float: 2, complex: 3}
_KINDS = {"b": 0, "i": 1, "u": 1, "f": 2, "V": 2, "c": 3}


def _dtype(char: str) -> Any:
    if char == "E":
        import ml_dtypes

        return numpy.dtype(ml_dtypes.bfloat16)
    return numpy.dtype(char)


class ufunc:
    """See ``cupy.ufunc``."""

    def __init__(self, name: str, loops: list[str]) -> None:
        self.__name__ = name
        self.types = loops
        self.nin = len(loops[0].split("->")[0])
        self._function = getattr(numpy, name)

    def __call__(self, *args: Any, out: Any = None, dtype: Any = None) -> ndarray:
        if len(args) == self.nin + 1:
            *args, out = args  # type: ignore[assignment]
        if len(args) != self.nin or dtype is not None:
            raise TypeError(f"{self.__name__} takes {self.nin} arguments, {len(args)} given")
        operands = [unwrapped(value) for value in args]
        inputs, result = self._loop(operands)
        with numpy.errstate(all="ignore"):
            cast = [numpy.asarray(operand).astype(kind) for operand, kind in zip(operands, inputs, strict=True)]
            found = self._computed(cast).astype(result, copy=False)
        if out is None:
            return ndarray._of(found)
        if not numpy.can_cast(result, out.dtype, "same_kind"):
            raise TypeError(f"output (typecode '{result.char}') could not be coerced to provided output parameter")
        if numpy.broadcast_shapes(found.shape, out.shape) != out.shape:
            raise ValueError(f"output parameter with shape {out.shape} does not match {found.shape}")
        unwrapped(out)[...] = found
        return out

    def _computed(self, operands: list[Any]) -> Any:
        if self.__name__ == "power" and operands[0].dtype.kind in "iu":
            base, exponent = operands
            odd = 1 - 2 * (exponent & 1)
            negative = numpy.where(base == 1, 1, numpy.where(base == -1, odd, 0))
            return numpy.where(exponent < 0, negative, numpy.power(base, numpy.maximum(exponent, 0)))
        return numpy.asarray(self._function(*operands))

    def _loop(self, operands: list[Any]) -> tuple[list[Any], Any]:
        """The first loop that all operands can be cast to safely; Python's numbers only have a kind."""
        for types in self.types:
            inputs, result = types.split("->")
            kinds = [_dtype(char) for char in inputs]
            if all(self._takes(kind, operand) for kind, operand in zip(kinds, operands, strict=True)):
                return kinds, _dtype(result)
        raise TypeError(f"Wrong type ({[type(o) for o in operands]}) of arguments for {self.__name__}")

    def _takes(self, kind: Any, operand: Any) -> bool:
        if isinstance(operand, (numpy.ndarray, numpy.generic)):
            return bool(numpy.can_cast(operand.dtype, kind, "safe"))
        return _RANK[type(operand)] <= _KINDS[kind.kind]


def load() -> dict[str, ufunc]:
    """Every ufunc of the list."""
    lines = (Path(__file__).parent / "ufuncs.tsv").read_text().splitlines()
    return {name: ufunc(name, loops.split()) for name, loops in (line.split("\t") for line in lines)}
