"""Comparing tensors (``torch.testing.assert_close``) and making random ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from flambeau.devices import device as device_class
from flambeau.dispatch import load
from flambeau.dtypes import BOOL, COMPLEX, FLOATING, bfloat16, complex64, complex128, dtype, float16, float32, float64
from flambeau.tensor import Tensor, wrap

#: ``(rtol, atol)`` that :func:`assert_close` uses where nothing is given; integers and bools have to be equal.
TOLERANCES: dict[dtype, tuple[float, float]] = {
    float16: (1e-3, 1e-5),
    bfloat16: (1.6e-2, 1e-5),
    float32: (1.3e-6, 1e-5),
    float64: (1e-7, 1e-7),
    complex64: (1.3e-6, 1e-5),
    complex128: (1e-7, 1e-7),
}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise AssertionError unless ``|actual - expected| <= atol + rtol * |expected|`` everywhere
    (``torch.testing.assert_close``).

    Args:
        actual, expected: tensors, arrays or numbers; sequences and mappings of them are compared item by item.
        allow_subclasses: whether a subclass of Tensor may be compared with a Tensor.
        rtol, atol: given together or not at all; the defaults follow from the dtypes.
        equal_nan: take NaN for equal to NaN.
        check_device, check_dtype, check_stride: whether these have to agree too.
        check_layout: accepted; every tensor is dense.
        msg: the message of the error, or a function of the usual message.
    """
    if (rtol is None) != (atol is None):
        raise ValueError(
            f"assert_close: rtol and atol must both be specified or both be unspecified, got {rtol=}, {atol=}"
        )
    options = _Options(rtol, atol, equal_nan, check_device, check_dtype, check_stride, allow_subclasses)
    problem = _difference(actual, expected, "", options)
    if problem is not None:
        raise AssertionError(problem if msg is None else msg(problem) if callable(msg) else msg)


class _Options:
    def __init__(
        self,
        rtol: float | None,
        atol: float | None,
        equal_nan: bool,
        device: bool,
        dtype: bool,
        stride: bool,
        sub: bool,
    ) -> None:
        self.rtol, self.atol, self.equal_nan = rtol, atol, equal_nan
        self.device, self.dtype, self.stride, self.subclasses = device, dtype, stride, sub


def _difference(actual: Any, expected: Any, where: str, options: _Options) -> str | None:
    """What is different, in words, or None."""
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if set(actual) != set(expected):
            return f"The keys of the mappings do not match{where}: {sorted(actual)} and {sorted(expected)}"
        pairs: Any = [(key, actual[key], expected[key]) for key in actual]
    elif _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            return f"The length of the sequences do not match{where}: {len(actual)} != {len(expected)}"
        pairs = [(i, actual[i], expected[i]) for i in range(len(actual))]
    elif actual is None or expected is None:
        return None if actual is expected else f"None and not None{where}: {actual!r} and {expected!r}"
    else:
        return _compare(actual, expected, where, options)
    for key, one, other in pairs:
        problem = _difference(one, other, f"{where or ' at item '}[{key!r}]", options)
        if problem is not None:
            return problem
    return None


