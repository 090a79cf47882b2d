"""Data types, their limits, and PyTorch's type promotion.

A :class:`dtype` is a name, a category and the NumPy type that holds it on the host. Two dtypes are the same
object or different types; they are never compared by value.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy

# Promotion goes by category first: an operand of a lower category never widens one of a higher category. STORED are
# the floats of 8 bits, which are stored and cast and not computed with.
STORED, BOOL, INTEGER, FLOATING, COMPLEX = range(-1, 4)


class dtype:
    """The type of a tensor's elements (``torch.dtype``).

    Attributes:
        name: ``"float32"``, ``"int64"``, ...
        numpy: the ``numpy.dtype`` of the host array, or None where an optional package (ml_dtypes) is missing.
        itemsize: bytes an element.
        category: BOOL, INTEGER, FLOATING, COMPLEX or STORED.
    """

    __slots__ = ("_numpy", "category", "is_complex", "is_floating_point", "is_signed", "itemsize", "name")

    def __init__(self, name: str, category: int, itemsize: int, numpy_type: Any, signed: bool = True) -> None:
        self.name = name
        self.category = category
        self.itemsize = itemsize
        self._numpy = None if numpy_type is None else numpy.dtype(numpy_type)
        self.is_floating_point = category in (FLOATING, STORED)
        self.is_complex = category == COMPLEX
        self.is_signed = signed

    @property
    def numpy(self) -> numpy.dtype[Any]:
        """The ``numpy.dtype`` of the same type.

        Raises:
            ImportError: for ``bfloat16`` and floats of 8 bits where ml_dtypes is not installed.
        """
        if self._numpy is None:
            self._numpy = _load_from_ml_dtypes(self)
        return self._numpy

    def to_real(self) -> dtype:
        """The dtype of the real part (``complex64`` -> ``float32``); itself for real types."""
        return _REAL_OF.get(self, self)

    def to_complex(self) -> dtype:
        """The complex dtype with this precision (``float32`` -> ``complex64``)."""
        return complex128 if self in (float64, complex128) else complex64

    def __repr__(self) -> str:
        return f"flambeau.{self.name}"

    def __reduce__(self) -> str:
        # Pickled by name, so that the object stays the same object on the other side.
        return "bool_" if self.category == BOOL else self.name

    def __copy__(self) -> dtype:
        return self

    def __deepcopy__(self, memo: object) -> dtype:
        return self


def _load_from_ml_dtypes(own: dtype) -> numpy.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError(
            f"flambeau.{own.name} on the host needs the package ml_dtypes: pip install 'flambeau[bfloat16]'"
        ) from None
    found = numpy.dtype(getattr(ml_dtypes, own.name))
    _FROM_NUMPY[found] = own
    return found


bool_ = dtype("bool", BOOL, 1, numpy.bool_, signed=False)
uint8 = dtype("uint8", INTEGER, 1, numpy.uint8, signed=False)
int8 = dtype("int8", INTEGER, 1, numpy.int8)
int16 = dtype("int16", INTEGER, 2, numpy.int16)
int32 = dtype("int32", INTEGER, 4, numpy.int32)
int64 = dtype("int64", INTEGER, 8, numpy.int64)
float16 = dtype("float16", FLOATING, 2, numpy.float16)
bfloat16 = dtype("bfloat16", FLOATING, 2, None)
float32 = dtype("float32", FLOATING, 4, numpy.float32)
float64 = dtype("float64", FLOATING, 8, numpy.float64)
complex64 = dtype("complex64", COMPLEX, 8, numpy.complex64)
complex128 = dtype("complex128", COMPLEX, 16, numpy.complex128)
# Stored, cast and saved; operations on them are few, as in PyTorch.
uint16 = dtype("uint16", INTEGER, 2, numpy.uint16, signed=False)
uint32 = dtype("uint32", INTEGER, 4, numpy.uint32, signed=False)
uint64 = dtype("uint64", INTEGER, 8, numpy.uint64, signed=False)
float8_e4m3fn = dtype("float8_e4m3fn", STORED, 1, None)
float8_e4m3fnuz = dtype("float8_e4m3fnuz", STORED, 1, None)
float8_e5m2 = dtype("float8_e5m2", STORED, 1, None)
float8_e5m2fnuz = dtype("float8_e5m2fnuz", STORED, 1, None)

DTYPES: dict[str, dtype] = {
    d.name: d
    for d in (
        bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64, complex64, complex128,
        uint16, uint32, uint64, float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz,
    )
}  # fmt: skip

#: What NumPy has no type for, so that ml_dtypes has to give it.
FROM_ML_DTYPES = frozenset(d.name for d in DTYPES.values() if d._numpy is None)
_WIDE_UNSIGNED = (uint16, uint32, uint64)
#: What every backend is expected to hold.
USUAL = frozenset(DTYPES) - FROM_ML_DTYPES - {d.name for d in _WIDE_UNSIGNED}

_REAL_OF = {complex64: float32, complex128: float64}
_FROM_NUMPY: dict[Any, dtype] = {d._numpy: d for d in DTYPES.values() if d._numpy is not None}
_FROM_PYTHON: dict[type, dtype] = {builtins.bool: bool_, int: int64, float: float32, complex: complex64}


def from_numpy_dtype(numpy_dtype: Any) -> dtype:
    """The dtype of a ``numpy.dtype``.

    Raises:
        TypeError: when no tensor can hold it (strings, objects, structured types ...).
    """
    found = _FROM_NUMPY.get(numpy_dtype)
    if found is None:
        numpy_dtype = numpy.dtype(numpy_dtype)
        if numpy_dtype.name in FROM_ML_DTYPES:
            found = _FROM_NUMPY[numpy_dtype] = DTYPES[numpy_dtype.name]
            return found
        found = _FROM_NUMPY.get(numpy_dtype.newbyteorder("="))
        if found is None:
            raise TypeError(
                f"can't convert a numpy array of type {numpy_dtype} to a tensor; "
                f"the supported types are: {', '.join(DTYPES)}"
            )
    return found


_default_dtype = float32


def get_default_dtype() -> dtype:
    """The dtype of Python floats and of factory functions (``torch.get_default_dtype``)."""
    return _default_dtype


def set_default_dtype(d: dtype) -> None:
    """Make ``d`` the dtype of Python floats and of factory functions (``torch.set_default_dtype``).

    Raises:
        TypeError: when ``d`` is not a floating-point dtype.
    """
    global _default_dtype
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"set_default_dtype: only floating-point types are supported as the default type, got {d!r}")
    _default_dtype = d
    _FROM_PYTHON[float] = d
    _FROM_PYTHON[complex] = d.to_complex()


def scalar_dtype(value: Any) -> dtype:
    """The dtype of a tensor made from a Python or NumPy scalar."""
    found = _FROM_PYTHON.get(type(value))
    return found if found is not None else from_numpy_dtype(numpy.asarray(value).dtype)


# -- promotion -----------------------------------------------------------------------------------------------------


class _Promoted(dict[tuple[dtype, dtype], dtype]):
    """The common dtypes of pairs; the pairs that are not there have none."""

    def __missing__(self, pair: tuple[dtype, dtype]) -> dtype:
        a, b = pair
        kinds = "8-bit floats" if STORED in (a.category, b.category) else "uint16, uint32 and uint64"
        raise RuntimeError(
            f"promotion for {kinds} is not supported, attempted to promote {a.name} and {b.name}; cast one with .to()"
        )


_PROMOTED = _Promoted()


def _promote(a: dtype, b: dtype) -> dtype | None:
    if a is b:
        return a
    if STORED in (a.category, b.category):
        return None
    if a in _WIDE_UNSIGNED or b in _WIDE_UNSIGNED:
        return a if a.is_floating_point else b if b.is_floating_point else None
    if a.category > b.category:
        a, b = b, a
    if a.category < b.category:
        return b.to_complex() if b.is_complex and a is float64 else b
    if a.category == FLOATING and a.itemsize == b.itemsize:
        return float32  # float16 with bfloat16
    if a.category == INTEGER and a.is_signed != b.is_signed:
        signed, unsigned = (a, b) if a.is_signed else (b, a)
        if signed.itemsize > unsigned.itemsize:
            return signed
        return int16  # uint8 with int8
    return a if a.itemsize > b.itemsize else b


for _a in DTYPES.values():
    for _b in DTYPES.values():
        _common = complex128 if {_a, _b} == {float64, complex64} else _promote(_a, _b)
        if _common is not None:
            _PROMOTED[_a, _b] = _common


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype to which both can be cast (``torch.promote_types``)."""
    return _PROMOTED[type1, type2]


