"""Kernels that reduce dimensions: sums, products, extremes, and running sums.

``dim`` is a tuple of non-negative dimensions. Sums of 16-bit floats are made in float32. Where there are few results,
rows are cut into parts, whose results a second pass brings together, always in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cupy
import numpy

from flambeau.dtypes import from_numpy_dtype
from flambeau_cupy.elements import accumulated, compute, own_dtype
from flambeau_cupy.maps import Number
from flambeau_cupy.rows import row_plan, run_rows

Array = Any
DType = Any
Shape = tuple[int, ...]

_INT64 = numpy.dtype(numpy.int64)

# Threads that keep a device busy, and the fewest elements that are worth a part.
_BUSY = 1 << 16
_PART = 512

#: By the reduction's name: what it starts from, and how two values are joined (an ``operator()`` of two A).
_KINDS = {
    "sum": ("0", "a + b"),
    "prod": ("1", "a * b"),
    "amax": ("{lowest}", "larger(a, b)"),
    "amin": ("{highest}", "smaller(a, b)"),
    "all": ("true", "a && b"),
    "any": ("false", "a || b"),
}
_JOIN = "struct Join {{ template <class A> __device__ A operator()(A a, A b) const {{ return {joined}; }} }};"
_BODY = (
    "{A} total = {start}; Join join; EACH(j) {{ {reads} total = join(total, ({A})({value})); }} "
    "total = together(total, join); if (t == 0) {{ {finish} }}"
)


def reduced(
    name: str,
    value: str,
    inputs: Sequence[Array],
    dim: Shape,
    keepdim: bool,
    kind: Any,
    result: Any = None,
    shape: Shape | None = None,
    finish: str = "total",
    numbers: Sequence[Number] = (),
) -> Array:
    """Reduce the C++ expression ``value`` of the elements ``a0``, ``a1`` ... of arrays that broadcast to ``shape``.

    Args:
        name: the reduction, ``"sum"``, ``"prod"``, ``"amax"``, ``"amin"``, ``"all"`` or ``"any"``.
        kind: the NumPy dtype in which values are joined. result: that of the result, by default the same.
        finish: the C++ expression of ``total`` that is written.
    """
    if shape is None:
        shape = inputs[0].shape
    kept = tuple([1 if d in dim else n for d, n in enumerate(shape)])
    found = cupy.empty(kept if keepdim else [n for d, n in enumerate(shape) if d not in dim], result or kind)
    out = found.reshape(kept)
    parts = _parts(shape, inputs, dim)
    if parts > 1:
        partial = cupy.empty((*kept, parts), kind)
        _reduce(name, kind, value, partial[..., 0], inputs, dim, shape, "store(q0, y0 + part, total);", numbers, parts)
        value, inputs, dim, shape, out = "a0", [partial], (len(shape),), partial.shape, out[..., None]
    _reduce(name, kind, value, out, inputs, dim, shape, f"OUT0(0, {finish});", numbers)
    return found


def _parts(shape: Shape, inputs: Sequence[Array], dim: Shape) -> int:
    plan = row_plan(shape, inputs, dim)
    threads = plan.count * plan.threads
    return 1 if not threads else max(1, min(_BUSY // threads, plan.width // (_PART if plan.threads > 1 else 32)))


def _reduce(
    name: str,
    kind: Any,
    value: str,
    out: Array,
    inputs: Sequence[Array],
    dim: Shape,
    shape: Shape,
    finish: str,
    numbers: Sequence[Number],
    parts: int = 1,
) -> None:
    own = from_numpy_dtype(kind)
    start, joined = _KINDS[name]
    lowest, highest = _limits(kind)
    reads = " ".join([f"{compute(own_dtype(a))} a{i} = IN{i}(j);" for i, a in enumerate(inputs)])
    body = _BODY.format(
        A=compute(own), start=start.format(lowest=lowest, highest=highest), reads=reads, value=value, finish=finish
    )
    run_rows(name, body, [out], inputs, dim, numbers, _JOIN.format(joined=joined), shape=shape, parts=parts)


def _limits(kind: Any) -> tuple[str, str]:
    """The smallest and the largest number of a dtype as C++ expressions."""
    if kind.kind in "fV":
        return "-INF", "INF"
    if kind.kind == "b":
        return "false", "true"
    if kind.kind not in "iu":
        return "0", "0"
    limits = numpy.iinfo(kind)
    suffix = "ull" if kind.kind == "u" else "ll"
    return (f"(-{limits.max}ll - 1)" if limits.min else "0"), f"{limits.max}{suffix}"


# -- sums ----------------------------------------------------------------------------------------------------------


def _summed(input: Array, dtype: DType) -> tuple[Any, Any]:
    """In which dtypes a sum or product is made and given."""
    if dtype is not None:
        result = dtype.numpy
    else:
        result = _INT64 if input.dtype.kind in "biu" else input.dtype
    return (numpy.dtype(numpy.float32) if result.char in "eE" else result), result


def sum(input: Array, dim: Shape, keepdim: bool = False, dtype: DType = None) -> Array:
    """The sum over ``dim``; of bools and integers in int64 unless ``dtype`` says otherwise."""
    kind, result = _summed(input, dtype)
    return reduced("sum", _cast(input, kind), [input], dim, keepdim, kind, result)


def prod(input: Array, dim: Shape, keepdim: bool = False, dtype: DType = None) -> Array:
    """The product over ``dim``; of bools and integers in int64 unless ``dtype`` says otherwise."""
    kind, result = _summed(input, dtype)
    return reduced("prod", _cast(input, kind), [input], dim, keepdim, kind, result)


def _cast(input: Array, kind: Any) -> str:
    """The element ``a0`` on its way into ``kind``: a complex number leaves its imaginary part behind."""
    return "a0.x" if input.dtype.kind == "c" and kind.kind != "c" else "a0"


def mean(input: Array, dim: Shape, keepdim: bool = False, dtype: DType = None) -> Array:
    """The mean over ``dim``; NaN of nothing.

    Raises:
        RuntimeError: for bools and integers without a floating-point ``dtype``.
    """
    if dtype is None and input.dtype.kind in "biu":
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {input.dtype}"
        )
    kind, result = _summed(input, dtype)
    count = 1
    for d in dim:
        count *= input.shape[d]
    real = compute(from_numpy_dtype(kind).to_real())
    return reduced(
        "sum", _cast(input, kind), [input], dim, keepdim, kind, result, finish="total / n0", numbers=[(real, count)]
    )  # fmt: skip


# -- extremes and truth --------------------------------------------------------------------------------------------


def _extreme(name: str) -> Callable[..., Array]:
    def extreme(input: Array, dim: Shape, keepdim: bool = False) -> Array:
        return reduced(name, "a0", [input], dim, keepdim, accumulated(input), input.dtype)

    extreme.__name__ = name
    extreme.__doc__ = f"``{name}`` over ``dim``: NaN where there is one."
    return extreme


def _truth(name: str) -> Callable[..., Array]:
    def truth(input: Array, dim: Shape, keepdim: bool = False) -> Array:
        result = numpy.dtype(numpy.uint8 if input.dtype.char == "B" else bool)
        return reduced(name, "a0 != 0", [input], dim, keepdim, numpy.dtype(bool), result)

    truth.__name__ = name
    truth.__doc__ = f"Whether {name} of the elements along ``dim`` are true; a bool, of uint8 a uint8."
    return truth


# A thread keeps the best of its elements and where it was, then the threads' bests are compared; of equal elements the
# first wins, and NaN wins over all.
_BETTER = """
struct Best {{ {V} value; long long at; }};
static __device__ Best exchanged(Best b, int step) {{
    Best other;
    other.value = exchanged(b.value, step);
    other.at = exchanged(b.at, step);
    return other;
}}
struct Join {{ __device__ Best operator()(Best a, Best b) const {{
    if (b.at < 0) return a;
    if (a.at < 0) return b;
    bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan || b_nan) return a_nan && b_nan ? (a.at < b.at ? a : b) : a_nan ? a : b;
    if (a.value == b.value) return a.at < b.at ? a : b;
    return b.value {better} a.value ? b : a;
}} }};
"""
_WHERE = (
    "Best best; best.at = -1; best.value = 0; Join join; "
    "EACH(j) { Best own; own.value = IN0(j); own.at = j; best = join(best, own); } "
    "best = together(best, join); if (t == 0) OUT0(0, best.at);"
)


def _extreme_position(name: str, better: str) -> Callable[..., Array]:
    def position(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
        shape = input.shape
        dims = tuple(range(len(shape))) if dim is None else (dim,) if shape else ()
        kept = [1 if d in dims else n for d, n in enumerate(shape)]
        found = cupy.empty(kept if keepdim else [n for d, n in enumerate(shape) if d not in dims], numpy.int64)
        functions = _BETTER.format(V=compute(own_dtype(input)), better=better)
        run_rows(name, _WHERE, [found.reshape(kept)], [input], dims, functions=functions)
        return found

    position.__name__ = name
    position.__doc__ = f"``numpy.{name}``: the first of equal elements, or the first NaN."
    return position


# -- running -------------------------------------------------------------------------------------------------------


def _running(name: str) -> Callable[..., Array]:
    accumulate = getattr(cupy, name)

    def running(input: Array, dim: int, dtype: DType = None) -> Array:
        kind, result = _summed(input, dtype)
        if input.dtype.kind == "c" and kind.kind != "c":
            input = input.real
        if input.shape == ():
            return input.astype(result)
        return accumulate(input.astype(kind, copy=False), dim, kind).astype(result, copy=False)

    running.__name__ = name
    running.__doc__ = f"``cupy.{name}``; of bools and integers in int64."
    return running


KERNELS: dict[str, Callable[..., Any]] = {
    "sum": sum,
    "mean": mean,
    "prod": prod,
    "amax": _extreme("amax"),
    "amin": _extreme("amin"),
    "all": _truth("all"),
    "any": _truth("any"),
    "argmax": _extreme_position("argmax", ">"),
    "argmin": _extreme_position("argmin", "<"),
    "cumsum": _running("cumsum"),
    "cumprod": _running("cumprod"),
}
