"""The sample database: for each op inputs to try, and what NumPy makes of them.

    @case("flip", numpy.flip, dtypes=ALL)
    def _(make):
        yield sample(make(2, 3), (0,))
        yield sample(make(2, 0, 3), (0, 2))

A case's function is a generator over a :class:`Maker`; it gives the same samples each time it is run, on any device and
in any dtype. All tests of the kit draw from here; a new op needs nothing else to be tested.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy

from flambeau.devices import device as device_class
from flambeau.dispatch import load
from flambeau.dtypes import BOOL, COMPLEX, DTYPES, FLOATING, dtype
from flambeau.ops.declare import OPS, Op
from flambeau.ops.mapping import CROSSING
from flambeau.tensor import Tensor
from flambeau.testing.comparison import from_host
from flambeau.testing.samples import THEMES

FLOATS = ("float32", "float64")
HALF = ("float16",)
COMPLEXES = ("complex64", "complex128")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
REAL = (*FLOATS, *INTEGERS)
NUMBERS = (*REAL, *COMPLEXES)
ALL = (*NUMBERS, "bool")


class Sample:
    """The arguments of one call.

    Attributes:
        smooth: whether gradients are checked there.
        rtol: a relative tolerance larger than usual, where the computation loses digits.
    """

    __slots__ = ("args", "kwargs", "rtol", "smooth")

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any], smooth: bool, rtol: float) -> None:
        self.args, self.kwargs, self.smooth, self.rtol = args, kwargs, smooth, rtol

    def __repr__(self) -> str:
        parts = [_described(a) for a in self.args] + [f"{name}={_described(v)}" for name, v in self.kwargs.items()]
        return f"({', '.join(parts)})"


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        text = f"{value.dtype.name}{list(value.shape)}"
        return f"{text} {value.tolist()}" if 0 < value.numel() <= 6 and not value.is_meta else text
    if isinstance(value, (list, tuple)) and any(isinstance(item, Tensor) for item in value):
        return f"[{', '.join(map(_described, value))}]"
    return repr(value)


def sample(*args: Any, smooth: bool = True, rtol: float = 0.0, **kwargs: Any) -> Sample:
    """One call of an op with these arguments."""
    return Sample(args, kwargs, smooth, rtol)


class Refusal:
    """The arguments of a call that is refused.

    Attributes:
        error: the type of the exception, PyTorch's.
        says: a part of the message.
    """

    __slots__ = ("args", "error", "kwargs", "says")

    def __init__(self, error: type[Exception], says: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.error, self.says, self.args, self.kwargs = error, says, args, kwargs

    def __repr__(self) -> str:
        return repr(Sample(self.args, self.kwargs, False, 0.0))


def refusal(error: type[Exception], says: str, *args: Any, **kwargs: Any) -> Refusal:
    """One call of an op that raises ``error``, whose message has ``says`` in it."""
    return Refusal(error, says, args, kwargs)


class Maker:
    """Makes the tensors of samples, of one dtype on one device, always the same ones."""

    def __init__(self, kind: dtype, device: Any, seed: int) -> None:
        self.dtype = kind
        self.device = device
        self.random = numpy.random.default_rng(seed)

    def __call__(self, *shape: int, low: float = -2.0, high: float = 2.0) -> Tensor:
        """Random values: floats in [low, high), integers from low to high (from 0 for unsigned types), bools."""
        category = self.dtype.category
        if category == BOOL:
            values: Any = self.random.integers(0, 2, shape)
        elif category < FLOATING:
            first = int(numpy.ceil(low)) if self.dtype.is_signed else max(0, int(numpy.ceil(low)))
            values = self.random.integers(first, max(int(high), first + 1) + 1, shape)
        else:
            values = self.random.uniform(low, high, shape)
            if category == COMPLEX:
                values = values + 1j * self.random.uniform(low, high, shape)
        return from_host(values, self.dtype, self.device)

    def distinct(self, *shape: int, shift: float = 0.0) -> Tensor:
        """Values of which no two are close: for what compares and orders. Floats lie ``shift`` off multiples of 1/4."""
        n = int(numpy.prod(shape))
        order = self.random.permutation(n)
        values = order * 0.25 - n // 2 * 0.25 + 0.03 + shift if self.dtype.category >= FLOATING else order % 100
        return from_host(values.reshape(shape), self.dtype, self.device)

    def values(self, values: Any) -> Tensor:
        """A tensor with these values."""
        return from_host(numpy.array(values), self.dtype, self.device)

    def indices(self, values: Any) -> Tensor:
        """An int64 tensor with these values."""
        return from_host(numpy.array(values, numpy.int64), DTYPES["int64"], self.device)

    def index(self, *shape: int, high: int) -> Tensor:
        """Random int64 values in [0, high)."""
        return self.indices(self.random.integers(0, max(high, 1), shape))

    def mask(self, *shape: int) -> Tensor:
        """Random bools."""
        return from_host(self.random.integers(0, 2, shape), DTYPES["bool"], self.device)

    def of(self, name: str) -> Maker:
        """A maker of another dtype that continues with the same random numbers."""
        other = Maker(DTYPES[name], self.device, 0)
        other.random = self.random
        return other

    @property
    def real(self) -> Maker:
        """A maker of the real dtype that goes with a complex one."""
        return self.of(self.dtype.to_real().name)

    def holds(self, name: str) -> bool:
        """Whether the device can hold a dtype."""
        return name in load(self.device).backend.dtypes  # type: ignore[union-attr]

    @property
    def is_floating(self) -> bool:
        return self.dtype.category == FLOATING

    @property
    def is_complex(self) -> bool:
        return self.dtype.category == COMPLEX


class Case:
    """An op with its samples and its reference.

    Attributes:
        name: the op's.
        make: a generator of samples.
        reference: the same function over ``numpy.ndarray`` (tensors, dtypes and devices of the arguments converted), or
            None: then other checks have to do.
        dtypes: names of the dtypes to try.
        gradients: whether gradients are checked, in double precision.
        constant: names of the parameters that are not differentiated.
        loose: a factor on the usual tolerances.
        data_dependent: the result's shape depends on the values, so the meta device cannot tell it.
        mutates: names of the parameters that the op writes into.
        steps: returns nothing, and is called on raw arrays only: the kernel is compared with the decomposition.
        strided: the result is the same for tensors that are not contiguous.
        aliases: the result shares the input's memory (of ops that are marked as views anyway).
        in_double: names of dtypes for which the op computes in float64: tried where the device holds that, too.
    """

    def __init__(self, name: str, make: Callable[[Maker], Iterator[Sample]], reference: Any, **options: Any) -> None:
        self.name = name
        self.make = make
        self.reference = reference
        self.dtypes: tuple[str, ...] = options.pop("dtypes", FLOATS)
        self.gradients: bool = options.pop("gradients", True)
        self.constant: tuple[str, ...] = options.pop("constant", ())
        self.loose: float = options.pop("loose", 1.0)
        self.data_dependent: bool = options.pop("data_dependent", False)
        self.mutates: tuple[str, ...] = options.pop("mutates", ())
        self.aliases: bool = options.pop("aliases", False)
        self.steps: bool = options.pop("steps", False)
        self.strided: bool = options.pop("strided", True)
        self.in_double: tuple[str, ...] = options.pop("in_double", ())
        if options:
            raise TypeError(f"case {name!r}: unknown options {sorted(options)}")

    @property
    def op(self) -> Op:
        return OPS[self.name]

    def samples(self, device: Any, kind: dtype) -> list[Sample]:
        """Fresh samples; the same values each time."""
        return list(self.make(Maker(kind, load(device_class(device)), zlib.crc32(self.name.encode()))))

    def __repr__(self) -> str:
        return f"<case {self.name}>"


#: Every case, by op name.
CASES: dict[str, Case] = {}


def case(name: str, reference: Any = None, **options: Any) -> Callable[[Callable[[Maker], Iterator[Sample]]], Any]:
    """Register the samples of an op; the options are :class:`Case`'s attributes."""

    def register(make: Callable[[Maker], Iterator[Sample]]) -> Callable[[Maker], Iterator[Sample]]:
        if name in CASES:
            raise ValueError(f"the samples of {name!r} are given twice")
        CASES[name] = Case(name, make, reference, **options)
        return make

    return register


