"""Elementwise operations, reductions, shapes, indexing beside PyTorch's: values, dtypes, views, gradients, errors."""

from __future__ import annotations

import operator
from typing import Any

import numpy
import pytest

import flambeau

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

array = numpy.array
FLOATS = ("float16", "bfloat16", "float32", "float64")
COMPLEXES = ("complex64", "complex128")
INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
ALL = ("bool", *INTEGERS, *FLOATS, *COMPLEXES)


def normal(*shape: int, seed: int = 0) -> Any:
    return numpy.asarray(numpy.random.default_rng(seed + sum(shape)).normal(size=shape))


def positive(*shape: int, seed: int = 0) -> Any:
    return numpy.asarray(numpy.random.default_rng(seed + sum(shape)).uniform(0.1, 0.9, size=shape))


def complexes(*shape: int, seed: int = 0) -> Any:
    return numpy.asarray(normal(*shape, seed=seed) + 1j * normal(*shape, seed=seed + 1))


def method(name: str, *args: Any, **kwargs: Any) -> Any:
    return lambda f, x, *more: getattr(x, name)(*more, *args, **kwargs)


def function(name: str, *args: Any, **kwargs: Any) -> Any:
    return lambda f, *tensors: getattr(f, name)(*tensors, *args, **kwargs)


# -- one operand -----------------------------------------------------------------------------------------------------

SPECIAL = array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 1.5, 3.7, -3.7, numpy.inf, -numpy.inf, 1e-3, 100.0, numpy.nan]
)
COMPLEX = array([0, 1, -1, 1j, -1j, 0.5 + 0.5j, -2 + 1j, 2 - 3j, 0.3 - 0.2j])


def values_of(kind: str) -> Any:
    if kind == "bool":
        return array([True, False, True])
    if kind == "uint8":
        return array([0, 1, 2, 3, 7, 100, 255])
    if kind.startswith("int"):
        return array([0, 1, -1, 2, -2, 7, -100, 127])
    return COMPLEX if kind.startswith("complex") else SPECIAL


UNARY = [
    "abs", "absolute", "neg", "negative", "sgn", "square", "reciprocal", "floor", "ceil", "trunc", "fix", "round",
    "frac", "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "rsqrt", "exp2", "sin", "cos", "tan", "asin",
    "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "arcsin", "arccos", "arctan", "arcsinh",
    "arccosh", "arctanh", "erf", "logit", "deg2rad", "rad2deg", "sinc", "logical_not", "isfinite", "isinf",
    "isnan", "isposinf", "isneginf", "bitwise_not", "nan_to_num", "clone", "real", "positive", "signbit",
    "isreal", "angle", "sign", "conj_physical",
]  # fmt: skip
# PyTorch's sign of NaN is 0 (so is abs' gradient there), and the sign of its bfloat16 NaN is set.
WITHOUT_NAN = {"sign", "sgn", "abs", "absolute", "signbit"}
# Outside of their domain PyTorch gives what its formula happens to give.
DOMAINS = {"acosh": (1.2, 9.0), "arccosh": (1.2, 9.0), "logit": (0.05, 0.95)}


@pytest.mark.parametrize("name", UNARY)
def test_unary(beside: Any, name: str) -> None:
    aliasing = name != "conj_physical"
    for kind in ALL:
        values = values_of(kind)
        values = values[:-1] if name in WITHOUT_NAN and kind in FLOATS else values
        beside(function(name), values, kinds=[kind], if_supported=True, aliasing=aliasing)
        if hasattr(torch.Tensor, name + "_"):
            beside(method(name + "_"), values, kinds=[kind], if_supported=True)
    for shape in ((), (0,), (2, 0, 3), (1,), (2, 3)):
        beside(function(name), numpy.ones(shape, int), if_supported=True, aliasing=aliasing)
        beside(function(name), positive(*shape), if_supported=True, aliasing=aliasing)
        beside(lambda f, x: getattr(f, name)(x.t()), positive(2, 3), if_supported=True, aliasing=aliasing)
    low, high = DOMAINS.get(name, (0.1, 0.9))
    inside = positive(5) * (high - low) + low
    for values, kind in ((inside, "float64"), (complexes(5) * 0.4 + 0.1, "complex128")):
        beside(function(name), values, kinds=[kind], order=2, if_supported=True, aliasing=aliasing)


@pytest.mark.parametrize("name", sorted(set(UNARY) - set(DOMAINS) - WITHOUT_NAN - {"bitwise_not"}))
def test_gradients_at_special_values(beside: Any, name: str) -> None:
    beside(function(name), SPECIAL, order=1, aliasing=False, if_supported=True)


def test_gradients_at_kinks(beside: Any) -> None:
    zeros = array([0.0, -0.0, 1.0])
    for name in ("abs", "sgn", "sign", "relu", "frac", "clamp_min"):
        beside(function(name, *([0.0] if name == "clamp_min" else [])), zeros, order=2)
    beside(function("abs"), COMPLEX, kinds=["complex128"], order=1)


# -- two operands ----------------------------------------------------------------------------------------------------

GRID = array([0.0, -0.0, 1, -1, 2.5, -2.5, numpy.inf, -numpy.inf, numpy.nan, 3])
BINARY = [
    "add", "sub", "mul", "div", "floor_divide", "remainder", "fmod", "pow", "maximum", "minimum", "fmax", "fmin",
    "atan2", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor", "bitwise_and",
    "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift", "copysign", "hypot", "heaviside",
    "logaddexp", "logaddexp2", "xlogy", "float_power", "gcd", "lcm", "ldexp", "rsub", "true_divide",
]  # fmt: skip
# Without gradients in PyTorch, or (copysign at infinity) with NaN.
NO_GRADIENT = {"floor_divide", "heaviside", "copysign"}


