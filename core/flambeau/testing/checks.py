"""What the tests of the kit share: which cases they run over, how a sample is called and compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest

from flambeau.devices import device as device_class
from flambeau.dispatch import load
from flambeau.dtypes import FLOATING, dtype
from flambeau.ops.call import TENSORS, promote
from flambeau.tensor import Tensor
from flambeau.testing.comparison import from_host, host
from flambeau.testing.database import Case, Sample

#: ``(rtol, atol)`` by bytes of the real dtype; references are computed in double precision.
_TOLERANCES = {2: (6e-3, 6e-3), 4: (3e-5, 1e-5), 8: (1e-9, 1e-10)}


def over(
    select: Callable[[Case], bool] = lambda case: True,
    dtypes: Callable[[Case, frozenset[str]], tuple[str, ...]] = lambda case, held: case.dtypes,
    steps: bool = False,
) -> Any:
    """Run a test with the arguments ``case`` and ``kind`` over the cases that ``select`` takes.

    Args:
        dtypes: the names of the dtypes, from the case and what the device can hold.
        steps: also ops that return nothing.
    """
    return pytest.mark.over(select=lambda case: (steps or not case.steps) and select(case), dtypes=dtypes)


def held_dtypes(device: str) -> frozenset[str]:
    """The dtypes that a device can hold."""
    held: frozenset[str] = load(device_class(device)).backend.dtypes  # type: ignore[union-attr]
    return held


def for_gradients(case: Case, held: frozenset[str]) -> tuple[str, ...]:
    """Double precision where the device has it and it is not single precision that is asked for."""
    if not held & {"float64", "complex128"}:
        return ("float32",) if "float32" in case.dtypes else ()
    return tuple(name for name in ("float64", "complex128") if name in case.dtypes)


def call(case: Case, args: Any, kwargs: Any) -> Any:
    """Call the op as a user does."""
    if case.name == "as_strided":  # how its tensor lies in memory is added by the public function
        return args[0].as_strided(*args[1:], **kwargs)
    return getattr(TENSORS, case.name)(*args, **kwargs)


def raw_arguments(case: Case, args: Any, kwargs: Any) -> list[Any]:
    """The arguments as a kernel gets them, but as tensors."""
    values = case.op.bind(tuple(args), dict(kwargs))
    if (case.op.rule is not None and len(case.op.promoted) > 1) or case.op.rule == "float":
        promote(case.op, values)
    return values


def outputs_of(result: Any) -> list[Any]:
    """The results of a call as a list."""
    return list(result) if isinstance(result, (tuple, list)) else [result]


def fits(case: Case, given: Sample, result: Tensor) -> bool:
    """Whether the result can be written into the first argument."""
    first = given.args[0]
    return (
        isinstance(first, Tensor)
        and result.shape == first.shape
        and (result.dtype.category <= first.dtype.category or case.op.rule == "bool")
    )


def tolerance(kinds: list[dtype], loose: float) -> tuple[float, float]:
    """For results that depend on these dtypes."""
    sizes = [kind.to_real().itemsize for kind in kinds if kind.category >= FLOATING]
    if not sizes:
        return 0.0, 0.0
    rtol, atol = _TOLERANCES[min(sizes)]
    return rtol * loose, atol * loose


def check_close(case: Case, given: Sample, actual: Any, expected: Any, kind: dtype, what: str) -> None:
    """Fail, naming op and sample, unless the results agree in shape and values."""
    actual, expected = outputs_of(actual), outputs_of(expected)
    if len(actual) != len(expected):
        pytest.fail(f"{case.name}{given}: {len(actual)} results, {what} has {len(expected)}")
    for number, (own, other) in enumerate(zip(actual, expected, strict=True)):
        if other is None:
            continue
        place = f"{case.name}{given}" + (f", result {number}" if len(actual) > 1 else "")
        if own is None:
            pytest.fail(f"{place}: None, {what} is {other}")
        own_values, other_values = host(own), host(other)
        if own_values.shape != other_values.shape:
            pytest.fail(f"{place}: the shape is {list(own_values.shape)}, {what} has {list(other_values.shape)}")
        rtol, atol = (0.0, 0.0) if own.dtype.category < FLOATING else tolerance([own.dtype, kind], case.loose)
        with numpy.errstate(all="ignore"):
            close = numpy.isclose(own_values, other_values, max(rtol, given.rtol), atol, equal_nan=True)
        if not close.all():
            with numpy.errstate(all="ignore"):
                distance = numpy.where(close, 0, numpy.abs(_wide(own_values) - _wide(other_values)))
            worst_flat = int(numpy.argmax(numpy.nan_to_num(distance, nan=numpy.inf)))
            worst = tuple(int(i) for i in numpy.unravel_index(worst_flat, close.shape))
            pytest.fail(
                f"{place} differs from {what} in {int((~close).sum())} of {close.size} elements; at {list(worst)} it "
                f"is {own_values[worst]}, {what} {other_values[worst]}"
            )


def _wide(values: Any) -> Any:
    return values.astype(numpy.complex128 if values.dtype.kind == "c" else numpy.float64)


def mapped(function: Callable[[Tensor], Any], value: Any) -> Any:
    """An argument with ``function`` applied to its tensors."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, (list, tuple)):
        return type(value)([mapped(function, item) for item in value])
    return value


def on_arguments(function: Callable[[Tensor], Any], given: Sample) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a sample with ``function`` applied to the tensors."""
    args = [mapped(function, value) for value in given.args]
    return args, {name: mapped(function, value) for name, value in given.kwargs.items()}


def strided(tensor: Tensor) -> Tensor:
    """A tensor with the same values that is not contiguous: dimensions in reverse order, every second element."""
    if tensor.ndim == 0:
        return tensor
    order = tuple(reversed(range(tensor.ndim)))
    spread = numpy.repeat(host(tensor), 2, axis=-1).transpose(order)
    view = TENSORS.permute(from_host(spread, tensor.dtype, tensor.device), order)
    result: Tensor = TENSORS.slice(view, tensor.ndim - 1, 0, 2 * tensor.shape[-1], 2)
    return result


class Differentiated:
    """A sample as a function of its floating-point tensors, for gradcheck."""

    def __init__(self, case: Case, given: Sample) -> None:
        self.case, self.given = case, given
        self.inputs: list[Tensor] = []
        names = case.op.names
        named = [*zip(names, given.args, strict=False), *given.kwargs.items()]
        for name, value in named:
            if name not in case.constant:
                mapped(self._collect, value)

    def _collect(self, tensor: Tensor) -> Tensor:
        if tensor.dtype.category >= FLOATING and not any(tensor is own for own in self.inputs):
            self.inputs.append(tensor)
        return tensor

    def leaves(self) -> list[Tensor]:
        return [tensor.detach().clone().requires_grad_() for tensor in self.inputs]

    def __call__(self, *values: Tensor) -> tuple[Tensor, ...]:
        def replaced(tensor: Tensor) -> Tensor:
            for own, value in zip(self.inputs, values, strict=True):
                if own is tensor:
                    return value
            # What the op may write into is not to be seen by the next call.
            return tensor.clone()

        args, kwargs = on_arguments(replaced, self.given)
        results = outputs_of(call(self.case, args, kwargs))
        return tuple(r for r in results if isinstance(r, Tensor) and r.dtype.category >= FLOATING)

    @property
    def size(self) -> int:
        return sum(tensor.numel() for tensor in self.inputs)
