"""What is refused: the type of the exception is PyTorch's, the message names the op.

The first tests follow from the declarations, for every op; the last one takes the calls of ``samples/errors.py``.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from flambeau.devices import device as device_class
from flambeau.dtypes import dtype, float32
from flambeau.ops.call import TENSORS
from flambeau.ops.declare import REQUIRED
from flambeau.tensor import Tensor
from flambeau.testing.checks import over
from flambeau.testing.database import REFUSALS, Case, Maker, Sample

_DIMS = ("Dim", "Dims", "SomeDims")


def one_dtype(case: Case, held: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name in ("float32", "int64", "bool", "complex64") if name in case.dtypes and name in held)[:1]


def check_refused(case: Case, error: type[Exception], args: Any, kwargs: Any, says: str = "") -> None:
    """Fail unless the call raises this very type, with a message that names the op and says the rest."""
    try:
        getattr(TENSORS, case.name)(*args, **kwargs)
        for tensor in args:
            if isinstance(tensor, Tensor):  # a device may find out while it works
                tensor.device.backend.synchronize(tensor.device)  # type: ignore[union-attr]
    except Exception as raised:
        text = str(raised)
        if type(raised) is not error and not (isinstance(raised, error) and error is not RuntimeError):
            pytest.fail(f"{case.name}: {type(raised).__name__} ({text}), where {error.__name__} is right")
        # By its own name, or by one of the public functions that it is the inner part of.
        stem = re.sub(r"^native_|_(along|of|at)$|^linalg_", "", case.name)
        if stem not in text or says not in text:
            pytest.fail(f"{case.name}: the message should name the op{f' and say {says!r}' if says else ''}: {text}")
    else:
        pytest.fail(f"{case.name}{Sample(tuple(args), kwargs, False, 0.0)} is not refused")


def _first_sample(case: Case, kind: dtype, device: str) -> Sample:
    return next(given for given in case.samples(device, kind))


@over(lambda case: not case.op.inline and any(p.default is REQUIRED for p in case.op.parameters), one_dtype)
def test_a_missing_argument_is_named(case: Case, kind: dtype, device: str) -> None:
    first = next(p.name for p in case.op.parameters if p.default is REQUIRED)
    check_refused(case, TypeError, (), {}, f"'{first}'" if case.op.positional else "")


@over(lambda case: not case.op.inline and case.op.parameters[0].annotation == "Tensor", one_dtype)
def test_what_is_no_tensor_is_refused(case: Case, kind: dtype, device: str) -> None:
    given = _first_sample(case, kind, device)
    check_refused(case, TypeError, ("three", *given.args[1:]), given.kwargs, f"'{case.op.names[0]}' must be Tensor")


@over(lambda case: case.op.positional > 0 and not case.op.variant, one_dtype)
def test_an_unknown_keyword_is_refused(case: Case, kind: dtype, device: str) -> None:
    given = _first_sample(case, kind, device)
    check_refused(case, TypeError, given.args, {**given.kwargs, "flavour": 1}, "'flavour'")


@over(lambda case: any(p.annotation in _DIMS for p in case.op.parameters), one_dtype)
def test_a_dim_out_of_range_is_refused(case: Case, kind: dtype, device: str) -> None:
    place = next(i for i, p in enumerate(case.op.parameters) if p.annotation in _DIMS)
    name = case.op.names[place]
    given = next(s for s in case.samples(device, kind) if isinstance(s.args[0], Tensor))
    args, kwargs = list(given.args), dict(given.kwargs)
    if place < len(args):
        args[place] = 99
    else:
        kwargs[name] = 99
    check_refused(case, IndexError, args, kwargs, "Dimension out of range")


def _pair(case: Case) -> bool:
    annotated = [p.annotation for p in case.op.parameters]
    return case.op.pointwise and case.op.promoted[:2] in ((0, 1), (1, 2)) and annotated[1].startswith("Tensor")


@over(lambda case: _pair(case) and (case.op.primitive or bool(case.op.public)), one_dtype)
def test_shapes_that_do_not_broadcast_are_refused(case: Case, kind: dtype, device: str) -> None:
    given = _first_sample(case, kind, device)
    make = Maker(kind, device_class(device), 0)
    args = [make(2, 3) if i in case.op.promoted[:1] else a for i, a in enumerate(given.args)]
    args[case.op.promoted[1]] = make(2, 4)
    others = [i for i in case.op.tensor_positions if i not in case.op.promoted[:2]]
    for i in others:
        if i < len(args) and isinstance(args[i], Tensor):
            args[i] = TENSORS.new_full(args[i], (2, 3), 0)
    check_refused(case, RuntimeError, args, given.kwargs, "[2, 4]")


@over(lambda case: _pair(case) and not case.op.inline, one_dtype)
def test_tensors_on_two_devices_are_refused(case: Case, kind: dtype, device: str) -> None:
    given = _first_sample(case, kind, device)
    args = list(given.args)
    make = Maker(kind, device_class(device), 0)
    args[case.op.promoted[0]] = make(2, 3)
    args[case.op.promoted[1]] = make(2, 3).to("meta")
    for i in case.op.tensor_positions:
        if i not in case.op.promoted[:2] and i < len(args) and isinstance(args[i], Tensor):
            args[i] = TENSORS.new_full(args[i], (2, 3), 0)
    check_refused(case, RuntimeError, args, given.kwargs, "at least two devices")


@over(lambda case: case.name in REFUSALS, one_dtype)
def test_what_the_op_refuses(case: Case, kind: dtype, device: str) -> None:
    for refused in REFUSALS[case.name](Maker(float32, device_class(device), 0)):
        check_refused(case, refused.error, refused.args, refused.kwargs, refused.says)