def operands(kind: str) -> tuple[Any, Any]:
    if kind == "bool":
        return array([True, False, True, False]), array([True, True, False, False])
    if kind == "uint8":
        return array([0, 1, 7, 200, 5, 3]), array([1, 2, 3, 7, 2, 5])
    if kind.startswith("int"):
        return array([0, 1, -7, 7, -7, 7, 100, -1]), array([3, 2, 2, -2, -2, 3, 7, 5])
    if kind.startswith("complex"):
        return array([1, 1j, -2 + 1j, 0.5 - 0.5j]), array([2, -1, 0.5 + 1j, 0.5 - 0.5j])
    left, right = numpy.meshgrid(GRID, GRID)
    return left.ravel(), right.ravel()


@pytest.mark.parametrize("name", BINARY)
def test_binary(beside: Any, name: str) -> None:
    call = function(name)
    unsupported = {"logaddexp": COMPLEXES, "logaddexp2": COMPLEXES}.get(name, ())
    for kind in ALL:
        if kind == "bfloat16" or kind in unsupported:
            continue
        left, right = operands(kind)
        fits = slice(6) if name == "lcm" else slice(None)  # 700 does not fit into int8
        beside(call, left[fits], right[fits], kinds=[kind, kind], if_supported=True)
        for other in ("bool", "uint8", "int32", "int64", "float32", "float64", "complex64"):
            if other in unsupported or {kind, other} == {"float16", "complex64"}:  # there is no complex32 here
                continue
            ones, twos = array([1, 0, 1]), array([1, 1, 1])
            for left, right in ((ones, twos), (ones, numpy.asarray(1)), (numpy.asarray(1), twos)):
                beside(call, left, right, kinds=[kind, other], if_supported=True)
                if hasattr(flambeau.Tensor, name + "_") and hasattr(torch.Tensor, name + "_") and left.ndim:
                    beside(method(name + "_"), left, right, kinds=[kind, other], if_supported=True)
    for left, right in (((3, 1), (1, 4)), ((), (3,)), ((0,), (1,)), ((2, 3), (3,)), ((2, 0), (1, 1)), ((), ())):
        beside(call, numpy.ones(left), numpy.full(right, 2.0), if_supported=True)
        beside(call, numpy.ones(left, int), numpy.full(right, 2), if_supported=True)


TENSORS_ONLY = {
    "maximum", "minimum", "fmax", "fmin", "atan2", "logical_and", "logical_or", "logical_xor", "hypot",
    "heaviside", "logaddexp", "logaddexp2", "gcd", "lcm", "ldexp",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in BINARY if name not in TENSORS_ONLY])
def test_binary_with_numbers(beside: Any, name: str) -> None:
    for kind in ("bool", "uint8", "int32", "int64", "float16", "float32", "float64", "complex64"):
        values = operands(kind)[1]
        if kind in FLOATS:
            values = values[(values != 0) & numpy.isfinite(values)]
        for number in (2, -3, 0.5, 0, True, 2.0, -1, 0.0, 300, numpy.float64(1.5)):
            beside(function(name), values, number, kinds=[kind, None], if_supported=True)
            beside(function(name), number, values, kinds=[None, kind], if_supported=True)
            if hasattr(flambeau.Tensor, name + "_") and hasattr(torch.Tensor, name + "_"):
                beside(method(name + "_"), values, number, kinds=[kind, None], if_supported=True)
    if name not in ("copysign", "xlogy"):
        beside(function(name), array([1.0, 2.0, 0.5]), 1 + 2j, order=1, if_supported=True)


@pytest.mark.parametrize(
    "name",
    sorted(
        {
            "add",
            "sub",
            "mul",
            "div",
            "pow",
            "maximum",
            "minimum",
            "fmax",
            "fmin",
            "atan2",
            "hypot",
            "logaddexp",
            "logaddexp2",
            "xlogy",
            "rsub",
            "float_power",
            "ldexp",
            "remainder",
            "fmod",
            "copysign",
        }
    ),
)
def test_binary_gradients(beside: Any, name: str) -> None:
    real, other = positive(2, 3) + 0.2, positive(3, seed=5) + 0.3
    beside(function(name), real, other, order=2)
    if name not in NO_GRADIENT:
        left, right = operands("float64")
        finite = (numpy.isfinite(left) & numpy.isfinite(right)) | (name not in ("remainder", "fmod"))
        beside(function(name), left[finite], right[finite], order=1)
    for number in (2, 2.5, 0, 1, -1, 0.5, 3):
        beside(function(name), real, number, kinds=["float64", None], order=2, if_supported=True)
        if name != "remainder":  # PyTorch has no gradient of it
            beside(function(name), number, real, kinds=[None, "float64"], order=2, if_supported=True)
    if name in ("add", "sub", "mul", "div", "pow", "rsub", "float_power"):
        left, right = complexes(2, 3) + 2, complexes(3, seed=7) + 1
        for a, b in ((left, right), (left, right.real), (real, right), (left, 1 + 2j), (1 + 2j, left), (real, 2j)):
            beside(function(name), a, b, order=2, if_supported=name == "rsub")


OPERATORS = "add sub mul truediv floordiv pow and_ or_ xor lshift rshift lt le gt ge eq ne"