def can_cast(from_: dtype, to: dtype) -> builtins.bool:
    """Whether casting ``from_`` to ``to`` keeps the category (``torch.can_cast``)."""
    return from_.category <= to.category


def result_dtype(operands: Any) -> dtype:
    """PyTorch's result type of tensors and Python scalars.

    Tensors with dimensions come before 0-dim tensors, and these before Python numbers: an operand of a lower rank
    takes part only when its category is higher.

    Args:
        operands: an iterable of tensors and Python numbers.
    """
    dimensioned = zero_dim = number = None
    for operand in operands:
        own = getattr(operand, "_dtype", None)
        if own is None:
            own = scalar_dtype(operand)
            number = own if number is None else _PROMOTED[number, own]
        elif operand.ndim == 0:
            zero_dim = own if zero_dim is None else _PROMOTED[zero_dim, own]
        else:
            dimensioned = own if dimensioned is None else _PROMOTED[dimensioned, own]
    result = dimensioned
    for lower in (zero_dim, number):
        if lower is not None and (result is None or lower.category > result.category > STORED):
            # A complex operand of lower rank takes the precision of the real tensor that it meets.
            if result is not None and lower.is_complex and result.is_floating_point:
                result = result.to_complex()
            else:
                result = lower
    if result is None:
        raise TypeError("result_type: at least one operand is needed")
    return result