def _is_sequence(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def host(value: Any) -> Any:
    """The values as a ``numpy.ndarray``."""
    return value.detach().numpy(force=True) if isinstance(value, Tensor) else numpy.asarray(value)


def _compare(actual: Any, expected: Any, where: str, options: _Options) -> str | None:
    if not options.subclasses and type(actual) is not type(expected):
        return f"The types do not match{where}: {type(actual).__name__} and {type(expected).__name__}"
    both_tensors = isinstance(actual, Tensor) and isinstance(expected, Tensor)
    if tuple(numpy.shape(actual) if not isinstance(actual, Tensor) else actual.shape) != tuple(
        numpy.shape(expected) if not isinstance(expected, Tensor) else expected.shape
    ):
        own = [list(v.shape) if hasattr(v, "shape") else [] for v in (actual, expected)]
        return f"The values for attribute 'shape' do not match{where}: {own[0]} != {own[1]}."
    if both_tensors:
        if options.device and actual.device is not expected.device:
            return f"The values for attribute 'device' do not match{where}: {actual.device} != {expected.device}."
        if options.dtype and actual.dtype is not expected.dtype:
            return f"The values for attribute 'dtype' do not match{where}: {actual.dtype} != {expected.dtype}."
        if options.stride and actual.stride() != expected.stride():
            return f"The values for attribute 'stride()' do not match{where}: {actual.stride()} != {expected.stride()}."
    rtol, atol = _tolerance(actual, expected, options)
    return _mismatch(host(actual), host(expected), where, rtol, atol, options.equal_nan)


def _tolerance(actual: Any, expected: Any, options: _Options) -> tuple[float, float]:
    if options.rtol is not None and options.atol is not None:
        return options.rtol, options.atol
    if not isinstance(actual, Tensor) and not isinstance(expected, Tensor):
        floating = numpy.asarray(actual).dtype.kind in "fc" or numpy.asarray(expected).dtype.kind in "fc"
        return TOLERANCES[float64] if floating else (0.0, 0.0)
    found = [TOLERANCES.get(value.dtype, (0.0, 0.0)) for value in (actual, expected) if isinstance(value, Tensor)]
    return max(rtol for rtol, _ in found), max(atol for _, atol in found)


def _mismatch(actual: Any, expected: Any, where: str, rtol: float, atol: float, equal_nan: bool) -> str | None:
    if actual.size == 0:
        return None
    wide = numpy.complex128 if "c" in (actual.dtype.kind, expected.dtype.kind) else numpy.float64
    exact = rtol == 0 and atol == 0
    if exact or (actual.dtype.kind in "biu" and expected.dtype.kind in "biu"):
        close = (actual == expected) | ((actual != actual) & (expected != expected) & equal_nan)
    else:
        with numpy.errstate(all="ignore"):
            close = numpy.isclose(actual.astype(wide), expected.astype(wide), rtol=rtol, atol=atol, equal_nan=equal_nan)
    if close.all():
        return None
    with numpy.errstate(all="ignore"):
        distance = numpy.abs(actual.astype(wide) - expected.astype(wide))
        relative = distance / numpy.abs(expected.astype(wide))
    wrong = numpy.where(close, -1.0, numpy.where(numpy.isnan(distance), numpy.inf, distance))
    worst = tuple(int(i) for i in numpy.unravel_index(int(numpy.argmax(wrong)), wrong.shape))
    if actual.ndim == 0:
        return (
            f"Scalars are not close{where}!\n\nExpected {expected} but got {actual}.\nAbsolute difference: {distance} "
            f"(up to {atol} allowed)\nRelative difference: {relative} (up to {rtol} allowed)"
        )
    count = int((~close).sum())
    return (
        f"Tensor-likes are not close{where}!\n\n"
        f"Mismatched elements: {count} / {close.size} ({count / close.size:.1%})\n"
        f"Greatest absolute difference: {distance[worst]} at index {worst} (up to {atol} allowed): expected "
        f"{expected[worst]} but got {actual[worst]}\n"
        f"Relative difference there: {relative[worst]} (up to {rtol} allowed)"
    )


# -- random tensors --------------------------------------------------------------------------------------------------


def from_host(array: Any, kind: dtype, device: Any) -> Tensor:
    """A tensor of a dtype on a device with the values of a ``numpy.ndarray``."""
    where = load(device_class(device))
    cast = numpy.array(array).astype(kind.numpy, order="C")
    return wrap(where.backend.from_numpy(cast, where), kind, where)  # type: ignore[union-attr]


def make_tensor(
    *shape: Any,
    dtype: dtype,
    device: Any,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of random values, uniform in [low, high), for tests (``torch.testing.make_tensor``).

    The defaults are [-9, 9) for floating and complex dtypes, [-9, 10) for signed and [0, 10) for unsigned integers.
    The numbers come from ``numpy.random``'s global state.

    Args:
        shape: ints, or one sequence of them.
        noncontiguous: every second element along the last dimension of a larger tensor.
        exclude_zero: replace zeros by the smallest positive number.
    """
    size = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    if noncontiguous and size:
        size = (*size[:-1], 2 * size[-1])
    first = low if low is not None else (-9 if dtype.is_signed else 0)
    last = high if high is not None else (9 if dtype.category >= FLOATING else 10)
    if dtype.category == BOOL:
        values: Any = numpy.random.randint(0, 2, size)
    elif dtype.category < FLOATING:
        values = numpy.random.randint(int(first), int(last), size)
    else:
        values = numpy.random.uniform(first, last, size)
        if dtype.category == COMPLEX:
            values = values + 1j * numpy.random.uniform(first, last, size)
    if exclude_zero:
        smallest = 1 if dtype.category < FLOATING else float(numpy.finfo(dtype.to_real().numpy).tiny)
        values = numpy.where(values == 0, smallest, values)
    tensor = from_host(values, dtype, device)
    if noncontiguous and size:
        tensor = tensor[..., ::2]
    return tensor.requires_grad_() if requires_grad else tensor