@pytest.mark.parametrize("name", OPERATORS.split())
def test_operators(beside: Any, name: str) -> None:
    call, in_place = getattr(operator, name), getattr(operator, "i" + name.rstrip("_"), None)
    for kind in ("bool", "uint8", "int64", "float32", "complex64"):
        left, right = operands(kind)
        beside(lambda f, x, y: call(x, y), left, abs(right), kinds=[kind, kind], if_supported=True)
        for number in (2, 2.5, True, -1):
            beside(lambda f, x, number=number: call(x, number), right, kinds=[kind], if_supported=True)
            if kind != "float32":
                beside(lambda f, x, number=number: call(number, x), abs(right), kinds=[kind], if_supported=True)
            if in_place:
                beside(lambda f, x, number=number: in_place(x, number), right, kinds=[kind], if_supported=True)
    for bad in ("x", None):
        if name not in ("eq", "ne"):
            beside.refused(lambda f, x, bad=bad: call(x, bad), normal(3))
        else:
            beside(lambda f, x, bad=bad: call(x, bad), normal(3))


def test_arithmetic_keywords(beside: Any) -> None:
    for name in ("add", "sub"):
        beside(function(name, alpha=3), normal(3), normal(2, 3), order=2)
        for alpha in (2, 0.5, 0, -1):
            beside(function(name, alpha=alpha), normal(3), normal(3), order=1)
            beside(method(name + "_", alpha=alpha), normal(3), normal(3))
            beside(method(name + "_", 3, alpha=alpha), normal(3))
        beside(function(name, alpha=2), numpy.arange(3), numpy.arange(3))
    for mode in (None, "trunc", "floor"):
        for left, right in (([7, -7, 7, -7], [2, 2, -2, -2]), ([7.5, -7.5, 0, numpy.inf], [2, 2, 0, 2.0])):
            beside(function("div", rounding_mode=mode), array(left), array(right))
            beside(function("div", 2.5, rounding_mode=mode), array(left))
    beside.refused(function("div", 2, rounding_mode="up"), normal(3))
    for decimals in (0, 1, 2, -1):
        beside(function("round", decimals=decimals), array([2.5, 3.5, -2.5, 12.345, 1234.5, 15, 25]))
    for name in ("addcmul", "addcdiv"):
        beside(function(name, value=0.5), normal(3), normal(2, 3), normal(1) + 3, order=2)
        beside(method(name + "_", value=2), normal(3), normal(3), normal(3))
    beside(function("addcmul", value=0.5), *[numpy.ones(3, int)] * 3)
    for weight in (0.3, 0.0, 1.0, 2):
        beside(function("lerp", weight), normal(3), normal(2, 3), order=2)
        beside(function("lerp", weight), array([numpy.inf, 1.0]), array([1.0, numpy.inf]))
    beside(function("lerp"), normal(3), normal(2, 3), positive(3), order=2)
    for equal_nan in (False, True):
        beside(function("isclose", equal_nan=equal_nan), SPECIAL, SPECIAL)
        beside(function("allclose", equal_nan=equal_nan), SPECIAL, SPECIAL)
    beside(function("isclose", rtol=1, atol=2), numpy.arange(4), numpy.arange(4) + 1)
    beside(function("isclose", rtol=0.1, atol=0.1), normal(4), normal(4) + 0.15)
    for options in ({}, {"nan": 5.0}, {"posinf": 1.0}, {"neginf": -1.0, "nan": 2.0}):
        for kind in ("float16", "bfloat16", "float32", "int64", "bool", "complex64"):
            beside(
                function("nan_to_num", **options),
                SPECIAL if kind not in ("int64", "bool") else array([0, 1]),
                kinds=[kind],
            )
        beside(function("nan_to_num", **options), SPECIAL, order=1)
    for eps in (0.1, 1e-6):
        beside(function("logit", eps=eps), array([0.0, 1, 0.3, 0.05, 0.99, -1, 2]), order=1)


BOUNDS = [(0.0, 1.0), (None, 1.0), (0.5, None), (1.0, 0.0), (-1, 2), (numpy.nan, 1.0), (0, numpy.inf)]


@pytest.mark.parametrize("low, high", BOUNDS)
def test_clamp_between_numbers(beside: Any, low: Any, high: Any) -> None:
    for name in ("clamp", "clip"):
        beside(function(name, low, high), SPECIAL, order=1)
        beside(method(name, min=low, max=high), normal(3, 2), order=2)
    for kind in (*INTEGERS, "float16", "bfloat16", "float32"):
        beside(function("clamp", low, high), array([0, 1, 2, 3]), kinds=[kind], if_supported=True)
        beside(method("clamp_", low, high), array([0, 1, 2, 3]), kinds=[kind], if_supported=True)


def test_clamp_between_tensors(beside: Any) -> None:
    x = array([0.0, 1, 0.5])
    for low, high in ((normal(3), normal(3, seed=1)), (x, array([1.0, 1, 0.5])), (array([2.0] * 3), numpy.ones(3))):
        beside(function("clamp"), x, low, high, order=1)
        beside(lambda f, x, low: f.clamp(x, min=low), x, low, order=2)
        beside(lambda f, x, high: x.clamp(max=high), x, high, order=2)
    beside(function("clamp"), numpy.arange(4), array(1.5))
    beside.refused(function("clamp"), x)


# -- reductions ------------------------------------------------------------------------------------------------------

REDUCTIONS = [
    "sum", "prod", "mean", "amax", "amin", "all", "any", "argmax", "argmin", "max", "min", "var", "std", "nansum",
    "nanmean", "count_nonzero", "logsumexp", "var_mean", "std_mean",
]  # fmt: skip
RUNNING = ("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin")
SHAPES = ((2, 3, 4), (3,), (), (0,), (2, 0), (2, 0, 3), (1,))
TIES = [[2, 2, 1, 2.0], [0.0, 1, 0, 2], [1, 0, 2.0, 3], [[1, 1], [1, 1.0]], [[0.0, 1], [2, 3]]]
INFINITE = [[1, numpy.inf, -numpy.inf], [numpy.inf, numpy.inf], [1, numpy.nan, 3, numpy.nan]]