def cast_number(value: Any, target: dtype) -> Any:
    """A Python number as a Python number of the type of ``target``; integers wrap around, as in a cast of arrays."""
    if target.category == INTEGER:
        bits = target.itemsize * 8
        low = -(1 << (bits - 1)) if target.is_signed else 0
        return (int(value) - low) % (1 << bits) + low
    if target.is_floating_point:
        return float(value)
    return builtins.bool(value) if target is bool_ else complex(value)


# -- limits --------------------------------------------------------------------------------------------------------


# eps, max, tiny, resolution. The floats of 8 bits after Micikevicius et al., "FP8 formats for deep learning" (2022),
# and the variants with one zero and one NaN after Noune et al., "8-bit numerical formats for deep neural networks"
# (2022).
_LIMITS = {
    bfloat16: (2.0**-7, (2.0 - 2.0**-7) * 2.0**127, 2.0**-126, 0.01),
    float8_e4m3fn: (2.0**-3, 1.75 * 2.0**8, 2.0**-6, 1.0),
    float8_e4m3fnuz: (2.0**-3, 1.875 * 2.0**7, 2.0**-7, 1.0),
    float8_e5m2: (2.0**-2, 1.75 * 2.0**15, 2.0**-14, 1.0),
    float8_e5m2fnuz: (2.0**-2, 1.75 * 2.0**15, 2.0**-15, 1.0),
}


class finfo:
    """Limits of a floating-point dtype (``torch.finfo``): bits, eps, max, min, tiny, smallest_normal, resolution."""

    def __init__(self, type: dtype | None = None) -> None:
        d = _default_dtype if type is None else type
        if not d.is_floating_point and not d.is_complex:
            raise TypeError(f"finfo: expected a floating-point dtype, got {d!r}; use flambeau.iinfo")
        if d.to_real() in _LIMITS:
            values = _LIMITS[d.to_real()]
        else:
            info = numpy.finfo(d.to_real().numpy)
            values = (float(info.eps), float(info.max), float(info.tiny), float(info.resolution))
        self.bits = d.to_real().itemsize * 8
        self.eps, self.max, self.tiny, self.resolution = values
        self.min = -self.max
        self.smallest_normal = self.tiny
        self.dtype = d.to_real().name

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype (``torch.iinfo``): bits, min, max."""

    def __init__(self, type: dtype) -> None:
        if type.category != INTEGER:
            raise TypeError(f"iinfo: expected an integer dtype, got {type!r}; use flambeau.finfo for floats")
        info = numpy.iinfo(type.numpy)
        self.bits, self.min, self.max, self.dtype = type.itemsize * 8, int(info.min), int(info.max), type.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