#: By op name, a generator of calls that are refused.
REFUSALS: dict[str, Callable[[Maker], Iterator[Refusal]]] = {}


def errors(name: str) -> Callable[[Callable[[Maker], Iterator[Refusal]]], Any]:
    """Register calls of an op that are refused; a generator over a float32 :class:`Maker`.

    What the declaration says anyway (types, dims out of range, shapes that do not broadcast, devices) is tested for
    every op and need not be given.
    """

    def register(make: Callable[[Maker], Iterator[Refusal]]) -> Callable[[Maker], Iterator[Refusal]]:
        if name in REFUSALS:
            raise ValueError(f"the refusals of {name!r} are given twice")
        REFUSALS[name] = make
        return make

    return register


#: Ops without samples, and why.
EXEMPT: dict[str, str] = {
    "assign": "writes into its argument; test_inplace.py has it by name",
    "to_device": "moves between devices; test_devices.py has it by name",
    "copy_slices": "a step of the tape, checked with the gradients of in-place operations on views",
    **dict.fromkeys(CROSSING, "moves into or out of a batch; test_batching.py goes through it with every op"),
}


def as_numpy(value: Any) -> Any:
    """An argument as a reference takes it."""
    if isinstance(value, Tensor):
        array = numpy.array(value.detach().numpy(force=True))
        return array.astype(_WIDE.get(array.dtype.name, array.dtype))
    if isinstance(value, dtype):
        return value.numpy
    if isinstance(value, (list, tuple)):
        return type(value)([as_numpy(item) for item in value])
    return value


# References compute in double precision, so that only the tested side rounds.
_WIDE = {"float16": numpy.float64, "float32": numpy.float64, "bfloat16": numpy.float64, "complex64": numpy.complex128}


def expected_of(one: Case, given: Sample) -> Any:
    """What the reference makes of a sample."""
    args, kwargs = [as_numpy(a) for a in given.args], {k: as_numpy(v) for k, v in given.kwargs.items()}
    if one.op.rule == "float":
        args = [
            a.astype(numpy.float64) if getattr(a, "dtype", None) is not None and a.dtype.kind in "biu" else a
            for a in args
        ]
    with numpy.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing, and the like
        return one.reference(*args, **kwargs)


def load_samples() -> dict[str, Case]:
    """Import all samples; return :data:`CASES`."""
    for theme in THEMES:
        import_module(f"flambeau.testing.samples.{theme}")
    return CASES