def halves(kind: str, shape: tuple[int, ...]) -> Any:
    random = numpy.random.default_rng(len(shape))
    if kind == "bool":
        return numpy.asarray(random.integers(0, 2, shape).astype(bool))
    if kind.startswith("complex"):
        return complexes(*shape)
    return numpy.asarray(random.integers(0 if kind == "uint8" else -4, 5, shape) / (2 if kind in FLOATS else 1))


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(beside: Any, name: str) -> None:
    for kind in ALL:
        if kind == "bfloat16" or (name == "prod" and kind == "float16"):  # PyTorch's product of halves overflows
            continue
        for shape in SHAPES:
            values = halves(kind, shape)
            beside(function(name), values, kinds=[kind], if_supported=True)
            beside(method(name), values, kinds=[kind], if_supported=True)
            for dim in (0, -1, 1, (0,), (0, 1), [-1, 0], ()):
                beside(function(name, dim), values, kinds=[kind], if_supported=True)
                beside(function(name, dim=dim, keepdim=True), values, kinds=[kind], if_supported=True)
    beside.refused(function(name, 5), normal(2, 3))
    if name not in ("argmax", "argmin", "prod", "max", "min", "count_nonzero"):
        beside.refused(function(name, (0, 0)), normal(2, 3))
    for values in (*TIES, *INFINITE):
        if name in ("amax", "amin", "max", "min") and numpy.isnan(values).any():
            continue  # where NaN is the extreme the gradient goes to it in PyTorch's max(), is NaN in its amax()
        if name in ("prod", "std_mean", "var_mean") and not numpy.isfinite(values).all():
            continue  # there PyTorch divides inf by inf, and its mean of infinities is NaN
        for call in (function(name), function(name, 0)):
            beside(call, array(values, float), order=1, if_supported=True)


@pytest.mark.parametrize(
    "name", [n for n in REDUCTIONS if n not in ("all", "any", "argmax", "argmin", "count_nonzero")]
)
def test_gradients_of_reductions(beside: Any, name: str) -> None:
    for values in (normal(2, 3, 4), normal(3), normal(1), normal(2, 0), complexes(2, 3, 4)):
        for dim in (None, 0, -1, (0, 1), 1):
            for keepdim in (False, True):
                options = {} if dim is None and name in ("max", "min") else {"dim": dim, "keepdim": keepdim}
                beside(function(name, **options), values, order=min(2, values.size), if_supported=True)


@pytest.mark.parametrize("name", RUNNING)
def test_running_operations(beside: Any, name: str) -> None:
    for kind in ALL:
        if kind == "bfloat16" or (name == "logcumsumexp" and kind in COMPLEXES):
            continue
        for shape in SHAPES:
            for dim in (0, -1, 1)[: 1 + len(shape)]:
                beside(function(name, dim), halves(kind, shape), kinds=[kind], if_supported=True)
    for values in (normal(2, 3, 4), normal(1), normal(), normal(2, 0)):
        for dim in (0, -1, 1):
            beside(function(name, dim), values, order=2, if_supported=True)
    for values in TIES:
        beside(function(name, 0), array(values, float), order=1)
    beside.refused(function(name, 5), normal(2, 3))


def test_products_with_zeros(beside: Any) -> None:
    for values in ([[0.0, 2, 3], [1, 2, 3], [0, 0, 4]], [0.0, 2, 0], [0.0, 2, 3], [0.0]):
        for kind in ("float64", "complex128"):
            beside(function("prod"), array(values), kinds=[kind], order=2)
            for dim in (0, -1):
                beside(function("prod", dim), array(values), kinds=[kind], order=2)
                beside(function("cumprod", dim), array(values), kinds=[kind], order=2)


def test_reductions_with_keywords(beside: Any) -> None:
    for name in ("sum", "prod", "mean", "nansum", "nanmean", "cumsum", "cumprod"):
        for source in ("bool", "uint8", "int64", "float32", "complex64"):
            for target in ("float64", "int64", "float32", "bool", "complex64"):
                beside(
                    lambda f, x, name=name, target=target: getattr(f, name)(x, 1, dtype=getattr(f, target)),
                    halves(source, (3, 2)),
                    kinds=[source],
                    if_supported=True,
                )
    for name in ("var", "std", "var_mean", "std_mean"):
        for correction in (0, 1, 2, 0.5, 3, 7):
            beside(function(name, dim=0, correction=correction), normal(3, 2), order=1)
            beside(function(name, dim=None, correction=correction, keepdim=True), normal(3, 2))
        for args, options in (((False,), {}), ((0, False), {}), ((), {"dim": 1, "unbiased": False, "keepdim": True})):
            beside(function(name, *args, **options), normal(3, 2))
    beside(lambda f, x, y: (f.max(x, y), f.min(x, other=y), x.max(y)), normal(3), normal(3, seed=2), order=2)
    beside(
        lambda f, x: (x.max(0).values, x.min(dim=0).indices, f.aminmax(x).min, f.aminmax(x, dim=0).max), normal(3, 2)
    )
    beside(lambda f, x: x.sum(axis=0, keepdims=True), normal(2, 3))
    for dim in ("a", 1.5):
        beside.refused(function("sum", dim), normal(2, 3))
    beside(lambda f, x: f.tensor([0, 2, 1]).repeat_interleave(f.tensor([1, 2, 0])) * x, normal(1))


