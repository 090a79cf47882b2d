"""Python numbers as 0-dim arrays: a ufunc takes 0.3 µs to make one of a number, each time it is called with it."""

from __future__ import annotations

from math import copysign
from typing import Any

import numpy

Array = Any

#: Programs spell out so many numbers at most, or draw them from somewhere, so that there is no use in keeping them.
_LIMIT = 4096

# By dtype, then by number. Other dtypes promote with a number, or refuse it, in ways of their own.
_KNOWN: dict[Any, dict[Any, Array]] = {numpy.dtype(name): {} for name in ("f4", "f8")}


def constant(value: Any, dtype: Any) -> Any:
    """A float or an int as a read-only 0-dim array of ``dtype``, float32 or float64; for other dtypes itself.

    Raises:
        OverflowError: for an int that is too large for any floating-point number.
    """
    try:
        if value or copysign(1.0, value) > 0.0:  # -0.0 is equal to 0.0
            return _KNOWN[dtype][value]
        return numpy.array(value, dtype) if dtype in _KNOWN else value
    except KeyError:
        return _added(value, dtype)


def _added(value: Any, dtype: Any) -> Any:
    known = _KNOWN.get(dtype)
    if known is None:
        return value
    found = numpy.array(value, dtype)
    found.flags.writeable = False
    if len(known) >= _LIMIT:
        known.clear()
    known[value] = found
    return found
