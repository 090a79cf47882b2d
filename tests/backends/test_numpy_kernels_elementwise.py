"""Elementwise kernels, casts and creation of the CPU backend against Python, NumPy and SciPy."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy
import pytest

from flambeau import dispatch, dtypes
from flambeau.devices import device
from flambeau_numpy import constants
from flambeau_numpy.backend import NumpyBackend
from flambeau_numpy.creation import assign, full, to_dtype

BACKEND = NumpyBackend()
K = BACKEND.kernels()
FLOATS = ["float16", "float32", "float64"]
INTEGERS = ["uint8", "int8", "int16", "int32", "int64"]


def equal(found: Any, expected: Any) -> None:
    """Values, shape and dtype agree."""
    expected = numpy.asarray(expected)
    assert numpy.asarray(found).dtype == expected.dtype
    numpy.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["exp", "log1p", "tanh", "atanh", "sqrt", "erf"])
@pytest.mark.parametrize("dtype", FLOATS)
def test_float_functions_keep_the_dtype(name: str, dtype: str) -> None:
    x = numpy.array([0.1, 0.5, 0.9], dtype)
    found = K[name](x)
    assert found.dtype == x.dtype
    reference = getattr(math, name)
    expected = [reference(float(v)) for v in x]
    numpy.testing.assert_allclose(found, expected, rtol={"float16": 2e-3, "float32": 1e-6, "float64": 1e-14}[dtype])


@pytest.mark.parametrize(
    ("name", "reference"),
    [("floor_divide", lambda a, b: a // b), ("remainder", lambda a, b: a % b), ("fmod", math.fmod)],
)
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_division_follows_python(name: str, reference: Any, dtype: str) -> None:
    a = numpy.array([7, -7, 7, -7, 0, 3], dtype)
    b = numpy.array([3, 3, -3, -3, 5, 3], dtype)
    equal(K[name](a, b), numpy.array([reference(int(x), int(y)) for x, y in zip(a, b, strict=True)], dtype))


@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod"])
def test_integers_divided_by_zero_are_an_error(name: str) -> None:
    with pytest.raises(RuntimeError, match=f"^ZeroDivisionError: {name}: integer division by zero$"):
        K[name](numpy.array([1, 2]), numpy.array([1, 0]))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        K[name](numpy.array([1, 2]), 0)


def test_division_of_floats_by_zero_is_quiet() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BACKEND.kernels()  # installs the filter
        found = K["floor_divide"](numpy.array([1.0, -1.0, 0.0]), 0.0)
        assert K["pow"](numpy.array([1e300]), 7.5)[0] == math.inf
        assert K["sigmoid"](numpy.array([-1e4]))[0] == 0.0
    assert found[0] == math.inf
    assert found[1] == -math.inf
    assert math.isnan(found[2])


@pytest.mark.parametrize("exponent", [-2, -1, 0, 0.5, 1, 2, 3, 4, 2.5, -0.5])
@pytest.mark.parametrize("dtype", FLOATS)
def test_powers_of_floats(exponent: float, dtype: str) -> None:
    x = numpy.array([0.5, 1.0, 2.0, 3.0], dtype)
    found = K["pow"](x, exponent)
    assert found.dtype == x.dtype
    tolerance = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-14}[dtype]
    numpy.testing.assert_allclose(found, [float(v) ** exponent for v in x], rtol=tolerance)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_powers_of_integers(dtype: str) -> None:
    x = numpy.array([0, 1, 2, 3], dtype)
    for exponent in (0, 1, 2, 3, 4):
        equal(K["pow"](x, exponent), numpy.array([int(v) ** exponent for v in x], dtype))
    with pytest.raises(RuntimeError, match="Integers to negative integer powers are not allowed, got the exponent -1"):
        K["pow"](x, -1)


def test_negative_exponents_in_an_array_of_integers() -> None:
    base = numpy.array([1, -1, -1, 2, -2, 3])
    exponent = numpy.array([-3, -3, -2, -1, -2, 2])
    equal(K["pow"](base, exponent), numpy.array([1, -1, 1, 0, 0, 9]))


def test_a_number_to_the_power_of_an_array() -> None:
    equal(K["pow"](2.0, numpy.array([0, 1, 3], "float32")), numpy.array([1, 2, 8], "float32"))


def test_round_half_to_even() -> None:
    equal(K["round"](numpy.array([0.5, 1.5, 2.5, -0.5, -1.5])), numpy.array([0.0, 2.0, 2.0, -0.0, -2.0]))
    equal(K["round"](numpy.array([1.25, 1.35, 123.456], "float32"), 1), numpy.array([1.2, 1.4, 123.5], "float32"))
    equal(K["round"](numpy.array([150.0, 250.0]), -2), numpy.array([200.0, 200.0]))
    equal(K["round"](numpy.array([1, 2], "int32")), numpy.array([1, 2], "int32"))


@pytest.mark.parametrize("name", ["floor", "ceil", "trunc", "round"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_rounding_keeps_integers(name: str, dtype: str) -> None:
    equal(K[name](numpy.array([1, 2, 3], dtype)), numpy.array([1, 2, 3], dtype))


def test_extremes_of_two_propagate_nan() -> None:
    a, b = numpy.array([1.0, math.nan, 3.0]), numpy.array([2.0, 2.0, math.nan])
    equal(K["maximum"](a, b), numpy.array([2.0, math.nan, math.nan]))
    equal(K["fmax"](a, b), numpy.array([2.0, 2.0, 3.0]))


@pytest.mark.parametrize(("name", "result"), [("bitwise_left_shift", [2, 0, -2]), ("bitwise_right_shift", [0, 0, -1])])
def test_shifts(name: str, result: list[int]) -> None:
    equal(K[name](numpy.array([1, 1, -1], "int32"), numpy.array([1, 40, 1], "int32")), numpy.array(result, "int32"))


def test_bitwise_operations_on_bools() -> None:
    a, b = numpy.array([True, True, False]), numpy.array([True, False, False])
    equal(K["bitwise_and"](a, b), a & b)
    equal(K["bitwise_not"](a), ~a)
    equal(K["add"](a, b), numpy.array([True, True, False]))
    equal(K["sign"](a), a)


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor"])
def test_comparisons_give_bools(name: str) -> None:
    assert K[name](numpy.array([1.0, math.nan]), numpy.array([1.0, math.nan])).dtype == bool


def test_operands_keep_their_dtype_beside_numbers() -> None:
    for dtype in FLOATS:
        x = numpy.ones(3, dtype)
        assert K["mul"](x, 0.5).dtype == x.dtype
        assert K["where"](x > 0, x, 0.0).dtype == x.dtype
        assert K["clamp"](x, 0, 0.5).dtype == x.dtype


def test_where_says_which_shapes_do_not_fit() -> None:
    with pytest.raises(RuntimeError, match=r"^where: the shapes .* do not broadcast: \[2\], \[3\], \[\]$"):
        K["where"](numpy.ones(2, bool), numpy.ones(3), 0.0)


def test_clamp() -> None:
    x = numpy.array([-2.0, 0.5, 3.0, math.nan])
    equal(K["clamp"](x, -1.0, 1.0), numpy.array([-1.0, 0.5, 1.0, math.nan]))
    equal(K["clamp"](x, None, 1.0), numpy.array([-2.0, 0.5, 1.0, math.nan]))
    equal(K["clamp"](x, 0.0), numpy.array([0.0, 0.5, 3.0, math.nan]))
    equal(K["clamp"](x[:3], 2.0, 1.0), numpy.array([1.0, 1.0, 1.0]))
    equal(K["clamp_"](x, -1.0, 1.0), numpy.array([-1.0, 0.5, 1.0, math.nan]))
    assert x[0] == -1.0


@pytest.mark.parametrize(("name", "expected"), [("add_", 5.0), ("sub_", -1.0), ("mul_", 6.0), ("div_", 2 / 3)])
def test_in_place_forms_write_into_the_target(name: str, expected: float) -> None:
    target = numpy.full((2, 2), 2.0, "float32")
    view = target[0]
    assert K[name](view, 3.0) is view
    numpy.testing.assert_allclose(target, [[expected, expected], [2.0, 2.0]], rtol=1e-6)
    zero_dim = numpy.full((), 2.0)
    K[name](zero_dim, 3.0)
    assert zero_dim[()] == pytest.approx(expected)


def test_erf_in_double_precision() -> None:
    special = pytest.importorskip("scipy.special")
    x = numpy.concatenate([numpy.linspace(-7, 7, 20001), numpy.geomspace(1e-300, 1, 1000), [numpy.inf, -numpy.inf]])
    numpy.testing.assert_allclose(K["erf"](x), special.erf(x), rtol=1e-15)
    assert math.isnan(K["erf"](numpy.array([math.nan]))[0])


def test_erf_in_single_precision_is_within_one_unit_in_the_last_place() -> None:
    special = pytest.importorskip("scipy.special")
    x = numpy.linspace(-6, 6, 100001, dtype="float32")
    exact = special.erf(x.astype("float64"))
    unit = numpy.spacing(numpy.abs(exact).astype("float32"))
    assert (numpy.abs(K["erf"](x) - exact) / unit).max() <= 1
    equal(K["erf"](numpy.array(0.0, "float32")), numpy.array(0.0, "float32"))


def test_erf_of_views() -> None:
    x = numpy.linspace(-1, 1, 30000).reshape(3, -1).T[::2]
    numpy.testing.assert_allclose(K["erf"](x), K["erf"](x.copy()), rtol=0)


# -- casts and creation ----------------------------------------------------------------------------------------------


def test_to_dtype() -> None:
    x = numpy.array([0.0, 1.7, -1.7])
    assert to_dtype(x, dtypes.float64) is x
    equal(to_dtype(x, dtypes.int32), numpy.array([0, 1, -1], "int32"))
    equal(to_dtype(x, dtypes.bool_), numpy.array([False, True, True]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        equal(to_dtype(numpy.array([1 + 2j]), dtypes.float32), numpy.array([1.0], "float32"))


def test_bfloat16_rounds_to_eight_bits() -> None:
    pytest.importorskip("ml_dtypes")
    x = to_dtype(numpy.array([1.0, 1.001, 3.14159]), dtypes.bfloat16)
    assert BACKEND.dtype_of(x) is dtypes.bfloat16
    numpy.testing.assert_array_equal(to_dtype(x, dtypes.float32), numpy.array([1.0, 1.0, 3.140625], "float32"))
    assert BACKEND.dtype_of(K["sum"](x, (0,))) is dtypes.bfloat16
    assert BACKEND.dtype_of(K["matmul"](x, x)) is dtypes.bfloat16
    assert BACKEND.dtype_of(K["expand"](x, (2, 3))) is dtypes.bfloat16


def test_assign_casts_and_broadcasts() -> None:
    target = numpy.zeros((2, 3), "float32")
    assert assign(target, numpy.array([1, 2, 3])) is target
    equal(target, numpy.array([[1, 2, 3], [1, 2, 3]], "float32"))
    with pytest.raises(RuntimeError, match=r"^assign: the shape \[2\] does not broadcast to \[2, 3\]$"):
        assign(target, numpy.zeros(2))


def test_full() -> None:
    equal(full((2,), 1.5, dtypes.float32), numpy.array([1.5, 1.5], "float32"))
    equal(full((), True, dtypes.bool_), numpy.array(True))
    equal(full((2,), -1, dtypes.uint8), numpy.array([255, 255], "uint8"))
    equal(full((2,), 0, dtypes.complex64), numpy.zeros(2, "complex64"))
    with pytest.raises(RuntimeError, match="^full: value cannot be converted to type uint8 without overflow: 300$"):
        full((2,), 300, dtypes.uint8)


def test_arange() -> None:
    equal(K["arange"](0, 5, 2, dtypes.int64), numpy.array([0, 2, 4]))
    equal(K["arange"](3, 0, -1, dtypes.int32), numpy.array([3, 2, 1], "int32"))
    equal(K["arange"](0, 3, 1, dtypes.float16), numpy.array([0, 1, 2], "float16"))
    fine = K["arange"](0.0, 100.0, 0.1, dtypes.float32)
    equal(fine, (numpy.arange(1000) * 0.1).astype("float32"))


def test_complex() -> None:
    equal(
        K["complex"](numpy.array([1, 2], "float32"), numpy.array(3, "float32")),
        numpy.array([1 + 3j, 2 + 3j], "complex64"),
    )


# -- the backend -----------------------------------------------------------------------------------------------------


def test_dtype_of_every_dtype() -> None:
    for dtype in dtypes.DTYPES.values():
        if dtype.name in BACKEND.dtypes:
            assert BACKEND.dtype_of(numpy.zeros(1, dtype.numpy)) is dtype


def test_is_shared_and_strides() -> None:
    x = numpy.zeros((2, 3), "float32")
    assert not BACKEND.is_shared(x)
    assert BACKEND.is_shared(x[0])
    assert BACKEND.strides(x.T) == (1, 3)
    assert BACKEND.strides(x[:, ::2]) == (3, 2)


def test_from_numpy_shares_memory_and_mends_the_byte_order() -> None:
    x = numpy.arange(3.0)
    assert BACKEND.from_numpy(x, None) is x
    swapped = x.astype(">f8")
    found = BACKEND.from_numpy(swapped, None)
    assert found.dtype.isnative
    equal(found, x)
    with pytest.raises(TypeError, match="can't convert a numpy array of type <U1"):
        BACKEND.from_numpy(numpy.array(["a"]), None)


# -- numbers as operands, functions of few elements --------------------------------------------------------------------


@numpy.errstate(all="ignore")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool", "complex64"])
@pytest.mark.parametrize("number", [0.0, -0.0, 0, 1, 1.0, 2.5, -3, math.inf, math.nan, 10**20])
def test_numbers_count_as_in_numpy(dtype: str, number: float) -> None:
    x = numpy.array([1, 0, 2, 3]).astype(dtype)
    for name, ufunc in (("mul", numpy.multiply), ("add", numpy.add), ("lt", numpy.less)):
        for _ in range(2):  # the second time the number is known
            for arguments in ((x, number), (number, x)):
                try:
                    expected = ufunc(*arguments)
                except (OverflowError, TypeError) as error:
                    with pytest.raises(type(error)):
                        K[name](*arguments)
                else:
                    equal(K[name](*arguments), expected)


def test_the_sign_of_zero_counts() -> None:
    for zero in (0.0, -0.0, 0.0, -0.0):
        equal(
            K["atan2"](numpy.zeros(1, "float32"), zero), numpy.arctan2(numpy.zeros(1, "float32"), numpy.float32(zero))
        )


def test_constants_cannot_be_written_to_and_do_not_pile_up() -> None:
    held = constants.constant(3.25, numpy.dtype("float32"))
    assert held.shape == () and constants.constant(3.25, numpy.dtype("float32")) is held
    with pytest.raises(ValueError, match="read-only"):
        held[()] = 1
    for i in range(2 * constants._LIMIT):
        assert constants.constant(i + 0.5, numpy.dtype("float32")) == i + 0.5
    assert len(constants._KNOWN[numpy.dtype("float32")]) <= constants._LIMIT


@pytest.mark.parametrize("name", ["erf", "erfc", "lgamma"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [0, 1, 100, 1000])
def test_functions_of_few_and_of_many_elements(name: str, dtype: str, count: int) -> None:
    special = pytest.importorskip("scipy.special")
    dispatch.load(device("cpu"))  # of many elements the decomposition's parts run
    x = numpy.random.default_rng(0).normal(0, 4, count).astype(dtype)
    x[:8] = [math.nan, math.inf, -math.inf, 0.0, -2.0, 1.0, 30.0, 1e-30][: min(count, 8)]
    if name == "lgamma":
        x[2:3] = 0.25  # of minus infinity SciPy says something else than C
    expected = (special.gammaln if name == "lgamma" else getattr(special, name))(x.astype("float64"))
    found = K[name](x)
    assert found.dtype == dtype and found.shape == x.shape
    precision = numpy.finfo(dtype).eps
    numpy.testing.assert_allclose(found, expected.astype(dtype), 200 * precision, 20 * precision)
    numpy.testing.assert_array_equal(K[name](x.reshape(-1, 1))[:, 0], found)