# -- shapes ----------------------------------------------------------------------------------------------------------

SHAPED: dict[str, list[tuple[Any, ...]]] = {
    "reshape": [((-1,),), ((2, -1),), ((6, 4),), ((3, 4),), ((),), ((0,),), ((1, 1, 1),), ((5,),)],
    "permute": [((2, 0, 1),), ((1, 0),), ((0,),), ((),), ((-1, 0, 1),)],
    "transpose": [(0, 1), (-1, 0), (1, 2), (0, 0)], "swapaxes": [(0, 1)], "swapdims": [(0, -1)], "t": [()],
    "movedim": [(0, 1), ((0, 1), (1, 0)), (0, -1), (-1, 0)], "moveaxis": [(0, -1)], "ravel": [()],
    "squeeze": [(), (0,), (-1,), ((0, 2),), (1,), ((),)], "unsqueeze": [(0,), (-1,), (1,), (3,)],
    "flatten": [(), (1,), (0, 1), (-2, -1), (0, -1)],
    "unflatten": [(0, (1, -1)), (1, (3, 1)), (-1, (2, 2)), (0, (-1,))],
    "select": [(0, 0), (1, -1), (-1, 2)], "narrow": [(0, 0, 1), (1, 1, 2), (-1, -2, 2), (0, 0, 0)],
    "split": [(2,), (1,), (2, 1), ((1, 1),), ((1, 2), 1)], "chunk": [(2,), (3, 1), (2, -1), (9,)],
    "tensor_split": [(2,), (3, -1), ((1, 2),), ((1, -1), 1), ((3, 1), 1)], "unbind": [(), (1,), (-1,)],
    "hsplit": [(2,), ((1,),)], "vsplit": [(2,), ((1,),)], "dsplit": [(2,), ((1,),)],
    "diagonal": [(), (1,), (-1,), (0, 1, 2), (0, -1, 0), (9,)],
    "broadcast_to": [((2, 3, 4),), ((5, 2, 3, 4),), ((3,),)],
    "flip": [(0,), ((0, 1),), ((-1,),), ((),)], "fliplr": [()], "flipud": [()],
    "roll": [(1,), (-2,), (1, 0), ((1, 2), (0, 1)), (5, -1)],
    "rot90": [(), (2,), (3, (0, 1)), (1, (1, 2)), (-1,), (4,)],
    "tile": [((2,),), ((2, 3),), ((1, 2, 3, 4),), ((),)], "repeat_interleave": [(2,), (2, 0), (3, -1), (0,)],
    "as_strided": [((2, 2), (1, 2)), ((2,), (2,), 1), ((3,), (0,)), ((2, 2), (4, 1), 1)],
    "atleast_1d": [()], "atleast_2d": [()], "atleast_3d": [()],
}  # fmt: skip
METHODS: dict[str, list[tuple[Any, ...]]] = {
    "view": [(-1,), ((-1,),), (2, -1), (6, 4), (4, 6), (3, 4), (12,), (5, 1)], "contiguous": [()],
    "expand": [(2, 3, 4), (5, 2, 3, 4), (-1, -1, -1), (-1, 3, 4), (3, -1, -1, -1), (5,), (2, 3, 2)],
    "unfold": [(0, 1, 1), (1, 2, 1), (-1, 2, 2), (0, 0, 1)], "permute": [(2, 0, 1), (1, 0)], "flip": [(0, 1)],
    "repeat": [(2,), (2, 3), (2, 1, 1), (1, 2, 3, 4), ((2, 2),), (0,), (2, 0, 1)], "tile": [(2, 3)], "detach": [()],
    "squeeze_": [(), (0,)], "unsqueeze_": [(0,)],
}  # fmt: skip
INPUTS = (normal(2, 3, 4), normal(3, 4), normal(5), normal(), normal(2, 0, 3), normal(1, 3, 1), normal(0))


@pytest.mark.parametrize("name", sorted({*SHAPED, *METHODS}))
def test_shapes(beside: Any, name: str) -> None:
    for values in INPUTS:
        order = 0 if name.endswith("_") else 2
        for args in SHAPED.get(name, []):
            beside(function(name, *args), values, order=order, if_supported=True)
        for args in METHODS.get(name, []) + (SHAPED.get(name, []) if hasattr(torch.Tensor, name) else []):
            beside(method(name, *args), values, order=order, if_supported=True)
            if values.ndim > 1 and order:
                beside(
                    lambda f, x, args=args: getattr(x.transpose(0, 1), name)(*args), values, order=2, if_supported=True
                )
                beside(lambda f, x, args=args: getattr(x[1:] * 1, name)(*args), values, order=1, if_supported=True)


def test_views_of_views_have_gradients(beside: Any) -> None:
    for size, stride, offset in (((2, 2), (1, 2), 0), ((3, 2), (1, 1), 1), ((2,), (3,), None), ((2, 2), (0, 1), 2)):
        for lay in (
            lambda x: x,
            lambda x: (x * 2).t(),
            lambda x: (x * 2)[1:],
            lambda x: (x * 2)[:, 1:],
            lambda x: x[::2],
        ):
            beside(lambda f, x: lay(x).as_strided(size, stride, offset), normal(3, 4), order=2, aliasing=False)  # noqa: B023
    beside(lambda f, x: x.expand(3, 4).as_strided((2, 2), (1, 1)), normal(4), order=2)
    beside(lambda f, x: (x * 1)[1:].unfold(0, 2, 1), normal(5, 2), order=2, aliasing=False)


