"""Samples of the optimizers' steps, which return nothing: what they leave in their arguments is compared."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy

from flambeau.testing.database import Maker, Sample, case, sample

SHAPES = ((3,), (2, 2), ())


def _list(make: Maker, **bounds: float) -> list[Any]:
    return [make(*shape, **bounds) for shape in SHAPES]


_HALF_TOO = ("float64", "float32", "float16", "bfloat16", "complex64", "complex128")


def _norm_of_all(tensors: list[Any], ord: float = 2) -> Any:
    together = numpy.concatenate([numpy.abs(tensor).reshape(-1) for tensor in tensors])
    kind = numpy.float64 if together.dtype == numpy.float64 else numpy.float32
    return numpy.asarray(numpy.linalg.norm(together.astype(numpy.float64), ord)).astype(kind)


@case("total_norm", _norm_of_all, dtypes=_HALF_TOO, gradients=False)
def _(make: Maker) -> Iterator[Sample]:
    for ord in (2, 1, math.inf, 3.5):
        yield sample(_list(make), ord)
    yield sample([make(300, 70), make(0), make(4, 3).transpose(0, 1)])


@case("clip_to_norm", None, mutates=("tensors",), steps=True, dtypes=_HALF_TOO)
def _(make: Maker) -> Iterator[Sample]:
    kind = make.real if make.dtype.itemsize >= 4 else make.of("float32")
    for norm in (4.0, 0.5, math.nan):
        yield sample([*_list(make), make(4, 3).transpose(0, 1)], kind.values(norm), 1.5)


@case("sgd_step", None, mutates=("params", "momentum_buffers"), steps=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(_list(make), _list(make), [], 0.1, 0.0, 0.0, 0.0, False, False, False)
    yield sample(_list(make), _list(make), _list(make), 0.1, 0.9, 0.0, 0.01, False, False, True)
    yield sample(_list(make), _list(make), _list(make), 0.1, 0.9, 0.1, 0.0, True, True, False)


@case("adam_step", None, mutates=("params", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs"), steps=True)
def _(make: Maker) -> Iterator[Sample]:
    for amsgrad, maximize, decoupled in ((False, False, False), (True, False, True), (False, True, True)):
        squares = _list(make, low=0.1, high=1)
        largest = _list(make, low=0.1, high=1) if amsgrad else []
        yield sample(
            _list(make), _list(make), _list(make), squares, largest, [1.0, 2.0, 3.0], 0.01, 0.9, 0.999, 1e-8, 0.1,
            amsgrad, maximize, decoupled,
        )  # fmt: skip


def _positive(make: Maker) -> list[Any]:
    return _list(make, low=0.1, high=1)


@case("adamax_step", None, mutates=("params", "exp_avgs", "exp_infs"), steps=True)
def _(make: Maker) -> Iterator[Sample]:
    for maximize in (False, True):
        yield sample(
            _list(make),
            _list(make),
            _list(make),
            _positive(make),
            [1.0, 2.0, 3.0],
            0.01,
            0.9,
            0.999,
            1e-8,
            0.1,
            maximize,
        )


@case("nadam_step", None, mutates=("params", "exp_avgs", "exp_avg_sqs"), steps=True)
def _(make: Maker) -> Iterator[Sample]:
    for decoupled, maximize in ((False, False), (True, True)):
        yield sample(
            _list(make), _list(make), _list(make), _positive(make), [1.0, 2.0, 3.0], [0.9, 0.8, 0.7], 0.01, 0.9, 0.999,
            1e-8, 0.1, 0.004, decoupled, maximize,
        )  # fmt: skip


@case("radam_step", None, mutates=("params", "exp_avgs", "exp_avg_sqs"), steps=True)
def _(make: Maker) -> Iterator[Sample]:
    for decoupled, maximize in ((False, False), (True, True)):
        yield sample(
            _list(make), _list(make), _list(make), _positive(make), [1.0, 6.0, 9.0], 0.01, 0.9, 0.999, 1e-8, 0.1,
            decoupled, maximize,
        )  # fmt: skip


@case("adadelta_step", None, mutates=("params", "square_avgs", "acc_deltas"), steps=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(_list(make), _list(make), _positive(make), _positive(make), 1.0, 0.9, 1e-6, 0.1, False)


@case("adagrad_step", None, mutates=("params", "sums"), steps=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(_list(make), _list(make), _positive(make), [1.0, 2.0, 3.0], 0.1, 0.01, 1e-10, 0.1, True)


@case("asgd_step", None, mutates=("params", "axs"), steps=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(_list(make), _list(make), _list(make), [0.1, 0.2, 0.3], [1.0, 0.5, 0.2], 1e-4, 0.1, False)


@case("rmsprop_step", None, mutates=("params", "square_avgs", "momentum_buffers", "grad_avgs"), steps=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(_list(make), _list(make), _positive(make), [], [], 0.01, 0.9, 1e-8, 0.1, 0.0, False)
    small = _list(make, low=-0.1, high=0.1)
    yield sample(_list(make), _list(make), _positive(make), _list(make), small, 0.01, 0.9, 1e-8, 0.0, 0.9, True)


@case("rprop_step", None, mutates=("params", "prevs", "step_sizes"), steps=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(_list(make), _list(make), _list(make), _positive(make), 0.5, 1.2, 1e-6, 50.0, False)


@case(
    "adafactor_step",
    None,
    mutates=("params", "row_vars", "col_vars", "variances"),
    steps=True,
    dtypes=("float64", "float32"),
)
def _(make: Maker) -> Iterator[Sample]:
    tail = (0.01, -0.8, 1e-30, 1e-3, 1.0, 0.1, False)
    rows, columns = [make(3, 1, low=0.1, high=1)], [make(1, 4, low=0.1, high=1)]
    yield sample([make(3, 4)], [make(3, 4)], rows, columns, [], [2.0], *tail)
    yield sample([make(3)], [make(3)], [], [], [make(3, low=0.1, high=1)], [2.0], *tail)


@case("muon_step", None, mutates=("params", "momentum_buffers"), steps=True, loose=10)
def _(make: Maker) -> Iterator[Sample]:
    for nesterov, match in ((True, False), (False, True)):
        yield sample(
            [make(3, 4)],
            [make(3, 4)],
            [make(3, 4)],
            0.01,
            0.1,
            0.95,
            nesterov,
            (3.4445, -4.775, 2.0315),
            5,
            1e-7,
            match,
        )


@case("lbfgs_direction", None, gradients=False)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(make(4), [make(4), make(4)], [make(4), make(4)], [make(), make()], make())
    yield sample(make(4), [], [], [], make())


@case(
    "unscale_gradients",
    lambda grads, inverse_scale: numpy.array(not all(numpy.isfinite(grad).all() for grad in grads)),
    mutates=("grads",),
)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(_list(make), 0.5)
    yield sample([make(3), make.values([1.0, math.inf])], 0.5)


@case("average_step", None, mutates=("averages",), steps=True)
def _(make: Maker) -> Iterator[Sample]:
    yield sample(_list(make), _list(make), 0.25)