JOINED = [
    [normal(2, 3), normal(2, 3, seed=1)], [normal(2, 3), normal(4, 3)], [normal(2, 3), normal(0)], [normal(), normal()],
    [normal(2, 0), normal(2, 3)], [normal(2, 3)], [normal(0), normal(0)], [normal(3), normal(2)],
    [normal(1, 2), normal(2)],
    [normal(2, 3, 4), normal(2, 3, 4, seed=1)], [normal(2), normal()],
]  # fmt: skip
JOINS = ("cat", "concat", "concatenate", "stack", "hstack", "vstack", "row_stack", "dstack", "column_stack")


@pytest.mark.parametrize("name", JOINS)
def test_joins(beside: Any, name: str) -> None:
    dims: tuple[tuple[Any, ...], ...] = (
        ((0,), (1,), (-1,)) if name in ("cat", "concat", "concatenate", "stack") else ((),)
    )
    for tensors in JOINED:
        for dim in dims:
            beside(
                lambda f, *t, dim=dim: getattr(f, name)(t, *dim), *tensors, order=2, if_supported=True, aliasing=False
            )
    for kinds in (
        ("int64", "float32"),
        ("bool", "uint8"),
        ("float16", "float32"),
        ("complex64", "float64"),
        ("int8", "uint8"),
    ):
        beside(lambda f, *t: getattr(f, name)(list(t)), numpy.ones(3), numpy.ones(3), kinds=kinds)
    beside.refused(lambda f, x: getattr(f, name)([x, 1]), normal(3))
    beside.refused(lambda f, x, y: getattr(f, name)([x, y]), normal(2, 3, 2), normal(2, 4, 3))


REFUSED_SHAPES: list[tuple[str, tuple[Any, ...]]] = [
    ("view", (-1, -1)), ("view", (7,)), ("view", (-2,)), ("reshape", ((-1, -1),)), ("reshape", ((5, 5),)),
    ("permute", (0, 0, 1)), ("permute", (0, 3, 1)), ("permute", (0, 1)), ("expand", (3, 3)), ("expand", (2, 3, 5)),
    ("transpose", (0, 3)), ("t", ()), ("movedim", ((0, 0), (0, 1))), ("movedim", ((0,), (0, 1))), ("squeeze", (3,)),
    ("unsqueeze", (4,)), ("unsqueeze", (-5,)), ("flatten", (1, 0)), ("flatten", (5,)), ("unflatten", (0, (7, 2))),
    ("select", (0, 9)), ("select", (5, 0)), ("narrow", (0, 1, 9)), ("narrow", (0, 9, 0)), ("narrow", (0, -1, 2)),
    ("split", (0,)), ("split", (-1,)), ("split", ((1, 1), 1)), ("split", ((3, -1),)), ("chunk", (0,)), ("unbind", (5,)),
    ("tensor_split", (0,)), ("unfold", (0, 9, 1)), ("unfold", (0, 1, 0)), ("diagonal", (0, 0, 0)), ("flip", (0, 0)),
    ("roll", ((1,), (0, 1))), ("roll", (1, 5)), ("rot90", (1, (0, 0))), ("rot90", (1, (0,))), ("repeat", (2,)),
    ("repeat", (1, 1, -1)), ("repeat_interleave", (-1,)), ("as_strided", ((9, 9), (9, 9))),
    ("as_strided", ((2,), (1, 1))),
    ("as_strided", ((2,), (-1,))), ("broadcast_to", ((3,),)), ("hsplit", (2,)), ("index_select", (0, "x")),
]  # fmt: skip


@pytest.mark.parametrize("name, args", REFUSED_SHAPES, ids=repr)
def test_wrong_shapes_are_refused(beside: Any, name: str, args: tuple[Any, ...]) -> None:
    beside.refused(method(name, *args), normal(2, 3, 4))


def test_numbers_without_dimensions_are_not_cut(beside: Any) -> None:
    for name, args in (
        ("split", (1,)),
        ("chunk", (2,)),
        ("tensor_split", (2,)),
        ("unflatten", (0, (1, 1))),
        ("narrow", (0, 0, 1)),
        ("select", (0, 0)),
        ("unbind", ()),
        ("fliplr", ()),
        ("flipud", ()),
    ):
        beside.refused(method(name, *args), normal())


# -- along a dimension -----------------------------------------------------------------------------------------------

I = array  # noqa: E741 - indices
GATHERED = [
    (normal(4, 5), numpy.random.default_rng(0).integers(0, 4, (4, 5))), (normal(4, 5), I([[0, 3, 1], [2, 3, 3]])),
    (normal(4, 5), numpy.random.default_rng(1).integers(0, 4, (4, 5)).astype("int32")), (normal(6), I([0, 5, 5, 1])),
    (normal(), I(0)), (normal(6), I(2)), (normal(4, 5), numpy.zeros((0, 5), int)),
    (normal(2, 0), numpy.zeros((2, 0), int)),
]  # fmt: skip


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gather_and_scatter(beside: Any, dim: int) -> None:
    for values, index in GATHERED:
        source = numpy.asarray(normal(*index.shape, seed=3))
        beside(lambda f, x, i: (f.gather(x, dim, i), x.gather(dim, i)), values, index, order=2, if_supported=True)
        beside(lambda f, x, i, s: f.scatter_add(x, dim, i, s), values, index, source, order=2, if_supported=True)
        beside(lambda f, x, i: x.scatter(dim, i, 2.5), values, index, order=2, if_supported=True)
        beside(lambda f, x, i: x.scatter(dim, i, value=2), values, index, if_supported=True)
        beside(lambda f, x, i: x.scatter_(dim, i, 1.5, reduce="add"), values, index, if_supported=True)
        beside(lambda f, x, i, s: x.scatter(dim, i, s, reduce="multiply"), values, index, source, if_supported=True)
        beside(lambda f, x, i, s: x.scatter_add_(dim, i, s), values, index, source, if_supported=True)
    for name in ("gather", "scatter"):
        more = (1.0,) if name == "scatter" else ()
        for wrong in (numpy.full((2, 2), 9), numpy.full((2, 2), -1), I([1, 2]), I([[1.0]])):
            beside.refused(lambda f, x, i, name=name, more=more: getattr(x, name)(dim, i, *more), normal(4, 5), wrong)


def test_scatter_of_unique_indices(beside: Any) -> None:
    down, across = numpy.argsort(normal(4, 5), 0), numpy.argsort(normal(4, 5), 1)
    beside(lambda f, x, i, s: f.scatter(x, 0, i, s), normal(4, 5), down, normal(4, 5, seed=1), order=2)
    beside(lambda f, x, i, s: x.scatter(dim=1, index=i, src=s), normal(4, 5), across, normal(4, 5, seed=1), order=2)
    beside(lambda f, x, i: x.scatter_(1, i.unsqueeze(1), 1), numpy.zeros((4, 5)), I([1, 2, 0, 4]))
    beside.refused(lambda f, x, i, s: x.scatter(0, i, s), normal(3), I([0]), I([1]))
    beside.refused(lambda f, x, i, s: x.scatter_reduce(0, i, s, "median"), normal(3), I([0]), normal(1))


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("include_self", [True, False])
def test_scatter_reduce(beside: Any, reduce: str, include_self: bool) -> None:
    for values, index in GATHERED[:4]:
        for dim in (0, 1):
            source = normal(*index.shape, seed=3)
            call = lambda f, x, i, s, dim=dim: x.scatter_reduce(dim, i, s, reduce, include_self=include_self)
            beside(call, values, index, source, order=2 if reduce in ("sum", "mean") else 1, if_supported=True)
            rounded = [numpy.round(values * 3), index, numpy.round(source * 3)]
            beside(call, *rounded, kinds=["int64", None, "int64"], if_supported=True)
    # With include_self=False PyTorch counts self among those that share a gradient all the same.
    ties = array([1.0 if include_self else 7.0, 1.0, 2.0]), I([0, 0, 0, 1]), array([1.0, 1.0, 0.5, 3.0])
    call = lambda f, x, i, s: x.scatter_reduce(0, i, s, reduce, include_self=include_self)
    beside(call, *ties, order=1)
    beside(call, array([numpy.nan, 1]), I([0, 0]), array([1.0, 2.0]))
    if reduce != "sum":
        beside(
            lambda f, x, i, s: x.index_reduce(0, i, s, reduce, include_self=include_self),
            normal(4, 2),
            I([0, 0, 3]),
            normal(3, 2),
        )


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_entries_along_a_dimension(beside: Any, dim: int) -> None:
    for values, index in (
        (normal(4, 5), I([0, 2])),
        (normal(4, 5), I([3, 3, 0])),
        (normal(4, 5), numpy.zeros(0, int)),
        (normal(6), I(2)),
        (normal(2, 3, 4), I([1, 0])),
        (normal(4, 5), I([1, 2]).astype("int32")),
        (normal(), I([0])),
        (normal(), I(0)),
    ):
        beside(lambda f, x, i: f.index_select(x, dim, i), values, index, order=2, if_supported=True)
        beside(
            lambda f, x, i: x.index_fill(dim, i, 1.5), values, index, order=1 if values.ndim else 0, if_supported=True
        )
        beside(lambda f, x, i: x.index_fill_(dim, i, -1), values, index, if_supported=True)
        shape = list(values.shape)
        if not shape or dim >= len(shape):
            continue
        shape[dim] = index.size
        source = normal(*shape, seed=3)
        beside(lambda f, x, i, s: f.index_add(x, dim, i, s), values, index, source, order=2, if_supported=True)
        beside(lambda f, x, i, s: x.index_add(dim, i, s, alpha=2), values, index, source, order=2, if_supported=True)
        beside(lambda f, x, i, s: x.index_add_(dim, i, s), values, index, source, if_supported=True)
        if len(set(index.ravel().tolist())) == index.size:
            beside(lambda f, x, i, s: x.index_copy(dim, i, s), values, index, source, order=2, if_supported=True)
            beside(lambda f, x, i, s: x.index_copy_(dim, i, s), values, index, source, if_supported=True)
    beside(lambda f, x, i: f.take_along_dim(x, i, dim), normal(4, 5), numpy.argsort(normal(4, 5), dim), order=2)
    for name, wrong in (("index_select", I([1.5])), ("index_copy", I([9])), ("index_add", I([1.5]))):
        more = () if name == "index_select" else (normal(1, 5) if dim == 0 else normal(4, 1),)
        beside.refused(lambda f, x, i, *s, name=name: getattr(x, name)(dim, i, *s), normal(4, 5), wrong, *more)


MASKS = [normal(4, 5) > 0, normal(5) > 0, normal(4, 1) > 0, numpy.zeros((4, 5), bool), array(True), array(False)]


@pytest.mark.parametrize("mask", MASKS, ids=lambda m: str(m.shape))
def test_masks(beside: Any, mask: Any) -> None:
    x = normal(4, 5)
    beside(function("masked_select"), x, mask, order=2)
    beside(lambda f, x, m: x.masked_fill(m, 0.5), x, mask, order=2)
    beside(lambda f, x, m, v: f.masked_fill(x, m, v), x, mask, array(0.3), order=2)
    beside(lambda f, x, m: x.masked_fill_(m, -numpy.inf), x, mask)
    beside(lambda f, x, m, s: x.masked_scatter(m, s), x, mask, normal(20), order=2)
    beside(lambda f, m, x, y: f.where(m, x, y), mask, x, normal(5), order=2)
    beside(lambda f, m, x: (f.where(m, x, 0.0), f.where(m, -1, x), x.where(m, 0)), mask, x, order=2)
    beside(lambda f, m: (f.where(m, 1, 0.5), f.where(m, 1, 2), f.where(m), f.nonzero(m), f.argwhere(m)), mask)
    beside(lambda f, m: (f.nonzero(m, as_tuple=True), m.nonzero(as_tuple=True)), mask)


def test_masks_and_dtypes(beside: Any) -> None:
    x, mask = numpy.arange(4), numpy.arange(4) > 1
    for value in (7, 7.5, True):
        beside(lambda f, x, m, value=value: (x.masked_fill(m, value), x.masked_fill_(m, value)), x, mask)
    beside(lambda f, x, m: x.masked_fill(m, -6e4), normal(4), mask, kinds=["float16", None])
    beside(lambda f, x, m: x.masked_fill(m, 0.0), normal(5), normal(4, 5) > 0)
    beside(lambda f, m, x, y: f.where(m, x, y), mask, numpy.ones(4), x, kinds=[None, "float32", None])
    for bad in (
        lambda f, x, m: x.masked_fill(x, 1),
        lambda f, x, m: x.masked_fill(m, 1j),
        lambda f, x, m: x.masked_fill(m, f.ones(1)),
        lambda f, x, m: f.where(x, 1, 2),
        lambda f, x, m: f.masked_select(x, x),
        lambda f, x, m: x.masked_scatter(m, x[:1]),
    ):
        beside.refused(bad, normal(4), mask)


def test_flat_indices(beside: Any) -> None:
    for index in (I([0, 3, 3]), I([[1, 2], [0, 19]]), I([-1]), numpy.zeros(0, int), I(4)):
        source = normal(*index.shape)
        beside(function("take"), normal(4, 5), index, order=2)
        beside(lambda f, x, i, s: x.put(i, s, True), normal(4, 5), index, source, order=2)
        beside(lambda f, x, i, s: x.put_(i, s, True), normal(4, 5), index, source)
        beside(lambda f, x, i, s: x.index_put((i,), s, True), normal(25), index, array(1.5), order=2)
        beside(lambda f, x, i, s: x.index_put_((i,), s, accumulate=True), normal(25), index, array(1.5))
    beside(lambda f, x, i, j, s: x.index_put((i, j), s), normal(4, 5), I([0, 1]), I([2, 3]), normal(2), order=2)
    beside(lambda f, x, m, s: x.index_put((m,), s), normal(4, 5), normal(4, 5) > 0, array(1.0), order=2)
    beside(lambda f, i: f.unravel_index(i, (4, 5)), I([3, 19]))
    beside.refused(function("take"), normal(4), I([9]))


def test_parts_replaced(beside: Any) -> None:
    x = normal(3, 4)
    beside(lambda f, x, s: (f.select_scatter(x, s, 0, 1), x.select_scatter(s, 0, -1)), x, normal(4), order=2)
    beside(lambda f, x, s: (f.slice_scatter(x, s, 0, 1, 3), x.slice_scatter(s, 0, -2)), x, normal(2, 4), order=2)
    beside(lambda f, x, s: x.slice_scatter(s, 1, 0, None, 2), x, normal(3, 2), order=2)
    beside(lambda f, x, s: (f.diagonal_scatter(x, s), x.diagonal_scatter(s, 1)), x, normal(3), order=2)
    beside.refused(lambda f, x, s: f.select_scatter(x, s, 0, 1), x, normal(3))


# -- out= ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "bool", "complex64"])
def test_out_of_another_dtype(beside: Any, kind: str) -> None:
    for name in ("add", "mul", "div", "eq"):
        beside(
            lambda f, x, y, name=name: getattr(f, name)(x, y, out=f.zeros(3, dtype=getattr(f, kind))),
            array([1.0, 2, 3]),
            array([2.0, 2, 2]),
            kinds=["float32", "float32"],
            if_supported=kind != "float32",
        )


def test_out(beside: Any) -> None:
    for call in (
        lambda f, x: f.sum(x, 0, out=f.zeros(3)),
        lambda f, x: f.cumsum(x, 0, out=f.zeros(2, 3)),
        lambda f, x: f.any(x, 0, out=f.zeros(3, dtype=f.bool)),
        lambda f, x: f.clamp(x, 0, 1, out=f.zeros(2, 3)),
        lambda f, x: f.index_select(x, 0, f.tensor([1]), out=f.zeros(0)),
        lambda f, x: f.mean(x, 0, out=f.zeros(3)),
        lambda f, x: f.masked_select(x, x > 0, out=f.zeros(0)),
        lambda f, x: f.where(x > 0, x, x * 2, out=f.zeros(2, 3)),
        lambda f, x: f.max(x, 0, out=(f.zeros(3), f.zeros(3).long())),
        lambda f, x: f.cat([x, x], out=f.zeros(0)),
        lambda f, x: f.exp(x, out=x),
        lambda f, x: f.logsumexp(x, 0, out=f.zeros(3)),
        lambda f, x: f.std(x, 0, out=f.zeros(3)),
    ):
        beside(call, numpy.round(normal(2, 3), 2), kinds=["float32"], aliasing=False)
    beside.refused(lambda f, x: f.exp(x, out=f.zeros(3, dtype=f.int64)), normal(3))
    beside.refused(lambda f, x: f.exp(x.requires_grad_(), out=x), normal(3))
